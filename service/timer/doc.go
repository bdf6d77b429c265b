// Package timer calls a function at a time, whatever is restarted until then: the
// deadlines of process managers.
//
// A timer is set, by a handler of a projection for example, and one of the processes
// that run the timers of this name is called when it is due:
//
//	timers, err := timer.Open(ctx, nc, "shop", nil)
//
//	// An order was placed: it is to be paid within a day.
//	err = timers.Set(ctx, timer.Timer{ID: "payment-" + order, At: event.Time.Add(24 * time.Hour), Data: []byte(order)})
//
//	// It was paid.
//	err = timers.Cancel(ctx, "payment-"+order)
//
//	// In a service, with service.Service.Go.
//	err = timers.Run(ctx, func(ctx context.Context, due timer.Timer) error {
//		_, _, err := orders.Execute(ctx, string(due.Data), Expire{}, &aggregate.ExecuteOptions{CommandID: due.ID})
//		if errors.Is(err, ErrPaid) { // in the meantime
//			return nil
//		}
//		return err
//	})
//
// # Guarantees
//
// A timer that was set and not cancelled is called at least once, though everything
// is restarted: the server keeps it, in a file. It is called again until a call
// returns nil, or it is dead, see [Timers.Dead].
//
// It is never called before its time by the clock of the server (on a cluster, of the
// node that leads the stream). The clocks of other processes do not matter, but for
// what they set. If somebody runs and has time for it, it is called within about a
// quarter of a second after its time, since the server looks only so often. What became
// due while no server ran is due when one runs again, or another node leads, and is
// called some seconds later.
//
// A later Set with the same ID replaces the timer.
//
// # At least once
//
// A call may be made again although it succeeded: its process died before it could say
// so, or was silent for half a minute, or the server stopped between making the timer
// due and forgetting it. And a handler that is called again by its projection sets its
// timers again, as it does when the read model is rebuilt without holding back its
// effects: those that were called meanwhile are called again, at once.
//
// So what a call does is to be idempotent: best a command with an id that is derived
// from the timer's, and which looks at the state first, as above. The At of a timer is to
// follow from the event, not from the clock, and its ID from what it is about.
//
// A timer that is cancelled or replaced just when it is due may be called. Timers are
// called in no order, and several at a time. One timer is not called twice at a time,
// unless a process was silent, or it is set again while it is called.
//
// # Limits
//
// A call is late while all processes are busy: see [Options], InHand. When timers
// fail for minutes, their pauses have grown to a minute.
//
// Set and Cancel take two requests to the server, one after the other. A timer that waits takes
// about a kilobyte of the server's memory, and its data on the disk.
//
// The server forgets timers that become due while it has no space left. Whoever runs
// finds them, by asking once a minute for the subjects of all that wait (less often where
// that takes more than half a second): such a timer is late by some minutes after there
// is space.
//
// All names share the subjects below "timers.", so no log can have that name.
//
// How durable a timer is that was set is up to the server, as for the events of a log:
// see package eventstore.
//
// # On the wire
//
// The JetStream stream <name>-timers, a work queue with message schedules (server 2.12
// and later), has the subjects
//
//	timers.<name>.set.<id>.<revision>   waits; with the header Nats-Schedule
//	timers.<name>.due.<id>.<revision>   is due; consumed by the consumer "run"
//	timers.<name>.dead.<id>.<revision>  is dead; with the headers Hw-Timer-Error and Hw-Timer-Attempts
//
// An id stands there with %XX for all but the printable ASCII characters, and for '%',
// '.', '*' and '>'. A revision is the timer's time in nanoseconds since 1970, '-', and
// 16 hexadecimal digits by chance; that of a Cancel, which is there for a moment, is
// "cancelled-" and such digits. It is none of the log's streams because schedules
// need purges, which a log denies.
//
// # Permissions
//
// To Open, a user needs to publish to $JS.API.STREAM.INFO.<name>-timers, and if the
// stream is not there to $JS.API.STREAM.CREATE.<name>-timers; to Set and Cancel, to
//
//	timers.<name>.set.>
//	$JS.API.STREAM.PURGE.<name>-timers
//
// to Run, to
//
//	timers.<name>.set.>
//	timers.<name>.dead.>
//	$JS.API.STREAM.INFO.<name>-timers
//	$JS.API.STREAM.MSG.GET.<name>-timers
//	$JS.API.CONSUMER.CREATE.<name>-timers.run.>
//	$JS.API.CONSUMER.MSG.NEXT.<name>-timers.run
//	$JS.ACK.<name>-timers.run.>
//
// and to list the dead, to $JS.API.STREAM.MSG.GET.<name>-timers. All of them need to
// subscribe to their inbox, _INBOX.> by default. Nobody needs to publish to what is
// due: who may do so can have a timer called at any time.
package timer
