package eventstore

import (
	"context"
	"maps"
	"strings"
)

// The keys of metadata that has a meaning to more than one program.
const (
	// CorrelationID is the same for everything that one request from outside
	// led to.
	CorrelationID = "correlationid"
	// CausationID is the id of the event, or command, that led to the commit.
	CausationID = "causationid"
	// User is on whose behalf it was done.
	User = "user"
	// TraceParent and TraceState are the W3C trace context.
	TraceParent = "traceparent"
	TraceState  = "tracestate"
)

type metadataKey struct{}

// WithMetadata returns a context with which appends store these pairs too,
// besides those that the context has already; of two with the same key the new
// one counts. What is wrong with a pair is the error of the append.
func WithMetadata(ctx context.Context, metadata map[string]string) context.Context {
	return context.WithValue(ctx, metadataKey{}, joinMetadata(contextMetadata(ctx), metadata))
}

// CausedBy returns a context with which appends say that an event led to them:
// its id is their causation id, its correlation id is theirs, or its own id
// where it has none, and its user and trace context are theirs.
func CausedBy(ctx context.Context, cause Event) context.Context {
	id := cause.Stream.String() + "/" + cause.ID()
	metadata := map[string]string{CausationID: id, CorrelationID: id}
	for _, key := range []string{CorrelationID, User, TraceParent, TraceState} {
		if value, ok := cause.Metadata[key]; ok {
			metadata[key] = value
		}
	}
	return WithMetadata(ctx, metadata)
}

// Metadata returns a copy of what appends with a context store, see [WithMetadata]:
// to pass it on to another process, for example.
func Metadata(ctx context.Context) map[string]string { return joinMetadata(contextMetadata(ctx)) }

func contextMetadata(ctx context.Context) map[string]string {
	metadata, _ := ctx.Value(metadataKey{}).(map[string]string)
	return metadata
}

// joinMetadata returns a new map, nil if there is nothing in it.
func joinMetadata(all ...map[string]string) map[string]string {
	var joined map[string]string
	for _, metadata := range all {
		if len(metadata) > 0 && joined == nil {
			joined = make(map[string]string, len(metadata))
		}
		maps.Copy(joined, metadata)
	}
	return joined
}

var reservedMetadata = map[string]bool{
	"id": true, "type": true, "source": true, "specversion": true, "subject": true,
	"time": true, "datacontenttype": true, "dataschema": true, "data": true,
}

func checkMetadata(key, value string) error {
	if err := checkMetadataKey(key); err != nil {
		return err
	}
	return checkCharacters("metadata value of "+key, value)
}

func checkMetadataKey(key string) error {
	const what = "metadata key"
	if key == "" || len(key) > 20 {
		return &InvalidError{What: what, Value: key, Reason: "must have 1 to 20 characters"}
	}
	for i := range len(key) {
		if c := key[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9') {
			return &InvalidError{What: what, Value: key, Reason: "may have only the characters a-z and 0-9, as CloudEvents says"}
		}
	}
	if reservedMetadata[key] {
		return &InvalidError{What: what, Value: key, Reason: "is an attribute that CloudEvents defines"}
	}
	if strings.HasPrefix(key, ceHeadwater) {
		return &InvalidError{What: what, Value: key, Reason: "begins with \"" + ceHeadwater + "\", as Headwater's own attributes do"}
	}
	return nil
}
