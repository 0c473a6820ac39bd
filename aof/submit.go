package aof

import "sync"

// Loops without io_uring hand their durable writes to threads. The loop must not block, so a few goroutines do, one write
// each; the outcome is posted back to the loop, because everything about a writer happens there. A write's object, and the
// function that is posted for it, are made once and used again.

// PoolSubmitter does the durable writes of one writer with blocking calls on a few goroutines, for loops without
// io_uring: each commit costs two hand-offs between threads, 50 to 100 µs.
type PoolSubmitter struct {
	post     func(func())
	complete func(token uint64, n int, err error)
	queue    chan *poolWrite
	workers  sync.WaitGroup

	mu   sync.Mutex
	free []*poolWrite
}

// poolWrite is one write; objects are used again, so that a commit allocates nothing.
type poolWrite struct {
	token uint64
	file  File
	p     []byte
	off   int64
	n     int
	err   error
	done  func() // posted to the loop
}

// NewPoolSubmitter starts the goroutines. post runs a function on the writer's loop, soon, in any order, and never
// fails. Close ends the goroutines.
func NewPoolSubmitter(threads int, post func(func())) *PoolSubmitter {
	s := &PoolSubmitter{post: post, queue: make(chan *poolWrite, poolQueueLength)}
	s.workers.Add(threads)
	for range threads {
		go s.work()
	}
	return s
}

// Start implements Submitter.
func (s *PoolSubmitter) Start(complete func(token uint64, n int, err error)) { s.complete = complete }

// Write implements Submitter. The queue has room for every write that a writer may have in flight.
func (s *PoolSubmitter) Write(token uint64, f File, p []byte, off int64) {
	w := s.take()
	w.token, w.file, w.p, w.off = token, f, p, off
	s.queue <- w
}

// Close ends the goroutines after the writes that were queued.
func (s *PoolSubmitter) Close() {
	close(s.queue)
	s.workers.Wait()
}

func (s *PoolSubmitter) work() {
	defer s.workers.Done()
	for w := range s.queue {
		w.n, w.err = w.file.WriteAt(w.p, w.off)
		s.post(w.done)
	}
}

func (s *PoolSubmitter) take() *poolWrite {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.free); n > 0 {
		w := s.free[n-1]
		s.free = s.free[:n-1]
		return w
	}
	w := &poolWrite{}
	w.done = func() {
		token, n, err := w.token, w.n, w.err
		w.file, w.p = nil, nil
		s.mu.Lock()
		s.free = append(s.free, w)
		s.mu.Unlock()
		s.complete(token, n, err)
	}
	return w
}
