package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ayder/internal/testkit/proc"
)

// What broke the first program that had this interface, one test each.

func TestTenThousandConnectionsOpenedAndClosed(t *testing.T) {
	eachBackend(t, func(t *testing.T, o proc.Options) {
		const connections, workers = 10_000, 8
		s := proc.Run(t, o)
		var done, failed atomic.Int64
		var running sync.WaitGroup
		for w := range workers {
			running.Go(func() {
				for i := w; i < connections; i += workers {
					if err := openAndClose(s.Addr, i); err != nil {
						failed.Add(1)
						t.Logf("connection %d: %v", i, err)
						return
					}
					done.Add(1)
				}
			})
		}
		running.Wait()
		if failed.Load() > 0 || done.Load() != connections {
			t.Errorf("%d of %d connections were served", done.Load(), connections)
		}
		mustServe(t, s)
	})
}

// openAndClose uses a connection in one of the ways that clients have: not at all, half a request,
// a request whose answer is not read, a whole exchange; closed with FIN or with RST.
func openAndClose(addr string, number int) error {
	c, err := proc.Dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if number%8 >= 4 {
		err = c.Conn.SetLinger(0)
	}
	switch number % 4 {
	case 1:
		err = errors.Join(err, c.Send([]byte("POST /broker/topics/x/produce HTTP/1.1\r\nHost: x\r\nContent-Le")))
	case 2:
		err = errors.Join(err, c.Send(c.AppendRequest(nil, "GET", "/health", nil)))
	case 3:
		var r proc.Response
		if r, err = c.Get("/health"); err == nil && r.Status != 200 {
			err = errors.New(r.String())
		}
	}
	return err
}

// A body may come in any pieces: the sizes that once broke, every split near the edges of buffers, and
// with pauses, so that the pieces are really read apart.
func TestBodyInManySegments(t *testing.T) {
	eachBackend(t, func(t *testing.T, o proc.Options) {
		s := proc.Run(t, o)
		c := s.Connect(t)
		for i, sizes := range segmentations() {
			total := 0
			for _, n := range sizes {
				total += n
			}
			body := counted(i, max(total, 20))
			request := c.AppendRequest(nil, "POST", "/broker/topics/cut/produce?partition=0", body)
			head := len(request) - len(body)
			sendCut(t, c, request, append([]int{head}, sizes...))
			r, err := c.Receive("POST")
			if err != nil || r.Status != 200 {
				t.Fatalf("body in %v: %s, %v", sizes, r.String(), err)
			}
			mustFind(t, c, "cut", 0, uint64(i), body)
		}
		t.Logf("%d ways to cut", len(segmentations()))
	})
}

func segmentations() [][]int {
	all := [][]int{
		{9_000, 11_000},
		{11_000, 9_000},
		{1, 19_999},
		{19_999, 1},
		{10_000, 1, 9_999},
		{9_000, 9_000, 2_000},
		{3_000, 3_000, 3_000, 3_000, 3_000, 3_000},
		{65_536, 65_536},
		{1, 1, 1, 1, 16_384},
		{500_000, 500_000},
		{1_000_000, 1},
	}
	for _, edge := range []int{4_096, 8_192, 16_384, 32_768, 65_536, 131_072} {
		for d := -2; d <= 2; d++ {
			all = append(all, []int{edge + d, 1_000}, []int{1_000, edge + d})
		}
	}
	return all
}

// sendCut writes raw in pieces of the given sizes, the rest as the last one, with a pause after each.
func sendCut(t *testing.T, c *proc.Client, raw []byte, sizes []int) {
	t.Helper()
	for _, n := range sizes {
		n = min(n, len(raw))
		if err := c.Send(raw[:n]); err != nil {
			t.Fatal(err)
		}
		raw = raw[n:]
		time.Sleep(3 * time.Millisecond) // long enough to be a segment of its own; if it is not, nothing breaks
	}
	if len(raw) > 0 {
		if err := c.Send(raw); err != nil {
			t.Fatal(err)
		}
	}
}

