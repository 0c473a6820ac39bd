package api

import "sync"

// readers are the goroutines that make pages of messages that are not in memory: they may wait
// for the disk, a loop may not. Each has a Reader of its own. The queue is bounded; a full one is
// an answer to the client.
type readers struct {
	jobs chan func(Reader)
	done sync.WaitGroup
	once sync.Once
	new  func() Reader
	quit chan struct{}
}

func newReaders(newReader func() Reader) *readers {
	return &readers{jobs: make(chan func(Reader), readQueueMax), new: newReader, quit: make(chan struct{})}
}

// add queues a job; false means that the queue is full. The goroutines start with the first job.
func (r *readers) add(job func(Reader)) bool {
	r.once.Do(func() {
		for range readersMax {
			r.done.Go(r.work)
		}
	})
	select {
	case r.jobs <- job:
		return true
	default:
		return false
	}
}

func (r *readers) work() {
	reader := r.new()
	for {
		select {
		case job := <-r.jobs:
			job(reader)
		case <-r.quit:
			return
		}
	}
}

// close ends the goroutines. Jobs that are still queued belong to connections that are gone.
func (r *readers) close() {
	close(r.quit)
	r.done.Wait()
}
