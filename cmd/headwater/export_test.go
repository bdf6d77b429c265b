package main

import (
	"context"
	"io"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/internal/terminal"
)

// Main is the program.
var Main = main

// Run runs the program in this process and returns its exit status.
func Run(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer, args ...string) int {
	return run(ctx, args, console{stdin, stdout, stderr})
}

// WithoutSecrets is what text goes through before it is shown.
var WithoutSecrets = withoutSecrets

// ParseExported decodes a line of an export. The id is the event's own.
func ParseExported(line []byte) (e eventstore.Event, id string, err error) {
	ce, err := parseCloudEvent(line)
	if err != nil {
		return e, "", err
	}
	e, err = ce.exported()
	return e, ce.attributes[ceID], err
}

// ParseForeign decodes a CloudEvent as -kind does.
func ParseForeign(line []byte, kind string) (eventstore.Event, error) {
	b, err := foreignBatch(line, kind)
	if err != nil {
		return eventstore.Event{}, err
	}
	return eventstore.Event{EventData: b.events[0], Stream: b.stream, CommitID: b.id, Time: b.time, Metadata: b.metadata}, nil
}

// Merge is an import with -kind that remembers so many ids.
func Merge(ctx context.Context, log *eventstore.Store, kind string, r io.Reader, most int) (added, present uint64, err error) {
	im := newImporter(log, stdin, kind)
	im.progress = terminal.NewProgress(io.Discard, "events")
	m := newMerger(log, most)
	im.append = m.append
	err = im.run(ctx, readLines(ctx, r))
	return im.events.Added, im.events.Present, err
}
