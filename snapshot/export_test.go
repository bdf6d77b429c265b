package snapshot

import "time"

// OpenBackend opens a file as Open does.
func OpenBackend(path string) (Backend, error) { return openFile(path, newLedger(nil)) }

// NewSlow returns a store that collects snapshots until it is asked to flush.
func NewSlow(b Backend, opts *Options) *Store {
	s := newStore(opts)
	s.delay = time.Hour
	return s.start(b)
}
