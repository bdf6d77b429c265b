package eventstore_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/nats-io/nats.go"
)

// wantDenied checks that an error says what is not permitted.
func wantDenied(t *testing.T, what string, err error, subject string) {
	t.Helper()
	var denied *eventstore.DeniedError
	if !errors.As(err, &denied) || !errors.Is(err, eventstore.ErrDenied) || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(subject)) {
		t.Errorf("%s: %v, want a DeniedError that names %s", what, err, subject)
	}
	if errors.Is(err, eventstore.ErrMissed) {
		t.Errorf("%s: %v", what, err)
	}
}

// A live reader needs no permission but to subscribe to the feed, and to a part of
// it for that part.
func TestLivePermissions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		subscribe string
		of        map[eventstore.StreamID]bool
	}{
		{"live.guarded.>", map[eventstore.StreamID]bool{{}: true, {Kind: "order"}: true, {Kind: "order", ID: "a.b"}: true}},
		{"live.guarded.order.*", map[eventstore.StreamID]bool{{}: false, {Kind: "order"}: true, {Kind: "payment"}: false, {Kind: "order", ID: "a.b"}: true}},
		{"live.guarded.order.a%2Eb", map[eventstore.StreamID]bool{{}: false, {Kind: "order"}: false, {Kind: "order", ID: "a.b"}: true, {Kind: "order", ID: "a"}: false}},
		{"guarded.>", map[eventstore.StreamID]bool{{}: false, {Kind: "order"}: false, {Kind: "order", ID: "a.b"}: false}},
	} {
		admin, user := guarded(t, []string{"nothing"}, []string{c.subscribe})
		log, err := eventstore.Open(t.Context(), admin, "guarded", &eventstore.Options{Live: true})
		if err != nil {
			t.Fatal(err)
		}
		for of, permitted := range c.of {
			if !permitted {
				_, err := collect(eventstore.Live(t.Context(), user, log.Name(), &eventstore.LiveOptions{Kind: of.Kind, ID: of.ID}))
				wantDenied(t, c.subscribe, err, "subscription to \"live.guarded.")
				continue
			}
			l := listen(t, user, log.Name(), eventstore.LiveOptions{Kind: of.Kind, ID: of.ID})
			at := add(t, log, eventstore.StreamID{Kind: "order", ID: "a.b"}, eventstore.Any, events("a"), nil)
			if e := l.next(t, 1)[0]; e.Position != at.Position {
				t.Errorf("heard %+v, want what is at %d", e, at.Position)
			}
			l.leave()
		}
		// Another log's feed is none of theirs.
		_, err = collect(eventstore.Live(t.Context(), user, "other", nil))
		wantDenied(t, c.subscribe, err, `"live.other.*.*"`)
	}
}

// Whoever may append can neither forge what live readers get, nor give a log a feed.
func TestLivePermissionsOfWriters(t *testing.T) {
	t.Parallel()
	admin, writer := guarded(t, []string{"guarded.>", "$JS.API.STREAM.INFO.guarded", "$JS.API.DIRECT.GET.guarded.>"}, []string{"_INBOX.>"})
	if _, err := eventstore.Open(t.Context(), admin, "guarded", nil); err != nil {
		t.Fatal(err)
	}
	_, err := eventstore.Open(t.Context(), writer, "guarded", &eventstore.Options{Live: true})
	wantDenied(t, "open", err, "$JS.API.STREAM.UPDATE.guarded")

	if _, err := eventstore.Open(t.Context(), admin, "guarded", &eventstore.Options{Live: true}); err != nil {
		t.Fatal(err)
	}
	log, err := eventstore.Open(t.Context(), writer, "guarded", &eventstore.Options{Live: true})
	if err != nil { // it has a feed already
		t.Fatal(err)
	}
	l := listen(t, admin, log.Name(), eventstore.LiveOptions{})
	if err := writer.Publish("live.guarded.order.1", []byte("x")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "that is refused", func() bool { return errors.Is(writer.LastError(), nats.ErrPermissionViolation) })
	add(t, log, stream(t), eventstore.Any, events("a"), nil)
	if e := l.next(t, 1)[0]; string(e.Data) != "a" {
		t.Errorf("heard %+v", e)
	}
}
