package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"sync"
	"syscall"

	"github.com/headwater-go/headwater/internal/lock"
	"github.com/headwater-go/headwater/internal/pages"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// file is the backend that is a bbolt database. bbolt trusts its pages: it takes
// a flipped bit for data, panics where pages make no sense, and faults where the
// file is shorter than its memory map. So whatever comes from it is checked by
// the store, whatever it does is guarded here, and the pages are checked before
// it opens a file, since a loop in them would end the process.
type file struct {
	*ledger
	path     string
	lock     io.Closer // nil where the file is only read
	readOnly bool

	mu sync.Mutex
	db *database // nil: there is none that can be used, for the reason
	no error
}

var bucketName = []byte("snapshots")

// errDamaged is what is wrong with a file that is to be set aside.
var errDamaged = pages.ErrDamaged

func openFile(path string, l *ledger) (*file, error) {
	f := &file{ledger: l, path: path}
	if err := fileOrNone(path); err != nil {
		return nil, fmt.Errorf("snapshots: %w", err)
	}
	var err error
	if f.lock, err = lock.Take(path + ".lock"); errors.Is(err, lock.ErrDamaged) {
		// Nobody has it. If two do this at once, bbolt's own lock is left.
		err = os.Remove(path + ".lock")
		if err == nil {
			f.lock, err = lock.Take(path + ".lock")
		}
	}
	switch {
	case errors.Is(err, lock.ErrLocked):
		return nil, &LockedError{Path: path}
	case err != nil && denied(err):
		f.readOnly = true
	case err != nil:
		return nil, fmt.Errorf("snapshots: %w", err)
	}
	f.db, err = openDatabase(path, f.readOnly)
	if denied(err) && !f.readOnly {
		f.readOnly = true
		f.db, err = openDatabase(path, true)
	}
	if errors.Is(err, errDamaged) {
		err = f.replace(err)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("snapshots: file %s: %w", path, err), f.unlock())
	}
	if f.readOnly {
		f.warn("the file cannot be written, and is only read", "file", path)
	}
	return f, nil
}

// fileOrNone reports an error if something else than a file is at path.
func fileOrNone(path string) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return &fs.PathError{Op: "open", Path: path, Err: errors.New("it is not a file")}
	case path == "":
		return &fs.PathError{Op: "open", Path: path, Err: fs.ErrInvalid}
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return err
}

func denied(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

func (f *file) unlock() error {
	if f.lock == nil {
		return nil
	}
	return f.lock.Close()
}

// use does something with the database as it is now. When it is damaged the next
// Put replaces the file.
func use[T any](f *file, do func(*database) (T, error)) (result T, err error) {
	for {
		f.mu.Lock()
		db, no := f.db, f.no
		f.mu.Unlock()
		if db == nil {
			return result, no
		}
		result, err = do(db)
		if errors.Is(err, bolterrors.ErrDatabaseNotOpen) && f.swapped(db) {
			continue
		}
		return result, err
	}
}

func (f *file) swapped(db *database) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.db != db
}

// take puts another database in the place of the one that is there, which it
// returns. Without one, all that comes fails for the reason.
func (f *file) take(db *database, no error) (old *database) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old, f.db, f.no = f.db, db, no
	return old
}

// replace sets the damaged file aside, where the last such one was, and opens a
// new one.
func (f *file) replace(why error) error {
	f.take(nil, errDamaged).abandon()
	if f.readOnly {
		f.warn("the file is damaged, and cannot be replaced", "file", f.path, "error", why)
		return nil
	}
	f.warn("the file is damaged, and is set aside", "file", f.path, "error", why)
	// It is not there if an earlier try came to no end.
	if err := os.Rename(f.path, f.path+".damaged"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := openDatabase(f.path, false)
	if err != nil {
		return err
	}
	f.take(db, nil)
	f.count(func(st *Stats) { st.SetAside++ })
	return nil
}

func (f *file) Get(_ context.Context, key string) ([]byte, error) {
	return use(f, func(db *database) ([]byte, error) {
		return read(db, func(tx *bbolt.Tx) (value []byte, err error) {
			if b := tx.Bucket(bucketName); b != nil {
				if v := b.Get([]byte(key)); v != nil {
					value = append(make([]byte, 0, len(v)), v...)
				}
			}
			return value, nil
		})
	})
}

func (f *file) Put(_ context.Context, values map[string][]byte) error {
	values = maps.Clone(values) // one that is left behind may go on with them
	put := func(db *database) (none struct{}, err error) {
		return none, db.attempt(func() error {
			err := db.Update(func(tx *bbolt.Tx) error { return putAll(tx, values) })
			if errors.Is(err, syscall.EFBIG) { // it took the number of a page from damage
				err = fmt.Errorf("%w: %w", errDamaged, err)
			}
			return err
		})
	}
	_, err := use(f, put)
	if !errors.Is(err, errDamaged) || f.readOnly {
		return err
	}
	if err := f.replace(err); err != nil {
		return fmt.Errorf("file %s: %w", f.path, err)
	}
	_, err = use(f, put)
	return err
}

func putAll(tx *bbolt.Tx, values map[string][]byte) error {
	b := tx.Bucket(bucketName)
	if b == nil {
		return fmt.Errorf("%w: it has no snapshots", errDamaged)
	}
	for key, value := range values {
		err := b.Delete([]byte(key))
		if value != nil {
			err = b.Put([]byte(key), value)
		}
		if err != nil {
			return fmt.Errorf("key %.64q: %w", key, err)
		}
	}
	return nil
}

func (f *file) All(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for page, err := range f.pages(ctx) {
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

// pages yields what is there, so much at a time.
func (f *file) pages(ctx context.Context) iter.Seq2[[]Entry, error] {
	const most, enough = 256, 1 << 20 // entries, and bytes
	return func(yield func([]Entry, error) bool) {
		var after []byte
		for {
			page, err := use(f, func(db *database) ([]Entry, error) {
				return read(db, func(tx *bbolt.Tx) ([]Entry, error) {
					return pageAfter(tx.Bucket(bucketName), after, most, enough), ctx.Err()
				})
			})
			if err == nil && len(page) == 0 || !yield(page, err) || err != nil {
				return
			}
			after = []byte(page[len(page)-1].Key)
		}
	}
}

// pageAfter copies the entries that come after a key.
func pageAfter(b *bbolt.Bucket, after []byte, most, enough int) (page []Entry) {
	if b == nil {
		return nil
	}
	c := b.Cursor()
	k, v := c.First()
	if after != nil {
		if k, v = c.Seek(after); string(k) == string(after) {
			k, v = c.Next()
		}
	}
	for size := 0; k != nil && len(page) < most && size < enough; k, v = c.Next() {
		page = append(page, Entry{Key: string(k), Value: append([]byte(nil), v...)})
		size += len(k) + len(v)
	}
	return page
}

func (f *file) Close() error {
	var err error
	if db := f.take(nil, ErrClosed); db != nil {
		if err = db.close(); errors.Is(err, errDamaged) {
			err = nil // it is set aside when it is opened again
		}
	}
	return errors.Join(err, f.unlock())
}
