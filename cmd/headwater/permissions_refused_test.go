package main_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/service"
	"github.com/nats-io/nats.go"
)

// Nobody may do any of this, whatever the role.
var forToPublish = []string{
	"$JS.API.STREAM.DELETE.shop", "$JS.API.STREAM.PURGE.shop", "$JS.API.STREAM.MSG.DELETE.shop", "$JS.API.STREAM.UPDATE.shop",
	"$JS.API.STREAM.CREATE.other", "$JS.API.STREAM.RESTORE.shop", "$JS.API.STREAM.SNAPSHOT.shop", "$JS.API.STREAM.NAMES",
	"$JS.API.STREAM.LEADER.STEPDOWN.shop", "$JS.API.STREAM.PEER.REMOVE.shop", "$JS.API.META.LEADER.STEPDOWN", "$JS.API.ACCOUNT.PURGE.A0",
	"$JS.API.CONSUMER.DURABLE.CREATE.shop.c", "$JS.API.CONSUMER.PAUSE.shop.c", "$JS.API.CONSUMER.NAMES.shop",
	"$JS.API.STREAM.INFO.other", "$JS.API.DIRECT.GET.other", "$JS.API.STREAM.MSG.GET.other", "$JS.API.CONSUMER.CREATE.other.c",
	"live.shop.order.1", "other.order.1", "shop.order", "shop.order.1.2", "orders.command", "_INBOX_somebody.1", "_INBOX.somebody.1",
	"$SRV.PING", "$KV.other.a", "timers.other.set.a", "$SYS.REQ.SERVER.PING", "anything",
}

var forToSubscribe = []string{
	">", "*", "shop.>", "shop.*.*", "shop.order.1", "live.>", "live.other.>", "_INBOX_somebody.>", "$JS.API.>", "$JS.ACK.>", "$KV.>", "$SYS.>",
	"orders.>", "orders.command.order.place", "orders.query.ask.count", "other.command.*.*", "timers.>",
}

// What one role may do and others may not.
const (
	append1, appendOther = "shop.order.1", "shop.payment.1"
	readOne              = "$JS.API.DIRECT.GET.shop.shop.order.1"
	readAll              = "$JS.API.CONSUMER.CREATE.shop.c"
	openLog              = "$JS.API.STREAM.INFO.shop"
	makeLog              = "$JS.API.STREAM.CREATE.shop"
	listLogs             = "$JS.API.STREAM.LIST"
	sendOrder, sendOther = "orders.command.order.place", "orders.command.order.cancel"
)

// Beyond its role a user may nothing, and is told what.
func TestPermissionsBeyondRoles(t *testing.T) {
	t.Parallel()
	trials := []struct {
		args string
		may  []string
	}{
		{"command -log shop -kind order -service orders -inbox _INBOX_me", []string{append1, readOne, openLog}},
		{"command -log shop -scan -create -inbox _INBOX_me", []string{append1, appendOther, readOne, readAll, openLog, makeLog}},
		{"projection -log shop -shared -inbox _INBOX_me", []string{readAll, openLog}},
		{"process -log shop -service orders -command order.place -bucket b -timers t -inbox _INBOX_me", []string{readAll, openLog, sendOrder}},
		{"client -service orders -inbox _INBOX_me", []string{sendOrder, sendOther}},
		{"client -service orders -query count -inbox _INBOX_me", nil},
		{"live -log shop", nil},
		{"operator -log shop -inbox _INBOX_me", []string{readOne, readAll, openLog, listLogs}},
		{"operator -log shop -import -inbox _INBOX_me", []string{append1, appendOther, readOne, readAll, openLog, listLogs}},
	}
	var configs []string
	for _, trial := range trials {
		configs = append(configs, permissionsOf(t, trial.args).config(t))
	}
	s := startWithUsers(t, configs)
	for i, trial := range trials {
		t.Run(strings.ReplaceAll(trial.args, " ", "_"), func(t *testing.T) {
			t.Parallel()
			u := connected(t, s, i, "_INBOX_me")
			for _, subject := range append([]string{append1, appendOther, readOne, readAll, openLog, makeLog, listLogs, sendOrder, sendOther}, forToPublish...) {
				err := refusal(u.nc, func() error { return u.nc.Publish(subject, nil) })
				if allowed := slices.Contains(trial.may, subject); allowed && err != nil || !allowed && !refuses(err, "Publish", subject) {
					t.Errorf("publish to %s: %v", subject, err)
				}
			}
			for _, subject := range forToSubscribe {
				err := refusal(u.nc, func() error {
					_, err := u.nc.SubscribeSync(subject)
					return err
				})
				if !refuses(err, "Subscription", subject) {
					t.Errorf("subscribe to %s: %v", subject, err)
				}
			}
		})
	}
}

