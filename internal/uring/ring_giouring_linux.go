//go:build giouring

package uring

import (
	"errors"
	"reflect"
	"syscall"
	"time"
	"unsafe"

	"github.com/pawelgaczynski/giouring"
)

// The inner seam on giouring. It gives us set-up and mapping, the submission queue, submit, wait, and the completion
// queue; entries are filled by our own Prep methods. What is known to be wrong in it (version 69588b89acb9, the last)
// and what keeps us clear of it:
//
//   - A reused entry keeps the operation flags of its last use, so that a close after a send fails and leaks the
//     descriptor. next clears every entry.
//   - Many Prepare methods pass the address of a slice header, or of a variable already dead: none is called.
//   - Params has no exported field (no completion queue size): it is written through our own params.
//   - Waiting with a timeout turns the time's address into a number before the stack may move: it lives off the heap.
//   - UnregisterRingFd refuses exactly the registered rings, so QueueExit leaks one of the thread's 16 places:
//     close gives it back itself.
//   - PeekBatchCQE fills the whole slice it is given, past the ready ones: it is given no more than those.
//   - The provided-buffer tail is a plain store in BufRingCQAdvance, FreeBufRing leaks, RegisterFiles takes the wrong
//     integers, errors of Setup are never nil: not used, see bufring_linux.go and register in ring_linux.go.

type core struct {
	ring           *giouring.Ring
	registered     bool
	eventsOnSubmit bool // DEFER_TASKRUN: completions appear only on enter with GETEVENTS

	batch   []*giouring.CompletionQueueEvent // room for a full completion queue, filled by peek
	ts      *syscall.Timespec                // in scratch
	scratch []byte                           // off the heap
}

// The layouts are the kernel's and so the same; giouring's fields are partly out of reach.
var (
	_ [unsafe.Sizeof(params{})]byte = [unsafe.Sizeof(giouring.Params{})]byte{}
	_ [unsafe.Sizeof(SQE{})]byte    = [unsafe.Sizeof(giouring.SubmissionQueueEntry{})]byte{}
	_ [unsafe.Sizeof(CQE{})]byte    = [unsafe.Sizeof(giouring.CompletionQueueEvent{})]byte{}
)

// Implementation names what is built in.
func Implementation() string { return "giouring" }

// openCore sets up a ring; p holds the flags and sizes wanted and receives those granted.
func openCore(entries uint32, p *params) (*core, error) {
	scratch, err := Anon(int(unsafe.Sizeof(syscall.Timespec{})))
	if err != nil {
		return nil, err
	}
	c := &core{ring: giouring.NewRing(), scratch: scratch}
	c.ts = (*syscall.Timespec)(unsafe.Pointer(&scratch[0]))
	if err := c.ring.QueueInitParams(entries, (*giouring.Params)(unsafe.Pointer(p))); err != nil {
		return nil, errors.Join(err, FreeAnon(scratch))
	}
	c.eventsOnSubmit = p.Flags&setupDeferTaskrun != 0
	c.batch = make([]*giouring.CompletionQueueEvent, p.CQEntries)
	return c, nil
}

func (c *core) descriptor() int { return c.ring.RingFd() }

// registerFd gives the calling thread a short cut to the ring, about 10 ns per enter.
func (c *core) registerFd() error {
	_, err := c.ring.RegisterRingFd()
	c.registered = err == nil
	return err
}

// unregisterFd does what UnregisterRingFd does not. The place's number is in a field that only reflection reads.
func (c *core) unregisterFd() {
	place := reflect.ValueOf(c.ring).Elem().FieldByName("enterRingFd").Int()
	u := rsrcUpdate{Offset: uint32(place)}
	_, _ = register(c.descriptor(), unregisterRingFds, unsafe.Pointer(&u), 1)
}

// next returns a zeroed entry, nil when the queue is full.
func (c *core) next() *SQE {
	s := (*SQE)(unsafe.Pointer(c.ring.GetSQE()))
	if s != nil {
		*s = SQE{}
	}
	return s
}

// pending is how many entries the kernel has not taken yet.
func (c *core) pending() uint32 { return c.ring.SQReady() }

// submit hands over what is pending and never sleeps.
func (c *core) submit() error {
	var err error
	if c.eventsOnSubmit {
		_, err = c.ring.SubmitAndGetEvents()
	} else {
		_, err = c.ring.Submit()
	}
	return err
}

// wait hands over what is pending and sleeps until there is a completion or the timeout (<0: none) has passed.
func (c *core) wait(timeout time.Duration) error {
	_, err := c.ring.SubmitAndWaitTimeout(1, c.timespec(timeout), nil)
	return err
}

// pause sleeps as wait does but hands over nothing.
func (c *core) pause(timeout time.Duration) error {
	_, err := c.ring.WaitCQEs(1, c.timespec(timeout), nil)
	return err
}

func (c *core) timespec(timeout time.Duration) *syscall.Timespec {
	if timeout < 0 {
		return nil
	}
	*c.ts = syscall.NsecToTimespec(int64(timeout))
	return c.ts
}

// ready is how many completions wait to be read.
func (c *core) ready() uint32 { return c.ring.CQReady() }

// peek makes the completions that are ready readable by cqe and says how many they are.
func (c *core) peek() uint32 {
	n := c.ring.CQReady()
	if n == 0 {
		return 0
	}
	return c.ring.PeekBatchCQE(c.batch[:n])
}

// cqe is the i-th readable completion; it stays valid until advance.
func (c *core) cqe(i uint32) *CQE { return (*CQE)(unsafe.Pointer(c.batch[i])) }

// advance gives n completion slots back to the kernel.
func (c *core) advance(n uint32) { c.ring.CQAdvance(n) }

// close frees everything; c is dead afterwards.
func (c *core) close() {
	if c.registered {
		c.unregisterFd()
	}
	c.ring.QueueExit()
	_ = FreeAnon(c.scratch)
}
