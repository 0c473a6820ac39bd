package netpoll

import (
	"bytes"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// script is the handler of the conformance suite. A request is a line, some with a body; each makes the loop do one
// of the things the suite is about:
//
//	echo N\n + N bytes   the same N bytes (gathered by Need)
//	part N\n + N bytes   the same, used and answered piece by piece
//	make N\n             N bytes of the pattern
//	flow N\n             N bytes of the pattern, never more queued than flowLimit and a piece
//	later TEXT\n         TEXT\n, posted by another goroutine; an answer is owed meanwhile
//	pause MS\n           "resumed\n" after a pause of MS milliseconds
//	rest\n               "resting\n" and a pause until goOn is called, then "resumed\n"
//	busy MS\n            "woken\n" from BeforeWait, MS milliseconds later
//	peer\n               the address of the peer
//	secure\n             "true\n" if the peer speaks TLS, else "false\n"
//	limit MS\n           sets the deadline; "timeout\n" and close when it passes
//	bye N\n              N bytes of the pattern and CloseWhenSent
//	abort\n              Abort
//	anything else\n      the line itself
type script struct {
	starts, stops, opened, closed atomic.Int64
	draining                      atomic.Int64 // turns in which BeforeWait saw Draining

	mu     sync.Mutex
	errs   []error // what Close got
	twice  int     // Close without Open, or a second one
	live   map[*Conn]bool
	queued int // the most that was ever queued on a connection
	rests  *Conn

	closeIdle bool                    // close all connections when draining
	onData    func(c *Conn, b []byte) // for one test's own purposes
	onClose   func(c *Conn)
	async     sync.WaitGroup
}

// scriptLoop is a loop's state.
type scriptLoop struct {
	wake []*Conn
	at   []int64
	all  map[*Conn]bool
}

// scriptConn is a connection's state.
type scriptConn struct {
	partLeft        int // bytes of "part" to come
	flowing, flowed int // bytes of "flow": all, and those that were queued
}

func (s *script) Start(l *Loop) {
	s.starts.Add(1)
	l.Context = &scriptLoop{all: make(map[*Conn]bool)}
}

func (s *script) Open(c *Conn) {
	s.opened.Add(1)
	c.Context = &scriptConn{}
	c.Loop().Context.(*scriptLoop).all[c] = true
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live == nil {
		s.live = make(map[*Conn]bool)
	}
	s.live[c] = true
}

func (s *script) Close(c *Conn, err error) {
	s.closed.Add(1)
	if s.onClose != nil {
		s.onClose(c)
	}
	delete(c.Loop().Context.(*scriptLoop).all, c)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs = append(s.errs, err)
	if !s.live[c] || !c.Closed() {
		s.twice++
	}
	delete(s.live, c)
	c.Write([]byte("nobody reads this")) // harmless
	c.Pause()
	c.Resume()
	c.CloseWhenSent()
	c.Abort()
}

func (s *script) Writable(c *Conn) { s.flow(c) }

const flowLimit, flowPiece = 64 << 10, 10_000

// flow sends as much as may be queued.
func (s *script) flow(c *Conn) {
	st := c.Context.(*scriptConn)
	for st.flowed < st.flowing && !c.Full() {
		n := min(flowPiece, st.flowing-st.flowed)
		b := c.Reserve(n)
		for i := range n {
			b = append(b, patternAt(st.flowed+i))
		}
		c.SetBuffer(b)
		st.flowed += n
		s.note(c.Queued())
	}
}

func (s *script) Timeout(c *Conn) {
	c.Write([]byte("timeout\n"))
	c.CloseWhenSent()
}

func (s *script) BeforeWait(l *Loop) {
	st := l.Context.(*scriptLoop)
	if l.Draining() {
		s.draining.Add(1)
		if s.closeIdle {
			for c := range st.all {
				if c.Holds() == 0 {
					c.CloseWhenSent()
				}
			}
		}
	}
	for i := 0; i < len(st.wake); i++ {
		if Now() >= st.at[i] {
			st.wake[i].Write([]byte("woken\n"))
			st.wake[i].Hold(-1)
			st.wake = append(st.wake[:i], st.wake[i+1:]...)
			st.at = append(st.at[:i], st.at[i+1:]...)
			i--
			continue
		}
		l.WakeAt(st.at[i])
	}
}

func (s *script) Stop(l *Loop) { s.stops.Add(1) }

func (s *script) Data(c *Conn, buf []byte) int {
	if s.onData != nil {
		s.onData(c, buf)
	}
	used := 0
	for used < len(buf) && !c.Paused() && !c.Closed() && !c.Full() {
		n := s.one(c, buf[used:])
		if n == 0 {
			break
		}
		used += n
		s.note(c.Queued())
	}
	return used
}

func (s *script) note(queued int) {
	s.mu.Lock()
	s.queued = max(s.queued, queued)
	s.mu.Unlock()
}

// one does one request, or returns 0 if it is not complete.
func (s *script) one(c *Conn, b []byte) int {
	st := c.Context.(*scriptConn)
	if st.partLeft > 0 {
		n := min(len(b), st.partLeft)
		c.Write(b[:n])
		st.partLeft -= n
		return n
	}
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		return 0
	}
	verb, arg, _ := bytes.Cut(b[:end], []byte(" "))
	n, _ := strconv.Atoi(string(arg))
	used := end + 1
	switch string(verb) {
	case "echo":
		if len(b) < used+n {
			c.Need(used + n)
			return 0
		}
		c.Write(b[used : used+n])
		used += n
	case "part":
		st.partLeft = n
	case "make":
		c.SetBuffer(appendPattern(c.Reserve(n), n))
	case "flow":
		c.LimitOutput(flowLimit)
		st.flowing = n
		s.flow(c)
	case "later":
		s.later(c, string(arg)+"\n")
	case "pause":
		c.Pause()
		s.after(n, c, func() {
			c.Write([]byte("resumed\n"))
			c.Resume()
		})
	case "rest":
		c.Write([]byte("resting\n"))
		c.Pause()
		s.mu.Lock()
		s.rests = c
		s.mu.Unlock()
	case "busy":
		c.Hold(1)
		sl := c.Loop().Context.(*scriptLoop)
		sl.wake = append(sl.wake, c)
		sl.at = append(sl.at, Now()+ms(int64(n)))
	case "peer":
		c.Write([]byte(c.RemoteAddr() + "\n"))
	case "secure":
		c.Write(strconv.AppendBool(nil, c.Secure()))
		c.Write([]byte("\n"))
	case "limit":
		c.SetDeadline(Now() + ms(int64(n)))
	case "bye":
		c.SetBuffer(appendPattern(c.Buffer(), n))
		c.CloseWhenSent()
	case "abort":
		c.Abort()
	default:
		c.Write(b[:used])
	}
	return used
}

