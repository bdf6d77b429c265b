package main_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// duty is a role, with all that is done in it.
type duty struct {
	args  string // of the command
	inbox string
	empty bool // no log is there
	plain bool // the log has no live feed
	tasks []func(context.Context, *user) error
	// silent are the permissions whose lack is noticed, but not by an error that names
	// them: something is not done in time.
	silent map[string]string
	// rare are those that are needed only where that cannot be brought about here.
	rare map[string]string
}

const (
	sameInboxes = "_INBOX"
	infoIsRare  = "asked where the server is slow to list streams, or cannot read the last commit of one"
	unremoved   = "a consumer that is not removed stays for 30 seconds"
)

var duties = map[string]duty{
	"command": {
		args: "command -log shop -kind order -service orders -inbox _INBOX_orders", inbox: "_INBOX_orders",
		tasks:  tasks(store, answer),
		silent: map[string]string{answering: "the answer does not come, and the log of the service says why"},
	},
	"command that scans": {
		args: "command -log shop -scan", inbox: sameInboxes, tasks: tasks(store, walk),
		silent: map[string]string{"$JS.API.CONSUMER.DELETE.shop.*": unremoved},
		rare:   map[string]string{"$JS.API.CONSUMER.INFO.shop.*": infoIsRare},
	},
	"command that creates": {
		args: "command -log shop -create", inbox: sameInboxes, empty: true, tasks: tasks(store),
	},
	"command that updates": {
		args: "command -log shop -update", inbox: sameInboxes, plain: true, tasks: tasks(storeLive),
	},
	"projection": {
		args: "projection -log shop -inbox _INBOX_reports", inbox: "_INBOX_reports", tasks: tasks(project),
		silent: map[string]string{"$JS.ACK.shop.>": "the server shows a lag that there is not"},
		rare:   map[string]string{"$JS.API.DIRECT.GET.shop": "the leader of a replicated log lost the commit"},
	},
	"shared projection": {
		args: "projection -log shop -shared", inbox: sameInboxes, tasks: tasks(project, takeTurns),
		silent: map[string]string{
			"$JS.ACK.shop.>":                "the server shows a lag that there is not",
			"$JS.API.CONSUMER.UNPIN.shop.*": "the next process takes over two seconds later",
		},
		rare: map[string]string{"$JS.API.DIRECT.GET.shop": "the leader of a replicated log lost the commit"},
	},
	"process": {
		args:  "process -log shop -service payments -command payment.take -query count -bucket checkpoints -timers expiry -create -inbox _INBOX_process",
		inbox: "_INBOX_process", empty: true, tasks: tasks(manage, takeTurns, wait),
		silent: map[string]string{
			"$JS.ACK.shop.>":                "the server shows a lag that there is not",
			"$JS.API.CONSUMER.UNPIN.shop.*": "the next process takes over two seconds later",
			"timers.expiry.dead.*.*":        "the error is logged, and the timer called again",
		},
		rare: map[string]string{"$JS.API.DIRECT.GET.shop": "the leader of a replicated log lost the commit"},
	},
	"client": {
		args:  "client -service orders -command order.place -query count -inbox _INBOX_client",
		inbox: "_INBOX_client", tasks: tasks(ask),
	},
	"live": {args: "live -log shop -kind order", inbox: sameInboxes, tasks: tasks(listen)},
	"operator": {
		args: "operator -log shop -inbox _INBOX_operator", inbox: "_INBOX_operator", tasks: tasks(operate, findLoss),
		silent: map[string]string{"$JS.API.CONSUMER.DELETE.shop.*": unremoved},
		rare:   map[string]string{"$JS.API.CONSUMER.INFO.shop.*": infoIsRare},
	},
	"operator who imports": {
		args: "operator -log shop -import -create", inbox: sameInboxes, empty: true, tasks: tasks(copyIn, operate, findLoss),
		silent: map[string]string{"$JS.API.CONSUMER.DELETE.shop.*": unremoved},
		rare:   map[string]string{"$JS.API.CONSUMER.INFO.shop.*": infoIsRare},
	},
	"command and projection": {
		args: "command,projection -log shop -service orders", inbox: sameInboxes, tasks: tasks(store, answer, project),
		silent: map[string]string{
			answering:        "the answer does not come, and the log of the service says why",
			"$JS.ACK.shop.>": "the server shows a lag that there is not",
		},
	},
}

func tasks(list ...func(context.Context, *user) error) []func(context.Context, *user) error {
	return list
}

// storeLive has the log publish its commits.
func storeLive(ctx context.Context, u *user) error {
	u.live = true
	return store(ctx, u)
}

// begin connects the users of an account, and makes the log.
func (d duty) begin(t *testing.T, s *server.Server, account int) *user {
	t.Helper()
	u := connected(t, s, account, d.inbox)
	u.live = !d.plain && !d.empty
	if !d.empty {
		u.owned()
	}
	return u
}

// work does all tasks, until one fails.
func (d duty) work(u *user) error {
	for _, task := range d.tasks {
		if err := u.do(task); err != nil {
			return err
		}
	}
	return nil
}

// What the command prints is enough for all that a role is for, and no permission of
// it is too many: without it something is not done, and an error says which it is.
func TestPermissionsOfRoles(t *testing.T) {
	t.Parallel()
	type trial struct {
		name, lacks string
		duty        duty
	}
	var trials []trial
	var configs []string
	for name, d := range duties {
		trials = append(trials, trial{name, "", d})
		configs = append(configs, succeed(t, append([]string{"permissions"}, strings.Fields(d.args)...)...))
		if testing.Short() {
			continue
		}
		all := permissionsOf(t, d.args)
		for _, permission := range all.all() {
			trials = append(trials, trial{name + " without " + permission, permission, d})
			configs = append(configs, all.without(permission).config(t))
		}
	}
	s := startWithUsers(t, configs)
	// Most of the time they wait, so more of them run at once than there are
	// processors.
	var all sync.WaitGroup
	turns := make(chan struct{}, 40)
	for i, trial := range trials {
		all.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			t.Run(strings.ReplaceAll(trial.name, " ", "_"), func(t *testing.T) {
				u := trial.duty.begin(t, s, i)
				if trial.lacks != "" {
					trial.duty.lacks(t, u, trial.lacks)
				} else if err := trial.duty.work(u); err != nil {
					t.Error(err)
				}
			})
		})
	}
	all.Wait()
}

// lacks fails the test unless it is noticed that the user lacks a permission.
func (d duty) lacks(t *testing.T, u *user, permission string) {
	t.Helper()
	_, silent := d.silent[permission]
	_, rare := d.rare[permission]
	u.patience = 30 * time.Second
	if silent {
		u.patience = 5 * time.Second
	}
	begin := time.Now()
	err := d.work(u)
	t.Logf("after %v: %v", time.Since(begin).Round(time.Millisecond), err)
	switch {
	case rare && err != nil:
		t.Errorf("it is not rare: %v", err)
	case rare:
	case err == nil:
		t.Error("nobody misses it")
	case silent && missing(err, permission):
		t.Errorf("it is not silent: %v", err)
	case !silent && !missing(err, permission):
		t.Errorf("the error does not name it: %v", err)
	}
}
