package api

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ayder/internal/record"
)

// event is one server-sent event, or one line of a stream of lines.
type event struct {
	id, name, data string
}

// live is a stream as a client reads it.
type live struct {
	t    *testing.T
	conn net.Conn
	resp *http.Response
	r    *bufio.Reader
	sse  bool
}

// follow opens a stream; the answer must be 200.
func (f *fixture) follow(path, accept string, header ...string) *live {
	f.t.Helper()
	s := f.tryFollow(path, accept, header...)
	if s.resp.StatusCode != 200 {
		text, _ := io.ReadAll(s.r)
		f.t.Fatalf("%s: %d %s", path, s.resp.StatusCode, text)
	}
	return s
}

func (f *fixture) tryFollow(path, accept string, header ...string) *live {
	f.t.Helper()
	c, r := f.dial()
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dev\r\nAccept: %s\r\n", path, accept)
	for i := 0; i < len(header); i += 2 {
		fmt.Fprintf(c, "%s: %s\r\n", header[i], header[i+1])
	}
	fmt.Fprint(c, "\r\n")
	resp, err := http.ReadResponse(r, &http.Request{Method: "GET"})
	if err != nil {
		f.t.Fatal(err)
	}
	return &live{t: f.t, conn: c, resp: resp, r: bufio.NewReader(resp.Body), sse: strings.HasPrefix(accept, eventsType)}
}

// next reads the next event or line; io.EOF when the stream ended in good order.
func (s *live) next() (event, error) {
	var e event
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			if err == io.EOF && line != "" {
				err = io.ErrUnexpectedEOF
			}
			return e, err
		}
		line = strings.TrimSuffix(line, "\n")
		if !s.sse {
			return event{data: line}, nil
		}
		name, value, _ := strings.Cut(line, ": ")
		switch {
		case line == "" && e.data != "":
			return e, nil
		case name == "id":
			e.id = value
		case name == "event":
			e.name = value
		case name == "data":
			e.data = value
		}
	}
}

// message reads the next message, which must have this offset.
func (s *live) message(offset int) map[string]any {
	s.t.Helper()
	e, err := s.next()
	if err != nil {
		s.t.Fatalf("instead of offset %d: %v", offset, err)
	}
	var m map[string]any
	if err := json.Unmarshal([]byte(e.data), &m); err != nil {
		s.t.Fatalf("%q: %v", e.data, err)
	}
	if m["offset"] != float64(offset) || s.sse && e.id != strconv.Itoa(offset) {
		s.t.Fatalf("instead of offset %d: %+v", offset, e)
	}
	return m
}

// ended wants the end of the stream, after an error with this code if it is not empty.
func (s *live) ended(code string) {
	s.t.Helper()
	if code != "" {
		e, err := s.next()
		if err != nil || !strings.Contains(e.data, `"ok":false,"error":"`+code+`"`) || s.sse && e.name != "error" {
			s.t.Fatalf("instead of %s: %+v %v", code, e, err)
		}
	}
	if e, err := s.next(); err != io.EOF {
		s.t.Fatalf("instead of the end: %+v %v", e, err)
	}
}

var streamTypes = []string{eventsType, linesType}

func TestStreamIsWhatPagesAre(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string, loops int) {
		f := newFixture(t, backend, func(o *Options) { o.Loops = loops })
		f.topic(3)
		f.call("POST", "/broker/topics/t/produce?partition=1&key=k%00&ts_ms=77", "a\nb\r\n\"c\u2028", "X-Ayder-H-N", "v")
		f.call("POST", "/broker/topics/t/produce?partition=1&key=%ff", "\xff\xfe")
		f.call("POST", "/broker/topics/t/produce?partition=1", "")
		for _, encoding := range []string{"", "&encoding=b64"} {
			_, page, _ := f.raw("GET", "/broker/consume/t/g/1?offset=0"+encoding, "")
			for _, accept := range streamTypes {
				s := f.follow("/broker/consume/t/g/1?offset=0&limit=3"+encoding, accept)
				if got := s.resp.Header.Get("Content-Type"); got != accept {
					t.Errorf("Content-Type %q", got)
				}
				if s.resp.Header.Get("Cache-Control") != "no-store" || s.resp.ContentLength != -1 || !s.resp.Close {
					t.Errorf("head %v", s.resp.Header)
				}
				var all []string
				for range 3 {
					e, err := s.next()
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, e.data)
				}
				s.ended("")
				if want := `{"messages":[` + strings.Join(all, ",") + `],"count":3`; !strings.HasPrefix(string(page), want) {
					t.Errorf("%s%s:\n%s\npage:\n%s", accept, encoding, want, page)
				}
			}
		}
	})
}

