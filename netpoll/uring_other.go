//go:build !linux

package netpoll

import "golang.org/x/sys/unix"

// There is no io_uring here; uring.Probe says so before anybody asks for an engine.
func newUringEngine(*Server) (engine, error) { return nil, ErrUnsupported }

// Inject closes fd: only the io_uring backend can take over a socket.
func (l *Loop) Inject(fd int) { _ = unix.Close(fd) }
