package replay_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/projection/replay"
)

// balances has a generation that is live, one that is kept and one that is being
// built; picky has something parked; strict never ran.
func TestList(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	b.catchUp("balances", "picky")
	b.succeed("replay", "balances", "-keep")
	ctx, cancel := context.WithCancel(t.Context())
	b.handling = func(position uint64) { cancelAt(position, 2, cancel) }
	if _, err := b.runUntil(ctx, "replay", "balances"); err == nil {
		t.Fatal("it was not broken off")
	}
	b.deposit("1", 1)
	golden(t, "projections.txt", b.succeed("projections"))
	golden(t, "projections.jsonl", b.succeed("projections", "-json"))
}

func cancelAt(position, at uint64, cancel func()) {
	if position == at {
		cancel()
	}
}

// A projection that cannot be listed does not hide the others.
func TestListGoesOn(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	b.catchUp("picky")
	b.all[0] = odd{b.all[0]}
	for _, command := range []string{"projections", "parked"} {
		requireContains(t, b.fail(projection.ErrOtherLog, []string{command}, "read model was made from"), "picky")
	}
}

// odd is a projection whose read model is of another log.
type odd struct{ replay.Projection }

func (odd) Generations(context.Context) ([]projection.Generation, error) { return nil, otherLog }

func (odd) Parked(context.Context) ([]projection.Parked, error) { return nil, otherLog }

var otherLog = &projection.OtherLogError{Projection: "balances"}

func TestParked(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	b.catchUp("balances", "picky")
	golden(t, "parked.txt", b.succeed("parked"))
	golden(t, "parked.jsonl", b.succeed("parked", "picky", "-json"))
	if out := b.succeed("parked", "balances", "-json"); out != "" {
		t.Errorf("parked in balances: %s", out)
	}
}

func TestRetry(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	b.catchUp("picky")
	quoted := strconv.Quote("account/" + hostile) // as parked prints it
	b.fail(projection.ErrParked, []string{"retry", "picky", quoted}, "is parked since position 2")
	golden(t, "retry-failed.jsonl", b.fail(projection.ErrParked, []string{"retry", "picky", quoted, "-json"}))
	if list := lines(t, b.succeed("parked", "-json")); len(list) != 1 || list[0]["attempts"] != 4.0 {
		t.Errorf("parked: %v", list)
	}
	b.mended.Store(true)
	golden(t, "retry.txt", b.succeed("retry", "picky", quoted))
	if got := b.balance("picky", hostile); got != "18" {
		t.Errorf("the balance is %s", got)
	}
	b.fail(projection.ErrNotParked, []string{"retry", "picky", quoted}, "not parked")
	if out := b.succeed("retry", "picky"); out != "" {
		t.Errorf("nothing was parked, and it printed %s", out)
	}
}

func TestRetryAll(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	b.deposit("7", 13)
	b.catchUp("picky")
	_, err := b.run("retry", "picky")
	if err == nil || err.Error() != "of 2 parked streams 2 cannot be handled" {
		t.Errorf("%v", err)
	}
	requireContains(t, b.told, `account/\u202egnp.exe is parked`, `no \x1b[31m13`, "account/7")
	if strings.ContainsAny(b.told, "\x1b\u202e") {
		t.Errorf("it would disturb a terminal: %q", b.told)
	}
	b.mended.Store(true)
	golden(t, "retry-all.jsonl", b.succeed("retry", "picky", "-json"))
	if got := b.balance("picky", "7"); got != "13" {
		t.Errorf("the balance is %s", got)
	}
}

// Between the list and the retry another process may have dealt with a stream, or the
// database may be gone.
func TestRetryAllChanged(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	b.catchUp("picky")
	gone := errors.New("the database is gone")
	for _, test := range []struct{ failure, want error }{
		{projection.ErrNotParked, nil},
		{gone, gone},
	} {
		b.all[1] = changed{b.all[1], test.failure}
		if out, err := b.run("retry", "picky"); !errors.Is(err, test.want) || out+b.told != "" {
			t.Errorf("%v: %v, printed %q", test.failure, err, out+b.told)
		}
	}
}

// changed is a projection of which a retry is not what the list made one expect.
type changed struct {
	replay.Projection
	failure error
}

func (c changed) Retry(context.Context, eventstore.StreamID) error { return c.failure }

func TestDiscard(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	b.deposit("7", 13)
	b.deposit("7", 1)
	b.deposit("7", 13)
	b.catchUp("picky")
	golden(t, "discard.txt", b.succeed("discard", "picky", "account/"+hostile))
	if got := b.balance("picky", hostile); got != "5" {
		t.Errorf("the balance is %s", got)
	}
	b.fail(projection.ErrParked, []string{"discard", "picky", "account/7"}, "the commit is left out, but one behind it cannot be handled", "position 7")
	golden(t, "discard.jsonl", b.succeed("discard", "picky", "account/7", "-json"))
	if got := b.balance("picky", "7"); got != "1" {
		t.Errorf("the balance is %s", got)
	}
	b.fail(projection.ErrNotParked, []string{"discard", "picky", "account/7"})
	b.fail(projection.ErrNotParked, []string{"discard", "picky", "account/nobody"})
}
