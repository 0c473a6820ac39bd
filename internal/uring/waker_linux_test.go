package uring

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// 10,000 wake-ups from many goroutines: after the last one, the function has seen everything done before it.
func TestWakeNothingIsMissed(t *testing.T) {
	const goroutines, each = 10, 1000
	r := newRing(t, Config{Entries: 8})
	var work atomic.Int64
	seen, calls := int64(0), 0
	w, err := r.NewWaker(func() { seen = work.Load(); calls++ })
	if err != nil {
		t.Fatal(err)
	}
	for range goroutines {
		go func() {
			for i := range each {
				work.Add(1)
				w.Wake()
				if i%100 == 0 {
					runtime.Gosched()
				}
			}
		}()
	}
	turn(t, r, func() bool { return seen == goroutines*each })
	if calls > goroutines*each {
		t.Errorf("%d calls for %d wake-ups", calls, goroutines*each)
	}
}

// One at a time nothing can coalesce: every Wake is a call.
func TestWakeByWake(t *testing.T) {
	r := newRing(t, Config{Entries: 8})
	calls := 0
	w, err := r.NewWaker(func() { calls++ })
	if err != nil {
		t.Fatal(err)
	}
	wake := make(chan int)
	defer close(wake)
	go func() {
		for range wake {
			w.Wake()
		}
	}()
	for i := 1; i <= 500; i++ {
		wake <- i
		turn(t, r, func() bool { return calls >= i })
		if calls != i {
			t.Fatalf("%d calls after %d wake-ups", calls, i)
		}
	}
}

func TestWakesCoalesce(t *testing.T) {
	r := newRing(t, Config{Entries: 8})
	calls := 0
	w, err := r.NewWaker(func() { calls++ })
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Submit(); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		w.Wake()
	}
	turn(t, r, func() bool { return calls > 0 })
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
}

// From the function itself it means "again", not "for ever in this turn".
func TestWakeInsideTheFunction(t *testing.T) {
	r := newRing(t, Config{Entries: 8})
	calls := 0
	var w *Waker
	w, err := r.NewWaker(func() {
		if calls++; calls < 50 {
			w.Wake()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Wake()
	turn(t, r, func() bool { return calls == 50 })
}

// A Wake before the ring first submitted anything is not lost.
func TestWakeBeforeTheFirstWait(t *testing.T) {
	r := newRing(t, Config{Entries: 8})
	calls := 0
	w, err := r.NewWaker(func() { calls++ })
	if err != nil {
		t.Fatal(err)
	}
	w.Wake()
	turn(t, r, func() bool { return calls == 1 })
}

// When its completions overflow, the kernel ends the poll; it is armed again and nothing is missed.
func TestWakeAcrossOverflow(t *testing.T) {
	r := newRing(t, Config{Entries: 4, CQEntries: 4})
	c := collect(r)
	calls := 0
	w, err := r.NewWaker(func() { calls++ })
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		before := calls
		queueNops(r, c.kind, 0, 50)
		if err := r.Submit(); err != nil {
			t.Fatal(err)
		}
		w.Wake()
		c.await(t, r, 50)
		turn(t, r, func() bool { return calls > before })
	}
}

func TestTwoWakers(t *testing.T) {
	r := newRing(t, Config{Entries: 8})
	var calls [2]int
	var wakers [2]*Waker
	for i := range wakers {
		var err error
		if wakers[i], err = r.NewWaker(func() { calls[i]++ }); err != nil {
			t.Fatal(err)
		}
	}
	wakers[1].Wake()
	turn(t, r, func() bool { return calls[1] == 1 })
	if calls[0] != 0 {
		t.Error("the wrong one was called")
	}
}

// Wake while the ring closes and after: no call, no fault, and no write into a descriptor that got the old number.
func TestWakeDuringAndAfterClose(t *testing.T) {
	for range 20 {
		r := newRing(t, Config{Entries: 8})
		w, err := r.NewWaker(func() {})
		if err != nil {
			t.Fatal(err)
		}
		var stop atomic.Bool
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for !stop.Load() {
					w.Wake()
					w.pending.Store(false) // so that each reaches for the descriptor
				}
			})
		}
		for range 10 {
			if err := r.Wait(0); err != nil {
				t.Fatal(err)
			}
			r.Dispatch()
		}
		closeRing(t, r)
		var reused []int
		for range 8 {
			fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			reused = append(reused, fd)
		}
		runtime.Gosched()
		stop.Store(true)
		wg.Wait()
		w.Wake()
		var count [8]byte
		for _, fd := range reused {
			if _, err := unix.Read(fd, count[:]); err != unix.EAGAIN {
				t.Errorf("a wake-up went into somebody else's descriptor: %v", err)
			}
			_ = unix.Close(fd)
		}
	}
}

func TestWakeAllocatesNothing(t *testing.T) {
	r := newRing(t, Config{Entries: 8})
	calls := 0
	w, err := r.NewWaker(func() { calls++ })
	if err != nil {
		t.Fatal(err)
	}
	n := testing.AllocsPerRun(100, func() {
		w.Wake()
		if err := r.Wait(hangGuard); err != nil {
			t.Fatal(err)
		}
		r.Dispatch()
	})
	if n != 0 || calls == 0 {
		t.Errorf("%v allocations, %d calls", n, calls)
	}
}

func BenchmarkWake(b *testing.B) {
	r := newRing(b, Config{Entries: 8})
	calls := 0
	w, err := r.NewWaker(func() { calls++ })
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		w.Wake()
		if err := r.Wait(-1); err != nil {
			b.Fatal(err)
		}
		r.Dispatch()
	}
}
