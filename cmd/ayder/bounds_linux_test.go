package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"ayder/internal/testkit/proc"
)

// Clients that are slow, many, greedy or rude. Each test states how much memory the server may hold
// while they are there, prints what it held, and has another client served all the while.

const mib = 1 << 20

// memory prints what the server holds and fails beyond the bound, which is in bytes of peak RSS.
func memory(t *testing.T, s *proc.Server, when string, bound int64) proc.Usage {
	t.Helper()
	u, err := proc.UsageOf(s.Pid())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %s (bound %d MiB)", when, u, bound/mib)
	// The race detector's shadow of the memory is several times what it shadows.
	if u.RSSPeak > bound && !strings.Contains(os.Getenv("AYDER_BUILD_FLAGS"), "-race") {
		t.Errorf("%s: the server held %s, more than %d MiB", when, u, bound/mib)
	}
	return u
}

// bystander is a client that must be served while others misbehave. Stop it to learn how often it was.
func bystander(t *testing.T, s *proc.Server) (stop func()) {
	t.Helper()
	c := s.Connect(t)
	end, served := make(chan struct{}), make(chan int)
	var fault error
	go func() {
		n := 0
		defer func() { served <- n }()
		for {
			if _, fault = c.Produce("bystander", 0, counted(n, 100)); fault != nil {
				return
			}
			n++
			select {
			case <-end:
				return
			default:
			}
		}
	}()
	return func() {
		close(end)
		n := <-served
		if fault != nil {
			t.Error("another client is not served: ", fault)
		}
		t.Logf("meanwhile another client's %d produces were answered", n)
	}
}

// Readers that ask for the largest pages, many at a time, and never read. A connection may owe one page
// beyond its output limit; everything else waits in the client's own pipeline.
func TestSlowReadersCostABoundedAmount(t *testing.T) {
	const readers, requests, count, size = 8, 200, 64, 400_000
	// The tail, the page being made for each reader (16 MiB, a third more as base64, and as much again while it
	// grows), and what a server holds anyway.
	const bound = 32*mib + readers*2*24*mib + 160*mib
	eachBackend(t, func(t *testing.T, o proc.Options) {
		o.Args = []string{"--tail-bytes", "32MiB"}
		s := proc.Run(t, o)
		c := s.Connect(t)
		for i := range count {
			mustProduce(t, c, "wide", 0, counted(i, size))
		}
		memory(t, s, "before", bound)
		stop := bystander(t, s)
		var slow []*proc.Client
		for range readers {
			r := s.Connect(t)
			var all []byte
			for range requests {
				all = r.AppendRequest(all, "GET", "/broker/consume/wide/g/0?offset=0&limit=1000&max_bytes=16777216&encoding=b64", nil)
			}
			if err := r.Send(all); err != nil {
				t.Fatal(err)
			}
			slow = append(slow, r)
		}
		steady(t, s)
		stop()
		memory(t, s, fmt.Sprintf("with %d readers that ask for %d pages of 16 MiB each and do not read", readers, requests), bound)
		mustReadSlowly(t, slow[0], count)
		mustServe(t, s)
	})
}

// steady waits until the server's memory hardly grows any more; what the bystander stores makes it grow a
// little.
func steady(t *testing.T, s *proc.Server) {
	t.Helper()
	last := proc.Usage{}
	for range 100 {
		u, err := proc.UsageOf(s.Pid())
		if err != nil {
			t.Fatal(err)
		}
		if u.RSSPeak-last.RSSPeak < 4*mib {
			return
		}
		last = u
		time.Sleep(300 * time.Millisecond)
	}
}

// mustReadSlowly shows that a reader that wakes up gets its answers after all, whole.
func mustReadSlowly(t *testing.T, c *proc.Client, count int) {
	t.Helper()
	for range 3 {
		r, err := c.Receive("GET")
		if err != nil || r.Status != 200 {
			t.Fatalf("%s, %v", r.String(), err)
		}
		var p proc.Page
		if err := r.JSON(&p); err != nil || p.Count == 0 || p.Count > count {
			t.Fatalf("a page of %d messages, %v", p.Count, err)
		}
	}
}

