package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"

	"github.com/headwater-go/headwater/internal/terminal"
)

const logsUsage = `List the logs of a server: the JetStream streams that Headwater made.

Usage: headwater logs [-data DIR | -server URL]

Position is that of the last commit, and bytes what the log takes on the disk of
one server. The identity tells a log from every other one, also of the same name.

Examples:

    headwater logs -data orders-data
    headwater logs -json -server nats://127.0.0.1:4222
`

func listLogs(ctx context.Context, c console, args []string) (err error) {
	fs := newFlags("logs", logsUsage)
	asJSON := jsonFlag(fs)
	where := serverFlags(fs)
	if _, err := parseFlags(fs, c, args); err != nil {
		return err
	}
	o, err := where.connect(ctx, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	infos, err := logInfos(ctx, o)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(c.out) // keeps a failure for the end
	if !*asJSON {
		fmt.Fprintf(out, "%10s  %12s  %8s  %-36s  %s\n", "position", "bytes", "replicas", "identity", "log")
	}
	for _, info := range infos {
		l := logLine{info.Config.Name, info.State.LastSeq, info.State.Bytes, info.Config.Replicas, info.Config.Metadata["headwater-id"]}
		if *asJSON {
			_ = printJSON(out, l)
			continue
		}
		fmt.Fprintf(out, "%10d  %12d  %8d  %-36s  %s\n", l.Position, l.Bytes, l.Replicas, terminal.Quote(l.Identity), terminal.Quote(l.Log))
	}
	return out.Flush()
}

// logLine is a log in the list.
type logLine struct {
	Log      string `json:"log"`
	Position uint64 `json:"position"`
	Bytes    uint64 `json:"bytes"`
	Replicas int    `json:"replicas"`
	Identity string `json:"identity"`
}
