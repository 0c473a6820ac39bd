package netpoll

import (
	"errors"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// The part above the backends alone, on a system that only notes what it is asked.

// fakeSystem is a system without sockets.
type fakeSystem struct {
	sends     []*Conn
	receiving map[*Conn]bool
	hungUp    map[*Conn]bool
	dropped   []*Conn
	wakes     int
}

func (f *fakeSystem) send(c *Conn)             { f.sends = append(f.sends, c) }
func (f *fakeSystem) receive(c *Conn, on bool) { f.receiving[c] = on }
func (f *fakeSystem) hangUp(c *Conn)           { f.hungUp[c] = true }
func (f *fakeSystem) drop(c *Conn)             { f.dropped = append(f.dropped, c) }
func (f *fakeSystem) wake()                    { f.wakes++ }

// funcs is a handler of functions; missing ones do nothing.
type funcs struct {
	data       func(c *Conn, b []byte) int
	writable   func(c *Conn)
	timeout    func(c *Conn)
	close      func(c *Conn, err error)
	beforeWait func(l *Loop)
}

func (h *funcs) Start(*Loop) {}
func (h *funcs) Open(*Conn)  {}
func (h *funcs) Stop(*Loop)  {}
func (h *funcs) Data(c *Conn, b []byte) int {
	if h.data == nil {
		return len(b)
	}
	return h.data(c, b)
}

func (h *funcs) Writable(c *Conn) {
	if h.writable != nil {
		h.writable(c)
	}
}

func (h *funcs) Timeout(c *Conn) {
	if h.timeout != nil {
		h.timeout(c)
	}
}

func (h *funcs) Close(c *Conn, err error) {
	if h.close != nil {
		h.close(c, err)
	}
}

func (h *funcs) BeforeWait(l *Loop) {
	if h.beforeWait != nil {
		h.beforeWait(l)
	}
}

// newTestLoop is a loop on a fakeSystem.
func newTestLoop(t *testing.T, h Handler, o Options) (*Loop, *fakeSystem) {
	t.Helper()
	if err := o.complete(); err != nil {
		t.Fatal(err)
	}
	s := &Server{opts: o, handler: h, log: o.Logger}
	l := newLoop(s, 0)
	f := &fakeSystem{receiving: make(map[*Conn]bool), hungUp: make(map[*Conn]bool)}
	l.sys = f
	s.loops = []*Loop{l}
	return l, f
}

func newTestConn(l *Loop) *Conn {
	c := l.open(-1, "test", true)
	l.steer(c)
	return c
}

func TestPauseCostsNothingUntilMuchHasCome(t *testing.T) {
	var shown int
	h := &funcs{data: func(_ *Conn, b []byte) int { shown += len(b); return len(b) }}
	l, f := newTestLoop(t, h, Options{})
	c := newTestConn(l)
	c.Pause()
	l.received(c, make([]byte, PausedInputBytes-1))
	if !f.receiving[c] || shown != 0 {
		t.Fatalf("receiving %v, %d bytes shown", f.receiving[c], shown)
	}
	l.received(c, make([]byte, 1))
	if f.receiving[c] {
		t.Fatal("receives on although much is kept")
	}
	c.Resume()
	l.endTurn()
	if !f.receiving[c] || shown != PausedInputBytes || c.in != nil {
		t.Errorf("after Resume: receiving %v, %d bytes shown, buffer of %d", f.receiving[c], shown, cap(c.in))
	}
}

func TestInputMaxStopsReceiving(t *testing.T) {
	use := 0
	h := &funcs{data: func(_ *Conn, b []byte) int { return min(use, len(b)) }}
	l, f := newTestLoop(t, h, Options{InputMax: 1000})
	c := newTestConn(l)
	l.received(c, make([]byte, 999))
	if !f.receiving[c] {
		t.Fatal("stopped too early")
	}
	l.received(c, make([]byte, 1))
	if f.receiving[c] {
		t.Fatal("not stopped")
	}
	c.Need(1 << 30)
	if c.need != 1000 {
		t.Errorf("Need beyond InputMax is %d", c.need)
	}
	use = 10
	c.Pause()
	c.Resume()
	l.endTurn()
	if !f.receiving[c] || c.held() != 990 {
		t.Errorf("receiving %v, %d held", f.receiving[c], c.held())
	}
}

// TestResumeInEveryCall: a handler that pauses and resumes without using anything does not keep the loop in one
// phase, and does not let it sleep either.
func TestResumeInEveryCall(t *testing.T) {
	calls := 0
	h := &funcs{data: func(c *Conn, _ []byte) int {
		calls++
		c.Pause()
		c.Resume()
		return 0
	}}
	l, _ := newTestLoop(t, h, Options{})
	c := newTestConn(l)
	l.received(c, []byte("x"))
	for range 5 {
		l.endTurn()
		if l.sleepFor() != 0 {
			t.Fatal("sleeps although a connection was resumed")
		}
	}
	if calls != 6 {
		t.Errorf("%d calls in 6 turns", calls)
	}
}

func TestNoSleepAfterLateWork(t *testing.T) {
	for name, work := range map[string]func(c *Conn){
		"resume with bytes": func(c *Conn) { c.Resume() },
		"abort":             func(c *Conn) { c.Abort() },
		"post":              func(c *Conn) { c.Loop().Post(func() {}) },
		"due wake-up":       func(c *Conn) { c.Loop().WakeAt(c.Loop().Now()) },
	} {
		t.Run(name, func(t *testing.T) {
			h := &funcs{}
			l, _ := newTestLoop(t, h, Options{})
			c := newTestConn(l)
			c.Pause()
			l.received(c, []byte("kept"))
			l.endTurn()
			if l.sleepFor() == 0 {
				t.Fatal("does not sleep with nothing to do")
			}
			h.beforeWait = func(*Loop) { work(c) }
			l.endTurn()
			if l.sleepFor() != 0 {
				t.Error("sleeps")
			}
		})
	}
}

func TestOneSendPerTurn(t *testing.T) {
	l, f := newTestLoop(t, &funcs{}, Options{})
	c := newTestConn(l)
	for range 10 {
		c.Write([]byte("0123456789"))
	}
	if c.Queued() != 100 || len(f.sends) != 0 {
		t.Fatalf("%d queued, %d sends", c.Queued(), len(f.sends))
	}
	l.endTurn()
	c.Write([]byte("more"))
	l.endTurn()
	if len(f.sends) != 1 || c.Queued() != 104 {
		t.Fatalf("%d sends with one under way, %d queued", len(f.sends), c.Queued())
	}
	if !l.sent(c, 40, nil) || c.Queued() != 64 {
		t.Fatalf("a short send does not go on; %d queued", c.Queued())
	}
	if l.sent(c, 60, nil) {
		t.Fatal("a complete send goes on")
	}
	l.endTurn()
	if len(f.sends) != 2 || string(c.flight) != "more" {
		t.Errorf("%d sends, in flight %q", len(f.sends), c.flight)
	}
}

// TestWritableOncePerRelief: told once, in the phase after completions, and not if it is full again or dead by then.
func TestWritableOncePerRelief(t *testing.T) {
	told := 0
	h := &funcs{writable: func(*Conn) { told++ }}
	l, _ := newTestLoop(t, h, Options{OutputMax: 1000})
	c := newTestConn(l)
	c.LimitOutput(2000)
	c.LimitOutput(100)
	relieve := func() {
		c.Write(make([]byte, 101))
		l.flushConn(c)
		if !c.Full() {
			t.Fatal("not full above its own limit")
		}
		l.sent(c, 101, nil)
	}
	relieve()
	relieve()
	if told != 0 || l.sleepFor() != 0 {
		t.Fatalf("told %d times before the turn, sleeping for %d", told, l.sleepFor())
	}
	l.endTurn()
	if told != 1 || l.sleepFor() == 0 {
		t.Fatalf("told %d times, sleeping for %d", told, l.sleepFor())
	}
	relieve()
	c.Write(make([]byte, 101))
	l.endTurn()
	l.sent(c, 101, nil)
	l.kill(c, nil)
	l.endTurn()
	if told != 1 {
		t.Errorf("told %d times of a full or a dead connection", told-1)
	}
}

func TestFullUntilHalfIsGone(t *testing.T) {
	calls := 0
	h := &funcs{data: func(_ *Conn, b []byte) int { calls++; return len(b) }}
	l, _ := newTestLoop(t, h, Options{OutputMax: 100})
	c := newTestConn(l)
	c.Write(make([]byte, 100))
	if c.Full() {
		t.Fatal("full at the limit")
	}
	c.Write(make([]byte, 1))
	l.endTurn()
	l.received(c, []byte("x"))
	if !c.Full() || calls != 0 {
		t.Fatalf("full %v, %d calls", c.Full(), calls)
	}
	l.sent(c, 50, nil)
	if !c.Full() {
		t.Fatal("not full with 51 of 100 queued")
	}
	l.sent(c, 2, nil)
	l.endTurn()
	if c.Full() || calls != 1 {
		t.Errorf("full %v with 49 queued, %d calls", c.Full(), calls)
	}
}

// TestFlightSurvivesDeath: the buffer of a send under way is not given back before its completion.
func TestFlightSurvivesDeath(t *testing.T) {
	closed := 0
	h := &funcs{close: func(*Conn, error) { closed++ }}
	l, f := newTestLoop(t, h, Options{})
	c := newTestConn(l)
	c.Write([]byte("on its way"))
	l.endTurn()
	c.Write([]byte("too late"))
	c.Abort()
	l.endTurn()
	if closed != 1 || len(f.dropped) != 1 || l.pool.holds(c.flight) {
		t.Fatalf("%d closed, %d dropped, flight pooled %v", closed, len(f.dropped), l.pool.holds(c.flight))
	}
	flight := c.flight
	if l.sent(c, 3, nil) {
		t.Error("the send of a dead connection goes on")
	}
	l.forget(c)
	if !l.pool.holds(flight) || l.slots.live != 0 {
		t.Errorf("flight pooled %v, %d live", l.pool.holds(flight), l.slots.live)
	}
}

// holds reports whether b's memory is among the free buffers.
func (p *bufPool) holds(b []byte) bool {
	for _, stack := range p.free {
		for _, f := range stack {
			if unsafe.SliceData(f) == unsafe.SliceData(b) {
				return true
			}
		}
	}
	return false
}

func TestDeadMethodsDoNothing(t *testing.T) {
	l, f := newTestLoop(t, &funcs{}, Options{})
	c := newTestConn(l)
	c.Hold(1)
	c.Abort()
	l.endTurn()
	c.Write([]byte("x"))
	c.SetBuffer(append(c.Buffer(), "y"...))
	c.SetBuffer(append(c.Reserve(100), "z"...))
	c.SetDeadline(1)
	c.Pause()
	c.Resume()
	c.Hold(-1)
	c.Abort()
	c.CloseWhenSent()
	l.endTurn()
	if len(f.sends) != 0 || len(f.dropped) != 1 || l.slots.armed != 0 || c.Queued() != 0 {
		t.Errorf("%d sends, %d drops, %d deadlines, %d queued", len(f.sends), len(f.dropped), l.slots.armed, c.Queued())
	}
}

func TestCloseWhenSentWaitsForOwedAnswers(t *testing.T) {
	l, f := newTestLoop(t, &funcs{}, Options{})
	c := newTestConn(l)
	c.Hold(1)
	c.CloseWhenSent()
	l.endTurn()
	if f.hungUp[c] || l.slots.armed != 0 {
		t.Fatalf("hung up %v, %d deadlines while an answer is owed", f.hungUp[c], l.slots.armed)
	}
	c.Write([]byte("answer"))
	c.Hold(-1)
	l.endTurn()
	if f.hungUp[c] || l.slots.deadline(c) == 0 {
		t.Fatal("hung up before the answer was sent, or nothing bounds the wait")
	}
	l.sent(c, 6, nil)
	l.endTurn()
	if !f.hungUp[c] || c.dying {
		t.Fatalf("hung up %v, dying %v", f.hungUp[c], c.dying)
	}
	l.ended(c)
	l.endTurn()
	if len(f.dropped) != 1 {
		t.Error("not dropped at the peer's end")
	}
}

func TestClosingIsBounded(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(l *Loop, c *Conn)
		err  error
	}{
		{"peer takes nothing", func(l *Loop, _ *Conn) { l.now += ms(CloseFlushMs + SweepMs) }, ErrFlushTimeout},
		{"peer never ends", func(l *Loop, c *Conn) {
			l.sent(c, 1, nil)
			l.endTurn()
			l.now += ms(DrainMs + SweepMs)
		}, nil},
		{"peer sends for ever", func(l *Loop, c *Conn) {
			l.sent(c, 1, nil)
			l.endTurn()
			for range DrainBytes>>20 + 1 {
				l.received(c, make([]byte, 1<<20))
			}
		}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got error
			closed := false
			l, _ := newTestLoop(t, &funcs{close: func(_ *Conn, err error) { closed, got = true, err }}, Options{})
			c := newTestConn(l)
			c.Write([]byte("x"))
			c.CloseWhenSent()
			l.endTurn()
			tc.end(l, c)
			l.endTurn()
			if !closed || !errors.Is(got, tc.err) {
				t.Errorf("closed %v with %v, want %v", closed, got, tc.err)
			}
		})
	}
}

