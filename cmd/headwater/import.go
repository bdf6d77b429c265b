package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/internal/terminal"
)

const importUsage = `Append CloudEvents, one a line as 'headwater export' writes them, to a log.

Usage: headwater import [FILE] [-kind KIND] [-data DIR | -server URL] [-log NAME]

Without FILE, or with '-', it reads its standard input. The log that -log names
is made where there is none, with one replica.

Each event gets its stream, version, commit, time, metadata and data back, byte
for byte; position and time of recording are the new log's. What is there
already is not added again, so an import that was broken off, by whatever, is
finished by the same command. A stream that has other events in the log is a
conflict.

With -kind the CloudEvents are those of other programs. The stream of an event
is KIND and its subject, its commit id its id, its source the metadata
"cesource". Other attributes are metadata too; those whose names or values a log
cannot keep are left out and counted. The events of a stream come behind those
that it has, but for those whose ids it has. To know them a stream is read when
it is first met; a million ids are kept, in some 70 MB, or those of one stream,
if it has more. Beyond that streams are forgotten, and read again when they are
met again, which is slow where many long ones take turns. An event without a
time gets that of the import.

Order matters, so the first bad line ends the import: it is reported with its
number, nothing of its commit is written, and the exit status is 1. What stands
before it is written. A file that was cut between two events of its last commit
cannot be told from a whole one.

Examples:

    headwater export -data orders-data | headwater import -log copy -data copy-data
    headwater import shop.jsonl -log shop -server nats://127.0.0.1:4222
    headwater import -kind sensor readings.jsonl -log plant -data plant-data
`

const stdin = "-"

// revisions are where streams stand, of those that were met last.
type revisions = simplelru.LRU[eventstore.StreamID, eventstore.Revision]

const keptRevisions = 1 << 14

func importEvents(ctx context.Context, c console, args []string) (err error) {
	fs := newFlags("import", importUsage)
	kind := fs.String("kind", "", "import CloudEvents made elsewhere, into streams of this `kind`")
	asJSON := jsonFlag(fs)
	where := logFlags(fs)
	files, err := parseFlags(fs, c, args, "[FILE]")
	if err != nil {
		return err
	}
	files = append(files, stdin) // the default
	if given(fs, "kind") && *kind == "" {
		return wrongUsage(fs, "-kind is empty")
	}
	in, err := openInput(c, files[0])
	if err != nil {
		return err
	}
	defer in.Close()
	o, err := where.make(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	im := newImporter(o.log, files[0], *kind)
	im.progress = terminal.NewProgress(c.err, "events")
	err = im.run(ctx, readLines(ctx, in))
	im.progress.Clear()
	return errors.Join(im.print(c.out, *asJSON), err)
}

func openInput(c console, file string) (io.ReadCloser, error) {
	if file == stdin {
		return io.NopCloser(c.in), nil
	}
	return os.Open(file)
}

// An importer writes what lines say.
type importer struct {
	log      *eventstore.Store
	file     string
	progress *terminal.Progress
	batches  func(iter.Seq2[line, error]) iter.Seq2[*batch, error]
	append   func(context.Context, *batch) (present bool, err error)

	commits, events tally
	left            int // attributes that were not kept
}

type tally struct {
	Added   uint64 `json:"added"`
	Present uint64 `json:"present"`
}

func (t *tally) add(n int, present bool) {
	if present {
		t.Present += uint64(n)
	} else {
		t.Added += uint64(n)
	}
}

func newImporter(log *eventstore.Store, file, kind string) *importer {
	im := &importer{log: log, file: file}
	if file == stdin {
		im.file = "standard input"
	}
	if kind != "" {
		im.batches = func(lines iter.Seq2[line, error]) iter.Seq2[*batch, error] { return foreign(lines, kind) }
		im.append = newMerger(log, rememberedIDs).append
		return im
	}
	ends, err := simplelru.NewLRU[eventstore.StreamID, eventstore.Revision](keptRevisions, nil)
	if err != nil {
		panic(err) // the size is a positive constant
	}
	im.batches = func(lines iter.Seq2[line, error]) iter.Seq2[*batch, error] { return (&grouper{lines: lines}).batches }
	im.append = (&copier{log, ends}).append
	return im
}

// run imports until the first bad line, or until the context ends. It finishes
// the commit that it is at, so that it knows how far it got.
func (im *importer) run(ctx context.Context, lines iter.Seq2[line, error]) error {
	for b, err := range im.batches(lines) {
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted after %d events; the same command goes on from here", im.done())
		}
		var present bool
		if err == nil {
			present, err = im.append(context.WithoutCancel(ctx), b)
		}
		if err != nil {
			return &lineError{im.file, b.line, err}
		}
		im.commits.add(1, present)
		im.events.add(len(b.events), present)
		im.left += b.left
		im.progress.Show(im.done(), 0)
	}
	return nil
}

func (im *importer) done() uint64 { return im.events.Added + im.events.Present }

func (im *importer) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return printJSON(w, struct {
			Log     string `json:"log"`
			Commits tally  `json:"commits"`
			Events  tally  `json:"events"`
			Left    int    `json:"attributesLeftOut"`
		}{im.log.Name(), im.commits, im.events, im.left})
	}
	fmt.Fprintf(w, "%-8s %10s  %13s\n", "", "added", "already there")
	fmt.Fprintf(w, "%-8s %10d  %13d\n", "commits", im.commits.Added, im.commits.Present)
	_, err := fmt.Fprintf(w, "%-8s %10d  %13d\n", "events", im.events.Added, im.events.Present)
	if im.left > 0 {
		_, err = fmt.Fprintf(w, "attributes that a log cannot keep were left out: %d\n", im.left)
	}
	if im.events.Added == 0 {
		_, err = fmt.Fprintln(w, "nothing new")
	}
	return err
}
