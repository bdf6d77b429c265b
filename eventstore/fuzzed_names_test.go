package eventstore_test

import (
	"cmp"
	"errors"
	"maps"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
)

var (
	plainKind = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	plainKey  = regexp.MustCompile(`^[a-z0-9]{1,20}$`)
)

// hostile makes texts of what has a meaning in subjects, headers, CloudEvents,
// URLs, JSON or UTF-8, or is forbidden in one of them.
func hostile(r *rand.Rand) string {
	pieces := []string{
		".", "*", ">", "..", "$JS.API.STREAM.DELETE.", "$SYS.", "_INBOX.", "names.order.", " ", "\t", "\r\n", "\n", "\r", "\x00", "\x7f", "\u0085",
		":", ": ", "Nats-Msg-Id: x", "Nats-Rollup: all", "Hw-Commit", "ce-id", "NATS/1.0\r\n", "%", "%2E", "%25", "%zz", "%e2%82", ";", ",", "\"", "\\", "/", "//", "?", "#", "#1",
		"ü", "u\u0308", "\u2028", "\ufeff", "\uffff", "\ufdd0", "\U0001f4a5", "\u202e", "\xff", "\xc0\xaf", "\xed\xa0\x80", "\xe4\xb8", "a", "b", "42", "A", "z", "~", "-", "_",
		strings.Repeat("x", 100),
	}
	var b strings.Builder
	for range 1 + r.IntN(4) {
		piece := pieces[r.IntN(len(pieces))]
		if !allowed(piece) && r.IntN(6) > 0 {
			continue // or there would be one in nearly every text
		}
		b.WriteString(piece)
	}
	return cmp.Or(b.String(), "x")
}

// allowed reports whether a text may stand in an event: the rule of CloudEvents
// in other words than the store's.
func allowed(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' || 0x7f <= r && r < 0xa0 || 0xfdd0 <= r && r < 0xfdf0 || r%0x10000 >= 0xfffe
	})
}

// Whatever ids, types, metadata and commit ids are, an append is either refused
// as invalid, with nothing sent, or stored under its own subject, with its own
// headers, and comes back as it was. 4,000 are tried, and 100,000 in the long
// form.
func TestFuzzedNames(t *testing.T) {
	t.Parallel()
	names := 4_000
	if soaking {
		names = 100_000
	}
	const writers = 16
	s := oneNode(t)
	store := s.open(t, testutil.Connect(t, s), "names", nil)
	verifyAtEnd(t, store)
	seed := eventstore.Seeded(t).Uint64()

	type stored struct {
		id  eventstore.StreamID
		at  eventstore.Revision
		typ string
		md  map[string]string
	}
	var mu sync.Mutex
	kept := make(map[uint64]stored)
	tried, refused := 0, 0
	var writing sync.WaitGroup
	for w := range writers {
		r := rand.New(rand.NewPCG(seed, uint64(w)))
		nc := testutil.Connect(t, s)
		own := s.open(t, nc, "names", nil)
		writing.Go(func() {
			for range names / writers {
				a := stored{id: eventstore.StreamID{Kind: "order", ID: hostile(r)}, typ: hostile(r), md: map[string]string{"user": hostile(r)}}
				if r.IntN(8) == 0 {
					a.id.Kind = hostile(r)
				}
				opts := &eventstore.AppendOptions{Metadata: a.md}
				if r.IntN(4) == 0 {
					opts.CommitID = hostile(r)
				}
				if r.IntN(8) == 0 {
					a.md[hostile(r)] = "x"
				}
				legal := plainKind.MatchString(a.id.Kind) && allowed(a.id.ID+a.typ+a.md["user"]+opts.CommitID)
				for key := range a.md {
					legal = legal && plainKey.MatchString(key)
				}
				at, err := own.Append(t.Context(), a.id, eventstore.Any, []eventstore.EventData{{Type: a.typ, Data: []byte(a.id.ID)}}, opts)
				mu.Lock()
				tried++
				switch {
				case err == nil && !legal:
					t.Errorf("stored %q of type %q, with %q, as %q", a.id, a.typ, a.md, opts.CommitID)
				case err == nil && !at.Replayed:
					a.at = at
					kept[at.Position] = a
				case err == nil, errors.Is(err, eventstore.ErrCommitIDReused):
				case errors.Is(err, eventstore.ErrInvalid):
					refused++
				default:
					t.Errorf("append to %q of type %q, with %q: %v", a.id, a.typ, a.md, err)
				}
				mu.Unlock()
			}
			if n := nc.Stats().Reconnects; n > 0 || !nc.IsConnected() {
				t.Errorf("a name cost a writer its connection %d times: %v", n, nc.LastError())
			}
		})
	}
	writing.Wait()
	t.Logf("%d tried, %d stored, %d refused", tried, len(kept), refused)
	if tried < names-writers || refused < tried/10 || len(kept) < tried/10 {
		t.Error("that is too few to tell anything")
	}
	for e, err := range store.Log(t.Context(), 0, nil) {
		if err != nil {
			t.Fatal(err)
		}
		a, ok := kept[e.Position]
		if !ok || e.Stream != a.id || e.Type != a.typ || !maps.Equal(e.Metadata, a.md) || string(e.Data) != a.id.ID || e.CommitID != a.at.CommitID {
			t.Errorf("position %d holds %q of type %q with %q, want %+v", e.Position, e.Stream, e.Type, e.Metadata, a)
		}
		delete(kept, e.Position)
	}
	if len(kept) > 0 {
		t.Errorf("%d of what was stored is not in the log", len(kept))
	}
	wantOwnHeaders(t, s, "names")
}

// wantOwnHeaders checks on the stored messages themselves that there is one
// subject for each stream, and no header but a writer's.
func wantOwnHeaders(t *testing.T, s site, log string) {
	t.Helper()
	nc := testutil.Connect(t, s)
	sub, err := nc.SubscribeSync("raw")
	if err != nil {
		t.Fatal(err)
	}
	js, err := nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	info, err := js.AddConsumer(log, &nats.ConsumerConfig{DeliverSubject: "raw", AckPolicy: nats.AckNonePolicy, HeadersOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		t.Fatal(err)
	}
	for range info.NumPending {
		m, err := sub.NextMsg(patience)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(m.Subject, ".") != 2 || !strings.HasPrefix(m.Subject, log+".") || strings.ContainsAny(m.Subject, "*>") {
			t.Errorf("a message has the subject %q", m.Subject)
		}
		for key, values := range m.Header {
			switch key {
			case "Nats-Msg-Id", "Nats-Expected-Last-Subject-Sequence", "Hw-Commit", "Nats-Msg-Size",
				"ce-id", "ce-source", "ce-subject", "ce-time", "ce-specversion", "ce-type", "ce-user":
			default:
				if strings.Trim(strings.TrimPrefix(key, "ce-"), "abxz42") != "" {
					t.Errorf("a message has the header %q", key)
				}
			}
			if len(values) != 1 {
				t.Errorf("a message has header %q %d times", key, len(values))
			}
		}
	}
}
