package netpoll

import (
	"fmt"
	"net"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Closing evio's listener before evio ends, which it has no call for. It holds two descriptors of the socket, and closes them
// by number at its end; so their numbers must stay taken, and what they stand for must be something on which its accept finds
// nothing and does not fail, because its loop would end. They are found by what they are, a listening socket with our address,
// when it has just been bound, and replaced by a listener in the private directory that nobody knows of. The kernel takes the
// old socket off evio's poll when its last descriptor is gone.
//
// Rejected: shutdown(2) of the listener, which resets what waits in the backlog, leaves evio polling a socket that is always
// readable, and does nothing outside Linux.

// listenerFds are the process's descriptors of the listening socket with this address.
func listenerFds(addr net.Addr) (fds []int) {
	for fd := 3; fd < listenerFdsMax && len(fds) < 2; fd++ {
		if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && on != 0 && boundName(fd) == addr.String() {
			fds = append(fds, fd)
		}
	}
	return fds
}

// closeListener ends listening once nothing waits in the backlog, or new ones come all the time; false: evio accepts first.
func (e *evioEngine) closeListener() bool {
	if len(e.listeners) == 0 {
		return true
	}
	if e.deafBy == 0 {
		e.deafBy = e.l.now + ms(LastBacklogMs)
	}
	if waits(e.listeners[0]) && e.l.now < e.deafBy {
		return false
	}
	if err := e.replaceListener(); err != nil {
		e.srv.log.Warn("the listener stays open until the server has ended", "error", err)
	}
	e.listeners = nil
	return true
}

func (e *evioEngine) replaceListener() error {
	deaf, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return fmt.Errorf("netpoll: socket in place of the listener: %w", err)
	}
	defer func() { _ = unix.Close(deaf) }()
	unix.CloseOnExec(deaf)
	err = unix.Bind(deaf, &unix.SockaddrUnix{Name: filepath.Join(e.dir, "closed")})
	if err == nil {
		err = unix.Listen(deaf, 1)
	}
	if err == nil {
		err = unix.SetNonblock(deaf, true)
	}
	for _, fd := range e.listeners {
		if err == nil {
			err = replaceFd(deaf, fd)
		}
	}
	if err != nil {
		return fmt.Errorf("netpoll: in place of the listener: %w", err)
	}
	return nil
}

// waits tells whether a connection waits to be accepted.
func waits(listener int) bool {
	p := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents&unix.POLLIN != 0
}
