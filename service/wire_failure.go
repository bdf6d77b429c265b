package service

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
)

// The words for what went wrong, on the wire.
const (
	wordRejected    = "rejected"
	wordNotFound    = "not-found"
	wordConflict    = "conflict"
	wordBadRequest  = "bad-request"
	wordTooLarge    = "too-large"
	wordUnavailable = "unavailable"
	wordUnknown     = "outcome-unknown"
	wordBehind      = "behind"
	wordParked      = "parked"
	wordStopped     = "stopped"
	wordInternal    = "internal"
)

// statuses are what package micro calls the code of an error.
var statuses = map[string]string{
	wordRejected: "422", wordNotFound: "404", wordConflict: "409", wordBadRequest: "400",
	wordTooLarge: "413", wordUnavailable: "503", wordUnknown: "504", wordBehind: "503",
	wordParked: "503", wordStopped: "503", wordInternal: "500",
}

// failure is the answer to a request that failed.
type failure struct {
	Word    string `json:"error"`
	Message string `json:"message"`

	Code     string      `json:"code,omitempty"`
	Stream   *streamName `json:"stream,omitempty"`
	Version  uint64      `json:"version,omitempty"` // decided on, expected, or of an event
	Actual   uint64      `json:"actual,omitempty"`
	Position uint64      `json:"position,omitempty"`
	CommitID string      `json:"commit_id,omitempty"`

	What   string `json:"what,omitempty"`
	Value  string `json:"value,omitempty"`
	Reason string `json:"reason,omitempty"`
	Size   int64  `json:"size,omitempty"`
	Limit  int64  `json:"limit,omitempty"`

	Projection string `json:"projection,omitempty"`
	Wanted     uint64 `json:"wanted,omitempty"`
	Attempts   int    `json:"attempts,omitempty"`
	Waiting    uint64 `json:"waiting,omitempty"`
}

type streamName struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
}

func (n *streamName) id() eventstore.StreamID {
	if n == nil {
		return eventstore.StreamID{}
	}
	return eventstore.StreamID{Kind: clip(n.Kind, maxValue), ID: clip(n.ID, maxValue)}
}

func nameOf(s eventstore.StreamID) *streamName {
	if s == (eventstore.StreamID{}) {
		return nil
	}
	return &streamName{s.Kind, s.ID}
}

// codes are the errors of rules that have a code.
type codes map[string]error

func (c codes) check() error {
	for code, err := range c {
		if err == nil {
			return &eventstore.InvalidError{What: "error code", Value: code, Reason: "has no error"}
		}
		if err := checkWord("error code", code); err != nil {
			return err
		}
	}
	return nil
}

// of returns the code of an error. Of several it is the first in their order.
func (c codes) of(err error) (code string, ok bool) {
	for _, code := range slices.Sorted(maps.Keys(c)) {
		if errors.Is(err, c[code]) {
			return code, true
		}
	}
	return codeNotFound, errors.Is(err, ErrNotFound)
}

// describe returns the failure that an error is, of which only that may be said which
// is about the request. whole reports whether it says all that there is.
func (c codes) describe(err error) (f failure, whole bool) {
	if f, ok := c.rejected(err); ok {
		return f, true
	}
	if errors.Is(err, ErrInternal) {
		return internal, false
	}
	if f, ok := stored(err); ok {
		return f, f.Word != wordUnknown
	}
	if f, ok := projected(err); ok {
		return f, true
	}
	var own *Error
	var invalid *eventstore.InvalidError
	switch {
	case errors.As(err, &own) && own.Kind == eventstore.ErrTooLarge:
		return failure{Word: wordTooLarge, Message: own.Message}, true
	case errors.As(err, &own) && own.Kind == eventstore.ErrUnavailable:
		return failure{Word: wordUnavailable, Message: own.Message}, true
	case errors.As(err, &invalid):
		f := failure{Word: wordBadRequest, What: invalid.What, Value: clip(invalid.Value, maxValue), Reason: invalid.Reason}
		f.Message = f.invalid().Error()
		return f, true
	case errors.Is(err, eventstore.ErrUnavailable):
		return failure{Word: wordUnavailable, Message: "the log is not available"}, false
	case errors.Is(err, context.DeadlineExceeded):
		return failure{Word: wordUnavailable, Message: "it was not done in time"}, true
	case errors.Is(err, context.Canceled):
		return failure{Word: wordUnavailable, Message: "the service is stopping"}, true
	}
	return internal, false
}

