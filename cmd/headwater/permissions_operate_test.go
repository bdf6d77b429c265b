package main_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	headwater "github.com/headwater-go/headwater/cmd/headwater"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/nats-io/nats.go/jetstream"
)

// operate runs commands that read.
func operate(ctx context.Context, u *user) error {
	if _, err := u.owned().Append(ctx, orderOne, eventstore.Any, oneEvent, nil); err != nil {
		return err
	}
	if _, err := u.owned().Append(ctx, orderOne, eventstore.Any, oneEvent, nil); err != nil {
		return err
	}
	for _, args := range []string{
		"logs", "streams", "streams -log shop", "cat order/1 -log shop", "verify -log shop", "projections -log shop",
	} {
		if err := u.command(ctx, "", strings.Fields(args)...); err != nil {
			return err
		}
	}
	removed, err := removals(u.admin)
	if err != nil {
		return err
	}
	if err := u.command(ctx, "", "export", "-log", "shop"); err != nil {
		return err
	}
	if _, err = removed.NextMsgWithContext(ctx); err != nil {
		return err
	}
	return tailOne(ctx, u)
}

// command runs the program on the server, as the user.
func (u *user) command(ctx context.Context, in string, args ...string) error {
	var complaints bytes.Buffer
	args = append(args, "-server", u.url, "-inbox", u.inbox)
	if status := headwater.Run(ctx, strings.NewReader(in), new(bytes.Buffer), &complaints, args...); status != 0 {
		return errors.New(complaints.String())
	}
	return nil
}

// tailOne follows the log until an event is printed.
func tailOne(ctx context.Context, u *user) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	seen := &onWrite{about: "order.placed", then: stop}
	var complaints bytes.Buffer
	args := []string{"tail", "-after", "0", "-log", "shop", "-server", u.url, "-inbox", u.inbox}
	headwater.Run(ctx, strings.NewReader(""), seen, &complaints, args...)
	if !seen.done {
		return errors.New(complaints.String())
	}
	return nil
}

type onWrite struct {
	about string
	then  func()
	done  bool
}

func (w *onWrite) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(w.about)) {
		w.done = true
		w.then()
	}
	return len(p), nil
}

// findLoss verifies a log that has lost everything.
func findLoss(ctx context.Context, u *user) error {
	js, err := jetstream.New(u.admin)
	if err != nil {
		return err
	}
	stream, err := js.Stream(ctx, "shop")
	if err != nil {
		return err
	}
	was := stream.CachedInfo().Config
	short := was
	short.MaxAge, short.Duplicates = 100*time.Millisecond, 100*time.Millisecond
	if _, err := js.UpdateStream(ctx, short); err != nil {
		return err
	}
	if err := until(ctx, func() (bool, error) {
		info, err := stream.Info(ctx)
		return err == nil && info.State.Msgs == 0, err
	}); err != nil {
		return err
	}
	if _, err := js.UpdateStream(ctx, was); err != nil {
		return err
	}
	err = u.command(ctx, "", "verify", "-log", "shop")
	if err == nil || strings.Contains(err.Error(), "log shop is damaged") {
		return nil
	}
	return err
}

// copyIn imports events, twice.
func copyIn(ctx context.Context, u *user) error {
	const events = `{"specversion":"1.0","id":"a","source":"s","type":"order.placed","subject":"9","time":"2026-01-02T03:04:05Z","data":{}}` + "\n"
	for range 2 {
		if err := u.command(ctx, events, "import", "-kind", "order", "-log", "shop"); err != nil {
			return err
		}
	}
	return nil
}
