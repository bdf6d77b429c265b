package eventstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
)

// A revived server goes away and comes back at the same address, with what a
// test did to its folder meanwhile, while its clients live on.
type revived struct {
	*testing.T
	dir    string
	listen string
	server *embedded.Server
}

func newRevived(t *testing.T) *revived {
	r := &revived{T: t, dir: t.TempDir()}
	r.server = start(t, r.dir, "127.0.0.1:0")
	r.listen = strings.TrimPrefix(r.server.URL(), "nats://")
	return r
}

func (r *revived) client() *nats.Conn {
	r.Helper()
	nc, err := nats.Connect("nats://"+r.listen, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(nc.Close)
	return nc
}

// open opens the log on a connection of its own.
func (r *revived) open(opts *eventstore.Options) *eventstore.Store {
	r.Helper()
	store, err := eventstore.Open(r.Context(), r.client(), "log", opts)
	if err != nil {
		r.Fatal(err)
	}
	eventually(r.T, "the log is scrubbed", func() bool { return eventstore.Scrubbed(store) })
	return store
}

func (r *revived) stop() {
	r.Helper()
	if err := r.server.Close(); err != nil {
		r.Fatal(err)
	}
}

// back starts the server again, on a folder.
func (r *revived) back(dir string) {
	r.Helper()
	r.dir = dir
	r.server = start(r.T, dir, r.listen)
}

// copied stops the server, copies its folder, and starts it again.
func (r *revived) copied() (dir string) {
	r.Helper()
	r.stop()
	dir = r.TempDir()
	if err := os.CopyFS(dir, os.DirFS(r.dir)); err != nil {
		r.Fatal(err)
	}
	r.back(r.dir)
	return dir
}

// flip flips a bit of the message that has this text, in all folders below dir.
func flip(t *testing.T, dir, text string) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".blk" {
			return err
		}
		content, err := os.ReadFile(path)
		if i := bytes.Index(content, []byte(text)); err == nil && i >= 0 {
			n++
			content[i] ^= 1
			err = os.WriteFile(path, content, 0o600)
		}
		return err
	})
	if err != nil || n != 1 {
		t.Fatalf("%q stands %d times: %v", text, n, err)
	}
}

// A request may wait for the connection and reach a server that cannot read any
// more what it could.
func TestDamagedWhileAway(t *testing.T) {
	t.Parallel()
	r := newRevived(t)
	store := r.open(nil)
	id := func(i int) eventstore.StreamID { return eventstore.StreamID{Kind: "order", ID: fmt.Sprint(i)} }
	for i := range 20 {
		add(t, store, id(i), eventstore.NoStream, events(fmt.Sprintf("marker-%d-", i)), nil)
	}
	r.stop()
	flip(t, r.dir, "marker-7-")
	ended := make(chan error, 2)
	go func() {
		_, err := store.Head(t.Context(), id(7))
		ended <- err
	}()
	go func() {
		_, err := store.Append(t.Context(), id(7), eventstore.NoStream, events("again"), nil)
		ended <- err
	}()
	r.back(r.dir)
	for range 2 {
		if err := <-ended; !errors.Is(err, eventstore.ErrCorrupt) {
			t.Errorf("asked while the server was away: %v", err)
		}
	}
	if _, err := store.Head(t.Context(), id(7)); !errors.Is(err, eventstore.ErrCorrupt) {
		t.Errorf("asked afterwards: %v", err)
	}
	if _, err := store.Append(t.Context(), id(7), eventstore.NoStream, events("again"), nil); !errors.Is(err, eventstore.ErrCorrupt) {
		t.Errorf("appended afterwards: %v", err)
	}
}

