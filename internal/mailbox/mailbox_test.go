package mailbox

import (
	"runtime"
	"sync"
	"testing"
)

func TestOrder(t *testing.T) {
	q := New[int](100)
	next := 0
	for round := range 10 {
		for i := range round * 7 {
			if !q.Push(next + i) {
				t.Fatalf("round %d: push %d refused", round, i)
			}
		}
		if q.Len() != round*7 {
			t.Fatalf("round %d: length %d", round, q.Len())
		}
		n := q.Drain(func(m int) {
			if m != next {
				t.Fatalf("round %d: got %d, want %d", round, m, next)
			}
			next++
		})
		if n != round*7 || q.Len() != 0 {
			t.Fatalf("round %d: drained %d, %d left", round, n, q.Len())
		}
	}
}

func TestEmptyDrainCallsNobody(t *testing.T) {
	q := New[int](1)
	if n := q.Drain(func(int) { t.Error("called") }); n != 0 {
		t.Errorf("drained %d", n)
	}
}

func TestFull(t *testing.T) {
	q := New[int](3)
	for i := range 3 {
		if !q.Push(i) {
			t.Fatalf("push %d refused", i)
		}
	}
	if q.Push(3) {
		t.Fatal("a fourth message fits into three places")
	}
	if q.Len() != 3 || q.Cap() != 3 {
		t.Fatalf("length %d of %d", q.Len(), q.Cap())
	}
	sum := 0
	q.Drain(func(m int) { sum += m })
	if sum != 0+1+2 {
		t.Errorf("the refused message got in: sum %d", sum)
	}
	if !q.Push(4) {
		t.Error("still full after draining")
	}
}

// The places of messages that are being handed out are free again, so that a handler can always answer.
func TestPushWhileDraining(t *testing.T) {
	q := New[int](2)
	q.Push(1)
	q.Push(2)
	var seen []int
	n := q.Drain(func(m int) {
		seen = append(seen, m)
		if !q.Push(m * 10) {
			t.Errorf("push from the handler of %d refused", m)
		}
	})
	if n != 2 || len(seen) != 2 {
		t.Fatalf("one drain handed out %v", seen)
	}
	q.Drain(func(m int) { seen = append(seen, m) })
	if want := [...]int{1, 2, 10, 20}; len(seen) != 4 || [4]int(seen) != want {
		t.Errorf("got %v, want %v", seen, want)
	}
}

func TestBugsPanic(t *testing.T) {
	mustPanic := func(what string, fn func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Errorf("%s: no panic", what)
			}
		}()
		fn()
	}
	mustPanic("capacity 0", func() { New[int](0) })
	q := New[int](4)
	q.Push(1)
	mustPanic("drain in drain", func() {
		q.Drain(func(int) {
			q.Push(2)
			q.Drain(func(int) {})
		})
	})
}

type message struct{ producer, number int }

// Every message arrives once and in its producer's order, while full queues make producers try again.
func TestManyProducers(t *testing.T) {
	const producers, each, capacity = 8, 5000, 64
	q := New[message](capacity)
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			for n := range each {
				for !q.Push(message{p, n}) {
					runtime.Gosched()
				}
			}
		})
	}
	var next [producers]int
	for got := 0; got < producers*each; {
		if q.Len() > capacity {
			t.Fatalf("%d messages in %d places", q.Len(), capacity)
		}
		n := q.Drain(func(m message) {
			if m.number != next[m.producer] {
				t.Fatalf("producer %d: message %d instead of %d", m.producer, m.number, next[m.producer])
			}
			next[m.producer]++
		})
		if n == 0 {
			runtime.Gosched()
		}
		got += n
	}
	wg.Wait()
	if q.Len() != 0 {
		t.Errorf("%d messages too many", q.Len())
	}
}

// A waker coalesces on the promise that what was pushed before a Drain began is handed out by it.
func TestDrainSeesWhatWasPushedBefore(t *testing.T) {
	q := New[int](1)
	pushed, drained := make(chan int), make(chan struct{})
	go func() {
		for i := range 1000 {
			q.Push(i)
			pushed <- i
			<-drained
		}
		close(pushed)
	}()
	for i := range pushed {
		got := -1
		if n := q.Drain(func(m int) { got = m }); n != 1 || got != i {
			t.Fatalf("drained %d messages, got %d, want %d", n, got, i)
		}
		drained <- struct{}{}
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	q := New[func()](1024)
	ran := 0
	run, handle := func() { ran++ }, func(fn func()) { fn() }
	turn := func() {
		for range 100 {
			q.Push(run)
		}
		q.Drain(handle)
	}
	turn()
	turn() // each of the two slices has grown
	if n := testing.AllocsPerRun(100, turn); n != 0 {
		t.Errorf("%v allocations per turn", n)
	}
	if ran == 0 {
		t.Error("nothing ran")
	}
}

// A handled message must not be kept alive by the queue's memory.
func TestHandledMessagesAreForgotten(t *testing.T) {
	q := New[*[64]byte](8) // too large for the allocator's shared tiny blocks
	collected := make(chan struct{})
	func() {
		p := new([64]byte)
		runtime.AddCleanup(p, func(c chan struct{}) { close(c) }, collected)
		q.Push(p)
		q.Drain(func(*[64]byte) {})
	}()
	for range 100 {
		runtime.GC()
		select {
		case <-collected:
			runtime.KeepAlive(q)
			return
		default:
			runtime.Gosched()
		}
	}
	t.Error("still reachable after 100 collections")
}

func BenchmarkPushDrain(b *testing.B) {
	q := New[int](1024)
	handle := func(int) {}
	b.ReportAllocs()
	for b.Loop() {
		for i := range 64 {
			q.Push(i)
		}
		q.Drain(handle)
	}
}

func BenchmarkContended(b *testing.B) {
	q := New[int](1 << 16)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			q.Drain(func(int) {})
			select {
			case <-stop:
				return
			default:
				runtime.Gosched()
			}
		}
	}()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			for !q.Push(1) {
				runtime.Gosched()
			}
		}
	})
	close(stop)
	<-done
}
