package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"ayder/internal/testkit/proc"
)

// TestTenThousandWait has ten thousand connections first idle, then waiting for a message, each in a long-poll or a stream, and
// looks at what the waiting costs. Then all of them get the message.
func TestTenThousandWait(t *testing.T) {
	eachBackend(t, func(t *testing.T, o proc.Options) {
		count := waitersPossible(t)
		s := proc.Run(t, o)
		k := s.Connect(t)
		if err := k.CreateTopic("live", 1); err != nil {
			t.Fatal(err)
		}
		conns := make([]*liveConn, count)
		for i := range conns {
			c, err := net.Dial("tcp", s.Addr)
			if err != nil {
				t.Fatalf("connection %d: %v", i, err)
			}
			defer c.Close()
			conns[i] = &liveConn{c, bufio.NewReaderSize(c, 512)}
			askAndAwait(t, conns[i], "GET /health HTTP/1.1\r\n"+k.Header+"\r\n", `{"ok":true}`)
		}
		idle := memoryOf(t, s)
		for i, c := range conns {
			wait := [2]string{"?wait_ms=30000 HTTP/1.1\r\n", " HTTP/1.1\r\nAccept: text/event-stream\r\n"}[i%2]
			if _, err := fmt.Fprint(c, "GET "+livePath+wait+k.Header+"\r\n"); err != nil {
				t.Fatal(err)
			}
			if i%2 == 1 {
				await(t, c, "retry: 1000")
			}
		}
		waiting := memoryOf(t, s) // all streams are open; of the long-polls nearly all wait
		mustProduce(t, k, "live", 0, []byte("for all"))
		var running sync.WaitGroup
		for w := range 4 {
			running.Go(func() {
				for i := w; i < len(conns); i += 4 {
					awaitMessage(t, conns[i], k.Header)
				}
			})
		}
		running.Wait()
		each := (waiting - idle) / int64(count)
		t.Logf("%d connections: %d KiB idle, %d KiB waiting: %d bytes each", count, idle>>10, waiting>>10, each)
		if each > 2<<10 { // of a heap whose collector is in no hurry
			t.Errorf("waiting costs %d bytes each", each)
		}
	})
}

type liveConn struct {
	net.Conn
	r *bufio.Reader
}

func askAndAwait(t *testing.T, c *liveConn, request, answer string) {
	t.Helper()
	if _, err := fmt.Fprint(c, request); err != nil {
		t.Fatal(err)
	}
	await(t, c, answer)
}

// await reads until text has come.
func await(t *testing.T, c *liveConn, text string) {
	t.Helper()
	var all strings.Builder
	for !strings.Contains(all.String(), text) {
		b, err := c.r.ReadByte()
		if err != nil {
			t.Errorf("instead of %s: %q %v", text, all.String(), err)
			return
		}
		all.WriteByte(b)
	}
}

// awaitMessage reads until the message has come; a page that is empty because the time was up is asked for again.
func awaitMessage(t *testing.T, c *liveConn, header string) {
	t.Helper()
	var all strings.Builder
	for {
		b, err := c.r.ReadByte()
		if err != nil {
			t.Errorf("%q %v", all.String(), err)
			return
		}
		all.WriteByte(b)
		switch text := all.String(); {
		case strings.HasSuffix(text, `"value":"for all"`):
			return
		case strings.HasSuffix(text, `"truncated":false}`):
			if _, err := fmt.Fprint(c, "GET "+livePath+" HTTP/1.1\r\n"+header+"\r\n"); err != nil {
				t.Error(err)
				return
			}
		}
	}
}

// waitersPossible is ten thousand, or what the limit of open files leaves: the server has the same.
func waitersPossible(t *testing.T) int {
	t.Helper()
	files, err := proc.RaiseFiles(25_000)
	if err != nil {
		t.Fatal(err)
	}
	return min(10_000, int(files)*3/4-500)
}

// memoryOf is what the server holds.
func memoryOf(t *testing.T, s *proc.Server) int64 {
	t.Helper()
	u, err := proc.UsageOf(s.Pid())
	if err != nil {
		t.Fatal(err)
	}
	return u.RSS
}
