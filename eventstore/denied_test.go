package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// guarded starts a server with an administrator and one other user, who may
// publish and subscribe to nothing but the given subjects.
func guarded(t *testing.T, publish, subscribe []string) (admin, user *nats.Conn) {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		DontListen: true, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
		Users: []*server.User{
			{Username: "admin", Password: "secret-a"},
			{Username: "user", Password: "secret-u", Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: publish},
				Subscribe: &server.SubjectPermission{Allow: subscribe},
			}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server does not start")
	}
	conns := make([]*nats.Conn, 2)
	for i, name := range []string{"admin", "user"} {
		nc, err := nats.Connect("", nats.InProcessServer(s), nats.UserInfo(name, "secret-"+name[:1]))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		conns[i] = nc
	}
	return conns[0], conns[1]
}

// What the server does not permit ends as an error that names the subject, long
// before the time it would wait for an answer, and hurts nobody.
func TestNotPermitted(t *testing.T) {
	t.Parallel()
	const inbox = "_INBOX.>"
	everything := []string{"$JS.API.>", "$JS.ACK.>"}
	mine := eventstore.StreamID{Kind: "order", ID: "mine"}
	for name, c := range map[string]struct {
		publish, subscribe []string
		missing            string // named by the error
		opens, reads       bool
	}{
		"to append": {
			publish: everything, subscribe: []string{inbox},
			missing: `publish to "guarded.order.mine"`, opens: true, reads: true,
		},
		"to get messages": {
			publish: []string{"$JS.API.STREAM.>", "guarded.>"}, subscribe: []string{inbox},
			missing: `publish to "$js.api.direct.get.guarded`, opens: true,
		},
		"to ask about streams": {
			publish: []string{"guarded.>", "$JS.API.DIRECT.>"}, subscribe: []string{inbox},
			missing: `publish to "$js.api.stream.info.guarded`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			admin, user := guarded(t, c.publish, c.subscribe)
			owner, err := eventstore.Open(t.Context(), admin, "guarded", nil)
			if err != nil {
				t.Fatal(err)
			}
			at := add(t, owner, mine, eventstore.NoStream, events("a"), nil)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			want := func(what string, err error) {
				t.Helper()
				var denied *eventstore.DeniedError
				switch {
				case !errors.As(err, &denied) || !errors.Is(err, eventstore.ErrDenied) || !errors.Is(err, nats.ErrPermissionViolation):
					t.Errorf("%s: %v, want a DeniedError", what, err)
				case !strings.Contains(strings.ToLower(err.Error()), c.missing):
					t.Errorf("%s: %v does not name %s", what, err, c.missing)
				case strings.Contains(err.Error(), "secret"):
					t.Errorf("%s: %v tells a secret", what, err)
				case errors.Is(err, context.DeadlineExceeded):
					t.Errorf("%s took %v: %v", what, patience, err)
				}
			}
			store, err := eventstore.Open(ctx, user, "guarded", &eventstore.Options{AckWait: time.Minute})
			if !c.opens {
				want("open", err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if c.reads {
				wantTexts(t, store, mine, "a")
			} else {
				_, err := store.Head(ctx, mine)
				want("head", err)
				_, err = collect(store.Read(ctx, mine, nil))
				want("read", err)
			}
			if c.missing == `publish to "guarded.order.mine"` {
				for _, opts := range []*eventstore.AppendOptions{nil, named("1")} {
					_, err := store.Append(ctx, mine, at, events("b"), opts)
					want("append", err)
					if errors.Is(err, eventstore.ErrUnknownOutcome) {
						t.Errorf("the outcome of what was refused is unknown: %v", err)
					}
				}
			}
			if n := user.Stats().Reconnects; n > 0 || !user.IsConnected() {
				t.Errorf("the connection was lost")
			}
			add(t, owner, mine, at, events("c"), nil)
			if all := texts(history(t, owner, mine)); !slices.Equal(all, []string{"a", "c"}) {
				t.Errorf("the stream has %q", all)
			}
		})
	}
}

// Who may not make consumers is told so, and soon, although the walk that begins with
// Open is refused as well, and may not remove what it could not make.
func TestConsumerNotPermitted(t *testing.T) {
	t.Parallel()
	admin, user := guarded(t, []string{"$JS.API.STREAM.>", "$JS.API.DIRECT.>", "$JS.API.CONSUMER.MSG.NEXT.>"}, []string{"_INBOX.>"})
	owner, err := eventstore.Open(t.Context(), admin, "guarded", nil)
	if err != nil {
		t.Fatal(err)
	}
	add(t, owner, stream(t), eventstore.NoStream, events("a"), nil)
	for name, read := range map[string]func(context.Context, *eventstore.Store) error{
		"log": func(ctx context.Context, s *eventstore.Store) error {
			_, err := collect(s.Log(ctx, 0, nil))
			return err
		},
		"streams": func(ctx context.Context, s *eventstore.Store) error {
			for _, err := range s.Streams(ctx, "", 0) {
				return err
			}
			return nil
		},
		"verify": func(ctx context.Context, s *eventstore.Store) error {
			_, err := s.Verify(ctx, nil)
			return err
		},
	} {
		theirs, err := eventstore.Open(t.Context(), user, "guarded", nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		err = read(ctx, theirs)
		switch {
		case ctx.Err() != nil:
			t.Errorf("%s: it waited for the end of the context: %v", name, err)
		case !errors.Is(err, eventstore.ErrDenied):
			t.Errorf("%s: %v, want a DeniedError", name, err)
		case !strings.Contains(strings.ToLower(err.Error()), "$js.api.consumer.create.guarded.log-"):
			t.Errorf("%s: %v does not name what is missing", name, err)
		}
		cancel()
	}
}

// Without the right to receive answers nothing works, and the error says so.
func TestNoAnswersPermitted(t *testing.T) {
	t.Parallel()
	admin, user := guarded(t, []string{">"}, []string{"_INBOX_user.>"})
	owner, err := eventstore.Open(t.Context(), admin, "guarded", nil)
	if err != nil {
		t.Fatal(err)
	}
	add(t, owner, stream(t), eventstore.NoStream, events("a"), nil)
	if _, err := eventstore.Open(t.Context(), user, "guarded", nil); !errors.Is(err, eventstore.ErrDenied) {
		t.Errorf("open without the right to subscribe: %v", err)
	}
}

// The permissions that the documentation lists are enough.
func TestPermissionsThatSuffice(t *testing.T) {
	t.Parallel()
	all := []string{
		"guarded.>", "$JS.API.STREAM.INFO.guarded", "$JS.API.STREAM.MSG.GET.guarded", "$JS.API.DIRECT.GET.guarded", "$JS.API.DIRECT.GET.guarded.>",
		"$JS.API.CONSUMER.CREATE.guarded.>", "$JS.API.CONSUMER.MSG.NEXT.guarded.>", "$JS.API.CONSUMER.INFO.guarded.>", "$JS.API.CONSUMER.DELETE.guarded.>",
	}
	admin, user := guarded(t, all, []string{"_INBOX.>"})
	if _, err := eventstore.Open(t.Context(), admin, "guarded", nil); err != nil {
		t.Fatal(err)
	}
	store, err := eventstore.Open(t.Context(), user, "guarded", nil)
	if err != nil {
		t.Fatal(err)
	}
	var at eventstore.Revision
	for i := range 30 {
		at = add(t, store, stream(t), at, events(fmt.Sprint(i)), nil)
	}
	if _, err := store.Append(t.Context(), stream(t), eventstore.NoStream, events("x"), nil); !errors.Is(err, eventstore.ErrConflict) {
		t.Errorf("appended: %v", err)
	}
	if n := len(history(t, store, stream(t))); n != 30 {
		t.Errorf("the stream has %d events", n)
	}
	if n := len(logged(t, store, 0)); n != 30 {
		t.Errorf("the log has %d events", n)
	}
	if n := len(listed(t, store.Streams(t.Context(), "", 0))); n != 1 {
		t.Errorf("the log has %d streams", n)
	}
	if report, err := store.Verify(t.Context(), nil); err != nil || report.Damaged > 0 {
		t.Errorf("verify: %+v, %v", report, err)
	}
	if err := user.LastError(); err != nil {
		t.Errorf("the server refused something: %v", err)
	}
}

// Who reads through a connection of its own needs no permission to read for the
// other.
func TestPermissionsOfTwoConnections(t *testing.T) {
	t.Parallel()
	reader, writer := guarded(t, []string{"guarded.>", "$JS.API.STREAM.INFO.guarded"}, []string{"_INBOX.>"})
	if _, err := eventstore.Open(t.Context(), reader, "guarded", nil); err != nil {
		t.Fatal(err)
	}
	store, err := eventstore.Open(t.Context(), writer, "guarded", &eventstore.Options{Reads: reader})
	if err != nil {
		t.Fatal(err)
	}
	add(t, store, stream(t), eventstore.NoStream, events("a"), nil)
	add(t, store, stream(t), eventstore.Any, events("b"), nil)
	wantTexts(t, store, stream(t), "a", "b")
	if n := len(logged(t, store, 0)); n != 2 {
		t.Errorf("the log has %d events", n)
	}
	if n := len(listed(t, store.Streams(t.Context(), "", 0))); n != 1 {
		t.Errorf("the log has %d streams", n)
	}
	if err := writer.LastError(); err != nil {
		t.Errorf("the server refused something: %v", err)
	}
}
