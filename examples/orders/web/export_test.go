package web

import "time"

// Behind sets how many positions are read for who comes back.
func (f *Front) Behind(positions uint64) { f.behind = positions }

// Heartbeat sets how often something is sent while nothing happens.
func (f *Front) Heartbeat(every time.Duration) { f.heartbeat = every }

// Hear has the live feed of another log instead.
func (f *Front) Hear(log string) { f.live = log }

// Streams returns how many listen.
func (f *Front) Streams() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.feed == nil {
		return 0
	}
	f.feed.mu.Lock()
	defer f.feed.mu.Unlock()
	return len(f.feed.listeners)
}

const MaxBody = maxBody

// Parse reads the body with which an order is placed.
func Parse(data []byte) error {
	var body placing
	if err := parse(data, &body); err != nil {
		return err
	}
	_, err := body.command()
	return err
}

// Codes are those of problems.
func Codes() (codes []string) {
	for code := range problems {
		codes = append(codes, code)
	}
	return codes
}
