package testkit

import "ayder/aof"

// Submitter implements aof.Submitter: it holds every write until the test completes it. Not for use by several goroutines.
type Submitter struct {
	complete func(token uint64, n int, err error)
	held     []heldWrite
}

type heldWrite struct {
	token uint64
	end   func() (int, error)
}

// beginner is a file whose writes have a beginning and an end: a MemFS's.
type beginner interface {
	Begin(p []byte, off int64) (*Pending, error)
}

// Start implements aof.Submitter.
func (s *Submitter) Start(complete func(token uint64, n int, err error)) { s.complete = complete }

// Write implements aof.Submitter.
func (s *Submitter) Write(token uint64, f aof.File, p []byte, off int64) {
	b, ok := f.(beginner)
	if !ok {
		s.held = append(s.held, heldWrite{token, func() (int, error) { return f.WriteAt(p, off) }})
		return
	}
	w, err := b.Begin(p, off)
	if err != nil {
		s.held = append(s.held, heldWrite{token, func() (int, error) { return 0, err }})
		return
	}
	s.held = append(s.held, heldWrite{token, w.Finish})
}

// Held is how many writes wait.
func (s *Submitter) Held() int { return len(s.held) }

// Complete ends the i-th write that waits, in the order of their submission.
func (s *Submitter) Complete(i int) {
	h := s.held[i]
	s.held = append(s.held[:i], s.held[i+1:]...)
	n, err := h.end()
	s.complete(h.token, n, err)
}

// CompleteAll ends writes, oldest first, until none waits.
func (s *Submitter) CompleteAll() {
	for len(s.held) > 0 {
		s.Complete(0)
	}
}

// Drop forgets the writes that wait, as a crash does.
func (s *Submitter) Drop() { s.held = nil }
