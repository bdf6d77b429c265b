package projection_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const bucket = "projections"

func openKV(t testing.TB, nc *nats.Conn, opts *projection.KVOptions) *projection.KV {
	t.Helper()
	kv, err := projection.OpenKV(t.Context(), nc, bucket, opts)
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

func jetStream(t testing.TB, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// put sets a record.
func put(ctx context.Context, m projection.Model[struct{}], name, key, value string) error {
	return m.Update(ctx, name, func(tx projection.Tx[struct{}]) error { return tx.Put(key, []byte(value)) })
}

// get returns a record.
func get(t testing.TB, m projection.Model[struct{}], name, key string) (value string) {
	t.Helper()
	err := m.Records(t.Context(), name, func(r projection.Records) error {
		raw, err := r.Get(key)
		value = string(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// The bucket is one that loses nothing, and other programs can read it.
func TestOpenKV(t *testing.T) {
	t.Parallel()
	nc := testutil.Connect(t, testutil.Server(t))
	kv := openKV(t, nc, nil)
	if err := put(t.Context(), kv, "mails", "projection", `{"log":"<id>"}`); err != nil {
		t.Fatal(err)
	}
	again := openKV(t, nc, &projection.KVOptions{Replicas: 3}) // it is there, so that is not looked at
	if got := get(t, again, "mails", "projection"); got != `{"log":"<id>"}` {
		t.Errorf("the record is %q", got)
	}
	js := jetStream(t, nc)
	stream, err := js.Stream(t.Context(), "KV_"+bucket)
	if err != nil {
		t.Fatal(err)
	}
	if c := stream.CachedInfo().Config; c.Storage != jetstream.FileStorage || c.MaxMsgsPerSubject != 1 || c.MaxAge != 0 || c.Replicas != 1 {
		t.Errorf("the bucket is %+v", c)
	}
	plain, err := js.KeyValue(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	entry, err := plain.Get(t.Context(), "mails")
	if err != nil || !strings.Contains(string(entry.Value()), `"projection":"{\"log\":`) {
		t.Errorf("as other programs see it: %s, %v", entry.Value(), err)
	}
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "handmade", History: 5}); err != nil {
		t.Fatal(err)
	}
	if _, err := projection.OpenKV(t.Context(), nc, "handmade", nil); err != nil {
		t.Errorf("a bucket that somebody else has made: %v", err)
	}
}

func TestOpenKVRefuses(t *testing.T) {
	t.Parallel()
	nc := testutil.Connect(t, testutil.Server(t))
	js := jetStream(t, nc)
	for name, test := range map[string]struct {
		cfg    jetstream.KeyValueConfig
		reason string
	}{
		"ttl":    {jetstream.KeyValueConfig{TTL: time.Hour}, "max_age (TTL): values are removed"},
		"memory": {jetstream.KeyValueConfig{Storage: jetstream.MemoryStorage}, "kept in memory"},
		"bytes":  {jetstream.KeyValueConfig{MaxBytes: 1 << 20}, "max_bytes"},
		"marker": {jetstream.KeyValueConfig{LimitMarkerTTL: time.Hour}, "values can expire"},
		"mirror": {jetstream.KeyValueConfig{Mirror: &jetstream.StreamSource{Name: "memory"}}, "copies another one"},
	} {
		cfg := test.cfg
		cfg.Bucket = name
		if name == "mirror" {
			cfg.Mirror.Name = "origin"
			if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "origin"}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := js.CreateKeyValue(t.Context(), cfg); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := projection.OpenKV(t.Context(), nc, name, nil); !errors.Is(err, eventstore.ErrInvalid) || !strings.Contains(err.Error(), test.reason) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"", "a.b", "a b", "*"} {
		if _, err := projection.OpenKV(t.Context(), nc, name, nil); !errors.Is(err, eventstore.ErrInvalid) {
			t.Errorf("a bucket called %q: %v", name, err)
		}
	}
	if _, err := projection.OpenKV(t.Context(), nil, "none", nil); !errors.Is(err, eventstore.ErrInvalid) {
		t.Errorf("no connection: %v", err)
	}
	// The server says no at once, and nobody asks it for half a minute.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := projection.OpenKV(ctx, nc, "three", &projection.KVOptions{Replicas: 3}); err == nil || errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("three replicas on one server: %v", err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "KV_stream", Subjects: []string{"something"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := projection.OpenKV(ctx, nc, "stream", nil); err == nil || errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("a stream that is no bucket: %v", err)
	}
}

// A write whose answer is lost is found to be made, also if another one came after it.
func TestKVLostAnswer(t *testing.T) {
	t.Parallel()
	server := listening(t)
	nc, line := over(t, server.URL())
	kv, other := openKV(t, nc, nil), openKV(t, testutil.Connect(t, server), nil)
	for _, effects := range []bool{false, true} {
		for _, overwritten := range []bool{false, true} {
			name := fmt.Sprintf("effects-%t-%t", effects, overwritten)
			model := projection.Model[struct{}](kv)
			if effects {
				model = projection.NewEffects(kv)
			}
			if err := put(t.Context(), model, name, "a", "before"); err != nil {
				t.Fatal(err)
			}
			lost, done := line.lose(`{"stream":"KV_`+bucket), make(chan error, 1)
			go func() { done <- put(t.Context(), model, name, "a", "after") }()
			<-lost
			want := "after"
			if overwritten {
				want = "later"
				if got := get(t, other, name, "a"); got != "after" {
					t.Fatalf("%s: the server has %q", name, got)
				}
				if err := put(t.Context(), other, name, "a", want); err != nil {
					t.Fatal(err)
				}
			}
			if err := <-done; err != nil {
				t.Errorf("%s: a write whose answer was lost: %v", name, err)
			}
			if got := get(t, kv, name, "a"); got != want {
				t.Errorf("%s: the record is %q, want %q", name, got, want)
			}
		}
	}
}

// A write after a read that somebody has overtaken is refused, and what it would have
// written is not there.
func TestKVOvertaken(t *testing.T) {
	t.Parallel()
	server := testutil.Server(t)
	kv, other := openKV(t, testutil.Connect(t, server), nil), openKV(t, testutil.Connect(t, server), nil)
	for name, model := range map[string]projection.Model[struct{}]{"plain": kv, "effects": projection.NewEffects(kv)} {
		if err := put(t.Context(), model, name, "a", "before"); err != nil {
			t.Fatal(err)
		}
		err := model.Update(t.Context(), name, func(tx projection.Tx[struct{}]) error {
			_, err := tx.Get("a")
			return errors.Join(err, put(t.Context(), other, name, "a", "faster"), tx.Put("b", []byte("x")))
		})
		if err == nil || errors.Is(err, eventstore.ErrUnavailable) {
			t.Errorf("%s: a transaction that was overtaken: %v", name, err)
		}
		if a, b := get(t, kv, name, "a"), get(t, kv, name, "b"); a != "faster" || b != "" {
			t.Errorf("%s: the records are %q and %q", name, a, b)
		}
		if err := put(t.Context(), model, name, "a", "again"); err != nil {
			t.Errorf("%s: the next transaction: %v", name, err)
		}
	}
	// Effects that read something else go on: the value was changed, and not that.
	effects := projection.NewEffects(kv)
	err := effects.Update(t.Context(), "effects", func(tx projection.Tx[struct{}]) error {
		_, err := tx.Get("a")
		return errors.Join(err, put(t.Context(), other, "effects", "c", "x"), tx.Put("b", []byte("x")))
	})
	if err != nil || get(t, other, "effects", "b") != "x" || get(t, kv, "effects", "c") != "x" {
		t.Errorf("effects beside another record's change: %v", err)
	}
}

func TestKVTooLarge(t *testing.T) {
	t.Parallel()
	kv := openKV(t, testutil.Connect(t, testutil.Server(t)), nil)
	if err := put(t.Context(), kv, "mails", "a", "before"); err != nil {
		t.Fatal(err)
	}
	err := put(t.Context(), kv, "mails", "a", strings.Repeat("x", 2<<20))
	if !errors.Is(err, eventstore.ErrTooLarge) || !strings.Contains(err.Error(), "discard parked streams") {
		t.Errorf("a value that fits no message: %v", err)
	}
	if got := get(t, kv, "mails", "a"); got != "before" {
		t.Errorf("the record is %.20q", got)
	}
	if err := put(t.Context(), kv, "mails", "a", "\xff"); !errors.Is(err, eventstore.ErrInvalid) {
		t.Errorf("a value that is no text: %v", err)
	}
	if err := put(t.Context(), kv, "no.name", "a", "x"); !errors.Is(err, eventstore.ErrInvalid) {
		t.Errorf("a name that is none: %v", err)
	}
}

// Without a server, or a bucket, calls end with their context.
func TestKVUnavailable(t *testing.T) {
	t.Parallel()
	server := listening(t)
	nc, line := over(t, server.URL())
	kv := openKV(t, nc, nil)
	if err := put(t.Context(), kv, "mails", "a", "before"); err != nil {
		t.Fatal(err)
	}
	line.sever()
	calls := map[string]func(context.Context) error{
		"update":  func(ctx context.Context) error { return put(ctx, kv, "mails", "a", "x") },
		"effects": func(ctx context.Context) error { return put(ctx, projection.NewEffects(kv), "mails", "a", "x") },
		"records": func(ctx context.Context) error {
			return kv.Records(ctx, "mails", func(projection.Records) error { return nil })
		},
		"open": func(ctx context.Context) error {
			_, err := projection.OpenKV(ctx, nc, bucket, nil)
			return err
		},
	}
	for name, call := range calls {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if err := call(ctx); !errors.Is(err, eventstore.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s, without a server: %v", name, err)
		}
		cancel()
	}
	line.mend()
	// What was given up may come late, and be in the way of something else once.
	eventually(t, "it goes on when the server is there again", func() bool { return put(t.Context(), kv, "mails", "b", "after") == nil })
	nc.Close()
	for name, call := range calls {
		if err := call(t.Context()); !errors.Is(err, eventstore.ErrUnavailable) {
			t.Errorf("%s, on a closed connection: %v", name, err)
		}
	}
}

// A value that somebody has deleted is no records; nobody waits for
// those that were.
func TestKVEmptied(t *testing.T) {
	t.Parallel()
	nc := testutil.Connect(t, testutil.Server(t))
	kv := openKV(t, nc, nil)
	for i := range 3 {
		if err := put(t.Context(), kv, "mails", "a", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	plain, err := jetStream(t, nc).KeyValue(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	if err := plain.Delete(t.Context(), "mails"); err != nil {
		t.Fatal(err)
	}
	if got := get(t, kv, "mails", "a"); got != "" {
		t.Errorf("after the key was deleted a record is %q", got)
	}
	if err := put(t.Context(), kv, "mails", "a", "anew"); err != nil || get(t, kv, "mails", "a") != "anew" {
		t.Errorf("a transaction after that: %v", err)
	}
	if _, err := plain.Put(t.Context(), "mails", []byte(`{"writes":["x"]}`)); err != nil {
		t.Fatal(err)
	}
	if err := put(t.Context(), kv, "mails", "a", "x"); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a value of something else: %v", err)
	}
}

// Without a permission the error says which, long before the time to wait for an answer.
func TestKVDenied(t *testing.T) {
	t.Parallel()
	s, err := server.NewServer(&server.Options{
		DontListen: true, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
		Users: []*server.User{
			{Username: "admin", Password: "a"},
			{Username: "reader", Password: "r", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Allow: []string{"$JS.API.>"}}}},
			{Username: "nobody", Password: "n", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Allow: []string{"other"}}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server does not start")
	}
	as := func(user string) *nats.Conn {
		nc, err := nats.Connect("", nats.InProcessServer(s), nats.UserInfo(user, user[:1]), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	if err := put(t.Context(), openKV(t, as("admin"), nil), "mails", "a", "x"); err != nil {
		t.Fatal(err)
	}
	kv := openKV(t, as("reader"), nil)
	if got := get(t, kv, "mails", "a"); got != "x" {
		t.Errorf("a reader sees %q", got)
	}
	if err := put(t.Context(), kv, "mails", "a", "y"); !errors.Is(err, eventstore.ErrDenied) || !strings.Contains(err.Error(), "$KV."+bucket+".mails") {
		t.Errorf("a reader writes: %v", err)
	}
	if _, err := projection.OpenKV(t.Context(), as("nobody"), bucket, nil); !errors.Is(err, eventstore.ErrDenied) {
		t.Errorf("nobody opens it: %v", err)
	}
}

// What a bucket holds may be anything. What can be read is written again without a change.
func FuzzKV(f *testing.F) {
	for _, seed := range []string{
		"", "{}", `{"writes":["a"],"records":{"projection":"{}"}}`, `{"writes":null,"records":{"a/\u00fc":"\ufffd","b":""}}`, `{"records":{"a":1}}`, `[]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		before, after, ok := projection.ReparseKV(raw)
		if ok && !maps.EqualFunc(before, after, bytes.Equal) {
			t.Errorf("%q came back as %q", before, after)
		}
	})
}
