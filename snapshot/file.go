package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/headwater-go/headwater/internal/lock"
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
	mu       sync.RWMutex
	db       *database // nil: there is none that can be used
	damaged  atomic.Bool
	readOnly bool
}

// database is an open bbolt database and the file it has open.
type database struct {
	*bbolt.DB
	f *os.File
}

var bucketName = []byte("snapshots")

// errDamaged is what is wrong with a file that is to be set aside.
var errDamaged = errors.New("the file is damaged")

func openFile(path string, l *ledger) (*file, error) {
	f := &file{ledger: l, path: path}
	if err := fileOrNone(path); err != nil {
		return nil, fmt.Errorf("snapshots: %w", err)
	}
	var err error
	f.lock, err = lock.Take(path + ".lock")
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

// openDatabase opens a database whose pages it has checked.
func openDatabase(path string, readOnly bool) (*database, error) {
	if err := checkFile(path); err != nil {
		return nil, err
	}
	db := new(database)
	err := guard(func() (err error) {
		db.DB, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout: time.Millisecond, ReadOnly: readOnly, NoStatistics: true,
			OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
				db.f, err = os.OpenFile(name, flag, mode)
				return db.f, err
			},
		})
		if err != nil || readOnly || db.View(hasBucket) == nil {
			return err
		}
		return db.Update(func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket(bucketName)
			return err
		})
	})
	switch {
	case err == nil:
		return db, nil
	case errors.Is(err, bolterrors.ErrTimeout):
		err = &LockedError{Path: path}
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrVersionMismatch), errors.Is(err, bolterrors.ErrChecksum):
		err = fmt.Errorf("%w: %w", errDamaged, err)
	}
	if db.DB != nil && !errors.Is(err, errDamaged) {
		_ = db.Close() // the error says more
	}
	db.abandon()
	return nil, err
}

func hasBucket(tx *bbolt.Tx) error {
	if tx.Bucket(bucketName) == nil {
		return errDamaged
	}
	return nil
}

// checkFile reports a file with pages that bbolt must not see.
func checkFile(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err // bbolt makes a database of an empty file
	}
	if err := checkPages(f, info.Size()); err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	return nil
}

// guard calls what works on a database. What bbolt panics of is damage.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errDamaged, r)
		}
	}()
	return f()
}

// abandon closes the file of a database in which bbolt panicked, and may have
// left locks of its own behind: its Close could wait for ever. The memory map
// stays, and with it bbolt's lock on the file, which is set aside.
func (db *database) abandon() {
	if db != nil && db.f != nil {
		_ = db.f.Close() // bbolt may have closed it
	}
}

// replace sets the damaged file aside, where the last such one was, and opens a
// new one. Who calls it has the file for itself.
func (f *file) replace(why error) error {
	f.warn("the file is damaged, and is set aside", "file", f.path, "error", why)
	f.db.abandon()
	f.db = nil
	if f.readOnly {
		return nil
	}
	// It is not there if an earlier try came to no end.
	if err := os.Rename(f.path, f.path+".damaged"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := openDatabase(f.path, false)
	if err != nil {
		return err
	}
	f.db = db
	f.damaged.Store(false)
	f.count(func(st *Stats) { st.SetAside++ })
	return nil
}

// use calls what reads or writes the database. Damage is noted; the next Put
// then replaces the file.
func (f *file) use(do func(*bbolt.DB) error) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.db == nil || f.damaged.Load() {
		return errDamaged
	}
	err := guard(func() error { return do(f.db.DB) })
	if errors.Is(err, syscall.EFBIG) { // it took the number of a page from damage
		err = fmt.Errorf("%w: %w", errDamaged, err)
	}
	if errors.Is(err, errDamaged) {
		f.damaged.Store(true)
	}
	return err
}

func (f *file) Get(_ context.Context, key string) (value []byte, err error) {
	err = f.use(func(db *bbolt.DB) error {
		return db.View(func(tx *bbolt.Tx) error {
			if b := tx.Bucket(bucketName); b != nil {
				if v := b.Get([]byte(key)); v != nil {
					value = append(make([]byte, 0, len(v)), v...)
				}
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return value, nil
}

func (f *file) Put(_ context.Context, values map[string][]byte) error {
	put := func(db *bbolt.DB) error {
		return db.Update(func(tx *bbolt.Tx) error {
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
		})
	}
	err := f.use(put)
	if !errors.Is(err, errDamaged) || f.readOnly {
		return err
	}
	f.mu.Lock()
	err = f.replace(err)
	f.mu.Unlock()
	if err != nil {
		return fmt.Errorf("file %s: %w", f.path, err)
	}
	return f.use(put)
}

func (f *file) All(ctx context.Context) iter.Seq2[Entry, error] {
	const most, enough = 256, 1 << 20 // entries and bytes read in one transaction
	return func(yield func(Entry, error) bool) {
		var after []byte
		for {
			var page []Entry
			err := f.use(func(db *bbolt.DB) error {
				return db.View(func(tx *bbolt.Tx) error {
					page = pageAfter(tx.Bucket(bucketName), after, most, enough)
					return ctx.Err()
				})
			})
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
			}
			if len(page) == 0 {
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

// Compact copies what is there into a new file, and then takes that one.
func (f *file) Compact(context.Context) error {
	if f.readOnly {
		return &fs.PathError{Op: "compact", Path: f.path, Err: fs.ErrPermission}
	}
	smaller := f.path + ".compact"
	err := os.Remove(smaller)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = f.use(func(db *bbolt.DB) error { return compact(db, smaller) })
	}
	if err != nil {
		return fmt.Errorf("compact %s: %w", f.path, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	err = errors.Join(f.db.Close(), os.Rename(smaller, f.path))
	db, openErr := openDatabase(f.path, false)
	f.db = db
	return errors.Join(err, openErr)
}

// compact copies a database into a new file, which is there only if all is well.
func compact(db *bbolt.DB, path string) (err error) {
	const txSize = 1 << 20 // bytes
	to, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Millisecond, NoSync: true})
	if err != nil {
		return err
	}
	whole := false
	defer func() {
		if err = errors.Join(err, to.Close()); err != nil || !whole {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	if err = bbolt.Compact(to, db, txSize); err == nil {
		err = to.Sync()
	}
	whole = err == nil
	return err
}

func (f *file) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var err error
	if f.damaged.Load() {
		f.db.abandon()
	} else if f.db != nil {
		err = f.db.Close()
	}
	f.db = nil
	return errors.Join(err, f.unlock())
}
