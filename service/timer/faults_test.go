package timer_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/internal/natsnode"
	"github.com/headwater-go/headwater/service/timer"
	"github.com/nats-io/nats.go/jetstream"
)

// soaking says that tests run in their long form.
var soaking = os.Getenv("HEADWATER_SOAK") != ""

// seeded returns a source of random numbers that can be had again: it says its seed,
// and takes it from HEADWATER_SEED where that is set.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("HEADWATER_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("HEADWATER_SEED: %v", err)
		}
	}
	t.Logf("HEADWATER_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}

// On three nodes, whose processes are killed and paused at random, timers are set, set
// again and cancelled by two processes, and called by them. None is lost, none is called
// with what it was replaced by, and none that was cancelled is.
func TestFaults(t *testing.T) {
	t.Parallel()
	rng := seeded(t)
	nodes := natsnode.Start(t, 3)
	faults := 4
	if soaking {
		faults = 200
	}
	var setters []*setter
	c := &calls{}
	for i := range 2 {
		timers := open(t, natsnode.Connect(t, nodes), &timer.Options{Replicas: 3, Attempts: 1 << 20})
		timer.SetAckWait(timers, 2*time.Second)
		run(t, timers, c.fire)
		setters = append(setters, &setter{T: t, Timers: timers, name: fmt.Sprint(i), rng: rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64())), last: map[string]string{}})
	}
	stop := make(chan struct{})
	var setting sync.WaitGroup
	for _, s := range setters {
		setting.Go(func() { s.run(stop) })
	}
	for range faults {
		natsnode.Disturb(t, rng, nodes, "test-timers")
	}
	close(stop)
	setting.Wait()
	count := 0
	for _, s := range setters {
		count += len(s.last)
		for id, data := range s.last {
			c.await(t, id+" with "+data, func(all []timer.Timer) bool {
				return slices.ContainsFunc(all, func(due timer.Timer) bool { return due.ID == id && string(due.Data) == data })
			})
		}
	}
	js, err := jetstream.New(natsnode.Connect(t, nodes))
	if err != nil {
		t.Fatal(err)
	}
	until(t, "an empty stream", func() bool {
		stream, err := js.Stream(t.Context(), "test-timers")
		return err == nil && stream.CachedInfo().State.Msgs == 0
	})
	for _, due := range c.all {
		if strings.HasPrefix(due.ID, "never") || string(due.Data) == "replaced" {
			t.Errorf("%s was called with %q", due.ID, due.Data)
		}
	}
	t.Logf("%d timers, %d calls", count, len(c.all))
}

// A setter sets timers, and knows with what each is to be called.
type setter struct {
	*testing.T
	*timer.Timers
	name string
	rng  *rand.Rand
	last map[string]string
}

func (s *setter) run(stop <-chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		id := fmt.Sprintf("%s.%d", s.name, i)
		switch s.rng.IntN(4) {
		case 0:
			s.set("never"+id, time.Hour, "cancelled")
			s.persist(func() error { return s.Cancel(s.Context(), "never"+id) })
		case 1:
			s.set(id, time.Hour, "replaced")
			s.set(id, time.Duration(s.rng.IntN(2000))*time.Millisecond, "last")
			s.last[id] = "last"
		case 2: // what was cancelled is set again
			s.set(id, time.Hour, "replaced")
			s.persist(func() error { return s.Cancel(s.Context(), id) })
			fallthrough
		default:
			s.set(id, time.Duration(s.rng.IntN(2000))*time.Millisecond, "only")
			s.last[id] = "only"
		}
		natsnode.Wait(s.rng, 20*time.Millisecond)
	}
}

func (s *setter) set(id string, after time.Duration, data string) {
	due := timer.Timer{ID: id, At: time.Now().Add(after), Data: []byte(data)}
	s.persist(func() error { return s.Set(s.Context(), due) })
}

// persist repeats what found no server.
func (s *setter) persist(do func() error) {
	for {
		err := do()
		if err == nil {
			return
		}
		if !errors.Is(err, eventstore.ErrUnavailable) || s.Context().Err() != nil {
			s.Error(err)
			return
		}
	}
}
