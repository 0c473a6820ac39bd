package main

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// The event loop: one thread, every connection at once. A turn is: send what is due,
// wait, take every input, answer input with the next request on the same connection.
//
// Time. Sleeping is left to the kernel's own waits with a timeout in nanoseconds
// (epoll_pwait2, or a timed io_uring_enter), with the thread's timer slack set to 1 ns
// (the default lets the kernel be 50 µs late). epoll_wait's milliseconds, time.Sleep
// and tickers were rejected: each puts a floor of about 1 ms under an open loop's
// latencies, wrk2's does. Where a sleeping processor takes long to wake, -spin polls
// through the last microseconds; on few cores that costs the server more than it
// gains the client.
//
// Cost. Requests are copied from templates, input is parsed where the kernel put it,
// and nothing is allocated. How bytes move is behind a seam with two sides.
type loop struct {
	dialect  dialect
	ops      []operation
	addr     unix.Sockaddr
	base     time.Time // clock() counts from here
	now      int64     // as of the latest clock()
	spin     int64     // ns
	patience int64     // ns, for answers that are late; drainMax outside of tests

	mover  mover
	conns  []*conn
	free   []*conn // a ring of connections with room, longest free first
	freeAt int
	freeN  int

	send     []byte
	inFlight int

	pacer      pacer
	recorder   *recorder
	progress   int64 // ns, when the latest input came
	reconnects int
}

// A mover carries bytes between connections and the loop; everything runs on the
// loop's thread.
type mover interface {
	// name is for the report.
	name() string
	// add takes over c, whose blocking socket is fresh.
	add(c *conn) error
	// send takes p before it returns; what does not fit goes out later.
	send(c *conn, p []byte) error
	// wait blocks until something happened, at most ns, and reports it to the inbox.
	wait(ns int64) error
	// drop closes the socket of c; nothing more is reported of it.
	drop(c *conn)
	// close ends all that is left.
	close()
}

// An inbox is told what a mover found; it may add and drop connections meanwhile.
type inbox interface {
	// input is called with bytes in order; p is valid during the call.
	input(c *conn, p []byte) error
	// broken is called when no more input will come.
	broken(c *conn) error
}

var errServerGone = errors.New("the server is gone")

// newLoop connects everything. It ties the calling goroutine to its thread, on
// which every other method must be called too.
func newLoop(c *config, d dialect) (*loop, error) {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("set timer slack: %w", err)
	}
	addr, err := resolve(c.addr)
	if err != nil {
		return nil, err
	}
	l := &loop{
		dialect: d, ops: d.operations(), addr: addr, base: time.Now(),
		spin: int64(c.spin), patience: int64(drainMax), free: make([]*conn, c.connections),
	}
	if l.mover, err = newMover(c, l); err != nil {
		return nil, err
	}
	for i := range c.connections {
		l.conns = append(l.conns, newConn(i, c.pipeline))
		if err := l.connect(l.conns[i]); err != nil {
			l.close()
			return nil, err
		}
	}
	return l, nil
}

// newMover is the one that c names; auto takes the ring where there is one.
func newMover(c *config, to inbox) (mover, error) {
	if c.engine != "epoll" {
		m, err := newUringMover(c.connections, to)
		if err == nil {
			return m, nil
		}
		if c.engine == "uring" || !errors.Is(err, errNoRing) {
			return nil, err
		}
	}
	return newEpollMover(c.connections, to)
}

// engine names the mover.
func (l *loop) engine() string { return l.mover.name() }

// close ends all connections.
func (l *loop) close() {
	for _, c := range l.conns {
		if c.fd >= 0 {
			l.mover.drop(c)
			c.fd = -1
		}
	}
	l.mover.close()
	runtime.UnlockOSThread()
}

// clock reads the monotonic clock (through the vDSO; unix.ClockGettime would be a
// system call).
func (l *loop) clock() int64 {
	l.now = int64(time.Since(l.base))
	return l.now
}

// run is one phase: it sends what p hands out, records in r, and returns when all
// answers came. It gives up with errUnanswered, and the connections are of no more
// use, when answers are late by its patience: after the schedule's end, or after the
// latest input.
func (l *loop) run(p pacer, r *recorder) error {
	l.begin(p, r)
	for {
		l.clock()
		if err := l.dispatch(); err != nil {
			return err
		}
		if p.done(l.now) && l.inFlight == 0 {
			return nil
		}
		if l.overdue() > 0 {
			return l.abandon()
		}
		if err := l.mover.wait(l.sleep()); err != nil {
			return err
		}
	}
}

// begin makes every connection free.
func (l *loop) begin(p pacer, r *recorder) {
	l.pacer, l.recorder, l.reconnects = p, r, 0
	l.progress = l.clock()
	l.freeAt, l.freeN = 0, 0
	for _, c := range l.conns {
		c.free = false
		l.release(c)
	}
}