// Every split of a small request in two, at every byte.
func TestRequestSplitAtEveryByte(t *testing.T) {
	eachBackend(t, func(t *testing.T, o proc.Options) {
		s := proc.Run(t, o)
		c := s.Connect(t)
		mustProduce(t, c, "split", 0, []byte("x"))
		body := []byte("split me")
		request := c.AppendRequest(nil, "POST", "/broker/topics/split/produce?partition=0", body)
		for at := 1; at < len(request); at++ {
			sendCut(t, c, request, []int{at})
			r, err := c.Receive("POST")
			if err != nil || r.Status != 200 {
				t.Fatalf("split at byte %d: %s, %v", at, r.String(), err)
			}
		}
		mustFind(t, c, "split", 0, uint64(len(request)-1), body)
	})
}

func TestDeeplyNestedJSON(t *testing.T) {
	const depth = 60_000
	array := strings.Repeat("[", depth) + strings.Repeat("]", depth)
	object := strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth)
	eachBackend(t, func(t *testing.T, o proc.Options) {
		s := proc.Run(t, o)
		c := s.Connect(t)
		for _, body := range []string{array, object, array[:depth], object[:depth*5]} {
			for _, target := range []string{
				"/broker/topics", "/broker/commit", "/broker/topics/deep/produce-ndjson?partition=0",
				"/broker/topics/deep/produce-ndjson?partition=0&envelope=1",
			} {
				r, err := c.Post(target, []byte(body))
				if err != nil {
					t.Fatalf("%s with %.10s…: %v\n%s", target, body, err, s.Log())
				}
				if r.Status != 400 && r.Status != 413 {
					t.Errorf("%s with %.10s…: %s", target, body, r.String())
				}
				if r.Header.Get("Connection") == "close" {
					c = s.Connect(t)
				}
			}
			mustServe(t, s)
		}
		mustFindNothing(t, c, "deep")
	})
}

// mustFindNothing shows that nothing was appended to a topic that need not exist.
func mustFindNothing(t *testing.T, c *proc.Client, topic string) {
	t.Helper()
	r, err := c.Get("/broker/consume/" + topic + "/g/0?offset=0")
	if err != nil || r.Status != 404 && !strings.Contains(string(r.Body), `"count":0`) {
		t.Errorf("something was appended: %s, %v", r.String(), err)
	}
}

func TestAHundredThousandLines(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, o proc.Options) {
		const lines = 100_000
		s := proc.Run(t, o)
		c := s.Connect(t)
		var body []byte
		for i := range lines {
			body = fmt.Appendf(body, "{\"line\":%d}\n", i)
		}
		a, err := c.ProduceLines("lines", 0, body)
		if err != nil || a.Count != lines || a.First != 0 {
			t.Fatalf("%+v, %v", a, err)
		}
		mustKill(t, s)
		c = s.Again(t).Connect(t)
		mustReadLines(t, c, lines)
		// One bad line in the middle: nothing of it all.
		bad := bytes.Replace(body, []byte(`{"line":50000}`), []byte(`{"line":50000`), 1)
		r, err := c.Post("/broker/topics/lines/produce-ndjson?partition=0", bad)
		if err != nil || r.Status != 400 || !strings.Contains(string(r.Body), "line 50001") {
			t.Errorf("%s, %v", r.String(), err)
		}
		mustReadLines(t, c, lines)
	})
}

func mustReadLines(t *testing.T, c *proc.Client, lines int) {
	t.Helper()
	next := 0
	end, err := c.Each("lines", 0, 0, func(m *proc.Message) error {
		if want := fmt.Sprintf(`{"line":%d}`, next); string(m.ValueB64) != want {
			return fmt.Errorf("offset %d holds %q, want %s", m.Offset, m.ValueB64, want)
		}
		next++
		return nil
	})
	if err != nil || int(end) != lines {
		t.Fatalf("read up to %d of %d: %v", end, lines, err)
	}
}

// A page may be larger than any buffer on the way: the loop's scratch, a connection's output, a segment's
// read-ahead.
func TestPagesLargerThanAnyBuffer(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, o proc.Options) {
		const count, size = 20, 1_000_000
		o.Args = []string{"--tail-bytes", "1MiB"} // so that after the restart all is read from disk
		s := proc.Run(t, o)
		c := s.Connect(t)
		for i := range count {
			mustProduce(t, c, "large", 0, counted(i, size))
		}
		mustReadPages(t, c, count, size)
		largest := bytes.Repeat([]byte{0xff}, 8<<20) // the largest body that is allowed
		a := mustProduce(t, c, "large", 1, largest)
		mustFind(t, c, "large", 1, a.Offset, largest)
		mustKill(t, s)
		c = s.Again(t).Connect(t)
		mustReadPages(t, c, count, size)
		mustFind(t, c, "large", 1, a.Offset, largest)
	})
}

