package eventstore_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/headwater-go/headwater/embedded"
	"github.com/nats-io/nats.go/jetstream"
)

var mutations = slices.Concat(blockMutations, fileMutations, clientMutations)

// What happens to the blocks in which the messages are.
var blockMutations = []mutation{
	{kind: "bit in a stream's last message, old block", files: func(m *mutant) { m.flipIn(m.lastOfStream(true)) }},
	{kind: "bit in a stream's last message, last block", files: func(m *mutant) { m.flipIn(m.lastOfStream(false)) }},
	{kind: "bit in an old block", files: func(m *mutant) { m.flip(m.oldBlock(), 0) }},
	{kind: "bit in the last block", files: func(m *mutant) { m.flip(m.lastBlock(), 0) }},
	{kind: "bit in the log's last message", files: func(m *mutant) {
		all := m.records()
		m.flipIn(all[len(all)-1])
	}},
	{kind: "bit in the length of a message's headers", files: func(m *mutant) {
		// Which the server's checksum leaves out.
		r := m.anyRecord()
		m.flipBetween(blockFile(r.block), r.at+r.content-4, r.at+r.content)
	}},
	{kind: "4 KiB of an old block zeroed", files: func(m *mutant) { m.zero(m.oldBlock()) }},
	{kind: "4 KiB of the last block zeroed", files: func(m *mutant) { m.zero(m.lastBlock()) }},
	{kind: "old block cut", files: func(m *mutant) { m.cut(m.oldBlock()) }},
	{kind: "last block cut", files: func(m *mutant) { m.cut(m.lastBlock()) }},
	{kind: "last block cut between messages", files: func(m *mutant) { m.cutBetween(m.lastBlock()) }},
	{kind: "old block removed", files: func(m *mutant) { m.removeFile(m.oldBlock()) }},
	{kind: "last block removed", files: func(m *mutant) { m.removeFile(m.lastBlock()) }},
	{kind: "two blocks changed places", files: swapBlocks},
	{kind: "more at the end of the last block", files: longerBlock},
	{kind: "message taken out of its block", files: func(m *mutant) { m.edit(m.anyRecord(), func([]byte) []byte { return nil }) }},
	{kind: "message altered, checksum right", files: func(m *mutant) { m.alter(m.anyRecord()) }},
	{kind: "stream's last message altered, checksum right", files: func(m *mutant) { m.alter(m.lastOfStream(m.rng.IntN(2) == 0)) }},
	{kind: "message moved to another stream, checksum right", files: moveMessage},
}

// What happens to the other files, and to the folder as a whole.
var fileMutations = []mutation{
	{kind: "index.db damaged or lost", sound: true, files: func(m *mutant) { m.spoil(indexFile) }},
	{kind: "meta.inf damaged or lost", files: func(m *mutant) { m.spoil(metaFile) }},
	{kind: "meta.sum damaged or lost", files: func(m *mutant) { m.spoil(metaSum) }},
	{kind: "folder of the log removed", files: func(m *mutant) { m.removeAll(m.storedLog.dir) }},
	{kind: "folder of the server emptied", files: func(m *mutant) { m.removeAll(filepath.Join(m.image.dir, "jetstream")) }},
	{kind: "older copy of the folder", older: true},
	{kind: "older copy of folder and mark", older: true, mark: olderMark, held: true},
	{kind: "older copy of the folder, no mark", older: true, mark: noMark, held: true},
	{kind: "message deleted by an administrator", files: deleteMessages},
	{kind: "stream purged by an administrator", files: purgeStream},
}

func (m *mutant) pick(all []record) record { return all[m.rng.IntN(len(all))] }

func (m *mutant) anyRecord() record { return m.pick(m.records()) }

// lastOfStream returns the last message of a stream that ends in an old block,
// or in the last one.
func (m *mutant) lastOfStream(old bool) record {
	last := make(map[string]record)
	for _, r := range m.records() {
		last[r.subject] = r
	}
	var all []record
	for _, subject := range slices.Sorted(maps.Keys(last)) {
		if r := last[subject]; old == (r.block != m.lastBlock()) {
			all = append(all, r)
		}
	}
	return m.pick(all)
}

func (m *mutant) lastBlock() int { return slices.Max(m.blocks()) }

func (m *mutant) oldBlock() int {
	blocks := m.blocks()
	return blocks[m.rng.IntN(len(blocks)-1)]
}

// flip turns one bit of a block, from an offset on.
func (m *mutant) flip(block, from int) { m.flipBetween(blockFile(block), from, -1) }

func (m *mutant) flipIn(r record) {
	m.did("position %d of %s", r.position, r.subject)
	m.flipBetween(blockFile(r.block), r.at, r.at+r.size)
}

func (m *mutant) flipBetween(name string, from, to int) {
	data := m.read(name)
	if to < 0 {
		to = len(data)
	}
	at, bit := from+m.rng.IntN(to-from), m.rng.IntN(8)
	data[at] ^= 1 << bit
	m.write(name, data)
	m.did("bit %d of byte %d of %s", bit, at, name)
}

func (m *mutant) zero(block int) {
	data := m.read(blockFile(block))
	const size = 4 << 10
	at := m.rng.IntN(max(len(data)-size, 1))
	clear(data[at:min(at+size, len(data))])
	m.write(blockFile(block), data)
	m.did("zeros from byte %d of block %d", at, block)
}

