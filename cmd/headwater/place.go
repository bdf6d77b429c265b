package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/internal/terminal"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// place is where a command finds its log, as its flags say.
type place struct {
	flags     *flag.FlagSet
	data, url string
	inbox     string
	log       string
}

// serverFlags adds the flags that name a server to those of a command.
func serverFlags(fs *flag.FlagSet) *place {
	p := &place{flags: fs}
	fs.StringVar(&p.data, "data", "", "the `folder` of the log, which no other process has open")
	fs.StringVar(&p.url, "server", "", "the `URL` of a running server (default $NATS_URL)")
	fs.StringVar(&p.inbox, "inbox", "", "the `prefix` of the subjects on which the server permits answers to the user in the URL (default _INBOX)")
	return p
}

// logFlags adds those that name a log.
func logFlags(fs *flag.FlagSet) *place {
	p := serverFlags(fs)
	fs.StringVar(&p.log, "log", "", "the `name` of the log, where there are several")
	return p
}

// opened is a server in this process, or a connection to one elsewhere, and the
// log on it. Close it.
type opened struct {
	server *embedded.Server // nil: elsewhere
	nc     *nats.Conn
	js     jetstream.JetStream
	log    *eventstore.Store
	denied chan error // what the server did not permit, if that was noticed
}

// Close ends the connection, and the server where it is in this process.
func (o *opened) Close() error {
	if o.nc != nil {
		o.nc.Close()
	}
	if o.server == nil {
		return nil
	}
	return o.server.Close()
}

// visit opens a log that is there already.
func (p *place) visit(ctx context.Context, opts *eventstore.Options) (*opened, error) {
	return p.open(ctx, false, opts)
}

// make opens a log, which it makes, and its folder too, if it is named and not
// there.
func (p *place) make(ctx context.Context) (*opened, error) {
	return p.open(ctx, true, nil)
}

func (p *place) open(ctx context.Context, create bool, opts *eventstore.Options) (*opened, error) {
	// Without a name no log can be made, and then a folder should not be.
	o, err := p.connect(ctx, create && p.log != "")
	if err != nil {
		return nil, err
	}
	name, err := p.choose(ctx, o, create)
	if err == nil {
		o.log, err = eventstore.Open(ctx, o.nc, name, opts)
	}
	if err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return o, nil
}

// connect connects to the server, which it starts where a folder is given.
func (p *place) connect(ctx context.Context, create bool) (*opened, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	o := &opened{denied: make(chan error, 1)}
	var err error
	if p.data == "" {
		o.nc, err = dial(p.address(), p.inbox, o.denied)
	} else {
		o.server, o.nc, err = start(ctx, p.data, create)
	}
	if err != nil {
		return nil, err
	}
	if o.js, err = jetstream.New(o.nc); err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return o, nil
}

func (p *place) address() string {
	if p.url != "" {
		return p.url
	}
	return os.Getenv("NATS_URL")
}

// check refuses flags that name no place, or two.
func (p *place) check() error {
	switch {
	case p.data != "" && p.url != "":
		return wrongUsage(p.flags, "-data and -server are two places; name one of them")
	case p.inbox != "" && !inboxes.MatchString(p.inbox):
		return wrongUsage(p.flags, "-inbox %q is not %s", p.inbox, inboxWanted)
	case p.data == "" && p.address() == "":
		return wrongUsage(p.flags, "where is the log? Name its folder with -data, or its server with -server or NATS_URL")
	}
	return nil
}

func start(ctx context.Context, dir string, create bool) (*embedded.Server, *nats.Conn, error) {
	if !create {
		if err := hasLogs(dir); err != nil {
			return nil, nil, err
		}
	}
	server, err := embedded.Start(ctx, dir, nil)
	if errors.Is(err, embedded.ErrLocked) {
		return nil, nil, fmt.Errorf("%w (-server URL connects)", err)
	}
	if err != nil {
		return nil, nil, err
	}
	nc, err := server.Connect(quiet)
	if err != nil {
		return nil, nil, errors.Join(err, server.Close())
	}
	return server, nc, nil
}

// hasLogs refuses to make a folder only to look at it: a mistyped name is more
// likely.
func hasLogs(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no folder %s", dir)
	}
	if _, err := os.Stat(filepath.Join(dir, "jetstream")); err != nil {
		return fmt.Errorf("the folder %s holds no logs", dir)
	}
	return nil
}

// choose returns the name of the log: the one that is named, or the only one.
func (p *place) choose(ctx context.Context, o *opened, create bool) (string, error) {
	if p.log != "" && create {
		return p.log, nil
	}
	if p.log != "" {
		// Not from the list: a user may have the right to see this log only.
		err := o.ask(ctx, func(ctx context.Context) error {
			_, err := o.js.Stream(ctx, p.log)
			return err
		})
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return p.log, err
		}
	}
	names, err := logNames(ctx, o)
	switch {
	case err != nil:
		return "", err
	case p.log != "":
		return "", fmt.Errorf("there is no log %q; %s", p.log, among(names))
	case len(names) == 1:
		return names[0], nil
	case len(names) == 0 && create:
		return "", errors.New("there is no log yet; name the new one with -log")
	case len(names) == 0:
		return "", errors.New("there is no log")
	}
	return "", fmt.Errorf("which log? Name one with -log; %s", among(names))
}

func among(names []string) string {
	if len(names) == 0 {
		return "there is none at all"
	}
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = terminal.Quote(name)
	}
	return "there are: " + strings.Join(quoted, ", ")
}

func logNames(ctx context.Context, o *opened) (names []string, err error) {
	infos, err := logInfos(ctx, o)
	for _, info := range infos {
		names = append(names, info.Config.Name)
	}
	return names, err
}

// logInfos returns what the server says about its streams that are logs, in the
// order of their names.
func logInfos(ctx context.Context, o *opened) (logs []*jetstream.StreamInfo, err error) {
	err = o.ask(ctx, func(ctx context.Context) error {
		lister := o.js.ListStreams(ctx)
		for info := range lister.Info() {
			if info.Config.Metadata["headwater"] != "" {
				logs = append(logs, info)
			}
		}
		return lister.Err()
	})
	if err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return nil, fmt.Errorf("list the logs of the server: %w", err)
	}
	slices.SortFunc(logs, func(a, b *jetstream.StreamInfo) int {
		return strings.Compare(a.Config.Name, b.Config.Name)
	})
	return logs, nil
}

// ask makes requests to JetStream. The server answers nothing to one that it does not
// permit, and tells only the connection: then ask returns an [eventstore.DeniedError]
// at once.
func (o *opened) ask(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case err := <-o.denied:
			cancel(&eventstore.DeniedError{Reason: err})
		case <-ctx.Done():
		}
	}()
	err := f(ctx)
	if denied := context.Cause(ctx); err != nil && errors.Is(denied, eventstore.ErrDenied) {
		return denied
	}
	return err
}
