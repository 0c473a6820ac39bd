package api

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// HTTP on the wire: what the network does to requests, and what clients do to connections.

// chunked is a produce of body in chunks of the given sizes, the last one repeated.
func chunked(path, body string, sizes ...int) string {
	var b strings.Builder
	b.WriteString("POST " + path + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dev\r\nTransfer-Encoding: chunked\r\n\r\n")
	for i := 0; len(body) > 0; i++ {
		n := min(sizes[min(i, len(sizes)-1)], len(body))
		fmt.Fprintf(&b, "%X;a=\"b\"\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return b.String() + "0\r\nX-Trailer: y\r\n\r\n"
}

// TestRequestsSplitAnywhere cuts every kind of request into two segments at every byte, and also sends
// it byte by byte. The same connection is used throughout.
func TestRequestsSplitAnywhere(t *testing.T) {
	requests := []struct{ text, want string }{
		{post("/broker/topics/t/produce?partition=0&key=a%20b", "hello world"), `"ok":true,"offset"`},
		{chunked("/broker/topics/t/produce?partition=0", "hello world", 1, 3, 5), `"ok":true,"offset"`},
		{chunked("/broker/topics/t/produce-ndjson", "1\n2\n", 4), `"count":2`},
		{chunked("/broker/topics/t/produce?partition=0", ""), `"ok":true,"offset"`},
		{post("/broker/commit", `{"topic":"t","group":"g","partition":0,"offset":0}`), `{"ok":true}`},
		{"\r\n" + get("/broker/topics/t"), `"partition_list"`},
		{post("/broker/topics/t/produce?partition=77", "x"), `unknown_partition`},
	}
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend)
		f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
		c, r := f.dial()
		for _, request := range requests {
			for cut := 1; cut < len(request.text); cut++ {
				fmt.Fprint(c, request.text[:cut])
				f.settled(cut)
				fmt.Fprint(c, request.text[cut:])
				if _, body := answer(t, r, "POST"); !strings.Contains(body, request.want) {
					t.Fatalf("cut at %d of %q: %s", cut, request.text, body)
				}
			}
			for i := range len(request.text) {
				fmt.Fprint(c, request.text[i:i+1])
				f.settled(i)
			}
			if _, body := answer(t, r, "POST"); !strings.Contains(body, request.want) {
				t.Fatalf("byte by byte %q: %s", request.text, body)
			}
		}
	})
}

// TestInterleavedConnections sends different requests on many connections, a byte of each in turn:
// what a loop keeps for the request it is parsing must not mix them.
func TestInterleavedConnections(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend)
		f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
		requests := []string{
			post("/broker/topics/t/produce?key=one", "one"), chunked("/broker/topics/t/produce?key=two", "two", 1), get("/broker/topics/t"),
			post("/broker/topics/nowhere/produce?partition=7", "x"), "GET /health HTTP/1.0\r\n\r\n", post("/broker/topics/t/produce-ndjson", "1\n2\n"),
			"POST /broker/commit HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
		}
		want := []string{`"offset"`, `"offset"`, `"partition_list"`, `"partition":7`, `{"ok":true}`, `"count":2`, `"unauthorized"`}
		conns, readers := make([]net.Conn, len(requests)), make([]*bufio.Reader, len(requests))
		for i := range requests {
			conns[i], readers[i] = f.dial()
		}
		for at := range 300 {
			for i, text := range requests {
				if at < len(text) {
					fmt.Fprint(conns[i], text[at:at+1])
				}
			}
			f.settled(at)
		}
		for i, r := range readers {
			if _, body := answer(t, r, "POST"); !strings.Contains(body, want[i]) {
				t.Errorf("%q: %s", requests[i], body)
			}
		}
		_, m := f.call("GET", "/broker/consume/t/g/0", "")
		for _, message := range m["messages"].([]any) {
			if m := message.(map[string]any); m["key"] != nil && m["key"] != m["value"] {
				t.Errorf("mixed up: %v", m)
			}
		}
	})
}

