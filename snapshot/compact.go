package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"go.etcd.io/bbolt"
)

// Compact copies what is there into a new file, which then takes the place of
// the old one. Loads go on.
func (f *file) Compact(ctx context.Context) error {
	if f.readOnly {
		return &fs.PathError{Op: "compact", Path: f.path, Err: fs.ErrPermission}
	}
	if err := f.compact(ctx, f.path+".compact"); err != nil {
		return fmt.Errorf("compact %s: %w", f.path, err)
	}
	return nil
}

func (f *file) compact(ctx context.Context, smaller string) error {
	if err := os.Remove(smaller); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := f.copyTo(ctx, smaller); err != nil {
		return errors.Join(err, os.Remove(smaller))
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

// copyTo copies what is there, in the order of the keys, into a new database.
func (f *file) copyTo(ctx context.Context, path string) (err error) {
	const full = 0.9 // of a page, to which nothing is added soon
	to, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Millisecond, NoSync: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	for page, err := range f.pages(ctx) {
		if err != nil {
			return err
		}
		err = to.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(bucketName)
			if err != nil {
				return err
			}
			b.FillPercent = full
			for _, e := range page {
				if err := b.Put([]byte(e.Key), e.Value); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return to.Sync()
}