func TestStreamFollows(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string, loops int) {
		f := newFixture(t, backend, func(o *Options) { o.Loops = loops })
		f.topic(3)
		var all [3][]*live
		for p := range 3 {
			f.put(p, "zero")
			for _, accept := range streamTypes {
				for _, start := range []string{"", "offset=0", "offset=earliest&encoding=b64"} {
					all[p] = append(all[p], f.follow(fmt.Sprintf("/broker/consume/t/g/%d?%s", p, start), accept))
				}
				all[p] = append(all[p], f.follow(fmt.Sprintf("/broker/consume/t/g/%d?offset=latest", p), accept))
			}
		}
		f.awaitStreaming(3 * 2 * 4)
		for i := 1; i < 20; i++ {
			for p := range 3 {
				f.put(p, fmt.Sprint(i))
				for n, s := range all[p] {
					if i == 1 && n%4 != 3 {
						s.message(0)
					}
					s.message(i)
				}
			}
		}
		for p := range 3 {
			for _, s := range all[p] {
				_ = s.conn.Close()
			}
		}
		f.awaitStreaming(0)
		f.awaitNoFeeds()
	})
}

// TestLastEventID: a stream resumes behind what the client saw last, whatever the URL says.
func TestLastEventID(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend)
		f.topic(1)
		f.put(0, "0", "1", "2")
		for _, query := range []string{"", "?offset=0", "?offset=latest"} {
			s := f.follow("/broker/consume/t/g/0"+query, eventsType, "Last-Event-ID", "0")
			s.message(1)
			s.message(2)
		}
		s := f.follow("/broker/consume/t/g/0", eventsType, "Last-Event-ID", "2")
		f.put(0, "3")
		s.message(3)
		if s := f.tryFollow("/broker/consume/t/g/0", eventsType, "Last-Event-ID", "4"); s.resp.StatusCode != 416 {
			t.Error(s.resp.Status)
		}
		for _, bad := range []string{"x", "-1", "1.0", "9223372036854775807"} {
			if s := f.tryFollow("/broker/consume/t/g/0", eventsType, "Last-Event-ID", bad); s.resp.StatusCode != 400 {
				t.Error(bad, s.resp.Status)
			}
		}
		if status, m := f.call("GET", "/broker/consume/t/g/0?offset=1&limit=1", "", "Last-Event-ID", "2"); status != 200 || m["next_offset"] != 2.0 {
			t.Error("a page takes no notice: ", status, m)
		}
	})
}

func TestStreamRefusals(t *testing.T) {
	f := newFixture(t, "auto")
	f.topic(1)
	for query, status := range map[string]int{
		"t/g/0?wait_ms=5": 400, "t/g/0?max_bytes=100": 400, "t/g/0?limit=0": 400, "t/g/0?offset=1": 416, "t/g/1": 404, "u/g/0": 404, "t/g/0?x=1": 400,
	} {
		for _, accept := range streamTypes {
			s := f.tryFollow("/broker/consume/"+query, accept)
			if s.resp.StatusCode != status || s.resp.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s: %s %s", query, s.resp.Status, s.resp.Header.Get("Content-Type"))
			}
		}
	}
	if s := f.tryFollow("/broker/consume/t/g/0", eventsType, "Authorization", "Bearer no"); s.resp.StatusCode != 400 { // twice: refused as a whole
		t.Error(s.resp.Status)
	}
}

