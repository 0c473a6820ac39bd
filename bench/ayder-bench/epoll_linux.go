package main

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// epollMover moves bytes by epoll, one write and one read per request: for kernels
// that are too old for the ring, and hosts and containers that forbid it.
//
// Connections are non-blocking and edge-triggered, registered once: edges cost the
// kernel one look at the socket per event, levels two.
type epollMover struct {
	fd      int
	to      inbox
	conns   []*conn // by index
	events  []unix.EpollEvent
	timeout unix.Timespec // a field, so that taking its address allocates nothing
	recv    []byte        // shared by all connections
}

const interest = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET

func newEpollMover(connections int, to inbox) (*epollMover, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	return &epollMover{
		fd: fd, to: to, conns: make([]*conn, connections), events: make([]unix.EpollEvent, eventsMax), recv: make([]byte, recvBytes),
	}, nil
}

func (m *epollMover) name() string { return "epoll" }

func (m *epollMover) add(c *conn) error {
	if err := unix.SetNonblock(c.fd, true); err != nil {
		return fmt.Errorf("set non-blocking: %w", err)
	}
	event := unix.EpollEvent{Events: interest, Fd: int32(c.index)}
	if err := unix.EpollCtl(m.fd, unix.EPOLL_CTL_ADD, c.fd, &event); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	m.conns[c.index] = c
	return nil
}

// send writes at once what the socket takes, and keeps the rest.
func (m *epollMover) send(c *conn, p []byte) error {
	if len(c.out) > 0 {
		c.out = append(c.out, p...)
		return nil
	}
	n, err := unix.Write(c.fd, p)
	if err != nil {
		n = 0 // EAGAIN waits for room; the dead connection behind any other error is reported by read
	}
	if n < len(p) {
		c.out = append(c.out[:0], p[n:]...)
	}
	return nil
}

// resume continues a short write.
func (m *epollMover) resume(c *conn) {
	if n, err := unix.Write(c.fd, c.out); err == nil {
		c.out = c.out[:copy(c.out, c.out[n:])]
	}
}

// wait sleeps and handles every connection that something happened to.
func (m *epollMover) wait(ns int64) error {
	n, err := m.poll(ns)
	if err != nil {
		return err
	}
	for i := range n {
		e := &m.events[i]
		c := m.conns[e.Fd]
		if e.Events&unix.EPOLLOUT != 0 && len(c.out) > 0 {
			m.resume(c)
		}
		if e.Events&^unix.EPOLLOUT == 0 {
			continue
		}
		if err := m.drain(c, e.Events&^(unix.EPOLLIN|unix.EPOLLOUT) != 0); err != nil {
			return err
		}
	}
	return nil
}

// poll is epoll_pwait2, whose timeout is in nanoseconds (Linux 5.11).
func (m *epollMover) poll(ns int64) (int, error) {
	m.timeout = unix.NsecToTimespec(ns)
	// The kernel reads the timespec and writes the events during the call only;
	// both belong to m, which outlives it. A signal set of 0 is allowed.
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(m.fd),
		uintptr(unsafe.Pointer(&m.events[0])), uintptr(len(m.events)),
		uintptr(unsafe.Pointer(&m.timeout)), 0, 0)
	if errno == unix.EINTR {
		return 0, nil
	}
	if errno != 0 {
		return 0, fmt.Errorf("epoll_pwait2: %w", errno)
	}
	return int(n), nil
}

// drain reads all input of c. A short read means that nothing is left (epoll(7),
// question 9), except for the end of the input when the event announced one.
func (m *epollMover) drain(c *conn, ended bool) error {
	for fd := c.fd; fd == c.fd; { // input may have replaced the connection
		n, err := unix.Read(fd, m.recv)
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			return nil
		}
		if err != nil || n <= 0 {
			return m.to.broken(c)
		}
		if err := m.to.input(c, m.recv[:n]); err != nil {
			return err
		}
		if n < len(m.recv) && !ended {
			return nil
		}
	}
	return nil
}

func (m *epollMover) drop(c *conn) { _ = unix.Close(c.fd) } // leaves the epoll set with it

func (m *epollMover) close() { _ = unix.Close(m.fd) }
