package eventstore_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"

	"github.com/headwater-go/headwater/eventstore"
)

// A mutation is something that happens to a log on one node.
type mutation struct {
	kind   string
	files  func(*mutant)         // to the files of the stopped server
	client func(*mutant, string) // by a client of the server at this URL
	sound  bool                  // it takes nothing away that anyone would miss
	older  bool                  // an older copy takes the place of the log
	mark   whichMark
	held   bool // only who holds a revision from before can tell
}

// whichMark says which high-water mark is there when the log is opened.
type whichMark int

const (
	newestMark whichMark = iota
	olderMark
	noMark
)

// A mutant is a log that a mutation happens to.
type mutant struct {
	storedLog
	t *testing.T
	image
	rng  *rand.Rand
	what []string // was done
}

func (m *mutant) did(format string, args ...any) {
	m.what = append(m.what, fmt.Sprintf(format, args...))
}

// The number of trials of each kind on each of the two images, in a run that
// takes its time.
const trialsOfAKind = 5

// Whatever happens to a log on one node is reported when it is opened, read,
// appended to or verified, or nothing that was acknowledged is missed.
func TestMutations(t *testing.T) {
	t.Parallel()
	rng := eventstore.Seeded(t)
	older, stopped, killed := images(t, rng)
	results := &outcomes{usual: make(map[string]bool)}
	for _, i := range []image{stopped, killed} {
		tr := &trial{T: t, image: i.copy(t), holds: true}
		tr.run(nil, false)
		if tr.stage() != nowhere || len(tr.wrong) > 0 {
			t.Fatalf("the undamaged log: %v %v", tr.reports, tr.wrong)
		}
		for _, line := range tr.server.said() {
			results.usual[line] = true
		}
	}
	t.Run("all", func(t *testing.T) {
		for k, mutation := range mutations {
			for n, i := range []image{stopped, killed} {
				trials := trialsOfAKind
				if !soaking {
					trials = (k + n) % 2 // each kind once
				}
				for range trials {
					seed := rng.Uint64()
					t.Run(fmt.Sprintf("%s/%s/%d", mutation.kind, i.name, seed), func(t *testing.T) {
						t.Parallel()
						results.add(mutation, mutation.try(t, i, older, seed))
					})
				}
			}
		}
	})
	t.Log(results)
}

// try does a mutation to a copy of an image and uses the log.
func (mu mutation) try(t *testing.T, sound, older image, seed uint64) *trial {
	i := sound.copy(t)
	before := older.copy(t)
	if mu.older {
		i.dir = before.dir
	}
	switch mu.mark {
	case olderMark:
		i.mark = before.mark
	case noMark:
		i.mark = filepath.Join(t.TempDir(), "mark")
	}
	m := &mutant{t: t, image: i, storedLog: i.stored(t), rng: rand.New(rand.NewPCG(seed, seed))}
	if mu.files != nil {
		mu.files(m)
	}
	var client func(string)
	if mu.client != nil {
		client = func(url string) { mu.client(m, url) }
	}
	tr := &trial{T: t, image: i, holds: mu.held || m.rng.IntN(2) == 0, waits: m.rng.IntN(2) == 0}
	tr.run(client, m.rng.IntN(2) == 0)
	stage := tr.stage()
	if stage == nowhere && len(tr.wrong) > 0 {
		t.Errorf("silent, revisions held %t, waited %t: %s\n\t%s", tr.holds, tr.waits, strings.Join(m.what, "; "), strings.Join(tr.wrong, "\n\t"))
	}
	if stage != nowhere && mu.sound {
		t.Errorf("%s: a false report: %v", strings.Join(m.what, "; "), tr.reports[stage])
	}
	if testing.Verbose() && stage != nowhere {
		t.Logf("%s: at %s: %v; wrong: %q", strings.Join(m.what, "; "), stageNames[stage], tr.reports[stage][0], tr.wrong)
	} else {
		t.Logf("%s: harmless", strings.Join(m.what, "; "))
	}
	return tr
}

// A outcomes counts where mutations were reported first.
type outcomes struct {
	usual map[string]bool // what the server says in any case

	mu   sync.Mutex
	rows map[string]*row
}

type row struct {
	mutations, harmless, silent, early, byServer int
	at                                           [stages]int
}

func (c *outcomes) add(mu mutation, tr *trial) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rows == nil {
		c.rows = make(map[string]*row)
		for _, mu := range mutations {
			c.rows[mu.kind] = new(row)
		}
	}
	r := c.rows[mu.kind]
	r.mutations++
	switch stage := tr.stage(); {
	case stage != nowhere:
		r.at[stage]++
		if tr.early {
			r.early++
		}
	case len(tr.wrong) > 0:
		r.silent++
	default:
		r.harmless++
	}
	if tr.byServer(c.usual) {
		r.byServer++
	}
}

func (r *row) plus(o *row) {
	r.mutations += o.mutations
	r.harmless += o.harmless
	r.silent += o.silent
	r.early += o.early
	r.byServer += o.byServer
	for i := range r.at {
		r.at[i] += o.at[i]
	}
}

func (c *outcomes) String() string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 1, ' ', tabwriter.AlignRight|tabwriter.Debug)
	line := func(kind string, r *row) {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", kind, r.mutations,
			r.at[atOpen], r.at[atLoad], r.at[atAppend], r.at[atVerify], r.harmless, r.silent, r.early, r.byServer)
	}
	fmt.Fprint(w, "\nkind\tmutations\topen\tload\tappend\tverify\tharmless\tsilent\twrong answer first\tserver reported\t\n")
	total := new(row)
	for _, mu := range mutations {
		if r := c.rows[mu.kind]; r != nil {
			line(mu.kind, r)
			total.plus(r)
		}
	}
	line("all", total)
	_ = w.Flush() // to memory
	return text.String()
}