func TestDeadlinesAndWakeAt(t *testing.T) {
	fired := make(map[*Conn]int)
	l, _ := newTestLoop(t, &funcs{timeout: func(c *Conn) { fired[c]++ }}, Options{})
	l.now = 1
	early, late, cleared := newTestConn(l), newTestConn(l), newTestConn(l)
	early.SetDeadline(l.now + ms(500))
	late.SetDeadline(l.now + ms(5000))
	cleared.SetDeadline(l.now + ms(500))
	cleared.SetDeadline(0)
	if got := l.sleepFor(); got != ms(SweepMs) {
		t.Errorf("sleeps %d ns before the sweep", got)
	}
	l.WakeAt(l.now + ms(20))
	l.WakeAt(l.now + ms(10))
	l.WakeAt(l.now + ms(30))
	if got := l.sleepFor(); got != ms(10) {
		t.Errorf("sleeps %d ns, want the earliest wake-up", got)
	}
	l.now += ms(SweepMs)
	l.endTurn()
	if fired[early] != 1 || fired[late] != 0 || fired[cleared] != 0 {
		t.Errorf("fired %v", fired)
	}
	l.now += ms(5000)
	l.endTurn()
	if fired[early] != 1 || fired[late] != 1 || l.slots.armed != 0 || l.sleepFor() >= 0 {
		t.Errorf("fired %v, %d armed, sleeps %d", fired, l.slots.armed, l.sleepFor())
	}
}

