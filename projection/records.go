package projection

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

// What a projection remembers in its model, as JSON:
//
//	projection                  master
//	generation/G                generation
//	checkpoint/G/I              checkpoint of worker I
//	parked/G/KIND/ID            parked, of a stream

// master is the projection as a whole.
type master struct {
	Log      string   `json:"log"` // its identity
	Live     uint64   `json:"live"`
	Next     uint64   `json:"next"`               // number of the next generation
	Begin    uint64   `json:"begin,omitempty"`    // position after which generations begin
	Consumer string   `json:"consumer,omitempty"` // of who projects the live one
	Former   []string `json:"former,omitempty"`   // consumers before, some of which may still be there
}

// generation is a read model.
type generation struct {
	Version  int       `json:"version"`
	Created  time.Time `json:"created"`
	Workers  int       `json:"workers"`
	Building bool      `json:"building,omitempty"`
	// Kept says that it stays though it is not live.
	Kept bool `json:"kept,omitempty"`
	// To is where it ends, if it is not to become the live one.
	To     uint64 `json:"to,omitempty"`
	DryRun bool   `json:"dryRun,omitempty"`
	// Replayed is up to which position another one had handled the log.
	Replayed uint64 `json:"replayed,omitempty"`
}

// checkpoint is up to where a worker has handled the log.
type checkpoint struct {
	Position uint64    `json:"position"`
	Recorded time.Time `json:"recorded,omitzero"` // when the log stored that commit
	// Changes counts what is done by hand: who holds the former value notices.
	Changes uint64 `json:"changes,omitempty"`
	// Retired says that another generation became the live one.
	Retired bool `json:"retired,omitempty"`
}

// parked is a stream of which a commit could not be handled.
type parked struct {
	Position uint64    `json:"position"`
	Version  uint64    `json:"version"` // of the commit's first event
	Reason   string    `json:"reason"`
	Attempts int       `json:"attempts"`
	Since    time.Time `json:"since"`
	Last     uint64    `json:"last"`    // position of the last commit that waits
	Waiting  uint64    `json:"waiting"` // commits, the first one included
}

const (
	masterKey        = "projection"
	generationPrefix = "generation/"
)

func generationKey(g uint64) string                    { return fmt.Sprintf("generation/%d", g) }
func checkpointPrefix(g uint64) string                 { return fmt.Sprintf("checkpoint/%d/", g) }
func checkpointKey(g uint64, i int) string             { return fmt.Sprintf("checkpoint/%d/%d", g, i) }
func parkedPrefix(g uint64) string                     { return fmt.Sprintf("parked/%d/", g) }
func parkedKey(g uint64, s eventstore.StreamID) string { return parkedPrefix(g) + s.String() }

// errMoved says that somebody else changed a record that this process holds.
var errMoved = errors.New("the checkpoint was moved by somebody else")

// errDamagedRecord says that a record is not what a projection wrote.
var errDamagedRecord = errors.New("is damaged")

// load reads a record, and reports whether there is one.
func load[V any](r Records, key string) (v V, ok bool, err error) {
	raw, err := r.Get(key)
	if err != nil || raw == nil {
		return v, false, err
	}
	return v, true, parse(key, raw, &v)
}

func parse(key string, raw []byte, v any) error {
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("record %s of the read model %w: %w", key, errDamagedRecord, err)
	}
	return nil
}

func encode(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // the types above all have a JSON form
	}
	return raw
}

func save[T any](tx Tx[T], key string, v any) error { return tx.Put(key, encode(v)) }

// swap sets a record that must be as it was read before.
func swap[T any](tx Tx[T], key string, before, after []byte) error {
	now, err := tx.Get(key)
	if err != nil {
		return err
	}
	if !bytes.Equal(now, before) {
		return errMoved
	}
	return tx.Put(key, after)
}

// loadCheckpoints returns those of all workers of a generation.
func loadCheckpoints(r Records, g uint64, workers int) ([]checkpoint, error) {
	all := make([]checkpoint, workers)
	for i := range all {
		c, ok, err := load[checkpoint](r, checkpointKey(g, i))
		if err == nil && !ok {
			err = fmt.Errorf("record %s of the read model %w: it is missing", checkpointKey(g, i), errDamagedRecord)
		}
		if err != nil {
			return nil, err
		}
		all[i] = c
	}
	return all, nil
}

// lowest returns the checkpoint that all workers have come to.
func lowest(all []checkpoint) checkpoint {
	low := all[0]
	for _, c := range all[1:] {
		if c.Position < low.Position {
			low = c
		}
	}
	return low
}

func highest(all []checkpoint) checkpoint {
	high := all[0]
	for _, c := range all[1:] {
		if c.Position > high.Position {
			high = c
		}
	}
	return high
}
