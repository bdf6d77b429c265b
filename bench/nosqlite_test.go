//go:build !cgo

package bench

import "testing"

func sqliteWay(tb testing.TB, _ *history) (load way, ok bool) {
	tb.Log("without cgo there is no SQLite to compare with")
	return nil, false
}
