package projection

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/headwater-go/headwater/internal/lock"
	"github.com/headwater-go/headwater/internal/pages"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// File is a bbolt file with the read models of projections, each in a bucket of its
// own, which is what handlers get. It is a model for one process.
//
// bbolt has one transaction at a time that writes, for all projections in the
// file. Give one that has much to do a file of its own.
type File struct {
	path string
	db   *bbolt.DB
	lock io.Closer
	claims
}

// OpenFile opens the file of read models at path, and creates it where there is
// none. Close it in the end. If another process has it open the error matches
// [ErrLocked], and if it is not a file of bbolt, or damaged, [ErrDamaged]: to find that
// out, all of it is read. Who has it open is known by the file NAME.lock beside it, which
// stays.
func OpenFile(path string) (*File, error) {
	held, err := lock.Take(path + ".lock")
	if errors.Is(err, lock.ErrLocked) {
		return nil, errInUse(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read models: %w", err)
	}
	db, err := openDatabase(path)
	if err != nil {
		return nil, errors.Join(err, held.Close())
	}
	return &File{path: path, db: db, lock: held}, nil
}

func errInUse(path string) error {
	return fmt.Errorf("%s: %w: another process has it open, or this one for a second time; each needs a file of its own", path, ErrLocked)
}

// openDatabase opens a database with pages that bbolt may see.
func openDatabase(path string) (db *bbolt.DB, err error) {
	if err = pages.CheckFile(path); err == nil {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Millisecond}) // one try
	}
	switch {
	case err == nil:
		return db, nil
	case errors.Is(err, bolterrors.ErrTimeout): // by what does not know of the lock
		return nil, errInUse(path)
	}
	for _, damage := range []error{pages.ErrDamaged, bolterrors.ErrInvalid, bolterrors.ErrChecksum, bolterrors.ErrVersionMismatch} {
		if errors.Is(err, damage) {
			return nil, fmt.Errorf("%s: %w: %w; remove it, and the read models are built again from the log", path, ErrDamaged, err)
		}
	}
	return nil, fmt.Errorf("read models: %s: %w", path, err)
}

// Close closes the file. Projections that use it should not run any more.
func (f *File) Close() error { return errors.Join(f.db.Close(), f.lock.Close()) }

// Path returns where the file is.
func (f *File) Path() string { return f.path }

// View runs fn on the live generation of a projection's read model, which does not
// change meanwhile. The bucket and what it returns are for reading, and not valid
// after fn has returned. If the projection never ran the error matches
// [ErrNoGeneration].
func (f *File) View(projection string, fn func(*bbolt.Bucket) error) error {
	return f.db.View(func(tx *bbolt.Tx) error {
		var live uint64
		root := tx.Bucket([]byte(projection))
		if root != nil {
			live = number(root.Get(shownKey))
		}
		return viewBucket(root, projection, live, fn)
	})
}

// ViewGeneration is View for another generation than the live one.
func (f *File) ViewGeneration(projection string, generation uint64, fn func(*bbolt.Bucket) error) error {
	return f.db.View(func(tx *bbolt.Tx) error {
		return viewBucket(tx.Bucket([]byte(projection)), projection, generation, fn)
	})
}

func viewBucket(root *bbolt.Bucket, projection string, generation uint64, fn func(*bbolt.Bucket) error) error {
	var data *bbolt.Bucket
	if root != nil {
		data = root.Bucket(dataKey(generation))
	}
	if data == nil {
		return fmt.Errorf("projection %s: generation %d: %w", projection, generation, ErrNoGeneration)
	}
	return fn(data)
}

// In the bucket of a projection are its records, in one bucket, each generation in
// one, and the number of the one that readers see.
var (
	recordsKey = []byte("records")
	shownKey   = []byte("shown")
)

func dataKey(generation uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte("data "), generation)
}

func number(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// Traits says that the file is for one process, and has one transaction at a time.
func (f *File) Traits() Traits { return Traits{} }

// Update is that of [Model].
func (f *File) Update(ctx context.Context, projection string, fn func(Tx[*bbolt.Bucket]) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return f.db.Update(func(tx *bbolt.Tx) error {
		root, err := tx.CreateBucketIfNotExists([]byte(projection))
		if err != nil {
			return err
		}
		if _, err := root.CreateBucketIfNotExists(recordsKey); err != nil {
			return err
		}
		return fn(fileTx{fileRecords{root}})
	})
}

// Records is that of [Model].
func (f *File) Records(_ context.Context, projection string, fn func(Records) error) error {
	return f.db.View(func(tx *bbolt.Tx) error { return fn(fileRecords{tx.Bucket([]byte(projection))}) })
}

// fileRecords are those in the bucket of a projection, if it has one.
type fileRecords struct{ root *bbolt.Bucket }

func (r fileRecords) Get(key string) ([]byte, error) {
	if b := r.bucket(); b != nil {
		return bytes.Clone(b.Get([]byte(key))), nil
	}
	return nil, nil
}

// bucket returns that of the records, nil if there is none yet.
func (r fileRecords) bucket() *bbolt.Bucket {
	if r.root == nil {
		return nil
	}
	return r.root.Bucket(recordsKey)
}

func (r fileRecords) List(prefix string) (map[string][]byte, error) {
	all := make(map[string][]byte)
	b := r.bucket()
	if b == nil {
		return all, nil
	}
	c := b.Cursor()
	for k, v := c.Seek([]byte(prefix)); k != nil && bytes.HasPrefix(k, []byte(prefix)); k, v = c.Next() {
		all[string(k)] = bytes.Clone(v)
	}
	return all, nil
}

type fileTx struct{ fileRecords }

func (t fileTx) Put(key string, value []byte) error {
	records := t.root.Bucket(recordsKey)
	if value == nil {
		return records.Delete([]byte(key))
	}
	return records.Put([]byte(key), value)
}

func (t fileTx) Data(generation uint64) (*bbolt.Bucket, error) {
	if data := t.root.Bucket(dataKey(generation)); data != nil {
		return data, nil
	}
	return nil, fmt.Errorf("generation %d: %w", generation, ErrNoGeneration)
}

func (t fileTx) Create(generation uint64) error {
	_, err := t.root.CreateBucket(dataKey(generation))
	return err
}

func (t fileTx) Show(generation uint64) error {
	return t.root.Put(shownKey, binary.BigEndian.AppendUint64(nil, generation))
}

func (t fileTx) Drop(generation uint64) error { return t.root.DeleteBucket(dataKey(generation)) }
