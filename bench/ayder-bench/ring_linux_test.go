package main

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestKernelStructs pins sizes and offsets of what the kernel reads and writes.
func TestKernelStructs(t *testing.T) {
	var s sqe
	var p params
	var w waitArg
	for name, got := range map[string][2]uintptr{
		"sqe":               {unsafe.Sizeof(s), 64},
		"sqe.addr":          {unsafe.Offsetof(s.addr), 16},
		"sqe.opFlags":       {unsafe.Offsetof(s.opFlags), 28},
		"sqe.userData":      {unsafe.Offsetof(s.userData), 32},
		"sqe.group":         {unsafe.Offsetof(s.group), 40},
		"cqe":               {unsafe.Sizeof(cqe{}), 16},
		"params":            {unsafe.Sizeof(p), 120},
		"params.sqArray":    {unsafe.Offsetof(p.sqArray), 64},
		"params.cqHead":     {unsafe.Offsetof(p.cqHead), 80},
		"params.cqCqes":     {unsafe.Offsetof(p.cqCqes), 100},
		"bufEntry":          {unsafe.Sizeof(bufEntry{}), 16},
		"bufEntry.tail":     {unsafe.Offsetof(bufEntry{}.tail), 14},
		"getevents_arg":     {unsafe.Offsetof(w.seconds), 24},
		"getevents_arg.ts":  {unsafe.Offsetof(w.ts), 16},
		"timespec after it": {unsafe.Sizeof(w) - unsafe.Offsetof(w.seconds), unsafe.Sizeof(unix.Timespec{})},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: %d, want %d", name, got[0], got[1])
		}
	}
}

// openRing ties the test to its thread: a ring serves the thread that made it only.
func openRing(t *testing.T) *ring {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	r, err := newRing()
	if errors.Is(err, errNoRing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	return r
}

func TestRingWaitsForATime(t *testing.T) {
	r := openRing(t)
	begin := time.Now()
	if err := r.enter(1, int64(20*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(begin); waited < 15*time.Millisecond { // a signal may cut it short, but not to nothing
		t.Errorf("waited %v, want 20 ms", waited)
	}
	if _, ok := r.next(); ok {
		t.Error("something completed")
	}
}

// TestRingTakesMoreThanItsQueue: more submissions than the queue holds.
func TestRingTakesMoreThanItsQueue(t *testing.T) {
	r := openRing(t)
	const many = 3*ringSubmissions + 7
	for i := range uint64(many) {
		s, err := r.submission()
		if err != nil {
			t.Fatal(err)
		}
		s.userData = i // opcode 0 does nothing
	}
	seen := map[uint64]bool{}
	for range 100 {
		if err := r.enter(0, 0); err != nil {
			t.Fatal(err)
		}
		for {
			c, ok := r.next()
			if !ok {
				break
			}
			if c.res != 0 || seen[c.userData] {
				t.Fatalf("completion %+v", c)
			}
			seen[c.userData] = true
		}
	}
	if len(seen) != many {
		t.Errorf("%d completions of %d", len(seen), many)
	}
}

// TestBuffersGoRound receives more often than there are buffers, and looks at every
// byte, so a buffer that is given back too early, or twice, is noticed.
func TestBuffersGoRound(t *testing.T) {
	r := openRing(t)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	arm := func() {
		s, err := r.submission()
		if err != nil {
			t.Fatal(err)
		}
		s.opcode, s.fd, s.flags, s.ioPrio = opRecv, int32(fds[0]), sqeBufferSelect, recvMultishot
	}
	arm()
	for i := range 3 * ringBuffers {
		text := []byte{byte(i), byte(i >> 8), 'x'}
		if _, err := unix.Write(fds[1], text); err != nil {
			t.Fatal(err)
		}
		if err := r.enter(1, int64(10*time.Second)); err != nil {
			t.Fatal(err)
		}
		c, ok := r.next()
		if !ok || c.res != 3 {
			t.Fatalf("receive %d: %+v, %v", i, c, ok)
		}
		id := uint16(c.flags >> cqeBufferShift)
		if got := r.buffer(id)[:3]; string(got) != string(text) {
			t.Fatalf("receive %d: %v, want %v", i, got, text)
		}
		r.giveBack(id)
		r.publishBuffers()
		if c.flags&cqeMore == 0 {
			arm()
		}
	}
}

func TestLendGrows(t *testing.T) {
	at := &slot{}
	for _, size := range []int{1, 4096, 4097, 100, 1 << 20} {
		p := payload(size)
		if err := at.lend(p); err != nil {
			t.Fatal(err)
		}
		if at.sending != size || string(at.lent[:size]) != string(p) || len(at.lent)%os.Getpagesize() != 0 {
			t.Errorf("%d bytes lent of %d", at.sending, len(at.lent))
		}
	}
	if err := unix.Munmap(at.lent); err != nil {
		t.Error(err)
	}
}

// deaf is an inbox that fails the test when it is told anything.
type deaf struct{ t *testing.T }

func (d deaf) input(*conn, []byte) error { d.t.Error("input of a connection that is gone"); return nil }

func (d deaf) broken(*conn) error { d.t.Error("end of a connection that is gone"); return nil }

// TestDroppedConnectionIsSilent drops a connection whose input and end are still to
// be reported.
func TestDroppedConnectionIsSilent(t *testing.T) {
	openRing(t)
	m, err := newUringMover(1, deaf{t})
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1])
	c := newConn(0, 1)
	c.fd = fds[0]
	if err := m.add(c); err != nil {
		t.Fatal(err)
	}
	if err := m.ring.enter(0, 0); err != nil { // arms the receive
		t.Fatal(err)
	}
	if _, err := unix.Write(fds[1], []byte(strings.Repeat("x", 100))); err != nil {
		t.Fatal(err)
	}
	if err := m.send(c, []byte("request")); err != nil {
		t.Fatal(err)
	}
	m.drop(c)
	for range 5 {
		if err := m.wait(int64(5 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEngineIsChosen(t *testing.T) {
	openRing(t)
	for engine, want := range map[string]string{"auto": "uring", "uring": "uring", "epoll": "epoll"} {
		m, err := newMover(&config{engine: engine, connections: 1}, deaf{t})
		if err != nil {
			t.Fatal(err)
		}
		if m.name() != want {
			t.Errorf("%s is %s, want %s", engine, m.name(), want)
		}
		m.close()
	}
}
