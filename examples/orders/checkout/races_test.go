package checkout_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/headwater-go/headwater/examples/orders/checkout"
	"github.com/headwater-go/headwater/examples/orders/order"
)

// TestAllRaces goes through every order in which things can happen, up to some: the
// five readers one event each, a customer who cancels, somebody who changes the lines
// or ships, the deadline, and an effect that is done again at any later time.
func TestAllRaces(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		verdict verdict
		limit   world
	}{
		{"authorised", authorises, world{cancels: 1, ships: 1}},
		{"authorised, an effect again", authorises, world{cancels: 1, replays: 1}},
		{"authorised, other lines", authorises, world{lines: 1, ships: 1}},
		{"authorised, other lines and back, an effect again, shipped", authorises, world{lines: 2, replays: 1, ships: 1}},
		{"authorised, something by hand", authorises, world{cancels: 1, hands: 1}},
		{"declined", declines, world{cancels: 1, lines: 1, replays: 1}},
		{"no answer", silent, world{cancels: 1, lines: 1, replays: 1}},
		{"no answer, something by hand", silent, world{cancels: 1, hands: 1, replays: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(test.verdict)
			l := test.limit
			w.cancels, w.lines, w.ships, w.hands, w.replays = l.cancels, l.lines, l.ships, l.hands, l.replays
			if testing.Short() {
				w.replays = 0
			}
			s := search{t: t, seen: make(map[string]bool), ends: make(map[string]int)}
			s.explore(w, nil)
			t.Logf("%d worlds, ends: %v", len(s.seen), s.ends)
		})
	}
}

// search goes through worlds, depth first.
type search struct {
	t    *testing.T
	seen map[string]bool
	ends map[string]int
}

func (s *search) explore(w world, trace []string) {
	if key := w.key(); s.seen[key] {
		return
	} else {
		s.seen[key] = true
	}
	if err := w.check(s.t); err != nil {
		s.t.Fatalf("%v, after\n%s", err, strings.Join(trace, "\n"))
	}
	end := w
	end.settle()
	if err := end.checkEnd(s.t); err != nil {
		s.t.Fatalf("in the end %v, after\n%s", err, strings.Join(trace, "\n"))
	}
	s.ends[fold[order.Order](end.order).Stage()]++
	for _, m := range w.moves() {
		next := w
		m.do(&next)
		s.explore(next, append(trace[:len(trace):len(trace)], m.name))
	}
}

// TestLongRaces goes through histories at random in which everything happens more
// often than TestAllRaces has patience for.
func TestLongRaces(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	if text := os.Getenv("HEADWATER_SEED"); text != "" {
		seed, _ = strconv.ParseUint(text, 10, 64)
	}
	t.Logf("again the same: HEADWATER_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	ends := make(map[string]int)
	for i := range 5_000 {
		w := newWorld([]verdict{authorises, authorises, declines, silent}[i%4])
		w.cancels, w.lines, w.ships, w.hands = rng.IntN(2), rng.IntN(3), rng.IntN(4), rng.IntN(2)*rng.IntN(2)
		w.replays = rng.IntN(20)
		var trace []string
		for range 80 {
			moves := w.moves()
			if len(moves) == 0 {
				break
			}
			m := moves[rng.IntN(len(moves))]
			trace = append(trace, m.name)
			m.do(&w)
			if err := w.check(t); err != nil {
				t.Fatalf("%v, after\n%s", err, strings.Join(trace, "\n"))
			}
		}
		w.settle()
		if err := w.checkEnd(t); err != nil {
			t.Fatalf("the provider %s; in the end %v, after\n%s", w.verdict, err, strings.Join(trace, "\n"))
		}
		ends[fold[order.Order](w.order).Stage()]++
		if fold[checkout.Checkout](w.checkout).Refund {
			ends["refunded"]++
		}
	}
	t.Logf("ends: %v", ends)
	for _, end := range []string{order.StagePaid, order.StageShipped, order.StageCancelled, "refunded"} {
		if ends[end] == 0 {
			t.Errorf("none was %s", end)
		}
	}
}
