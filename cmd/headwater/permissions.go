package main

import (
	"context"
	"flag"
	"regexp"
	"slices"
	"strings"
)

const permissionsUsage = `Print the permissions that a user of a server needs, as the server's configuration.

Usage: headwater permissions ROLE[,ROLE]... [-log NAME] [-service NAME]...
                             [-inbox PREFIX] [flags]

Roles:

    command      appends to a log and reads its streams; with -service it answers
                 the requests to that service
    projection   reads a whole log by consumers
    process      a projection that sends commands to services
    client       sends commands and queries to services
    live         hears the commits of a log when they are stored, and no more
    operator     what the other commands of this program need, which only read

Of several roles a user gets what any of them needs. Beside each permission stands
what it is for; everything else is refused. With -json it is an object, for programs,
that can stand in a server's configuration as well.

A user that may ask JetStream for anything can have the answer sent to any subject
of the account. In a log it is stored: that is damage or, where the user may append
anything at all, can be a forged commit. So the roles keep programs from mistakes,
and only client and live keep strangers out: see docs/operations.md, "Users".

Examples:

    headwater permissions command -log shop -service orders -kind order -inbox _INBOX_orders
    headwater permissions projection -log shop -inbox _INBOX_reports
    headwater permissions client -service orders -command order.place -query open
    headwater permissions live -log shop -kind order
    headwater permissions operator -log shop -json
`

// wishes are what the flags say of a user, by their names.
type wishes struct {
	flags                      *flag.FlagSet
	log, inbox, bucket, timers string
	services, kinds            *[]string
	commands, queries          *[]string
	scan, shared               bool
	create, update, toImport   bool
	asJSON                     *bool
}

func permissionFlags() *wishes {
	fs := newFlags("permissions", permissionsUsage)
	w := &wishes{flags: fs, asJSON: jsonFlag(fs)}
	fs.StringVar(&w.log, "log", "", "the `name` of the log")
	fs.StringVar(&w.inbox, "inbox", "_INBOX", "the `prefix` of the subjects on which the user gets answers")
	w.services = listFlag(fs, "service", "the `name` of the service that a command user is, or a client asks; may be repeated")
	w.kinds = listFlag(fs, "kind", "append to, execute commands of, and hear, this `kind` of stream only; may be repeated")
	w.commands = listFlag(fs, "command", "send this `KIND.COMMAND` only; may be repeated")
	w.queries = listFlag(fs, "query", "ask this `query` only; may be repeated")
	fs.StringVar(&w.bucket, "bucket", "", "keep checkpoints in this key-value `bucket`")
	fs.StringVar(&w.timers, "timers", "", "set the timers of this `name`")
	fs.BoolVar(&w.scan, "scan", false, "also list streams, and read and check the whole log, as a store does when it is opened on a single server")
	fs.BoolVar(&w.shared, "shared", false, "take turns with others on a shared read model")
	fs.BoolVar(&w.create, "create", false, "create the log, the bucket and the stream of timers where there is none")
	fs.BoolVar(&w.update, "update", false, "change a log that does not publish its commits for live readers; whoever may change a log can remove its commits")
	fs.BoolVar(&w.toImport, "import", false, "also append to the log, for 'headwater import'")
	return w
}

func printPermissions(_ context.Context, c console, args []string) error {
	w := permissionFlags()
	names, err := parseFlags(w.flags, c, args, "ROLE")
	if err != nil {
		return err
	}
	chosen := strings.Split(names[0], ",")
	if err := w.check(chosen); err != nil {
		return err
	}
	var g grant
	for _, name := range chosen {
		roles[name].add(&g, w)
	}
	if *w.asJSON {
		return printJSON(c.out, g.config())
	}
	return g.print(c.out, names[0], w.inbox)
}

// check refuses what could not be in a subject as it stands, and what the roles make
// nothing of.
func (w *wishes) check(chosen []string) (err error) {
	used := []string{"json"}
	for _, name := range chosen {
		if _, ok := roles[name]; !ok {
			return wrongUsage(w.flags, "there is no role %q; there are: command, projection, process, client, live and operator", name)
		}
	}
	for _, name := range chosen {
		r := roles[name]
		for _, need := range r.needs {
			if !given(w.flags, need) {
				return wrongUsage(w.flags, "role %s needs -%s", name, need)
			}
		}
		used = append(append(used, r.needs...), r.takes...)
	}
	w.flags.Visit(func(f *flag.Flag) {
		if err == nil && !slices.Contains(used, f.Name) {
			err = wrongUsage(w.flags, "-%s means nothing to a user who is %s", f.Name, strings.Join(chosen, " and "))
		}
	})
	if err != nil {
		return err
	}
	return w.checkNames(slices.Contains(chosen, "command"))
}

var (
	token   = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	two     = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9_-]{1,64}$`)
	inboxes = regexp.MustCompile(`^_[A-Za-z0-9_-]{1,64}$`)
)

const inboxWanted = "a prefix that begins with '_', which services answer to, as _INBOX_reports is"

func (w *wishes) checkNames(answers bool) error {
	for _, names := range []struct {
		flag string
		form *regexp.Regexp
		want string
		all  []string
	}{
		{"log", token, "a name", []string{w.log}},
		{"service", token, "a name", *w.services},
		{"kind", token, "a name", *w.kinds},
		{"command", two, "KIND.COMMAND, as order.place is", *w.commands},
		{"query", token, "a name", *w.queries},
		{"bucket", token, "a name", []string{w.bucket}},
		{"timers", token, "a name", []string{w.timers}},
		{"inbox", inboxes, inboxWanted, []string{w.inbox}},
	} {
		for _, name := range names.all {
			if given(w.flags, names.flag) && !names.form.MatchString(name) {
				return wrongUsage(w.flags, "-%s %q is not %s", names.flag, name, names.want)
			}
		}
	}
	for _, name := range append([]string{w.log}, *w.services...) {
		if strings.HasPrefix(name, "_") || name == "live" || name == "timers" {
			return wrongUsage(w.flags, "%q is no name of a log or service: their subjects would be those of something else", name)
		}
	}
	if answers && len(*w.services) > 1 {
		return wrongUsage(w.flags, "a user who is command answers for one service; -service names %d", len(*w.services))
	}
	return nil
}
