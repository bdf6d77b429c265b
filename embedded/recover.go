package embedded

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// A stream of which the server could not write a message takes no more: the
// server answers nothing until the stream is opened again. Where what was
// missing is space, this file opens it again when there is some.

const (
	// room is how much must fit on the disk before streams are opened again.
	room     = 1 << 20
	roomFile = "headwater.room"

	// firstPause and longestPause are between looks for room, growing.
	firstPause, longestPause = 10 * time.Millisecond, time.Second

	// restFactor keeps a disk that fills again and again from having the
	// streams opened all the time: it is at most about a tenth of it.
	restFactor = 10

	// requestTimeout is for what the server has always done in a moment.
	requestTimeout = 5 * time.Second

	// While streams are opened the server would take a request for one that is
	// not open yet for one about a stream that does not exist, and even create
	// it. So requests go where nobody listens, as if there were no JetStream.
	apiSubjects, nowhere = "$JS.API.>", "_HEADWATER.CLOSED.>"
)

// noSpace reports an error that says that the disk or a quota is full when
// something was written. After a failed sync it is not known what of the file
// is on the disk, and reading it again would not tell.
func noSpace(err error) bool {
	var at *fs.PathError
	if errors.As(err, &at) && at.Op == "sync" {
		return false
	}
	// The server passes some errors on as text only.
	text := err.Error()
	return strings.Contains(text, "no space left") || strings.Contains(text, "quota exceeded")
}

func (s *Server) startRecovery() {
	ctx, cancel := context.WithCancel(context.Background())
	s.stopRecovery = cancel
	s.recovery.Go(func() { s.recoverWrites(ctx) })
}

// recoverWrites opens streams again that could not be written for want of
// space, until the context ends.
func (s *Server) recoverWrites(ctx context.Context) {
	pause := firstPause
	for {
		select {
		case <-s.log.full:
		case <-ctx.Done():
			return
		}
		failed := s.failed()
		if len(failed) > 0 {
			s.log.out.Error("The disk is full; these streams take no messages until there is room", "streams", failed, "folder", s.dir)
		}
		for len(failed) > 0 {
			if !s.waitForRoom(ctx, pause) {
				return
			}
			begin := time.Now()
			err := s.reopen(ctx, failed)
			pause = max(firstPause, restFactor*time.Since(begin))
			if err != nil {
				pause = max(pause, longestPause)
				s.log.out.Error("There is room on the disk, but streams could not be opened", "error", err, "folder", s.dir)
				continue
			}
			s.log.out.Warn("There is room on the disk again; all streams were opened again", "streams", failed, "folder", s.dir)
			failed = s.failed()
		}
	}
}

// failed returns the names of streams that could not be written or opened.
func (s *Server) failed() (names []string) {
	for _, e := range s.srv.Healthz(&server.HealthzOptions{Details: true}).Errors {
		if e.Type == server.HealthzErrorStream &&
			(strings.Contains(e.Error, "write error") || s.holdsMessages(e.Account, e.Stream)) {
			names = append(names, e.Stream)
		}
	}
	return names
}

// waitForRoom waits until something can be written to the folder again, and
// before its first look for a pause; false if the context ends first.
func (s *Server) waitForRoom(ctx context.Context, pause time.Duration) bool {
	for {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return false
		}
		if s.hasRoom() {
			return true
		}
		pause = min(2*pause, longestPause)
	}
}

// hasRoom tries to write a file, of what cannot be compressed.
func (s *Server) hasRoom() bool {
	path := filepath.Join(s.dir, roomFile)
	defer os.Remove(path)
	f, err := os.Create(path)
	if err != nil {
		return false
	}
	content := make([]byte, room)
	_, _ = rand.Read(content)
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close()) == nil
}

// reopen closes all streams and opens them again from what is on the disk. The
// connections of clients stay as they are.
func (s *Server) reopen(ctx context.Context, failed []string) error {
	account := s.srv.GlobalAccount()
	if err := account.AddMapping(apiSubjects, nowhere); err != nil {
		return err
	}
	defer account.RemoveMapping(apiSubjects)
	if err := s.waitForRequests(ctx); err != nil {
		return err
	}
	if account.JetStreamEnabled() {
		if err := account.DisableJetStream(); err != nil {
			return err
		}
	}
	if err := s.keep(); err != nil {
		return err
	}
	for _, name := range failed {
		// The server counted the message that it could not write. If it was to
		// be the first of a file, the index has that as the last sequence, which
		// would then be missing from the stream.
		index := filepath.Join(s.streamsDir(), name, "msgs", indexFile)
		if err := os.Remove(index); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := errors.Join(account.EnableJetStream(nil, nil), s.putBack(false)); err != nil {
		return err
	}
	if failed := s.failed(); len(failed) > 0 {
		return fmt.Errorf("these are closed: %q", failed)
	}
	return nil
}

// waitForRequests waits until the server has answered the requests to the
// JetStream API that it has received.
func (s *Server) waitForRequests(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return poll(ctx, func() (bool, error) {
		info, err := s.srv.Jsz(nil)
		return err == nil && info.API.Inflight == 0, err
	})
}
