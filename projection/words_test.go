package projection_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/testutil"
)

func TestPoliciesAreFlags(t *testing.T) {
	t.Parallel()
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	var opts projection.Options
	fs.TextVar(&opts.Poison, "poison", projection.Stop, "")
	fs.TextVar(&opts.Unknown, "unknown", projection.Refuse, "")
	if err := fs.Parse([]string{"-poison", "park", "-unknown", "ignore"}); err != nil || opts.Poison != projection.Park || opts.Unknown != projection.Ignore {
		t.Errorf("%+v, %v", opts, err)
	}
	if err := fs.Parse([]string{"-poison", "skip"}); err == nil {
		t.Error("there is no word for skipping")
	}
}

func TestCatchUp(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	p := newProjection(t, "balances", store, file, balances(), nil)
	for range 2 {
		if err := p.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			deposit(t, store, i, i)
		}
	}
	if err := p.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, file, "balances"), folded(t, store); !maps.Equal(got, want) {
		t.Errorf("read model %v, log %v", got, want)
	}
	appended(t, store, account("odd"), eventstore.EventData{Type: "account.renamed"})
	if err := p.CatchUp(t.Context()); !errors.Is(err, projection.ErrStopped) {
		t.Errorf("an event that cannot be handled: %v", err)
	}
	parks := newProjection(t, "balances", store, file, balances(), &projection.Options{Poison: projection.Park})
	if err := parks.CatchUp(t.Context()); err != nil {
		t.Errorf("an event that is parked: %v", err)
	}
}

// Events without handlers are not decoded, and so cannot be poison.
func TestWhatHasNoHandlerIsNotDecoded(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	appended(t, store, account("a"), eventstore.EventData{Type: noted{}.EventType(), Data: []byte("no JSON")})
	p := newProjection(t, "balances", store, file, balances(), nil)
	if err := p.CatchUp(t.Context()); err != nil {
		t.Error(err)
	}
	appended(t, store, account("a"), eventstore.EventData{Type: deposited{}.EventType(), Data: []byte("no JSON")})
	if err := p.CatchUp(t.Context()); !errors.Is(err, projection.ErrStopped) {
		t.Errorf("with a handler: %v", err)
	}
}

func TestOpenFileRefuses(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "models")
	if err := os.WriteFile(path, make([]byte, 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := projection.OpenFile(path); !errors.Is(err, projection.ErrDamaged) {
		t.Errorf("a file of zeros: %v", err)
	}
	file := openFile(t)
	if _, err := projection.OpenFile(file.Path()); !errors.Is(err, projection.ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
}

// A file whose pages bbolt could not work on is an error, and is made anew when it is
// removed. Opened by bbolt alone, some of these end the process.
func TestOpenDamagedFile(t *testing.T) {
	t.Parallel()
	store := testutil.Store(t)
	for i := range 500 {
		deposit(t, store, fmt.Sprint("account-", i), 1)
	}
	path := filepath.Join(t.TempDir(), "models")
	sound := caughtUpFile(t, store, path)
	page, damaged := os.Getpagesize(), 0
	for at := 2 * page; at < len(sound); at += page {
		image := bytes.Clone(sound)
		copy(image[at+8:], []byte{1, 0, 1, 0}) // a branch of one element, whatever that is
		if openImage(t, path, image) {
			damaged++
		}
	}
	if damaged < 3 {
		t.Errorf("%d of %d pages were found damaged", damaged, len(sound)/page)
	}
	if !openImage(t, path, sound[:len(sound)/2]) {
		t.Error("a file that was cut was opened")
	}
	if openImage(t, path, sound) {
		t.Error("the sound file is damaged")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	caughtUpFile(t, store, path)
}

// caughtUpFile makes a file of read models, or goes on with one, and returns its bytes.
func caughtUpFile(t *testing.T, store *eventstore.Store, path string) []byte {
	t.Helper()
	file, err := projection.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	err = newProjection(t, "balances", store, file, balances(), nil).CatchUp(t.Context())
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// openImage reports whether a file of these bytes is found damaged.
func openImage(t *testing.T, path string, image []byte) bool {
	t.Helper()
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := projection.OpenFile(path)
	if errors.Is(err, projection.ErrDamaged) {
		return true
	}
	if err == nil {
		err = file.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return false
}
