package main

// A role is what a user is there for: the flags that it needs and takes, and the
// permissions that it adds to those of a user.
type role struct {
	needs, takes []string
	add          func(*grant, *wishes)
}

var roles = map[string]role{
	"command":    {[]string{"log"}, []string{"service", "inbox", "kind", "scan", "create", "update"}, (*grant).command},
	"projection": {[]string{"log"}, []string{"inbox", "shared", "bucket", "create"}, (*grant).projection},
	"process":    {[]string{"log", "service"}, []string{"inbox", "shared", "bucket", "create", "timers", "command", "query"}, (*grant).process},
	"client":     {[]string{"service"}, []string{"inbox", "command", "query"}, (*grant).client},
	"live":       {[]string{"log"}, []string{"kind"}, (*grant).hear},
	"operator":   {[]string{"log"}, []string{"inbox", "import", "create"}, (*grant).operator},
}

const api = "$JS.API."

func (g *grant) command(w *wishes) {
	g.appends(w.log, *w.kinds)
	g.opens(w)
	g.reads(w.log, *w.kinds)
	if w.scan {
		g.scans(w.log)
		g.lists(w.log)
	}
	if w.update {
		g.toPublish(api+"STREAM.UPDATE."+w.log, "have the log publish its commits for live readers; it could lose commits by this")
	}
	for _, service := range *w.services {
		g.serves(service, *w.kinds)
	}
}

// serves is for whoever answers requests. A permission for a queue group lets nobody
// take requests beside those who answer them.
func (g *grant) serves(service string, kinds []string) {
	const group = " q"
	for _, kind := range orAny(kinds) {
		g.toSubscribe(service+".command."+kind+".*"+group, "take commands, with the service's other instances")
	}
	g.toSubscribe(service+".query.ask.*"+group, "take queries, with the service's other instances")
	g.toSubscribe("$SRV.>", "be found by tools")
	g.answers = true
}

func (g *grant) projection(w *wishes) {
	g.opens(w)
	g.scans(w.log)
	g.toPublish(api+"DIRECT.GET."+w.log, "read a commit that the log's leader lost from another node")
	g.toPublish("$JS.ACK."+w.log+".>", "tell how far it is, for others to see")
	if w.shared || w.bucket != "" {
		g.toPublish(api+"CONSUMER.INFO."+w.log+".*", "see whether another process projects")
		g.toPublish(api+"CONSUMER.UNPIN."+w.log+".*", "let another process project at once when this one stops")
	}
	if w.bucket != "" {
		g.keeps(w)
	}
}

// keeps is for whoever has the records of projections in a key-value bucket.
func (g *grant) keeps(w *wishes) {
	stream := "KV_" + w.bucket
	g.toPublish(api+"STREAM.INFO."+stream, "open the bucket of checkpoints")
	g.toPublish(api+"STREAM.MSG.GET."+stream, "read a checkpoint")
	g.toPublish("$KV."+w.bucket+".*", "write checkpoints")
	if w.create {
		g.toPublish(api+"STREAM.CREATE."+stream, "create the bucket")
		g.toPublish(api+"INFO", "create the bucket, which the client asks about the server first")
	}
}

func (g *grant) process(w *wishes) {
	g.projection(w)
	g.client(w)
	if w.timers != "" {
		g.waits(w)
	}
}

// waits is for whoever sets timers and runs them.
func (g *grant) waits(w *wishes) {
	stream, subjects := w.timers+"-timers", "timers."+w.timers
	g.toPublish(api+"STREAM.INFO."+stream, "open the timers")
	g.toPublish(subjects+".set.*.*", "set timers")
	g.toPublish(api+"STREAM.PURGE."+stream, "cancel timers, and set them anew")
	g.toPublish(api+"CONSUMER.CREATE."+stream+".run."+subjects+".due.>", "run timers, with other processes")
	g.toPublish(api+"CONSUMER.MSG.NEXT."+stream+".run", "get timers that are due")
	g.toPublish("$JS.ACK."+stream+".run.>", "be done with timers")
	g.toPublish(subjects+".dead.*.*", "keep timers that failed for good")
	g.toPublish(api+"STREAM.MSG.GET."+stream, "list those, and look after timers that are overdue")
	if w.create {
		g.toPublish(api+"STREAM.CREATE."+stream, "create the stream of timers")
	}
}

func (g *grant) client(w *wishes) {
	all := len(*w.commands)+len(*w.queries) == 0
	commands, queries := *w.commands, *w.queries
	if all {
		commands, queries = []string{"*.*"}, []string{"*"}
	}
	for _, service := range *w.services {
		for _, command := range commands {
			g.toPublish(service+".command."+command, "send commands")
		}
		for _, query := range queries {
			g.toPublish(service+".query.ask."+query, "ask")
		}
	}
	g.hears(w)
}

func (g *grant) hear(w *wishes) {
	for _, kind := range orAny(*w.kinds) {
		g.toSubscribe("live."+w.log+"."+kind+".*", "hear of commits")
	}
}

func (g *grant) operator(w *wishes) {
	g.opens(w)
	g.reads(w.log, nil)
	g.scans(w.log)
	g.lists(w.log)
	g.toPublish(api+"STREAM.LIST", "logs, and find a log that is not named")
	g.toPublish(api+"CONSUMER.LIST."+w.log, "projections")
	if w.toImport {
		g.appends(w.log, nil)
	}
}

func (g *grant) appends(log string, kinds []string) {
	for _, kind := range orAny(kinds) {
		g.toPublish(log+"."+kind+".*", "append")
	}
}

// opens is for whoever opens the log, of which every store reads single commits.
func (g *grant) opens(w *wishes) {
	g.toPublish(api+"STREAM.INFO."+w.log, "open the log, and see where it ends")
	g.toPublish(api+"STREAM.MSG.GET."+w.log, "read a commit from the log's leader")
	if w.create {
		g.toPublish(api+"STREAM.CREATE."+w.log, "create the log")
	}
	g.hears(w)
}

func (g *grant) hears(w *wishes) { g.toSubscribe(w.inbox+".>", "get answers") }

// reads is for whoever reads streams.
func (g *grant) reads(log string, kinds []string) {
	g.toPublish(api+"DIRECT.GET."+log, "read the commits of a stream")
	for _, kind := range orAny(kinds) {
		g.toPublish(api+"DIRECT.GET."+log+"."+log+"."+kind+".*", "read the last commit of a stream")
	}
}

// scans is for whoever reads the log as a whole, by consumers.
func (g *grant) scans(log string) {
	g.toPublish(api+"CONSUMER.CREATE."+log+".*", "read the log as a whole, by a consumer")
	g.toPublish(api+"CONSUMER.MSG.NEXT."+log+".*", "get the consumer's next commits")
	g.toPublish(api+"CONSUMER.DELETE."+log+".*", "remove the consumer")
}

// lists is for whoever lists streams, which takes a consumer with a filter.
func (g *grant) lists(log string) {
	g.toPublish(api+"CONSUMER.CREATE."+log+".*."+log+".*.*", "list streams")
	g.toPublish(api+"CONSUMER.INFO."+log+".*", "list streams, where the server cannot read all of them")
}

func orAny(names []string) []string {
	if len(names) == 0 {
		return []string{"*"}
	}
	return names
}
