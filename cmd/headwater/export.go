package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/internal/terminal"
)

const exportUsage = `Write the events of a log as CloudEvents, one a line, in the order of the log.

Usage: headwater export [-o FILE] [-data DIR | -server URL] [-log NAME]

It ends where the log ended when it began. FILE is there when all is written, and
not before. 'headwater import' reads it.

Examples:

    headwater export -data orders-data -o orders.jsonl
    headwater export -data orders-data | jq -r .type | sort | uniq -c
    headwater export -data orders-data | headwater import -log copy -data copy-data
`

func export(ctx context.Context, c console, args []string) (err error) {
	fs := newFlags("export", exportUsage)
	file := fs.String("o", "", "the `file` to write (default the standard output)")
	asJSON := fs.Bool("json", false, "print JSON when FILE is written; events are JSON in any case")
	where := logFlags(fs)
	if _, err := parseFlags(fs, c, args); err != nil {
		return err
	}
	o, err := where.visit(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	x := &exporter{log: o.log, progress: terminal.NewProgress(c.err, "positions")}
	defer x.progress.Clear()
	if *file == "" {
		return x.write(ctx, c.out)
	}
	if err := replaceFile(*file, func(w io.Writer) error { return x.write(ctx, w) }); err != nil {
		return err
	}
	return x.print(c.out, *asJSON)
}

// replaceFile writes a file that is not seen before it is whole. A device, for
// example, is written as it is.
func replaceFile(name string, write func(io.Writer) error) (err error) {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return writeTo(os.OpenFile(name, os.O_WRONLY, 0))(write)
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	if err := writeTo(f, nil)(write); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// writeTo lets write write to a file, and closes it.
func writeTo(f *os.File, err error) func(func(io.Writer) error) error {
	return func(write func(io.Writer) error) error {
		if err != nil {
			return err
		}
		return errors.Join(write(f), f.Close())
	}
}

type exporter struct {
	log      *eventstore.Store
	progress *terminal.Progress
	events   uint64
	position uint64
}

// flushSize is how much is written at once, if it ends with a commit: whoever
// reads a pipe that breaks then has whole commits.
const flushSize = 64 << 10

func (x *exporter) write(ctx context.Context, w io.Writer) error {
	end, err := x.log.Position(ctx)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	whole := 0 // of the buffer, up to the end of a commit
	flush := func() error {
		_, err := w.Write(out.Next(whole))
		whole = 0
		return err
	}
	for e, err := range x.log.Log(ctx, 0, nil) {
		if err == nil {
			err = printEvent(&out, e)
		}
		if err != nil {
			return errors.Join(flush(), err)
		}
		x.events++
		if e.Revision().Version != e.Version {
			continue
		}
		x.position, whole = e.Position, out.Len()
		x.progress.Show(e.Position, end)
		if whole >= flushSize {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

func (x *exporter) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return printJSON(w, struct {
			Log      string `json:"log"`
			Events   uint64 `json:"events"`
			Position uint64 `json:"position"`
		}{x.log.Name(), x.events, x.position})
	}
	_, err := fmt.Fprintf(w, "log %s up to position %d: %d events\n", x.log.Name(), x.position, x.events)
	return err
}
