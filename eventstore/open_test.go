package eventstore_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go/jetstream"
)

var openItems = []item{
	{"a new log is opened by many at once", openAtOnce},
	{"a log with unsafe settings is not opened", openUnsafe},
}

func openAtOnce(t *testing.T, s site) {
	const clients = 8
	stores := make([]*eventstore.Store, clients)
	var wg sync.WaitGroup
	for i := range stores {
		nc := testutil.Connect(t, s)
		wg.Go(func() {
			store, err := eventstore.Open(t.Context(), nc, "open-at-once", &eventstore.Options{Replicas: s.replicas})
			if err != nil {
				t.Error(err)
				return
			}
			if position, err := store.Position(t.Context()); err != nil || position > clients {
				t.Errorf("a new log is at position %d, %v", position, err)
			}
			if _, err := store.Append(t.Context(), stream(t), eventstore.Any, events("a"), nil); err != nil {
				t.Error(err)
			}
			stores[i] = store
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	verifyAtEnd(t, stores[0])
	if n := len(history(t, stores[0], stream(t))); n != clients {
		t.Errorf("%d clients left %d events", clients, n)
	}
}

func openUnsafe(t *testing.T, s site) {
	js := s.jetStream(t)
	made := s.log(t, "settings", nil)
	stream, err := js.Stream(t.Context(), made.Name())
	if err != nil {
		t.Fatal(err)
	}
	safe := stream.CachedInfo().Config
	for name, change := range map[string]func(*jetstream.StreamConfig){
		"max-age":         func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
		"max-messages":    func(c *jetstream.StreamConfig) { c.MaxMsgs = 1000 },
		"max-bytes":       func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 },
		"max-per-subject": func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 },
		"memory":          func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		"interest":        func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy },
		"work-queue":      func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy },
		"delete":          func(c *jetstream.StreamConfig) { c.DenyDelete = false },
		"purge":           func(c *jetstream.StreamConfig) { c.DenyPurge = false },
		"no-direct":       func(c *jetstream.StreamConfig) { c.AllowDirect = false },
		"rollup":          func(c *jetstream.StreamConfig) { c.AllowRollup, c.DenyPurge = true, false },
		"ttl":             func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true },
		"no-ack":          func(c *jetstream.StreamConfig) { c.NoAck = true },
		"foreign":         func(c *jetstream.StreamConfig) { c.Metadata = nil },
		"later-format":    func(c *jetstream.StreamConfig) { c.Metadata = map[string]string{"headwater": "2"} },
		"more-subjects":   func(c *jetstream.StreamConfig) { c.Subjects = append(c.Subjects, "settings.extra") },
		"other-subjects":  func(c *jetstream.StreamConfig) { c.Subjects = []string{"elsewhere.*.*"} },
		"sources":         func(c *jetstream.StreamConfig) { c.Sources = []*jetstream.StreamSource{{Name: "settings"}} },
		"subject-transform": func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: c.Subjects[0], Destination: "settings-subject-transform.x.{{wildcard(2)}}"}
		},
		"described": func(c *jetstream.StreamConfig) { c.Description = "changed" },
	} {
		c := safe
		name = "settings-" + name
		c.Name, c.Subjects = name, []string{name + ".*.*"}
		change(&c)
		if _, err := js.CreateStream(t.Context(), c); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_, err := eventstore.Open(t.Context(), js.Conn(), name, nil)
		var unsafe *eventstore.UnsafeLogError
		switch {
		case name == "settings-described":
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		case !errors.As(err, &unsafe) || !errors.Is(err, eventstore.ErrUnsafeLog) || unsafe.Log != name || len(unsafe.Problems) == 0:
			t.Errorf("%s: got %v, want an UnsafeLogError", name, err)
		}
		if err := js.DeleteStream(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
}
