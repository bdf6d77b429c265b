package eventstore

import (
	"context"
	"errors"
	"iter"

	"github.com/nats-io/nats.go"
)

// LiveOptions say what [Live] yields. The zero value of each field is its default.
type LiveOptions struct {
	// Kind is the one whose streams are wanted. Default: all.
	Kind string
	// ID is the one stream of the kind that is wanted. Default: all of the kind.
	ID string
	// Subscribed is called once, when the server has the subscription: what is
	// stored from then on is yielded.
	Subscribed func()
	// CatchUp is called once after that, to read what was there before, from the
	// log or a read model, while what comes waits. It returns the position up to
	// which the caller has read, 0 for nothing: commits up to it are not yielded,
	// and the feed must go on from it, or it ends with a [MissedError]. An error
	// ends the feed, and is yielded. Default: the first commit that comes may be
	// any.
	CatchUp func() (after uint64, err error)
}

// Live yields the events that are appended to a log while it is iterated, in the
// order of their positions, as the server publishes them again when it has stored
// them: see Options.Live, without which it yields nothing. It is publish and
// subscribe, of everything, one kind or one stream. No consumer is kept on the
// server, and the connection's user needs no permission but to subscribe to
// "live.<log>.>", or to "live.<log>.<kind>.*" for one kind.
//
// At most once: what the server published is not published again, and what a
// reader did not hear is gone. So whenever something may have been missed, the feed
// ends with a [MissedError], and the caller reads on in the log: when the connection
// was lost, when the reader was too slow for what may wait in memory (65,536 messages
// or 32 MiB), and when a commit comes that does not follow the one before. Of
// everything, the next commit shows each gap, and of one stream too; of a kind only
// one in the stream of the commit that comes. Until another commit comes a gap is not
// seen: one may be made by a node of a cluster that dies, or that was told of the
// subscription some milliseconds later. [Store.Follow] misses nothing.
//
// Commits are whole, and come once. A message that is no commit is a
// [CorruptionError]. Whoever may publish to "live.<log>.>" can make what looks like
// one, so nobody but the server should be permitted to. For the same reason the
// revision of such an event is none to append after: read the stream.
//
// An error is yielded last, with a zero Event. Besides those above it may be an
// [InvalidError], a [DeniedError], or the end of the context, or match
// [ErrUnavailable], if there is no connection to begin with for half a minute, or
// it is closed for good. The sequence may be iterated again, also at once by
// several goroutines, each with a subscription of its own, which ends with the
// iteration.
func Live(ctx context.Context, nc *nats.Conn, log string, opts *LiveOptions) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		f := feed{nc: nc, log: log}
		if opts != nil {
			f.LiveOptions = *opts
		}
		if err := f.run(ctx, yield); err != nil && !errors.Is(err, errStopped) {
			yield(Event{}, err)
		}
	}
}
