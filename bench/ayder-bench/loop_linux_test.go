package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ayder/bench/result"
)

// broker is a stand-in for the server: enough of its calls for every workload,
// kept in memory, over net/http.
type broker struct {
	produced, pages, commits, resets atomic.Int64
	stall                            sync.RWMutex // held for writing: nobody is answered
	refuse                           atomic.Bool
	stallAt                          int64 // the request that holds all others up for stallTime before it is answered; 0: none
}

const stallTime = 400 * time.Millisecond

func (b *broker) handler() http.Handler {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, format string, args ...any) {
		b.stall.RLock()
		defer b.stall.RUnlock()
		text := fmt.Sprintf(format, args...)
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		if b.refuse.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = io.WriteString(w, text)
	}
	mux.HandleFunc("POST /broker/topics", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
	})
	mux.HandleFunc("POST /broker/topics/{topic}/produce", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		n := b.produced.Add(1)
		if n == b.stallAt {
			b.stall.Lock()
			time.Sleep(stallTime)
			b.stall.Unlock()
		}
		answer(w, `{"ok":true,"offset":%d,"size":%d,"synced":true}`, n, len(body))
	})
	mux.HandleFunc("POST /broker/topics/{topic}/produce-ndjson", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		n := int64(bytes.Count(body, []byte("\n")))
		answer(w, `{"ok":true,"first_offset":%d,"synced":true}`, b.produced.Add(n)-n)
	})
	mux.HandleFunc("GET /broker/consume/{topic}/{group}/{partition}", func(w http.ResponseWriter, r *http.Request) {
		b.pages.Add(1)
		answer(w, `{"messages":[%s],"count":%s,"next_offset":1}`, strings.Repeat("x", 300_000), r.URL.Query().Get("limit"))
	})
	mux.HandleFunc("POST /broker/commit", func(w http.ResponseWriter, _ *http.Request) {
		b.commits.Add(1)
		answer(w, `{"ok":true}`)
	})
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { answer(w, `{"ok":true}`) })
	mux.HandleFunc("GET /admin/timing", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("reset") == "1" {
			b.resets.Add(1)
		}
		answer(w, `{"routes":[{"route":"POST /p","stages":{"commit":{"count":7,"p50_us":181}}}]}`)
	})
	return mux
}

func startBroker(t *testing.T) (*broker, string) {
	t.Helper()
	b := &broker{}
	s := httptest.NewServer(b.handler())
	t.Cleanup(s.Close)
	return b, strings.TrimPrefix(s.URL, "http://")
}

// engine is what bench adds to every command line; eachEngine sets it.
var engine = "auto"

// eachEngine runs a test over io_uring, where there is one, and over epoll.
func eachEngine(t *testing.T, test func(t *testing.T)) {
	for _, engine = range []string{"uring", "epoll"} {
		if r, err := newRing(); engine == "uring" && err != nil {
			t.Logf("without io_uring: %v", err)
			continue
		} else if err == nil {
			r.close()
		}
		t.Run(engine, test)
	}
	engine = "auto"
}

// bench runs the whole program and decodes its JSON.
func bench(t *testing.T, wantCode int, args ...string) *result.Result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := run(append(args, "-engine", engine, "-json", "-"), &stdout, &stderr); code != wantCode {
		t.Fatalf("exit code %d, want %d\n%s", code, wantCode, stderr.String())
	}
	if wantCode == 2 {
		return nil
	}
	var r result.Result
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		t.Fatalf("%v in %s", err, stdout.String())
	}
	return &r
}

func TestClosedLoop(t *testing.T) { eachEngine(t, closedLoop) }

func closedLoop(t *testing.T) {
	b, addr := startBroker(t)
	r := bench(t, 0, "-addr", addr, "-c", "8", "-n", "2000", "-warmup", "0s", "-stages", "-partitions", "3")
	if engine != "auto" && r.Engine != engine {
		t.Errorf("engine %s, want %s", r.Engine, engine)
	}
	if r.Requests != 2000 || r.Latency.Count != 2000 || b.produced.Load() != 2000 || r.ErrorCount() != 0 {
		t.Errorf("%+v; the server counted %d", r, b.produced.Load())
	}
	if r.BytesSent < 2000*64 || r.BytesRecv < 2000*40 || r.RequestsPerS <= 0 {
		t.Errorf("%+v", r)
	}
	if b.resets.Load() != 1 || len(r.Stages) != 1 || r.Stages[0].Stages["commit"].P50 != 181 {
		t.Errorf("%d resets, stages %+v", b.resets.Load(), r.Stages)
	}
}

func TestClosedLoopForATime(t *testing.T) { eachEngine(t, closedLoopForATime) }

