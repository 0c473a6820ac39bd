package netpoll

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidwall/evio"
	"golang.org/x/sys/unix"
)

// The portable backend, on github.com/tidwall/evio v1.0.8 (epoll, kqueue). evio accepts, waits for readiness, reads
// and closes; we write. That division is forced by what evio does not do:
//
//   - it writes what Data returns, but a Wake while output is pending throws the pending bytes away. So Data never
//     returns output. Our writes go to the descriptor itself, at once after Data, or at the end of the turn.
//   - it has no way to wait for a full socket to become writable. Then a goroutine with a copy of the descriptor
//     writes the next chunk and posts the result; only slow readers pay for it.
//   - it cannot stop reading a connection, and closes one as soon as its peer has sent the end of stream, although
//     answers are owed. So a connection is taken off the poll (evio_poll_*.go) while it is paused or something is
//     owed, before the callback returns that learned of it: evio then cannot see the end of stream. Loop.shy.
//   - it has no end of a turn, no clock and no messages. A connection of the loop to itself, the waker, stands in
//     for all three: a byte written to its far end makes evio call us. (Its own Wake can sleep 100 ms on Linux: the
//     eventfd is read, and so reset, after the notes were taken, together with what was noted in between.)
//   - its loop ends when accept fails for want of descriptors, so ConnsMax is fitted to the process's limit.
//
// A second, private listener on a Unix socket in a directory of mode 0700 takes the waker and bridged TLS
// connections; each names itself by a random token of 16 bytes that was noted before it was dialled.

const tokenBytes = 16

type token [tokenBytes]byte

// evioEngine is the one loop of this backend and everything around it. Callbacks of evio are its methods.
type evioEngine struct {
	srv *Server
	l   *Loop

	dir      string // holds the private socket
	started  bool   // Handler.Start was called
	stopping bool   // Handler.Stop was called, evio is to end; until it does, it goes on with what it has read

	listeners []int // descriptors of the listener, until it is closed (evio_listener.go)
	deaf      bool  // it is closed, as far as that can be done
	deafBy    int64 // when it is closed in any case, 0: not draining yet

	// far is the other end of the waker; nil before Serve, closed after the end. Set once, used by anybody.
	far     atomic.Pointer[net.UnixConn]
	woken   atomic.Bool // a wake-up is under way; set by anybody, cleared by the loop
	wakerID token       // written before evio's loop begins

	mu     sync.Mutex
	expect map[token]string // connections that were dialled, by token; the value is the peer's name; under mu

	timer   *time.Timer // wakes at timerAt
	timerAt int64

	slow, slowMax int // connections with a goroutine that writes

	bound   chan error    // Listen waits for it: nil when evio has bound its addresses
	stopped chan struct{} // evio was asked to end
	ended   chan struct{} // evio has returned
	err     error         // why, if it was not asked to; written before ended is closed
}

// evioConn is what this backend keeps in a connection.
type evioConn struct {
	poll    int      // the descriptor of evio's epoll or kqueue
	closing bool     // evio shall close it
	gone    bool     // evio has closed it
	slow    net.Conn // a copy of the descriptor, for the goroutine that writes
	writing bool     // that goroutine has not reported yet, it may still read the flight
}

// privateConn is a connection of the private listener that has not named itself yet.
type privateConn struct{ got []byte }

func newEvioEngine(s *Server) (engine, error) {
	slowMax := s.fitConnsMax()
	dir, err := os.MkdirTemp("", "ayder-")
	if err != nil {
		return nil, fmt.Errorf("netpoll: directory of the private socket: %w", err)
	}
	if s.opts.Loops > 1 {
		s.log.Warn("evio has one loop only", "asked_for", s.opts.Loops)
	}
	e := &evioEngine{
		srv: s, l: newLoop(s, 0), dir: dir, slowMax: slowMax, expect: make(map[token]string),
		bound: make(chan error, 1), stopped: make(chan struct{}), ended: make(chan struct{}),
	}
	e.l.sys, e.l.shy = e, true
	e.timer = time.AfterFunc(time.Hour, e.wake)
	go e.run()
	if err := <-e.bound; err != nil {
		<-e.ended
		return nil, fmt.Errorf("netpoll: %w", err)
	}
	s.loops = []*Loop{e.l}
	return e, nil
}

