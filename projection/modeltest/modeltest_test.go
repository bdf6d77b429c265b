package modeltest_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/projection/modeltest"
	"github.com/headwater-go/headwater/testutil"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFile(t *testing.T) {
	modeltest.Run(t, func(t *testing.T) modeltest.Fixture[*bbolt.Bucket] {
		return fileAt(t, filepath.Join(t.TempDir(), "models"))
	})
}

func fileAt(t *testing.T, path string) modeltest.Fixture[*bbolt.Bucket] {
	t.Helper()
	f := openFile(t, path)
	return modeltest.Fixture[*bbolt.Bucket]{
		Model: f,
		Put:   func(b *bbolt.Bucket, key, value string) error { return b.Put([]byte(key), []byte(value)) },
		Get:   func(b *bbolt.Bucket, key string) (string, error) { return string(b.Get([]byte(key))), nil },
		Live: func(_ context.Context, projection, key string) (value string, err error) {
			err = f.View(projection, func(b *bbolt.Bucket) error {
				value = string(b.Get([]byte(key)))
				return nil
			})
			return value, err
		},
		Close: f.Close,
		Again: func(t *testing.T) modeltest.Fixture[*bbolt.Bucket] { return fileAt(t, path) },
	}
}

func openFile(t *testing.T, path string) *projection.File {
	t.Helper()
	f, err := projection.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// words is a read model in memory.
type words map[string]string

func TestMemory(t *testing.T) {
	modeltest.Run(t, func(t *testing.T) modeltest.Fixture[*words] {
		return memoryAt(t, filepath.Join(t.TempDir(), "models"))
	})
}

func memoryAt(t *testing.T, path string) modeltest.Fixture[*words] {
	t.Helper()
	f := openFile(t, path)
	m := projection.NewMemory(f, func() words { return words{} })
	return modeltest.Fixture[*words]{
		Model: m,
		Put:   func(w *words, key, value string) error { (*w)[key] = value; return nil },
		Get:   func(w *words, key string) (string, error) { return (*w)[key], nil },
		Live: func(ctx context.Context, projection, key string) (value string, err error) {
			err = m.View(ctx, projection, func(w *words) error {
				value = (*w)[key]
				return nil
			})
			return value, err
		},
		Close: f.Close,
		Again: func(t *testing.T) modeltest.Fixture[*words] { return memoryAt(t, path) },
	}
}

func TestEffects(t *testing.T) {
	modeltest.Run(t, func(t *testing.T) modeltest.Fixture[struct{}] {
		return effectsAt(t, filepath.Join(t.TempDir(), "models"))
	})
}

func effectsAt(t *testing.T, path string) modeltest.Fixture[struct{}] {
	t.Helper()
	f := openFile(t, path)
	return modeltest.Fixture[struct{}]{
		Model: projection.NewEffects(f),
		Put:   func(struct{}, string, string) error { return nil },
		Close: f.Close,
		Again: func(t *testing.T) modeltest.Fixture[struct{}] { return effectsAt(t, path) },
	}
}

func TestKV(t *testing.T) {
	modeltest.Run(t, func(t *testing.T) modeltest.Fixture[struct{}] {
		return kvOn(t, testutil.Server(t), func(kv *projection.KV) projection.Model[struct{}] { return kv })
	})
}

func TestEffectsOnKV(t *testing.T) {
	modeltest.Run(t, func(t *testing.T) modeltest.Fixture[struct{}] {
		return kvOn(t, testutil.Server(t), func(kv *projection.KV) projection.Model[struct{}] { return projection.NewEffects(kv) })
	})
}

func kvOn(t *testing.T, server testutil.Connector, model func(*projection.KV) projection.Model[struct{}]) modeltest.Fixture[struct{}] {
	t.Helper()
	nc := testutil.Connect(t, server)
	kv, err := projection.OpenKV(t.Context(), nc, "projections", nil)
	if err != nil {
		t.Fatal(err)
	}
	return modeltest.Fixture[struct{}]{
		Model: model(kv),
		Put:   func(struct{}, string, string) error { return nil },
		Close: func() error { nc.Close(); return nil },
		Again: func(t *testing.T) modeltest.Fixture[struct{}] { return kvOn(t, server, model) },
	}
}

// TestFake passes, unless [TestFaults] runs it with a fault.
func TestFake(t *testing.T) {
	modeltest.Run(t, func(t *testing.T) modeltest.Fixture[words] {
		return fakeOf(&disk{models: make(map[string]*state)}, os.Getenv(faultEnv))
	})
}

func fakeOf(d *disk, fault string) modeltest.Fixture[words] {
	f := &fake{disk: d, fault: fault}
	if fault == "loses what is on the disk" {
		d = &disk{models: make(map[string]*state)}
	}
	return modeltest.Fixture[words]{
		Model: f,
		Put:   func(w words, key, value string) error { w[key] = value; return nil },
		Get:   func(w words, key string) (string, error) { return w[key], nil },
		Live: func(_ context.Context, projection, key string) (string, error) {
			live, err := f.live(projection)
			return live[key], err
		},
		Close: func() error {
			if fault == "does not close" {
				return errors.New("stuck")
			}
			return nil
		},
		Again: func(*testing.T) modeltest.Fixture[words] { return fakeOf(d, fault) },
	}
}

// live returns a copy of what readers see.
func (f *fake) live(projection string) (words, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	s := f.disk.of(projection)
	data, ok := s.data[s.shown]
	if f.fault == "shows the first" {
		data, ok = s.data[1]
	}
	if !ok && f.fault != "shows something" {
		return nil, errNoGeneration
	}
	return maps.Clone(data), nil
}
