//go:build unix

package uring

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Anon returns size bytes of zeroed, page-aligned memory outside the Go heap. Pages cost nothing until touched. The
// collector does not see it: give it back with FreeAnon, and keep no Go pointers in it.
func Anon(size int) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("uring: map %d bytes: %w", size, err)
	}
	return b, nil
}

// FreeAnon gives back what Anon returned; b may have been shortened at its end, not at its start. Any use of the
// memory afterwards is a fault. FreeAnon of an empty slice does nothing.
func FreeAnon(b []byte) error {
	if cap(b) == 0 {
		return nil
	}
	if err := unix.Munmap(b[:cap(b)]); err != nil {
		return fmt.Errorf("uring: unmap %d bytes: %w", cap(b), err)
	}
	return nil
}
