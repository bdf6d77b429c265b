package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The stages in which damage may be reported, in the order in which a trial
// goes through them.
const (
	atOpen = iota
	atLoad
	atAppend
	atVerify
	nowhere // harmless, or silent
	stages  = nowhere
)

var stageNames = [...]string{"open", "load", "append", "verify"}

// A trial is one damaged log in use: it is opened, every stream is read and
// appended to in three ways, and at last it is verified.
type trial struct {
	*testing.T
	image
	holds   bool // the revisions that were acknowledged last
	waits   bool // until the log was read through once
	mu      sync.Mutex
	reports [stages][]error
	wrong   []string // what was answered that is not true
	early   bool     // of that, some before any report
	server  serverLog
	deleted int // by what the server says of the log
}

// report takes an error that says what is wrong with the log.
func (tr *trial) report(stage int, err error) bool {
	tr.Helper()
	switch {
	case err == nil:
		return false
	case errors.Is(err, eventstore.ErrCorrupt), errors.Is(err, eventstore.ErrUnsafeLog),
		errors.As(err, new(*embedded.DamagedError)), errors.As(err, new(*embedded.StartError)):
		tr.mu.Lock()
		tr.reports[stage] = append(tr.reports[stage], err)
		tr.mu.Unlock()
	default:
		tr.Errorf("%s: an error that says nothing of damage: %v", stageNames[stage], err)
	}
	return true
}

func (tr *trial) answered(format string, args ...any) {
	tr.wrong = append(tr.wrong, fmt.Sprintf(format, args...))
	tr.early = tr.early || tr.stage() == nowhere
}

// stage returns the first in which something was reported.
func (tr *trial) stage() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return slices.IndexFunc(append(tr.reports[:], []error{nil}), func(all []error) bool { return len(all) > 0 })
}

// byServer says that the server itself reported something, other than what it
// says of the undamaged log.
func (tr *trial) byServer(usual map[string]bool) bool {
	return tr.deleted > 0 || slices.ContainsFunc(tr.server.said(), func(line string) bool { return !usual[line] })
}

// run uses the damaged log. The client damages it further before or after it
// is opened.
func (tr *trial) run(client func(url string), opened bool) {
	tr.Helper()
	server, err := embedded.Start(tr.Context(), tr.dir, &embedded.Options{
		Relaxed: true, Listen: "127.0.0.1:0", Logger: slog.New(&tr.server),
	})
	if tr.report(atOpen, err) {
		return
	}
	defer func() {
		if err := server.Close(); err != nil {
			tr.Error(err)
		}
	}()
	if client != nil && !opened {
		client(server.URL())
	}
	nc := testutil.Connect(tr, server)
	tr.askServer(nc)
	store := tr.open(nc)
	if store == nil {
		return
	}
	if client != nil && opened {
		client(server.URL())
	}
	tr.loads(store, atLoad)
	for _, id := range tr.ids {
		tr.appends(store, id)
	}
	tr.loads(store, atAppend)
	tr.verify(store)
	tr.scrubbed(store)
	tr.askServer(nc)
}

// open opens the log as a process does that has a high-water mark.
func (tr *trial) open(nc *nats.Conn) *eventstore.Store {
	tr.Helper()
	store, err := eventstore.Open(tr.Context(), nc, imageLog, tr.options(func(damage *eventstore.CorruptionError) {
		tr.report(atOpen, damage)
	}))
	if tr.report(atOpen, err) {
		return nil
	}
	if tr.waits {
		tr.scrubbed(store)
	}
	return store
}

func (tr *trial) scrubbed(store *eventstore.Store) {
	tr.Helper()
	eventually(tr.T, "the log is read through", func() bool { return eventstore.Scrubbed(store) })
}

// loads reads all streams and compares them with what was acknowledged.
func (tr *trial) loads(store *eventstore.Store, stage int) {
	tr.Helper()
	for _, id := range tr.ids {
		got, err := collect(store.Read(tr.Context(), id, nil))
		if tr.report(stage, err) {
			continue
		}
		if why := tr.differs(id, got); why != "" {
			tr.answered("read %s: %s", id, why)
		}
	}
}

// appends appends to an existing stream as who believes that there is none,
// after the revision that was acknowledged last, where the process holds it,
// and after whatever is there.
func (tr *trial) appends(store *eventstore.Store, id eventstore.StreamID) {
	tr.Helper()
	ctx, cancel := context.WithTimeout(tr.Context(), patience)
	defer cancel()
	end := tr.end(id)
	anywhere := eventstore.Any
	if end.Position%2 == 0 {
		anywhere = eventstore.Exists
	}
	expectations := []eventstore.Expectation{eventstore.NoStream, anywhere}
	if tr.holds {
		expectations = []eventstore.Expectation{eventstore.NoStream, end, anywhere}
	}
	for _, expected := range expectations {
		text := fmt.Sprint("appended ", expected)
		at, err := store.Append(ctx, id, expected, events(text), nil)
		switch {
		case err == nil && at.Version == tr.end(id).Version+1 && expected != eventstore.NoStream:
			tr.add(id, at, []string{text})
		case err == nil:
			tr.answered("append to %s, expecting %v: stored as version %d after %d", id, expected, at.Version, tr.end(id).Version)
		case errors.Is(err, eventstore.ErrConflict) && expected == eventstore.NoStream:
		case errors.Is(err, eventstore.ErrConflict), errors.Is(err, eventstore.ErrInvalid):
			tr.answered("append to %s: %v", id, err)
		default:
			tr.report(atAppend, err)
		}
	}
}

func (tr *trial) verify(store *eventstore.Store) {
	tr.Helper()
	report, err := store.Verify(tr.Context(), nil)
	tr.report(atVerify, err)
	for _, damage := range report.Damage {
		tr.report(atVerify, damage)
	}
}

// askServer asks the server how many messages it misses.
func (tr *trial) askServer(nc *nats.Conn) {
	tr.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		tr.Fatal(err)
	}
	stream, err := js.Stream(tr.Context(), imageLog)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return
	}
	if err != nil {
		tr.Fatal(err)
	}
	tr.deleted = max(tr.deleted, stream.CachedInfo().State.NumDeleted)
}

// A serverLog keeps what a server says that is more than information.
type serverLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *serverLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }
func (l *serverLog) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l *serverLog) WithGroup(string) slog.Handler                    { return l }

var figures = regexp.MustCompile(`/\S+|\d+`)

func (l *serverLog) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, figures.ReplaceAllString(strings.TrimSpace(r.Message), "#"))
	return nil
}

func (l *serverLog) said() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}
