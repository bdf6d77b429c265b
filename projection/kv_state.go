package projection

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/headwater-go/headwater/eventstore"
)

// kvState is what a bucket has of a projection. It is not changed.
type kvState struct {
	revision uint64   // 0: nothing
	writes   []string // ids of the last ones, newest first
	records  map[string][]byte
}

// kvValue is its form in the bucket, as JSON. Records are text, so that people can read
// them.
type kvValue struct {
	Writes  []string          `json:"writes"`
	Records map[string]string `json:"records"`
}

// kvWrites is how many writes are remembered: so many others may come after one whose
// answer was lost, and who looks still knows that it was made.
const kvWrites = 8

// next returns what comes after a state.
func (s kvState) next(records map[string][]byte) kvState {
	writes := append([]string{rand.Text()}, s.writes[:min(len(s.writes), kvWrites-1)]...)
	return kvState{writes: writes, records: records}
}

func (s kvState) has(write string) bool { return slices.Contains(s.writes, write) }

// holds reports whether records are as they were read.
func (s kvState) holds(read map[string][]byte) bool {
	for key, value := range read {
		if now := s.records[key]; !bytes.Equal(now, value) || (now == nil) != (value == nil) {
			return false
		}
	}
	return true
}

// with returns the records with others over them, of which nil ones are removed.
func (s kvState) with(written map[string][]byte) map[string][]byte {
	return memoryRecords{s.records, written}.merged()
}

func (s kvState) encode(projection string) ([]byte, error) {
	v := kvValue{s.writes, make(map[string]string, len(s.records))}
	for key, value := range s.records {
		if !utf8.ValidString(key) || !utf8.Valid(value) {
			return nil, &eventstore.InvalidError{What: "record of projection " + projection, Value: key, Reason: "is not UTF-8 text"}
		}
		v.Records[key] = string(value)
	}
	return json.Marshal(v)
}

// parseKV reads a value. An empty one is what is left of a key that was removed.
func parseKV(projection string, revision uint64, raw []byte) (kvState, error) {
	s := kvState{revision: revision, records: make(map[string][]byte)}
	if len(raw) == 0 {
		return s, nil
	}
	var v kvValue
	if err := json.Unmarshal(raw, &v); err != nil {
		return s, fmt.Errorf("value %s in the bucket %w: %w", projection, errDamagedRecord, err)
	}
	if v.Records == nil {
		return s, fmt.Errorf("value %s in the bucket %w: it has no records", projection, errDamagedRecord)
	}
	s.writes = v.Writes
	for key, value := range v.Records {
		s.records[key] = []byte(value)
	}
	return s, nil
}
