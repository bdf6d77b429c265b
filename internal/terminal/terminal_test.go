package terminal_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/headwater-go/headwater/internal/terminal"
)

func TestBar(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	bar := terminal.NewBar(&out, "events")
	bar.Show(1, 4)
	bar.Show(2, 4) // too soon to draw again
	bar.Clear()
	bar.Clear()
	got, _, _ := strings.Cut(out.String(), ",")
	if want := "\r\x1b[K[#######.......................] 1 of 4 events"; got != want || !strings.HasSuffix(out.String(), "/s\r\x1b[K") {
		t.Errorf("it drew %q, want %q", out.String(), want)
	}
}

func TestQuote(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, want string }{
		{"order/42", "order/42"}, {"größer, \"so\"", "größer, \"so\""}, {"a\x1b[31m", `"a\x1b[31m"`},
		{"a\nb", `"a\nb"`}, {"\u202ea", `"\u202ea"`}, {"\xff", `"\xff"`}, {"\u009b", `"\u009b"`},
	} {
		if got := terminal.Quote(test.text); got != test.want {
			t.Errorf("%q is shown as %s, want %s", test.text, got, test.want)
		}
	}
	if got := terminal.Clean("one\ntwo \x1b]0;x\x07 \xff \u202e 'é'"); got != `one`+"\n"+`two \x1b]0;x\a \xff \u202e 'é'` {
		t.Errorf("the error is shown as %s", got)
	}
}
