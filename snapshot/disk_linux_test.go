package snapshot_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/headwater-go/headwater/snapshot"
	"github.com/headwater-go/headwater/testutil"
)

// ballast takes all space that is left, and returns what gives it back.
func ballast(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// While the disk is full nothing is saved, what is there is used, and when there
// is room it goes on.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := testutil.Disk(t, "size=2m")
	path := filepath.Join(disk, "snapshots")
	free := ballast(t, disk)
	if s, err := snapshot.Open(path, nil); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("opened a new file on a full disk: %v, %v", s, err)
	}
	free()
	s := open(t, path)
	save(s, at("1", 1))
	flush(t, s)
	for range 3 {
		free := ballast(t, disk)
		big := bytes.Repeat([]byte("x"), 1<<20)
		s.Save(at("2", 1), func() ([]byte, error) { return big, nil })
		if err := s.Flush(t.Context()); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("saved on a full disk: %v", err)
		}
		want(t, s, "1", 1)
		closed(t, s)
		s = open(t, path)
		want(t, s, "1", 1)
		free()
		save(s, at("3", 1))
		flush(t, s)
		want(t, s, "3", 1)
	}
	closed(t, s)
	if s = open(t, path); s.Stats().SetAside > 0 {
		t.Error("it is damaged")
	}
	want(t, s, "1", 1)
	want(t, s, "3", 1)
	closed(t, s)
}

// A file that cannot be written is read, damaged or not.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	disk := testutil.Disk(t, "size=2m")
	path := filepath.Join(disk, "snapshots")
	s := open(t, path)
	save(s, at("1", 1))
	closed(t, s)
	damaged := filepath.Join(disk, "damaged")
	if err := os.WriteFile(damaged, make([]byte, 1<<16), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("no right to make it read-only: %v", err)
	}
	for path, version := range map[string]uint64{path: 1, damaged: 0} {
		s := open(t, path)
		want(t, s, "1", version)
		save(s, at("1", 2))
		if err := s.Flush(t.Context()); err == nil {
			t.Error("saved where nothing can be")
		}
		want(t, s, "1", version)
		if err := s.Compact(t.Context()); err == nil {
			t.Error("compacted where nothing can be")
		}
		closed(t, s)
	}
	if s, err := snapshot.Open(filepath.Join(disk, "new"), nil); err == nil {
		t.Error("opened a new file where none can be")
		s.Close()
	}
}