func closedLoopForATime(t *testing.T) {
	_, addr := startBroker(t)
	r := bench(t, 0, "-addr", addr, "-c", "2", "-d", "200ms", "-warmup", "50ms")
	if r.Requests == 0 || r.ElapsedS < 0.1 {
		t.Errorf("%+v", r)
	}
}

func TestPipelining(t *testing.T) { eachEngine(t, pipelining) }

func pipelining(t *testing.T) {
	b, addr := startBroker(t)
	r := bench(t, 0, "-addr", addr, "-c", "2", "-pipeline", "16", "-n", "1000", "-warmup", "0s")
	if r.Requests != 1000 || b.produced.Load() != 1000 {
		t.Errorf("%d answers, the server counted %d", r.Requests, b.produced.Load())
	}
}

func TestOpenLoop(t *testing.T) { eachEngine(t, openLoop) }

func openLoop(t *testing.T) {
	b, addr := startBroker(t)
	r := bench(t, 0, "-addr", addr, "-c", "4", "-rate", "2000", "-d", "250ms", "-warmup", "100ms")
	if r.Requests != 500 || r.SendLag == nil || r.SendLag.Count != 500 || b.produced.Load() != 700 {
		t.Errorf("%+v; the server counted %d", r, b.produced.Load())
	}
}

func TestWorkloads(t *testing.T) { eachEngine(t, workloads) }

func workloads(t *testing.T) {
	b, addr := startBroker(t)
	consume := bench(t, 0, "-addr", addr, "-workload", "consume", "-prefill", "5000", "-c", "3", "-n", "50", "-warmup", "0s")
	if b.produced.Load() != 5000 || b.pages.Load() != 50 || consume.Messages != 5000 {
		t.Errorf("prefilled %d, served %d pages, %d messages", b.produced.Load(), b.pages.Load(), consume.Messages)
	}
	if consume.BytesRecv < 50*300_000 {
		t.Errorf("received %d bytes", consume.BytesRecv)
	}
	ndjson := bench(t, 0, "-addr", addr, "-workload", "ndjson", "-lines", "7", "-n", "10", "-c", "2", "-warmup", "0s")
	if ndjson.Messages != 70 || b.produced.Load() != 5070 {
		t.Errorf("%d messages, the server has %d", ndjson.Messages, b.produced.Load())
	}
	mixed := bench(t, 0, "-addr", addr, "-workload", "mixed", "-n", "100", "-c", "2", "-warmup", "0s", "-query", "timeout_ms=0")
	if len(mixed.Operations) != 3 || b.commits.Load() != 10 || mixed.Operations[0].Requests != 80 {
		t.Errorf("%+v, %d commits", mixed.Operations, b.commits.Load())
	}
	if health := bench(t, 0, "-addr", addr, "-workload", "health", "-n", "10", "-warmup", "0s"); health.Requests != 10 {
		t.Errorf("%+v", health)
	}
}

// TestLargeRequests does not fit into the socket's buffer, so writes are cut.
func TestLargeRequests(t *testing.T) { eachEngine(t, largeRequests) }

func largeRequests(t *testing.T) {
	b, addr := startBroker(t)
	r := bench(t, 0, "-addr", addr, "-size", "6000000", "-n", "5", "-c", "2", "-warmup", "0s")
	if r.Requests != 5 || r.BytesSent < 30_000_000 || b.produced.Load() != 5 {
		t.Errorf("%d answers, %d bytes", r.Requests, r.BytesSent)
	}
}

// TestMoreAnswersThanBuffers has all connections answered at once, more of them than
// the ring has buffers for.
func TestMoreAnswersThanBuffers(t *testing.T) { eachEngine(t, moreAnswersThanBuffers) }

func moreAnswersThanBuffers(t *testing.T) {
	b, addr := startBroker(t)
	const connections = ringBuffers + 200
	b.stall.Lock()
	go func() {
		defer b.stall.Unlock()
		for end := time.Now().Add(20 * time.Second); b.produced.Load() < connections && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
	}()
	r := bench(t, 0, "-addr", addr, "-c", strconv.Itoa(connections), "-n", strconv.Itoa(3*connections), "-warmup", "0s")
	if r.Requests != 3*connections || r.ErrorCount() != 0 {
		t.Errorf("%d answers, errors %v", r.Requests, r.Errors)
	}
}

// TestStallIsSeenByEveryScheduledRequest is the point of the open loop. The server
// stops for a while; a closed loop would report one slow request per connection.
func TestStallIsSeenByEveryScheduledRequest(t *testing.T) {
	eachEngine(t, stallIsSeenByEveryScheduledRequest)
}

