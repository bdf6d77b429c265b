// Package backendtest tests that a backend of snapshots does what a
// [snapshot.Backend] does. It is for those who bring another one than a file:
//
//	func TestBackend(t *testing.T) {
//		backendtest.Run(t, func(t *testing.T) snapshot.Backend { return open(t) })
//	}
//
// What a backend may do is to lose values, or to damage them: that is not tested.
package backendtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/headwater-go/headwater/snapshot"
)

// Run tests the backends that open returns, each of them new and empty. open
// fails the test that it is given if it cannot open one. The tests run in
// parallel. Each closes its backend.
func Run(t *testing.T, open func(t *testing.T) snapshot.Backend) {
	for _, item := range items {
		t.Run(item.name, func(t *testing.T) {
			t.Parallel()
			b := backend{T: t, Backend: open(t)}
			item.run(b)
			if err := b.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
}

// A backend that is tested.
type backend struct {
	*testing.T
	snapshot.Backend
}

type item struct {
	name string
	run  func(backend)
}

var items = []item{
	{"what is not there", missing},
	{"what was put is there", stored},
	{"the last value stays", replaced},
	{"what is removed is gone", removed},
	{"keys and values are any bytes", anyBytes},
	{"a large value", large},
	{"a value belongs to who got it", owned},
	{"what was put belongs to who put it", keptNot},
	{"each entry is listed once", listed},
	{"a listing may be broken off", listedInPart},
	{"a listing ends with its context", listedUntil},
	{"readers beside a writer see whole values", concurrent},
}

func (b backend) put(values map[string][]byte) {
	b.Helper()
	if err := b.Put(b.Context(), values); err != nil {
		b.Fatalf("put %d values: %v", len(values), err)
	}
}

// want checks what is under a key, nil for nothing.
func (b backend) want(key string, want []byte) {
	b.Helper()
	got, err := b.Get(b.Context(), key)
	if err != nil || !bytes.Equal(got, want) || (got == nil) != (want == nil) {
		b.Errorf("under %.40q there are %d bytes, %v (nil: %t), want %d", key, len(got), err, got == nil, len(want))
	}
}

func missing(b backend) {
	b.want("order/1", nil)
	b.put(map[string][]byte{"order/2": nil}) // nothing to remove
	b.put(nil)
	b.want("order/2", nil)
	for e, err := range b.All(b.Context()) {
		b.Errorf("an empty backend lists %+v, %v", e, err)
	}
}

func stored(b backend) {
	b.put(map[string][]byte{"order/1": []byte("one"), "order/11": []byte("eleven")})
	b.put(map[string][]byte{"account/1": []byte("another")})
	b.want("order/1", []byte("one"))
	b.want("order/11", []byte("eleven"))
	b.want("account/1", []byte("another"))
	b.want("order", nil)
	b.want("order/", nil)
}

func replaced(b backend) {
	for _, value := range []string{"first", "a longer second", "3"} {
		b.put(map[string][]byte{"order/1": []byte(value), "order/2": []byte(value)})
		b.want("order/1", []byte(value))
	}
	b.want("order/2", []byte("3"))
}

func removed(b backend) {
	b.put(map[string][]byte{"order/1": []byte("one"), "order/2": []byte("two")})
	b.put(map[string][]byte{"order/1": nil, "order/3": []byte("three")})
	b.want("order/1", nil)
	b.want("order/2", []byte("two"))
	b.want("order/3", []byte("three"))
	b.put(map[string][]byte{"order/1": []byte("again")})
	b.want("order/1", []byte("again"))
}

func anyBytes(b backend) {
	values := map[string][]byte{
		"order/größer 100% \x00\xff":              {0, 255, '\n', 0},
		"order/" + strings.Repeat("x", 240):       []byte("a long key"),
		"order/" + strings.Repeat("x", 240) + "y": []byte("a longer key"),
		"order/.*>/../..":                         []byte("special"),
		"order/A":                                 []byte("upper"),
		"order/a":                                 []byte("lower"),
	}
	b.put(values)
	for key, value := range values {
		b.want(key, value)
	}
}

func large(b backend) {
	value := make([]byte, 2<<20)
	for i := range value {
		value[i] = byte(rand.Uint32())
	}
	b.put(map[string][]byte{"order/1": value, "order/2": []byte("small")})
	b.want("order/1", value)
	b.want("order/2", []byte("small"))
}

func owned(b backend) {
	b.put(map[string][]byte{"order/1": []byte("value")})
	got, err := b.Get(b.Context(), "order/1")
	if err != nil {
		b.Fatal(err)
	}
	clear(got)
	b.want("order/1", []byte("value"))
	for e, err := range b.All(b.Context()) {
		if err != nil {
			b.Fatal(err)
		}
		clear(e.Value)
	}
	b.want("order/1", []byte("value"))
}

func keptNot(b backend) {
	value := []byte("value")
	values := map[string][]byte{"order/1": value}
	b.put(values)
	copy(value, "wrong")
	clear(values)
	b.want("order/1", []byte("value"))
}

// fill puts n values and returns them.
func (b backend) fill(n int) map[string][]byte {
	values := make(map[string][]byte, n)
	for i := range n {
		values[fmt.Sprintf("order/%d", i)] = bytes.Repeat([]byte{byte(i)}, 1+i%5000)
	}
	b.put(values)
	return values
}

func listed(b backend) {
	want := b.fill(1500)
	b.put(map[string][]byte{"order/7": nil})
	delete(want, "order/7")
	got := make(map[string][]byte)
	for e, err := range b.All(b.Context()) {
		if err != nil {
			b.Fatal(err)
		}
		if _, twice := got[e.Key]; twice {
			b.Errorf("%s is listed twice", e.Key)
		}
		got[e.Key] = e.Value
	}
	if !maps.EqualFunc(got, want, bytes.Equal) {
		b.Errorf("%d entries are listed, and there are %d, or they are not the same", len(got), len(want))
	}
}

func listedInPart(b backend) {
	b.fill(20)
	for range 3 {
		n := 0
		for _, err := range b.All(b.Context()) {
			if n++; err != nil || n > 5 {
				b.Fatalf("entry %d: %v", n, err)
			}
			// What is listed may be changed meanwhile.
			b.put(map[string][]byte{"account/1": []byte("x")})
			if n == 5 {
				break
			}
		}
	}
}

func listedUntil(b backend) {
	b.fill(20)
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	last := error(nil)
	for _, err := range b.All(ctx) {
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		b.Errorf("a listing whose context has ended ends with %v", last)
	}
}

func concurrent(b backend) {
	const keys, rounds = 20, 50
	var reading sync.WaitGroup
	ctx, stop := context.WithCancel(b.Context())
	for r := range 4 {
		reading.Go(func() {
			for i := r; ctx.Err() == nil; i++ {
				value, err := b.Get(b.Context(), fmt.Sprintf("order/%d", i%keys))
				if err != nil || len(value) > 0 && !slices.Equal(value, bytes.Repeat(value[:1], len(value))) {
					b.Errorf("a mixture of values, or %v", err)
					return
				}
			}
		})
	}
	for round := range rounds {
		values := make(map[string][]byte)
		for k := range keys {
			values[fmt.Sprintf("order/%d", k)] = bytes.Repeat([]byte{byte(round)}, 100+100*(round%30))
		}
		b.put(values)
	}
	stop()
	reading.Wait()
}
