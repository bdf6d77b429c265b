package embedded_test

import (
	"context"
	"errors"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/headwater-go/headwater/embedded"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir) // never returns
	}
	goleak.VerifyTestMain(m)
}

// open starts a server that ends with the test.
func open(t *testing.T, dir string, opts *embedded.Options) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(t.Context(), dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// connect returns JetStream over an in-process connection.
func connect(t *testing.T, s *embedded.Server) jetstream.JetStream {
	t.Helper()
	nc, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// createLog creates a stream that takes log.>.
func createLog(t *testing.T, js jetstream.JetStream, replicas int) {
	t.Helper()
	eventually(t, func() error { // a cluster may be without a leader
		_, err := js.CreateStream(t.Context(), logConfig(replicas))
		return err
	})
}

func logConfig(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{Name: "LOG", Subjects: []string{"log.>"}, Replicas: replicas}
}

// publish publishes the numbers from first to last, which are also the
// sequences they are to get. An attempt that finds no leader is made again;
// its id keeps it from being stored twice.
func publish(t *testing.T, js jetstream.JetStream, first, last uint64) {
	t.Helper()
	for seq := first; seq <= last; seq++ {
		var ack *jetstream.PubAck
		eventually(t, func() (err error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			n := strconv.FormatUint(seq, 10)
			ack, err = js.Publish(ctx, "log.numbers", []byte(n), jetstream.WithMsgID(n))
			return err
		})
		if ack.Sequence != seq {
			t.Fatalf("message %d is acknowledged with sequence %d", seq, ack.Sequence)
		}
	}
}

// requireMessages fails unless the log has the messages 1 to last, at least. Of
// a cluster that has no leader yet it asks again.
func requireMessages(t *testing.T, js jetstream.JetStream, last uint64) {
	t.Helper()
	var log jetstream.Stream
	eventually(t, func() (err error) {
		log, err = js.Stream(t.Context(), "LOG")
		return err
	})
	for seq := uint64(1); seq <= last; seq++ {
		var msg *jetstream.RawStreamMsg
		eventually(t, func() (err error) {
			if msg, err = log.GetMsg(t.Context(), seq); errors.Is(err, jetstream.ErrMsgNotFound) {
				t.Fatalf("message %d of %d: %v", seq, last, err)
			}
			return err
		})
		if want := strconv.FormatUint(seq, 10); string(msg.Data) != want {
			t.Fatalf("message %s is %q", want, msg.Data)
		}
	}
}

// eventually calls f until it returns nil, and fails after a while.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("gave up waiting: %v", err)
		}
	}
}
