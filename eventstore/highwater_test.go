package eventstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/nats-io/nats.go"
)

// A folder is that of a server that is started and stopped.
type folder struct {
	*testing.T
	dir    string
	server *embedded.Server
}

// open starts the server where it is not running, and opens the log.
func (f *folder) open(opts *eventstore.Options) (*eventstore.Store, error) {
	f.Helper()
	if f.server == nil {
		var err error
		if f.server, err = embedded.Start(f.Context(), f.dir, &embedded.Options{Relaxed: true}); err != nil {
			f.Fatal(err)
		}
	}
	nc, err := f.server.Connect()
	if err != nil {
		f.Fatal(err)
	}
	return eventstore.Open(f.Context(), nc, "log", opts)
}

func (f *folder) stop() {
	f.Helper()
	if f.server != nil {
		if err := f.server.Close(); err != nil {
			f.Fatal(err)
		}
	}
	f.server = nil
}

// copyTo makes a copy of the folder of a server that is not running.
func (f *folder) copyTo(dir string) {
	f.Helper()
	f.stop()
	if err := os.RemoveAll(dir); err != nil {
		f.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(f.dir)); err != nil {
		f.Fatal(err)
	}
}

func newFolder(t *testing.T) *folder {
	f := &folder{T: t, dir: t.TempDir()}
	t.Cleanup(f.stop)
	return f
}

// A log that is not as far as it was, or another one, is not opened, and not
// made anew.
func TestHighWater(t *testing.T) {
	t.Parallel()
	one, other := eventstore.StreamID{Kind: "order", ID: "one"}, eventstore.StreamID{Kind: "order", ID: "other"}
	for name, c := range map[string]struct {
		to     string // what becomes of the server's folder
		more   int    // commits that somebody appends then, without the file
		reason string // why the log is refused; "": it is not
	}{
		"nothing happened":             {"", 0, ""},
		"others went on":               {"", 3, ""},
		"an older copy":                {"older", 0, "the log ends at position 2"},
		"an older copy that grew":      {"older", 1, "the log ends at position 3"},
		"an older copy that caught up": {"older", 2, "the log lost commits and went on"},
		"an older copy overtakes":      {"older", 9, "the log lost commits and went on"},
		"an empty folder":              {"empty", 0, "the server has no log of this name"},
		"a new log":                    {"empty", 9, "this is another log"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFolder(t)
			mark := filepath.Join(t.TempDir(), "mark")
			opts := &eventstore.Options{HighWater: mark}
			store, err := f.open(opts)
			if err != nil {
				t.Fatal(err)
			}
			at := add(t, store, one, eventstore.NoStream, events("1"), nil)
			at = add(t, store, one, at, events("2"), nil)
			older, empty := t.TempDir(), t.TempDir()
			f.copyTo(older)
			if store, err = f.open(opts); err != nil {
				t.Fatal(err)
			}
			for _, text := range []string{"3", "4"} {
				at = add(t, store, one, at, events(text), named("commit "+text))
			}
			f.stop()
			switch c.to {
			case "older":
				f.dir = older
			case "empty":
				f.dir = empty
			}
			if c.more > 0 {
				if store, err = f.open(nil); err != nil {
					t.Fatal(err)
				}
				for range c.more {
					add(t, store, other, eventstore.Any, events("x"), nil)
				}
			}
			before, err := os.ReadFile(mark)
			if err != nil {
				t.Fatal(err)
			}
			store, err = f.open(opts)
			if c.reason == "" {
				if err != nil {
					t.Fatal(err)
				}
				if _, err := store.Append(t.Context(), one, at, events("5"), nil); err != nil {
					t.Error(err)
				}
				return
			}
			var damage *eventstore.CorruptionError
			if !errors.As(err, &damage) || damage.Position != at.Position || !strings.Contains(err.Error(), c.reason) || !strings.Contains(err.Error(), mark) {
				t.Errorf("opened: %v; want damage at position %d, %s, by %s", err, at.Position, c.reason, mark)
			}
			if after, err := os.ReadFile(mark); err != nil || !bytes.Equal(before, after) {
				t.Errorf("what was refused changed the file to %q, %v", after, err)
			}
			if _, err := f.open(opts); !errors.Is(err, eventstore.ErrCorrupt) {
				t.Errorf("opened the second time: %v", err)
			}
			// Who takes the log as it is removes the file.
			if err := os.Remove(mark); err != nil {
				t.Fatal(err)
			}
			if _, err := f.open(opts); err != nil {
				t.Error(err)
			}
		})
	}
}

