package aggregate

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/headwater-go/headwater/snapshot"
)

// Lists that come of one another never change each other.
func TestCommits(t *testing.T) {
	t.Parallel()
	type list struct {
		commits
		want []snapshot.Applied
	}
	lists := []list{{}}
	for n := range uint64(3_000) {
		l := lists[rand.IntN(len(lists))]
		a := snapshot.Applied{ID: snapshot.KeyOf(t.Name()), Version: n}
		switch rand.IntN(10) {
		case 0:
			l.commits, l.want = l.without(), l.want[:max(len(l.want)-1, 0)]
		case 1:
			l.commits = commitsOf(l.last(remembered))
		}
		l.commits, l.want = l.add(a), append(slices.Clip(l.want), a)
		l.want = l.want[max(0, len(l.want)-remembered):]
		if lists = append(lists, l); len(lists) > 20 {
			lists = lists[1:]
		}
		for _, l := range lists {
			if got := l.last(remembered); !slices.Equal(got, l.want) {
				t.Fatalf("after %d: %v, want %v", n, got, l.want)
			}
		}
	}
	long := make([]snapshot.Applied, 1000)
	long[999].Version = 1000
	if got := commitsOf(long).add(snapshot.Applied{}).last(2); got[0].Version != 1000 {
		t.Errorf("of a long list: %v", got)
	}
}

// Several who add to one list at once each have their own.
func TestCommitsAtOnce(t *testing.T) {
	t.Parallel()
	l := commitsOf(nil)
	for n := range uint64(200) {
		var adding sync.WaitGroup
		next := make([]commits, 4)
		for i := range next {
			adding.Go(func() { next[i] = l.add(snapshot.Applied{Version: 10*n + uint64(i)}) })
		}
		adding.Wait()
		for i, l := range next {
			if got := l.last(1)[0].Version; got != 10*n+uint64(i) {
				t.Fatalf("added %d, and there is %d", 10*n+uint64(i), got)
			}
		}
		l = next[n%4]
	}
	if got := l.last(3); got[0].Version/10 != 197 || got[2].Version/10 != 199 {
		t.Errorf("in the end there is %v", got)
	}
}
