package main

import (
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// Connecting is blocking with a deadline: it happens before the clock runs, and
// again only when a connection broke, which is an error of the run anyway. Sockets
// are made by hand and not through net.Dial, whose descriptors belong to the
// runtime's own poller.

// resolve turns host:port into a socket address.
func resolve(addr string) (unix.Sockaddr, error) {
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", addr, err)
	}
	if ip := tcp.IP.To4(); ip != nil || tcp.IP == nil {
		sa := &unix.SockaddrInet4{Port: tcp.Port, Addr: [4]byte{127, 0, 0, 1}}
		if ip != nil {
			copy(sa.Addr[:], ip)
		}
		return sa, nil
	}
	sa := &unix.SockaddrInet6{Port: tcp.Port}
	copy(sa.Addr[:], tcp.IP.To16())
	return sa, nil
}

// blockingSocket is what a dialect greets over.
type blockingSocket int

func (s blockingSocket) Read(p []byte) (int, error) {
	n, err := unix.Read(int(s), p)
	for err == unix.EINTR {
		n, err = unix.Read(int(s), p)
	}
	if err == nil && n == 0 {
		return 0, fmt.Errorf("read: %w", net.ErrClosed)
	}
	return max(n, 0), err
}

func (s blockingSocket) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		n, err := unix.Write(int(s), p[done:])
		if err != nil && err != unix.EINTR {
			return done, err
		}
		done += max(n, 0)
	}
	return len(p), nil
}

// connect opens c, greets, and hands it to the mover.
func (l *loop) connect(c *conn) error {
	fd, err := dial(l.addr)
	if err != nil {
		return err
	}
	if err := l.dialect.greet(blockingSocket(fd), c.index); err != nil {
		_ = unix.Close(fd)
		return err
	}
	c.fd = fd
	return l.mover.add(c)
}

// dial opens a blocking socket whose operations give up after handshakeMax.
func dial(addr unix.Sockaddr) (int, error) {
	family := unix.AF_INET
	if _, v6 := addr.(*unix.SockaddrInet6); v6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	if err := prepare(fd, addr); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func prepare(fd int, addr unix.Sockaddr) error {
	limit := unix.NsecToTimeval(int64(handshakeMax / time.Nanosecond))
	for _, option := range []int{unix.SO_SNDTIMEO, unix.SO_RCVTIMEO} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &limit); err != nil {
			return fmt.Errorf("set socket timeout: %w", err)
		}
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return fmt.Errorf("set TCP_NODELAY: %w", err)
	}
	err := unix.Connect(fd, addr)
	if err == unix.EINTR {
		err = connected(fd)
	}
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return nil
}

// connected waits for a connect that a signal interrupted: it goes on by itself, and
// must not be called again (connect(2), EINTR).
func connected(fd int) error {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, int(handshakeMax/time.Millisecond))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return unix.ETIMEDOUT
		}
		code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil || code == 0 {
			return err
		}
		return unix.Errno(code)
	}
}
