package modeltest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/headwater-go/headwater/projection"
)

func kept[T any](m *model[T]) {
	m.want("checkpoint/1/0", "")
	m.wantList("", nil)
	m.update(func(tx tx[T]) {
		tx.put("checkpoint/1/0", "one")
		tx.put("checkpoint/1/1", "another")
	})
	m.want("checkpoint/1/0", "one")
	m.want("checkpoint/1/1", "another")
	m.want("checkpoint/1", "")
	for _, value := range []string{"a longer one than before", "2"} {
		m.update(func(tx tx[T]) { tx.put("checkpoint/1/0", value) })
		m.want("checkpoint/1/0", value)
	}
	m.want("checkpoint/1/1", "another")
}

func removed[T any](m *model[T]) {
	m.update(func(tx tx[T]) {
		tx.put("generation/1", "one")
		tx.put("generation/2", "two")
		tx.remove("generation/3") // there is none
	})
	m.update(func(tx tx[T]) { tx.remove("generation/1") })
	m.want("generation/1", "")
	m.want("generation/2", "two")
	m.wantList("", map[string]string{"generation/2": "two"})
	m.update(func(tx tx[T]) { tx.put("generation/1", "again") })
	m.want("generation/1", "again")
}

func ownWrites[T any](m *model[T]) {
	m.update(func(tx tx[T]) { tx.put("parked/1/order/1", "before") })
	m.update(func(tx tx[T]) {
		tx.want("parked/1/order/2", "")
		tx.put("parked/1/order/2", "two")
		tx.want("parked/1/order/2", "two")
		tx.want("parked/1/order/1", "before")
		tx.put("parked/1/order/1", "one")
		tx.want("parked/1/order/1", "one")
		tx.want("parked/1/order/3", "") // that was looked for only is not there
		tx.wantList("parked/1/", map[string]string{"parked/1/order/1": "one", "parked/1/order/2": "two"})
		tx.remove("parked/1/order/1")
		tx.want("parked/1/order/1", "")
		tx.wantList("parked/1/", map[string]string{"parked/1/order/2": "two"})
		tx.remove("parked/1/order/2")
		tx.put("parked/1/order/2", "two again")
		tx.remove("parked/1/order/4")
	})
	m.wantList("", map[string]string{"parked/1/order/2": "two again"})
}

// hostile are texts that some databases take for something else.
var hostile = []string{
	"100%", "100_", "100x", `100\`, `100\%`, `100\\`, "%", "_", `\`, "*", "?", "[a-z]", "{t}", "$1", "?1", ":a", "@a",
	"'", "''", `"`, "`", ";", "--", "'; DROP TABLE headwater_projections; --", "NULL", "0", "00", "1e3", "true",
	"A", "a", "B", "b", "order/A", "order/a", " a", "a ", "a  ", "/", "//", "größer", "gro\u0308ßer", "gr\u00f6sser",
	"ß", "ss", "SS", "İ", "i", "I", "ı", "日本語", "\U0001F600", "\ufeffa", "a\u200b", "\ufffd", "\uffff", "\U0010FFFF",
	"order/.*>/../..", "a\tb", "<&>",
}

func anyText[T any](m *model[T]) {
	want := make(map[string]string)
	for i, text := range hostile {
		want["parked/1/"+text] = fmt.Sprintf(`{"number":%d,"text":%q}`, i, text)
		want[text] = "v" + text
	}
	want[strings.Repeat("k", 399)+"1"] = "a long key"
	want[strings.Repeat("k", 399)+"2"] = "another long key"
	want[strings.Repeat("ü", 200)] = "a long key of fewer characters"
	want["a large value"] = strings.Repeat("ünd so weiter\n", 1000)
	m.update(func(tx tx[T]) {
		for _, key := range slices.Sorted(maps.Keys(want)) {
			tx.put(key, want[key])
		}
	})
	for key, value := range want {
		m.want(key, value)
	}
	m.wantList("", want)
}

func listed[T any](m *model[T]) {
	all := map[string]string{"projection": "p", "generation/1": "g", "parked/11/a": "of another one", "PARKED/1/a": "upper case"}
	for i, text := range hostile {
		all["parked/1/"+text+"/x"] = fmt.Sprint(i)
	}
	m.update(func(tx tx[T]) {
		for key, value := range all {
			tx.put(key, value)
		}
	})
	prefixes := []string{"", "p", "parked/1/", "parked/1", "PARKED", "none", "parked/1/a/x", "parked/1/a/xx"}
	for _, text := range hostile {
		prefixes = append(prefixes, "parked/1/"+text, text)
	}
	for _, prefix := range prefixes {
		want := maps.Clone(all)
		maps.DeleteFunc(want, func(key, _ string) bool { return !strings.HasPrefix(key, prefix) })
		m.wantList(prefix, want)
		m.update(func(tx tx[T]) { tx.wantList(prefix, want) })
	}
}

// wantList checks a listing.
func (m *model[T]) wantList(prefix string, want map[string]string) {
	m.Helper()
	m.records(func(r projection.Records) error {
		got, err := r.List(prefix)
		m.compare(prefix, got, want)
		return err
	})
}

func (t tx[T]) wantList(prefix string, want map[string]string) {
	t.m.Helper()
	got, err := t.List(prefix)
	t.note(err)
	t.m.compare(prefix, got, want)
}

func (m *model[T]) compare(prefix string, got map[string][]byte, want map[string]string) {
	m.Helper()
	if maps.EqualFunc(got, want, func(a []byte, b string) bool { return string(a) == b }) {
		return
	}
	m.Errorf("with the prefix %q there are %.300q, want %.300q", prefix, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
}

// A projection holds on to what it has read, to see whether that has changed.
func owned[T any](m *model[T]) {
	m.update(func(tx tx[T]) { tx.put("projection", "value 1") })
	var got [][]byte
	get := func(r projection.Records) error {
		one, err := r.Get("projection")
		if err != nil {
			return err
		}
		all, err := r.List("")
		got = append(got, one, all["projection"])
		return err
	}
	m.records(get)
	m.update(func(tx tx[T]) { tx.note(get(tx)) })
	for _, value := range []string{"value 2", "longer", "value 3"} {
		m.update(func(tx tx[T]) { tx.put("projection", value) })
	}
	for _, value := range got {
		if string(value) != "value 1" {
			m.Errorf("a record that was %q when it was read is now %q", "value 1", value)
		}
	}
}

func keptNot[T any](m *model[T]) {
	value := []byte("value")
	m.update(func(tx tx[T]) { tx.note(tx.Put("projection", value)) })
	copy(value, "wrong")
	m.want("projection", "value")
}
