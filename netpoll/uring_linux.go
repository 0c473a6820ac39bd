package netpoll

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ayder/internal/uring"
)

// The io_uring backend: one locked thread, one ring and one group of receive buffers per loop.
//
// A connection has at most two requests under way: a multishot receive, which completes once per arrival with a
// buffer of the group, and a send. Both carry the connection's id as payload. drop cancels them and the socket is
// closed, by a third request, only when both are complete: so neither a buffer in flight nor a descriptor number can
// be reused under the kernel's feet. Cancellations themselves complete into kind 0, nobody.
//
// Everything queued in a turn goes to the kernel with the wait that ends it. Received buffers are given back just
// before (Publish), so a receive that starved is armed again into a filled group.

// receiveGroup numbers the provided buffers of a loop's ring.
const receiveGroup = 1

// uringLoop is the system below one Loop.
type uringLoop struct {
	l      *Loop
	engine *uringEngine
	ring   *uring.Ring
	bufs   *uring.BufRing
	waker  *uring.Waker
	accept acceptor // works on loop 0 only

	kindRecv, kindSend, kindClose uring.Kind
}

// uringEngine is all loops.
type uringEngine struct {
	srv   *Server
	loops []*uringLoop
	next  atomic.Uint32 // spreads bridged connections; any goroutine

	wg  sync.WaitGroup
	mu  sync.Mutex
	err error // first failure of a loop; under mu
}

// newUringEngine binds the address and sets up every loop on its thread. s.addr is set once the address is bound.
func newUringEngine(s *Server) (engine, error) {
	listener, addr, err := listenTCP(s.opts.Addr)
	if err != nil {
		return nil, err
	}
	s.addr = addr
	e := &uringEngine{srv: s}
	ready := make(chan error)
	for i := range s.opts.Loops {
		u := &uringLoop{l: newLoop(s, i), engine: e}
		u.l.sys = u
		s.loops = append(s.loops, u.l)
		e.loops = append(e.loops, u)
	}
	e.loops[0].accept.listener = listener
	for _, u := range e.loops {
		e.wg.Go(func() { u.run(ready) })
	}
	for range e.loops {
		err = errors.Join(err, <-ready)
	}
	if err != nil {
		close(s.gate) // the others end without having begun
		e.wg.Wait()
		s.gate = make(chan struct{})
		return nil, err
	}
	return e, nil
}

// run is the thread of a loop.
func (u *uringLoop) run(ready chan<- error) {
	// Never unlocked: the thread ends with the goroutine, and takes the kernel's side of the ring along.
	runtime.LockOSThread()
	defer func() {
		if u.accept.listener != nil {
			u.accept.close()
			u.l.srv.deaf()
		}
	}()
	err := u.setUp()
	ready <- err
	if err != nil {
		return
	}
	defer func() { u.engine.fail(u.ring.Close()) }()
	<-u.l.srv.gate
	if !u.l.srv.served {
		return
	}
	u.engine.fail(u.serve())
}

func (u *uringLoop) setUp() (err error) {
	if u.ring, err = uring.New(uring.Config{}); err != nil {
		return err
	}
	if u.bufs, err = u.ring.NewBufRing(ReceiveBuffers, ReceiveBufferBytes, receiveGroup); err != nil {
		return errors.Join(err, u.ring.Close())
	}
	if u.waker, err = u.ring.NewWaker(func() {}); err != nil {
		return errors.Join(err, u.ring.Close())
	}
	u.kindRecv = u.ring.Handle(u.onRecv)
	u.kindSend = u.ring.Handle(u.onSend)
	u.kindClose = u.ring.Handle(u.onClose)
	u.accept.kind = u.ring.Handle(u.onAccept)
	u.l.ring = u.ring
	return nil
}

// serve is the turns of a loop.
func (u *uringLoop) serve() error {
	l := u.l
	l.handler.Start(l)
	u.accept.arm(u)
	for {
		u.ring.Dispatch()
		u.accept.tend(u)
		l.endTurn()
		if l.done() && u.accept.ended() {
			break
		}
		u.bufs.Publish()
		if err := u.ring.Wait(u.sleep()); err != nil {
			u.lost(err)
			return fmt.Errorf("netpoll: loop %d: %w", l.index, err)
		}
		l.now = Now()
	}
	l.stop()
	return nil
}

// lost ends a loop whose ring has failed: nothing can be sent or received any more, but the handler learns of every
// end, and the other loops are not kept waiting for these connections.
func (u *uringLoop) lost(err error) {
	l := u.l
	l.killAll(err)
	l.reap()
	for _, c := range l.slots.conns {
		if c != nil {
			_ = unix.Close(c.fd)
			l.forget(c)
		}
	}
	l.stop()
}

// sleep is the timeout of the wait.
func (u *uringLoop) sleep() time.Duration {
	d := u.l.sleepFor()
	if d != 0 {
		d = u.accept.limit(u.l.now, d)
	}
	if d != 0 && u.l.Draining() {
		d = limit(d, ms(drainTickMs))
	}
	return time.Duration(d)
}

func (u *uringLoop) wake() { u.waker.Wake() }

func (u *uringLoop) receive(c *Conn, on bool) {
	switch {
	case on && !c.io.armed:
		u.arm(c)
	case !on && c.io.armed && !c.io.cancelling:
		u.cancelRecv(c)
	}
}

func (u *uringLoop) arm(c *Conn) {
	s := u.ring.SQE()
	s.PrepRecvMultishot(c.fd, receiveGroup)
	s.UserData = u.kindRecv.UserData(c.id)
	c.io.armed = true
	c.io.outstanding++
}

func (u *uringLoop) cancelRecv(c *Conn) {
	c.io.cancelling = true
	u.ring.SQE().PrepCancel(u.kindRecv.UserData(c.id))
}

