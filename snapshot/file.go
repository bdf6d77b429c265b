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
	"runtime/debug"
	"sync"
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
	readOnly bool

	mu sync.Mutex
	db *database // nil: there is none that can be used, for the reason
	no error
}

// database is an open bbolt database and the file it has open.
type database struct {
	*bbolt.DB
	f       *os.File
	once    sync.Once
	damaged chan struct{} // closed when bbolt has panicked
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

// openDatabase opens a database whose pages it has checked.
func openDatabase(path string, readOnly bool) (*database, error) {
	if err := checkFile(path); err != nil {
		return nil, err
	}
	db := &database{damaged: make(chan struct{})}
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

// close closes a database, unless bbolt panicked in it, or does so now.
func (db *database) close() error {
	_, err := attempt(db, func(bolt *bbolt.DB) (struct{}, error) { return struct{}{}, bolt.Close() })
	if errors.Is(err, errDamaged) {
		db.abandon()
	}
	return err
}

// attempt lets bbolt do something. Where it panics the database is damaged, and
// whoever waits for a lock that bbolt took before is left behind: that is why
// another goroutine does it.
func attempt[T any](db *database, do func(*bbolt.DB) (T, error)) (result T, err error) {
	type outcome struct {
		result T
		err    error
	}
	select {
	case <-db.damaged:
		return result, errDamaged
	default:
	}
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		o.err = guard(func() (err error) { o.result, err = do(db.DB); return err })
		if errors.Is(o.err, errDamaged) {
			db.once.Do(func() { close(db.damaged) })
		}
		done <- o
	}()
	select {
	case o := <-done:
		return o.result, o.err
	case <-db.damaged:
		return result, errDamaged
	}
}

// use is attempt with the database as it is now. Damage is noted; the next Put
// then replaces the file.
func use[T any](f *file, do func(*bbolt.DB) (T, error)) (result T, err error) {
	for {
		f.mu.Lock()
		db, no := f.db, f.no
		f.mu.Unlock()
		if db == nil {
			return result, no
		}
		result, err = attempt(db, do)
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
	return use(f, func(db *bbolt.DB) (value []byte, err error) {
		err = db.View(func(tx *bbolt.Tx) error {
			if b := tx.Bucket(bucketName); b != nil {
				if v := b.Get([]byte(key)); v != nil {
					value = append(make([]byte, 0, len(v)), v...)
				}
			}
			return nil
		})
		return value, err
	})
}

func (f *file) Put(_ context.Context, values map[string][]byte) error {
	values = maps.Clone(values) // one that is left behind may go on with them
	put := func(db *bbolt.DB) (none struct{}, err error) {
		err = db.Update(func(tx *bbolt.Tx) error { return putAll(tx, values) })
		if errors.Is(err, syscall.EFBIG) { // it took the number of a page from damage
			err = fmt.Errorf("%w: %w", errDamaged, err)
		}
		return none, err
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
	const most, enough = 256, 1 << 20 // entries and bytes read in one transaction
	return func(yield func(Entry, error) bool) {
		var after []byte
		for {
			page, err := use(f, func(db *bbolt.DB) (page []Entry, err error) {
				err = db.View(func(tx *bbolt.Tx) error {
					page = pageAfter(tx.Bucket(bucketName), after, most, enough)
					return ctx.Err()
				})
				return page, err
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

// Compact copies what is there into a new file, which then takes the place of
// the old one. Loads go on.
func (f *file) Compact(context.Context) error {
	if f.readOnly {
		return &fs.PathError{Op: "compact", Path: f.path, Err: fs.ErrPermission}
	}
	if err := f.compact(f.path + ".compact"); err != nil {
		return fmt.Errorf("compact %s: %w", f.path, err)
	}
	return nil
}

func (f *file) compact(smaller string) error {
	if err := os.Remove(smaller); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_, err := use(f, func(db *bbolt.DB) (none struct{}, err error) { return none, compact(db, smaller) })
	if err != nil {
		return err
	}
	db, err := openDatabase(smaller, false)
	if err != nil {
		return errors.Join(err, os.Remove(smaller))
	}
	if err := os.Rename(smaller, f.path); err != nil {
		return errors.Join(err, db.close(), os.Remove(smaller))
	}
	return f.take(db, nil).close()
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
	var err error
	if db := f.take(nil, ErrClosed); db != nil {
		if err = db.close(); errors.Is(err, errDamaged) {
			err = nil // it is set aside when it is opened again
		}
	}
	return errors.Join(err, f.unlock())
}