// settled lets the server read what was sent, now and then: mostly the loop is as fast as the
// client anyway, and a pause for each of thousands of cuts would take minutes.
func (f *fixture) settled(i int) {
	if i%16 == 0 {
		time.Sleep(200 * time.Microsecond)
	}
}

// TestBodiesInManySegments sends large bodies in pieces of sizes that meet no buffer's end by design.
func TestBodiesInManySegments(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend)
		f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
		c, r := f.dial()
		var want []string
		for i, sizes := range [][]int{{9000, 11000}, {1, 20000}, {8191, 1, 1, 8193}, {100_000}, {1 << 20, 3 << 20}, {65536, 65536, 1}} {
			var body string
			for j, size := range sizes {
				body += strings.Repeat(string(rune('a'+i+j)), size)
			}
			for _, text := range []string{post("/broker/topics/t/produce", body), chunked("/broker/topics/t/produce", body, sizes...), chunked("/broker/topics/t/produce", body, 70_000)} {
				head := strings.Index(text, "\r\n\r\n") + 4
				pieces := []string{text[:head]}
				for at, j := head, 0; at < len(text); j++ {
					end := min(at+sizes[j%len(sizes)], len(text))
					pieces = append(pieces, text[at:end])
					at = end
				}
				for _, piece := range pieces {
					fmt.Fprint(c, piece)
					time.Sleep(100 * time.Microsecond)
				}
				want = append(want, body)
				if status, text := answer(t, r, "POST"); status != 200 {
					t.Fatal(status, text)
				}
			}
		}
		for i, got := range f.values("t", 0) {
			if got != want[i] {
				t.Fatalf("message %d of %d bytes came back as %d bytes", i, len(want[i]), len(got))
			}
		}
	})
}

func TestExpectContinue(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend)
		f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
		expect := func(path, fields string) string {
			return "POST " + path + " HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n" + fields + "\r\n"
		}
		const token = "Authorization: Bearer dev\r\n"
		c, r := f.dial()
		for _, framing := range [][2]string{{"Content-Length: 5\r\n", "hello"}, {"Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"}} {
			fmt.Fprint(c, expect("/broker/topics/t/produce", token+framing[0]))
			if line := readHead(t, r, "HEAD"); line != "HTTP/1.1 100 Continue\r\n\r\n" {
				t.Fatalf("interim answer %q", line)
			}
			for _, b := range []byte(framing[1]) {
				_, _ = c.Write([]byte{b})
				time.Sleep(100 * time.Microsecond)
			}
			if head := readHead(t, r, "POST"); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
				t.Fatal(head)
			}
			fmt.Fprint(c, expect("/broker/topics/t/produce", token+framing[0])+framing[1]) // a client that does not wait
			if head := readHead(t, r, "POST"); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
				t.Fatal(head)
			}
		}
		fmt.Fprint(c, post("/broker/topics/t/produce", "before")+expect("/broker/topics/t/produce", token+"Content-Length: 5\r\n"))
		for _, want := range []string{"HTTP/1.1 200 ", "HTTP/1.1 100 "} {
			if head := readHead(t, r, "POST"); !strings.HasPrefix(head, want) {
				t.Fatal(head)
			}
		}
		fmt.Fprint(c, "hello"+expect("/broker/topics/t/produce", token+"Content-Length: 0\r\n"))
		for range 2 {
			if head := readHead(t, r, "POST"); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
				t.Fatal(head)
			}
		}
		for text, want := range map[string]string{
			expect("/broker/topics/t/produce", "Content-Length: 5\r\n"):                                                        "401",
			expect("/broker/topics/t/produce", "Authorization: Bearer reader\r\nContent-Length: 5\r\n"):                        "403",
			expect("/broker/topics/t/produce", token+"Content-Length: 99999999\r\n"):                                           "413",
			expect("/broker/topics/a%20b/produce", token+"Transfer-Encoding: chunked\r\n"):                                     "400",
			expect("/broker/nowhere", token+"Content-Length: 5\r\n"):                                                           "404",
			expect("/broker/consume/t/g/0", token+"Content-Length: 5\r\n"):                                                     "405",
			strings.Replace(expect("/broker/topics/t/produce", token+"Content-Length: 5\r\n"), "100-continue", "100-other", 1): "417",
		} {
			c, r := f.dial()
			fmt.Fprint(c, text)
			if head := readHead(t, r, "POST"); !strings.HasPrefix(head, "HTTP/1.1 "+want+" ") || !strings.Contains(head, "Connection: close\r\n") {
				t.Errorf("%q: %s", text, head)
			}
			if _, err := r.ReadByte(); err == nil {
				t.Errorf("%q: the connection goes on", text)
			}
		}
		old, oldReader := f.dial()
		fmt.Fprint(old, "POST /broker/topics/t/produce HTTP/1.0\r\nExpect: 100-continue\r\n"+token+"Content-Length: 5\r\n\r\n")
		time.Sleep(10 * time.Millisecond)
		fmt.Fprint(old, "hello")
		if head := readHead(t, oldReader, "POST"); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
			t.Error("HTTP/1.0 knows no interim answers: ", head)
		}
	})
}

