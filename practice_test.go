package headwater_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What docs/practice.md says is shown by a test is shown by one that is there.
func TestPracticeIsTested(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("docs/practice.md")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile("`([a-z/]+)`: |Test[A-Za-z0-9]+")
	tests := 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		pkg, found := "", 0
		for _, m := range name.FindAllStringSubmatch(cells[3], -1) {
			if m[1] != "" {
				pkg = m[1]
			} else if found++; !hasTest(t, pkg, m[0]) {
				t.Errorf("package %q has no %s", pkg, m[0])
			}
		}
		if tests += found; found == 0 && !strings.Contains(line, "---") && !strings.Contains(line, "shown by") {
			t.Errorf("nothing shows: %s", line)
		}
	}
	if tests < 50 {
		t.Errorf("only %d tests are named", tests)
	}
}

func hasTest(t *testing.T, pkg, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(filepath.FromSlash(pkg), "*_test.go"))
	if err != nil || pkg == "" {
		return false
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(t ") {
			return true
		}
	}
	return false
}
