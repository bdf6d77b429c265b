package main

import (
	"bufio"
	"fmt"
	"io"
	"slices"
)

// grant is what a user is permitted.
type grant struct {
	publish, subscribe []permission
	answers            bool // to whatever it was asked
}

type permission struct{ subject, why string }

func (g *grant) toPublish(subject, why string) { g.publish = with(g.publish, subject, why) }

func (g *grant) toSubscribe(subject, why string) { g.subscribe = with(g.subscribe, subject, why) }

// with adds a permission that is not there.
func with(list []permission, subject, why string) []permission {
	if slices.ContainsFunc(list, func(p permission) bool { return p.subject == subject }) {
		return list
	}
	return append(list, permission{subject, why})
}

// nothing is what to deny where nothing is allowed: a server takes an empty list to
// allow everything.
const nothing = ">"

// permissions are those of a user as a server's configuration has them.
type permissions struct {
	Publish   subjects `json:"publish"`
	Subscribe subjects `json:"subscribe"`
	Answers   bool     `json:"allow_responses,omitempty"`
}

type subjects struct {
	Allow []string `json:"allow,omitempty"`
	Deny  []string `json:"deny,omitempty"`
}

func (g *grant) config() permissions {
	return permissions{subjectsOf(g.publish), subjectsOf(g.subscribe), g.answers}
}

func subjectsOf(list []permission) (s subjects) {
	for _, p := range list {
		s.Allow = append(s.Allow, p.subject)
	}
	if len(list) == 0 {
		s.Deny = []string{nothing}
	}
	return s
}

// print prints a part of a configuration. Names in it are checked: none can end a
// string or a comment.
func (g *grant) print(w io.Writer, roles, inbox string) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "# A user who is %s.\n", roles)
	if slices.ContainsFunc(g.subscribe, func(p permission) bool { return p.subject == inbox+".>" }) {
		fmt.Fprint(out, inboxAdvice(inbox))
	}
	fmt.Fprint(out, "permissions {\n")
	printSubjects(out, "publish", g.publish)
	printSubjects(out, "subscribe", g.subscribe)
	if g.answers {
		fmt.Fprint(out, "  allow_responses: true  # answer requests, within 2 minutes\n")
	}
	fmt.Fprint(out, "}\n")
	return out.Flush()
}

func printSubjects(w io.Writer, verb string, list []permission) {
	if len(list) == 0 {
		fmt.Fprintf(w, "  %s {\n    deny: %q\n  }\n", verb, nothing)
		return
	}
	width := 0
	for _, p := range list {
		width = max(width, len(p.subject)+len(`""`))
	}
	fmt.Fprintf(w, "  %s {\n    allow: [\n", verb)
	for _, p := range list {
		fmt.Fprintf(w, "      %-*s  # %s\n", width, `"`+p.subject+`"`, p.why)
	}
	fmt.Fprint(w, "    ]\n  }\n")
}

func inboxAdvice(inbox string) string {
	if inbox != sharedInbox {
		return fmt.Sprintf(`# Its program connects with nats.CustomInboxPrefix(%q), as a service does with the
# variable NATS_INBOX_PREFIX; 'headwater' takes -inbox %[1]s.
`, inbox)
	}
	return `# Users with the same inbox can read each other's answers: give each one a prefix
# of its own, such as -inbox _INBOX_reports.
`
}

// sharedInbox is where clients get answers that were told nothing else.
const sharedInbox = "_INBOX"
