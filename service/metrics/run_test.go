package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/service"
	"github.com/headwater-go/headwater/service/metrics"
	"github.com/headwater-go/headwater/snapshot"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/bbolt"
)

// A run is a service whose figures are gathered.
type run struct {
	*service.Service
	*metrics.Metrics
	registry *prometheus.Registry
	server   *breakable
}

func newRun(t *testing.T) run {
	t.Helper()
	r := run{registry: prometheus.NewRegistry(), server: newBreakable(t)}
	var err error
	if r.Metrics, err = metrics.New(r.registry); err != nil {
		t.Fatal(err)
	}
	r.Service = start(t, service.Config{Servers: []string{r.server.address}, Service: "cash"}, service.Options{
		OnConnection: r.Connection, Log: &eventstore.Options{OnAppend: r.Append},
	})
	return r
}

// What is counted is what happens, in all parts of a service at once.
func TestRun(t *testing.T) {
	t.Parallel()
	r := newRun(t)
	wantFigures(t, r.registry, "", map[string]float64{
		"connection_up{}": 1, "connection_losses_total{}": 0, "connection_reconnects_total{}": 0, "connection_refusals_total{}": 0,
	})
	r.append(t)
	r.aggregates(t)
	r.project(t)
	r.requests(t)
	lint(t, r.registry)

	r.server.stop(t)
	becomes(t, r.registry, "connection_up{}", 0)
	r.server.start(t)
	becomes(t, r.registry, "connection_up{}", 1)
	connection := map[string]float64{
		"connection_up{}": 1, "connection_losses_total{}": 1, "connection_reconnects_total{}": 1, "connection_refusals_total{}": 0,
	}
	wantFigures(t, r.registry, "connection_", connection)

	_ = r.Stop(context.Background()) // one of the projections has failed
	connection["connection_up{}"] = 0
	wantFigures(t, r.registry, "connection_", connection)
	wantFigures(t, r.registry, "projection_st", map[string]float64{
		"projection_starts_total{projection=income}": 1, "projection_stops_total{cause=asked,projection=income}": 1,
		"projection_starts_total{projection=strict}": 1, "projection_stops_total{cause=failed,projection=strict}": 1,
		"projection_state{projection=income,state=stopped}": 1, "projection_state{projection=income,state=standby}": 0,
		"projection_state{projection=income,state=catching up}": 0, "projection_state{projection=income,state=live}": 0,
		"projection_state{projection=strict,state=stopped}": 1, "projection_state{projection=strict,state=standby}": 0,
		"projection_state{projection=strict,state=catching up}": 0, "projection_state{projection=strict,state=live}": 0,
	})
	lint(t, r.registry)
}

// append appends with every outcome that a sound server has: positions 1 and 2.
func (r run) append(t *testing.T) {
	event := eventstore.EventData{Type: "door.opened"}
	door := eventstore.StreamID{Kind: "door", ID: "front"}
	add := func(stream eventstore.StreamID, expected eventstore.Expectation, id string, events ...eventstore.EventData) {
		_, _ = r.Log().Append(t.Context(), stream, expected, events, &eventstore.AppendOptions{CommitID: id})
	}
	add(door, eventstore.NoStream, "one", event, event)
	add(door, eventstore.NoStream, "one", event, event)
	add(door, eventstore.NoStream, "two", event)
	add(door, eventstore.Any, "two", event)
	add(door, eventstore.Any, "three")
	add(eventstore.StreamID{Kind: "a door\xff", ID: "front"}, eventstore.Any, "three", event)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, _ = r.Log().Append(ended, door, eventstore.Any, []eventstore.EventData{event}, nil)
	wantFigures(t, r.registry, "append_", map[string]float64{
		"append_duration_seconds{kind=door,outcome=stored}": 2, "append_events_total{kind=door}": 3,
		"append_duration_seconds{kind=door,outcome=duplicate}":   1,
		"append_duration_seconds{kind=door,outcome=conflict}":    1,
		"append_duration_seconds{kind=door,outcome=refused}":     1,
		"append_duration_seconds{kind=door,outcome=unavailable}": 1,
		"append_duration_seconds{kind=other,outcome=refused}":    1,
	})
}

