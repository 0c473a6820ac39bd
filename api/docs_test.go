package api

import (
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"

	"ayder/docs"
)

// Every page is served, compressed where the client takes that, and not at all where it has the page.
func TestDocsAreServed(t *testing.T) {
	f := newFixture(t, "auto")
	paths := []string{"/openapi.json", "/docs/errors", "/docs"}
	for _, name := range docs.Names() {
		if name != "" {
			paths = append(paths, "/docs/"+name)
		}
	}
	for _, path := range paths {
		status, plain, h := f.raw("GET", path, "", "Authorization", "", "Accept-Encoding", "identity")
		tag := h.Get("ETag")
		if status != 200 || h.Get("Content-Encoding") != "" || len(tag) < 10 || h.Get("Vary") != "Accept-Encoding" {
			t.Fatalf("%s: %d, %v", path, status, h)
		}
		policy := h.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "script-src") || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: its policy is %q", path, policy)
		}
		status, packed, h := f.raw("GET", path, "", "Authorization", "", "Accept-Encoding", "br, gzip")
		z, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if text, err := io.ReadAll(z); err != nil || status != 200 || !bytes.Equal(text, plain) || h.Get("Content-Encoding") != "gzip" || h.Get("ETag") == tag {
			t.Errorf("%s compressed: %d, %v, %d bytes of %d: %v", path, status, h, len(text), len(plain), err)
		}
		status, text, h := f.raw("GET", path, "", "Authorization", "", "Accept-Encoding", "identity", "If-None-Match", `"other", `+tag)
		if status != 304 || len(text) > 0 || h.Get("ETag") != tag {
			t.Errorf("%s known: %d, %v, %.100s", path, status, h, text)
		}
		if status, text, _ = f.raw("GET", path, "", "Authorization", "", "If-None-Match", tag, "Accept-Encoding", "gzip"); status != 200 {
			t.Errorf("%s known in another form: %d, %.100s", path, status, text)
		}
	}
}

func TestAcceptsGzip(t *testing.T) {
	for _, tt := range []struct {
		field string
		want  bool
	}{
		{"", false},
		{"gzip", true},
		{"deflate, GZIP;q=1.0, *;q=0.5", true},
		{"gzip;q=0", false},
		{"gzip; q=0.000", false},
		{"gzip;q=0.001", true},
		{"*", true},
		{"*;q=0", false},
		{"gzip;q=0, *", false},
		{"*, gzip;q=0", false},
		{"br", false},
		{"x-gzipped", false},
	} {
		if got := acceptsGzip([]byte(tt.field)); got != tt.want {
			t.Errorf("%q: %v", tt.field, got)
		}
	}
}