// mustReadPages reads everything with the largest pages, as base64 and as text.
func mustReadPages(t *testing.T, c *proc.Client, count, size int) {
	t.Helper()
	for _, encoding := range []string{"&encoding=b64", ""} {
		next, pages := uint64(0), 0
		for int(next) < count {
			var p proc.Page
			r, err := c.Get(fmt.Sprintf("/broker/consume/large/g/0?offset=%d&max_bytes=16777216&limit=1000%s", next, encoding))
			if err != nil || r.Status != 200 {
				t.Fatalf("%s, %v", r.String(), err)
			}
			if err := r.JSON(&p); err != nil || p.Count == 0 {
				t.Fatalf("a page of %d messages, %v", p.Count, err)
			}
			for i, m := range p.Messages {
				v := m.ValueB64
				if m.Value != nil {
					v = []byte(*m.Value)
				}
				if !bytes.Equal(v, counted(int(next)+i, size)) {
					t.Fatalf("offset %d is altered", m.Offset)
				}
			}
			pages++
			next = p.Next
		}
		if pages == count {
			t.Errorf("%d pages for %d messages: max_bytes was ignored", pages, count)
		}
	}
}

// Everything in one partition, many messages: read from offset 0 to the end, before and after a
// restart. More than five millions with AYDER_BIG=1.
func TestManyMessagesInOnePartition(t *testing.T) {
	t.Parallel()
	count := scale(5_200_000, 500_000, 30_000)
	const lines = 10_000
	backends := proc.Backends(t)
	s := proc.Run(t, proc.Options{Backend: backends[0], Args: []string{"--tail-bytes", "16MiB"}})
	c := s.Connect(t)
	for first := 0; first < count; first += lines {
		var body []byte
		for i := range lines {
			body = fmt.Appendf(body, "%d\n", first+i)
		}
		if a, err := c.ProduceLines("many", 0, body); err != nil || int(a.First) != first {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	mustReadNumbers(t, c, count)
	mustKill(t, s)
	for _, s.Backend = range backends {
		began := time.Now()
		s = s.Again(t)
		t.Logf("%s: ready %v after the start with %d messages", s.Backend, time.Since(began).Round(time.Millisecond), count)
		mustReadNumbers(t, s.Connect(t), count)
		mustKill(t, s)
	}
}

func mustReadNumbers(t *testing.T, c *proc.Client, count int) {
	t.Helper()
	next := 0
	end, err := c.Each("many", 0, 0, func(m *proc.Message) error {
		if string(m.ValueB64) != fmt.Sprint(next) || m.Offset != uint64(next) {
			return fmt.Errorf("offset %d after %d messages holds %q", m.Offset, next, m.ValueB64)
		}
		next++
		return nil
	})
	if err != nil || int(end) != count {
		t.Fatalf("read up to %d of %d: %v", end, count, err)
	}
}

// A directory of many segments: restarted, checked, read at random. Over 4 GiB with AYDER_BIG=1.
func TestLargeDataDirectory(t *testing.T) {
	t.Parallel()
	const lines, size = 7, 1 << 20
	requests := scale(600, 30, 5)
	s := proc.Run(t, proc.Options{Args: []string{"--tail-bytes", "32MiB"}})
	c := s.Connect(t)
	for i := range requests {
		var body []byte
		for l := range lines {
			body = append(append(append(body, '"'), counted(i*lines+l, size)...), '"', '\n')
		}
		if _, err := c.ProduceLines("huge", i%4, body); err != nil {
			t.Fatal(err)
		}
	}
	for _, stop := range []func(*testing.T, *proc.Server){mustKill, mustStop} {
		c.Close()
		stop(t, s)
		s = s.Again(t)
		c = s.Connect(t)
		for i := 0; i < requests; i += max(1, requests/40) {
			l := i % lines
			mustFind(t, c, "huge", i%4, uint64(i/4*lines+l), fmt.Appendf(nil, "%q", counted(i*lines+l, size)))
		}
	}
	mustServe(t, s)
	mustStop(t, s)
	out, code := ayder(t, nil, "check", s.Dir)
	if code != 0 {
		t.Errorf("check: exit status %d: %s", code, out)
	}
	t.Logf("check says:\n%s", out)
}
