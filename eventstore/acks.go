package eventstore

import (
	"slices"
	"strconv"
	"sync"
)

// acks make the subjects that acknowledge deliveries. The server's numbers of
// deliveries run in step with the positions except where it passed over some.
type acks struct {
	mu     sync.Mutex
	prefix string
	steps  []step
	done   uint64
}

// step is deliveries in step with positions.
type step struct {
	first, last uint64 // positions
	number      uint64 // of the first delivery
}

// add notes a delivery.
func (a *acks) add(position, number uint64, prefix string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.prefix = prefix
	if n := len(a.steps); n > 0 {
		if s := &a.steps[n-1]; s.last+1 == position && s.number+position-s.first == number {
			s.last = position
			return
		}
	}
	a.steps = append(a.steps, step{position, position, number})
}

// upTo returns the subject that acknowledges what was delivered up to a position,
// "" if there is nothing to acknowledge.
func (a *acks) upTo(position uint64) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, s := range slices.Backward(a.steps) {
		if s.first > position {
			continue
		}
		position = min(position, s.last)
		if position <= a.done {
			return ""
		}
		a.done = position
		a.steps = slices.Delete(a.steps, 0, i)
		return ackSubject(a.prefix, position, s.number+position-s.first)
	}
	return ""
}

// close lets nothing be acknowledged any more.
func (a *acks) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.steps = nil
}

// ackSubject is the reply subject of a delivery. The time and what was pending
// mean nothing in an ack.
func ackSubject(prefix string, position, number uint64) string {
	b := make([]byte, 0, len(prefix)+64)
	b = append(append(b, prefix...), "1."...)
	b = append(strconv.AppendUint(b, position, 10), '.')
	b = strconv.AppendUint(b, number, 10)
	return string(append(b, ".0.0"...))
}
