package api

import (
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"
)

// The console's files are for everybody, come compressed to those who can read that, and once only.
func TestConsoleFiles(t *testing.T) {
	f := newFixture(t, "auto")
	read := func(method, path, name, value string) (int, string, http.Header) {
		status, body, h := f.raw(method, path, "", name, value)
		return status, string(body), h
	}
	status, page, h := read("GET", "/console", "Authorization", "")
	if status != 200 || !strings.Contains(page, "<title>Ayder console</title>") || h.Get("Content-Type") != "text/html; charset=utf-8" || h.Get("Content-Encoding") != "" {
		t.Fatal(status, h, page)
	}
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "require-trusted-types-for 'script'", "frame-ancestors 'none'"} {
		if !strings.Contains(h.Get("Content-Security-Policy"), want) {
			t.Errorf("the policy lacks %s", want)
		}
	}
	if strings.Contains(h.Get("Content-Security-Policy"), "unsafe") {
		t.Error("the policy allows what is unsafe")
	}
	tag := h.Get("ETag")
	for _, known := range []string{tag, strings.TrimPrefix(tag, "W/"), `"x", ` + tag, "*"} {
		status, body, h := read("GET", "/console", "If-None-Match", known)
		if status != 304 || body != "" || h.Get("ETag") != tag || h.Get("Content-Encoding") != "" {
			t.Errorf("%s: %d %v %q", known, status, h, body)
		}
	}
	for accepted, zips := range map[string]bool{
		"gzip": true, "br;q=1.0, GZIP;q=0.8": true, "*": true, "deflate, gzip;q=0, *": false, "gzip; q=0.000": false, "identity": false, "*;q=0": false, "": false,
	} {
		_, body, h := read("GET", "/console", "Accept-Encoding", accepted)
		if (h.Get("Content-Encoding") == "gzip") != zips {
			t.Errorf("%q: encoding %q", accepted, h.Get("Content-Encoding"))
		}
		if h.Get("Vary") != "Accept-Encoding" || h.Get("Cache-Control") != "no-cache" {
			t.Errorf("%q: %v", accepted, h)
		}
		if zips {
			body = unzip(t, body)
		}
		if body != page {
			t.Errorf("%q: another page", accepted)
		}
	}
	if status, script, h := read("GET", "/console/app.js", "Accept", "*/*"); status != 200 || !strings.HasPrefix(h.Get("Content-Type"), "text/javascript") || !strings.Contains(script, "import") {
		t.Error(status, h)
	}
	for _, path := range []string{"/console/none.js", "/console/..%2Fconsole.go", "/console/", "/console/assets/app.js", "/console/%ff"} {
		if status, body, _ := read("GET", path, "Accept", "*/*"); status != 404 || !strings.Contains(body, "not_found") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if status, _, _ := read("POST", "/console", "Accept", "*/*"); status != 405 {
		t.Errorf("POST: %d", status)
	}
}

func unzip(t *testing.T, body string) string {
	t.Helper()
	r, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}