// TestUploadRefusedEarly: a client without a token that sends a large body regardless sees the
// refusal, and its bytes are not gathered.
func TestUploadRefusedEarly(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend)
		c, r := f.dial()
		fmt.Fprintf(c, "POST /broker/topics/t/produce HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", 8<<20)
		go func() { _, _ = c.Write(make([]byte, 8<<20)) }()
		if head := readHead(t, r, "POST"); !strings.HasPrefix(head, "HTTP/1.1 401 ") || !strings.Contains(head, "Connection: close\r\n") {
			t.Error(head)
		}
	})
}

func TestVersionsAndConnectionHeader(t *testing.T) {
	f := newFixture(t, "auto")
	for _, tt := range []struct {
		version, field string
		header         string // of the answer
		stays          bool
	}{
		{"1.1", "", "", true},
		{"1.1", "Connection: keep-alive\r\n", "", true},
		{"1.1", "Connection: close\r\n", "Connection: close\r\n", false},
		{"1.1", "Connection: foo, Close\r\n", "Connection: close\r\n", false},
		{"1.0", "", "Connection: close\r\n", false},
		{"1.0", "Connection: keep-alive\r\n", "Connection: keep-alive\r\n", true},
		{"1.0", "Connection: close\r\n", "Connection: close\r\n", false},
	} {
		for _, call := range [][2]string{{"GET", "/health"}, {"POST", "/broker/topics/t/produce"}, {"GET", "/nowhere"}, {"GET", "/metrics"}} {
			c, r := f.dial()
			host := "Host: x\r\n"
			if tt.version == "1.0" {
				host = ""
			}
			text := fmt.Sprintf("%s %s HTTP/%s\r\n%s%sAuthorization: Bearer dev\r\nContent-Length: 0\r\n\r\n", call[0], call[1], tt.version, host, tt.field)
			for range 2 {
				fmt.Fprint(c, text)
				head := readHead(t, r, "GET")
				if got := strings.Contains(head, "Connection: "); got != (tt.header != "") || !strings.Contains(head, tt.header) {
					t.Errorf("%q: %s", text, head)
				}
				if !tt.stays {
					break
				}
			}
			if !tt.stays {
				if _, err := r.ReadByte(); err != io.EOF {
					t.Errorf("%q: %v after the answer", text, err)
				}
			}
		}
	}
}

// TestNothingAfterClose: requests behind one that closes the connection are not executed.
func TestNothingAfterClose(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
	c, r := f.dial()
	last := strings.Replace(post("/broker/topics/t/produce", "b"), "Host", "Connection: close\r\nHost", 1)
	fmt.Fprint(c, post("/broker/topics/t/produce", "a")+last+post("/broker/topics/t/produce", "c"))
	for i := range 2 {
		if _, body := answer(t, r, "POST"); !strings.Contains(body, fmt.Sprintf(`"offset":%d,`, i)) {
			t.Fatal(body)
		}
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Fatal(err)
	}
	if got := f.values("t", 0); fmt.Sprint(got) != "[a b]" {
		t.Error(got)
	}
}

