package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

var interruptionItems = []item{
	{"34 a context that has ended writes nothing", endedBefore},
}

func endedBefore(t *testing.T, s suite) {
	id := s.stream()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for ctx, want := range map[context.Context]error{cancelled: context.Canceled, late: context.DeadlineExceeded} {
		for _, expected := range []eventstore.Expectation{eventstore.NoStream, eventstore.Version(1), eventstore.Any} {
			_, err := s.shared.Append(ctx, id, expected, events("a"), nil)
			if !errors.Is(err, want) || errors.Is(err, eventstore.ErrUnknownOutcome) {
				t.Errorf("expecting %v: %v", expected, err)
			}
		}
	}
	wantTexts(t, s.shared, id)
}
