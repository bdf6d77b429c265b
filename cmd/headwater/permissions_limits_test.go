package main_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What no permission prevents: an answer goes where whoever asks wants it. In a log it
// is damage. Who may ask JetStream for nothing cannot do that.
func TestAnswersSentToLog(t *testing.T) {
	t.Parallel()
	trials := []struct {
		args, ask string
		harms     bool
	}{
		{"command -log shop -kind order", "$JS.API.STREAM.INFO.shop", true},
		{"projection -log shop", "$JS.API.STREAM.INFO.shop", true},
		{"operator -log shop", "$JS.API.STREAM.LIST", true},
		{"client -service orders", sendOrder, false},
		{"client -service orders", "orders.query.ask.nothing", false},
		{"live -log shop", openLog, false},
	}
	var configs []string
	for _, trial := range trials {
		configs = append(configs, permissionsOf(t, trial.args).config(t))
	}
	s := startWithUsers(t, configs)
	for i, trial := range trials {
		t.Run(strings.ReplaceAll(fmt.Sprint(trial.args, " ", trial.ask), " ", "_"), func(t *testing.T) {
			t.Parallel()
			u := connected(t, s, i, sameInboxes)
			stop, err := serve(t.Context(), u.admin, "orders", u.owned())
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(u.nc.PublishRequest(trial.ask, "shop.payment.1", nil), u.nc.Flush()); err != nil {
				t.Fatal(err)
			}
			if trial.harms {
				if err := u.do(isHarmed); err != nil {
					t.Error(err)
				}
			}
			if err := stop(); err != nil { // it has answered
				t.Error(err)
			}
			if end, err := u.owned().Position(t.Context()); err != nil || !trial.harms && end != 0 {
				t.Errorf("the log ends at %d, %v", end, err)
			}
		})
	}
}

// isHarmed waits until the log has one message, which is no commit.
func isHarmed(ctx context.Context, u *user) error {
	log := u.owned()
	if err := until(ctx, func() (bool, error) {
		end, err := log.Position(ctx)
		return end == 1, err
	}); err != nil {
		return err
	}
	report, err := log.Verify(ctx, nil)
	if err == nil && report.Damaged != 1 {
		err = fmt.Errorf("%+v", report)
	}
	if err != nil {
		return err
	}
	stream := eventstore.StreamID{Kind: "payment", ID: "1"}
	if _, err := log.Append(ctx, stream, eventstore.Any, oneEvent, nil); !errors.Is(err, eventstore.ErrCorrupt) {
		return fmt.Errorf("append after that: %w", err)
	}
	return nil
}

// Who may append to a stream can have the server answer with what it has stored there:
// -kind keeps nobody out who means harm.
func TestCommitForgedByAnswer(t *testing.T) {
	t.Parallel()
	s := startWithUsers(t, []string{permissionsOf(t, "command -log shop -kind order").config(t)})
	u := connected(t, s, 0, sameInboxes)
	log := u.owned()
	stream := eventstore.StreamID{Kind: "payment", ID: "1"}
	commit := commitOf(t, u, stream)
	commit.Subject = "shop.order.1"
	publish := func(end uint64, err error) {
		t.Helper()
		if err == nil {
			err = u.do(func(ctx context.Context, _ *user) error {
				return until(ctx, func() (bool, error) {
					now, err := log.Position(ctx)
					return now == end, err
				})
			})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	publish(1, u.nc.PublishMsg(commit))
	publish(2, u.nc.PublishRequest("$JS.API.DIRECT.GET.shop", "shop.payment.1", []byte(`{"seq":1}`)))
	head, err := log.Head(t.Context(), stream)
	if err != nil || head.Version != 1 {
		t.Errorf("%+v, %v; if this cannot be done any more, docs/operations.md is to say so", head, err)
	}
}

// commitOf returns the message of a stream's first commit, as it would be in the log
// shop, but for its id, which the server would know again.
func commitOf(t *testing.T, u *user, stream eventstore.StreamID) *nats.Msg {
	t.Helper()
	lab, err := eventstore.Open(t.Context(), u.admin, "lab", nil)
	if err != nil {
		t.Fatal(err)
	}
	add(t, lab, stream, nil, oneEvent...)
	js, err := jetstream.New(u.admin)
	if err != nil {
		t.Fatal(err)
	}
	log, err := js.Stream(t.Context(), "lab")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := log.GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	msg := &nats.Msg{Header: maps.Clone(stored.Header), Data: stored.Data}
	msg.Header.Del(jetstream.MsgIDHeader)
	return msg
}

// Clients and live readers may be in another account than the log.
func TestPermissionsOfOtherAccount(t *testing.T) {
	t.Parallel()
	client, live := permissionsOf(t, "client -service orders -command order.place -query count"), permissionsOf(t, "live -log shop")
	var exports, imports []string
	for _, subject := range client.Publish.Allow {
		exports = append(exports, fmt.Sprintf("{ service: %q }", subject))
		imports = append(imports, fmt.Sprintf("{ service: { account: SHOP, subject: %q } }", subject))
	}
	for _, subject := range live.Subscribe.Allow {
		exports = append(exports, fmt.Sprintf("{ stream: %q }", subject))
		imports = append(imports, fmt.Sprintf("{ stream: { account: SHOP, subject: %q } }", subject))
	}
	s := startConfigured(t, fmt.Sprintf(`accounts {
SHOP { jetstream: enabled
users: [ { user: admin0, password: secret }, { user: user1, password: secret
%s } ]
exports: [ %s ] }
OTHERS { users: [ { user: user0, password: secret
%s }, { user: admin1, password: secret
%s } ]
imports: [ %s ] }
}
`, permissionsOf(t, "command -log shop -service orders").config(t), strings.Join(exports, ", "), client.config(t), live.config(t), strings.Join(imports, ", ")))
	u, other := connected(t, s, 0, sameInboxes), connected(t, s, 1, sameInboxes)
	log := u.owned()
	stop, err := serve(t.Context(), other.nc, "orders", log) // that answers across accounts
	if err != nil {
		t.Fatal(err)
	}
	if err := request(t.Context(), u.nc, "orders", placeOrder{}); err != nil {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	reader := &user{T: t, nc: other.admin, log: log, patience: time.Minute}
	if err := reader.do(listen); err != nil {
		t.Error(err)
	}
	if err := refusal(u.nc, func() error { return u.nc.PublishRequest(sendOther, "shop.order.1", nil) }); !refuses(err, "Publish", sendOther) {
		t.Error(err)
	}
}