func TestAccept(t *testing.T) {
	for accept, want := range map[string]form{
		"": formPage, "*/*": formPage, "text/*": formPage, "application/*": formPage, "text/html": formPage, "application/json": formPage,
		"text/event-stream": formEvents, "Text/Event-Stream": formEvents, " text/event-stream ; q=0.1": formEvents,
		"application/x-ndjson": formLines, "application/x-ndjson;charset=utf-8": formLines,
		"text/event-stream, */*": formEvents, "*/*, application/x-ndjson;q=0.5": formLines,
		"text/event-stream;q=0": formPage, "text/event-stream;q=0.000, application/x-ndjson;q=0.001": formLines,
		"application/json, text/event-stream": formPage, "text/event-stream, application/json": formEvents,
		"application/json;q=0.9, text/event-stream": formEvents, "text/event-stream;q=0.9,application/json": formPage,
		"application/x-ndjson;q=0.5;x=y, text/event-stream;q=0.6": formEvents, "text/event-stream;q=2": formEvents, "text/event-stream;q=": formEvents,
		"text/event-stream;Q=0": formPage, ",,;q=0,": formPage, "text/event-streamx": formPage, "xtext/event-stream": formPage,
	} {
		if got := acceptedForm([]byte(accept)); got != want {
			t.Errorf("%q: %d, want %d", accept, got, want)
		}
	}
}

// TestStreamHTTP10 ends with its connection, without chunks; TestStreamHead has only the head.
func TestStreamHTTP10(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend)
		f.topic(1)
		f.put(0, "zero", "one")
		c, r := f.dial()
		fmt.Fprint(c, "GET /broker/consume/t/g/0?limit=2 HTTP/1.0\r\nAuthorization: Bearer dev\r\nAccept: application/x-ndjson\r\n\r\n")
		text, err := io.ReadAll(r)
		head, body, _ := strings.Cut(string(text), "\r\n\r\n")
		if err != nil || strings.Contains(head, "Transfer-Encoding") || strings.Count(body, "\n") != 2 || !strings.HasPrefix(body, `{"offset":0,`) || !strings.HasSuffix(body, "}\n") {
			t.Fatalf("%v %s", err, text)
		}
		c, r = f.dial()
		fmt.Fprint(c, "HEAD /broker/consume/t/g/0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dev\r\nAccept: text/event-stream\r\n\r\n", get("/health"))
		if head := readHead(t, r, "HEAD"); !strings.Contains(head, "Content-Type: text/event-stream\r\n") || strings.Contains(head, "Content-Length") {
			t.Fatal(head)
		}
		if status, _ := answer(t, r, "GET"); status != 200 {
			t.Fatal("the connection does not go on after a HEAD: ", status)
		}
		f.awaitStreaming(0)
	})
}

// TestStreamClientGone: a client that goes takes its stream along.
func TestStreamClientGone(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string, loops int) {
		f := newFixture(t, backend, func(o *Options) { o.Loops = loops })
		f.topic(3)
		for _, leave := range []func(*net.TCPConn){
			func(c *net.TCPConn) { _ = c.Close() },
			func(c *net.TCPConn) { _ = c.CloseWrite() },
			func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() },
			func(c *net.TCPConn) { fmt.Fprint(c, get("/health"), "rubbish"); _ = c.Close() },
		} {
			var all []*live
			for p := range 3 {
				for _, accept := range streamTypes {
					all = append(all, f.follow(fmt.Sprintf("/broker/consume/t/g/%d", p), accept))
				}
			}
			f.awaitStreaming(len(all))
			for _, s := range all {
				leave(s.conn.(*net.TCPConn))
			}
			f.awaitStreaming(0)
			f.awaitNoFeeds()
		}
	})
}

