package timer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	consumerName = "run"
	// pullExpires is for how long the server keeps a request for timers, after which
	// it is made again. If the server was restarted it has forgotten it.
	pullExpires = 3 * time.Second
	// grace is how long the calls in hand may take when Run is told to end, and
	// lastGrace how long they may take to find out that their context has ended.
	grace, lastGrace = 10 * time.Second, 2 * time.Second
)

// Run calls fire for timers that are due, until the context ends: then it returns nil.
// Timers are shared by all who run, in this process and others; up to Options.InHand
// calls are made at a time, in no order.
//
// A call that returns nil is done with its timer. After one that returns an error, or
// panics, the timer is called again: after a tenth of a second, then after pauses that
// double up to a minute. After Options.Attempts calls it is dead, see [Timers.Dead].
// A call may take as long as it likes: while its process lives no other gets the timer.
// If a process dies its timers are called again within about half a minute.
//
// When the context ends, no further calls begin. Those in hand have ten seconds, then
// their own context ends, and two seconds later Run returns in any case. Timers whose
// calls were broken off are for other processes at once.
//
// Run waits for a server that is away. It returns an error if it cannot go on: an
// [eventstore.DeniedError], or one that matches [eventstore.ErrUnavailable] if the
// connection is closed or somebody deleted the stream.
func (t *Timers) Run(ctx context.Context, fire func(context.Context, Timer) error) error {
	if fire == nil {
		return &eventstore.InvalidError{What: "function to call", Reason: "is nil"}
	}
	r := &runner{
		Timers: t, fire: fire, inbox: t.nc.NewInbox(),
		msgs:  make(chan *nats.Msg, 4*t.opts.InHand+64),
		slots: make(chan struct{}, t.opts.InHand),
		freed: make(chan struct{}, 1),
		over:  make(chan struct{}),
	}
	var cancel context.CancelFunc
	r.calls, cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	err := r.run(ctx)
	r.end(cancel)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// runner is one Run.
type runner struct {
	*Timers
	fire  func(context.Context, Timer) error
	calls context.Context // of the calls

	inbox  string // answers to the pull n go to <inbox>.<n>
	pulls  int
	before error // the connection's last error when it began
	sub    *nats.Subscription
	msgs   chan *nats.Msg

	slots   chan struct{} // one for each call in hand
	freed   chan struct{} // says that one may be free
	working sync.WaitGroup
	keepers sync.WaitGroup
	over    chan struct{} // calls in hand are given up
}

func (r *runner) run(ctx context.Context) (err error) {
	r.before = r.nc.LastError()
	if r.sub, err = r.nc.ChanSubscribe(r.inbox+".*", r.msgs); err != nil {
		return r.unavailable(err)
	}
	looking, stop := context.WithCancel(ctx)
	var looks sync.WaitGroup
	defer looks.Wait()
	defer stop()
	looks.Go(func() { r.look(looking) })
	for ctx.Err() == nil {
		if err := r.consume(ctx); err != nil {
			return err
		}
	}
	return nil
}

// consume makes sure that the consumer is there, and takes from it until it is gone.
func (r *runner) consume(ctx context.Context) error {
	err := r.persist(ctx, func(ctx context.Context) error {
		_, err := r.js.CreateOrUpdateConsumer(ctx, r.streamName(), r.consumer())
		return err
	})
	if err != nil {
		if errors.Is(err, eventstore.ErrDenied) || r.nc.IsClosed() || final(err) {
			return err
		}
		r.log.Warn("timers wait for the server", "error", err)
		return nil
	}
	for ctx.Err() == nil {
		switch gone, err := r.take(ctx); {
		case err != nil:
			return err
		case gone:
			_ = pause(ctx, 100*time.Millisecond) // the loop above looks at the context
			return nil
		}
	}
	return nil
}

func (r *runner) consumer() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Name:          consumerName,
		Durable:       consumerName,
		Description:   "Headwater timers that are due",
		FilterSubject: r.prefix + "." + partDue + ".>",
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       r.ackWait,
		MaxDeliver:    -1,
		MaxAckPending: -1, // timers that wait to be called again hold up no others
	}
}

