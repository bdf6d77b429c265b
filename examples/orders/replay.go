package main

import (
	"context"
	"errors"
	"flag"

	"github.com/headwater-go/headwater/projection/replay"
)

// replayCommands are those that package replay has for the read models.
func replayCommands(c console) *replay.Commands {
	var data string
	var p policy
	return &replay.Commands{
		Program: "orders", Out: c.out, Err: c.err,
		Flags: func(fs *flag.FlagSet) {
			fs.StringVar(&data, "data", defaultData, "the `folder` of the log")
			p.flags(fs)
		},
		Open: func(ctx context.Context) ([]replay.Projection, func() error, error) {
			m, closeAll, err := visitModels(ctx, data, p)
			if err != nil {
				return nil, nil, err
			}
			var all []replay.Projection
			for _, r := range readModels {
				all = append(all, m.projections[r.name])
			}
			return all, closeAll, nil
		},
	}
}

// replayed runs one of them.
func replayed(ctx context.Context, commands *replay.Commands, args []string) error {
	err := commands.Run(ctx, args)
	var wrong *replay.UsageError
	if errors.As(err, &wrong) {
		return &usageError{help: wrong.Help, problem: wrong.Problem}
	}
	return err
}
