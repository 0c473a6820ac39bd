package netpoll

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ayder/internal/uring"
)

// Accepting, on loop 0, by one multishot request; connections are spread over the loops in turn. (A listener per loop
// with SO_REUSEPORT would save the hop, but then a second server could share the port unnoticed, and the kernel
// spreads by hash, which on few connections leaves loops empty.) At the end, what waits in the backlog is accepted one by one.
//
// When descriptors or memory run out, accept fails at once and would fail again at once: it rests for AcceptPauseMs.
// Connections that wait meanwhile stay in the kernel's backlog.

// acceptor is the listening socket of loop 0; on other loops it is closed and does nothing.
type acceptor struct {
	kind     uring.Kind
	listener *socket
	armed    bool  // the multishot request is under way
	retryAt  int64 // rest until then, monotonic ns, 0: not resting
	stopped  bool  // by Drain or Shutdown
	next     int   // loop for the next connection
}

// socket is a descriptor that is closed once.
type socket struct{ fd int }

// listenTCP binds addr (host:port, both families where the host allows it). Its error says if the port is taken.
func listenTCP(addr string) (*socket, net.Addr, error) {
	ln, err := bindPatiently(addr)
	if err != nil {
		return nil, nil, fmt.Errorf("netpoll: %w", err)
	}
	defer ln.Close() // only the runtime's copy of the descriptor
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		return nil, nil, fmt.Errorf("netpoll: listen on %s: %w", addr, err)
	}
	fd := -1
	controlErr := raw.Control(func(own uintptr) { fd, err = prepareListener(int(own)) })
	if controlErr != nil {
		err = controlErr
	}
	if err != nil {
		return nil, nil, fmt.Errorf("netpoll: listen on %s: %w", addr, err)
	}
	return &socket{fd: fd}, ln.Addr(), nil
}

// bindPatiently tries again for bindPatienceMs if the port is taken: of a server that was killed, the kernel may still
// be taking down the ring, which holds the listening socket.
func bindPatiently(addr string) (net.Listener, error) {
	for deadline := Now() + ms(bindPatienceMs); ; time.Sleep(10 * time.Millisecond) {
		ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
		if err == nil || !errors.Is(err, unix.EADDRINUSE) || Now() > deadline {
			return ln, err
		}
	}
}

// prepareListener copies the descriptor for the ring. Accepted sockets inherit TCP_NODELAY from it.
func prepareListener(own int) (fd int, err error) {
	if err := unix.SetsockoptInt(own, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return -1, err
	}
	if fd, err = unix.FcntlInt(uintptr(own), unix.F_DUPFD_CLOEXEC, 0); err != nil {
		return -1, err
	}
	return fd, nil
}

// arm begins accepting.
func (a *acceptor) arm(u *uringLoop) {
	if a.listener == nil || a.armed || a.stopped {
		return
	}
	s := u.ring.SQE()
	s.PrepAcceptMultishot(a.listener.fd)
	s.UserData = a.kind.UserData(0)
	a.armed = true
	a.retryAt = 0
}

// tend arms again after a rest.
func (a *acceptor) tend(u *uringLoop) {
	if a.retryAt != 0 && u.l.now >= a.retryAt {
		a.arm(u)
	}
}

// limit shortens a sleep so that the rest is not overslept.
func (a *acceptor) limit(now, sleep int64) int64 {
	if a.retryAt == 0 {
		return sleep
	}
	return limit(sleep, max(a.retryAt-now, 1))
}

// stop is called on the loop when the server begins to drain.
func (a *acceptor) stop(u *uringLoop) {
	a.stopped = true
	a.retryAt = 0
	if a.armed {
		u.ring.SQE().PrepCancel(a.kind.UserData(0))
	} else {
		a.finish(u)
	}
}

// finish accepts what has connected, and closes.
func (a *acceptor) finish(u *uringLoop) {
	for n := 0; a.listener != nil && n < lastAcceptsMax && waits(a.listener.fd); n++ {
		fd, _, err := unix.Accept4(a.listener.fd, unix.SOCK_CLOEXEC)
		if err != nil {
			break
		}
		u.accepted(fd)
	}
	a.close()
	u.l.srv.deaf()
}

// ended reports that the port is free again. The kernel's request holds the listening socket until it has completed,
// ring or no ring; whoever restarts the server at once must not find the port taken.
func (a *acceptor) ended() bool { return a.listener == nil }

func (a *acceptor) close() {
	if a.listener != nil {
		_ = unix.Close(a.listener.fd)
		a.listener = nil
	}
}

func (u *uringLoop) onAccept(_ uint64, res int32, flags uint32) {
	a := &u.accept
	if !uring.More(flags) {
		a.armed = false
	}
	if res >= 0 {
		u.accepted(int(res))
	} else if errno := syscall.Errno(-res); errno != unix.ECANCELED {
		u.acceptFailed(errno)
	}
	switch {
	case a.stopped && !a.armed:
		a.finish(u)
	case a.retryAt == 0:
		a.arm(u)
	}
}

// accepted gives a new connection to the loop whose turn it is.
func (u *uringLoop) accepted(fd int) {
	if !u.l.srv.admit() {
		u.refuse(fd, false)
		return
	}
	loops := u.engine.loops
	to := loops[u.accept.next%len(loops)]
	u.accept.next++
	if to == u {
		u.begin(fd, "", false)
		return
	}
	to.l.Post(func() { to.begin(fd, "", false) })
}

// acceptFailed rests after a failure that would come again at once.
func (u *uringLoop) acceptFailed(errno syscall.Errno) {
	u.l.stats.AcceptErrors++
	switch errno {
	case unix.EINTR, unix.EAGAIN, unix.ECONNABORTED, unix.EPROTO:
		return // about that one connection
	}
	u.accept.retryAt = u.l.now + ms(AcceptPauseMs)
	if u.l.stats.AcceptErrors&(u.l.stats.AcceptErrors-1) == 0 { // 1st, 2nd, 4th, 8th …
		u.l.srv.log.Warn("accept failed, trying again", "error", errno, "times", u.l.stats.AcceptErrors,
			"connections", u.l.srv.Conns(), "pause_ms", AcceptPauseMs)
	}
}