// TestHalfClose: a client may send, close its half, and read the answers.
func TestHalfClose(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend)
		f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
		f.log.set(func(m *memLog) { m.hold = true })
		c, r := f.dial()
		fmt.Fprint(c, post("/broker/topics/t/produce", "a"), post("/broker/topics/t/produce", "b"), get("/metrics"), get("/broker/consume/t/g/0"), post("/broker/topics/u/produce", "c"))
		_ = c.(*net.TCPConn).CloseWrite()
		time.Sleep(20 * time.Millisecond)
		f.log.release()
		for i, want := range []string{`"offset":0,`, `"offset":1,`, "ayder_", `"count":2,`, `"offset":0,`} {
			if status, body := answer(t, r, "POST"); status != 200 || !strings.Contains(body, want) {
				t.Fatalf("answer %d: %d %s", i, status, body)
			}
		}
		if _, err := r.ReadByte(); err != io.EOF {
			t.Error(err)
		}
		half, halfReader := f.dial()
		fmt.Fprint(half, "GET /health HTT")
		_ = half.(*net.TCPConn).CloseWrite()
		if _, err := halfReader.ReadByte(); err != io.EOF {
			t.Error("half a request and no more: ", err)
		}
	})
}

// TestClientGoneWhileParked: its messages are appended all the same, and nobody else gets its answers.
func TestClientGoneWhileParked(t *testing.T) {
	for _, loops := range []int{1, 3} {
		f := newFixture(t, readsOn(t), func(o *Options) { o.Loops = loops })
		f.call("POST", "/broker/topics", `{"name":"t","partitions":3}`)
		f.log.set(func(m *memLog) { m.hold = true })
		for i := range 12 {
			c, _ := f.dial()
			fmt.Fprint(c, post(fmt.Sprintf("/broker/topics/t/produce?partition=%d", i%3), "gone"), post(fmt.Sprintf("/broker/topics/t/produce?partition=%d", i%3), "gone"), post("/broker/topics/new/produce", "x"), get("/metrics"))
			waitFor(t, "a commit", func() bool { return f.log.commits() > 0 })
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		}
		c, r := f.dial()
		fmt.Fprint(c, post("/broker/topics/t/produce?partition=1", "here"))
		f.log.release()
		if status, body := answer(t, r, "POST"); status != 200 || !strings.Contains(body, `"partition":1,`) {
			t.Fatal(status, body)
		}
		fmt.Fprint(c, get("/health"))
		if _, body := answer(t, r, "GET"); body != `{"ok":true}` {
			t.Fatal(body)
		}
		waitFor(t, "the connections to be forgotten", func() bool { return f.net.Conns() == 1 })
	}
}

// TestLastCall: while the server drains, an idle connection is good for one more request, and for all that came with it; the last
// answer closes it. What is idle when the time is over is closed, and a request that meets that end meets no reset.
func TestLastCall(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend, func(o *Options) { o.LastCallNs = int64(time.Hour) })
		f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
		c, r := f.dial()
		piped, pr := f.dial()
		lumpy, cr := f.dial()
		for _, x := range []struct {
			c net.Conn
			r *bufio.Reader
		}{{c, r}, {piped, pr}, {lumpy, cr}} {
			fmt.Fprint(x.c, get("/health"))
			if head := readHead(t, x.r, "GET"); strings.Contains(head, "Connection: close") {
				t.Errorf("before: %s", head)
			}
		}
		down := make(chan error, 1)
		go func() { down <- f.net.Shutdown(context.Background()) }()
		waitFor(t, "the drain", func() bool { return f.net.Loops()[0].Draining() })
		fmt.Fprint(c, get("/ready"))
		if status, body := answer(t, r, "GET"); status != 503 || !strings.Contains(body, "stopping") {
			t.Errorf("/ready: %d %s", status, body)
		}
		fmt.Fprint(piped, post("/broker/topics/t/produce?partition=0", "a")+post("/broker/topics/t/produce?partition=0", "b")+get("/health"))
		for i := range 3 {
			if head := readHead(t, pr, "POST"); !strings.HasPrefix(head, "HTTP/1.1 200") || strings.Contains(head, "Connection: close") != (i == 2) {
				t.Errorf("answer %d: %s", i, head)
			}
		}
		fmt.Fprint(lumpy, chunked("/broker/topics/t/produce?partition=0", "c", 1))
		if head := readHead(t, cr, "POST"); !strings.HasPrefix(head, "HTTP/1.1 200") || !strings.Contains(head, "Connection: close") {
			t.Errorf("chunked: %s", head)
		}
		for _, r := range []*bufio.Reader{r, pr, cr} {
			if b, err := r.ReadByte(); err != io.EOF {
				t.Errorf("after the last answer: %q, %v", b, err)
			}
		}
		for _, c := range []net.Conn{c, piped, lumpy} {
			_ = c.Close()
		}
		if err := <-down; err != nil {
			t.Error(err)
		}
	})
}