// TestStreamsAtStop: a server that stops ends its streams in good order.
func TestStreamsAtStop(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string, loops int) {
		f := newFixture(t, backend, func(o *Options) { o.Loops = loops })
		f.topic(3)
		var all []*live
		for p := range 3 {
			f.put(p, "last")
			for _, accept := range streamTypes {
				s := f.follow(fmt.Sprintf("/broker/consume/t/g/%d", p), accept)
				s.message(0)
				all = append(all, s)
			}
		}
		go func() { _ = f.net.Shutdown(t.Context()) }()
		for _, s := range all {
			s.ended("")
		}
	})
}

// TestSlowFollower: who does not read is kept little for, and gets everything when it reads; others do not wait for it.
func TestSlowFollower(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string, loops int) {
		f := newFixture(t, backend, func(o *Options) { o.Loops = loops })
		f.topic(3)
		const messages, size = 60, 250_000
		for _, accept := range streamTypes {
			slow := f.follow("/broker/consume/t/g/2?offset=latest", accept)
			fast := f.follow("/broker/consume/t/g/2?offset=latest", accept)
			f.awaitStreaming(2)
			first := 0
			if accept == linesType {
				first = messages
			}
			for i := range messages {
				f.put(2, strings.Repeat("x", size))
				fast.message(first + i)
			}
			if queued := f.queuedMost(); queued > streamQueuedMax+streamPieceBytes+size {
				t.Errorf("%d bytes are queued for a reader that does not read", queued)
			}
			for i := range messages {
				slow.message(first + i)
			}
			_, _ = slow.conn.Close(), fast.conn.Close()
			f.awaitStreaming(0)
		}
	})
}

// queuedMost is the most that is queued on a connection.
func (f *fixture) queuedMost() (most int) {
	ch := make(chan int)
	for _, l := range f.loops() {
		l.net.Post(func() {
			n := 0
			for c := range l.conns {
				n = max(n, c.net.Queued())
			}
			ch <- n
		})
		most = max(most, <-ch)
	}
	return most
}

// TestColdFollower reads what is not in memory, and goes over to what is.
func TestColdFollower(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string, loops int) {
		f := newFixture(t, backend, func(o *Options) { o.Loops = loops })
		f.topic(3)
		for i := range 40 {
			f.put(1, fmt.Sprint(i))
		}
		for _, warm := range []int{0, 5} {
			f.log.set(func(m *memLog) { m.cold, m.warm = true, warm })
			for _, accept := range streamTypes {
				s := f.follow("/broker/consume/t/g/1?offset=3", accept)
				for i := 3; i < 40; i++ {
					s.message(i)
				}
				_ = s.conn.Close()
			}
		}
		s := f.follow("/broker/consume/t/g/1?offset=38", linesType)
		s.message(38)
		f.log.set(func(m *memLog) { m.cold = false })
		f.put(1, "40")
		for i := 39; i <= 40; i++ {
			s.message(i)
		}
		f.log.set(func(m *memLog) { m.damage = fmt.Errorf("rotten") })
		f.put(1, "41")
		s.ended("storage_damaged")
		f.awaitStreaming(0)
	})
}

// TestStreamHeartbeatAndStall drives the alarms of a stream by hand.
func TestStreamHeartbeatAndStall(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend, func(o *Options) { o.IdleNs = int64(time.Minute) })
		f.topic(1)
		s := f.follow("/broker/consume/t/g/0", eventsType)
		ring := func(after time.Duration) {
			l := f.loops()[0]
			done := make(chan struct{})
			l.net.Post(func() {
				for c := range l.conns {
					if c.stream != nil {
						l.alarms.cancel(&c.stream.alarm)
						c.stream.due(l, l.net.Now()+int64(after))
					}
				}
				close(done)
			})
			<-done
		}
		line := func() string {
			text, err := s.r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		for _, want := range []string{"retry: 1000\n", "\n"} {
			if got := line(); got != want {
				t.Fatalf("%q, want %q", got, want)
			}
		}
		ring(5 * time.Second) // nothing: an event follows
		f.put(0, "x")
		s.message(0)
		ring(16 * time.Second)
		if got := line() + line(); got != ":\n\n" {
			t.Fatalf("%q instead of a comment", got)
		}
		ring(2 * time.Minute) // an idle stream that took everything lives
		f.put(0, "y")
		s.message(1)
		for range 20 {
			f.put(0, strings.Repeat("z", 1<<20)) // more than the kernel takes
		}
		ring(time.Second)
		ring(30 * time.Second)
		if f.streaming() != 1 {
			t.Fatal("given up too early")
		}
		ring(2 * time.Minute)
		f.awaitStreaming(0)
	})
}

