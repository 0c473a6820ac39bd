package netpoll

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ayder/internal/uring"
)

// One suite for both backends: every test below runs on uring and on evio over real sockets.

// backends runs a test on each backend that works here.
func backends(t *testing.T, test func(t *testing.T, backend string)) {
	for _, b := range []string{BackendUring, BackendEvio} {
		t.Run(b, func(t *testing.T) {
			if b == BackendUring {
				if err := uring.Probe(); err != nil {
					t.Skipf("no io_uring: %v", err)
				}
			}
			test(t, b)
		})
	}
}

// start runs a server until the test ends, and then checks what must always hold.
func start(t *testing.T, o Options, h *script) *Server {
	t.Helper()
	s, err := listen(t, o, h)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // whoever is left is aborted
		_ = s.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		h.async.Wait()
		h.check(t)
		if n := s.Conns(); n != 0 {
			t.Errorf("%d connections are still counted", n)
		}
	})
	return s
}

func listen(t *testing.T, o Options, h Handler) (*Server, error) {
	t.Helper()
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(testWriter{t}, nil))
	}
	return Listen(o, h)
}

// testWriter is a log that is shown when the test fails.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", bytes.TrimSuffix(p, []byte("\n")))
	return len(p), nil
}

// client is a connection of a test with its reader.
type client struct {
	t *testing.T
	*net.TCPConn
	r *bufio.Reader
}

func dial(t *testing.T, s *Server) *client {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(hangGuard)); err != nil {
		t.Fatal(err)
	}
	return &client{t: t, TCPConn: c.(*net.TCPConn), r: bufio.NewReader(c)}
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) want(text string) {
	c.t.Helper()
	got := make([]byte, len(text))
	n, err := io.ReadFull(c.r, got)
	if err != nil || string(got) != text {
		c.t.Fatalf("got %.200q after %d bytes (%v), want %.200q", got[:n], n, err, text)
	}
}

func (c *client) wantPattern(n int) {
	c.t.Helper()
	c.want(string(pattern(n)))
}

func (c *client) wantEOF() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.r); err != nil || len(rest) > 0 {
		c.t.Fatalf("got %d more bytes (%.100q) and %v, want the end", len(rest), rest, err)
	}
}

func TestEcho(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		s := start(t, Options{Backend: backend}, &script{})
		if s.Backend() != backend || s.Reason() == "" {
			t.Errorf("backend %s (%s), want %s", s.Backend(), s.Reason(), backend)
		}
		c := dial(t, s)
		for i := range 100 {
			line := fmt.Sprintf("line %d\n", i)
			c.send(line)
			c.want(line)
		}
		until(t, "the numbers", func() bool {
			st := s.Loops()[0].Stats()
			return st.Conns == 1 && st.Accepted == 1 && st.BytesIn == st.BytesOut && st.BytesIn > 0 && st.Turns > 0
		})
	})
}

func TestLargeBodiesBothWays(t *testing.T) {
	const size = 8<<20 - 16
	body := string(pattern(size))
	for _, verb := range []string{"echo", "part"} {
		backends(t, func(t *testing.T, backend string) {
			s := start(t, Options{Backend: backend, OutputMax: 1 << 20}, &script{})
			c := dial(t, s)
			var w sync.WaitGroup
			w.Go(func() { _, _ = fmt.Fprintf(c, "%s %d\n%send\n", verb, size, body) })
			c.want(body)
			c.want("end\n")
			w.Wait()
		})
	}
}

// TestNeedShowsBodyOnce: a body that Need announced is not shown for every segment.
func TestNeedShowsBodyOnce(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		const size = 4 << 20
		var calls atomic.Int64
		h := &script{onData: func(*Conn, []byte) { calls.Add(1) }}
		s := start(t, Options{Backend: backend}, h)
		c := dial(t, s)
		c.send(fmt.Sprintf("echo %d\n", size))
		c.send(string(pattern(size)))
		c.wantPattern(size)
		if n := calls.Load(); n > 3 {
			t.Errorf("Data was called %d times for one body", n)
		}
	})
}

func TestByteByByte(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		s := start(t, Options{Backend: backend}, &script{})
		c := dial(t, s)
		_ = c.SetNoDelay(true)
		for _, b := range []byte("hello\necho 5\nabcdelater x\n") {
			c.send(string(b))
			time.Sleep(100 * time.Microsecond)
		}
		c.want("hello\nabcdex\n")
	})
}

