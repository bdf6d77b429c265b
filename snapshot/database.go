package snapshot

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/headwater-go/headwater/internal/pages"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// database is an open bbolt database and the file it has open.
type database struct {
	*bbolt.DB
	f       *os.File
	once    sync.Once
	damaged chan struct{} // closed when bbolt has panicked
	reading sync.Mutex    // one reads at a time, see read
}

// openDatabase opens a database whose pages it has checked.
func openDatabase(path string, readOnly bool) (*database, error) {
	if err := pages.CheckFile(path); err != nil {
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
	err := db.attempt(db.DB.Close)
	if errors.Is(err, errDamaged) {
		db.abandon()
	}
	return err
}

// read lets bbolt read. It panics for example where it begins to read and finds
// the file cut, and then leaves locks behind for which the next reader, and one
// that ends, would wait for ever. So there is one reader at a time, who sees what
// became of the one before; it takes a microsecond or two.
func read[T any](db *database, do func(*bbolt.Tx) (T, error)) (result T, err error) {
	db.reading.Lock()
	defer db.reading.Unlock()
	if err := db.sound(); err != nil {
		return result, err
	}
	err = db.guard(func() error {
		return db.View(func(tx *bbolt.Tx) (err error) { result, err = do(tx); return err })
	})
	return result, err
}

// attempt lets bbolt do what may have to wait for such a lock: another goroutine
// does it, which is left behind when the database is damaged.
func (db *database) attempt(do func() error) error {
	if err := db.sound(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- db.guard(do) }()
	select {
	case err := <-done:
		return err
	case <-db.damaged:
		return errDamaged
	}
}

func (db *database) sound() error {
	select {
	case <-db.damaged:
		return errDamaged
	default:
		return nil
	}
}

// guard is the function guard, and notes damage.
func (db *database) guard(do func() error) error {
	err := guard(do)
	if errors.Is(err, errDamaged) {
		db.once.Do(func() { close(db.damaged) })
	}
	return err
}
