package api

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ayder/engine"
	"ayder/httpparse"
	"ayder/internal/auth"
	"ayder/internal/metrics"
	"ayder/internal/record"
	"ayder/internal/uring"
	"ayder/netpoll"
)

// memLog is a log without a disk whose commits a test can hold back and fail. It stands in for
// package aof, which the program wires in.
type memLog struct {
	mu      sync.Mutex
	index   uint64
	frames  [][]byte
	held    []func()
	hold    bool
	failure error  // of commits
	refusal error  // of Admit
	cold    bool   // nothing is in memory,
	warm    int    // but so many sections
	damage  error  // of reads
	gate    func() // called before a read that may block, if not nil
	reads   int    // that had to block
}

// memWriter is one loop's Log.
type memWriter struct {
	*memLog
	loop *netpoll.Loop
	wake func()
}

func (w memWriter) Admit() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refusal
}

func (w memWriter) Deliver() {}

func (w memWriter) Append(b *record.Batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.index++
	frame := bytes.Clone(b.Seal(record.Header{Index: w.index, Term: 1}, 1))
	complete := func() {
		w.mu.Lock()
		err := w.failure
		if err == nil {
			w.frames = append(w.frames, frame)
		}
		w.mu.Unlock()
		b.Done(b, err)
	}
	if w.hold {
		w.held = append(w.held, func() { w.loop.Post(complete) })
		return
	}
	w.loop.Post(complete)
}

// release lets the held commits go, in order.
func (m *memLog) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.held {
		f()
	}
	m.held, m.hold = nil, false
}

func (m *memLog) set(f func(*memLog)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(m)
}

// memReader serves what was committed.
type memReader struct{ *memLog }

func (r memReader) Read(s record.Stream, offset, end uint64, block bool, visit func(record.Section) bool) (uint64, error) {
	r.mu.Lock()
	if gate := r.gate; gate != nil && block {
		r.mu.Unlock()
		gate()
		r.mu.Lock()
	}
	defer r.mu.Unlock()
	if r.damage != nil && block == r.cold {
		return offset, r.damage
	}
	if block {
		r.reads++
	}
	visited := 0
	for _, frame := range r.frames {
		f, err := record.ReadFrame(frame, 1)
		if err != nil {
			return offset, err
		}
		it := f.Iter()
		for sec, ok := it.Next(); ok; sec, ok = it.Next() {
			last := sec.Base + uint64(sec.Count)
			if sec.Type != record.SectionRecords || sec.Stream != s || last <= offset || sec.Base >= end {
				continue
			}
			if visited++; r.cold && !block && visited > r.warm {
				return offset, ErrCold
			}
			if !visit(sec) {
				return offset, nil
			}
			offset = last
		}
	}
	return offset, nil
}

func (r memReader) ReadSince(s record.Stream, offset, end, sinceMs uint64, visit func(record.Section) bool) (uint64, error) {
	return r.Read(s, offset, end, true, func(sec record.Section) bool {
		it := sec.Records()
		for m, ok := it.Next(); ok; m, ok = it.Next() {
			if m.TimeMs >= sinceMs {
				return visit(sec)
			}
		}
		return true
	})
}

// fixture is a server on a free port with a memLog.
type fixture struct {
	t      *testing.T
	log    *memLog
	server *Server
	net    *netpoll.Server
	url    string
	addr   string
	tls    *tls.Config // of the connections that dial opens; nil: plain ones
}

// overTLS behind a backend's name has dial speak TLS.
const overTLS = "+tls"

