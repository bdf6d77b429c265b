package eventstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The streams of the log that is damaged, by the last token of their subjects.
const (
	theOne   = "one"
	theOther = "other"
)

func damagedID(name string) eventstore.StreamID { return eventstore.StreamID{Kind: "order", ID: name} }

// A sound log is what damaged ones are made from: 61 commits, every fourth of
// the other stream. Those that a multiple of 3 divides have two events. So
// commit number n of the one stream is at position n + (n-1)/3:
//
//	number    1 2 3 4 … 12 13 … 18 19 20 21 22 23 24 … 45 46
//	position  1 2 3 5 … 15 17 … 23 25 26 27 29 30 31 … 59 61
type sound struct {
	site
	settings jetstream.StreamConfig
	messages []*nats.Msg // by position, from 1
	events   []eventstore.Event
}

const lastPosition = 61

func soundLog(t *testing.T) *sound {
	t.Helper()
	s := &sound{site: oneNode(t)}
	store := s.log(t, "sound", nil)
	at := make(map[string]eventstore.Revision)
	for p := 1; p <= lastPosition; p++ {
		name := theOne
		if p%4 == 0 {
			name = theOther
		}
		data := events(fmt.Sprint(p, "a"))
		if p%3 == 0 {
			data = events(fmt.Sprint(p, "a"), fmt.Sprint(p, "b"))
		}
		at[name] = add(t, store, damagedID(name), at[name], data, &eventstore.AppendOptions{
			CommitID: fmt.Sprint("commit ", p), Metadata: map[string]string{"user": "ann"},
			Time: time.Date(2025, 1, 1, 0, p, 0, 0, time.UTC),
		})
	}
	stream := s.stored(t, store.Name())
	s.messages = []*nats.Msg{nil}
	for p := uint64(1); p <= lastPosition; p++ {
		m, err := stream.GetMsg(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		_, token, _ := strings.Cut(m.Subject, ".order.")
		s.messages = append(s.messages, &nats.Msg{Subject: token, Header: m.Header, Data: m.Data})
	}
	s.events = logged(t, store, 0)
	return s
}

// stored returns what the server has of a log, whose settings are those of the
// copies.
func (s *sound) stored(t *testing.T, log string) jetstream.Stream {
	t.Helper()
	stream, err := s.jetStream(t).Stream(t.Context(), log)
	if err != nil {
		t.Fatal(err)
	}
	s.settings = stream.CachedInfo().Config
	return stream
}

// of returns the events of a stream.
func (s *sound) of(name string) (all []eventstore.Event) {
	for _, e := range s.events {
		if e.Stream == damagedID(name) {
			all = append(all, e)
		}
	}
	return all
}

// upTo returns the last event of the one stream that is not after a position.
func (s *sound) upTo(position uint64) (last eventstore.Event) {
	for _, e := range s.of(theOne) {
		if e.Position <= position {
			last = e
		}
	}
	return last
}

// A copied log has the messages of a sound one, to be damaged before they are
// stored. The digests leave out the log's name, so they are right there too.
type copied struct {
	*testing.T
	messages []*nats.Msg // by position, from 1; their subjects are last tokens only
	lost     uint64      // position that is taken out once all is stored
}

func (s *sound) copy(t *testing.T) *copied {
	c := &copied{T: t}
	for _, m := range s.messages {
		c.messages = append(c.messages, copyMessage(m))
	}
	return c
}

func copyMessage(m *nats.Msg) *nats.Msg {
	if m == nil {
		return nil
	}
	clone := &nats.Msg{Subject: m.Subject, Header: make(nats.Header), Data: bytes.Clone(m.Data)}
	for key, values := range m.Header {
		clone.Header[key] = slices.Clone(values)
	}
	return clone
}

// set gives a message's header another value.
func (c *copied) set(position uint64, key, value string) {
	c.Helper()
	h := c.messages[position].Header
	if h.Get(key) == value || h.Get(key) == "" {
		c.Fatalf("header %s at position %d is %q already, or not there", key, position, h.Get(key))
	}
	h.Set(key, value)
}

// place sets one of the fields of Hw-Commit: format, versions, ordinal, digest,
// distances.
func (c *copied) place(position uint64, field int, value string) {
	c.Helper()
	const key = "Hw-Commit"
	fields := strings.Split(c.messages[position].Header.Get(key), " ")
	fields[field] = value
	c.set(position, key, strings.Join(fields, " "))
}

const versionsField, ordinalField, digestField, namesField = 1, 2, 3, 4

// moveName makes the i-th name of a commit, where 0 is the guard, stand for an
// earlier position, and leaves the others.
func (c *copied) moveName(position uint64, i int, by int64) {
	c.Helper()
	m := c.messages[position]
	fields := strings.Split(m.Header.Get("Hw-Commit"), " ")
	list := strings.Split(fields[namesField], ",")
	move := func(i int, by int64) {
		d, err := strconv.ParseInt(list[i], 36, 64)
		if err != nil {
			c.Fatal(err)
		}
		list[i] = strconv.FormatInt(d+by, 36)
	}
	if i == 0 {
		guard, err := strconv.ParseInt(m.Header.Get(guardHeader), 10, 64)
		if err != nil {
			c.Fatal(err)
		}
		c.set(position, guardHeader, fmt.Sprint(guard-by))
	} else {
		move(i-1, by)
	}
	if i < len(list) {
		move(i, -by)
	}
	c.place(position, namesField, strings.Join(list, ","))
}

// reseal makes the digests of the one stream right for what it says now.
func (c *copied) reseal() {
	c.Helper()
	var one []*nats.Msg
	for _, m := range c.messages[1:] {
		if m.Subject == theOne {
			one = append(one, m)
		}
	}
	eventstore.Reseal(c, damagedID(theOne), one)
}

const guardHeader = nats.ExpectedLastSubjSeqHdr

// The server checks the guard of what it stores, whoever sends it. But it looks
// for a header at the beginning of a line that ends with CR LF, and a client at
// the beginning of any line. So a guard is not checked, and yet there for
// readers, if a lone LF stands before it. This byte becomes that LF on its way
// to the server.
const hidingPlace = "\x01"

func unguarded(t *testing.T, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, nats.SetCustomDialer(hidingDialer{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

type hidingDialer struct{ net.Dialer }

func (d hidingDialer) Dial(network, address string) (net.Conn, error) {
	conn, err := d.Dialer.Dial(network, address)
	return hidingConn{conn}, err
}

type hidingConn struct{ net.Conn }

func (c hidingConn) Write(b []byte) (int, error) {
	return c.Conn.Write(bytes.ReplaceAll(b, []byte(hidingPlace), []byte("\n")))
}

// store stores the messages, which the server is not let check.
func (c *copied) store(s *sound, name string) *eventstore.Store {
	c.Helper()
	js, err := jetstream.New(unguarded(c.T, s.urls[0]))
	if err != nil {
		c.Fatal(err)
	}
	settings := s.settings
	settings.Name, settings.Subjects = name, []string{name + ".*.*"}
	settings.DenyDelete = false
	stream, err := js.CreateStream(c.Context(), settings)
	if err != nil {
		c.Fatal(err)
	}
	var acks []jetstream.PubAckFuture
	for _, m := range c.messages[1:] {
		m = copyMessage(m)
		m.Subject = name + ".order." + m.Subject
		m.Header.Del(nats.MsgIdHdr)
		if guard := m.Header[guardHeader]; guard != nil {
			m.Header.Del(guardHeader)
			m.Header.Set("Hidden", "guard"+hidingPlace+guardHeader+": "+guard[0])
		}
		ack, err := js.PublishMsgAsync(m)
		if err != nil {
			c.Fatal(err)
		}
		acks = append(acks, ack)
	}
	for i, ack := range acks {
		select {
		case ok := <-ack.Ok():
			if ok.Sequence != uint64(i)+1 {
				c.Fatalf("the message for position %d is at %d", i+1, ok.Sequence)
			}
		case err := <-ack.Err():
			c.Fatal(err)
		case <-c.Context().Done():
			c.Fatal("not stored in time")
		}
	}
	if c.lost > 0 {
		if err := stream.DeleteMsg(c.Context(), c.lost); err != nil {
			c.Fatal(err)
		}
	}
	settings.DenyDelete = true
	if _, err := js.UpdateStream(c.Context(), settings); err != nil {
		c.Fatal(err)
	}
	opts := &eventstore.Options{}
	if c.lost > 0 {
		if _, err := eventstore.Open(c.Context(), js.Conn(), name, nil); !errors.Is(err, eventstore.ErrCorrupt) {
			c.Errorf("a log that lost a message is opened: %v", err)
		}
		opts.AllowUnsafe = []string{"damage"}
	}
	store, err := eventstore.Open(c.Context(), js.Conn(), name, opts)
	if err != nil {
		c.Fatal(err)
	}
	// Until it knows that all can be read, it finds more.
	eventually(c.T, "the log is scrubbed", func() bool { return eventstore.Scrubbed(store) })
	return store
}

// found is where damage is reported in each way of reading. 0 is nowhere: what
// is read then is as it was.
type found struct {
	// The one stream: from its beginning; from the damaged commit on; from the
	// one after that on; backward; after the revision before the damage and
	// after the last revision, which were read when all was well.
	all, from, past, back, since, end uint64

	log    uint64 // the log, which does not show content that was altered
	verify []uint64

	blind bool // who reads the stream without a revision from before cannot tell
}

// altered is what is found of a commit whose content is not what it was: its
// digest is not right for it.
func altered(at uint64) found {
	return found{all: at, from: at, back: at, since: at, verify: []uint64{at}}
}

// lost is what is found of a commit of the one stream that is not there, or has
// not the form of one. It is found wherever it is looked at, also to check the
// commit after it.
func lost(at, next uint64) found {
	return found{all: at, from: at, past: at, back: at, since: at, log: at, verify: []uint64{at, next}}
}

// span is the positions from first to last, but one.
func span(first, last, but uint64) (all []uint64) {
	for p := first; p <= last; p++ {
		if p != but {
			all = append(all, p)
		}
	}
	return all
}

const zeros = "AAAAAAAAAAAAAAAAAAAAAA" // a digest

var damages = []struct {
	name string
	at   uint64 // position of the commit of the one stream that is damaged
	do   func(*copied)
	found
}{
	{"none", 26, func(*copied) {}, found{}},

	// What a commit says.
	{"a byte of the data", 26, func(c *copied) { c.messages[26].Data[0] ^= 1 }, altered(26)},
	{"a byte of the second event", 27, func(c *copied) { c.messages[27].Data[4] ^= 1 }, altered(27)},
	{"a byte more", 26, func(c *copied) { c.messages[26].Data = append(c.messages[26].Data, 'x') }, altered(26)},
	{"the type", 26, func(c *copied) { c.set(26, "ce-type", "other") }, altered(26)},
	{"the type of the second event", 27, func(c *copied) { c.set(27, "Hw-Events", "3;noted 3;other") }, altered(27)},
	{"the content type", 26, func(c *copied) { c.set(26, "ce-datacontenttype", "text/html") }, altered(26)},
	{"metadata", 26, func(c *copied) { c.set(26, "ce-user", "eve") }, altered(26)},
	{"metadata added", 26, func(c *copied) { c.messages[26].Header.Set("ce-more", "") }, altered(26)},
	{"metadata removed", 26, func(c *copied) { c.messages[26].Header.Del("ce-user") }, altered(26)},
	{"the time", 26, func(c *copied) { c.set(26, "ce-time", "2025-01-01T00:26:00.000000001Z") }, altered(26)},
	{"the commit id", 26, func(c *copied) { c.set(26, "ce-id", "commit%2027") }, altered(26)},
	{"the content of a later commit", 26, func(c *copied) {
		was := c.messages[26].Header
		c.messages[26] = copyMessage(c.messages[29])
		for _, key := range []string{"Hw-Commit", guardHeader} {
			c.messages[26].Header[key] = was[key]
		}
	}, altered(26)},
	{"the digest", 26, func(c *copied) { c.place(26, digestField, zeros) },
		found{all: 26, from: 26, past: 27, back: 26, since: 26, verify: []uint64{26, 27}}},
	{"the first commit", 1, func(c *copied) { c.set(1, "ce-user", "eve") },
		found{all: 1, from: 1, past: 1, back: 1, since: 1, verify: []uint64{1}}},
	{"the last commit", 61, func(c *copied) { c.set(61, "ce-user", "eve") }, altered(61)},
	{"the last commit's digest", 61, func(c *copied) { c.place(61, digestField, zeros) },
		found{all: 61, from: 61, back: 61, since: 61, end: 61, verify: []uint64{61}}},

	// Where a commit says it stands. The digest covers versions and ordinals,
	// and is made right again here, so all after it are others too.
	{"the versions", 26, func(c *copied) { c.place(26, versionsField, "27-27"); c.reseal() },
		found{all: 26, from: 26, past: 26, back: 26, since: 26, end: 61, verify: []uint64{26, 27}}},
	{"the ordinal", 26, func(c *copied) { c.place(26, ordinalField, "21"); c.reseal() },
		found{all: 26, from: 27, past: 26, back: 26, since: 26, end: 61, verify: []uint64{26, 27}}},
	{"the predecessor", 26, func(c *copied) { c.moveName(26, 0, 1) },
		found{all: 26, from: 26, back: 26, since: 26, verify: []uint64{26, 27}}},
	// These two positions are not needed in all ways of reading.
	{"a named position", 26, func(c *copied) { c.moveName(26, 7, 1) },
		found{all: 26, back: 26, verify: []uint64{26}}},
	{"a position that the last commit names", 61, func(c *copied) { c.moveName(61, 9, 1) },
		found{all: 59, verify: []uint64{61}}},

	// Something else where a commit was.
	{"no headers", 26, func(c *copied) { c.messages[26].Header = nil }, lost(26, 27)},
	{"no headers at the end", 61, func(c *copied) { c.messages[61].Header = nil },
		found{all: 61, from: 61, past: 61, back: 61, since: 61, end: 61, log: 61, verify: []uint64{61}}},
	{"no place", 26, func(c *copied) { c.messages[26].Header.Del("Hw-Commit") }, lost(26, 27)},
	{"no guard", 26, func(c *copied) { c.messages[26].Header.Del(guardHeader) }, lost(26, 27)},
	{"versions that cannot be", 26, func(c *copied) { c.place(26, versionsField, "27-26") }, lost(26, 27)},
	{"a commit of the other stream", 26, func(c *copied) {
		c.messages[26] = copyMessage(c.messages[24])
		c.messages[26].Subject = theOne
	}, lost(26, 27)},
	{"moved to the other stream", 26, func(c *copied) { c.messages[26].Subject = theOther }, lost(26, 27)},
	{"two swapped", 26, func(c *copied) { c.messages[26], c.messages[27] = c.messages[27], c.messages[26] },
		found{all: 27, from: 26, past: 26, back: 27, since: 27, log: 26, verify: []uint64{26, 29}}},

	// One commit less or more.
	{"taken out", 26, func(c *copied) { c.lost = 26 }, lost(26, 27)},
	{"the other stream's last taken out", 26, func(c *copied) { c.lost = 60 }, found{log: 60, verify: []uint64{60}}},
	{"left out", 26, func(c *copied) { c.messages = slices.Delete(c.messages, 26, 27) },
		found{all: 59, from: 42, past: 42, back: 59, since: 59, end: 61, log: 26, verify: span(26, 60, 27)}},
	{"repeated in place of the other stream's", 26, func(c *copied) { c.messages[28] = c.messages[15] },
		found{verify: []uint64{28, 29, 32}}},
	{"repeated", 26, func(c *copied) { c.messages = slices.Insert(c.messages, 26, c.messages[15]) },
		found{all: 59, from: 29, past: 29, back: 59, since: 59, end: 62, verify: span(26, 62, 29)}},
	{"the last taken out", 26, func(c *copied) { c.lost = 61 },
		found{end: 61, log: 61, verify: []uint64{61}, blind: true}},
	{"repeated at the end", 26, func(c *copied) { c.messages = append(c.messages, c.messages[15]) },
		found{since: 62, end: 62, verify: []uint64{62}, blind: true}},
}

// Whatever of a log is not as its writers made it is found, and no read gives
// anything but what they wrote.
func TestDamageIsFound(t *testing.T) {
	t.Parallel()
	s := soundLog(t)
	for i, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			c := s.copy(t)
			d.do(c)
			store := c.store(s, fmt.Sprint("damaged-", i))
			one := s.of(theOne)
			before, at, last := s.upTo(d.at-1), s.upTo(d.at), one[len(one)-1]
			backward := slices.Clone(one)
			slices.Reverse(backward)
			for _, read := range []struct {
				name  string
				opts  eventstore.ReadOptions
				want  []eventstore.Event
				found uint64
			}{
				{"all", eventstore.ReadOptions{}, one, d.all},
				{"from the damage", eventstore.ReadOptions{From: before.Version + 1}, one[before.Version:], d.from},
				{"from past the damage", eventstore.ReadOptions{From: at.Version + 1}, one[at.Version:], d.past},
				{"backward", eventstore.ReadOptions{Backward: true}, backward, d.back},
				{"after the revision before", eventstore.ReadOptions{After: before.Revision()}, one[before.Version:], d.since},
				{"after the last revision", eventstore.ReadOptions{After: last.Revision()}, nil, d.end},
			} {
				if d.blind && read.found == 0 {
					continue
				}
				got, err := collect(store.Read(t.Context(), damagedID(theOne), &read.opts))
				wantDamage(t, "read "+read.name, err, damagedID(theOne), read.found)
				if read.found == 0 && len(got) < len(read.want) || !startsWith(read.want, got) {
					t.Errorf("read %s: %q, which is not %q", read.name, texts(got), texts(read.want))
				}
			}
			c.wantLog(store, d.log)
			c.wantVerify(store, d.verify)
		})
	}
}

// startsWith reports whether all begins with these events.
func startsWith(all, events []eventstore.Event) bool {
	return len(events) <= len(all) && slices.EqualFunc(all[:len(events)], events, func(a, b eventstore.Event) bool {
		return sameEvent(a, b) && a.Type == b.Type && a.ContentType == b.ContentType && a.Time.Equal(b.Time) && maps.Equal(a.Metadata, b.Metadata)
	})
}

// wantDamage checks that err is damage of the stream at a position, or nil for
// 0.
func wantDamage(t *testing.T, what string, err error, stream eventstore.StreamID, position uint64) {
	t.Helper()
	var damage *eventstore.CorruptionError
	switch {
	case position == 0 && err == nil:
	case position == 0:
		t.Errorf("%s: %v", what, err)
	case !errors.As(err, &damage) || !errors.Is(err, eventstore.ErrCorrupt):
		t.Errorf("%s: %v, want damage at position %d", what, err, position)
	case damage.Position != position || damage.Stream != stream:
		t.Errorf("%s: %v, want damage of %s at position %d", what, damage, stream, position)
	}
}

// at returns the stream of a position, none where it was taken out.
func (c *copied) at(position uint64) (stream eventstore.StreamID) {
	if position > 0 && position != c.lost {
		stream = damagedID(c.messages[position].Subject)
	}
	return stream
}

// wantLog checks that the log is read up to the damage, without gaps.
func (c *copied) wantLog(store *eventstore.Store, damage uint64) {
	c.Helper()
	last := uint64(0)
	for e, err := range store.Log(c.Context(), 0, nil) {
		if err != nil {
			wantDamage(c.T, "log", err, c.at(damage), damage)
			last++
		} else if e.Position == last+1 {
			last++
		} else if e.Position != last {
			c.Errorf("the log goes on from position %d to %d", last, e.Position)
		}
	}
	end := uint64(len(c.messages)) - 1
	if damage > 0 {
		end = damage
	}
	if last != end {
		c.Errorf("the log ends at position %d, want %d", last, end)
	}
}

// wantVerify checks that exactly these positions are listed.
func (c *copied) wantVerify(store *eventstore.Store, positions []uint64) {
	c.Helper()
	report, err := store.Verify(c.Context(), nil)
	if err != nil {
		c.Fatal(err)
	}
	var got []uint64
	for _, damage := range report.Damage {
		got = append(got, damage.Position)
		wantDamage(c.T, "verify", damage, c.at(damage.Position), damage.Position)
	}
	if !slices.Equal(got, positions) {
		c.Errorf("verify finds damage at %d, want %d: %v", got, positions, report.Damage)
	}
	if last := uint64(len(c.messages)) - 1; report.Position != last {
		c.Errorf("verify ends at position %d, want %d", report.Position, last)
	}
}

// However much of a log is damaged, a report lists a bounded part of it, and
// looks at the whole log.
func TestReportIsBounded(t *testing.T) {
	t.Parallel()
	const most, foreign = 1000, 1010
	c := &copied{T: t, messages: make([]*nats.Msg, 1, foreign+1)}
	for range foreign {
		c.messages = append(c.messages, &nats.Msg{Subject: theOne})
	}
	s := &sound{site: oneNode(t)}
	if _, err := eventstore.Open(t.Context(), testutil.Connect(t, s), "empty", nil); err != nil {
		t.Fatal(err)
	}
	s.stored(t, "empty")
	store := c.store(s, "foreign")
	c.wantVerify(store, span(1, most, 0))
	// All of it is told one by one, and progress up to the end.
	told, progress := uint64(0), eventstore.Report{}
	report, err := store.Verify(t.Context(), &eventstore.VerifyOptions{
		OnDamage: func(damage *eventstore.CorruptionError) {
			if told++; damage.Position != told {
				t.Errorf("damage number %d is %v", told, damage)
			}
		},
		OnProgress: func(r eventstore.Report) { progress = r },
	})
	if err != nil || told != foreign || report.Damaged != foreign || report.End != foreign || progress.Damaged != foreign || progress.Position != foreign {
		t.Errorf("told of %d, at last %+v, and the report is %+v, %v", told, progress, report, err)
	}
}
