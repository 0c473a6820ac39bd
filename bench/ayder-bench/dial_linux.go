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
	if err == nil && n == 0 {
		return 0, fmt.Errorf("read: %w", net.ErrClosed)
	}
	return max(n, 0), err
}

func (s blockingSocket) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		n, err := unix.Write(int(s), p[done:])
		if err != nil {
			return done, err
		}
		done += n
	}
	return len(p), nil
}

// interest is registered once per connection and never changed: edges cost the
// kernel one look at the socket per event, levels two.
const interest = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET

// connect opens c, greets, and adds it to the epoll set.
func (l *loop) connect(c *conn) error {
	fd, err := dial(l.addr)
	if err != nil {
		return err
	}
	if err := l.dialect.greet(blockingSocket(fd), c.index); err != nil {
		_ = unix.Close(fd)
		return err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return fmt.Errorf("set non-blocking: %w", err)
	}
	c.fd = fd
	event := unix.EpollEvent{Events: interest, Fd: int32(c.index)}
	if err := unix.EpollCtl(l.epfd, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
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
	if err := unix.Connect(fd, addr); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return nil
}
