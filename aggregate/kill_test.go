package aggregate_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/snapshot"
	"github.com/nats-io/nats.go"
)

// Environment variables that make the test binary a child which changes accounts
// until it is killed.
const (
	childDir  = "HEADWATER_TEST_CHILD_DIR"
	childLife = "HEADWATER_TEST_CHILD_LIFE"
)

const killedAccounts = 40

// A branch is a bank in a process of its own: a durable server, its log and a
// file of snapshots, all in one folder.
type branch struct {
	server    *embedded.Server
	nc        *nats.Conn
	store     *eventstore.Store
	snapshots *snapshot.Store
}

func openBranch(ctx context.Context, dir string) (b branch, err error) {
	if b.server, err = embedded.Start(ctx, filepath.Join(dir, "server"), nil); err != nil {
		return b, err
	}
	if b.nc, err = b.server.Connect(); err != nil {
		return b, errors.Join(err, b.close())
	}
	b.store, err = eventstore.Open(ctx, b.nc, "bank", &eventstore.Options{DuplicateWindow: shortWindow})
	if err == nil {
		b.snapshots, err = snapshot.Open(filepath.Join(dir, "snapshots"), nil)
	}
	if err != nil {
		return b, errors.Join(err, b.close())
	}
	return b, nil
}

func (b branch) close() (err error) {
	if b.snapshots != nil {
		err = b.snapshots.Close()
	}
	return errors.Join(err, b.server.Close())
}

func (b branch) accounts(cache int, policy snapshot.Policy) *Accounts {
	return aggregate.NewRepository[Account](b.store, "account", codec, &aggregate.Options{
		Cache: cache, Snapshots: b.snapshots, Policy: policy,
	})
}

// An acked is a command that was answered.
type acked struct {
	account, command string
	version          uint64
}

// command is what the command of an id deposits: one event or several.
func command(commandID string) Deposit {
	d := Deposit{{Amount: 1, Note: commandID}}
	for range commandID[len(commandID)-1] % 3 {
		d = append(d, Deposited{Amount: 1})
	}
	return d
}

// killChild executes commands and loads accounts, and prints each command that
// was answered. It never returns.
func killChild(dir, life string) {
	ctx := context.Background()
	b, err := openBranch(ctx, dir)
	exitIf(err)
	// There are more accounts than are kept in memory, so they come from
	// snapshots again and again.
	accounts := b.accounts(killedAccounts/4, snapshot.Every(3))
	for g := range 6 {
		go func() {
			var last acked
			for n := 0; ; n++ {
				id := strconv.Itoa(rand.IntN(killedAccounts))
				switch rand.IntN(8) {
				case 0:
					a, at, err := accounts.Load(ctx, id)
					exitIf(err)
					exitUnless(a.Balance == int(at.Version), "account %s has %d at version %d", id, a.Balance, at.Version)
				case 1:
					if last.version > 0 {
						exitIf(answersAgain(ctx, accounts, last))
					}
				default:
					c := acked{account: id, command: fmt.Sprintf("%s-%d-%d", life, g, n)}
					_, at, err := accounts.Execute(ctx, id, command(c.command), &aggregate.ExecuteOptions{CommandID: c.command})
					exitIf(err)
					c.version = at.Version
					last = c
					fmt.Println(c.account, c.command, c.version)
				}
			}
		}()
	}
	for { // snapshots are being written all the time
		exitIf(b.snapshots.Flush(ctx))
	}
}

func exitIf(err error) { exitUnless(err == nil, "%v", err) }

func exitUnless(ok bool, format string, args ...any) {
	if !ok {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
		os.Exit(1)
	}
}

// answersAgain executes a command that was answered before.
func answersAgain(ctx context.Context, accounts *Accounts, c acked) error {
	a, at, err := accounts.Execute(ctx, c.account, command(c.command), &aggregate.ExecuteOptions{CommandID: c.command})
	if err == nil && (at.Version != c.version || at.CommitID != c.command || !at.Replayed || a.Balance != int(c.version)) {
		err = fmt.Errorf("command %s of account %s was answered with version %d, and now with %+v at %+v", c.command, c.account, c.version, a, at)
	}
	return err
}

// TestKilled kills a process that executes commands, again and again, and looks
// each time whether its snapshots say what the log says.
func TestKilled(t *testing.T) {
	t.Parallel()
	random := seeded(t)
	kills := 5
	if soaking {
		kills = 100
	}
	dir := t.TempDir()
	var all []acked
	var seen audit
	for life := range kills {
		acks := 1 + random.IntN(200)
		switch {
		case life == 0:
			acks += 100 // so that there are snapshots
		case random.IntN(5) == 0:
			acks = 0 // some are killed while they begin
		}
		more := lived(t, dir, strconv.Itoa(life), acks, random)
		all = append(all, more...)
		before := seen
		seen.check(t, dir, all, len(more), random)
		t.Logf("kill %d, after %d of %d answers: %d events, %d of %d states from snapshots",
			life+1, acks, len(more), seen.events, seen.FromSnapshot-before.FromSnapshot, killedAccounts)
	}
	t.Logf("%d commands were answered, %d events are there; of %d loads %d were from snapshots, and %d events were read beyond them; files set aside %d, snapshots damaged %d, discarded %d",
		len(all), seen.events, kills*killedAccounts, seen.FromSnapshot, seen.replayed, seen.setAside, seen.damaged, seen.discarded)
	if seen.FromSnapshot == 0 || len(all) == 0 {
		t.Error("nothing came from snapshots")
	}
}

