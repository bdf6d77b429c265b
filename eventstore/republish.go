package eventstore

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// livePrefix begins the subjects of live feeds: live.<log>.<kind>.<id>. They are
// of four tokens, so that no log has them, and under a root of their own: whoever
// may publish to a log's subjects cannot publish to its live feed.
const livePrefix = "live."

// republished is the setting by which the server publishes a log's commits again.
func republished(log string) *jetstream.RePublish {
	return &jetstream.RePublish{Source: log + ".*.*", Destination: livePrefix + log + ".{{wildcard(1)}}.{{wildcard(2)}}"}
}

// republish gives the log the setting of a live feed, unless it has it.
func (s *Store) republish(ctx context.Context, have *jetstream.RePublish) error {
	want := republished(s.log)
	switch {
	case have == nil:
		return s.setRepublish(ctx, want)
	case *have != *want:
		return &UnsafeLogError{Log: s.log, Problems: []string{fmt.Sprintf("republish: it republishes %s to %s for something else, so it can have no live feed", have.Source, have.Destination)}}
	}
	return nil
}

// setRepublish changes this one setting. The others are sent back as they came,
// also those that a later server has and this program does not know.
func (s *Store) setRepublish(ctx context.Context, want *jetstream.RePublish) error {
	m, err := s.askOn(ctx, s.writes, "$JS.API.STREAM.INFO."+s.log, nil)
	if err != nil {
		return err
	}
	config, err := readConfig(m.Data)
	if err != nil {
		return err
	}
	if config["republish"], err = json.Marshal(want); err != nil {
		return err
	}
	body, err := json.Marshal(config)
	if err != nil {
		return err
	}
	m, err = s.askOn(ctx, s.writes, "$JS.API.STREAM.UPDATE."+s.log, body)
	if err == nil {
		_, err = readConfig(m.Data)
	}
	return err
}

// readConfig reads a stream's settings from an answer of the server.
func readConfig(data []byte) (map[string]json.RawMessage, error) {
	var answer struct {
		Error  *jetstream.APIError        `json:"error"`
		Config map[string]json.RawMessage `json:"config"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return nil, fmt.Errorf("malformed answer: %w", err)
	}
	if answer.Error != nil {
		return nil, answer.Error
	}
	if answer.Config == nil {
		return nil, fmt.Errorf("malformed answer: %s", clip(string(data)))
	}
	return answer.Config, nil
}