// refusal does something and returns what the server says of it.
func refusal(nc *nats.Conn, do func() error) error {
	before := nc.LastError()
	if err := errors.Join(do(), nc.Flush()); err != nil {
		return err
	}
	if after := nc.LastError(); after != before {
		return after
	}
	return nil
}

func refuses(err error, verb, subject string) bool {
	return errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), fmt.Sprintf("%s to %q", verb, subject))
}

// The engine says the same by its own errors.
func TestErrorsBeyondRoles(t *testing.T) {
	t.Parallel()
	reopen := func(ctx context.Context, u *user) (*eventstore.Store, error) {
		return eventstore.Open(ctx, u.nc, "shop", nil)
	}
	appendTo := func(stream eventstore.StreamID) func(context.Context, *user) error {
		return func(ctx context.Context, u *user) error {
			log, err := eventstore.Open(ctx, u.nc, "shop", &eventstore.Options{Reads: u.admin})
			if err == nil {
				_, err = log.Append(ctx, stream, eventstore.NoStream, oneEvent, nil)
			}
			return err
		}
	}
	open := func(ctx context.Context, u *user) error {
		_, err := reopen(ctx, u)
		return err
	}
	trials := []struct {
		args string
		do   func(context.Context, *user) error
		want string // is missing
	}{
		{"projection -log shop", appendTo(eventstore.StreamID{Kind: "order", ID: "2"}), "shop.order.2"},
		{"projection -log shop", func(ctx context.Context, u *user) error {
			log, err := reopen(ctx, u)
			if err == nil {
				_, err = log.Head(ctx, orderOne)
			}
			return err
		}, "$JS.API.DIRECT.GET.shop.shop.order.1"},
		{"operator -log shop", func(ctx context.Context, u *user) error { return copyIn(ctx, u) }, "shop.order.9"},
		{"operator -log shop", func(ctx context.Context, u *user) error { return u.command(ctx, "", "projections", "-log", "secret") }, "$JS.API.STREAM.INFO.secret"},
		{"operator -log shop", func(ctx context.Context, u *user) error { return u.command(ctx, "", "verify", "-log", "secret") }, "$JS.API.STREAM.INFO.secret"},
		{"command -log shop -kind order", appendTo(eventstore.StreamID{Kind: "payment", ID: "1"}), "shop.payment.1"},
		{"command -log shop -service sales", func(ctx context.Context, u *user) error {
			_, err := serve(ctx, u.nc, "orders", u.owned())
			return err
		}, "orders.*.>"},
		{"command -log shop", func(ctx context.Context, u *user) error {
			log, err := reopen(ctx, u)
			for _, err = range log.Log(ctx, 0, nil) {
			}
			return err
		}, "$JS.API.CONSUMER.CREATE.shop.*"},
		{"client -service orders -query count", func(ctx context.Context, u *user) error { return request(ctx, u.nc, "orders", placeOrder{}) }, "orders.command.order.place"},
		{"client -service orders", open, "$JS.API.STREAM.INFO.shop"},
		{"live -log shop -kind payment", func(ctx context.Context, u *user) error { return listen(ctx, u) }, "live.shop.order.*"},
		{"live -log shop", open, "$JS.API.STREAM.INFO.shop"},
		{"process -log shop -service payments", func(ctx context.Context, u *user) error {
			_, err := projection.OpenKV(ctx, u.nc, "checkpoints", nil)
			return err
		}, "$JS.API.STREAM.INFO.KV_checkpoints"},
		{"live -log shop", func(ctx context.Context, u *user) error {
			c, err := service.NewClient(u.nc, "orders", nil)
			if err == nil {
				_, err = service.Ask[int](ctx, c, howMany{}, nil)
			}
			return err
		}, "orders.query.ask.count"},
	}
	var configs []string
	for _, trial := range trials {
		configs = append(configs, permissionsOf(t, trial.args).config(t))
	}
	s := startWithUsers(t, configs)
	for i, trial := range trials {
		t.Run(strings.ReplaceAll(fmt.Sprint(trial.args, " ", trial.want), " ", "_"), func(t *testing.T) {
			t.Parallel()
			u := connected(t, s, i, sameInboxes)
			u.patience = 20 * time.Second // some errors come when it is over
			add(t, u.owned(), orderOne, nil, oneEvent...)
			if err := u.do(trial.do); err == nil || !missing(err, trial.want) {
				t.Errorf("%v, want one that names %s", err, trial.want)
			}
			if end, err := u.owned().Position(t.Context()); err != nil || end > 2 {
				t.Errorf("the log ends at %d, %v", end, err)
			}
		})
	}
}
