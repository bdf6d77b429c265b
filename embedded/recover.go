package embedded

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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

// noSpace reports the text of an error, as which the server passes on some, that
// says that the disk or a quota was full when something was written. After a
// failed sync it is not known what of the file is on the disk, and reading it
// again would not tell.
func noSpace(text string) bool {
	return !strings.HasPrefix(text, "sync ") &&
		(strings.Contains(text, "no space left") || strings.Contains(text, "quota exceeded"))
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
		failed, err := s.failed(ctx, nil)
		if len(failed) > 0 {
			s.log.out.Error("The disk is full; these streams take no messages until there is room", "streams", failed, "folder", s.dir)
		}
		for err == nil && len(failed) > 0 && s.waitForRoom(ctx, pause) {
			if failed, err = s.failed(ctx, failed); err != nil {
				break
			}
			begin := time.Now()
			closed := s.reopen(ctx, failed)
			pause = max(firstPause, restFactor*time.Since(begin))
			if closed != nil {
				pause = max(pause, longestPause)
				s.log.out.Error("There is room on the disk, but streams could not be opened", "error", closed, "folder", s.dir)
				continue
			}
			s.log.out.Warn("There is room on the disk again; all streams were opened again", "streams", failed, "folder", s.dir)
			failed, err = s.failed(ctx, nil)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			s.log.out.Error("A stream could not be written; the server has to be started again", "error", err, "folder", s.dir)
			return
		}
	}
}

// failed returns the names of streams that could not be written for want of
// space, or not opened, with those already known. It returns an error if one
// could not be written for another reason.
func (s *Server) failed(ctx context.Context, known []string) (names []string, err error) {
	err = poll(ctx, func() (bool, error) {
		names = slices.Clone(known)
		for _, e := range s.srv.Healthz(&server.HealthzOptions{Details: true}).Errors {
			_, cause, written := strings.Cut(e.Error, " write error: ")
			switch {
			case e.Type == server.HealthzErrorConn:
				return false, nil // it was too busy to look
			case e.Type != server.HealthzErrorStream || slices.Contains(names, e.Stream):
			case written && !noSpace(cause):
				return false, errors.New(e.Error)
			case written || s.holdsMessages(e.Account, e.Stream):
				names = append(names, e.Stream)
			}
		}
		return true, nil
	})
	return names, err
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
	closed, err := s.failed(ctx, nil)
	if err == nil && len(closed) > 0 {
		err = fmt.Errorf("these are closed: %q", closed)
	}
	return err
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
