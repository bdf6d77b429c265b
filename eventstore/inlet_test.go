package eventstore

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

func TestReplySubjects(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]label{
		"$JS.ACK.shop.one.1.7.3.1700000000000000001.9":             {7, 3, 1700000000000000001, 9},
		"$JS.ACK._.hash.shop.one.1.7.3.1700000000000000001.9":      {7, 3, 1700000000000000001, 9},
		"$JS.ACK.hub.hash.shop.one.1.7.3.1700000000000000001.0.xy": {7, 3, 1700000000000000001, 0},
		"$JS.ACK.shop.one.shop.one.1.7.3.1700000000000000001.0":    {}, // whose domain is its name
		"$JS.ACK.shop.two.1.7.3.1700000000000000001.9":             {},
		"$JS.ACK.shop.one.1.7.3.1700000000000000001":               {},
		"$JS.ACK.shop.one.1.7.3.x.9":                               {},
		"$JS.ACK.shop.one.1..3.1.9":                                {},
		"$JS.ACK.shop.one.":                                        {},
		"$JS.ACK.a.shop.one.1.7.3.1700000000000000001.9":           {},
		"": {},
	} {
		at, ok := parseReply(reply, replyPrefix(reply, "shop", "one"))
		if at != want || ok != (want != label{}) {
			t.Errorf("%s: %+v, %t", reply, at, ok)
		}
	}
}

// parseReply reads what nats.go reads, and an ack names the same delivery.
func FuzzReplySubject(f *testing.F) {
	f.Add("$JS.ACK.shop.one.1.7.3.1700000000000000001.9")
	f.Add("$JS.ACK.hub.hash.shop.one.1.7.3.1700000000000000001.0.xy")
	f.Fuzz(func(t *testing.T, reply string) {
		prefix := replyPrefix(reply, "shop", "one")
		at, ok := parseReply(reply, prefix)
		if !ok {
			return
		}
		theirs := func(reply string) *nats.MsgMetadata {
			m := nats.NewMsg("x")
			m.Reply, m.Sub = reply, &nats.Subscription{}
			meta, err := m.Metadata()
			if err != nil {
				t.Skip()
			}
			return meta
		}
		meta := theirs(reply)
		if meta.Stream != "shop" || meta.Consumer != "one" {
			t.Skip() // one of our names is also a domain
		}
		if meta.Sequence.Stream != at.position || meta.Sequence.Consumer != at.number || meta.NumPending != at.pending || !meta.Timestamp.Equal(time.Unix(0, at.recorded)) {
			t.Errorf("%s: %+v, and nats.go says %+v", reply, at, meta)
		}
	})
}
