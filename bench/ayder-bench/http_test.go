package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// collector is a sink that writes down what it is told.
type collector struct {
	failures []string // of every answer, "" for a good one
	answers  []string // sent back
}

func (k *collector) answered(_ shot, failure string) { k.failures = append(k.failures, failure) }
func (k *collector) aside(_ *conn, answer []byte)    { k.answers = append(k.answers, string(answer)) }

// feed gives input to a connection with outstanding requests, in pieces, as the
// loop would: kept input and new input joined, need respected.
func feed(t *testing.T, d dialect, outstanding int, pieces ...string) (*collector, error) {
	t.Helper()
	c := newConn(0, max(outstanding, 1))
	for range outstanding {
		c.push(shot{})
	}
	k := &collector{}
	for _, piece := range pieces {
		c.in = append(c.in, piece...)
		if len(c.in) < c.need {
			continue
		}
		used, err := c.consume(c.in, d, k)
		c.keep(c.in[used:])
		if err != nil {
			return k, err
		}
	}
	if len(c.in) > 0 {
		t.Errorf("%q is left over", c.in)
	}
	return k, nil
}

// everySplit feeds text whole, byte by byte, and cut in two at every place; the
// findings must be the same each time.
func everySplit(t *testing.T, d dialect, text string, want []string) {
	t.Helper()
	cuts := [][]string{{text}, strings.Split(text, "")}
	for i := 1; i < len(text); i++ {
		cuts = append(cuts, []string{text[:i], text[i:]})
	}
	for _, pieces := range cuts {
		k, err := feed(t, d, len(want), pieces...)
		if err != nil {
			t.Fatalf("cut at %d: %v", len(pieces[0]), err)
		}
		if got := fmt.Sprintf("%q", k.failures); got != fmt.Sprintf("%q", want) {
			t.Fatalf("cut at %d: answers %s, want %q", len(pieces[0]), got, want)
		}
	}
}

func plainHTTP(expect string) *httpDialect {
	return &httpDialect{
		ops:   []httpOperation{{operation: operation{"x", 1}, expect: []byte(expect), templates: []template{{at: -1}}}},
		order: []int{0},
	}
}

func TestHTTPAnswersCutAnywhere(t *testing.T) {
	text := "HTTP/1.1 200 OK\r\nContent-Length: 11\r\nServer-Timing: commit;dur=0.1\r\n\r\n{\"ok\":true}" +
		"HTTP/1.1 503 Overloaded\r\nRetry-After: 1\r\ncontent-length:  12 \r\n\r\n{\"ok\":false}" +
		"HTTP/1.1 100 Continue\r\n\r\n" +
		"HTTP/1.1 204 No Content\r\n\r\n" +
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nCONTENT-LENGTH: 0\r\n\r\n"
	everySplit(t, plainHTTP(""), text, []string{"", "503", "", ""})
}

func TestHTTPExpectedText(t *testing.T) {
	text := "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"synced\":true}" +
		"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"synced\":false}" +
		"HTTP/1.1 200 OK\r\nX: \"synced\":true\r\nContent-Length: 2\r\n\r\n{}"
	everySplit(t, plainHTTP(`"synced":true`), text, []string{"", "unexpected body", "unexpected body"})
}

func TestHTTPBroken(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want error
	}{
		"not http":       {"SSH-2.0-OpenSSH\r\n\r\n", errNotHTTP},
		"short":          {"HTTP/1.1\r\n\r\n", errNotHTTP},
		"no status":      {"HTTP/1.1 abc OK\r\n\r\n", errNotHTTP},
		"low status":     {"HTTP/1.1 099 OK\r\n\r\n", errNotHTTP},
		"chunked":        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", errNoLength},
		"length is word": {"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n", errBadLength},
		"negative":       {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", errBadLength},
		"no number":      {"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", errBadLength},
		"huge":           {"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n", errTooLarge},
	} {
		if _, err := feed(t, plainHTTP(""), 1, test.text); !errors.Is(err, test.want) {
			t.Errorf("%s: error %v, want %v", name, err, test.want)
		}
	}
}

func TestAnswerNobodyAskedFor(t *testing.T) {
	if _, err := feed(t, plainHTTP(""), 0, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err == nil {
		t.Error("a stray answer was taken")
	}
}

func TestStatusNames(t *testing.T) {
	if statusName(503) != "503" || statusName(-1) == "" || statusName(1000) == "" {
		t.Error("a status has no name")
	}
}

// TestReplyAllocates pins the promise of dialect: nothing per request.
func TestReplyAllocates(t *testing.T) {
	text := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"synced\":true}")
	d := plainHTTP(`"synced":true`)
	if n := testing.AllocsPerRun(100, func() {
		if r, err := d.reply(text, 0); err != nil || r.used != len(text) {
			t.Fatal(r, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per answer", n)
	}
}

func FuzzHTTPReply(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) { fuzzReply(t, plainHTTP("x"), text) })
}

// fuzzReply checks what every dialect owes the loop: it never takes more than
// there is, never nothing and something at once, and sees the same in a longer
// buffer.
func fuzzReply(t *testing.T, d dialect, text []byte) {
	t.Helper()
	r, err := d.reply(text, 0)
	if err != nil {
		return
	}
	if r.used < 0 || r.used > len(text) {
		t.Fatalf("took %d of %d bytes", r.used, len(text))
	}
	if r.used == 0 && (r.aside || r.failure != "" || r.need != 0 && r.need <= len(text)) {
		t.Fatalf("nothing taken, and yet %+v", r)
	}
	if r.used > 0 {
		again, err := d.reply(append(bytes.Clone(text), "trailing"...), 0)
		if err != nil || again.used != r.used || again.failure != r.failure {
			t.Fatalf("%+v becomes %+v (%v) when more input follows", r, again, err)
		}
	}
}
