// Package bench measures the event store against the client library below it,
// with both in one process, on one server, writing and reading the same bytes.
//
//	go test -run '^$' -bench 'Append|Load' -benchtime 30x ./bench
//
// What comes out are ratios. The machine, the disk and whatever else runs at
// the moment decide how many commits a second there are, but they do so for
// both sides alike: ours and its rivals take turns, some fifty milliseconds
// each, in the order A B B A, and each such round gives one ratio of their
// rates. One iteration is one round, so -benchtime 30x takes thirty of them.
//
// A ratio is reported by its median, as "ours/rival", with the 10th and the
// 90th percentile of the rounds beside it, which say how far to trust it. Above
// 1 ours is the faster. The rates themselves, such as "ours-commits/s", are
// medians too and are there for orientation only.
//
// BenchmarkRehydrate compares all ways to load an aggregate, by the medians of
// single loads; BenchmarkCommand is about commands, and BenchmarkMemory about what
// many streams cost. The first and the last make logs of a million events.
//
// BenchmarkProjection and BenchmarkRebuild compare projections with raw consumers,
// and read models with each other; BenchmarkProjectionLatency says how long it takes
// until an event is in one.
//
// BenchmarkRequest is about commands by request and reply, and BenchmarkLive says what
// a live feed and its listeners cost appends.
//
// BenchmarkWalk and BenchmarkStall are about memory and about waiting: they
// work on a large log, whose server is another process, and take some minutes.
//
// -short makes the turns and the logs small, to see that everything runs.
package bench