func stallIsSeenByEveryScheduledRequest(t *testing.T) {
	b, addr := startBroker(t)
	b.stallAt = 50
	c, err := parseConfig([]string{"-engine", engine, "-addr", addr, "-c", "2", "-rate", "1000", "-n", "1000", "-warmup", "0s"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	m, err := measure(c)
	if err != nil {
		t.Fatal(err)
	}
	// Of the 400 requests due during the stall, those of its first half have
	// waited at least the other half. A slow machine only makes it more.
	slow := int64(0)
	for _, bar := range m.total.latency.Distribution() {
		if bar.From >= int64(stallTime)/2 {
			slow += bar.Count
		}
	}
	if slow < 150 {
		t.Errorf("%d requests saw the stall, want about 200 at least; there are 2 connections", slow)
	}
}

func TestErrorsFailTheRun(t *testing.T) { eachEngine(t, errorsFailTheRun) }

func errorsFailTheRun(t *testing.T) {
	b, addr := startBroker(t)
	b.refuse.Store(true)
	args := []string{"-addr", addr, "-workload", "health", "-n", "20", "-warmup", "0s", "-c", "2"}
	if r := bench(t, 1, args...); r.Errors["503"] != 20 || r.Requests != 0 || r.Latency.Count != 0 {
		t.Errorf("%+v", r)
	}
	if r := bench(t, 0, append(args, "-allow-errors")...); r.ErrorCount() != 20 {
		t.Errorf("%+v", r)
	}
	b.refuse.Store(false)
	if r := bench(t, 1, append(args, "-expect", "no such text")...); r.Errors["unexpected body"] != 20 {
		t.Errorf("%+v", r)
	}
}

// TestClosingServer answers three requests per connection and goes.
func TestClosingServer(t *testing.T) { eachEngine(t, closingServer) }

func closingServer(t *testing.T) {
	addr := serve(t, func(s net.Conn) {
		defer s.Close()
		buf := make([]byte, 4096)
		for range 3 {
			if _, err := s.Read(buf); err != nil {
				return
			}
			fmt.Fprint(s, "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"ok\":true}")
		}
	})
	r := bench(t, 1, "-addr", addr, "-workload", "health", "-c", "2", "-n", "40", "-warmup", "0s")
	if r.Errors["connection closed"] == 0 || r.Requests+r.ErrorCount() != 40 {
		t.Errorf("%+v", r)
	}
}

func TestServerThatIsNotThere(t *testing.T) { eachEngine(t, serverThatIsNotThere) }

func serverThatIsNotThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	bench(t, 2, "-addr", addr, "-workload", "health", "-n", "1")
	bench(t, 2, "-addr", addr, "-n", "1")
	bench(t, 2, "-addr", "127.0.0.1:notaport", "-workload", "health", "-n", "1")
}

func TestServerThatKeepsClosing(t *testing.T) { eachEngine(t, serverThatKeepsClosing) }

func serverThatKeepsClosing(t *testing.T) {
	addr := serve(t, func(s net.Conn) { s.Close() })
	bench(t, 2, "-addr", addr, "-workload", "health", "-n", "100000", "-c", "1", "-warmup", "0s")
}

func TestGarbageIsAnError(t *testing.T) { eachEngine(t, garbageIsAnError) }

func garbageIsAnError(t *testing.T) {
	addr := serve(t, func(s net.Conn) {
		defer s.Close()
		_, _ = s.Read(make([]byte, 4096))
		fmt.Fprint(s, "SSH-2.0-OpenSSH_9.2\r\n\r\n")
	})
	r := bench(t, 1, "-addr", addr, "-workload", "health", "-n", "3", "-c", "1", "-warmup", "0s")
	if r.Errors[errNotHTTP.Error()] != 3 {
		t.Errorf("%+v", r.Errors)
	}
}

// TestConnectAfterASignal looks at what is left when connect was interrupted.
func TestConnectAfterASignal(t *testing.T) {
	_, addr := startBroker(t)
	for _, test := range []struct {
		addr string
		want error
	}{{addr, nil}, {"127.0.0.1:1", unix.ECONNREFUSED}} {
		sa, err := resolve(test.addr)
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		// A non-blocking connect is where an interrupted one would be. One that
		// fails at once has had its say already.
		if err := unix.Connect(fd, sa); err != unix.EINPROGRESS && err != nil {
			if err != test.want {
				t.Errorf("%s: %v", test.addr, err)
			}
			continue
		}
		if err := connected(fd); err != test.want {
			t.Errorf("%s: %v, want %v", test.addr, err, test.want)
		}
	}
}

func TestResolve(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:80": "*unix.SockaddrInet4", ":80": "*unix.SockaddrInet4", "[::1]:80": "*unix.SockaddrInet6",
	} {
		sa, err := resolve(addr)
		if got := fmt.Sprintf("%T", sa); err != nil || got != want {
			t.Errorf("%s is %s, %v", addr, got, err)
		}
	}
	if sa, err := resolve("no port"); err == nil {
		t.Errorf("an address without a port is %v", sa)
	}
}