// TestKeepGathersOnce: an announced body is gathered in one buffer; an unannounced one grows by doubling.
func TestKeepGathersOnce(t *testing.T) {
	const size = 3 << 20
	h := &funcs{data: func(c *Conn, b []byte) int {
		if len(b) < size {
			c.Need(size)
			return 0
		}
		return size
	}}
	l, _ := newTestLoop(t, h, Options{})
	c := newTestConn(l)
	segment := make([]byte, ReceiveBufferBytes)
	l.received(c, segment)
	first := unsafe.SliceData(c.in)
	for got := len(segment); got < size-len(segment); got += len(segment) {
		l.received(c, segment)
		if unsafe.SliceData(c.in) != first {
			t.Fatalf("moved after %d bytes", got)
		}
	}
	l.received(c, segment)
	l.received(c, segment)
	if c.held() >= size {
		t.Errorf("%d bytes are still held", c.held())
	}
}

// TestInputInRandomPieces: however input is cut and however little Data uses, it sees every byte once and in order.
func TestInputInRandomPieces(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var seen []byte
		h := &funcs{data: func(c *Conn, b []byte) int {
			if rnd.IntN(4) == 0 {
				c.Need(len(b) + rnd.IntN(300))
				return 0
			}
			n := rnd.IntN(len(b) + 1)
			seen = append(seen, b[:n]...)
			if rnd.IntN(5) == 0 {
				c.Pause()
			}
			return n
		}}
		l, _ := newTestLoop(t, h, Options{})
		c := newTestConn(l)
		all := pattern(20_000)
		for rest := all; len(rest) > 0; {
			n := min(1+rnd.IntN(400), len(rest))
			l.received(c, rest[:n])
			rest = rest[n:]
			if rnd.IntN(3) == 0 {
				c.Resume()
			}
			l.endTurn()
		}
		if held := c.in[c.inStart:]; string(seen)+string(held) != string(all) {
			t.Fatalf("seed %d: %d seen and %d held of %d", seed, len(seen), len(held), len(all))
		}
	}
}

