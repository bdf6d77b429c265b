// Package snapshot keeps the states of aggregates in a file, so that one with a
// long history is ready without reading all of it.
//
// A program opens a file and hands it to its repositories, which do the rest:
//
//	snapshots, err := snapshot.Open("shop.snapshots", nil)
//	defer snapshots.Close()
//
//	orders := aggregate.NewRepository[Order](store, "order", codec, &aggregate.Options{
//		Snapshots: snapshots,
//	})
//
// When a snapshot is taken, a [Policy] says.
//
// # Guarantees
//
// A snapshot changes how long a load takes and nothing else. It is used only if
// it is what was saved, by its checksum; if the log is the one that it was taken
// of, and the schema the one that it was taken with; and if the log's history
// goes on from it, by the digests that commits have. Otherwise the state is
// folded from the log, and [Store.Stats] counts it.
//
// No command waits for a snapshot to be written. One goroutine writes them, many in
// one transaction, and drops the oldest request when too many wait.
//
// A damaged file is set aside and a new one begun, while the store is open too.
// It may be removed at any time when no process has it open.
//
// # Limits
//
// A file belongs to one process, and to one log. It has one snapshot of a stream:
// those of streams of two logs that have the same name, and those of two
// repositories of one kind whose states differ, take each other's place. What a crash leaves unwritten is taken
// again later. To open a file its pages are read once.
package snapshot