func TestSplitAtEveryBoundary(t *testing.T) {
	const request = "first\necho 10\n0123456789last\n"
	backends(t, func(t *testing.T, backend string) {
		s := start(t, Options{Backend: backend}, &script{})
		c := dial(t, s)
		for i := 1; i < len(request); i++ {
			c.send(request[:i])
			if i%4 == 0 {
				time.Sleep(time.Millisecond)
			}
			c.send(request[i:])
			c.want("first\n0123456789last\n")
		}
	})
}

func TestPipelining(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		s := start(t, Options{Backend: backend}, &script{})
		c := dial(t, s)
		var want strings.Builder
		for i := range 20_000 {
			fmt.Fprintf(&want, "request number %d\n", i)
		}
		var w sync.WaitGroup
		w.Go(func() { _, _ = io.WriteString(c, want.String()) })
		c.want(want.String())
		w.Wait()
	})
}

func TestRepliesFromOtherGoroutines(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		s := start(t, Options{Backend: backend}, &script{})
		var w sync.WaitGroup
		for k := range 20 {
			c := dial(t, s)
			w.Go(func() {
				for i := range 50 {
					text := fmt.Sprintf("%d-%d", k, i)
					c.send("later " + text + "\n")
					c.want(text + "\n")
				}
			})
		}
		w.Wait()
	})
}

func TestPauseAndResume(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		s := start(t, Options{Backend: backend}, &script{})
		c := dial(t, s)
		c.send("pause 20\nafter\n") // "after" is kept
		c.want("resumed\nafter\n")
		c.send("pause 20\n")
		c.want("resumed\n") // nothing is kept
		c.send("again\n")
		c.want("again\n")
		c.send("pause 30\n")
		c.send("echo 7\nabc") // comes during the pause
		c.send("defg")
		c.want("resumed\nabcdefg")
	})
}

// TestPauseBoundsInput: a paused connection does not gather what its peer sends for ever.
func TestPauseBoundsInput(t *testing.T) {
	const size = 64 << 20
	backends(t, func(t *testing.T, backend string) {
		h := &script{}
		s := start(t, Options{Backend: backend}, h)
		c := dial(t, s)
		c.send("rest\n")
		c.want("resting\n")
		var w sync.WaitGroup
		w.Go(func() {
			_, _ = fmt.Fprintf(c, "part %d\n", size)
			_, _ = c.Write(make([]byte, size))
		})
		time.Sleep(150 * time.Millisecond) // too short only makes the test weaker
		// Kernels without a limit for one receive (6.1 has none) give a connection all the loop's buffers before they listen.
		if in := s.Loops()[0].Stats().BytesIn; in > 4<<20+ReceiveBuffers*ReceiveBufferBytes {
			t.Errorf("%d bytes were received during the pause", in)
		}
		h.goOn()
		c.want("resumed\n")
		if n, err := io.CopyN(io.Discard, c.r, size); err != nil {
			t.Fatalf("after %d bytes: %v", n, err)
		}
		w.Wait()
	})
}

// TestSlowReader: output is bounded when the peer does not read, and complete when it does.
func TestSlowReader(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		const piece, pieces, limit = 100_000, 400, 1 << 20
		h := &script{}
		s := start(t, Options{Backend: backend, OutputMax: limit}, h)
		c := dial(t, s)
		_ = c.SetReadBuffer(64 << 10)
		var w sync.WaitGroup
		w.Go(func() {
			for range pieces {
				_, _ = fmt.Fprintf(c, "make %d\n", piece)
			}
		})
		time.Sleep(200 * time.Millisecond)
		other := dial(t, s) // the loop is not held up
		other.send("hello\n")
		other.want("hello\n")
		for range pieces {
			c.wantPattern(piece)
		}
		w.Wait()
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.queued > limit+piece {
			t.Errorf("%d bytes were queued, the limit is %d", h.queued, limit)
		}
	})
}

