package simnet

// A Host is one life of one process: what it holds in its hands (listeners, connections) dies with it, and whatever its
// goroutines try afterwards fails, so that a test may leave them running. How a life ends decides what the others see:
// a live machine resets and refuses, a dark one is silent.

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Host is one process on one machine, from its Boot to its end. When it has ended, by Kill or PowerOff, everything that its
// goroutines still try fails with net.ErrClosed; what the others see differs.
type Host struct {
	net       *Network
	name      string
	wake      *sync.Cond // listeners and paused callers wait here
	listeners map[string]*listener
	conns     map[*conn]struct{}
	paused    bool
	dead      bool
}

// Kill ends the process, not the machine: its connections are reset, dials to it are refused.
func (h *Host) Kill() {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.end(true)
}

// PowerOff ends the process and the machine: the others hear nothing, until the machine has booted again and refuses what it
// does not know. Of what was under way from it, some arrives.
func (h *Host) PowerOff() {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if !h.dead {
		h.net.machines[h.name].dark = true
	}
	h.end(false)
}

// end makes the process dead. loud: the machine lives and says so. Under the lock.
func (h *Host) end(loud bool) {
	if h.dead {
		return
	}
	h.dead, h.paused = true, false
	for _, l := range h.listeners {
		l.end(loud)
	}
	for c := range h.conns {
		c.end(loud, syscall.ECONNRESET)
	}
	h.wake.Broadcast()
}

// Pause stops the process, as SIGSTOP does: it reads, writes and accepts nothing. Its machine goes on: dials to
// it succeed, bytes for it pile up until their writers block.
func (h *Host) Pause() { h.setPaused(true) }

// Resume lets a paused process go on. Deadlines that passed meanwhile have passed.
func (h *Host) Resume() { h.setPaused(false) }

func (h *Host) setPaused(paused bool) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.paused = paused && !h.dead
	for c := range h.conns {
		c.in.cond.Broadcast()
		c.out.cond.Broadcast()
	}
	h.wake.Broadcast()
}

// run waits until the process is not paused. Under the lock.
func (h *Host) run() error {
	for h.paused {
		h.wake.Wait()
	}
	if h.dead {
		return net.ErrClosed
	}
	return nil
}

// Listen takes connections for an address, whose host part must be the machine's name.
func (h *Host) Listen(addr string) (net.Listener, error) {
	name, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	switch {
	case h.dead:
		return nil, net.ErrClosed
	case name != h.name:
		return nil, fmt.Errorf("listen %s on %s: %w", addr, h.name, syscall.EADDRNOTAVAIL)
	case h.listeners[addr] != nil:
		return nil, fmt.Errorf("listen %s: %w", addr, syscall.EADDRINUSE)
	}
	l := &listener{host: h, addr: addr}
	h.listeners[addr] = l
	return l, nil
}

// Dial connects to an address: refused at once by a machine that lives and does not listen, unanswered, until the
// context ends, by one that is cut off or dead.
func (h *Host) Dial(ctx context.Context, addr string) (net.Conn, error) {
	name, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialMax)
	defer cancel()
	for {
		answered, wait, err := h.syn(name, addr)
		if err != nil {
			return nil, err
		}
		if !sleep(ctx, wait) {
			return nil, fmt.Errorf("dial %s: %w", addr, timeoutOf(ctx))
		}
		if !answered {
			continue
		}
		if c, err := h.connect(name, addr); c != nil || err != nil {
			return c, err
		}
	}
}

// timeoutOf is the error of a dial that its context ended.
func timeoutOf(ctx context.Context) error {
	if ctx.Err() == context.DeadlineExceeded {
		return os.ErrDeadlineExceeded
	}
	return ctx.Err()
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// syn tells whether the machine answers, and how long that, or the next attempt, takes.
func (h *Host) syn(name, addr string) (answered bool, wait time.Duration, err error) {
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := h.run(); err != nil {
		return false, 0, err
	}
	m := n.machines[name]
	if m == nil || m.dark || !n.reachable(h.name, name) {
		return false, dialRetry, nil
	}
	return true, n.delay() + n.delay(), nil
}

// connect makes the connection, or is refused; neither, if the machine has become unreachable.
func (h *Host) connect(name, addr string) (net.Conn, error) {
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := h.run(); err != nil {
		return nil, err
	}
	if n.machines[name].dark || !n.reachable(h.name, name) {
		return nil, nil
	}
	peer := n.machines[name].host
	l := peer.listeners[addr]
	if peer.dead || l == nil || l.closed {
		return nil, fmt.Errorf("dial %s: %w", addr, syscall.ECONNREFUSED)
	}
	there, back := n.newPipe(h.name, name), n.newPipe(name, h.name)
	mine := newConn(h, back, there, address(h.name+":0"), address(addr))
	theirs := newConn(peer, there, back, address(addr), address(h.name+":0"))
	mine.peer, theirs.peer = theirs, mine
	l.backlog = append(l.backlog, theirs)
	peer.wake.Broadcast()
	return mine, nil
}

// listener is an address that a process listens at.
type listener struct {
	host    *Host
	addr    string
	backlog []*conn
	closed  bool
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	l.host.net.mu.Lock()
	defer l.host.net.mu.Unlock()
	for !l.closed && (len(l.backlog) == 0 || l.host.paused) {
		l.host.wake.Wait()
	}
	if l.closed {
		return nil, net.ErrClosed
	}
	c := l.backlog[0]
	l.backlog = l.backlog[1:]
	return c, nil
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.host.net.mu.Lock()
	defer l.host.net.mu.Unlock()
	if l.closed {
		return net.ErrClosed
	}
	l.end(true)
	return nil
}

// end closes the listener and what nobody accepted. Under the lock.
func (l *listener) end(loud bool) {
	l.closed = true
	delete(l.host.listeners, l.addr)
	for _, c := range l.backlog {
		c.end(loud, syscall.ECONNRESET)
	}
	l.backlog = nil
	l.host.wake.Broadcast()
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return address(l.addr) }

// address is a host and a port.
type address string

// Network implements net.Addr.
func (a address) Network() string { return "mem" }

// String implements net.Addr.
func (a address) String() string { return string(a) }
