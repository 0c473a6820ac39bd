package aof

import (
	"fmt"

	"golang.org/x/sys/unix"

	"ayder/internal/uring"
)

// RingSubmitter puts the durable writes of one writer on its loop's own ring: one entry per commit, O_DIRECT with
// RWF_DSYNC, no thread in between. Where the kernel cannot do such a write without waiting it hands it to
// a worker thread of its own; the completion is the same.
type RingSubmitter struct {
	ring     *uring.Ring
	kind     uring.Kind
	complete func(token uint64, n int, err error)
	pending  [InFlightMaxLimit]ringWrite // by token, modulo: to submit again what the kernel did not take
}

type ringWrite struct {
	fd  int
	p   []byte
	off int64
}

// NewRingSubmitter registers a kind of completion on the loop's ring. Call it on the loop's thread.
func NewRingSubmitter(ring *uring.Ring) *RingSubmitter {
	s := &RingSubmitter{ring: ring}
	s.kind = ring.Handle(s.handle)
	return s
}

// Start implements Submitter.
func (s *RingSubmitter) Start(complete func(token uint64, n int, err error)) { s.complete = complete }

// Write implements Submitter. The entry goes to the kernel with the loop's next submit.
func (s *RingSubmitter) Write(token uint64, f File, p []byte, off int64) {
	s.pending[token%InFlightMaxLimit] = ringWrite{int(f.(*osFile).Fd()), p, off}
	s.submit(token)
}

func (s *RingSubmitter) submit(token uint64) {
	w := &s.pending[token%InFlightMaxLimit]
	e := s.ring.SQE()
	e.PrepWriteDSync(w.fd, w.p, w.off)
	e.UserData = s.kind.UserData(token)
}

// handle takes a completion. EINTR and EAGAIN mean that nothing was begun: the same write is submitted again.
func (s *RingSubmitter) handle(token uint64, res int32, _ uint32) {
	errno := unix.Errno(-res)
	if res < 0 && (errno == unix.EINTR || errno == unix.EAGAIN) {
		s.submit(token)
		return
	}
	if res < 0 {
		s.complete(token, 0, fmt.Errorf("io_uring write: %w", errno))
		return
	}
	s.complete(token, int(res), nil)
}
