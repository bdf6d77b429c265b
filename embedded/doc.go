// Package embedded runs a NATS server with JetStream inside the process, so
// that an event log needs nothing but a folder.
//
//	s, err := embedded.Start(ctx, "data", nil)
//	if err != nil { ... }
//	defer s.Close()
//
//	nc, err := s.Connect()
//
// The connection is an ordinary [nats.Conn] that never touches the network.
// Set Options.Listen to let other processes in as well. [StartCluster] runs
// several servers on this machine, for tests and development.
//
// # Guarantees
//
// A message that was acknowledged is on the disk: the server syncs every write
// before it answers. It survives the end of the process and a power failure,
// as far as the disk and the file system keep their word about a sync.
// Options.Relaxed gives that up for speed; its documentation says what it can
// lose.
//
// One folder has one server. Start locks the folder, because two servers on
// one folder would give the same sequence to different messages without
// noticing. The lock ends with the process, however the process ends.
//
// Start returns a server that works, or an error that says why not. In
// particular, a stream that lies in the folder and that the server cannot
// recover is a [DamagedError]; left alone, the server would run without it.
//
// A full disk loses nothing that was acknowledged. A stream that the server
// could not write a message of takes no more: writes to it are not answered,
// while it can be read. When there is room again, at least a megabyte, the
// server opens all streams anew, without anyone's help and with all connections
// as they are. For that moment, which is seconds for each gigabyte of the
// streams that could not be written, JetStream does not answer. What streams and
// consumers have in memory only is then lost, as after a restart. Options.Logger
// gets a line when a disk is full and when streams were opened again.
//
// A stream that the server cannot open, for example because a disk is full or
// the process has too many open files, is not lost: the server would delete it,
// and so its files have second names, in the folder headwater.keep, while it is
// opened. A Start on a disk that has no room for those fails. So does one that
// could not open a stream, with a [DamagedError].
//
// Close leaves nothing behind: no connection, no goroutine, no lock.
//
// # Limits
//
// There are no users, passwords or TLS: whoever reaches the Listen address can
// read and write everything. Listen on the loopback interface, or run a NATS
// server of your own and use this package for tests.
//
// The folder belongs on a local disk. The lock is the operating system's lock
// on a file, which network file systems do not all honour, and which on
// Solaris, AIX and Android does not keep two servers of the same process
// apart.
//
// After a full disk the nodes of a [Cluster] have to be restarted. So has a
// server on Windows, on a file system without hard links, and where the disk
// failed in another way or at a sync: it is then not known what of a file is on
// the disk. Options.MaxStore refuses writes in good order before a disk is full.
//
// Memory storage is limited to 256 MiB for all streams together; every other
// setting is the server's default (a message may have 1 MiB).
package embedded
