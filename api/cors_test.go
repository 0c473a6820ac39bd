package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestCORSWithSeveralOrigins(t *testing.T) {
	f := newFixture(t, "auto", func(o *Options) { o.CORSOrigin = "https://a.example, http://localhost:3000,https://b.example:8443" })
	check := func(what string, h http.Header, origin string) {
		t.Helper()
		if h.Get("Access-Control-Allow-Origin") != origin || !slices.Equal(h["Vary"], []string{"Origin"}) {
			t.Errorf("%s: %v", what, h)
		}
		if exposed := h.Get("Access-Control-Expose-Headers"); (exposed != "") != (origin != "") || origin != "" && !strings.Contains(exposed, "ETag") {
			t.Errorf("%s: exposes %q", what, exposed)
		}
		if h["Access-Control-Allow-Credentials"] != nil {
			t.Errorf("%s: credentials", what)
		}
	}
	for _, origin := range []string{"https://a.example", "http://localhost:3000", "https://b.example:8443", "https://c.example", "https://a.example.evil", "HTTPS://a.example", "null", ""} {
		allowed := origin
		if !strings.Contains("https://a.example http://localhost:3000 https://b.example:8443", origin) || origin == "HTTPS://a.example" {
			allowed = ""
		}
		_, _, h := f.raw("GET", "/health", "", "Origin", origin)
		check("GET from "+origin, h, allowed)
		_, _, h = f.raw("GET", "/metrics", "", "Origin", origin, "Authorization", "")
		check("refused GET from "+origin, h, allowed)
		_, _, h = f.raw("POST", "/broker/topics/t/produce", "v", "Origin", origin)
		check("produce from "+origin, h, allowed)
		_, _, h = f.raw("OPTIONS", "/broker/topics/t/produce", "", "Origin", origin, "Access-Control-Request-Method", "POST")
		check("preflight from "+origin, h, allowed)
		if got := h.Get("Access-Control-Allow-Methods"); (got != "") != (allowed != "") {
			t.Errorf("preflight from %q: methods %q", origin, got)
		}
	}
}

func TestPreflightNamesWhatMayBeSent(t *testing.T) {
	f := newFixture(t, "auto", func(o *Options) { o.CORSOrigin = "*" })
	asked := "authorization,content-type, x-ayder-h-trace-id ,X-Ayder-H-B,x-ayder-h-,x-other,cookie,last-event-id"
	_, _, h := f.raw("OPTIONS", "/broker/topics/t/produce", "", "Origin", "https://x", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", asked)
	want := "Accept, Authorization, Content-Encoding, Content-Type, If-None-Match, Last-Event-ID, x-ayder-h-trace-id, X-Ayder-H-B"
	if got := h.Get("Access-Control-Allow-Headers"); got != want {
		t.Errorf("allowed headers %q, want %q", got, want)
	}
	c, r := f.dial() // a name that is none does not get into the answer
	fmt.Fprint(c, "OPTIONS /health HTTP/1.1\r\nHost: x\r\nOrigin: https://x\r\nAccess-Control-Request-Headers: x-ayder-h-a b, x-ayder-h-\"q\", x-ayder-h-c:d\r\n\r\n")
	if head := readHead(t, r, "OPTIONS"); strings.Contains(strings.ToLower(head), "x-ayder-h") {
		t.Error(head)
	}
}