func TestSlots(t *testing.T) {
	var table slotTable
	a, b := &Conn{}, &Conn{}
	table.add(a)
	table.add(b)
	old := a.id
	if table.at(a.id) != a || table.at(b.id) != b || table.live != 2 {
		t.Fatal("a slot has lost its connection")
	}
	table.setDeadline(a, 5)
	table.setDeadline(a, 6)
	table.remove(a)
	if table.at(old) != nil || table.armed != 0 {
		t.Fatalf("a removed connection is found, or its deadline: %d", table.armed)
	}
	c := &Conn{}
	table.add(c)
	if c.id&slotMask != old&slotMask || c.id == old || table.at(old) != nil || table.at(c.id) != c {
		t.Errorf("slot used again: id %#x after %#x", c.id, old)
	}
	if table.at(999) != nil || c.id>>56 != 0 {
		t.Errorf("unknown id found, or id %#x has more than 56 bits", c.id)
	}
	defer func() {
		if recover() == nil {
			t.Error("a connection can be removed twice")
		}
	}()
	table.remove(a)
}

func TestPool(t *testing.T) {
	var p bufPool
	for _, n := range []int{0, 1, 4096, 4097, 8192, 100_000, 1 << 20} {
		b := p.get(n)
		if cap(b) < n || len(b) != 0 {
			t.Errorf("asked for %d, got %d of %d", n, len(b), cap(b))
		}
		p.put(append(b, 1))
		if again := p.get(n); unsafe.SliceData(again) != unsafe.SliceData(b) || len(again) != 0 {
			t.Errorf("a buffer of %d is not used again", n)
		}
	}
	p.put(make([]byte, 0, 100))   // too small
	p.put(make([]byte, 0, 2<<20)) // too large
	p.put(make([]byte, 0, 5000))  // grown by append: serves as 4 KiB
	if b := p.get(4096); cap(b) != 5000 || p.held != 0 {
		t.Errorf("got %d, %d held", cap(b), p.held)
	}
	for range poolBytesMax>>20 + 5 {
		p.put(make([]byte, 0, 1<<20))
	}
	if p.held > poolBytesMax {
		t.Errorf("%d bytes held, the limit is %d", p.held, poolBytesMax)
	}
}

func TestConnIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(Conn{}); size > 512 {
		t.Errorf("a connection is %d bytes, want at most 512", size)
	}
}
