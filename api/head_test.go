package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestRefusedChunkAfterAnothersHEAD: whether an answer has a body depends on its own request, not
// on what another connection asked last.
func TestRefusedChunkAfterAnothersHEAD(t *testing.T) {
	f := newFixture(t, "auto")
	bad, badReader := f.dial()
	fmt.Fprint(bad, "POST /broker/topics/t/produce HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dev\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	other, otherReader := f.dial()
	fmt.Fprint(other, "HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n")
	answer(t, otherReader, "HEAD")
	fmt.Fprint(bad, "zz\r\n")
	if status, body := answer(t, badReader, "POST"); status != 400 || !strings.Contains(body, "bad_chunk") {
		t.Fatal(status, body)
	}
}

// TestHEADIsGETWithoutBody compares the two, field by field, wherever GET works and where it fails.
func TestHEADIsGETWithoutBody(t *testing.T) {
	f := newFixture(t, "auto", func(o *Options) { o.ServerTiming, o.CORSOrigin = false, "https://example.org" })
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
	f.call("POST", "/broker/topics/t/produce", "v")
	paths := []string{"/broker/consume/t/g/0?offset=9", "/broker/topics/none", "/broker/topics?x=1", "/nowhere", "/broker/consume/t/g/x", "/broker/topics/%zz"}
	for _, r := range routes {
		if r.method.String() == "GET" {
			paths = append(paths, strings.NewReplacer("{topic}", "t", "{group}", "g", "{partition}", "0", "{page}", "concepts").Replace(r.path))
		}
	}
	send := func(method, path, version string) (string, int) {
		c, r := f.dial()
		fmt.Fprintf(c, "%s %s HTTP/%s\r\nHost: x\r\nAuthorization: Bearer dev\r\n\r\n", method, path, version)
		lines := strings.Split(readHead(t, r, method), "\r\n")
		lines = slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, "Date: ") })
		return strings.Join(lines, "\n"), r.Buffered()
	}
	for _, path := range paths {
		for _, version := range []string{"1.0", "1.1"} {
			head, body := send("HEAD", path, version)
			if body != 0 {
				t.Errorf("%s: HEAD has a body of %d bytes", path, body)
			}
			get, _ := send("GET", path, version)
			if path == "/metrics" || path == "/admin/timing" { // the second answer tells of the first
				head, get = head[:strings.Index(head, "Content-Length")], get[:strings.Index(get, "Content-Length")]
			}
			if head != get {
				t.Errorf("%s: HEAD\n%s\nGET\n%s", path, head, get)
			}
		}
	}
	for _, path := range []string{"/broker/commit", "/broker/topics/t/produce"} {
		if head, body := send("HEAD", path, "1.1"); !strings.HasPrefix(head, "HTTP/1.1 405 ") || body != 0 {
			t.Errorf("%s: %s", path, head)
		}
	}
}
