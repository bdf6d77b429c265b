package web_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/headwater-go/headwater/examples/orders/web"
)

func documented(t *testing.T) []string {
	t.Helper()
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(doc), "\n")
}

// A browser runs what the page has, and nothing that somebody wrote into it.
func TestPage(t *testing.T) {
	t.Parallel()
	s := newShop(t, web.Config{})
	page := s.do(t, "GET", "/", "")
	if page.status != http.StatusOK || page.header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("status %d, %v", page.status, page.header)
	}
	policy := page.header.Get("Content-Security-Policy")
	for _, element := range []string{"script", "style"} {
		all := regexp.MustCompile(`(?s)<`+element+`\b[^>]*>(.*?)</`+element+`>`).FindAllStringSubmatch(page.body, -1)
		if len(all) != 1 {
			t.Fatalf("the page has %d elements %s", len(all), element)
		}
		sum := sha256.Sum256([]byte(all[0][1]))
		if want := element + "-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "';"; !strings.Contains(policy, want) {
			t.Errorf("there is no %s in %s", want, policy)
		}
	}
	for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "connect-src 'self'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("there is no %s in %s", want, policy)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %s", policy)
	}
	if refused := regexp.MustCompile(`<[a-z][^>]*\s(style|on[a-z]+)=`).FindString(page.body); refused != "" {
		t.Errorf("a browser refuses %s", refused)
	}
	if again := s.do(t, "GET", "/", "", "If-None-Match", page.header.Get("ETag")); again.status != http.StatusNotModified {
		t.Errorf("status %d for a page that did not change", again.status)
	}
	for _, path := range []string{"/", "/orders", "/nowhere"} {
		h := s.do(t, "GET", path, "").header
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin"} {
			if h.Get(name) != want {
				t.Errorf("%s: %s is %q", path, name, h.Get(name))
			}
		}
		if h.Get("Content-Security-Policy") != policy || h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %v", path, h)
		}
	}
}
