package service

import (
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/nats-io/nats.go"
)

// DecodeRequest reads all that a request may have.
func DecodeRequest(h nats.Header, body []byte, command any) (id string, opts *aggregate.ExecuteOptions, said map[string]string, err error) {
	r := &request{msg: &nats.Msg{Header: h, Data: body}}
	if _, err := timeout(h, time.Second); err != nil {
		return "", nil, nil, err
	}
	if _, _, err := r.notBefore(); err != nil {
		return "", nil, nil, err
	}
	if said, err = metadata(h); err != nil {
		return "", nil, nil, err
	}
	id, opts, err = r.target(command)
	return id, opts, said, err
}

// EncodeTarget is what a client sets.
func EncodeTarget(id, commandID string, said map[string]string) (nats.Header, error) {
	h := nats.Header{}
	if err := setText(h, hdrAggregate, id); err != nil {
		return nil, err
	}
	if err := setText(h, hdrCommand, commandID); err != nil {
		return nil, err
	}
	return h, setMetadata(h, said)
}

// DecodeFailure returns the error that an answer is, on the client.
func DecodeFailure(data []byte, known map[string]error) error {
	return codes(known).parseFailure("cash.command.till.pay", data)
}

// DecodeDone reads the answer to a command.
func DecodeDone(data []byte) (eventstore.Revision, []byte, error) { return parseDone(data) }

// EncodeFailure returns what is answered for an error.
func EncodeFailure(err error, known map[string]error) (data []byte, status, message string) {
	f, _ := codes(known).describe(err)
	return f.encode()
}
