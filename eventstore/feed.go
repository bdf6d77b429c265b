package eventstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// What may wait for a reader of a live feed, besides one message.
	livePending      = 64 << 10
	livePendingBytes = 32 << 20
)

// A feed is one iteration of Live.
type feed struct {
	LiveOptions
	nc   *nats.Conn
	log  string
	subj string

	watch watch
	began uint64 // reconnects of the connection at the beginning
	sub   *nats.Subscription
	heard chan *nats.Msg
	stop  chan struct{} // closed when nobody listens any more

	last     uint64    // position where the feed stands
	recorded time.Time // when the commit there was stored
	known    bool      // last is a place in the log, and so it is known what follows
}

func (f *feed) run(ctx context.Context, yield func(Event, error) bool) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	if err := f.open(ctx); err != nil {
		return err
	}
	defer f.close()
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	if f.Subscribed != nil {
		f.Subscribed()
	}
	if f.CatchUp != nil {
		if f.last, err = f.CatchUp(); err != nil {
			return err
		}
		f.known = true
	}
	for {
		c, err := f.next(ctx, tick.C)
		if err != nil {
			return err
		}
		for i := range c.events {
			if !yield(c.event(i), nil) {
				return errStopped
			}
		}
		f.last, f.recorded, f.known = c.position, c.recorded, true
	}
}

// check makes the subject of what is wanted.
func (f *feed) check() (err error) {
	if err := checkLogName(f.log); err != nil {
		return err
	}
	if f.nc == nil {
		return &InvalidError{What: "connection", Reason: "is nil"}
	}
	f.subj = f.log + ".*.*"
	switch {
	case f.ID != "":
		f.subj, err = subject(f.log, StreamID{f.Kind, f.ID})
	case f.Kind != "":
		f.subj, err = f.log+"."+f.Kind+".*", checkToken("stream kind", f.Kind)
	}
	f.subj = livePrefix + f.subj
	return err
}

// open returns when the server has the subscription.
func (f *feed) open(ctx context.Context) error {
	retry := retrier{start: time.Now()}
	for {
		err := f.subscribe(ctx)
		if err == nil {
			return nil
		}
		if !errors.Is(err, nats.ErrConnectionClosed) && !errors.Is(err, ErrDenied) {
			if err = retry.pause(ctx, err); err == nil {
				continue
			}
		}
		if ctx.Err() != nil || errors.Is(err, ErrDenied) {
			return fmt.Errorf("log %s: no live feed yet: %w", f.log, err)
		}
		return fmt.Errorf("log %s: no live feed: %w: %w", f.log, ErrUnavailable, err)
	}
}

func (f *feed) subscribe(ctx context.Context) (err error) {
	f.watch, f.began = watch{f.nc, f.nc.LastError()}, f.nc.Stats().Reconnects
	heard, stop := make(chan *nats.Msg), make(chan struct{})
	f.sub, err = f.nc.Subscribe(f.subj, func(m *nats.Msg) {
		select {
		case heard <- m:
		case <-stop:
		}
	})
	if err != nil {
		return err
	}
	f.heard, f.stop = heard, stop
	err = f.sub.SetPendingLimits(livePending, livePendingBytes+2*int(f.nc.MaxPayload()))
	if err == nil {
		err = attempt(ctx, f.nc.FlushWithContext)
	}
	if err == nil {
		err = f.doubt()
	}
	if err != nil {
		f.close()
	}
	return err
}

func (f *feed) close() {
	close(f.stop)
	_ = f.sub.Unsubscribe() // fails only where the connection is gone
}

// next waits for the next commit, and looks with each tick whether one may come.
func (f *feed) next(ctx context.Context, tick <-chan time.Time) (*commit, error) {
	for ctx.Err() == nil {
		var m *nats.Msg
		select {
		case m = <-f.heard:
		case <-tick:
		case <-ctx.Done():
			continue
		}
		err := f.doubt()
		switch {
		case errors.Is(err, ErrDenied):
			return nil, fmt.Errorf("log %s: the live feed after position %d: %w", f.log, f.last, err)
		case err != nil:
			return nil, f.missed(err)
		case m == nil:
			continue
		}
		if c, err := f.commit(m); c != nil || err != nil {
			return c, err
		}
	}
	return nil, fmt.Errorf("log %s: the live feed after position %d: %w", f.log, f.last, ended(ctx))
}

