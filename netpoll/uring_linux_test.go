package netpoll

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ayder/internal/uring"
)

// What only the io_uring backend can do or promise.

func needUring(t *testing.T) {
	t.Helper()
	if err := uring.Probe(); err != nil {
		t.Skipf("no io_uring: %v", err)
	}
}

// TestSeveralLoops: connections are spread evenly, each loop has its own state, and all end together.
func TestSeveralLoops(t *testing.T) {
	needUring(t)
	const loops, conns = 3, 12
	h := &script{}
	s := start(t, Options{Backend: BackendUring, Loops: loops}, h)
	var open []*client
	for range conns {
		c := dial(t, s)
		c.send("later x\n")
		c.want("x\n")
		c.send("busy 1\n")
		open = append(open, c)
	}
	for _, c := range open {
		c.want("woken\n")
	}
	for i, l := range s.Loops() {
		if l.Index() != i {
			t.Errorf("loop %d says it is %d", i, l.Index())
		}
		until(t, "its share", func() bool { return l.Stats().Conns == conns/loops })
	}
}

// TestLoopsPostToEachOther: the way a request takes to the loop that owns its partition, and back.
func TestLoopsPostToEachOther(t *testing.T) {
	needUring(t)
	h := &script{}
	var server atomic.Pointer[Server]
	h.onData = func(c *Conn, _ []byte) {
		c.Hold(1)
		there := server.Load().Loops()[1-c.Loop().Index()]
		if !there.TryPost(func() {
			c.Loop().Post(func() {
				c.Write([]byte("back\n"))
				c.Hold(-1)
			})
		}) {
			c.Abort()
		}
	}
	s := start(t, Options{Backend: BackendUring, Loops: 2}, h)
	server.Store(s)
	var w sync.WaitGroup
	for range 8 {
		c := dial(t, s)
		w.Go(func() {
			for range 200 {
				c.send("go\n")
				c.want("go\nback\n")
			}
		})
	}
	w.Wait()
}

// TestInject: a socket that was connected elsewhere becomes a connection, also if it is non-blocking.
func TestInject(t *testing.T) {
	needUring(t)
	h := &script{}
	s := start(t, Options{Backend: BackendUring}, h)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(pair[0]), "far end")
	defer f.Close()
	s.Loops()[0].Inject(pair[1])
	sendText(t, f, "hello\n")
	wantText(t, f, "hello\n")
}

// TestHundredsAtOnce: more arrivals in one turn than there are receive buffers lose nothing.
func TestReceiveBuffersRunOut(t *testing.T) {
	needUring(t)
	h := &script{}
	s := start(t, Options{Backend: BackendUring}, h)
	const conns, lines = 64, 6000
	text := strings.Repeat("0123456789012345678901234567890123456789\n", lines)
	var clients []*client
	for range conns {
		clients = append(clients, dial(t, s))
	}
	stall := make(chan bool)
	s.Loops()[0].Post(func() { <-stall }) // everything gathers in the kernel
	var w sync.WaitGroup
	for _, c := range clients {
		w.Go(func() { _, _ = io.WriteString(c, text) })
		w.Go(func() { c.want(text) })
	}
	time.Sleep(50 * time.Millisecond)
	close(stall)
	w.Wait()
	t.Logf("%d receives starved", s.Loops()[0].Stats().Starved)
}

// TestAcceptWithoutDescriptors: accepting rests when descriptors run out, and goes on when there are some again.
func TestAcceptWithoutDescriptors(t *testing.T) {
	needUring(t)
	limitDescriptors(t, 60)
	h := &script{}
	s := start(t, Options{Backend: BackendUring}, h)
	first := dial(t, s)
	first.send("hello\n")
	first.want("hello\n")
	used := useUpDescriptors(t)
	_ = unix.Close(used[0]) // one for our end, none for the server's
	starved := dial(t, s)
	l := s.Loops()[0]
	until(t, "a failure", func() bool { return l.Stats().AcceptErrors > 0 })
	before, began := l.Stats(), time.Now()
	first.send("hello\n") // others are served
	first.want("hello\n")
	time.Sleep(3 * AcceptPauseMs * time.Millisecond)
	n := l.Stats().AcceptErrors - before.AcceptErrors
	if pauses := time.Since(began).Milliseconds()/AcceptPauseMs + 1; n > 5*pauses {
		t.Errorf("%d more failures in %d pauses: it spins", n, pauses)
	}
	for _, fd := range used[1:] {
		_ = unix.Close(fd)
	}
	starved.send("hello\n")
	starved.want("hello\n")
}

// limitDescriptors leaves the process about n descriptors for the rest of the test. (io_uring looks at the limit when
// accept is armed, so it must be low before the server starts.)
func limitDescriptors(t *testing.T, n int) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	highest, err := unix.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(highest)
	low := unix.Rlimit{Cur: uint64(highest + n), Max: old.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
			t.Error(err)
		}
	})
}

