package main

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// inOwnNetwork calls f on a thread that has a network of its own, with loopback and nothing else. Processes
// that f starts and sockets that it opens are in it. An error means that f was not called.
func inOwnNetwork(f func()) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine, and the network with its last user
		if err := enterNetwork(); err != nil {
			done <- err
			return
		}
		f()
		done <- nil
	}()
	return <-done
}

func enterNetwork() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare the network: %w", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, lo); err != nil {
		return err
	}
	lo.SetUint16(lo.Uint16() | unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}
