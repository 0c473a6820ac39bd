//go:build !linux

package netpoll

import "golang.org/x/sys/unix"

// setReading switches the read filter of fd in evio's kqueue, which evio itself added and never changes.
func setReading(poll, fd int, on bool) error {
	var change unix.Kevent_t
	flags := unix.EV_DISABLE
	if on {
		flags = unix.EV_ENABLE
	}
	unix.SetKevent(&change, fd, unix.EVFILT_READ, flags)
	_, err := unix.Kevent(poll, []unix.Kevent_t{change}, nil, nil)
	return err
}

// replaceFd makes fd stand for what from does, and closes what it stood for.
func replaceFd(from, fd int) error {
	err := unix.Dup2(from, fd)
	unix.CloseOnExec(fd)
	return err
}
