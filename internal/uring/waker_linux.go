package uring

import (
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A Waker calls a function on the ring's thread at the wish of any goroutine: an eventfd that the ring polls with a
// multishot request. Its counter is never read: every write wakes the poll again, and 64 bits do not run full.
//
// Wake-ups coalesce. The first Wake after the function last started writes to the eventfd, the others only see the
// flag. The loop clears the flag before it calls the function, so what was queued before a Wake that saw the flag
// set is always found by the call that follows.

// Waker wakes one ring. Wake is for any goroutine, everything else for the ring.
type Waker struct {
	ring *Ring
	kind Kind
	fn   func()

	pending atomic.Bool // set: a wake-up is under way and fn has not started; set by anybody, cleared by the loop

	mu sync.Mutex // orders the write against close, so that a reused descriptor is never written to
	fd int        // -1 when closed
}

// NewWaker prepares calls of fn on the ring's thread, inside Dispatch. It uses up one kind.
func (r *Ring) NewWaker(fn func()) (*Waker, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("uring: eventfd for wake-ups: %w", err)
	}
	w := &Waker{ring: r, fd: fd, fn: fn}
	w.kind = r.Handle(w.complete)
	r.wakers = append(r.wakers, w)
	w.arm()
	return w, nil
}

// Wake makes fn run soon on the ring's thread; many calls may become one. It does not wait for the run, never
// allocates, and does nothing once the ring is closed.
func (w *Waker) Wake() {
	if w.pending.Load() || w.pending.Swap(true) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fd >= 0 {
		// A full counter is the only refusal, and then the poll is ready anyway.
		_, _ = unix.Write(w.fd, one[:])
	}
}

// one is the number 1 as eventfd(2) wants it, in either byte order not zero.
var one = [8]byte{1}

func (w *Waker) arm() {
	s := w.ring.SQE()
	s.PrepPollMultishot(w.fd, unix.POLLIN)
	s.UserData = w.kind.UserData(0)
}

func (w *Waker) complete(_ uint64, res int32, flags uint32) {
	if res == -int32(unix.ECANCELED) {
		return
	}
	if !More(flags) {
		w.arm()
	}
	w.pending.Store(false)
	w.fn()
}

func (w *Waker) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = unix.Close(w.fd)
	w.fd = -1
}