// TestIdleConnectionsEnd: without a last request the connection ends in good order, also for a request that crosses the end.
func TestIdleConnectionsEnd(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend, func(o *Options) { o.LastCallNs = 1 })
		c, r := f.dial()
		fmt.Fprint(c, get("/health"))
		readHead(t, r, "GET")
		down := make(chan error, 1)
		go func() { down <- f.net.Drain(context.Background()) }()
		if b, err := r.ReadByte(); err != io.EOF {
			t.Errorf("%q, %v", b, err)
		}
		fmt.Fprint(c, get("/health"))
		if b, err := r.ReadByte(); err != io.EOF {
			t.Errorf("a request that crossed: %q, %v", b, err)
		}
		_ = c.Close()
		if err := <-down; err != nil {
			t.Error(err)
		}
	})
}

// TestDraining: what is in flight at a shutdown is answered, then the connections are closed, and
// nobody new is let in.
func TestDraining(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend)
		f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
		f.log.set(func(m *memLog) { m.hold = true })
		parked, parkedReader := f.dial()
		fmt.Fprint(parked, post("/broker/topics/t/produce", "a"))
		waitFor(t, "the commit", func() bool { return f.log.commits() == 1 })
		begun, begunReader := f.dial()
		fmt.Fprint(begun, "GET /hea")
		idle, idleReader := f.dial()
		for range 3 { // the loop that answers these has seen what came before
			fmt.Fprint(idle, get("/health"))
			answer(t, idleReader, "GET")
		}
		stopped := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			stopped <- f.net.Shutdown(ctx)
		}()
		if _, err := idleReader.ReadByte(); err != io.EOF {
			t.Error("an idle connection at a shutdown: ", err)
		}
		fmt.Fprint(begun, "lth HTTP/1.1\r\nHost: x\r\n\r\n")
		if head := readHead(t, begunReader, "GET"); !strings.HasPrefix(head, "HTTP/1.1 200 ") || !strings.Contains(head, "Connection: close") {
			t.Error("a request that was coming in: ", head)
		}
		f.log.release()
		if status, body := answer(t, parkedReader, "POST"); status != 200 || !strings.Contains(body, `"synced":true`) {
			t.Error("a produce in flight: ", status, body)
		}
		if _, err := parkedReader.ReadByte(); err != io.EOF {
			t.Error(err)
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		if c, err := net.Dial("tcp", f.addr); err == nil {
			_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Error("a new connection is served after the shutdown")
			}
			_ = c.Close()
		}
	})
}