// TestStreamOfDeposedLeader: one that reads from the leader only ends, the others go on.
func TestStreamOfDeposedLeader(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string, loops int) {
		f := newClusterFixture(t, backend, func(o *Options) { o.Loops = loops })
		f.lead()
		f.topic(3)
		for _, accept := range streamTypes {
			s := f.follow("/broker/consume/t/g/1?consistency=leader&offset=latest", accept)
			s2 := f.follow("/broker/consume/t/g/1?offset=latest", accept)
			f.depose("n2")
			f.server.Forget()
			s.ended("")
			f.lead()
			f.put(1, "again")
			s2.message(slices.Index(streamTypes, accept))
		}
	})
}

// TestStreamOnFollower: what another node wrote arrives, and an offset that this node has not reached is waited for.
func TestStreamOnFollower(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string, loops int) {
		f := newClusterFixture(t, backend, func(o *Options) { o.Loops = loops })
		other := newOtherNode(2)
		f.foreign(other.create(t, "t", 3))
		for _, accept := range streamTypes {
			for p := range 3 {
				next := int(other.engine.Topic([]byte("t")).Partition(uint32(p)).Next())
				s := f.follow(fmt.Sprintf("/broker/consume/t/g/%d?offset=latest", p), accept)
				ahead := f.follow(fmt.Sprintf("/broker/consume/t/g/%d?offset=%d", p, next+1), accept)
				f.foreign(other.produce(t, "t", "one", ""))
				s.message(next)
				f.foreign(other.seal(t, func(b *record.Batch) {
					for i := range 3 {
						pt := other.engine.Topic([]byte("t")).Partition(uint32(i))
						b.AppendRecord(pt.Stream(), pt.Next(), &record.Record{Value: []byte("two")})
					}
				}))
				s.message(next + 1)
				ahead.message(next + 1)
			}
		}
	})
}

// TestStreamWaitsForBusyReaders: where no goroutine is free to read what is cold, and no memory for large pieces, a stream
// waits and tries again.
func TestStreamWaitsForBusyReaders(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend)
		f.topic(1)
		f.put(0, "zero", "one")
		f.log.set(func(m *memLog) { m.cold = true })
		release, busy := make(chan struct{}), make(chan struct{})
		free := sync.OnceFunc(func() { close(release) })
		t.Cleanup(free)
		for range readersMax {
			f.server.readers.add(func(Reader) { busy <- struct{}{}; <-release })
			<-busy
		}
		for f.server.readers.add(func(Reader) { <-release }) { // until the queue is full
		}
		s := f.follow("/broker/consume/t/g/0?offset=0", linesType)
		on := func(do func(l *loop)) {
			done := make(chan struct{})
			l := f.loops()[0]
			l.net.Post(func() { do(l); close(done) })
			<-done
		}
		waitFor(t, "a stream that waits", func() (starved bool) {
			on(func(l *loop) {
				for c := range l.conns {
					starved = starved || c.stream != nil && c.stream.starved
				}
			})
			return starved
		})
		on(func(l *loop) { l.making += unreadBytesMax })
		free()
		f.log.set(func(m *memLog) { m.cold = false })
		on(func(l *loop) { l.making -= unreadBytesMax })
		s.message(0)
		s.message(1)
	})
}