// TestSilentServer never answers: the phase ends all the same, and everything that
// was scheduled is counted with the time it waited.
func TestSilentServer(t *testing.T) { eachEngine(t, silentServer) }

func silentServer(t *testing.T) {
	addr := serve(t, func(s net.Conn) { _, _ = io.Copy(io.Discard, s) })
	c := testConfig("health")
	c.addr, c.connections, c.engine = addr, 2, engine
	d, err := c.dialect()
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLoop(c, d)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	l.patience = int64(50 * time.Millisecond)
	r := newRecorder(names(d), true)
	err = l.run(newOpenPacer(l.clock(), 1000, 100*time.Millisecond, 0), r)
	if !errors.Is(err, errUnanswered) {
		t.Fatalf("error %v, want %v", err, errUnanswered)
	}
	total := r.all()
	if r.errors["unanswered"] != 100 || total.latency.TotalCount() != 100 || total.maximumNs < l.patience {
		t.Errorf("%v, %d latencies up to %d ns", r.errors, total.latency.TotalCount(), total.maximumNs)
	}
}

func TestSpin(t *testing.T) { eachEngine(t, spin) }

func spin(t *testing.T) {
	_, addr := startBroker(t)
	r := bench(t, 0, "-addr", addr, "-workload", "health", "-rate", "500", "-n", "20", "-spin", "50us", "-warmup", "0s")
	if r.Requests != 20 {
		t.Errorf("%+v", r)
	}
}

func TestNATSEndToEnd(t *testing.T) { eachEngine(t, nATSEndToEnd) }

func nATSEndToEnd(t *testing.T) {
	var published atomic.Int64
	addr := serve(t, func(s net.Conn) {
		fakeNATS(s, func(subject string) string {
			if strings.HasPrefix(subject, "$JS") {
				return `{"type":"io.nats.jetstream.api.v1.stream_create_response"}`
			}
			return fmt.Sprintf(`{"stream":"bench", "seq":%d}`, published.Add(1))
		})
	})
	r := bench(t, 0, "-target", "nats", "-addr", addr, "-c", "4", "-n", "500", "-warmup", "0s")
	if r.Requests != 500 || published.Load() != 500 {
		t.Errorf("%d acks of %d", r.Requests, published.Load())
	}
}

func TestRESPEndToEnd(t *testing.T) { eachEngine(t, rESPEndToEnd) }

func rESPEndToEnd(t *testing.T) {
	addr := serve(t, func(s net.Conn) {
		defer s.Close()
		for buf := make([]byte, 4096); ; {
			if _, err := s.Read(buf); err != nil {
				return
			}
			fmt.Fprint(s, "$15\r\n1700000000000-0\r\n")
		}
	})
	r := bench(t, 0, "-target", "redis", "-addr", addr, "-c", "4", "-n", "500", "-warmup", "0s")
	if r.Requests != 500 || r.ErrorCount() != 0 {
		t.Errorf("%+v", r)
	}
}

func TestDisk(t *testing.T) {
	dir := t.TempDir()
	r := bench(t, 0, "-target", "disk", "-dir", dir, "-n", "20", "-warmup", "1ms")
	if r.Requests != 20 || r.BytesSent != 20*diskBlockBytes || r.Latency.P50 <= 0 {
		t.Errorf("%+v", r)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	bench(t, 2, "-target", "disk", "-dir", filepath.Join(dir, "missing"), "-n", "1")
}

// TestLoopAllocates: a run of many requests allocates no more than one of few.
func TestLoopAllocates(t *testing.T) { eachEngine(t, loopAllocates) }

func loopAllocates(t *testing.T) {
	addr := serve(t, func(s net.Conn) {
		defer s.Close()
		answer := []byte("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"ok\":true}")
		for buf := make([]byte, 4096); ; {
			if _, err := s.Read(buf); err != nil {
				return
			}
			if _, err := s.Write(answer); err != nil {
				return
			}
		}
	})
	c := testConfig("health")
	c.addr, c.connections, c.engine = addr, 2, engine
	d, err := c.dialect()
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLoop(c, d)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	r := newRecorder(names(d), false)
	allocs := testing.AllocsPerRun(3, func() {
		if err := l.run(newClosedPacer(0, 0, 2000), r); err != nil {
			t.Fatal(err)
		}
	})
	// The pacer, and whatever the runtime does behind a test server.
	if allocs > 50 {
		t.Errorf("%v allocations for 2000 requests", allocs)
	}
}
