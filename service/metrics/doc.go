// Package metrics counts and measures what a service does, for Prometheus.
//
// A [Metrics] is made once for a process, and its methods are what the options of the
// other packages want:
//
//	registry := prometheus.NewRegistry()
//	m, err := metrics.New(registry)
//
//	svc, err := service.Start(ctx, config, &service.Options{
//		OnConnection: m.Connection,
//		Log:          &eventstore.Options{OnAppend: m.Append},
//		Metrics:      promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
//	})
//
//	report, err := projection.New("report", svc.Log(), file, handlers, &projection.Options{Hooks: m.Hooks()})
//	m.Projection(report)
//	svc.Project(report, nil)
//
//	orders := aggregate.NewRepository[Order](svc.Log(), "order", codec, &aggregate.Options{Snapshots: snapshots})
//	m.Repository("order", orders.Stats)
//	m.Snapshots("orders", snapshots.Stats)
//
//	responder, err := service.Respond(ctx, svc.Conn(), "shop", endpoints, &service.RespondOptions{OnAnswer: m.Answer})
//
// None of it needs the rest. What has not happened yet has no figure, but for the
// connection.
//
// # What there is
//
// The connection, from [Metrics.Connection]:
//
//	headwater_connection_up                1 while there is one, else 0
//	headwater_connection_losses_total      times that it was lost
//	headwater_connection_reconnects_total  times that it came back
//	headwater_connection_refusals_total    what the server refused, or the connection dropped
//
// Appends, from [Metrics.Append]. The outcome is stored; duplicate, if it was stored
// before; conflict; unknown, if no answer came; unavailable; refused, if it could not
// be stored as it was; or failed.
//
//	headwater_append_duration_seconds{kind,outcome}  a histogram
//	headwater_append_events_total{kind}              events that were stored
//	headwater_append_retries_total{kind}             times that commits were sent once more
//
// Commands and queries, from [Metrics.Answer]. The endpoint is the subject, and the
// outcome ok or one of the words that [service.Handle] names. A request that was
// refused because too many were in hand is one of them.
//
//	headwater_request_duration_seconds{endpoint,outcome}  a histogram
//
// Aggregates, from [Metrics.Repository], and snapshots, from [Metrics.Snapshots]:
//
//	headwater_aggregate_loads_total{kind,source}       states by where they came from: cache, snapshot or log
//	headwater_aggregate_conflicts_total{kind}          decisions in vain, since another writer was faster
//	headwater_snapshot_loads_total{store,result}       hit or miss
//	headwater_snapshot_unusable_total{store,reason}    other_log, other_schema, damaged, unreadable or discarded
//	headwater_snapshot_saves_total{store,result}       saved, older, dropped or failed
//	headwater_snapshot_set_aside_files_total{store}    damaged files that were replaced
//	headwater_snapshot_waiting{store}                  snapshots to be saved now
//
// Projections. The first are from [Metrics.Projection], and say what the process knows.
// One that stands by, since another process projects, has a state only:
//
//	headwater_projection_state{projection,state}  1 for its state, 0 for the others
//	headwater_projection_position{projection}     up to which everything is handled
//	headwater_projection_lag_commits{projection}  commits of the log after that
//	headwater_projection_lag_seconds{projection}  how old the oldest commit is that is read and not handled
//	headwater_projection_parked_streams{projection}
//
// The others are from [Metrics.Hooks]. Those of a rebuild count as well.
//
//	headwater_projection_commits_total{projection}           commits that transactions passed
//	headwater_projection_events_total{projection}            events that had handlers
//	headwater_projection_batch_duration_seconds{projection}  of transactions, a histogram
//	headwater_projection_failures_total{projection,where}    attempts that failed: in a handler, or elsewhere
//	headwater_projection_parked_total{projection}            commits that were parked, without those behind them
//	headwater_projection_starts_total{projection}            times that it began to run
//	headwater_projection_stops_total{projection,cause}       asked, or failed
//
// # Labels
//
// No label has an id, a name of a user, or a text from outside. Endpoints, projections
// and stores have the names that the program gives them. A kind is what the program
// appends to; after 100 of them more are counted as "other", and so is one that is no
// name. Nothing says which service or log a figure is about: where a process has
// several, each gets a Metrics of its own, on a registerer with a label of the program's
// choice, see [prometheus.WrapRegistererWith].
package metrics