// fitConnsMax leaves room below the process's limit of descriptors for other files and for the copies that slow
// readers need, whose number it returns. A TLS connection has three descriptors.
func (s *Server) fitConnsMax() (slowMax int) {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil || limit.Cur > 1<<30 {
		return s.opts.ConnsMax
	}
	open := int(limit.Cur)
	slowMax = open / 16 // two copies for a moment
	room := max(open-2*slowMax-descriptorsReserved, 1)
	if s.front != nil {
		room = max(room/3, 1)
	}
	if room < s.opts.ConnsMax {
		s.log.Warn("limit of open files bounds the connections", "open_files", limit.Cur, "asked_for",
			s.opts.ConnsMax, "connections", room)
		s.opts.ConnsMax = room
	}
	return slowMax
}

// run is the goroutine in which evio is set up and torn down; its loop is another one.
func (e *evioEngine) run() {
	defer close(e.ended)
	err := evio.Serve(evio.Events{
		NumLoops: 1,
		Serving:  e.onServing,
		Opened:   e.onOpened,
		Data:     e.onData,
		Closed:   e.onClosed,
	}, "tcp://"+e.srv.opts.Addr, "unix://"+e.socketPath())
	e.cleanUp()
	if err != nil {
		e.bound <- err
		return
	}
	if e.started && !e.stopping {
		e.err = errors.New("netpoll: evio ended by itself, probably because accept failed for want of descriptors")
		e.l.killAll(e.err)
		e.l.reap()
		e.l.stop()
	}
}

func (e *evioEngine) socketPath() string { return filepath.Join(e.dir, "s") }

func (e *evioEngine) cleanUp() {
	e.timer.Stop()
	if far := e.far.Load(); far != nil {
		_ = far.Close()
	}
	_ = os.RemoveAll(e.dir)
}

// onServing is called when the addresses are bound, before the loop exists. It holds evio until Serve.
func (e *evioEngine) onServing(server evio.Server) evio.Action {
	e.srv.addr = server.Addrs[0]
	e.listeners = listenerFds(e.srv.addr)
	e.bound <- nil
	<-e.srv.gate
	if !e.srv.served {
		return evio.Shutdown
	}
	far, id, err := e.dial("")
	if err != nil {
		e.err = err
		return evio.Shutdown
	}
	e.wakerID = id
	e.far.Store(far)
	return evio.None
}

// dial makes a connection of the private listener.
func (e *evioEngine) dial(remote string) (*net.UnixConn, token, error) {
	var id token
	_, _ = rand.Read(id[:]) // never fails
	e.mu.Lock()
	e.expect[id] = remote
	e.mu.Unlock()
	far, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: e.socketPath(), Net: "unix"})
	if err == nil {
		_, err = far.Write(id[:])
	}
	if err != nil {
		return nil, id, fmt.Errorf("netpoll: connection to the own loop: %w", err)
	}
	return far, id, nil
}

func (e *evioEngine) bridge(remote string) (net.Conn, error) {
	far, _, err := e.dial(remote)
	return far, err
}

// drain leaves it to the next turns to close the listener.
func (e *evioEngine) drain() { e.wake() }

// wait does not insist on evio's return once our own loop has ended: its signal to itself can get lost (a condition
// variable without a condition) if it is stopped in the very moment of its start.
func (e *evioEngine) wait() error {
	select {
	case <-e.ended:
		return e.err
	case <-e.stopped:
	}
	select {
	case <-e.ended:
		return e.err
	case <-time.After(evioEndMs * time.Millisecond):
		return errors.New("netpoll: evio did not end; its listener stays open")
	}
}

