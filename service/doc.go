// Package service answers commands and queries over NATS, by request and reply,
// and asks for them.
//
// A command is what package aggregate executes, with a name for the wire:
//
//	func (Place) RequestType() string { return "order.place" }
//
// [Handle] makes an endpoint of it, [Query] one of a function over a read model,
// and [Respond] answers what is sent to them:
//
//	responder, err := service.Respond(ctx, nc, "shop", []service.Endpoint{
//		service.Handle[Place](orders, nil),
//		service.Handle[Ship](orders, nil),
//		service.Query(openOrders, &service.QueryOptions{Wait: projection.Wait}),
//	}, nil)
//
// A [Client] sends a command until it knows what became of it:
//
//	shop, err := service.NewClient(nc, "shop", nil)
//	at, err := shop.Execute(ctx, "42", Place{Customer: "ann"}, nil)
//	open, err := service.Ask[[]Order](ctx, shop, OpenOrders{}, &service.AskOptions{NotBefore: at})
//
// What the context says of a request goes with it, see [eventstore.WithMetadata]: the
// commands that a process manager sends with the context of its handler say which
// event led to them.
//
// # Guarantees
//
// However often a command is sent, by the client after an answer that was lost or
// by its caller, it is applied once: all attempts have the same command id. That
// holds as long as the aggregate remembers the id, see [aggregate.Repository.Execute].
//
// The instances of a service share the requests, which go to any one of them. One
// that is stopped answers all it got and gets no more. Of one that dies the client
// asks another.
//
// An error arrives as the type that it had: [aggregate.RejectedError] with a
// [Rejection], [eventstore.ConflictError], [eventstore.InvalidError],
// [eventstore.TooLargeError], [eventstore.UnknownOutcomeError],
// [projection.BehindError], [projection.ParkedError], [projection.StoppedError], or
// an [Error] that matches [eventstore.ErrUnavailable], [eventstore.ErrTooLarge] or
// [ErrInternal]. What an error says of the inside of a service stays there, in its
// log.
//
// # Subjects and permissions
//
// Commands are sent to <service>.command.<kind>.<command>, queries to
// <service>.query.ask.<query>, with the JSON of the command or query. What is about the
// request stands in headers; docs of their names are at [Handle] and [Query]. So
// a client needs the permission to publish to the subjects of what it may do, and to
// subscribe to its inbox; a service, to subscribe to <service>.command.> and
// <service>.query.> in the queue group "q", to subscribe to $SRV.>, and to publish
// to inboxes, for which allow_responses is enough.
//
// The subjects of a log named x begin with "x." too. So give services other names than
// logs: a permission that is meant for the one would be for the other too.
//
// A service answers only to a reply subject that begins with '_', as inboxes do, and as
// the names of services and logs do not.
// Otherwise whoever may ask could let the service write where only the service may,
// to its log for example.
//
// Who may publish to a subject may execute that command on every aggregate, in the
// name of any user: a service cannot see who asks, and takes the user from the
// request. [RespondOptions.Around] is the place to check more.
//
// # Tools
//
// A service is what package micro of nats.go calls one. It is found and measured by
// "nats micro ls", info, stats and ping. The package does not use micro's own service,
// which has one request of an endpoint in hand at a time and does not wait for those
// in hand when it is stopped.
//
// Package service/metrics counts for Prometheus what a service does, and package
// service/tracing follows it with OpenTelemetry. Only programs that import them link
// those. [Options.Metrics] serves the first beside the health endpoints.
//
// # Limits
//
// What a client hears last is not always what happened last: where an attempt got no
// answer and the next one was rejected, the first may still be under way, for as long
// as its deadline lets it. It is applied once or not at all.
//
// # A process
//
// The package also makes a process of the engine. [Start] connects, or starts the
// embedded server, and opens the log, as the environment says ([FromEnv]); the program
// adds what runs and what stops; [Service.Run] waits for SIGTERM and then stops all of
// it in order, without losing what is in hand:
//
//	func main() {
//		if err := run(); err != nil {
//			slog.Error("the service failed", "error", err)
//			os.Exit(1)
//		}
//	}
//
//	func run() error {
//		config, err := service.FromEnv()
//		if err != nil {
//			return err
//		}
//		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
//		defer cancel()
//		svc, err := service.Start(ctx, config, nil)
//		if err != nil {
//			return err
//		}
//		if err := add(ctx, svc); err != nil {
//			return errors.Join(err, svc.Stop(context.Background()))
//		}
//		return svc.Run(context.Background())
//	}
//
//	func add(ctx context.Context, svc *service.Service) error {
//		config := svc.Config()
//		snapshots, err := snapshot.Open(filepath.Join(config.DataDir, "snapshots"), nil)
//		if err != nil {
//			return err
//		}
//		svc.OnClose(func(context.Context) error { return snapshots.Close() })
//		file, err := projection.OpenFile(filepath.Join(config.DataDir, "read-models"))
//		if err != nil {
//			return err
//		}
//		svc.OnClose(func(context.Context) error { return file.Close() })
//		report, err := projection.New("report", svc.Log(), file, handlers, nil)
//		if err != nil {
//			return err
//		}
//		svc.Project(report, nil)
//
//		orders := aggregate.NewRepository[Order](svc.Log(), "order", codec, &aggregate.Options{Snapshots: snapshots})
//		responder, err := service.Respond(ctx, svc.Conn(), config.Service, []service.Endpoint{
//			service.Handle[Place](orders, nil),
//		}, &service.RespondOptions{InHand: config.MaxAckPending, Logger: svc.Logger()})
//		if err != nil {
//			return err
//		}
//		svc.OnStop(responder.Stop)
//		return nil
//	}
//
// None of it needs the rest: a Config can be made by hand, a Responder works on any
// connection, [Service.HealthHandler] on any HTTP server, and [Service.Stop] without
// Run.
//
// # The connection
//
// It is named SERVICE/INSTANCE and tries for ever to come back, at first soon and then
// every few seconds, never at the same time as others. When the server or the network
// is gone without a word that is noticed within half a minute. Meanwhile commands wait
// for their context and end with the typed errors of package eventstore, and
// projections go on by themselves afterwards.
//
// With a CA, a certificate or a URL with the scheme tls, nothing is said to a server
// without TLS, not even the user. The server's certificate must be valid, be signed by
// the CA, and have the name by which the server is called. Otherwise Start returns a
// [ConnectError] at once; so it does if the server does not know the user. Later on
// the connection tries again and [Service.Ready] says why it fails, since certificates
// and users can be put right on the other side.
//
// # Secrets
//
// Nothing that this package prints, logs or returns has a password, token or seed, and
// no URL the user in it. A [Config] can be printed.
//
// # Health
//
// A process that is not ready needs patience or somebody's help, not a restart: a
// projection that stopped at an event would stop there again. So /health/live fails
// only when the connection is closed for good.
package service
