package service

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
)

// errElsewhere is why something ended in the service, which does not say more.
var errElsewhere = errors.New("the log of the service says why")

// parseFailure returns the error that an answer describes. Nothing of the answer is
// trusted, but that it was received.
func (c codes) parseFailure(subject string, data []byte) error {
	var f failure
	if err := json.Unmarshal(data, &f); err != nil {
		return &Error{Subject: subject, Kind: ErrInternal, Message: "the service answered with an error that is not JSON"}
	}
	err := c.typed(f)
	if err == nil {
		return &Error{Subject: subject, Kind: f.kind(), Message: cmp.Or(clip(f.Message, maxMessage), "the service failed")}
	}
	return fmt.Errorf("%s: %w", subject, err)
}

// kind is that of a failure which has no type of its own.
func (f failure) kind() error {
	switch f.Word {
	case wordTooLarge:
		return eventstore.ErrTooLarge
	case wordUnavailable:
		return eventstore.ErrUnavailable
	}
	return ErrInternal
}

// typed returns the error of another package that a failure is, if it is one.
func (c codes) typed(f failure) error {
	stream, name := f.Stream.id(), clip(f.Projection, maxValue)
	switch f.Word {
	case wordRejected, wordNotFound:
		rule := &Rejection{Code: clip(f.Code, maxValue), Message: cmp.Or(clip(f.Message, maxMessage), f.Word), known: c[f.Code]}
		if f.Stream == nil {
			return rule
		}
		return &aggregate.RejectedError{Stream: stream, Version: f.Version, Err: rule}
	case wordConflict:
		return &eventstore.ConflictError{Stream: stream, Expected: eventstore.Version(f.Version), Actual: f.Actual}
	case wordBadRequest:
		return f.invalid()
	case wordTooLarge:
		if f.Stream != nil {
			return &eventstore.TooLargeError{Stream: stream, What: clip(f.What, maxValue), Size: f.Size, Limit: f.Limit}
		}
	case wordUnknown:
		return &eventstore.UnknownOutcomeError{Stream: stream, CommitID: clip(f.CommitID, maxValue), Expected: eventstore.Revision{Version: f.Version}, Cause: errElsewhere}
	case wordBehind:
		return &projection.BehindError{Projection: name, Wanted: f.Wanted, At: f.Position, Err: context.DeadlineExceeded}
	case wordParked:
		return &projection.ParkedError{Projection: name, Parked: projection.Parked{
			Stream: stream, Position: f.Position, Version: f.Version, Attempts: f.Attempts, Waiting: f.Waiting, Reason: errElsewhere.Error(),
		}}
	case wordStopped:
		return &projection.StoppedError{Projection: name, Stream: stream, Position: f.Position, Version: f.Version, Attempts: f.Attempts, Err: errElsewhere}
	}
	return nil
}
