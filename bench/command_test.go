package bench

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"

	"github.com/google/uuid"
	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// BenchmarkCommand compares Repository.Execute of a command that makes one small
// event, on orders whose states are in memory ("ours"), against what a program
// without Headwater would do at least: "raw" is json.Marshal of the event and a
// jetstream PublishMsg of it, guarded and deduplicated in the same way. "append"
// is json.Marshal and Store.Append, to see what the repository adds.
//
// So many orders get commands at the same time, each one after another.
func BenchmarkCommand(b *testing.B) {
	for _, sync := range []string{"relaxed", "always"} {
		for _, orders := range []int{1, 64} {
			b.Run(fmt.Sprintf("orders=%d/sync=%s", orders, sync), func(b *testing.B) {
				benchmarkCommand(b, orders, sync == "relaxed")
			})
		}
	}
}

var small = placed{Order: "7f3c", Quantity: 3, Price: 1999}

func benchmarkCommand(b *testing.B, orders int, relaxed bool) {
	server := startServer(b, relaxed)
	store := testutil.Open(b, server, nil)
	units := appendTurn(orders, relaxed)
	ours := contender{name: "ours", units: units, run: commandOurs(store, orders)}
	raw := contender{name: "raw", units: units, run: commandRaw(b, server, orders)}
	plain := contender{name: "append", units: units, run: commandAppend(store, orders)}
	compare(b, "commands", ours, raw, plain)
}

func commandOurs(store *eventstore.Store, orders int) func(testing.TB, int) {
	repository := repositoryOf(store, nil)
	return func(tb testing.TB, commands int) {
		ctx := tb.Context()
		concurrently(tb, orders, commands, func(w int) error {
			_, _, err := repository.Execute(ctx, strconv.Itoa(w), place{small}, nil)
			return err
		})
	}
}

func commandAppend(store *eventstore.Store, orders int) func(testing.TB, int) {
	heads := make([]eventstore.Revision, orders)
	return func(tb testing.TB, commands int) {
		ctx := tb.Context()
		concurrently(tb, orders, commands, func(w int) error {
			data, err := json.Marshal(small)
			if err != nil {
				return err
			}
			stream := eventstore.StreamID{Kind: "plain", ID: strconv.Itoa(w)}
			e := eventstore.EventData{Type: small.EventType(), ContentType: "application/json", Data: data}
			heads[w], err = store.Append(ctx, stream, heads[w], []eventstore.EventData{e}, nil)
			return err
		})
	}
}

func commandRaw(tb testing.TB, server *embedded.Server, orders int) func(testing.TB, int) {
	js, log := rawLog(tb, server)
	heads := make([]uint64, orders)
	return func(tb testing.TB, commands int) {
		ctx := tb.Context()
		concurrently(tb, orders, commands, func(w int) error {
			data, err := json.Marshal(small)
			if err != nil {
				return err
			}
			ack, err := js.PublishMsg(ctx, &nats.Msg{
				Subject: log + ".order." + strconv.Itoa(w),
				Header: nats.Header{
					jetstream.MsgIDHeader:               {uuid.NewString()},
					jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(heads[w], 10)},
				},
				Data: data,
			})
			if err == nil {
				heads[w] = ack.Sequence
			}
			return err
		})
	}
}