// wake makes evio call onData for the waker. One byte at a time is under way, so the write never blocks. Before the
// waker is there the flag is enough: its first turn comes by itself. After the end the write fails, which is right.
func (e *evioEngine) wake() {
	if far := e.far.Load(); far != nil && !e.woken.Swap(true) {
		_, _ = far.Write(wakeByte)
	}
}

var wakeByte = []byte{0}

func (e *evioEngine) start() {
	if !e.started {
		e.started = true
		e.l.handler.Start(e.l)
	}
}

func (e *evioEngine) onOpened(ec evio.Conn) ([]byte, evio.Options, evio.Action) {
	e.start()
	opts := evio.Options{ReuseInputBuffer: true}
	if e.stopping {
		return nil, opts, evio.Close
	}
	if ec.AddrIndex() == 1 {
		ec.SetContext(&privateConn{})
		return nil, opts, evio.None
	}
	if !e.srv.admit() {
		e.l.stats.Refused++
		e.wake()
		return nil, opts, evio.Close
	}
	e.open(ec, "", false)
	return nil, opts, evio.None
}

// open makes a Conn of a connection of evio's. The poll has it for reading already.
func (e *evioEngine) open(ec evio.Conn, remote string, secure bool) {
	fd, poll := descriptors(ec)
	unix.CloseOnExec(fd)
	if remote == "" {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	c := e.l.open(fd, remote, secure)
	if c == nil {
		panic("bug: more connections than slots")
	}
	c.receiving = true
	c.io.evio = &evioConn{poll: poll}
	ec.SetContext(c)
	e.l.now = Now()
	e.l.handler.Open(c)
	e.wake()
}

// onData is called with bytes that were read.
func (e *evioEngine) onData(ec evio.Conn, in []byte) ([]byte, evio.Action) {
	switch ctx := ec.Context().(type) {
	case *Conn:
		return nil, e.data(ctx, in)
	case *privateConn:
		return nil, e.identify(ec, ctx, in)
	default: // the waker
		return nil, e.turn()
	}
}

func (e *evioEngine) data(c *Conn, in []byte) evio.Action {
	if c.io.evio.closing {
		return evio.Close
	}
	if c.dying {
		return evio.None
	}
	e.l.now = Now()
	e.l.received(c, in)
	// Written at once, so that a connection which was answered need not be taken off the poll.
	e.l.flushConn(c)
	e.wake()
	return evio.None
}

// identify gathers the token of a private connection and makes it what it is.
func (e *evioEngine) identify(ec evio.Conn, p *privateConn, in []byte) evio.Action {
	n := min(len(in), tokenBytes-len(p.got))
	p.got = append(p.got, in[:n]...)
	if len(p.got) < tokenBytes {
		return evio.None
	}
	id := token(p.got)
	e.mu.Lock()
	remote, ok := e.expect[id]
	delete(e.expect, id)
	e.mu.Unlock()
	switch {
	case !ok, e.stopping: // or its TLS connection has ended before its token was read
		return evio.Close
	case id == e.wakerID:
		ec.SetContext(nil)
		return e.turn()
	}
	e.open(ec, remote, true)
	return e.data(ec.Context().(*Conn), in[n:])
}

// turn is the end of a turn, run by the waker.
func (e *evioEngine) turn() evio.Action {
	if e.stopping {
		return evio.Shutdown
	}
	e.woken.Store(false)
	l := e.l
	l.now = Now()
	l.endTurn()
	if l.Draining() && !e.deaf && e.closeListener() {
		e.deaf = true
		e.srv.deaf()
	}
	if l.done() {
		e.stopping = true
		l.stop()
		close(e.stopped)
		return evio.Shutdown
	}
	e.sleep(l.sleepFor())
	return evio.None
}

// sleep arranges for the next turn if nothing happens before.
func (e *evioEngine) sleep(d int64) {
	if e.l.Draining() {
		d = limit(d, ms(drainTickMs))
		if !e.deaf {
			d = limit(d, ms(1))
		}
	}
	switch at := e.l.now + d; {
	case d == 0:
		e.wake()
	case d > 0 && at != e.timerAt:
		e.timerAt = at
		e.timer.Reset(time.Duration(d))
	}
}

// onClosed is called after evio has closed the descriptor, for whatever reason.
func (e *evioEngine) onClosed(ec evio.Conn, err error) evio.Action {
	c, ok := ec.Context().(*Conn)
	if !ok {
		return evio.None
	}
	ev := c.io.evio
	ev.gone, c.fdClosed = true, true
	ev.endSlow()
	switch {
	case ev.closing:
		e.forgetIfQuiet(c)
	case err != nil:
		e.l.failed(c, fmt.Errorf("netpoll: receive: %w", err))
	default:
		e.l.kill(c, nil)
	}
	e.wake()
	return evio.None
}

// forgetIfQuiet forgets a dropped connection when evio has closed it and nobody reads its flight.
func (e *evioEngine) forgetIfQuiet(c *Conn) {
	if ev := c.io.evio; ev.closing && ev.gone && !ev.writing {
		e.l.forget(c)
	}
}

func (e *evioEngine) receive(c *Conn, on bool) {
	ev := c.io.evio
	if ev.gone || ev.closing {
		return
	}
	if err := setReading(ev.poll, c.fd, on); err != nil {
		e.l.kill(c, fmt.Errorf("netpoll: poll: %w", err))
	}
}

func (e *evioEngine) send(c *Conn) {
	for {
		n, err := unix.Write(c.fd, c.flight[c.flown:])
		switch {
		case err == nil:
			if !e.l.sent(c, n, nil) {
				return
			}
		case err == unix.EAGAIN:
			e.sendSlowly(c)
			return
		case err != unix.EINTR:
			e.l.sent(c, 0, fmt.Errorf("netpoll: send: %w", err))
			return
		}
	}
}

// sendSlowly leaves the next chunk of the flight to a goroutine. The connection is off the poll meanwhile, because
// something is owed. (net.FileConn makes the descriptor blocking for a moment, on this goroutine, the only one that
// uses it.)
func (e *evioEngine) sendSlowly(c *Conn) {
	ev := c.io.evio
	slow, err := e.duplicate(c.fd)
	if err != nil {
		e.l.sent(c, 0, err)
		return
	}
	e.slow++
	ev.slow, ev.writing = slow, true
	rest := c.flight[c.flown:]
	chunk := rest[:min(len(rest), slowChunkBytes)]
	go func() {
		n, err := slow.Write(chunk)
		e.l.Post(func() {
			e.slow--
			ev.endSlow()
			ev.writing = false
			if e.l.sent(c, n, err) {
				e.send(c)
			}
			e.forgetIfQuiet(c)
		})
	}()
}

// duplicate makes a copy of the socket for the runtime's own poller.
func (e *evioEngine) duplicate(fd int) (net.Conn, error) {
	if e.slow == e.slowMax {
		return nil, fmt.Errorf("netpoll: more than %d slow readers", e.slowMax)
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("netpoll: descriptor for a slow reader: %w", err)
	}
	f := os.NewFile(uintptr(own), "slow reader")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("netpoll: descriptor for a slow reader: %w", err)
	}
	return conn, nil
}

// endSlow closes the copy; a goroutine in the middle of a write then posts an error.
func (ev *evioConn) endSlow() {
	if ev.slow != nil {
		_ = ev.slow.Close()
		ev.slow = nil
	}
}

func (e *evioEngine) hangUp(c *Conn) {
	if !c.io.evio.gone {
		_ = unix.Shutdown(c.fd, unix.SHUT_WR)
	}
}

// drop has evio close the descriptor: back on the poll and shut down, it reads as ended.
func (e *evioEngine) drop(c *Conn) {
	ev := c.io.evio
	ev.endSlow()
	ev.closing = true
	if ev.gone {
		e.forgetIfQuiet(c)
		return
	}
	_ = unix.Shutdown(c.fd, unix.SHUT_RDWR)
	if err := setReading(ev.poll, c.fd, true); err != nil {
		e.srv.log.Error("connection cannot be closed", "fd", c.fd, "error", err)
	}
}