// aggregates executes commands on states from everywhere: positions 3 to 8.
func (r run) aggregates(t *testing.T) {
	snaps, err := snapshot.Open(filepath.Join(t.TempDir(), "snapshots"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { snaps.Close() })
	tills := func(schema string) *aggregate.Repository[Till, tillEvent] {
		repository := aggregate.NewRepository[Till](r.Log(), "till", tillCodec, &aggregate.Options{
			Snapshots: snaps, Policy: snapshot.Every(1), Schema: schema,
		})
		r.Repository("till", repository.Stats)
		return repository
	}
	r.Snapshots("tills", snaps.Stats)
	execute := func(tills *aggregate.Repository[Till, tillEvent], c aggregate.Command[Till, tillEvent]) {
		t.Helper()
		if _, _, err := tills.Execute(t.Context(), "front", c, nil); err != nil {
			t.Fatal(err)
		}
		if err := snaps.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	first := tills("")
	execute(first, Pay{1}) // from the log, after a snapshot that is missing
	execute(first, Pay{1}) // from memory
	execute(first, decision(func(have Till) ([]tillEvent, error) {
		if have.Total == 2 { // another writer is faster
			pay(t, r.Log(), "front", 1)
		}
		return []tillEvent{Paid{1}}, nil
	}))
	execute(tills(""), Pay{1})        // from a snapshot
	execute(tills("another"), Pay{1}) // from the log, after a snapshot that is of no use
	wantFigures(t, r.registry, "aggregate_", map[string]float64{
		"aggregate_loads_total{kind=till,source=cache}": 2, "aggregate_loads_total{kind=till,source=snapshot}": 1,
		"aggregate_loads_total{kind=till,source=log}": 2, "aggregate_conflicts_total{kind=till}": 1,
	})
	wantFigures(t, r.registry, "snapshot_", map[string]float64{
		"snapshot_loads_total{result=hit,store=tills}": 1, "snapshot_loads_total{result=miss,store=tills}": 2,
		"snapshot_unusable_total{reason=other_log,store=tills}": 0, "snapshot_unusable_total{reason=other_schema,store=tills}": 1,
		"snapshot_unusable_total{reason=damaged,store=tills}": 0, "snapshot_unusable_total{reason=unreadable,store=tills}": 0,
		"snapshot_unusable_total{reason=discarded,store=tills}": 0,
		"snapshot_saves_total{result=saved,store=tills}":        float64(snaps.Stats().Saved), "snapshot_saves_total{result=older,store=tills}": float64(snaps.Stats().Older),
		"snapshot_saves_total{result=dropped,store=tills}": 0, "snapshot_saves_total{result=failed,store=tills}": 0,
		"snapshot_set_aside_files_total{store=tills}": 0, "snapshot_waiting{store=tills}": 0,
	})
	if snaps.Stats().Saved < 5 {
		t.Errorf("%+v", snaps.Stats())
	}
}

var errPoison = errors.New("no such coin")

// project handles what is there, of which 6 commits are of tills, and then one that
// fails once, one that fails always, one behind that, and one more: positions 9 to 12.
func (r run) project(t *testing.T) {
	var sevens atomic.Int64
	handlers := projection.From("till", tillCodec, projection.On(func(_ context.Context, _ *bbolt.Bucket, e Paid, _ projection.Event) error {
		if e.Amount == 13 || e.Amount == 7 && sevens.Add(1) == 1 {
			return errPoison
		}
		return nil
	}))
	file, err := projection.OpenFile(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	project := func(name string, opts projection.Options) *projection.Projection[*bbolt.Bucket] {
		opts.Hooks = r.Hooks()
		p, err := projection.New(name, r.Log(), file, handlers, &opts)
		if err != nil {
			t.Fatal(err)
		}
		r.Projection(p)
		r.Project(p, nil)
		return p
	}
	reach := func(p *projection.Projection[*bbolt.Bucket], at eventstore.Revision) {
		t.Helper()
		if err := p.Wait(t.Context(), at); err != nil && !errors.Is(err, projection.ErrParked) {
			t.Fatal(err)
		}
	}
	income := project("income", projection.Options{Attempts: 2, Poison: projection.Park})
	end, err := r.Log().Position(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	reach(income, eventstore.Revision{Position: end})
	reach(income, pay(t, r.Log(), "side", 7))
	reach(income, pay(t, r.Log(), "bad", 13))
	becomes(t, r.registry, "projection_parked_streams{projection=income}", 1)
	reach(income, pay(t, r.Log(), "bad", 1))
	reach(income, pay(t, r.Log(), "side", 1))

	// One that stops at the commit that it cannot handle, with two after it.
	project("strict", projection.Options{Attempts: 1})
	becomes(t, r.registry, "projection_stops_total{cause=failed,projection=strict}", 1)
	becomes(t, r.registry, "projection_lag_commits{projection=strict}", 3)
	if end, err = r.Log().Position(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := figures(t, r.registry)
	for name, want := range map[string]float64{
		"projection_state{projection=income,state=live}": 1, "projection_state{projection=income,state=stopped}": 0,
		"projection_state{projection=strict,state=live}": 0, "projection_state{projection=strict,state=stopped}": 1,
		"projection_position{projection=income}": float64(end), "projection_position{projection=strict}": float64(end) - 3,
		"projection_lag_commits{projection=income}": 0, "projection_lag_seconds{projection=income}": 0,
		"projection_parked_streams{projection=income}": 1, "projection_parked_streams{projection=strict}": 0,
		"projection_failures_total{projection=income,where=handler}": 3, "projection_failures_total{projection=strict,where=handler}": 1,
		"projection_parked_total{projection=income}": 1,
		"projection_starts_total{projection=income}": 1, "projection_starts_total{projection=strict}": 1,
		// Six of the aggregates', and two of three others that were handled.
		"projection_events_total{projection=income}": 8, "projection_events_total{projection=strict}": 7,
	} {
		if value, ok := got[name]; !ok || value != want {
			t.Errorf("%s is %v, want %v (%v)", name, value, want, ok)
		}
	}
	// The commit that waits behind the one that is parked is passed as well, and those
	// without handlers may be.
	if commits := got["projection_commits_total{projection=income}"]; commits < 9 || commits > float64(end) {
		t.Errorf("%v commits were passed", commits)
	}
	if batches := got["projection_batch_duration_seconds{projection=income}"]; batches < 4 || batches > 11 {
		t.Errorf("%v transactions", batches)
	}
}

// requests sends commands and queries that end in each way.
func (r run) requests(t *testing.T) {
	var fails atomic.Pointer[error]
	arrived, held := make(chan struct{}), make(chan struct{})
	hold := errors.New("hold")
	tills := aggregate.NewRepository[Till](r.Log(), "till", tillCodec, nil)
	responder, err := service.Respond(t.Context(), r.Conn(), "cash", []service.Endpoint{
		service.Handle[Pay](tills, nil),
		service.Query(func(context.Context, Probe) (int, error) {
			if err := *fails.Load(); err != hold {
				return 0, err
			}
			arrived <- struct{}{}
			<-held
			return 0, nil
		}, nil),
	}, &service.RespondOptions{OnAnswer: r.Answer, MaxRequest: 100, InHand: 1, Waiting: 1, Errors: map[string]error{"negative": errNegative}})
	if err != nil {
		t.Fatal(err)
	}
	r.OnStop(responder.Stop)
	nc, err := nats.Connect(r.server.server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	ask := func(subject, body string, header nats.Header) {
		t.Helper()
		if _, err := nc.RequestMsg(&nats.Msg{Subject: subject, Data: []byte(body), Header: header}, patience); err != nil {
			t.Fatal(err)
		}
	}
	const command, query = "cash.command.till.pay", "cash.query.probe"
	front := nats.Header{"Hw-Aggregate-Id": {"front"}}
	ask(command, `{"Amount":1}`, front)
	ask(command, `{"Amount":2}`, front)
	ask(command, `{"Amount":-1}`, front)
	ask(command, `{"Amount":1}`, nats.Header{"Hw-Aggregate-Id": {"front"}, "Hw-Version": {"1"}})
	ask(command, `{"Amount":"one"}`, front)
	ask(command, fmt.Sprintf(`{"Amount":%101d}`, 1), front)
	ask(command, `{"Amount":1}`, nats.Header{"Hw-Aggregate-Id": {"front"}, "Hw-User": {"%"}})
	for _, err := range []error{
		nil, service.ErrNotFound, errors.New("x"), eventstore.ErrUnavailable, &eventstore.UnknownOutcomeError{Cause: errPoison},
		&projection.BehindError{Err: errPoison}, &projection.ParkedError{}, &projection.StoppedError{Err: errPoison},
	} {
		fails.Store(&err)
		ask(query, "{}", nil)
	}
	// One is in hand, one waits, and there is no room for two more.
	fails.Store(&hold)
	answers := make(chan *nats.Msg, 4)
	sub, err := nc.ChanSubscribe("_INBOX.many", answers)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	send := func() {
		if err := nc.PublishRequest(query, "_INBOX.many", []byte("{}")); err != nil {
			t.Error(err)
		}
	}
	send()
	<-arrived
	for range 3 {
		send()
	}
	<-answers
	<-answers // who is refused is answered first
	go func() { <-arrived }()
	close(held)
	<-answers
	<-answers
	wantFigures(t, r.registry, "request_", map[string]float64{
		"request_duration_seconds{endpoint=cash.command.till.pay,outcome=ok}":          2,
		"request_duration_seconds{endpoint=cash.command.till.pay,outcome=rejected}":    1,
		"request_duration_seconds{endpoint=cash.command.till.pay,outcome=conflict}":    1,
		"request_duration_seconds{endpoint=cash.command.till.pay,outcome=bad-request}": 2,
		"request_duration_seconds{endpoint=cash.command.till.pay,outcome=too-large}":   1,
		"request_duration_seconds{endpoint=cash.query.probe,outcome=ok}":               3,
		"request_duration_seconds{endpoint=cash.query.probe,outcome=not-found}":        1,
		"request_duration_seconds{endpoint=cash.query.probe,outcome=internal}":         1,
		"request_duration_seconds{endpoint=cash.query.probe,outcome=unavailable}":      3,
		"request_duration_seconds{endpoint=cash.query.probe,outcome=outcome-unknown}":  1,
		"request_duration_seconds{endpoint=cash.query.probe,outcome=behind}":           1,
		"request_duration_seconds{endpoint=cash.query.probe,outcome=parked}":           1,
		"request_duration_seconds{endpoint=cash.query.probe,outcome=stopped}":          1,
	})
}
