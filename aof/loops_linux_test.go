package aof_test

import (
	"runtime"
	"sync"
	"testing"

	"ayder/aof"
	"ayder/internal/record"
	"ayder/internal/uring"
)

// newRingLoop runs a loop as the server's: a locked thread that waits on its ring, where the log's writes and the wake-ups
// of other threads arrive.
func newRingLoop(t testing.TB, log *aof.Log) *testLoop {
	if err := uring.Probe(); err != nil {
		t.Skip("no io_uring here: ", err)
	}
	var mu sync.Mutex
	var queue []func()
	var waker *uring.Waker
	stopped := false
	l := &testLoop{}
	ready, done := make(chan error, 1), make(chan struct{})
	take := func() []func() {
		mu.Lock()
		defer mu.Unlock()
		all := queue
		queue = nil
		return all
	}
	l.post = func(fn func()) {
		mu.Lock()
		queue = append(queue, fn)
		mu.Unlock()
		waker.Wake()
	}
	go func() {
		defer close(done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		ring, err := uring.New(uring.Config{Entries: 64})
		if err != nil {
			ready <- err
			return
		}
		defer ring.Close()
		if waker, err = ring.NewWaker(func() {}); err != nil {
			ready <- err
			return
		}
		l.w = log.NewWriter(aof.NewRingSubmitter(ring), l.woken)
		ready <- nil
		for !stopped {
			if err := ring.Wait(-1); err != nil {
				t.Error(err)
				return
			}
			ring.Dispatch()
			for _, fn := range take() {
				fn()
			}
		}
	}()
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	l.stop = func() {
		l.post(func() { stopped = true })
		<-done
	}
	return l
}

func init() { loopKinds["ring"] = newRingLoop }

// A commit through io_uring allocates nothing either.
func TestRingCommitAllocatesNothing(t *testing.T) {
	if err := uring.Probe(); err != nil {
		t.Skip("no io_uring here: ", err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ring, err := uring.New(uring.Config{Entries: 64})
	if err != nil {
		t.Fatal(err)
	}
	defer ring.Close()
	l := mustOpen(t, aof.Options{Dir: t.TempDir(), SegmentBytes: 4 << 20})
	w := l.NewWriter(aof.NewRingSubmitter(ring), func() {})
	b := record.NewBatch()
	b.Done = func(_ *record.Batch, err error) {
		if err != nil {
			t.Error(err)
		}
	}
	rec, next := &record.Record{Value: make([]byte, 64)}, uint64(0)
	got := testing.AllocsPerRun(300, func() {
		b.Reset(1 << 20)
		b.AppendRecord(one, next, rec)
		next++
		w.Append(b)
		for w.InFlight() > 0 {
			if err := ring.Wait(-1); err != nil {
				t.Fatal(err)
			}
			ring.Dispatch()
		}
	})
	if got != 0 {
		t.Errorf("%v allocations per commit", got)
	}
	mustCloseLog(t, l)
}