// doubt says why a message that came, or none, may not be all that there was.
func (f *feed) doubt() error {
	if err := f.watch.denied(f.subj); err != nil {
		return err
	}
	if err := unbroken(f.nc, f.began); err != nil {
		return err
	}
	dropped, err := f.sub.Dropped()
	if err == nil && dropped > 0 {
		err = fmt.Errorf("%w: %d of them, because too much waited for the reader", nats.ErrSlowConsumer, dropped)
	}
	return err
}

func (f *feed) missed(cause error) error {
	return &MissedError{Log: f.log, After: f.last, Cause: cause}
}

// commit returns the commit of a message, nil if the feed has been there.
func (f *feed) commit(m *nats.Msg) (*commit, error) {
	found, previous, ok := f.stored(m)
	if !ok {
		return nil, &CorruptionError{Log: f.log, Position: f.last, Reason: "after it something other than the log published to " + clip(m.Subject)}
	}
	switch again, err := f.follows(found, previous); {
	case err != nil:
		return nil, f.missed(err)
	case again:
		return nil, nil
	}
	stream, ok := parseSubject(f.log, found.subject)
	if !ok {
		return nil, &CorruptionError{Log: f.log, Position: found.position, Reason: fmt.Sprintf("its subject %s names no stream", clip(found.subject))}
	}
	c, err := decode(stream, found.header, found.data, found.position, found.recorded)
	if err == nil && c.previous() != previous {
		err = fmt.Errorf("it follows position %d, and the server says that the stream was at %d", c.previous(), previous)
	}
	if err != nil {
		return nil, &CorruptionError{Log: f.log, Stream: stream, Position: found.position, Reason: err.Error()}
	}
	c.logName = f.log
	return c, nil
}

// stored reads what the server says of a message that it publishes again, and
// where the stream stood before. It adds its headers after the stored ones, so the
// last of each is the true one.
func (f *feed) stored(m *nats.Msg) (found *stored, previous uint64, ok bool) {
	last := func(key string) string { return lastValue(m.Header, key) }
	position, err1 := parseNumber(last(jetstream.SequenceHeader))
	previous, err2 := parseNumber(last(jetstream.LastSequenceHeader))
	recorded, err3 := time.Parse(time.RFC3339Nano, last(jetstream.TimeStampHeaer))
	found = &stored{last(jetstream.SubjectHeader), position, m.Header, m.Data, recorded}
	ok = cmp.Or(err1, err2, err3) == nil && previous < position && last(jetstream.StreamHeader) == f.log &&
		m.Subject == livePrefix+found.subject && last(headerSizeOnly) == ""
	return found, previous, ok
}

// headerSizeOnly is there where only headers are published.
const headerSizeOnly = "Nats-Msg-Size"

// follows reports an error if a commit was missed between where the feed stands and
// a message, or again if that is behind: the leaders before and after an election
// may both have published it. Of a kind it may as well be one that comes late.
func (f *feed) follows(m *stored, previous uint64) (again bool, err error) {
	heard := !f.recorded.IsZero()
	switch {
	case !f.known:
		return false, nil
	case m.position <= f.last && heard && m.recorded.After(f.recorded):
		return false, fmt.Errorf("position %d was given to another commit", m.position)
	case m.position < f.last && heard && f.Kind != "" && f.ID == "":
		return false, fmt.Errorf("position %d came next, again or late", m.position)
	case m.position <= f.last:
		return true, nil
	case f.Kind == "" && m.position != f.last+1:
		return false, fmt.Errorf("position %d came next", m.position)
	case previous > f.last:
		return false, fmt.Errorf("position %d came next, which follows position %d", m.position, previous)
	}
	return false, nil
}