// TestDeadlines: a head that does not end is answered 408, so is a body that stops, and an idle
// connection is closed without a word.
func TestDeadlines(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend, func(o *Options) {
			o.HeaderNs, o.IdleNs = int64(50*time.Millisecond), int64(time.Second) // so long a client may take to begin
			o.HTTP.BodyMax = 16 << 10                                             // a second for a chunked body
		})
		const token = "Authorization: Bearer dev\r\n"
		type client struct {
			name string
			c    net.Conn
			r    *bufio.Reader
		}
		var clients []client
		for name, text := range map[string]string{
			"idle": "", "idle after an answer": get("/health"), "half a line": "GET /he", "half a head": "GET /health HTTP/1.1\r\nHost: x\r\n",
			"half a body":    "POST /broker/topics/t/produce HTTP/1.1\r\nHost: x\r\n" + token + "Content-Length: 100\r\n\r\nhello",
			"half a chunk":   "POST /broker/topics/t/produce HTTP/1.1\r\nHost: x\r\n" + token + "Transfer-Encoding: chunked\r\n\r\n5\r\nhe",
			"half a trailer": "POST /broker/topics/t/produce HTTP/1.1\r\nHost: x\r\n" + token + "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n0\r\nx:",
			"a lone newline": "\r\n",
		} {
			c, r := f.dial()
			fmt.Fprint(c, text)
			clients = append(clients, client{name, c, r})
		}
		for _, c := range clients {
			if c.name == "idle after an answer" {
				answer(t, c.r, "GET")
			}
			if strings.HasPrefix(c.name, "idle") {
				if _, err := c.r.ReadByte(); err != io.EOF {
					t.Errorf("%s: %v", c.name, err)
				}
				continue
			}
			head := readHead(t, c.r, "POST")
			if !strings.HasPrefix(head, "HTTP/1.1 408 ") || !strings.Contains(head, "Connection: close") {
				t.Errorf("%s: %s", c.name, head)
			}
			if _, err := c.r.ReadByte(); err != io.EOF {
				t.Errorf("%s: %v after the 408", c.name, err)
			}
		}
	})
}

// TestParkedAnswersHaveNoDeadlineOfTheirOwn: waiting for a slow disk is neither idle nor slow.
func TestParkedAnswersHaveNoDeadlineOfTheirOwn(t *testing.T) {
	f := newFixture(t, "auto", func(o *Options) {
		o.HeaderNs, o.IdleNs = int64(10*time.Millisecond), int64(time.Second) // so long a client may take to begin
	})
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
	f.log.set(func(m *memLog) { m.hold = true })
	c, r := f.dial()
	fmt.Fprint(c, post("/broker/topics/t/produce", "a"))
	waitFor(t, "the commit", func() bool { return f.log.commits() == 1 })
	time.Sleep(3200 * time.Millisecond) // two sweeps of the deadlines, once it would be over
	f.log.release()
	if status, body := answer(t, r, "POST"); status != 200 {
		t.Fatal(status, body)
	}
}

// TestSlowReader: what a client does not read is not rendered without bound, and all of it comes
// once the client reads.
func TestSlowReader(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend)
		f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
		f.call("POST", "/broker/topics/t/produce", strings.Repeat("v", 100<<10))
		c, r := f.dial()
		const n = 400
		go func() { fmt.Fprint(c, strings.Repeat(get("/broker/consume/t/g/0"), n)) }()
		time.Sleep(50 * time.Millisecond)
		if status, _ := f.call("GET", "/health", ""); status != 200 {
			t.Error("others are not served: ", status)
		}
		size := int64(0)
		for i := range n {
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatalf("answer %d: %v", i, err)
			}
			k, err := io.Copy(io.Discard, resp.Body)
			if size += k; err != nil || resp.StatusCode != 200 {
				t.Fatalf("answer %d: %d %v", i, resp.StatusCode, err)
			}
		}
		if size < n*100<<10 {
			t.Errorf("%d bytes", size)
		}
	})
}

// TestManyPipelinedProduces goes far beyond what a connection may be owed.
func TestManyPipelinedProduces(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend)
		f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
		c, r := f.dial()
		const n = 5000
		var all bytes.Buffer
		for i := range n {
			all.WriteString(post("/broker/topics/t/produce", fmt.Sprint(i)))
		}
		go func() { _, _ = c.Write(all.Bytes()) }()
		for i := range n {
			if status, body := answer(t, r, "POST"); status != 200 || !strings.Contains(body, fmt.Sprintf(`"offset":%d,`, i)) {
				t.Fatalf("answer %d: %d %s", i, status, body)
			}
		}
		for i, v := range f.values("t", 0) {
			if v != fmt.Sprint(i) {
				t.Fatalf("message %d is %s", i, v)
			}
		}
	})
}