// lived runs a child and kills it, SIGKILL, a moment after so many answers. It
// returns those that were seen.
func lived(t *testing.T, dir, life string, acks int, random *rand.Rand) (all []acked) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, childLife+"="+life)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var timer *time.Timer
	var killed sync.WaitGroup
	kill := func(within time.Duration) {
		killed.Add(1)
		timer = time.AfterFunc(time.Duration(random.Int64N(int64(within))), func() {
			defer killed.Done()
			cmd.Process.Kill()
		})
	}
	if acks == 0 {
		kill(500 * time.Millisecond)
	}
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // a line that was cut short was not seen
		}
		var c acked
		if _, err := fmt.Sscan(line, &c.account, &c.command, &c.version); err != nil {
			cmd.Process.Kill()
			cmd.Wait()
			t.Fatalf("the child says %q", line)
		}
		if all = append(all, c); len(all) == acks {
			kill(20 * time.Millisecond)
		}
	}
	if timer == nil || timer.Stop() {
		cmd.Process.Kill()
		cmd.Wait()
		t.Fatalf("life %s ended by itself, after %d of %d answers: %s", life, len(all), acks, complaints.String())
	}
	killed.Wait()
	cmd.Wait()
	if complaints.Len() > 0 {
		t.Fatalf("life %s: %s", life, complaints.String())
	}
	return all
}

// An audit is what was found after the kills.
type audit struct {
	aggregate.Stats
	events, replayed             uint64
	setAside, damaged, discarded uint64
}

// check compares what is in the folder with itself and with what was answered.
func (s *audit) check(t *testing.T, dir string, all []acked, latest int, random *rand.Rand) {
	t.Helper()
	b, err := openBranch(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.close(); err != nil {
			t.Error(err)
		}
	}()
	report, err := b.store.Verify(t.Context(), nil)
	if err != nil || len(report.Damage) > 0 {
		t.Fatalf("verify: %v %v", err, report.Damage)
	}
	saved := make(map[string]uint64)
	for info, err := range b.snapshots.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		saved[info.Stream.ID] = info.Version
	}
	accounts := b.accounts(0, snapshot.Never)
	applied := make(map[string]acked)
	remembered := make(map[string]bool)
	s.events = 0
	for i := range killedAccounts {
		id := strconv.Itoa(i)
		commits := commandsOf(t, b, accounts, id)
		for n, c := range commits {
			if first, twice := applied[c.command]; twice {
				t.Fatalf("a command was applied twice, as %+v and %+v", first, c)
			}
			applied[c.command] = c
			remembered[c.command] = len(commits)-n <= eventstore.Remembered
		}
		if len(commits) > 0 {
			version := commits[len(commits)-1].version
			s.events += version
			s.replayed += version - saved[id]
		}
	}
	stats, snapshots := accounts.Stats(), b.snapshots.Stats()
	s.FromSnapshot += stats.FromSnapshot
	s.setAside += snapshots.SetAside
	s.damaged += snapshots.Damaged
	s.discarded += snapshots.Discarded
	for _, c := range all {
		if applied[c.command] != c {
			t.Fatalf("command %s was answered as %+v, and the log has %+v", c.command, c, applied[c.command])
		}
	}
	// The server does not know them any more, but for the very last.
	cold := b.accounts(-1, snapshot.Never)
	for i, c := range all {
		if i < len(all)-latest && random.IntN(len(all)) > 100 || !remembered[c.command] {
			continue
		}
		who := accounts
		if random.IntN(4) == 0 {
			who = cold
		}
		if err := answersAgain(t.Context(), who, c); err != nil {
			t.Fatal(err)
		}
	}
	position, err := b.store.Position(t.Context())
	if err != nil || position != uint64(len(applied)) {
		t.Fatalf("%d commands were there, and after some were executed again the log is at position %d, %v", len(applied), position, err)
	}
}

// commandsOf returns the commands that an account has by its events, and compares
// what a load returns with a fold of them.
func commandsOf(t *testing.T, b branch, accounts *Accounts, id string) (commits []acked) {
	t.Helper()
	var want Account
	var end eventstore.Revision
	for e, err := range b.store.Read(t.Context(), eventstore.StreamID{Kind: "account", ID: id}, nil) {
		if err != nil {
			t.Fatal(err)
		}
		event, err := codec.Decode(e)
		if err != nil {
			t.Fatal(err)
		}
		if want = want.Evolve(event); e.Position != end.Position {
			end = e.Revision()
			commits = append(commits, acked{id, e.CommitID, end.Version})
		}
	}
	got, at, err := accounts.Load(t.Context(), id)
	if err != nil || !same(at, end) || !reflect.DeepEqual(got, want) {
		t.Fatalf("account %s is %+v at %+v, %v\nwant %+v at %+v", id, got, at, err, want, end)
	}
	return commits
}
