package web

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
)

//go:embed page.html
var pageHTML string

var (
	// policy lets a browser run the page's own script, and nothing else.
	policy = "default-src 'none'; connect-src 'self'; img-src data:; script-src " + hashOf("script") + "; style-src " + hashOf("style") +
		"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
	pageTag = fmt.Sprintf("%q", hex.EncodeToString(digest(pageHTML)[:8]))
)

// page answers with the page.
func (f *Front) page(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", pageTag)
	if r.Header.Get("If-None-Match") == pageTag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	fmt.Fprint(w, pageHTML)
}

// hashOf returns the hash, as a policy names it, of what is in the page's only element
// of a name.
func hashOf(element string) string {
	_, rest, _ := strings.Cut(pageHTML, "<"+element+">")
	inner, _, _ := strings.Cut(rest, "</"+element+">")
	return "'sha256-" + base64.StdEncoding.EncodeToString(digest(inner)) + "'"
}

func digest(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}