var internal = failure{Word: wordInternal, Message: "the service failed; its log says why"}

func (c codes) rejected(err error) (f failure, ok bool) {
	var refused *aggregate.RejectedError
	if errors.As(err, &refused) {
		f = failure{Word: wordRejected, Message: refused.Err.Error(), Stream: nameOf(refused.Stream), Version: refused.Version}
		f.Code, ok = c.of(refused.Err)
	} else if f.Code, ok = c.of(err); ok {
		f.Word, f.Message = wordRejected, err.Error()
	} else {
		return failure{}, false
	}
	switch {
	case !ok:
		f.Code = ""
	case f.Code == codeNotFound:
		f.Word = wordNotFound
	}
	return f, true
}

// stored describes what the event store says of a stream.
func stored(err error) (failure, bool) {
	var unknown *eventstore.UnknownOutcomeError
	var conflict *eventstore.ConflictError
	var large *eventstore.TooLargeError
	switch {
	case errors.As(err, &unknown):
		return failure{
			Word: wordUnknown, Message: "the log did not answer, so the command may or may not be applied; send it again with the same id",
			Stream: nameOf(unknown.Stream), CommitID: unknown.CommitID, Version: unknown.Expected.Version,
		}, true
	case errors.As(err, &conflict):
		return failure{
			Word: wordConflict, Message: conflict.Error(), Stream: nameOf(conflict.Stream),
			Version: versionOf(conflict.Expected), Actual: conflict.Actual,
		}, true
	case errors.As(err, &large):
		return failure{
			Word: wordTooLarge, Message: large.Error(), Stream: nameOf(large.Stream), What: large.What, Size: large.Size, Limit: large.Limit,
		}, true
	}
	return failure{}, false
}

func versionOf(e eventstore.Expectation) uint64 {
	switch e := e.(type) {
	case eventstore.Revision:
		return e.Version
	case eventstore.Version:
		return uint64(e)
	}
	return 0
}

// projected describes why a read model is not where it should be, without what a
// handler said.
func projected(err error) (failure, bool) {
	var behind *projection.BehindError
	var parked *projection.ParkedError
	var stopped *projection.StoppedError
	switch {
	case errors.As(err, &behind):
		return failure{
			Word: wordBehind, Message: fmt.Sprintf("projection %s is at position %d, and not yet at %d", behind.Projection, behind.At, behind.Wanted),
			Projection: behind.Projection, Position: behind.At, Wanted: behind.Wanted,
		}, true
	case errors.As(err, &parked):
		return failure{
			Word: wordParked, Message: fmt.Sprintf("projection %s: %s is parked since position %d", parked.Projection, parked.Stream, parked.Position),
			Projection: parked.Projection, Stream: nameOf(parked.Stream), Position: parked.Position, Version: parked.Version,
			Attempts: parked.Attempts, Waiting: parked.Waiting,
		}, true
	case errors.As(err, &stopped):
		return failure{
			Word: wordStopped, Message: fmt.Sprintf("projection %s stopped at position %d", stopped.Projection, stopped.Position),
			Projection: stopped.Projection, Stream: nameOf(stopped.Stream), Position: stopped.Position, Version: stopped.Version,
			Attempts: stopped.Attempts,
		}, true
	}
	return failure{}, false
}

// encode returns the failure as JSON, and what the headers say of it.
func (f failure) encode() (data []byte, status, message string) {
	f.Message = cmp.Or(clip(f.Message, maxMessage), f.Word)
	f.What, f.Reason = clip(f.What, maxValue), clip(f.Reason, maxMessage)
	data, err := json.Marshal(f)
	if err != nil {
		panic(err) // it has only texts and numbers
	}
	return data, statuses[f.Word], f.Message
}

func tooLarge(what string, size, limit int) error {
	return &Error{Kind: eventstore.ErrTooLarge, Message: fmt.Sprintf("the %s has %d bytes and the limit is %d", what, size, limit)}
}

func (f failure) invalid() *eventstore.InvalidError {
	return &eventstore.InvalidError{What: clip(f.What, maxValue), Value: clip(f.Value, maxValue), Reason: clip(f.Reason, maxMessage)}
}
