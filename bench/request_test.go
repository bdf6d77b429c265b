package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/service"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// BenchmarkRequest compares commands by request and reply, client and service on a
// connection each, ("ours") against what a program without Headwater would do at least:
// "raw" is a NATS request with the same JSON, answered in a queue group by json.Unmarshal
// of it, json.Marshal of the event, a jetstream PublishMsg that is guarded and
// deduplicated in the same way, and its position as JSON. "execute" is the same request
// with Repository.Execute behind it, to see what the service adds.
//
// So many clients send commands at the same time, each to an order of its own whose
// state is in memory.
func BenchmarkRequest(b *testing.B) {
	for _, sync := range []string{"relaxed", "always"} {
		for _, clients := range []int{1, 64} {
			b.Run(fmt.Sprintf("clients=%d/sync=%s", clients, sync), func(b *testing.B) {
				benchmarkRequest(b, clients, sync == "relaxed")
			})
		}
	}
}

func benchmarkRequest(b *testing.B, clients int, relaxed bool) {
	server := startServer(b, relaxed)
	store := testutil.Open(b, server, nil)
	units := appendTurn(clients, relaxed)
	ours := contender{name: "ours", units: units, run: requestOurs(b, server, store, clients)}
	publish, execute := rawPublish(b, server, clients), rawExecute(store)
	raw := contender{name: "raw", units: units, run: requestRaw(b, server, "publish", clients, publish)}
	plain := contender{name: "execute", units: units, run: requestRaw(b, server, "execute", clients, execute)}
	compare(b, "commands", ours, raw, plain)
}

// RequestType is what makes the command one of a service.
func (place) RequestType() string { return "order.place" }

func requestOurs(tb testing.TB, server *embedded.Server, store *eventstore.Store, clients int) func(testing.TB, int) {
	repository := repositoryOf(store, nil)
	responder, err := service.Respond(tb.Context(), testutil.Connect(tb, server), "shop",
		[]service.Endpoint{service.Handle[place](repository, nil)}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { stopResponder(tb, responder) })
	client, err := service.NewClient(testutil.Connect(tb, server), "shop", nil)
	if err != nil {
		tb.Fatal(err)
	}
	return func(tb testing.TB, commands int) {
		ctx := tb.Context()
		concurrently(tb, clients, commands, func(w int) error {
			_, err := client.Execute(ctx, strconv.Itoa(w), place{small}, nil)
			return err
		})
	}
}

func stopResponder(tb testing.TB, r *service.Responder) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := r.Stop(ctx); err != nil {
		tb.Error(err)
	}
}

// requestRaw sends the commands to an endpoint that has as little as possible around
// what it does with one, for the order of a client.
func requestRaw(tb testing.TB, server *embedded.Server, name string, clients int, do func(ctx context.Context, w int, id string, command place) (position uint64, err error)) func(testing.TB, int) {
	var hand sync.WaitGroup
	prefix := name + ".place."
	sub, err := testutil.Connect(tb, server).QueueSubscribe(prefix+"*", "q", func(m *nats.Msg) {
		hand.Go(func() {
			if err := answerRaw(m, m.Subject[len(prefix):], do); err != nil {
				tb.Error(err)
			}
		})
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = sub.Unsubscribe(); hand.Wait() })
	nc := testutil.Connect(tb, server)
	return func(tb testing.TB, commands int) {
		ctx := tb.Context()
		concurrently(tb, clients, commands, func(w int) error { return askRaw(ctx, nc, prefix+strconv.Itoa(w)) })
	}
}

type rawAnswer struct{ Position uint64 }

func askRaw(ctx context.Context, nc *nats.Conn, subject string) error {
	data, err := json.Marshal(place{small})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	answer, err := nc.RequestMsgWithContext(ctx, &nats.Msg{
		Subject: subject, Data: data, Header: nats.Header{"Command-Id": {uuid.NewString()}},
	})
	if err != nil {
		return err
	}
	return json.Unmarshal(answer.Data, new(rawAnswer))
}

func answerRaw(m *nats.Msg, order string, do func(context.Context, int, string, place) (uint64, error)) error {
	w, err := strconv.Atoi(order)
	if err != nil {
		return err
	}
	var command place
	if err := json.Unmarshal(m.Data, &command); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	position, err := do(ctx, w, m.Header.Get("Command-Id"), command)
	if err != nil {
		return err
	}
	answer, err := json.Marshal(rawAnswer{position})
	if err != nil {
		return err
	}
	return m.Respond(answer)
}

func rawExecute(store *eventstore.Store) func(context.Context, int, string, place) (uint64, error) {
	repository := repositoryOf(store, nil)
	return func(ctx context.Context, w int, id string, command place) (uint64, error) {
		_, at, err := repository.Execute(ctx, "plain-"+strconv.Itoa(w), command, &aggregate.ExecuteOptions{CommandID: id})
		return at.Position, err
	}
}

func rawPublish(tb testing.TB, server *embedded.Server, clients int) func(context.Context, int, string, place) (uint64, error) {
	js, log := rawLog(tb, server)
	heads := make([]uint64, clients) // each order has one client
	return func(ctx context.Context, w int, id string, command place) (uint64, error) {
		data, err := json.Marshal(command.placed)
		if err != nil {
			return 0, err
		}
		ack, err := js.PublishMsg(ctx, &nats.Msg{
			Subject: log + ".order." + strconv.Itoa(w),
			Header: nats.Header{
				jetstream.MsgIDHeader:               {id},
				jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(heads[w], 10)},
			},
			Data: data,
		})
		if err != nil {
			return 0, err
		}
		heads[w] = ack.Sequence
		return ack.Sequence, nil
	}
}