// TestWritable: a handler that sends until the connection is full is told when it may go on, until all is sent, also when
// the peer does not read for a while.
func TestWritable(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		const size = 12 << 20
		h := &script{}
		s := start(t, Options{Backend: backend}, h)
		c := dial(t, s)
		_ = c.SetReadBuffer(64 << 10)
		c.send(fmt.Sprintf("flow %d\n", size))
		until(t, "a full connection", func() bool {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.queued > flowLimit
		})
		other := dial(t, s)
		other.send("hello\n")
		other.want("hello\n")
		c.wantPattern(size)
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.queued > flowLimit+flowPiece {
			t.Errorf("%d bytes were queued, the limit is %d", h.queued, flowLimit)
		}
	})
}

// TestHalfClose: answers that are owed when the peer ends its stream are sent.
func TestHalfClose(t *testing.T) {
	const size = 6 << 20
	for _, tc := range []struct {
		name, send string
		want       func(c *client)
	}{
		{"nothing", "", func(*client) {}},
		{"at once", "hello\n", func(c *client) { c.want("hello\n") }},
		{"posted", "later a\nlater b\n", func(c *client) { c.r.Discard(4) }},
		{"from BeforeWait", "busy 50\n", func(c *client) { c.want("woken\n") }},
		{"paused", "pause 50\n", func(c *client) { c.want("resumed\n") }},
		{"kept behind a pause", "pause 50\nafter\n", func(c *client) { c.want("resumed\nafter\n") }},
		{"large", fmt.Sprintf("make %d\n", size), func(c *client) { c.wantPattern(size) }},
		{"large, with more", fmt.Sprintf("make %d\nbusy 50\nend\n", size), func(c *client) {
			c.wantPattern(size)
			c.want("end\nwoken\n")
		}},
		{"incomplete", "echo 100\nabc", func(*client) {}},
		{"close when sent", fmt.Sprintf("bye %d\n", size), func(c *client) { c.wantPattern(size) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			backends(t, func(t *testing.T, backend string) {
				h := &script{}
				s := start(t, Options{Backend: backend}, h)
				c := dial(t, s)
				c.send(tc.send)
				if err := c.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Millisecond) // the usual order; any must work
				tc.want(c)
				c.wantEOF()
				if err := h.closeErr(t, 1); err != nil {
					t.Errorf("closed with %v", err)
				}
			})
		})
	}
}

// TestResetInTheMiddle: a peer that resets while much is queued or an answer is owed ends its connection alone.
func TestResetInTheMiddle(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		h := &script{}
		s := start(t, Options{Backend: backend, OutputMax: 64 << 20}, h)
		for i := range 30 {
			c := dial(t, s)
			c.send([]string{"make 20000000\n", "part 100000\nabc", "pause 20\nx\n", "busy 20\n", "x"}[i%5])
			if i%2 == 0 {
				time.Sleep(5 * time.Millisecond)
			}
			_ = c.SetLinger(0)
			_ = c.Close()
		}
		h.closeErr(t, 30)
		c := dial(t, s)
		c.send("make 3000000\n")
		c.wantPattern(3_000_000)
	})
}

// TestManyShortConnections: 2,000 connections from 50 clients, ended in every way there is.
func TestManyShortConnections(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		h := &script{}
		s := start(t, Options{Backend: backend}, h)
		const clients, each = 50, 40
		var w sync.WaitGroup
		for range clients {
			w.Go(func() {
				for i := range each {
					if err := shortConnection(s.Addr().String(), i%5); err != nil {
						t.Error(err)
					}
				}
			})
		}
		w.Wait()
		h.closeErr(t, clients*each)
		until(t, "all to be gone", func() bool { return s.Conns() == 0 })
		if st := s.Loops()[0].Stats(); st.Accepted != clients*each {
			t.Errorf("%d accepted, want %d", st.Accepted, clients*each)
		}
	})
}

func shortConnection(addr string, way int) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	c := conn.(*net.TCPConn)
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(hangGuard))
	request := []string{"hi\n", "bye 1000\n", "abort\n", "later x\n", ""}[way]
	if _, err := io.WriteString(c, request); err != nil {
		return err
	}
	switch way {
	case 0:
		_, err = io.ReadFull(c, make([]byte, 3))
	case 1:
		var got []byte
		if got, err = io.ReadAll(c); err == nil && !bytes.Equal(got, pattern(1000)) {
			err = fmt.Errorf("bye: got %d bytes", len(got))
		}
	case 2:
		if _, err = c.Read(make([]byte, 1)); err == io.EOF || errors.Is(err, syscall.ECONNRESET) {
			err = nil
		}
	case 3:
		_ = c.SetLinger(0)
	}
	if err != nil {
		return fmt.Errorf("way %d: %w", way, err)
	}
	return nil
}