// Ten thousand connections that say nothing. They are made in this process, so that it needs as many
// descriptors as the server.
func TestTenThousandIdleConnections(t *testing.T) {
	const wanted, bound, each = 10_000, 400 * mib, 8 << 10
	files, err := proc.RaiseFiles(2*wanted + 5_000)
	if err != nil {
		t.Fatal(err)
	}
	count := min(wanted, int(files)-500)
	t.Logf("%d connections (%d files may be open)", count, files)
	eachBackend(t, func(t *testing.T, o proc.Options) {
		s := proc.Run(t, o)
		mustServe(t, s)
		before := memory(t, s, "before", bound)
		stop := bystander(t, s)
		conns := connectMany(t, s, count)
		after := memory(t, s, "with the connections", bound)
		t.Logf("%.0f bytes a connection", float64(after.RSS-before.RSS)/float64(count))
		if got := after.RSS - before.RSS; got > int64(count)*each+32*mib {
			t.Errorf("%d connections cost %d bytes", count, got)
		}
		for i := 0; i < len(conns); i += 97 {
			if r, err := conns[i].Get("/health"); err != nil || r.Status != 200 {
				t.Fatalf("connection %d: %s, %v", i, r.String(), err)
			}
		}
		stop()
		memory(t, s, "after some of them spoke", bound)
		for _, c := range conns {
			c.Close()
		}
		mustServe(t, s)
	})
}

// connectMany opens connections that have each made one request, as a client that keeps them for later.
func connectMany(t *testing.T, s *proc.Server, count int) []*proc.Client {
	t.Helper()
	conns := make([]*proc.Client, count)
	var running sync.WaitGroup
	for w := range 8 {
		running.Go(func() {
			for i := w; i < count; i += 8 {
				c, err := proc.Dial(s.Addr)
				if err != nil {
					t.Errorf("connection %d: %v", i, err)
					return
				}
				conns[i] = c
				if i%2 == 0 {
					if r, err := c.Get("/health"); err != nil || r.Status != 200 {
						t.Errorf("connection %d: %s, %v", i, r.String(), err)
						return
					}
				}
			}
		})
	}
	running.Wait()
	t.Cleanup(func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	return conns
}

// A body that is far too long is refused when its head, or the chunk that makes it too long, is there;
// not after a gigabyte.
func TestGigabyteUploadIsRefusedEarly(t *testing.T) {
	const bound, acceptedMax = 300 * mib, 64 * mib
	for what, head := range map[string]string{
		"with its length":         "Content-Length: 1073741824\r\n\r\n",
		"in chunks":               "Transfer-Encoding: chunked\r\n\r\n",
		"with its length, asking": "Content-Length: 1073741824\r\nExpect: 100-continue\r\n\r\n",
	} {
		t.Run(what, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, o proc.Options) {
				s := proc.Run(t, o)
				mustServe(t, s)
				stop := bystander(t, s)
				for range 4 {
					accepted, status := upload(t, s, head)
					t.Logf("%d bytes were taken before the answer %d", accepted, status)
					if status != 413 || accepted > acceptedMax {
						t.Errorf("answer %d after %d bytes", status, accepted)
					}
				}
				stop()
				memory(t, s, "after four uploads", bound)
				mustFindNothing(t, s.Connect(t), "giga")
			})
		})
	}
}

// upload sends lines until the server answers or breaks off, and returns how many bytes it took.
func upload(t *testing.T, s *proc.Server, head string) (accepted int64, status int) {
	t.Helper()
	c := s.Connect(t)
	defer c.Close()
	if err := c.Send([]byte("POST /broker/topics/giga/produce-ndjson?partition=0 HTTP/1.1\r\n" + c.Header + head)); err != nil {
		t.Fatal(err)
	}
	piece := bytes.Repeat([]byte(`"`+strings.Repeat("x", 1021)+`"`+"\n"), 64)
	if strings.Contains(head, "chunked") {
		piece = append(fmt.Appendf(nil, "%x\r\n", len(piece)), append(piece, '\r', '\n')...)
	}
	answered := make(chan proc.Response, 1)
	go func() {
		r, err := c.Receive("POST")
		if err != nil {
			t.Logf("no answer: %v", err)
		}
		answered <- r
	}()
	c.Timeout = 5 * time.Second // a server may also stop reading; then the answer is there already
	for accepted < 1<<30 {
		select {
		case r := <-answered:
			return accepted, r.Status
		default:
		}
		if c.Send(piece) != nil {
			break
		}
		accepted += int64(len(piece))
	}
	return accepted, (<-answered).Status
}

// Heads that begin and never end are answered 408, all of them, and nobody waits for them.
func TestThreeHundredHalfOpenHeads(t *testing.T) {
	const count, bound = 300, 300 * mib
	eachBackendAtOnce(t, func(t *testing.T, o proc.Options) {
		o.Args = []string{"--head-timeout", "1s"}
		s := proc.Run(t, o)
		mustServe(t, s)
		stop := bystander(t, s)
		var half []*proc.Client
		for i := range count {
			c := s.Connect(t)
			head := "GET /health HTTP/1.1\r\n" + c.Header + "X-Long: " + strings.Repeat("x", 100*(i%300))
			if err := c.Send([]byte(head[:1+i*(len(head)-1)/count])); err != nil {
				t.Fatal(err)
			}
			half = append(half, c)
		}
		for i, c := range half {
			r, err := c.Receive("GET")
			if err != nil || r.Status != 408 || r.Header.Get("Connection") != "close" {
				t.Fatalf("head %d: %s, %v", i, r.String(), err)
			}
			if _, err := c.Receive("GET"); !errors.Is(err, io.EOF) {
				t.Fatalf("head %d: the connection is not closed: %v", i, err)
			}
		}
		stop()
		memory(t, s, "after 300 half-open heads", bound)
		mustServe(t, s)
	})
}