// In a cluster the node that has the log may come back damaged without its
// clients losing a connection.
func TestDamagedBehindAnotherNode(t *testing.T) {
	t.Parallel()
	c := testutil.Cluster(t)
	admin := testutil.Connect(t, c)
	first, err := eventstore.Open(t.Context(), admin, "log", &eventstore.Options{Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	id := eventstore.StreamID{Kind: "order", ID: "42"}
	add(t, first, id, eventstore.NoStream, events("marker"), nil)
	// Where the log is, the folder says.
	host := -1
	for i := range 3 {
		if _, err := os.Stat(filepath.Join(c.Node(i).Dir(), "jetstream", "$G", "streams", "log")); err == nil {
			host = i
		}
	}
	nc, err := c.Node((host + 1) % 3).Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	store, err := eventstore.Open(t.Context(), nc, "log", nil)
	if err != nil {
		t.Fatal(err)
	}
	wantTexts(t, store, id, "marker")
	dir := c.Node(host).Dir()
	if err := c.Stop(host); err != nil {
		t.Fatal(err)
	}
	flip(t, filepath.Join(dir, "jetstream", "$G", "streams", "log"), "marker")
	if err := c.Restart(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	if at, err := store.Head(t.Context(), id); !errors.Is(err, eventstore.ErrCorrupt) {
		t.Errorf("the stream is at %v, %v", at, err)
	}
	if at, err := store.Append(t.Context(), id, eventstore.NoStream, events("x"), nil); !errors.Is(err, eventstore.ErrCorrupt) {
		t.Errorf("appended: %v, %v", at, err)
	}
	if n := nc.Stats().Reconnects; n > 0 {
		t.Errorf("the connection was lost, which makes the test easy")
	}
}

// Whoever was told of more than the log has never takes it for whole again,
// however far it goes on.
func TestServerForgetsForGood(t *testing.T) {
	t.Parallel()
	for _, overtaken := range []bool{false, true} {
		t.Run(fmt.Sprintf("overtaken=%t", overtaken), func(t *testing.T) {
			t.Parallel()
			r := newRevived(t)
			mark := filepath.Join(t.TempDir(), "mark")
			store, follower := r.open(&eventstore.Options{HighWater: mark}), r.open(nil)
			id := eventstore.StreamID{Kind: "order", ID: "42"}
			at := add(t, store, id, eventstore.NoStream, events("1"), nil)
			old := r.copied()
			for range 3 {
				at = add(t, store, id, at, events("x"), nil)
			}
			followed := make(chan error, 1)
			seen := make(chan uint64, 100)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			go func() {
				var last error
				for e, err := range follower.Follow(ctx, 0, nil) {
					if last = err; err == nil {
						seen <- e.Position
					}
				}
				followed <- last
			}()
			for p := range at.Position {
				if got := <-seen; got != p+1 {
					t.Fatalf("followed to %d, want %d", got, p+1)
				}
			}
			r.stop()
			before, err := os.ReadFile(mark)
			if err != nil {
				t.Fatal(err)
			}
			r.back(old)
			if overtaken {
				another := r.open(nil)
				for i := range 10 {
					add(t, another, eventstore.StreamID{Kind: "other", ID: fmt.Sprint(i)}, eventstore.NoStream, events("y"), nil)
				}
			}
			for i := range 8 {
				other := eventstore.StreamID{Kind: "order", ID: fmt.Sprint(i)}
				if _, err := store.Append(t.Context(), other, eventstore.NoStream, events("y"), nil); !errors.Is(err, eventstore.ErrCorrupt) {
					t.Errorf("append %d after what the server forgot: %v", i, err)
				}
			}
			if after, err := os.ReadFile(mark); err != nil || !bytes.Equal(before, after) {
				t.Errorf("the file forgets as well: %q, %v", after, err)
			}
			if _, err := eventstore.Open(t.Context(), r.client(), "log", &eventstore.Options{HighWater: mark}); !errors.Is(err, eventstore.ErrCorrupt) {
				t.Errorf("opened: %v", err)
			}
			if err := <-followed; !errors.Is(err, eventstore.ErrCorrupt) {
				t.Errorf("the follower ends with %v", err)
			}
			select {
			case p := <-seen:
				t.Errorf("the follower goes on with position %d", p)
			default:
			}
		})
	}
}

// An append that finds its commit stored has been told of it, too.
func TestHighWaterOfReplay(t *testing.T) {
	t.Parallel()
	r := newRevived(t)
	id := eventstore.StreamID{Kind: "order", ID: "42"}
	add(t, r.open(nil), id, eventstore.NoStream, events("1"), named("commit"))
	mark := filepath.Join(t.TempDir(), "mark")
	store := r.open(&eventstore.Options{HighWater: mark})
	if at := add(t, store, id, eventstore.NoStream, events("1"), named("commit")); !at.Replayed {
		t.Errorf("stored again at %+v", at)
	}
	if text, err := os.ReadFile(mark); err != nil || !strings.Contains(string(text), "position 1\n") {
		t.Errorf("the file says %q, %v", text, err)
	}
	// The file is that of one log.
	if _, err := eventstore.Open(t.Context(), r.client(), "log2", &eventstore.Options{HighWater: mark}); !errors.Is(err, eventstore.ErrInvalid) {
		t.Errorf("another log with this file: %v", err)
	}
}

// Not having come so far yet is no damage.
func TestBehindIsNoDamage(t *testing.T) {
	t.Parallel()
	s := threeNodes(t)
	store := s.log(t, "behind", nil)
	add(t, store, stream(t), eventstore.NoStream, events("a"), nil)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := collect(store.Log(ctx, 1000, nil)); errors.Is(err, eventstore.ErrCorrupt) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the log after a position that no leader had yet: %v", err)
	}
}

// A restart that loses nothing is no damage, also to those who began streams
// over it while others went on with them.
func TestRestartIsNoDamage(t *testing.T) {
	t.Parallel()
	const streams, writers = 20, 4
	r := newRevived(t)
	stores := make([]*eventstore.Store, writers)
	for i := range stores {
		stores[i] = r.open(nil)
		add(t, stores[i], eventstore.StreamID{Kind: "writer", ID: fmt.Sprint(i)}, eventstore.NoStream, events("told"), nil)
	}
	r.stop()
	var appending sync.WaitGroup
	for i := range streams {
		id := eventstore.StreamID{Kind: "order", ID: fmt.Sprint(i)}
		for w, store := range stores {
			expected := eventstore.Any
			if w == 0 {
				expected = eventstore.NoStream
			}
			appending.Go(func() {
				_, err := store.Append(t.Context(), id, expected, events("x"), nil)
				if err != nil && !(w == 0 && errors.Is(err, eventstore.ErrConflict)) {
					t.Errorf("append to %s, expecting %v: %v", id, expected, err)
				}
			})
		}
	}
	r.back(r.dir)
	appending.Wait()
	verifyAtEnd(t, r.open(nil))
}

// An append that began while the server was away, and ends on one that came back
// with less and has overtaken what was known, does not hide that.
func TestAppendOverForgetfulRestart(t *testing.T) {
	t.Parallel()
	for name, expected := range map[string]eventstore.Expectation{"any": eventstore.Any, "no stream": eventstore.NoStream} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRevived(t)
			mark := filepath.Join(t.TempDir(), "mark")
			store := r.open(&eventstore.Options{HighWater: mark, AckWait: 200 * time.Millisecond})
			id := eventstore.StreamID{Kind: "order", ID: "42"}
			at := add(t, store, id, eventstore.NoStream, events("1"), nil)
			old := r.copied()
			for range 3 {
				at = add(t, store, id, at, events("x"), nil)
			}
			r.stop()
			elsewhere := revived{T: t, dir: old, server: start(t, old, "127.0.0.1:0")}
			elsewhere.listen = strings.TrimPrefix(elsewhere.server.URL(), "nats://")
			another := elsewhere.open(nil)
			for i := range 10 {
				add(t, another, eventstore.StreamID{Kind: "other", ID: fmt.Sprint(i)}, eventstore.NoStream, events("y"), nil)
			}
			elsewhere.stop()
			ended := make(chan error, 1)
			go func() {
				_, err := store.Append(t.Context(), eventstore.StreamID{Kind: "order", ID: "new"}, expected, events("z"), named("commit"))
				ended <- err
			}()
			r.back(old)
			if err := <-ended; !errors.Is(err, eventstore.ErrCorrupt) {
				t.Errorf("the append over the restart: %v", err)
			}
			if _, err := store.Append(t.Context(), id, eventstore.Any, events("z"), nil); !errors.Is(err, eventstore.ErrCorrupt) {
				t.Errorf("the next append: %v", err)
			}
			if text, err := os.ReadFile(mark); err != nil || !strings.Contains(string(text), fmt.Sprintf("position %d\n", at.Position)) {
				t.Errorf("the file says %q, %v", text, err)
			}
			if _, err := eventstore.Open(t.Context(), r.client(), "log", &eventstore.Options{HighWater: mark}); !errors.Is(err, eventstore.ErrCorrupt) {
				t.Errorf("opened: %v", err)
			}
		})
	}
}

// Another log of the same name is not taken for the one that was opened.
func TestAnotherLogAfterRestart(t *testing.T) {
	t.Parallel()
	r := newRevived(t)
	store := r.open(nil)
	r.stop()
	empty := t.TempDir()
	elsewhere := revived{T: t, dir: empty, server: start(t, empty, "127.0.0.1:0")}
	elsewhere.listen = strings.TrimPrefix(elsewhere.server.URL(), "nats://")
	elsewhere.open(nil)
	elsewhere.stop()
	r.back(empty)
	id := eventstore.StreamID{Kind: "order", ID: "42"}
	eventually(t, "it is connected again", func() bool {
		_, err := store.Head(t.Context(), id)
		return err == nil
	})
	if at, err := store.Append(t.Context(), id, eventstore.NoStream, events("a"), nil); !errors.Is(err, eventstore.ErrCorrupt) {
		t.Errorf("appended to another log: %+v, %v", at, err)
	}
}