// overdue is by how many ns the phase has lasted too long; before that it is
// negative, the time that is left.
func (l *loop) overdue() int64 {
	late := l.now - l.pacer.end() // cannot overflow: both are positive
	if l.inFlight > 0 {
		late = max(late, l.now-l.progress)
	}
	return late - l.patience
}

// dispatch gives due requests to free connections, one each: in an open loop that
// spreads them, in a closed one it happens once per connection and phase.
func (l *loop) dispatch() error {
	for l.freeN > 0 {
		start, ok := l.pacer.take(l.now)
		if !ok {
			return nil
		}
		c := l.free[l.freeAt]
		l.freeAt = (l.freeAt + 1) % len(l.free)
		l.freeN--
		c.free = false
		l.send = l.add(l.send[:0], c, start)
		if err := l.flush(c); err != nil {
			return err
		}
		l.release(c)
	}
	return nil
}

// release puts a connection with room at the end of the free ring.
func (l *loop) release(c *conn) {
	if c.free || !c.room() {
		return
	}
	c.free = true
	l.free[(l.freeAt+l.freeN)%len(l.free)] = c
	l.freeN++
}

// add appends one request and notes that it is on its way.
func (l *loop) add(dst []byte, c *conn, start int64) []byte {
	dst, op := l.dialect.request(dst, c.index)
	c.push(shot{start: start, op: op})
	if l.inFlight++; l.inFlight == 1 {
		l.progress = l.now // patience begins with the request
	}
	l.recorder.late(l.now - start)
	return dst
}

// refill sends as many requests as are due and the connection has room for, in
// one go.
func (l *loop) refill(c *conn) error {
	l.send = l.send[:0]
	for c.room() {
		start, ok := l.pacer.take(l.now)
		if !ok {
			break
		}
		l.send = l.add(l.send, c, start)
	}
	l.release(c)
	return l.flush(c)
}

// flush sends what stands in l.send.
func (l *loop) flush(c *conn) error {
	if len(l.send) == 0 {
		return nil
	}
	l.recorder.sent += int64(len(l.send))
	return l.mover.send(c, l.send)
}

// sleep is how long there is nothing to do but wait for input: until a request is due
// that a connection could carry, or the phase is overdue.
func (l *loop) sleep() int64 {
	ns := max(-l.overdue(), 0)
	if l.freeN > 0 && !l.pacer.done(l.now) {
		ns = max(min(ns, l.pacer.wait(l.now)), 0)
	}
	if ns <= l.spin {
		return 0
	}
	return ns
}

// input is called by the mover: it parses, and sends the next requests.
func (l *loop) input(c *conn, p []byte) error {
	l.progress = l.clock()
	l.recorder.received += int64(len(p))
	if err := l.parse(c, p); err != nil {
		return l.lose(c, err.Error())
	}
	return l.refill(c)
}

// broken is called by the mover.
func (l *loop) broken(c *conn) error { return l.lose(c, "connection closed") }

// parse hands input to the connection, joined with what was kept of a cut answer.
func (l *loop) parse(c *conn, input []byte) error {
	if len(c.in) > 0 {
		c.in = append(c.in, input...)
		if len(c.in) < c.need {
			return nil
		}
		input = c.in
	}
	used, err := c.consume(input, l.dialect, l)
	c.keep(input[used:])
	return err
}

// answered is called by consume for every answer.
func (l *loop) answered(s shot, failure string) {
	l.inFlight--
	if failure != "" {
		l.recorder.failed(failure, l.now)
		return
	}
	l.recorder.answer(s.op, l.ops[s.op].messages, s.start, l.now)
}

// aside is called by consume for input that is no answer; some want one.
func (l *loop) aside(c *conn, answer []byte) {
	if len(answer) > 0 {
		l.send = append(l.send[:0], answer...)
		_ = l.flush(c) // a ring that cannot be entered is reported by the next wait
	}
}

// lose counts what was outstanding on a broken connection and opens it anew.
func (l *loop) lose(c *conn, cause string) error {
	for c.count > 0 {
		c.pop()
		l.inFlight--
		l.recorder.failed(cause, l.now)
	}
	l.mover.drop(c)
	c.fd, c.need, c.in, c.out = -1, 0, c.in[:0], c.out[:0]
	if l.reconnects++; l.reconnects > reconnectsMax {
		return fmt.Errorf("%w: %d connections broke, the last by: %s", errServerGone, l.reconnects, cause)
	}
	if err := l.connect(c); err != nil {
		return fmt.Errorf("%w (%s): %w", errServerGone, cause, err)
	}
	l.clock()
	return l.refill(c)
}

// abandon records everything that was never answered.
func (l *loop) abandon() error {
	for _, c := range l.conns {
		for c.count > 0 {
			s := c.pop()
			l.inFlight--
			l.recorder.unanswered(s.op, s.start, l.now)
		}
	}
	l.pacer.unsent(func(start int64) { l.recorder.unanswered(0, start, l.now) })
	l.recorder.last = l.now
	return errUnanswered
}
