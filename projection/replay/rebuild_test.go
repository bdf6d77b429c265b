package replay_test

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/projection/replay"
)

func TestReplay(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	b.catchUp("balances")
	golden(t, "replay.txt", b.succeed("replay", "balances"))
	out := b.succeed("replay", "balances", "-json")
	golden(t, "replay-result.jsonl", out[strings.LastIndex(strings.TrimSuffix(out, "\n"), "\n")+1:])
	requireProgress(t, out, 4)
	if got := b.balance("balances", "1"); got != "3" {
		t.Errorf("the balance is %s", got)
	}
}

// requireProgress fails the test unless the output is progress up to a position, then
// a result.
func requireProgress(t *testing.T, out string, end float64) {
	t.Helper()
	all := lines(t, out)
	if len(all) < 2 {
		t.Fatalf("too few lines: %s", out)
	}
	last := 0.0
	for _, p := range all[:len(all)-1] {
		if p["type"] != "progress" || p["position"].(float64) < last || p["percent"].(float64) > 100 {
			t.Errorf("progress after %v: %v", last, p)
		}
		last = p["position"].(float64)
	}
	if p := all[len(all)-2]; p["percent"] != 100.0 || p["position"] != end || p["target"] != end {
		t.Errorf("the last progress: %v", p)
	}
	if r := all[len(all)-1]; r["type"] != "result" || r["position"] != end {
		t.Errorf("the result: %v", r)
	}
}

// A projection that never ran is built.
func TestReplayBuilds(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	b.succeed("replay", "balances")
	if got := b.balance("balances", hostile); got != "18" {
		t.Errorf("the balance is %s", got)
	}
}

func TestReplayOfNothing(t *testing.T) {
	t.Parallel()
	b := emptyBank(t)
	golden(t, "replay-nothing.txt", b.succeed("replay", "balances"))
	requireProgress(t, b.succeed("replay", "balances", "-json"), 0)
	golden(t, "projections-nothing.txt", b.succeed("projections"))
}

// A replay that is broken off changes nothing that readers see, and goes on.
func TestReplayGoesOn(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, flags, hint string
		rest              float64 // commits that the second replay reads
		visible           bool    // readers see what was made
	}{
		{"replay", "", "; the same command goes on from there", 2, true},
		{"anew", "-restart", "; the same command without -restart goes on from there", 2, true},
		{"dry run", "-dry-run", "; the same command goes on from there", 2, false},
		{"up to a position", "-to 3", "; the same command goes on from there", 1, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBank(t)
			b.catchUp("balances")
			ctx, cancel := context.WithCancel(t.Context())
			var handled []uint64
			b.handling = func(position uint64) {
				handled = append(handled, position)
				cancelAt(position, 2, cancel)
			}
			args := append([]string{"replay", "balances"}, strings.Fields(test.flags)...)
			_, err := b.runUntil(ctx, args...)
			if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "at position 2: ") || !strings.HasSuffix(err.Error(), test.hint) {
				t.Fatalf("broken off: %v", err)
			}
			if got := b.balance("balances", "1"); got != "3" {
				t.Errorf("readers see %s", got)
			}
			if test.flags == "-restart" {
				args = args[:2]
			}
			out := lines(t, b.succeed(append(args, "-json")...))
			if end := out[len(out)-1]; end["commits"] != test.rest {
				t.Errorf("the second replay ended with %v", end)
			}
			for i, position := range handled {
				if position != uint64(i+1) {
					t.Errorf("handled: %v", handled)
				}
			}
			list := lines(t, b.succeed("projections", "-json"))
			if live := list[0]["generation"] == 2.0 && list[0]["state"] == "live"; live != test.visible {
				t.Errorf("generations: %v", list)
			}
		})
	}
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	b.mended.Store(true)
	b.catchUp("strict")
	golden(t, "dry-run.txt", b.succeed("replay", "strict", "-dry-run"))
	b.mended.Store(false)
	golden(t, "dry-run-parked.txt", b.fail(replay.ErrParked, []string{"replay", "strict", "-dry-run"}))
	out := b.fail(replay.ErrParked, []string{"replay", "strict", "-dry-run", "-json"})
	if all := lines(t, out); all[len(all)-1]["position"] != 2.0 || all[len(all)-2]["parked"] != 1.0 {
		t.Errorf("printed:\n%s", out)
	}
	out = b.succeed("replay", "strict", "-dry-run", "-to", "1", "-json")
	requireProgress(t, out, 1)
	if got := b.balance("strict", hostile); got != "18" {
		t.Errorf("readers see %s", got)
	}
	if list := lines(t, b.succeed("projections", "-json")); len(list) != 3 {
		t.Errorf("something stayed: %v", list)
	}
}

// A commit that cannot be handled stops a replay, which goes on when it can.
func TestReplayStops(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	out := b.fail(projection.ErrStopped, []string{"replay", "strict"}, "stopped at position 2", `no \x1b[31m13`,
		"When the handler is mended the same command goes on from there")
	if out != "" {
		t.Errorf("printed %s", out)
	}
	b.mended.Store(true)
	b.succeed("replay", "strict")
	if got := b.balance("strict", hostile); got != "18" {
		t.Errorf("readers see %s", got)
	}
}

// What is parked is said.
func TestReplayParks(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	golden(t, "replay-parked.txt", b.succeed("replay", "picky"))
}

