package embedded

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// keepDir holds second names, hard links, of the streams' files while the
// server opens them: it deletes a stream that it cannot open, be it for want of
// space or of a file descriptor. Its name is part of the folder's layout.
const keepDir = "headwater.keep"

// tries is how often files are put back at once. Having deleted a stream, the
// server removes folders above it in the background if they are empty.
const tries = 10

// indexFile is the server's index of a stream, which it makes anew from the
// messages where it is missing.
const indexFile = "index.db"

// metaFile is what makes a folder a stream.
const metaFile = "meta.inf"

// streamsDir is where the server has its streams. There is one account.
func (s *Server) streamsDir() string {
	return filepath.Join(s.dir, server.JetStreamStoreDir, server.DEFAULT_GLOBAL_ACCOUNT, "streams")
}

func (s *Server) keepDir() string { return filepath.Join(s.dir, keepDir) }

// keep gives the files of all streams a second name, after it has put back
// what a process that ended in the meantime may have left there.
func (s *Server) keep() error {
	if runtime.GOOS == "windows" {
		return errors.ErrUnsupported // there an open file keeps all its names
	}
	if err := s.putBack(true); err != nil {
		return err
	}
	if err := os.Mkdir(s.keepDir(), 0o750); err != nil {
		return err
	}
	// So that it is known at once if the file system has no such links.
	if err := os.Link(filepath.Join(s.dir, lockFile), filepath.Join(s.keepDir(), lockFile)); err != nil {
		return err
	}
	streams, err := subfolders(s.streamsDir())
	for _, name := range streams {
		if err == nil && !strings.HasPrefix(name, ".") { // that one is being deleted
			err = link(filepath.Join(s.streamsDir(), name), filepath.Join(s.keepDir(), name))
		}
	}
	return err
}

// putBack gives files that were kept their names again, and forgets them: those
// of streams that are gone, or with all whatever is missing. A stream that was
// put in the place of a kept one meanwhile, from a backup, stays as it is.
func (s *Server) putBack(all bool) error {
	streams, err := subfolders(s.keepDir())
	if err != nil {
		return err
	}
	for _, name := range streams {
		stream, kept := filepath.Join(s.streamsDir(), name), filepath.Join(s.keepDir(), name)
		if _, err := os.Stat(stream); err == nil && (!all || !sameStream(stream, kept)) {
			continue
		}
		err := fs.ErrNotExist
		for i := 0; i < tries && errors.Is(err, fs.ErrNotExist); i++ {
			err = link(kept, stream)
		}
		if err != nil {
			return err
		}
	}
	return os.RemoveAll(s.keepDir())
}

// sameStream reports whether a stream's folder is the one that was kept, or what
// is left of it.
func sameStream(stream, kept string) bool {
	is, err := os.Stat(filepath.Join(stream, metaFile))
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	was, err := os.Stat(filepath.Join(kept, metaFile))
	return err == nil && os.SameFile(is, was)
}

// subfolders returns the names of the folders in dir, none if there is no dir.
func subfolders(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// link gives all files in a folder and below another name in another folder,
// where there is none of that name. It leaves out the index, which may be older
// than the messages.
func link(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if e.IsDir() {
			return os.MkdirAll(target, 0o750)
		}
		if e.Name() == indexFile {
			return nil
		}
		if err := os.Link(path, target); !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	})
}
