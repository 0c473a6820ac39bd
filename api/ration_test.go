package api

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"ayder/internal/auth"
)

func TestRateLimits(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		tokens, err := auth.Parse("dev:slow@read+write+admin;rate=1/s;burst=3:small@write;bytes=1000/s")
		if err != nil {
			t.Fatal(err)
		}
		f := newFixture(t, backend, func(o *Options) { o.DefaultPartitions, o.Tokens = 1, auth.NewHolder(tokens) })
		send := func(token, body string, n int) (accepted, refused int) {
			c, r := f.dial()
			for range n { // pipelined: so many within a second on any machine, were they let in
				fmt.Fprintf(c, "POST /broker/topics/t/produce HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", token, len(body), body)
			}
			for range n {
				head := readHead(t, r, "POST")
				switch {
				case strings.HasPrefix(head, "HTTP/1.1 200 "):
					accepted++
				case strings.HasPrefix(head, "HTTP/1.1 429 "):
					refused++
					_, after, ok := strings.Cut(head, "Retry-After: ")
					seconds, err := strconv.Atoi(strings.SplitN(after, "\r\n", 2)[0])
					if !ok || err != nil || seconds < 1 || seconds > 2 {
						t.Fatalf("Retry-After %d %v:\n%s", seconds, err, head)
					}
				default:
					t.Fatal(head)
				}
			}
			return accepted, refused
		}
		if accepted, refused := send("slow", "v", 200); accepted < 3 || refused == 0 {
			t.Errorf("at 1/s and a burst of 3: %d let in, %d refused", accepted, refused)
		}
		if accepted, refused := send("small", strings.Repeat("v", 400), 200); accepted < 3 || refused == 0 {
			t.Errorf("at 1000 bytes/s: %d let in, %d refused", accepted, refused)
		}
		if accepted, _ := send("dev", "v", 200); accepted != 200 {
			t.Errorf("without a limit %d of 200 are let in", accepted)
		}
		status, text, _ := f.raw("GET", "/metrics", "")
		if status != 200 || !strings.Contains(string(text), "rate_limited_total") || strings.Contains(string(text), "rate_limited_total 0\n") {
			t.Error("what was refused is not counted")
		}
		again, err := auth.Parse("slow@read+write+admin;rate=1/s;burst=3")
		if err != nil {
			t.Fatal(err)
		}
		send("slow", "v", 200)
		f.server.options.Tokens.Swap(again)
		if _, refused := send("slow", "v", 200); refused == 0 {
			t.Error("a reload has filled the bucket")
		}
	})
}

// TestARequestIsRationedOnce: not again by the loop it goes to, nor when the topic that it lacked is there.
func TestARequestIsRationedOnce(t *testing.T) {
	tokens, err := auth.Parse("dev@read+write+admin;rate=1/s;burst=86400")
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, readsOn(t), func(o *Options) { o.Loops, o.Tokens = 3, auth.NewHolder(tokens) })
	for i := range 40 {
		if status, m := f.call("POST", fmt.Sprintf("/broker/topics/t%d/produce?partition=%d", i, i%8), "v"); status != 200 {
			t.Fatal(status, m)
		}
	}
	scope, err := f.server.options.Tokens.Load().Check([]byte("Bearer dev"))
	if err != nil {
		t.Fatal(err)
	}
	left := 0
	for scope.Limit().Take(now(), 0) == 0 {
		left++
	}
	if left < 86400-40 {
		t.Errorf("40 requests used up %d", 86400-left)
	}
}