func TestReplayTo(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	b.catchUp("balances")
	golden(t, "to.txt", b.succeed("replay", "balances", "-to", "1"))
	b.fail(eventstore.ErrInvalid, []string{"replay", "balances", "-to", "5"}, "position 5 is beyond the end of the log, which is 4")
	golden(t, "to-show.txt", b.succeed("replay", "balances", "-show", "2"))
	golden(t, "to-show.jsonl", b.succeed("replay", "balances", "-show", "2", "-json"))
	if got := b.balance("balances", "1"); got != "1" {
		t.Errorf("readers see %s", got)
	}
	b.catchUp("balances")
	if got := b.balance("balances", "1"); got != "3" {
		t.Errorf("readers see %s", got)
	}
	b.succeed("replay", "balances", "-to", "1")
	golden(t, "to-remove.txt", b.succeed("replay", "balances", "-remove", "3"))
	golden(t, "to-remove.jsonl", b.succeed("replay", "balances", "-remove", "1", "-json"))
	b.fail(projection.ErrNoGeneration, []string{"replay", "balances", "-remove", "1"}, "generation 1", "'bank projections' lists them")
	b.fail(projection.ErrNoGeneration, []string{"replay", "balances", "-show", "9"}, "generation 9")
	b.fail(eventstore.ErrInvalid, []string{"replay", "balances", "-remove", "2"}, "generation 2 is the live one")
}

// Readers are not shown a part of a read model.
func TestShowUnfinished(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	b.catchUp("balances")
	ctx, cancel := context.WithCancel(t.Context())
	b.handling = func(position uint64) { cancelAt(position, 2, cancel) }
	_, _ = b.runUntil(ctx, "replay", "balances")
	if _, err := b.run("replay", "balances", "-show", "2"); err == nil {
		t.Error("it was shown")
	} else {
		requireContains(t, err.Error(), "generation 2 is not complete")
	}
	b.succeed("replay", "balances", "-remove", "2")
}

// The generation before can be shown again.
func TestKeep(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	b.catchUp("balances")
	b.succeed("replay", "balances", "-keep")
	b.deposit("1", 1)
	b.succeed("replay", "balances", "-show", "1")
	b.catchUp("balances")
	if got := b.balance("balances", "1"); got != "4" {
		t.Errorf("readers see %s", got)
	}
}

func TestReplayStream(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	b.catchUp("balances", "picky")
	golden(t, "stream.txt", b.succeed("replay", "balances", "-stream", "account/1"))
	golden(t, "stream.jsonl", b.succeed("replay", "balances", "-stream", "account/1", "-json"))
	if got := b.balance("balances", "1"); got != "3" {
		t.Errorf("the balance is %s", got)
	}
	b.fail(eventstore.ErrInvalid, []string{"replay", "balances", "-stream", "account/9"}, "has no events")
	b.fail(eventstore.ErrInvalid, []string{"replay", "picky", "-stream", "account/1"}, "forget")
}

// spy notes what a rebuild is made with.
type spy struct {
	replay.Projection
	opts projection.RebuildOptions
}

func (s *spy) Rebuild(_ context.Context, opts *projection.RebuildOptions) (projection.Rebuilt, error) {
	s.opts = *opts
	return projection.Rebuilt{}, nil
}

// Each flag is what it says.
func TestReplayFlags(t *testing.T) {
	t.Parallel()
	b := emptyBank(t)
	s := &spy{Projection: b.all[0]}
	b.all[0] = s
	for flags, want := range map[string]projection.RebuildOptions{
		"":                         {},
		"-throttle 5":              {Throttle: 5},
		"-keep -restart":           {Keep: true, Restart: true},
		"-dry-run -to 7":           {DryRun: true, To: 7},
		"-to 9 -throttle 1":        {To: 9, Throttle: 1},
		"-keep=false -throttle 12": {Throttle: 12},
	} {
		b.succeed(append([]string{"replay", "balances"}, strings.Fields(flags)...)...)
		if got := s.opts; got.To != want.To || got.DryRun != want.DryRun || got.Keep != want.Keep || got.Restart != want.Restart || got.Throttle != want.Throttle {
			t.Errorf("%q: %+v", flags, got)
		}
	}
}

// A throttled replay takes its time.
func TestThrottle(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	start := time.Now()
	b.succeed("replay", "balances", "-throttle", "20")
	if took := time.Since(start); took < 100*time.Millisecond {
		t.Errorf("4 commits at 20 a second took %v", took)
	}
}

// slow is a projection of which a rebuild takes long.
type slow struct{ replay.Projection }

func (slow) Rebuild(_ context.Context, opts *projection.RebuildOptions) (projection.Rebuilt, error) {
	opts.Progress(projection.Progress{Projection: "balances", Generation: 2, Position: 250, Target: 1000, Rate: 125, Remaining: 6 * time.Second})
	return projection.Rebuilt{}, nil
}

// Progress in words.
func TestProgress(t *testing.T) {
	t.Parallel()
	p := projection.Progress{Position: 250, Target: 1000, Rate: 125, Remaining: 6*time.Second + time.Millisecond}
	if got, want := replay.Describe(p), "250 of 1000, 25%, 125/s, 6s to go"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	b := emptyBank(t)
	b.all[0] = slow{b.all[0]}
	got := regexp.MustCompile(`"(rate|remaining)":(125|6),?`).FindAllString(b.succeed("replay", "balances", "-json"), -1)
	if len(got) != 2 {
		t.Errorf("%v", got)
	}
	var out, progress bytes.Buffer
	commands := &replay.Commands{Out: &out, Err: &progress, Open: func(context.Context) ([]replay.Projection, func() error, error) {
		return b.all, nil, nil
	}}
	if err := commands.Run(t.Context(), []string{"replay", "balances"}); err != nil || progress.Len() > 0 {
		t.Errorf("a short replay complained %q, %v", progress.String(), err)
	}
}