func TestConnsMax(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		h := &script{}
		s := start(t, Options{Backend: backend, ConnsMax: 3}, h)
		var open []*client
		for range 3 {
			c := dial(t, s)
			c.send("hello\n")
			c.want("hello\n")
			open = append(open, c)
		}
		refused := dial(t, s)
		if n, err := refused.Read(make([]byte, 1)); err == nil {
			t.Errorf("a fourth connection got %d bytes", n)
		}
		until(t, "the refusal to be counted", func() bool { return s.Loops()[0].Stats().Refused == 1 })
		_ = open[0].Close()
		until(t, "room", func() bool { return s.Conns() == 2 })
		c := dial(t, s)
		c.send("hello\n")
		c.want("hello\n")
	})
}

func TestDeadlines(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		h := &script{}
		s := start(t, Options{Backend: backend}, h)
		quick, extended := dial(t, s), dial(t, s)
		extended.send("limit 1\nlimit 600000\n")
		quick.send("limit 1\n")
		quick.want("timeout\n")
		quick.wantEOF()
		extended.send("still here\n")
		extended.want("still here\n")
	})
}

func TestWakeAt(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		s := start(t, Options{Backend: backend}, &script{})
		c := dial(t, s)
		begin := time.Now()
		c.send("busy 60000\nbusy 30\n") // the earliest wins
		c.want("woken\n")
		if d := time.Since(begin); d < 30*time.Millisecond {
			t.Errorf("woken after %v already", d)
		}
		c.Close()
	})
}

// TestCloseWhenSent: the peer gets the whole answer and an orderly end even if it goes on sending.
func TestCloseWhenSent(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		h := &script{}
		s := start(t, Options{Backend: backend}, h)
		for _, more := range []int{0, 100, 4 << 20} {
			c := dial(t, s)
			const size = 1_000_000
			c.send(fmt.Sprintf("bye %d\n", size))
			var w sync.WaitGroup
			w.Go(func() { _, _ = c.Write(make([]byte, more)) })
			c.wantPattern(size)
			c.wantEOF()
			w.Wait()
			_ = c.Close()
		}
		for i := range 3 {
			if err := h.closeErr(t, i+1); err != nil {
				t.Errorf("connection %d closed with %v", i, err)
			}
		}
	})
}

// TestDrainIsBounded: after CloseWhenSent a peer that never ends is cut off.
func TestDrainIsBounded(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		h := &script{}
		s := start(t, Options{Backend: backend}, h)
		silent, flood := dial(t, s), dial(t, s)
		silent.send("bye 10\n")
		silent.wantPattern(10)
		flood.send("bye 10\n")
		var w sync.WaitGroup
		w.Go(func() {
			for {
				if _, err := flood.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		})
		h.closeErr(t, 2)
		w.Wait()
	})
}

func TestAbort(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		h := &script{}
		s := start(t, Options{Backend: backend}, h)
		c := dial(t, s)
		c.send("abort\nnever\n")
		if n, err := io.Copy(io.Discard, c); n > 0 {
			t.Errorf("got %d bytes (%v) after an abort", n, err)
		}
		if err := h.closeErr(t, 1); !errors.Is(err, ErrAborted) {
			t.Errorf("closed with %v", err)
		}
	})
}

func TestRemoteAddr(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		s := start(t, Options{Backend: backend}, &script{})
		c := dial(t, s)
		c.send("peer\n")
		c.want(c.LocalAddr().String() + "\n")
	})
}

func TestPortTaken(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		s := start(t, Options{Backend: backend}, &script{})
		for _, again := range []string{backend, BackendAuto} {
			_, err := listen(t, Options{Backend: again, Addr: s.Addr().String()}, &script{})
			if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), s.Addr().String()) {
				t.Errorf("%s: listening on a taken port: %v", again, err)
			}
		}
	})
}