// A process lives on while its server comes back with an older log.
func TestServerForgets(t *testing.T) {
	t.Parallel()
	f := newFolder(t)
	old := t.TempDir()
	id := eventstore.StreamID{Kind: "order", ID: "42"}
	server := start(t, f.dir, "127.0.0.1:0")
	listen := strings.TrimPrefix(server.URL(), "nats://")
	nc, err := nats.Connect(server.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	store, err := eventstore.Open(t.Context(), nc, "log", nil)
	if err != nil {
		t.Fatal(err)
	}
	at := add(t, store, id, eventstore.NoStream, events("1"), nil)
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	f.copyTo(old)
	again := start(t, f.dir, listen)
	for range 3 {
		at = add(t, store, id, at, events("x"), nil)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	start(t, old, listen)
	if _, err := store.Append(t.Context(), id, at, events("y"), nil); !errors.Is(err, eventstore.ErrCorrupt) {
		t.Errorf("an append after what the server forgot: %v", err)
	}
	// Another stream would never know, but the server gives it a position that
	// it gave before.
	other := eventstore.StreamID{Kind: "order", ID: "other"}
	if _, err := store.Append(t.Context(), other, eventstore.NoStream, events("y"), nil); !errors.Is(err, eventstore.ErrCorrupt) {
		t.Errorf("an append to another stream: %v", err)
	}
}

// A file that is no mark is not taken for one, nor for none.
func TestHighWaterFileDamaged(t *testing.T) {
	t.Parallel()
	f := newFolder(t)
	mark := filepath.Join(t.TempDir(), "mark")
	opts := &eventstore.Options{HighWater: mark}
	store, err := f.open(opts)
	if err != nil {
		t.Fatal(err)
	}
	id := eventstore.StreamID{Kind: "order", ID: "42 größer"}
	at := add(t, store, id, eventstore.NoStream, events("1"), named("commit größer\" 100%"))
	sound, err := os.ReadFile(mark)
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, text []byte, want error) {
		t.Helper()
		if err := os.WriteFile(mark, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := f.open(opts); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%s: opened: %v, want %v", what, err, want)
		}
	}
	random := eventstore.Seeded(t)
	for range 50 {
		i := random.IntN(len(sound))
		flipped := bytes.Clone(sound)
		flipped[i] ^= 1 << random.IntN(8)
		try("a flipped bit", flipped, eventstore.ErrInvalid)
	}
	for _, n := range []int{1, 100, len(sound) - 1} {
		try("cut short", sound[:n], eventstore.ErrInvalid)
	}
	try("longer", append(bytes.Clone(sound), "x"...), eventstore.ErrInvalid)
	try("another file", []byte("{}\n"), eventstore.ErrInvalid)
	try("nothing noted yet", nil, nil)
	try("as it was", sound, nil)
	if _, err := f.open(&eventstore.Options{HighWater: filepath.Join(mark, "none", "mark")}); err == nil {
		t.Error("a path that cannot be is accepted")
	}
	if store, err = f.open(opts); err != nil {
		t.Fatal(err)
	}
	// Where the file cannot be written, the append that is stored is answered,
	// and no other is sent.
	eventstore.LoseHighWater(store)
	at = add(t, store, id, at, events("2"), nil)
	if _, err := store.Append(t.Context(), id, at, events("3"), nil); err == nil || errors.Is(err, eventstore.ErrUnknownOutcome) {
		t.Errorf("an append that cannot be noted: %v", err)
	}
	wantTexts(t, store, id, "1", "2")
}

// Settings that can lose history are opened by name only, and those without
// which nothing works never.
func TestAllowUnsafe(t *testing.T) {
	t.Parallel()
	s := oneNode(t)
	js := s.jetStream(t)
	store := s.open(t, js.Conn(), "template", nil)
	info, err := js.Stream(t.Context(), store.Name())
	if err != nil {
		t.Fatal(err)
	}
	cfg := info.CachedInfo().Config
	cfg.Name, cfg.Subjects, cfg.MaxMsgs, cfg.DenyPurge = "unsafe", []string{"unsafe.*.*"}, 1000, false
	if _, err := js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	broken := cfg
	broken.Name, broken.Subjects, broken.AllowDirect, broken.FirstSeq = "broken", []string{"broken.*.*"}, false, 100
	if _, err := js.CreateStream(t.Context(), broken); err != nil {
		t.Fatal(err)
	}
	all := []string{"max_msgs", "deny_purge", "allow_direct", "first_seq", "damage"}
	if _, err := eventstore.Open(t.Context(), js.Conn(), "broken", &eventstore.Options{AllowUnsafe: all}); !errors.Is(err, eventstore.ErrUnsafeLog) ||
		!strings.Contains(err.Error(), "allow_direct: ") || !strings.Contains(err.Error(), "first_seq: ") || strings.Contains(err.Error(), "max_msgs") {
		t.Errorf("a log that cannot work is opened: %v", err)
	}
	for _, c := range []struct {
		allowed, left []string
	}{
		{nil, []string{"max_msgs", "deny_purge"}},
		{[]string{"max_msgs"}, []string{"deny_purge"}},
		{[]string{"MAX_MSGS", "everything", ""}, []string{"max_msgs", "deny_purge"}},
		{[]string{"deny_purge", "max_msgs"}, nil},
	} {
		store, err := eventstore.Open(t.Context(), js.Conn(), "unsafe", &eventstore.Options{AllowUnsafe: c.allowed})
		var unsafe *eventstore.UnsafeLogError
		if c.left == nil {
			if err != nil {
				t.Fatal(err)
			}
			// It works as such a log can: what it forgot is missing.
			var at eventstore.Revision
			for i := range 1005 {
				at = add(t, store, stream(t), at, events(fmt.Sprint(i)), nil)
			}
			store, err = eventstore.Open(t.Context(), js.Conn(), "unsafe", &eventstore.Options{AllowUnsafe: c.allowed})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := collect(store.Read(t.Context(), stream(t), nil)); !errors.Is(err, eventstore.ErrCorrupt) {
				t.Errorf("a stream that lost its beginning is read: %v", err)
			}
			add(t, store, stream(t), at, events("more"), nil)
			continue
		}
		if !errors.As(err, &unsafe) || len(unsafe.Problems) != len(c.left) {
			t.Fatalf("with %q allowed: %v", c.allowed, err)
		}
		for i, problem := range unsafe.Problems {
			if !strings.HasPrefix(problem, c.left[i]+": ") {
				t.Errorf("with %q allowed the problems are %q", c.allowed, unsafe.Problems)
			}
		}
	}
}
