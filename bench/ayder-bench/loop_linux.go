package main

import (
	"errors"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The event loop: one thread, one epoll set, every connection non-blocking and
// edge-triggered. A turn is: send what is due, wait, read every connection that
// has input, answer input with the next request on the same connection.
//
// Time. Sleeping is left to epoll_pwait2, whose timeout is in nanoseconds, with
// the thread's timer slack set to 1 ns (the default lets the kernel be 50 µs
// late). epoll_wait's milliseconds, time.Sleep and tickers were rejected: each puts
// a floor of about 1 ms under an open loop's latencies, wrk2's does. Where a
// sleeping processor takes long to wake, -spin polls through the last
// microseconds; on few cores that costs the server more than it gains the client.
//
// Cost. One write and one read per request and one wait per batch; input goes to
// a buffer shared by all connections, requests are copied from templates, nothing
// is allocated. An io_uring client would be cheaper still, but would be measuring
// our code with our code.
type loop struct {
	dialect  dialect
	ops      []operation
	addr     unix.Sockaddr
	base     time.Time // clock() counts from here
	now      int64     // as of the latest clock()
	spin     int64     // ns
	patience int64     // ns, for answers that are late; drainMax outside of tests

	epfd    int
	events  []unix.EpollEvent
	timeout unix.Timespec // a field, so that taking its address allocates nothing
	conns   []*conn
	free    []*conn // a ring of connections with room, longest free first
	freeAt  int
	freeN   int

	recv     []byte
	send     []byte
	inFlight int

	pacer      pacer
	recorder   *recorder
	progress   int64 // ns, when the latest input came
	reconnects int
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
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	l := &loop{
		dialect: d, ops: d.operations(), addr: addr, base: time.Now(), spin: int64(c.spin), patience: int64(drainMax), epfd: epfd,
		events: make([]unix.EpollEvent, eventsMax), recv: make([]byte, recvBytes),
		free: make([]*conn, c.connections),
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

// close ends all connections.
func (l *loop) close() {
	for _, c := range l.conns {
		if c.fd >= 0 {
			_ = unix.Close(c.fd)
			c.fd = -1
		}
	}
	_ = unix.Close(l.epfd)
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
		l.dispatch()
		if p.done(l.now) && l.inFlight == 0 {
			return nil
		}
		if l.overdue() > 0 {
			return l.abandon()
		}
		if err := l.turn(); err != nil {
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
func (l *loop) dispatch() {
	for l.freeN > 0 {
		start, ok := l.pacer.take(l.now)
		if !ok {
			return
		}
		c := l.free[l.freeAt]
		l.freeAt = (l.freeAt + 1) % len(l.free)
		l.freeN--
		c.free = false
		l.send = l.add(l.send[:0], c, start)
		l.flush(c)
		l.release(c)
	}
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
// one write.
func (l *loop) refill(c *conn) {
	l.send = l.send[:0]
	for c.room() {
		start, ok := l.pacer.take(l.now)
		if !ok {
			break
		}
		l.send = l.add(l.send, c, start)
	}
	if len(l.send) > 0 {
		l.flush(c)
	}
	l.release(c)
}

// flush writes l.send to c, behind what is still unsent.
func (l *loop) flush(c *conn) {
	if len(c.out) > 0 {
		c.out = append(c.out, l.send...)
		return
	}
	n, err := unix.Write(c.fd, l.send)
	if err != nil {
		n = 0 // EAGAIN waits for room; the dead connection behind any other error is reported by read
	}
	l.recorder.sent += int64(n)
	if n < len(l.send) {
		c.out = append(c.out[:0], l.send[n:]...)
	}
}

// resume continues a short write.
func (l *loop) resume(c *conn) {
	n, err := unix.Write(c.fd, c.out)
	if err != nil {
		return
	}
	l.recorder.sent += int64(n)
	c.out = c.out[:copy(c.out, c.out[n:])]
}

// turn waits and handles what came.
func (l *loop) turn() error {
	n, err := l.wait()
	if err != nil {
		return err
	}
	for i := range n {
		e := &l.events[i]
		c := l.conns[e.Fd]
		if e.Events&unix.EPOLLOUT != 0 && len(c.out) > 0 {
			l.resume(c)
		}
		if e.Events&^unix.EPOLLOUT == 0 {
			continue
		}
		if err := l.drain(c, e.Events&^(unix.EPOLLIN|unix.EPOLLOUT) != 0); err != nil {
			return err
		}
	}
	return nil
}

// wait sleeps until input comes, a request is due that a connection could carry,
// or the phase is overdue.
func (l *loop) wait() (int, error) {
	ns := max(-l.overdue(), 0)
	if l.freeN > 0 && !l.pacer.done(l.now) {
		ns = max(min(ns, l.pacer.wait(l.now)), 0)
	}
	if ns <= l.spin {
		ns = 0
	}
	l.timeout = unix.NsecToTimespec(ns)
	// The kernel reads the timespec and writes the events during the call only;
	// both belong to l, which outlives it. A signal set of 0 is allowed.
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(l.epfd),
		uintptr(unsafe.Pointer(&l.events[0])), uintptr(len(l.events)),
		uintptr(unsafe.Pointer(&l.timeout)), 0, 0)
	if errno == unix.EINTR {
		return 0, nil
	}
	if errno != 0 {
		return 0, fmt.Errorf("epoll_pwait2: %w", errno)
	}
	return int(n), nil
}

// drain reads all input of c, and then sends the next requests. A short read means
// that nothing is left (epoll(7), question 9), except for the end of the input when
// the event announced one.
func (l *loop) drain(c *conn, ended bool) error {
	for {
		n, err := unix.Read(c.fd, l.recv)
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			break
		}
		if err != nil || n <= 0 {
			return l.lose(c, "connection closed")
		}
		l.progress = l.clock()
		l.recorder.received += int64(n)
		if err := l.parse(c, l.recv[:n]); err != nil {
			return l.lose(c, err.Error())
		}
		if n < len(l.recv) && !ended {
			break
		}
	}
	l.refill(c)
	return nil
}

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
		l.flush(c)
	}
}

// lose counts what was outstanding on a broken connection and opens it anew.
func (l *loop) lose(c *conn, cause string) error {
	for c.count > 0 {
		c.pop()
		l.inFlight--
		l.recorder.failed(cause, l.now)
	}
	if c.fd >= 0 {
		_ = unix.Close(c.fd) // leaves the epoll set with it
	}
	c.fd, c.need, c.in, c.out = -1, 0, c.in[:0], c.out[:0]
	if l.reconnects++; l.reconnects > reconnectsMax {
		return fmt.Errorf("%w: %d connections broke, the last by: %s", errServerGone, l.reconnects, cause)
	}
	if err := l.connect(c); err != nil {
		return fmt.Errorf("%w (%s): %w", errServerGone, cause, err)
	}
	l.clock()
	l.refill(c)
	return nil
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