// listen binds a port, and one for TLS if backend says so.
func (f *fixture) listen(backend string, o netpoll.Options) {
	f.t.Helper()
	if o.Backend, _ = strings.CutSuffix(backend, overTLS); o.Backend != backend {
		s := httptest.NewTLSServer(nil) // for its certificate
		s.Close()
		o.TLSAddr, o.TLSConfig = "127.0.0.1:0", &tls.Config{Certificates: s.TLS.Certificates}
		f.tls = &tls.Config{RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com"}
	}
	var err error
	if f.net, err = netpoll.Listen(o, f.server); err != nil {
		f.t.Fatal(err)
	}
}

// eachBackend runs f on every backend that works here.
func eachBackend(t *testing.T, f func(t *testing.T, backend string)) {
	for _, b := range []string{"uring", "evio"} {
		t.Run(b, func(t *testing.T) {
			if err := uring.Probe(); b == "uring" && err != nil {
				t.Skip("io_uring cannot be used here: ", err)
			}
			f(t, b)
		})
	}
}

// readsOn is the backend that goes on reading from a connection that is owed answers: evio leaves
// the bytes with the kernel, so there only what came in one segment overtakes a commit.
func readsOn(t *testing.T) string {
	t.Helper()
	if err := uring.Probe(); err != nil {
		t.Skip("io_uring cannot be used here: ", err)
	}
	return "uring"
}

func newFixture(t *testing.T, backend string, change ...func(*Options)) *fixture {
	t.Helper()
	log := &memLog{}
	exposition, err := metrics.NewExposition(metrics.Build{Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := auth.Parse("dev:reader@read:writer@write/allowed.")
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		NewReader: func() Reader { return memReader{log} },
		OpenLog: func(l *netpoll.Loop, wake func()) (Log, error) {
			return memWriter{log, l, wake}, nil
		},
		Tokens: auth.NewHolder(tokens), Exposition: exposition, Observe: func(*metrics.Sample) {},
		Logger: slog.New(slog.DiscardHandler), HTTP: httpparse.DefaultLimits(), Loops: 1, CommitsInFlight: 2,
		CommitTimeoutNs: int64(30 * time.Second), HeaderNs: int64(30 * time.Second), IdleNs: int64(60 * time.Second),
		DefaultPartitions: 8, AutoCreate: true, ServerTiming: true, Backup: oneFile{},
	}
	for _, c := range change {
		c(&o)
	}
	if o.Loops > 1 && backend == "auto" {
		backend = readsOn(t) // evio has one loop
	}
	o.Engine = engine.New(engine.Config{Shards: o.Loops})
	f := &fixture{t: t, log: log, server: NewServer(o)}
	f.listen(backend, netpoll.Options{Addr: "127.0.0.1:0", Loops: o.Loops, InputMax: 9 << 20, Logger: o.Logger})
	n := f.net
	served := make(chan error, 1)
	go func() { served <- n.Serve() }()
	t.Cleanup(func() {
		log.release()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = n.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	f.addr, f.url = n.Addr().String(), "http://"+n.Addr().String()
	return f
}

// call makes one request on a connection of its own and decodes the JSON answer.
func (f *fixture) call(method, path, body string, header ...string) (int, map[string]any) {
	f.t.Helper()
	status, text, _ := f.raw(method, path, body, header...)
	var m map[string]any
	if len(text) > 0 {
		if err := json.Unmarshal(text, &m); err != nil {
			f.t.Fatalf("%s %s: %d, not JSON: %v\n%s", method, path, status, err, text)
		}
	}
	return status, m
}

func (f *fixture) raw(method, path, body string, header ...string) (int, []byte, http.Header) {
	f.t.Helper()
	req, err := http.NewRequest(method, f.url+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer dev")
	if strings.HasPrefix(body, `{"specversion":`) {
		req.Header.Set("Content-Type", cloudType) // unless it says something else
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	resp, err := c.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return resp.StatusCode, text, resp.Header
}

// create makes the topic t. A server that a test gives little time for commits may answer 504 before it is there, on a
// machine with other work: then it is asked again.
func (f *fixture) create(partitions int) {
	f.t.Helper()
	waitFor(f.t, "the topic", func() bool {
		status, m := f.call("POST", "/broker/topics", fmt.Sprintf(`{"name":"t","partitions":%d}`, partitions))
		if status != 201 && status != 409 && status != 504 {
			f.t.Fatal(status, m)
		}
		return status != 504
	})
}

// dial opens a connection for requests written by hand.
func (f *fixture) dial() (net.Conn, *bufio.Reader) {
	f.t.Helper()
	var c net.Conn
	var err error
	if f.tls != nil {
		c, err = tls.Dial("tcp", f.net.TLSAddr().String(), f.tls)
	} else {
		c, err = net.Dial("tcp", f.addr)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	return c, bufio.NewReader(c)
}

// answer reads the next answer to a request with this method.
func answer(t *testing.T, r *bufio.Reader, method string) (int, string) {
	t.Helper()
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// readHead reads the head of the next answer, to a request with this method, and passes over its body.
func readHead(t *testing.T, r *bufio.Reader, method string) string {
	t.Helper()
	var head strings.Builder
	length := 0
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("after %q: %v", head.String(), err)
		}
		head.WriteString(line)
		if v, ok := strings.CutPrefix(line, "Content-Length: "); ok && method != "HEAD" {
			if length, err = strconv.Atoi(strings.TrimSpace(v)); err != nil {
				t.Fatal(err)
			}
		}
		if line == "\r\n" {
			break
		}
	}
	if _, err := r.Discard(length); err != nil {
		t.Fatalf("the body of %q: %v", head.String(), err)
	}
	return head.String()
}

func post(path, body string) string {
	return "POST " + path + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dev\r\nContent-Length: " + itoa(len(body)) + "\r\n\r\n" + body
}

func get(path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dev\r\n\r\n"
}

func itoa(n int) string { return string(appendMember(nil, "", uint64(n))[4:]) }