// take asks for as many timers as can be called now, and calls them as they come. It
// reports whether the consumer is gone.
func (r *runner) take(ctx context.Context) (gone bool, err error) {
	free := r.free(ctx)
	if free == 0 {
		return false, nil
	}
	switch denied := r.denied(r.before, "$JS.API.CONSUMER.MSG.NEXT."+r.streamName()+".", "$JS.ACK."+r.streamName()+".", r.inbox); {
	case denied != nil:
		return false, denied
	case r.nc.IsClosed():
		return false, r.unavailable(nats.ErrConnectionClosed)
	case !r.nc.IsConnected():
		_ = pause(ctx, 100*time.Millisecond) // the caller looks at the context
		return false, nil
	}
	r.pulls++
	reply := r.inbox + "." + text(r.pulls)
	body := fmt.Appendf(nil, `{"batch":%d,"expires":%d}`, free, pullExpires)
	if err := r.nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+r.streamName()+"."+consumerName, reply, body); err != nil {
		r.log.Warn("timers wait for the server", "error", err)
		return true, nil
	}
	return r.receive(ctx, reply, free), nil
}

// free waits until a call can begin, and returns how many can. It is 0 if the context
// ends before.
func (r *runner) free(ctx context.Context) int {
	for {
		if n := cap(r.slots) - len(r.slots); n > 0 {
			return n
		}
		select {
		case <-r.freed:
		case m := <-r.msgs: // late, for an earlier pull
			giveBack(m)
		case <-ctx.Done():
			return 0
		}
	}
}

// receive calls the timers that answer a pull, until it is over. It reports whether
// the consumer is gone.
func (r *runner) receive(ctx context.Context, reply string, expected int) (gone bool) {
	late := time.NewTimer(pullExpires + time.Second)
	defer late.Stop()
	for expected > 0 {
		select {
		case <-ctx.Done():
			return false
		case <-late.C:
			return false
		case m := <-r.msgs:
			switch {
			case m.Subject == reply:
				switch m.Header.Get("Status") {
				case "100":
				case "408", "404":
					return false
				default: // it was deleted, or has no leader
					return true
				}
			case m.Reply != "":
				expected--
				r.begin(m)
			}
		}
	}
	return false
}

// begin calls a timer in the background.
func (r *runner) begin(m *nats.Msg) {
	r.slots <- struct{}{} // there is one: no more were expected than are free
	r.working.Go(func() {
		r.call(m)
		<-r.slots
		select {
		case r.freed <- struct{}{}:
		default:
		}
	})
}

// end waits for the calls in hand, within a bound, and gives back what was not called.
func (r *runner) end(cancel context.CancelFunc) {
	if r.sub == nil {
		return
	}
	ctx, stop := context.WithTimeout(r.calls, grace)
	defer stop()
	r.unsubscribe()
	r.giveAllBack()
	idle := make(chan struct{})
	go func() { r.working.Wait(); close(idle) }()
	select {
	case <-idle:
	case <-ctx.Done():
		cancel()
		select {
		case <-idle:
		case <-time.After(lastGrace):
			r.log.Error("calls of timers do not end", "calls", len(r.slots))
		}
	}
	close(r.over)
	r.keepers.Wait()
	r.flush()
}

// unsubscribe has the server send no more, and lets come what it has sent.
func (r *runner) unsubscribe() {
	end := r.sub.Unsubscribe
	if r.nc.IsConnected() {
		end = r.sub.Drain
	}
	_ = end() // fails only where the connection is gone
	r.flush()
}

// giveAllBack is for timers that came and were not called.
func (r *runner) giveAllBack() {
	for {
		select {
		case m := <-r.msgs:
			giveBack(m)
		default:
			return
		}
	}
}

// giveBack has another process called at once.
func giveBack(m *nats.Msg) {
	if m.Reply != "" {
		_ = m.Nak() // otherwise it comes again after a while
	}
}

// flush lets the server have what was sent, if it is there.
func (r *runner) flush() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if r.nc.IsConnected() {
		_ = r.nc.FlushWithContext(ctx) // what is lost comes again after a while
	}
}
