package netpoll

import (
	"math"
	"sync/atomic"

	"ayder/internal/mailbox"
	"ayder/internal/uring"
)

// A loop: its public methods and the end of its turn, which both backends share. The beginning of a turn (wait, and
// hand out what has happened) is the backend's, because evio insists on calling us.
//
// The phases are ordered so that each finds what the earlier ones left: posted functions may resume connections,
// resumed connections may set deadlines and end, the ended are closed before BeforeWait, so that it commits in one
// group what the whole turn brought, and output goes last. What happens later than its phase (a connection that ends
// by its last byte sent, a Resume in BeforeWait) makes the loop take another turn without sleeping, so no phase needs
// to run twice. Rejected: phases repeated until nothing is left; a handler that always has something would starve the
// kernel's side.

// Loop is one thread with its connections. Methods are for that thread unless they say otherwise.
type Loop struct {
	// Context is the handler's own, to be set in Start.
	Context any
	// Busy, if the handler sets it in Start, reports work that Stop must not cut off, for instance log writes in
	// flight. After Shutdown, when no connection is left, the loop goes on while it is true (see StopGraceMs).
	Busy func() bool

	srv     *Server
	handler Handler
	sys     system
	ring    *uring.Ring
	index   int
	// shy: the system below closes a connection by itself at the peer's end of stream (evio), so it must not
	// receive while the peer waits for something.
	shy bool

	outputMax, inputMax int

	slots    slotTable
	pool     bufPool
	dirty    []*Conn // have output, or their state is to be looked at
	resumed  []*Conn // unblocked, may have bytes to show
	relieved []*Conn // full no more, Writable is to be called
	dying    []*Conn // Close is to be called

	posts *mailbox.Queue[func()]

	now      int64 // monotonic ns at the beginning of the turn
	wakeAt   int64 // asked for by the handler, 0: never
	sweepAt  int64 // next look at the deadlines, 0: none is set
	again    bool  // something is ready: do not sleep
	stats    LoopStats
	board    statsBoard
	finished atomic.Bool // the loop has ended; set by the loop, read by posters
}

func newLoop(s *Server, index int) *Loop {
	return &Loop{
		srv: s, handler: s.handler, index: index,
		outputMax: s.opts.OutputMax, inputMax: s.opts.InputMax,
		posts: mailbox.New[func()](math.MaxInt32), now: Now(),
	}
}

// Index is the loop's number, from 0. For any goroutine.
func (l *Loop) Index() int { return l.index }

// Ring is the io_uring of this loop, nil under evio.
func (l *Loop) Ring() *uring.Ring { return l.ring }

// Now is the monotonic time (see the function Now) at the beginning of this turn, in nanoseconds.
func (l *Loop) Now() int64 { return l.now }

// Draining reports that Drain or Shutdown was called. For any goroutine.
func (l *Loop) Draining() bool { return l.srv.phase.Load() != phaseServing }

// Stats are the loop's numbers as of its last turn. For any goroutine.
func (l *Loop) Stats() LoopStats { return l.board.read() }

// WakeAt asks for a turn, and so for BeforeWait, at about the monotonic time at. The earliest request wins; it is
// forgotten once it has passed.
func (l *Loop) WakeAt(at int64) {
	if l.wakeAt == 0 || at < l.wakeAt {
		l.wakeAt = at
	}
}

// Post has fn called on the loop soon. It never refuses, so it is for completions, whose number the caller bounds.
// After the loop has ended fn is dropped. For any goroutine.
func (l *Loop) Post(fn func()) {
	if l.finished.Load() {
		return
	}
	if !l.posts.Push(fn) {
		panic("bug: 2^31 functions posted to one loop")
	}
	l.sys.wake()
}

// TryPost is Post with a limit: false, and nothing happens, if about LoopPostsMax functions wait already or the loop
// has ended. For any goroutine.
func (l *Loop) TryPost(fn func()) bool {
	if l.posts.Len() >= LoopPostsMax || l.finished.Load() {
		return false
	}
	l.Post(fn)
	return true
}

// endTurn is everything between "what has happened was handed out" and the wait.
func (l *Loop) endTurn() {
	l.again = false
	l.posts.Drain(call)
	l.showResumed()
	l.tellRelieved()
	l.runTimers()
	l.reap()
	l.handler.BeforeWait(l)
	l.flush()
	l.endConns()
	l.stats.Turns++
	l.board.publish(&l.stats)
}

func call(fn func()) { fn() }

// endConns calls Close for connections that ended in BeforeWait or by the last byte sent. The handler may then have
// work for BeforeWait, so the loop does not sleep.
func (l *Loop) endConns() {
	if l.srv.phase.Load() == phaseAborting {
		l.killAll(ErrShutdown)
	}
	for len(l.dying) > 0 || len(l.dirty) > 0 {
		l.again = true
		l.reap()
		l.flush()
	}
}

// sleepFor is how long the loop may sleep, in nanoseconds: 0 not at all, below 0 for ever.
func (l *Loop) sleepFor() int64 {
	if l.again || len(l.resumed) > 0 || len(l.relieved) > 0 || l.posts.Len() > 0 {
		return 0
	}
	return l.untilTimer()
}

// open begins a connection on the socket fd, which is a bridge to the TLS front where secure. It has been admitted.
func (l *Loop) open(fd int, remote string, secure bool) *Conn {
	c := &Conn{loop: l, fd: fd, remote: remote, need: 1, outMax: l.outputMax, secure: secure}
	if !l.slots.add(c) {
		return nil
	}
	l.stats.Accepted++
	l.stats.Conns++
	return c
}

// done reports whether the loop has nothing left to do after Shutdown. No connection is left on any loop: others may
// forward work to this one until then.
func (l *Loop) done() bool {
	if l.srv.phase.Load() < phaseEnding || l.srv.ears.Load() > 0 || l.srv.conns.Load() > 0 || l.slots.live > 0 || l.posts.Len() > 0 {
		return false
	}
	return l.Busy == nil || !l.Busy() || l.srv.graceOver(Now())
}

// stop is the end of a loop.
func (l *Loop) stop() {
	l.handler.Stop(l)
	l.finished.Store(true)
	l.board.publish(&l.stats)
}
