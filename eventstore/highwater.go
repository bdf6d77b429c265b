package eventstore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"sync"
)

// A highWater is the last commit, by position, that the server acknowledged to
// this process, and the file that remembers it where there is one. The file is
// written with each append and not synced: it survives the process, and after a
// power failure it may say less than it did, never more.
type highWater struct {
	mu      sync.Mutex
	told    note   // position 0: nothing yet
	trusted uint64 // the connections' reconnects when the log had it
	lost    error  // the log does not have it any more
	file    *os.File
	text    bytes.Buffer // of the last note
	failed  error        // why it is not in the file
}

// note is what the file says.
type note struct {
	log      string // its identity
	position uint64
	subject  string
	id       string // of the commit
	digest   digest
}

const (
	noteHeader = "headwater high water 1"
	// noteSize is what a note is padded to, so that one write replaces it.
	noteSize = 1024
)

// open opens or creates the file, and returns what it says, nil if that is
// nothing yet.
func (w *highWater) open(path, log string) (*note, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("high-water mark: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, noteSize+1))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("high-water mark: %w", err), f.Close())
	}
	w.file = f
	if strings.TrimSpace(string(text)) == "" {
		// Later writes then need no more room on the disk.
		w.text.WriteString(strings.Repeat(" ", noteSize))
		if w.save(); w.failed != nil {
			return nil, errors.Join(w.failed, f.Close())
		}
		return nil, nil
	}
	n, err := parseNote(string(text))
	switch {
	case err != nil:
		err = &InvalidError{What: "high-water mark", Value: path, Reason: err.Error() + "; verify the log, and then remove the file"}
	case !strings.HasPrefix(n.subject, log+"."):
		err = &InvalidError{What: "high-water mark", Value: path, Reason: "is that of another log: it names " + clip(n.subject)}
	default:
		w.told = *n
		return n, nil
	}
	return nil, errors.Join(err, f.Close())
}

func (w *highWater) close() {
	if w.file != nil {
		_ = w.file.Close() // nothing was written since
	}
}

// before returns the highest position that was acknowledged so far.
func (w *highWater) before() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.told.position
}

// rise notes a commit that the server said it has. If it cannot, the next append
// is told.
func (w *highWater) rise(c *commit, subj string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.position <= w.told.position || w.lost != nil {
		return
	}
	w.told = note{c.logID, c.position, subj, c.id, c.digest}
	if w.file != nil {
		w.text.Reset()
		w.told.write(&w.text)
		w.save()
	}
}

// trust notes that the log had what was acknowledged when the connections had
// been lost so many times.
func (w *highWater) trust(reconnects uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trusted = reconnects
}

// lose notes that the log lost what was acknowledged. It stays so: a log that
// goes on from an older state only looks whole again.
func (w *highWater) lose(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost == nil {
		w.lost = err
	}
}

func (w *highWater) save() {
	if _, w.failed = w.file.WriteAt(w.text.Bytes(), 0); w.failed != nil {
		w.failed = fmt.Errorf("high-water mark: %w", w.failed)
	}
}

// check says why nothing may be appended: the log lost commits, or the last note
// could not be written, and still cannot.
func (w *highWater) check() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed != nil {
		w.save()
	}
	return cmp.Or(w.lost, w.failed)
}

// trusts returns what is noted, if the log is to be looked at for it.
func (w *highWater) trusts(reconnects uint64) (note, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.told, w.trusted == reconnects
}

// write writes a note: lines for people, the last of them a checksum.
func (n *note) write(b *bytes.Buffer) {
	fmt.Fprintf(b, "%s\nlog %s\nposition %d\nsubject %s\ncommit %s\ndigest %s\n", noteHeader, n.log, n.position, n.subject, n.id, n.digest)
	fmt.Fprintf(b, "checksum %08x\n", crc32.ChecksumIEEE(b.Bytes()))
	for b.Len() < noteSize {
		b.WriteByte(' ')
	}
}

var errNote = errors.New("it is damaged or no such file")

func parseNote(text string) (*note, error) {
	n := &note{}
	rest, ok := strings.CutPrefix(text, noteHeader+"\n")
	if !ok {
		return nil, errNote
	}
	var position, sum string
	for _, line := range []struct {
		name  string
		value *string
	}{{"log", &n.log}, {"position", &position}, {"subject", &n.subject}, {"commit", &n.id}, {"digest", new(string)}, {"checksum", &sum}} {
		var value string
		if value, rest, ok = strings.Cut(rest, "\n"); !ok {
			return nil, errNote
		}
		if *line.value, ok = strings.CutPrefix(value, line.name+" "); !ok {
			return nil, errNote
		}
		if line.name == "digest" {
			var err error
			if n.digest, err = parseDigest(*line.value); err != nil {
				return nil, errNote
			}
		}
	}
	var err error
	n.position, err = parseNumber(position)
	again := bytes.Buffer{}
	if n.write(&again); err != nil || again.String() != text {
		return nil, errNote
	}
	return n, nil
}

// reconnected looks at the log again after a connection was lost: the server may
// have restarted, with less than it had or with another log.
func (s *Store) reconnected(ctx context.Context) error {
	now := s.reconnects()
	told, trusted := s.water.trusts(now)
	if trusted {
		return nil
	}
	have, err := s.count(ctx, "")
	if err != nil {
		return err
	}
	s.leads(have)
	if have.log != s.identity {
		err = s.corrupt(StreamID{}, have.last, "this is another log than before, although of the same name")
	} else {
		err = s.lacks(have)
	}
	if err == nil && told.position > 0 {
		err = s.holds(ctx, &told, "")
	}
	switch {
	case err == nil:
		s.water.trust(now)
	case errors.Is(err, ErrCorrupt):
		s.water.lose(err)
	}
	return err
}

// holds reports an error unless the log has the commit that was noted, in a file
// if that is named.
func (s *Store) holds(ctx context.Context, n *note, file string) error {
	told := fmt.Sprintf("%s says that the server acknowledged commit %s of %s there", cmp.Or(file, "this process"), clip(n.id), clip(n.subject))
	stream, _ := parseSubject(s.log, n.subject)
	if n.log != s.identity {
		return s.corrupt(stream, n.position, "this is another log than before, although of the same name: %s", told)
	}
	last, err := s.reaches(ctx, n.position)
	if err != nil && !errors.Is(err, ErrCorrupt) {
		return err
	}
	if last < n.position {
		return s.corrupt(stream, n.position, "the log ends at position %d: it lost commits, or is an older copy; %s", last, told)
	}
	m, err := s.at(ctx, n.position)
	if err != nil {
		return err
	}
	if m == nil && s.damaged {
		return nil // it may have been removed as the log's settings say
	}
	if m == nil {
		return s.corrupt(stream, n.position, "the commit is missing: %s", told)
	}
	c, err := s.decodeAny(m)
	if err != nil {
		return err
	}
	if c.stream != stream || c.id != n.id || c.digest != n.digest {
		return s.corrupt(stream, n.position, "commit %s of %s is there: the log lost commits and went on; %s", clip(c.id), c.stream, told)
	}
	return nil
}
