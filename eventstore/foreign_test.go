package eventstore_test

import (
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What a client does that is not this package.
var clientMutations = []mutation{
	{kind: "foreign message on a stream", client: insertForeign},
	{kind: "foreign message on a new stream", client: func(m *mutant, url string) {
		m.publish(url, &nats.Msg{Subject: imageLog + ".order.foreign", Data: []byte("foreign")})
	}},
	{kind: "earlier commit again, past the guard", client: repeatCommit},
	{kind: "commit of another stream, past the guard", client: copyCommit},
	{kind: "message deleted by a client", sound: true, client: deleteDenied},
	{kind: "log made anew, empty", client: func(m *mutant, url string) {
		m.remake(url, func([]*nats.Msg) []*nats.Msg { return nil })
	}},
	{kind: "log made anew, shorter", client: func(m *mutant, url string) {
		m.remake(url, func(all []*nats.Msg) []*nats.Msg {
			m.did("%d messages of %d", len(all)-1-m.rng.IntN(len(all)-1), len(all))
			return all[:len(all)-1-m.rng.IntN(len(all)-1)]
		})
	}},
	{kind: "log made anew, one message left out", client: func(m *mutant, url string) {
		m.remake(url, func(all []*nats.Msg) []*nats.Msg {
			n := m.rng.IntN(len(all))
			m.did("without position %d", n+1)
			return slices.Delete(all, n, n+1)
		})
	}},
	{kind: "log made anew, one message altered", client: func(m *mutant, url string) {
		m.remake(url, func(all []*nats.Msg) []*nats.Msg {
			n := m.rng.IntN(len(all))
			all[n].Data = append(all[n].Data, '.')
			m.did("position %d altered", n+1)
			return all
		})
	}},
	{kind: "log made anew, two messages swapped", client: func(m *mutant, url string) {
		m.remake(url, func(all []*nats.Msg) []*nats.Msg {
			a := m.rng.IntN(len(all) - 1)
			b := a + 1 + m.rng.IntN(len(all)-1-a)
			all[a], all[b] = all[b], all[a]
			m.did("positions %d and %d swapped", a+1, b+1)
			return all
		})
	}},
}

// anyStream returns the subject of a stream.
func (m *mutant) anyStream() string {
	return imageSubject(m.ids[m.rng.IntN(len(m.ids))])
}

func (m *mutant) jetStream(url string) jetstream.JetStream {
	js, err := jetstream.New(unguarded(m.t, url))
	if err != nil {
		m.Fatal(err)
	}
	return js
}

func (m *mutant) publish(url string, msg *nats.Msg) {
	ack, err := m.jetStream(url).PublishMsg(m.Context(), msg)
	if err != nil {
		m.Fatal(err)
	}
	m.did("position %d of %s", ack.Sequence, msg.Subject)
}

func insertForeign(m *mutant, url string) {
	msg := &nats.Msg{Subject: m.anyStream(), Data: []byte("foreign"), Header: nats.Header{}}
	if m.rng.IntN(2) == 0 {
		msg.Header.Set("Hw-Commit", "1 1-1 1 AAAAAAAAAAAAAAAAAAAAAA -")
	}
	m.publish(url, msg)
}

// stored returns a message that the log has, as it can be published past its
// guard.
func (m *mutant) stored(js jetstream.JetStream, position uint64) *nats.Msg {
	stream, err := js.Stream(m.Context(), imageLog)
	if err != nil {
		m.Fatal(err)
	}
	got, err := stream.GetMsg(m.Context(), position)
	if err != nil {
		m.Fatal(err)
	}
	msg := &nats.Msg{Subject: got.Subject, Header: got.Header, Data: got.Data}
	msg.Header.Del(nats.MsgIdHdr)
	guard := msg.Header.Get(guardHeader)
	msg.Header.Del(guardHeader)
	msg.Header.Set("Hidden", "guard"+hidingPlace+guardHeader+": "+guard)
	return msg
}

func (m *mutant) anyPosition() uint64 {
	id := m.ids[m.rng.IntN(len(m.ids))]
	commits := m.commits[id]
	return commits[m.rng.IntN(len(commits))].at.Position
}

func repeatCommit(m *mutant, url string) {
	position := m.anyPosition()
	m.did("position %d again", position)
	m.publish(url, m.stored(m.jetStream(url), position))
}

func copyCommit(m *mutant, url string) {
	position := m.anyPosition()
	msg := m.stored(m.jetStream(url), position)
	m.did("position %d", position)
	subject := m.anyStream()
	for subject == msg.Subject {
		subject = m.anyStream()
	}
	msg.Subject = subject
	m.publish(url, msg)
}

// deleteDenied tries what the log's settings do not allow, and no client can
// change.
func deleteDenied(m *mutant, url string) {
	js := m.jetStream(url)
	stream, err := js.Stream(m.Context(), imageLog)
	if err != nil {
		m.Fatal(err)
	}
	settings := stream.CachedInfo().Config
	settings.DenyDelete, settings.DenyPurge = false, false
	settings.MaxMsgs = 0
	_, update := js.UpdateStream(m.Context(), settings)
	position := m.anyPosition()
	for what, err := range map[string]error{
		"update": update,
		"delete": stream.DeleteMsg(m.Context(), position),
		"erase":  stream.SecureDeleteMsg(m.Context(), position),
		"purge":  stream.Purge(m.Context(), jetstream.WithPurgeSubject(m.anyStream())),
	} {
		if err == nil {
			m.Errorf("the server allows to %s", what)
		}
	}
	m.did("position %d not deleted", position)
}

// remake deletes the log and makes another of the same identity.
func (m *mutant) remake(url string, change func([]*nats.Msg) []*nats.Msg) {
	js := m.jetStream(url)
	stream, err := js.Stream(m.Context(), imageLog)
	if err != nil {
		m.Fatal(err)
	}
	info := stream.CachedInfo()
	var all []*nats.Msg
	for p := uint64(1); p <= info.State.LastSeq; p++ {
		all = append(all, m.stored(js, p))
	}
	if err := js.DeleteStream(m.Context(), imageLog); err != nil {
		m.Fatal(err)
	}
	if _, err := js.CreateStream(m.Context(), info.Config); err != nil {
		m.Fatal(err)
	}
	for _, msg := range change(all) {
		if _, err := js.PublishMsg(m.Context(), msg); err != nil {
			m.Fatal(err)
		}
	}
}
