package web

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/examples/orders/order"
)

const slowClient = 10 * time.Second // for which a write may wait

// happened is an event as a page gets it. What of the event's own is in it, is listed
// here: a card's token is nobody's concern.
type happened struct {
	ID       string      `json:"id"` // of the order
	Type     string      `json:"type"`
	Version  uint64      `json:"version"`
	Position uint64      `json:"position"`
	Time     time.Time   `json:"time"`
	Customer string      `json:"customer,omitempty"`
	Line     *order.Line `json:"line,omitempty"`
	Amount   order.Money `json:"amount,omitzero"`
	Reason   string      `json:"reason,omitempty"`
}

func newHappened(e eventstore.Event) happened {
	h := happened{ID: e.Stream.ID, Type: e.Type, Version: e.Version, Position: e.Position, Time: e.Time}
	event, err := order.Codec.Decode(e)
	if err != nil {
		return h // of a newer program: that it happened is true
	}
	switch event := event.(type) {
	case order.Placed:
		h.Customer = event.Customer
	case order.LineAdded:
		h.Line = &event.Line
	case order.Paid:
		h.Amount = event.Amount
	case order.Cancelled:
		h.Reason = event.Reason
	}
	return h
}

// place is where a stream of events stands: after an event of a commit, or after the
// whole of it.
type place struct {
	position uint64
	version  uint64 // 0: after the whole
}

var placeForm = regexp.MustCompile(`^([0-9]{1,19})(?:\.([1-9][0-9]{0,18}))?$`)

// resume returns after which place a client wants to go on, if it says so.
func resume(r *http.Request) (at place, said bool, err error) {
	name, text := "Last-Event-ID", r.Header.Get("Last-Event-ID")
	if text == "" {
		name, text = "after", r.URL.Query().Get("after")
	}
	if text == "" {
		return at, false, nil
	}
	parts := placeForm.FindStringSubmatch(text)
	if parts == nil {
		return at, false, wrongField(name, "must be the id of an event, or a position")
	}
	if at.position, err = strconv.ParseUint(parts[1], 10, 64); err == nil && parts[2] != "" {
		at.version, err = strconv.ParseUint(parts[2], 10, 64)
	}
	return at, true, err
}

// events answers with what happens, until the client goes.
func (f *Front) events(w http.ResponseWriter, r *http.Request) {
	from, said, err := resume(r)
	if err != nil {
		f.fail(w, r, err)
		return
	}
	l, err := f.listen()
	if err != nil {
		f.fail(w, r, err)
		return
	}
	defer f.leave(l)
	head, err := f.awaitFeed(r.Context(), l)
	if err != nil {
		f.fail(w, r, err)
		return
	}
	s := &stream{front: f, w: w, to: http.NewResponseController(w), at: from}
	if !said {
		s.at = place{position: head}
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	if r.Method == http.MethodHead {
		return
	}
	if err := s.run(r.Context(), l, head); err != nil {
		f.config.Logger.Debug("a stream of events ended", "position", s.at.position, "reason", err)
	}
}

// awaitFeed returns where the feed stands, as soon as it is known.
func (f *Front) awaitFeed(ctx context.Context, l *listener) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, f.config.Timeout)
	defer cancel()
	return l.position(ctx)
}

// A stream is what a client gets of the events.
type stream struct {
	front *Front
	w     http.ResponseWriter
	to    *http.ResponseController
	at    place
}

// run sends what the client has missed, and then what comes.
func (s *stream) run(ctx context.Context, l *listener, head uint64) error {
	if err := s.send("retry: 1000\n" + s.idle()); err != nil {
		return err
	}
	if err := s.missed(ctx, head); err != nil {
		return err
	}
	beat := time.NewTicker(s.front.heartbeat)
	defer beat.Stop()
	for {
		var err error
		select {
		case commit, ok := <-l.commits:
			err = s.commits(commit, ok, l)
		case <-beat.C:
			err = s.send(s.idle())
		case <-s.front.closed:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

// idle says that nothing happens, and where the client would go on.
func (s *stream) idle() string {
	if s.at.version > 0 {
		return ": nothing yet\n\n"
	}
	return fmt.Sprintf("id: %d\n\n", s.at.position)
}

// missed sends what is in the log up to where the feed stands.
func (s *stream) missed(ctx context.Context, head uint64) error {
	if s.at.position > head || head-s.at.position > s.front.behind {
		return s.reload(head)
	}
	after := s.at.position
	if s.at.version > 0 {
		after-- // the rest of that commit
	}
	if after == head {
		return nil
	}
	select {
	case s.front.catchUp <- struct{}{}:
		defer func() { <-s.front.catchUp }()
	case <-s.front.closed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
	// Who reads slowly must not keep others from it, and comes back for the rest.
	ctx, cancel := context.WithTimeout(ctx, s.front.config.Timeout)
	defer cancel()
	for e, err := range s.front.config.Log.Log(ctx, after, nil) {
		if err != nil {
			return err
		}
		if e.Position > head {
			break
		}
		if err := s.event(e); err != nil {
			return err
		}
	}
	if s.at.position < head {
		return fmt.Errorf("the log ends at position %d, and was at %d", s.at.position, head)
	}
	return s.to.Flush()
}

// reload tells the client to read the list again, and goes on after it.
func (s *stream) reload(head uint64) error {
	s.at = place{position: head}
	return s.send(fmt.Sprintf("id: %d\nevent: reload\ndata: {\"position\":%d}\n\n", head, head))
}

// commits sends a commit, and what waits behind it, at once.
func (s *stream) commits(commit []eventstore.Event, ok bool, l *listener) error {
	for ok {
		for _, e := range commit {
			if err := s.event(e); err != nil {
				return err
			}
		}
		select {
		case commit, ok = <-l.commits:
		default:
			return s.to.Flush()
		}
	}
	return cmp.Or(s.to.Flush(), errDropped)
}

var errDropped = errors.New("the client was too slow, or the log is another one")

// event writes an event, unless the client has it or it is none of an order.
func (s *stream) event(e eventstore.Event) error {
	if e.Position < s.at.position || e.Position == s.at.position && (s.at.version == 0 || e.Version <= s.at.version) {
		return nil
	}
	s.at = place{e.Position, e.Version}
	id := fmt.Sprintf("%d.%d", e.Position, e.Version)
	if e.Version == e.Revision().Version {
		s.at.version = 0
		id = strconv.FormatUint(e.Position, 10)
	}
	if e.Stream.Kind != order.Kind {
		return nil
	}
	data, err := json.Marshal(newHappened(e))
	if err != nil {
		return err // a year that JSON cannot write
	}
	return s.write("id: " + id + "\nevent: " + e.Type + "\ndata: " + string(data) + "\n\n")
}

// send sends a text at once.
func (s *stream) send(text string) error {
	return cmp.Or(s.write(text), s.to.Flush())
}

// write sends a text soon, or gives up.
func (s *stream) write(text string) error {
	if err := s.to.SetWriteDeadline(time.Now().Add(slowClient)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	_, err := s.w.Write([]byte(text))
	return err
}
