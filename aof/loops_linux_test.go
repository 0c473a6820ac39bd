package aof_test

import (
	"runtime"
	"sync"
	"testing"

	"ayder/aof"
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