// useUpDescriptors opens files until no more can be opened.
func useUpDescriptors(t *testing.T) (used []int) {
	t.Helper()
	for {
		fd, err := unix.Dup(0)
		if err == unix.EMFILE && len(used) > 0 {
			return used
		}
		if err != nil {
			t.Fatal(err)
		}
		used = append(used, fd)
	}
}

// TestTurnAllocatesNothing: in the steady state neither a turn nor a request allocates, with answers at once and with
// answers that a later turn gives. The client is system calls on plain descriptors, so that it allocates nothing.
func TestTurnAllocatesNothing(t *testing.T) {
	needUring(t)
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	h := &parking{}
	s, err := listen(t, Options{Backend: BackendUring}, h)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	fds := make([]int, 16)
	for i := range fds {
		fds[i] = rawDial(t, s)
		defer unix.Close(fds[i])
	}
	request, reply := []byte("0123456789"), make([]byte, 64)
	const rounds = 3000
	round := func() {
		for _, fd := range fds {
			if _, err := unix.Write(fd, request); err != nil {
				t.Fatal(err)
			}
		}
		for _, fd := range fds {
			if n, err := unix.Read(fd, reply); err != nil || n != len(request) {
				t.Fatalf("read %d: %v", n, err)
			}
		}
	}
	for range 200 {
		round()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range rounds {
		round()
	}
	runtime.ReadMemStats(&after)
	requests := uint64(rounds * len(fds))
	if n := after.Mallocs - before.Mallocs; n > requests/1000 {
		t.Errorf("%d allocations in %d requests", n, requests)
	}
	go func() { _ = s.Shutdown(t.Context()) }()
	for _, fd := range fds {
		_ = unix.Shutdown(fd, unix.SHUT_RDWR)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// parking answers every second request at once and the others in BeforeWait of the next turn but one, as a commit
// would: with Pause, Hold, a deadline, a post and a wake-up time.
type parking struct {
	parked []*Conn
	count  int
	post   func()
}

func (p *parking) Start(l *Loop) { p.post = func() {} }
func (p *parking) Open(*Conn)    {}

func (p *parking) Data(c *Conn, b []byte) int {
	c.SetDeadline(c.Loop().Now() + ms(120_000))
	if p.count++; p.count%2 == 0 {
		c.Write(b)
		return len(b)
	}
	c.Pause()
	c.Hold(1)
	p.parked = append(p.parked, c)
	c.Loop().Post(p.post)
	return len(b)
}

func (p *parking) BeforeWait(l *Loop) {
	for _, c := range p.parked {
		c.SetBuffer(append(c.Buffer(), "0123456789"...))
		c.Hold(-1)
		c.Resume()
	}
	p.parked = p.parked[:0]
	l.WakeAt(l.Now() + ms(1000))
}
func (p *parking) Writable(*Conn)     {}
func (p *parking) Timeout(*Conn)      {}
func (p *parking) Close(*Conn, error) {}
func (p *parking) Stop(*Loop)         {}

// rawDial connects a blocking descriptor.
func rawDial(t *testing.T, s *Server) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	addr := s.Addr().(*net.TCPAddr)
	sa := &unix.SockaddrInet4{Port: addr.Port}
	copy(sa.Addr[:], addr.IP.To4())
	if err := unix.Connect(fd, sa); err != nil {
		t.Fatal(err)
	}
	return fd
}

// TestIdleConnectionIsSmall: an idle connection holds no buffer, and little else.
func TestIdleConnectionIsSmall(t *testing.T) {
	needUring(t)
	h := &script{}
	s := start(t, Options{Backend: BackendUring}, h)
	const conns = 1000
	fds := make([]int, conns)
	for i := range fds {
		fds[i] = rawDial(t, s)
		defer unix.Close(fds[i])
	}
	request := []byte("hello\n")
	for _, fd := range fds {
		if _, err := unix.Write(fd, request); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(request))
		if _, err := unix.Read(fd, got); err != nil || !bytes.Equal(got, request) {
			t.Fatalf("%q %v", got, err)
		}
	}
	idle := make(chan error)
	s.Loops()[0].Post(func() { idle <- allIdle(s.Loops()[0]) })
	if err := <-idle; err != nil {
		t.Error(err)
	}
}

// allIdle checks that no connection of l holds a buffer.
func allIdle(l *Loop) error {
	for _, c := range l.slots.conns {
		if c != nil && (c.in != nil || c.out != nil || c.flight != nil) {
			return fmt.Errorf("connection %d holds buffers: in %d, out %d, flight %d", c.id, cap(c.in), cap(c.out), cap(c.flight))
		}
	}
	if l.pool.held > 64<<10 {
		return fmt.Errorf("%d bytes are pooled after one small answer at a time", l.pool.held)
	}
	return nil
}
