package snapshot

import (
	"context"
	"log/slog"
	"sync"
)

// Stats are counts since the store was opened.
type Stats struct {
	Hits   uint64 // loads that found a snapshot
	Misses uint64 // loads that found none, or none of use; of them found were:
	// OtherLog and OtherSchema: of another log, or folded otherwise.
	OtherLog, OtherSchema uint64
	Damaged               uint64 // not what was saved
	Unreadable            uint64 // the backend failed

	Discarded uint64 // hits that did not belong to the log's history, or could not be decoded
	Saved     uint64
	Older     uint64 // not saved, since the file has a newer one
	Dropped   uint64 // not saved, since the queue was full or the store closed
	Failed    uint64 // not saved, since they could not be encoded or written
	SetAside  uint64 // damaged files that were replaced
	Waiting   int    // to be saved now
}

// A ledger counts, and logs what it is told of the first time.
type ledger struct {
	log    *slog.Logger
	mu     sync.Mutex
	stats  Stats
	logged map[string]bool
}

func newLedger(log *slog.Logger) *ledger {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &ledger{log: log, logged: make(map[string]bool)}
}

func (l *ledger) count(what func(*Stats)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	what(&l.stats)
}

// warn logs that something is wrong, if it is the first thing of its kind.
// There may be one for every stream.
func (l *ledger) warn(kind string, args ...any) {
	l.mu.Lock()
	again := l.logged[kind]
	l.logged[kind] = true
	l.mu.Unlock()
	if !again {
		l.log.Log(context.Background(), slog.LevelWarn, "snapshots: "+kind, args...)
	}
}