func (u *uringLoop) onRecv(id uint64, res int32, flags uint32) {
	c := u.l.slots.at(id)
	if buf, ok := uring.BufferID(flags); ok {
		if c != nil && res > 0 {
			u.l.received(c, u.bufs.Bytes(buf)[:res])
		}
		u.bufs.Put(buf)
	}
	if c != nil && !uring.More(flags) {
		u.recvOver(c, res)
	}
}

// recvOver is called when a multishot receive has made its last completion.
func (u *uringLoop) recvOver(c *Conn, res int32) {
	c.io.armed, c.io.cancelling = false, false
	c.io.outstanding--
	switch errno := syscall.Errno(-res); {
	case res > 0 || errno == unix.ECANCELED || errno == unix.EINTR || errno == unix.EAGAIN:
	case res == 0:
		u.l.ended(c)
	case errno == unix.ENOBUFS:
		u.l.stats.Starved++
	default:
		u.l.failed(c, fmt.Errorf("netpoll: receive: %w", errno))
	}
	if c.receiving && !c.eof && !c.dying {
		u.arm(c)
	}
	u.closeIfQuiet(c)
}

func (u *uringLoop) send(c *Conn) {
	s := u.ring.SQE()
	s.PrepSend(c.fd, c.flight[c.flown:], 0)
	s.UserData = u.kindSend.UserData(c.id)
	c.io.sending = true
	c.io.outstanding++
}

func (u *uringLoop) onSend(id uint64, res int32, _ uint32) {
	c := u.l.slots.at(id)
	if c == nil {
		panic("bug: connection forgotten with a send under way")
	}
	c.io.sending = false
	c.io.outstanding--
	var again bool
	switch errno := syscall.Errno(-res); {
	case res >= 0:
		again = u.l.sent(c, int(res), nil)
	case errno == unix.EINTR || errno == unix.EAGAIN || errno == unix.ENOBUFS:
		again = u.l.sent(c, 0, nil)
	default:
		again = u.l.sent(c, 0, fmt.Errorf("netpoll: send: %w", errno))
	}
	if again {
		u.send(c)
	}
	u.closeIfQuiet(c)
}

// hangUp is a plain system call, because io_uring hands every shutdown to a worker thread. That the peer is gone
// already is no news: its end of stream or reset is on the way.
func (u *uringLoop) hangUp(c *Conn) { _ = unix.Shutdown(c.fd, unix.SHUT_WR) }

func (u *uringLoop) drop(c *Conn) {
	c.io.dropped = true
	if c.io.armed && !c.io.cancelling {
		u.cancelRecv(c)
	}
	if c.io.sending {
		u.ring.SQE().PrepCancel(u.kindSend.UserData(c.id))
	}
	u.closeIfQuiet(c)
}

// closeIfQuiet closes the socket of a dropped connection once nothing is under way on it.
func (u *uringLoop) closeIfQuiet(c *Conn) {
	if !c.io.dropped || c.io.outstanding > 0 || c.fdClosed {
		return
	}
	c.fdClosed = true
	s := u.ring.SQE()
	s.PrepClose(c.fd)
	s.UserData = u.kindClose.UserData(c.id)
}

func (u *uringLoop) onClose(id uint64, res int32, _ uint32) {
	c := u.l.slots.at(id)
	if c == nil {
		panic("bug: connection closed twice")
	}
	if res < 0 {
		u.l.srv.log.Error("closing a socket failed", "fd", c.fd, "error", syscall.Errno(-res))
	}
	u.l.forget(c)
}

// begin opens a connection on this loop. The caller has admitted it.
func (u *uringLoop) begin(fd int, remote string, secure bool) {
	c := u.l.open(fd, remote, secure)
	if c == nil {
		u.refuse(fd, !secure)
		return
	}
	u.l.handler.Open(c)
	u.l.steer(c)
}

// refuse closes a socket that never became a connection; counted: it was admitted on its own account.
func (u *uringLoop) refuse(fd int, counted bool) {
	u.l.stats.Refused++
	_ = unix.Close(fd)
	if counted {
		u.l.srv.release()
	}
}

// Inject makes a connection of the connected socket fd, which it takes over. For any goroutine. Under evio and after
// Shutdown it only closes fd.
func (l *Loop) Inject(fd int) {
	u, ok := l.sys.(*uringLoop)
	if !ok || l.Draining() || !l.srv.admit() {
		_ = unix.Close(fd)
		return
	}
	// The ring waits by itself; on a non-blocking socket it would return EAGAIN instead.
	_ = unix.SetNonblock(fd, false)
	l.Post(func() { u.begin(fd, "", false) })
}

func (e *uringEngine) bridge(remote string) (net.Conn, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("netpoll: socket pair for a bridged connection: %w", err)
	}
	f := os.NewFile(uintptr(pair[0]), "bridge")
	far, err := net.FileConn(f)
	_ = f.Close()
	if err != nil {
		_ = unix.Close(pair[1])
		return nil, fmt.Errorf("netpoll: bridged connection: %w", err)
	}
	u := e.loops[int(e.next.Add(1))%len(e.loops)]
	u.l.Post(func() { u.begin(pair[1], remote, true) })
	return far, nil
}

func (e *uringEngine) drain() {
	u := e.loops[0]
	u.l.Post(func() { u.accept.stop(u) })
}

// fail notes that a loop has failed, and ends the others: they may wait for it.
func (e *uringEngine) fail(err error) {
	if err == nil {
		return
	}
	e.mu.Lock()
	e.err = errors.Join(e.err, err)
	e.mu.Unlock()
	go func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		_ = e.srv.Shutdown(now)
	}()
}

func (e *uringEngine) wait() error {
	e.wg.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}
