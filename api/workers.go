package api

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"ayder/internal/metrics"
)

// Workers: the goroutines that evaluate queries and joins, which take long.
//
// They are few, each on a thread of its own that the program makes the least urgent there is (Options.Background), and each reads
// with Readers of its own. What waits for them is bounded; a full queue is an answer to the client. The loops never wait for
// them: a task leaves its loop as a function and comes back as a posted one.
//
// Rejected: evaluating on the readers, because a consumer of old messages would wait behind a query.
// docs/decisions/0015-queries-beside-producers.md has what producers notice of it, measured.

// workers are the goroutines, and what they have done so far.
type workers struct {
	jobs    chan func(*worker)
	size    int
	prepare func() // called once on each thread, may be nil
	new     func() Reader
	quit    chan struct{}
	once    sync.Once
	done    sync.WaitGroup

	running  atomic.Int64
	ended    atomic.Uint64
	refused  atomic.Uint64 // the queue was full, or the turn did not come in time
	scanned  atomic.Uint64 // messages
	workedNs atomic.Uint64
}

// worker is one of them. A join reads two streams at a time.
type worker struct {
	readers [2]Reader
	pages   [2]scanPage
}

// newWorkers makes them; they start with the first job.
func newWorkers(size, queued int, prepare func(), newReader func() Reader) *workers {
	if size <= 0 {
		size = max(1, runtime.NumCPU()/2)
	}
	return &workers{jobs: make(chan func(*worker), queued), size: size, prepare: prepare, new: newReader, quit: make(chan struct{})}
}

// add queues a job; false means that the queue is full.
func (w *workers) add(job func(*worker)) bool {
	w.once.Do(func() {
		for range w.size {
			w.done.Go(w.work)
		}
	})
	select {
	case w.jobs <- job:
		return true
	default:
		w.refused.Add(1)
		return false
	}
}

// work is one goroutine's life. Its thread ends with it, because it is not fit for anything else any more.
func (w *workers) work() {
	runtime.LockOSThread()
	if w.prepare != nil {
		w.prepare()
	}
	me := &worker{readers: [2]Reader{w.new(), w.new()}}
	for {
		select {
		case job := <-w.jobs:
			w.run(me, job)
		case <-w.quit:
			return
		}
	}
}

func (w *workers) run(me *worker, job func(*worker)) {
	began := time.Now()
	w.running.Add(1)
	job(me)
	w.running.Add(-1)
	w.ended.Add(1)
	w.workedNs.Add(uint64(time.Since(began)))
}

// sample is what /metrics shows of them.
func (w *workers) sample() metrics.Queries {
	return metrics.Queries{
		Running: w.running.Load(), Waiting: len(w.jobs), Ended: w.ended.Load(), Refused: w.refused.Load(),
		Scanned: w.scanned.Load(), WorkedNs: w.workedNs.Load(),
	}
}

// close ends the goroutines, once what they are at has noticed that the server ends.
func (w *workers) close() {
	close(w.quit)
	w.done.Wait()
}