func TestShutdownDrains(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		h := &script{closeIdle: true}
		s := start(t, Options{Backend: backend}, h)
		idle, waiting := dial(t, s), dial(t, s)
		idle.send("hello\n")
		idle.want("hello\n")
		waiting.send("busy 100\n")
		until(t, "the request to arrive", func() bool { return s.Loops()[0].Stats().BytesIn == 15 })
		down := make(chan error, 1)
		go func() { down <- s.Shutdown(context.Background()) }()
		idle.wantEOF()
		_ = idle.Close()
		waiting.want("woken\n")
		waiting.wantEOF()
		_ = waiting.Close()
		if err := <-down; err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if h.draining.Load() == 0 || h.stops.Load() != 1 {
			t.Errorf("%d draining turns, %d stops", h.draining.Load(), h.stops.Load())
		}
		if _, err := net.Dial("tcp", s.Addr().String()); err == nil {
			t.Error("the port is still open")
		}
		if s.Loops()[0].TryPost(func() {}) {
			t.Error("a loop that has ended takes posts")
		}
		s.Loops()[0].Post(func() { t.Error("ran after the end") })
	})
}

// TestPortIsFreeAfterShutdown: a server that takes the place of another at once finds the port free.
func TestPortIsFreeAfterShutdown(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		addr := "127.0.0.1:0"
		for range 30 {
			s := start(t, Options{Backend: backend, Addr: addr}, &script{})
			addr = s.Addr().String()
			c := dial(t, s)
			c.send("hello\n")
			c.want("hello\n")
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_ = s.Shutdown(ctx)
		}
	})
}

func TestShutdownAborts(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		h := &script{}
		s := start(t, Options{Backend: backend}, h)
		c := dial(t, s)
		c.send("hello\n")
		c.want("hello\n")
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("shutdown: %v", err)
		}
		if err := h.closeErr(t, 1); !errors.Is(err, ErrShutdown) {
			t.Errorf("closed with %v", err)
		}
	})
}

// TestBusyHoldsUpStop: a loop does not end while the handler has work in flight.
func TestBusyHoldsUpStop(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		h := &script{}
		s := start(t, Options{Backend: backend}, h)
		c := dial(t, s)
		c.send("hello\n")
		c.want("hello\n")
		_ = c.Close()
		work := make(chan bool)
		s.Loops()[0].Post(func() {
			busy := true
			s.Loops()[0].Busy = func() bool { return busy }
			go func() {
				<-work
				s.Loops()[0].Post(func() { busy = false })
			}()
		})
		down := make(chan error, 1)
		go func() { down <- s.Shutdown(context.Background()) }()
		until(t, "draining", func() bool { return h.draining.Load() > 0 })
		if h.stops.Load() != 0 {
			t.Error("stopped while busy")
		}
		close(work)
		if err := <-down; err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
}

func TestShutdownWithoutServe(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		h := &script{}
		s, err := listen(t, Options{Backend: backend}, h)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := s.Serve(); err != nil || h.starts.Load() != 0 {
			t.Errorf("serve after shutdown: %v, %d starts", err, h.starts.Load())
		}
	})
}

func TestPosts(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		s := start(t, Options{Backend: backend}, &script{})
		l := s.Loops()[0]
		var w sync.WaitGroup
		sum := 0 // the loop's alone
		for range 8 {
			w.Go(func() {
				for range 1000 {
					l.Post(func() { sum++ })
				}
			})
		}
		w.Wait()
		last := make(chan int)
		l.Post(func() { last <- sum })
		if got := <-last; got != 8000 {
			t.Errorf("%d posted functions ran, want 8000", got)
		}
		held, hold := make(chan bool), make(chan bool)
		l.Post(func() { close(held); <-hold })
		<-held
		refused := false
		for range LoopPostsMax + 2 {
			refused = !l.TryPost(func() {})
		}
		close(hold)
		if !refused {
			t.Error("TryPost has no limit")
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{
		{Loops: -1},
		{Loops: LoopsMax + 1},
		{ConnsMax: -1},
		{ConnsMax: connSlotsMax + 1},
		{OutputMax: -1},
		{InputMax: -1},
		{Backend: "epoll"},
		{TLSAddr: "127.0.0.1:0"},
		{Addr: "127.0.0.1:notaport"},
		{Addr: "127.0.0.1:0", TLSAddr: "x:y:z"},
	} {
		if s, err := listen(t, o, &script{}); err == nil {
			t.Errorf("%+v is accepted", o)
			_ = s.Shutdown(context.Background())
		}
	}
}
