package netpoll

import "golang.org/x/sys/unix"

// setReading switches the read interest of fd in evio's epoll. Errors and resets are reported all the same.
func setReading(poll, fd int, on bool) error {
	event := unix.EpollEvent{Fd: int32(fd)}
	if on {
		event.Events = unix.EPOLLIN
	}
	return unix.EpollCtl(poll, unix.EPOLL_CTL_MOD, fd, &event)
}

// replaceFd makes fd stand for what from does, and closes what it stood for.
func replaceFd(from, fd int) error { return unix.Dup3(from, fd, unix.O_CLOEXEC) }