// goOn ends a rest.
func (s *script) goOn() {
	s.mu.Lock()
	c := s.rests
	s.mu.Unlock()
	c.Loop().Post(func() {
		c.Write([]byte("resumed\n"))
		c.Resume()
	})
}

func (s *script) later(c *Conn, text string) {
	c.Hold(1)
	s.after(0, c, func() {
		c.Write([]byte(text))
		c.Hold(-1)
	})
}

func (s *script) after(ms int, c *Conn, fn func()) {
	s.async.Go(func() {
		time.Sleep(time.Duration(ms) * time.Millisecond)
		c.Loop().Post(fn)
	})
}

// check is what must hold after the server has ended.
func (s *script) check(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.twice > 0 || len(s.live) > 0 || s.opened.Load() != s.closed.Load() {
		t.Errorf("%d opened, %d closed, %d never closed, %d closed twice", s.opened.Load(), s.closed.Load(),
			len(s.live), s.twice)
	}
	if s.starts.Load() != s.stops.Load() {
		t.Errorf("%d starts, %d stops", s.starts.Load(), s.stops.Load())
	}
}

// lastErr waits for the n-th Close and returns its error.
func (s *script) closeErr(t *testing.T, n int) error {
	t.Helper()
	until(t, fmt.Sprintf("close number %d", n), func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.errs) >= n
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.errs[n-1]
}

// appendPattern appends n bytes whose position can be told from their values.
func appendPattern(b []byte, n int) []byte {
	for i := range n {
		b = append(b, patternAt(i))
	}
	return b
}

func patternAt(i int) byte { return byte(i) ^ byte(i>>8)*31 ^ byte(i>>16)*17 }

func pattern(n int) []byte { return appendPattern(make([]byte, 0, n), n) }

// until waits for something that must happen; the deadline only guards against a hang.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(hangGuard); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

const hangGuard = 60 * time.Second