// A connection that has said nothing at all ends without an answer: there is no request to answer.
func TestSilentConnectionsAreClosed(t *testing.T) {
	eachBackendAtOnce(t, func(t *testing.T, o proc.Options) {
		o.Args = []string{"--idle-timeout", "1s", "--head-timeout", "1s"}
		s := proc.Run(t, o)
		silent, served := s.Connect(t), s.Connect(t)
		if r, err := served.Get("/health"); err != nil || r.Status != 200 {
			t.Fatal(r.String(), err)
		}
		for _, c := range []*proc.Client{silent, served} {
			if r, err := c.Receive("GET"); !errors.Is(err, io.EOF) {
				t.Errorf("%s, %v; want the end of the connection", r.String(), err)
			}
		}
	})
}

// Connections that are reset in the middle of a body leave nothing behind: no message, no memory.
func TestResetsInTheMiddle(t *testing.T) {
	const count, bound = 400, 300 * mib
	eachBackend(t, func(t *testing.T, o proc.Options) {
		s := proc.Run(t, o)
		mustServe(t, s)
		stop := bystander(t, s)
		for i := range count {
			c := s.Connect(t)
			request := c.AppendRequest(nil, "POST", "/broker/topics/reset/produce?partition=0", counted(i, 200_000))
			if err := c.Send(request[:1+i*(len(request)-2)/count]); err != nil {
				t.Fatal(err)
			}
			if err := c.Conn.SetLinger(0); err != nil {
				t.Fatal(err)
			}
			c.Close()
		}
		stop()
		memory(t, s, "after 400 resets", bound)
		mustFindNothing(t, s.Connect(t), "reset")
		mustServe(t, s)
	})
}

// Beyond the limit of connections the server stays well: those it has are served, and when one ends
// another gets its place.
func TestConnectionLimit(t *testing.T) {
	eachBackend(t, func(t *testing.T, o proc.Options) {
		const limit = 20
		o.Args = []string{"--conns", fmt.Sprint(limit)}
		s := proc.Run(t, o)
		var kept []*proc.Client
		for range 2 * limit {
			c := s.Connect(t)
			c.Timeout = 5 * time.Second // of those beyond the limit, which may be refused or kept waiting
			if r, err := c.Get("/health"); err == nil && r.Status == 200 {
				kept = append(kept, c)
				continue
			}
			c.Close()
			break
		}
		t.Logf("%d connections of %d are served", len(kept), limit)
		if len(kept) == 0 || len(kept) > limit {
			t.Errorf("%d connections are served, the limit is %d", len(kept), limit)
		}
		for _, c := range kept {
			if r, err := c.Get("/health"); err != nil || r.Status != 200 {
				t.Fatal(r.String(), err)
			}
			c.Close()
		}
		mustServeSoon(t, s)
	})
}

// mustServeSoon waits until a new connection is served: the server may not have seen yet that others ended.
func mustServeSoon(t *testing.T, s *proc.Server) {
	t.Helper()
	for began := time.Now(); ; {
		c := s.Connect(t)
		c.Timeout = 5 * time.Second
		r, err := c.Get("/health")
		c.Close()
		if err == nil && r.Status == 200 {
			break
		}
		if time.Since(began) > proc.HangGuard {
			t.Fatalf("nobody is served any more: %v", err)
		}
	}
	mustServe(t, s)
}

// A server that runs out of descriptors must not spin and must recover.
func TestOutOfDescriptors(t *testing.T) {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("no /proc here: ", err)
	}
	eachBackend(t, func(t *testing.T, o proc.Options) {
		o.Wrap = []string{"sh", "-c", `ulimit -n 400 && exec "$@"`, "sh"}
		s := proc.Run(t, o)
		first := s.Connect(t)
		mustProduce(t, first, "few", 0, []byte("x"))
		var many []*proc.Client
		for range 800 {
			c, err := proc.Dial(s.Addr)
			if err != nil {
				break
			}
			many = append(many, c)
		}
		if r, err := first.Get("/health"); err != nil || r.Status != 200 {
			t.Fatalf("%s, %v", r.String(), err)
		}
		for _, c := range many {
			c.Close()
		}
		mustServeSoon(t, s)
	})
}