func (m *mutant) cut(block int) {
	data := m.read(blockFile(block))
	m.cutAt(block, m.rng.IntN(len(data)))
}

func (m *mutant) cutBetween(block int) {
	m.cutAt(block, m.pick(records(m, block, m.read(blockFile(block)))).at)
}

func (m *mutant) cutAt(block, at int) {
	m.write(blockFile(block), m.read(blockFile(block))[:at])
	m.did("block %d cut at byte %d", block, at)
}

func (m *mutant) removeFile(block int) {
	m.remove(blockFile(block))
	m.did("block %d removed", block)
}

func swapBlocks(m *mutant) {
	a, b := m.oldBlock(), m.lastBlock()
	one, other := m.read(blockFile(a)), m.read(blockFile(b))
	m.write(blockFile(a), other)
	m.write(blockFile(b), one)
	m.did("blocks %d and %d swapped", a, b)
}

// longerBlock adds what a torn write leaves, or a message once more.
func longerBlock(m *mutant) {
	block := m.lastBlock()
	data := m.read(blockFile(block))
	r := m.pick(records(m, block, data))
	more := slices.Clone(data[r.at : r.at+r.size])
	if m.rng.IntN(2) == 0 {
		more = more[:m.rng.IntN(len(more))]
	}
	m.write(blockFile(block), append(data, more...))
	m.did("%d bytes of position %d at the end of block %d again", len(more), r.position, block)
}

// edit puts something else in the place of a record.
func (m *mutant) edit(r record, change func([]byte) []byte) {
	data := m.read(blockFile(r.block))
	changed := change(slices.Clone(data[r.at : r.at+r.size]))
	if len(changed) > 0 {
		m.seal(r.block, changed)
	}
	m.write(blockFile(r.block), slices.Replace(data, r.at, r.at+r.size, changed...))
	m.did("position %d of %s", r.position, r.subject)
}

// alter changes one byte of a message, as somebody does who knows the format of
// the blocks.
func (m *mutant) alter(r record) {
	m.edit(r, func(b []byte) []byte {
		at := r.content + m.rng.IntN(r.size-recordChecksum-r.content)
		b[at] ^= 1
		m.did("byte %d", at)
		return b
	})
}

func moveMessage(m *mutant) {
	m.edit(m.anyRecord(), func(b []byte) []byte {
		number := recordHead + len(imageLog+".order.s0")
		b[number] = '0' + (b[number]-'0'+1+byte(m.rng.IntN(9)))%10
		return b
	})
}

// spoil damages, shortens, empties or removes a file.
func (m *mutant) spoil(name string) {
	if _, err := os.Stat(m.path(name)); err != nil {
		m.did("no %s", name)
		return
	}
	switch m.rng.IntN(6) {
	case 0:
		m.remove(name)
		m.did("%s removed", name)
	case 1:
		m.write(name, nil)
		m.did("%s emptied", name)
	case 2:
		data := m.read(name)
		data = data[:m.rng.IntN(len(data))]
		m.write(name, data)
		m.did("%s cut at byte %d", name, len(data))
	default:
		m.flipBetween(name, 0, -1)
	}
}

func (m *mutant) removeAll(dir string) {
	if err := os.RemoveAll(dir); err != nil {
		m.Fatal(err)
	}
	m.did("%s removed", filepath.Base(dir))
}

// administer changes the settings on the disk, which no client can, and lets f
// use what they allow.
func (m *mutant) administer(f func(jetstream.Stream)) {
	sound := m.read(metaFile)
	m.writeMeta([]byte(strings.NewReplacer(`"deny_delete":true`, `"deny_delete":false`, `"deny_purge":true`, `"deny_purge":false`).Replace(string(sound))))
	server, err := embedded.Start(m.Context(), m.image.dir, &embedded.Options{Relaxed: true})
	if err != nil {
		m.Fatal(err)
	}
	nc, err := server.Connect()
	if err != nil {
		m.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		m.Fatal(err)
	}
	stream, err := js.Stream(m.Context(), imageLog)
	if err != nil {
		m.Fatal(err)
	}
	f(stream)
	if err := server.Close(); err != nil {
		m.Fatal(err)
	}
	m.writeMeta(sound)
}

func deleteMessages(m *mutant) {
	r := m.anyRecord()
	if m.rng.IntN(2) == 0 {
		r = m.lastOfStream(m.rng.IntN(2) == 0)
	}
	m.administer(func(stream jetstream.Stream) {
		remove := stream.DeleteMsg
		if m.rng.IntN(2) == 0 {
			remove = stream.SecureDeleteMsg
		}
		if err := remove(m.Context(), r.position); err != nil {
			m.Fatal(err)
		}
	})
	m.did("position %d of %s deleted", r.position, r.subject)
}

func purgeStream(m *mutant) {
	r := m.anyRecord()
	opts := []jetstream.StreamPurgeOpt{jetstream.WithPurgeSubject(r.subject)}
	switch m.rng.IntN(3) {
	case 0:
		opts = append(opts, jetstream.WithPurgeKeep(1))
	case 1:
		opts = []jetstream.StreamPurgeOpt{jetstream.WithPurgeSequence(r.position)}
	}
	m.administer(func(stream jetstream.Stream) {
		if err := stream.Purge(m.Context(), opts...); err != nil {
			m.Fatal(err)
		}
	})
	m.did("purged at position %d of %s with %d options", r.position, r.subject, len(opts))
}
