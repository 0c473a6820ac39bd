package aof_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"ayder/aof"
	"ayder/internal/record"
)

// testLoop stands for a loop of the server: one goroutine to which everything about its writer is posted. The pool's
// runs functions from a queue; the ring's (loops_linux_test.go) waits on its io_uring as netpoll does.
type testLoop struct {
	post  func(func()) // any goroutine; runs on the loop
	w     *aof.Writer
	stop  func()
	pumps []func() // run when Admit is worth asking again
}

// hangGuard fails a test that would wait for ever; nothing depends on it otherwise.
const hangGuard = 2 * time.Minute

// woken is the writer's wake: from any thread.
func (l *testLoop) woken() {
	l.post(func() {
		l.w.Deliver()
		for _, pump := range l.pumps {
			pump()
		}
	})
}

func newPoolLoop(t testing.TB, log *aof.Log) *testLoop {
	posts := make(chan func(), 4096)
	l := &testLoop{post: func(fn func()) { posts <- fn }}
	sub := aof.NewPoolSubmitter(2, l.post)
	l.w = log.NewWriter(sub, l.woken)
	var done sync.WaitGroup
	done.Add(1)
	go func() {
		defer done.Done()
		for fn := range posts {
			fn()
		}
	}()
	l.stop = func() {
		sub.Close()
		close(posts)
		done.Wait()
	}
	return l
}

// produce appends n batches of one record of size bytes to s, four in flight, and waits until all are durable.
func (l *testLoop) produce(t testing.TB, s record.Stream, n, size int) {
	t.Helper()
	finished := make(chan error, 1)
	var sent, acked int
	var pump func()
	done := func(_ *record.Batch, err error) {
		if err != nil {
			finished <- err
			return
		}
		if acked++; acked == n {
			finished <- nil
			return
		}
		pump()
	}
	pump = func() {
		for sent < n && l.w.InFlight() < 4 && l.w.Admit() == nil {
			b := record.NewBatch()
			b.TimeMs = uint64(sent)
			value := make([]byte, size)
			copy(value, fmt.Sprintf("%v %d", s, sent))
			b.AppendRecord(s, uint64(sent), &record.Record{Value: value})
			b.Done = done
			sent++
			l.w.Append(b)
		}
	}
	l.post(func() {
		l.pumps = append(l.pumps, pump)
		pump()
	})
	select {
	case err := <-finished:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(hangGuard):
		t.Errorf("stream %v: %d of %d acknowledged", s, acked, n)
	}
}

// mustHold reads the n messages that produce appended to s.
func mustHold(t testing.TB, l *aof.Log, s record.Stream, n int) {
	t.Helper()
	r := l.NewReader()
	defer r.Close()
	at := 0
	next, err := r.Read(s, 0, uint64(n), true, func(sec record.Section) bool {
		it := sec.Records()
		for rec, ok := it.Next(); ok; rec, ok = it.Next() {
			want := fmt.Sprintf("%v %d", s, at)
			if len(rec.Value) < len(want) || string(rec.Value[:len(want)]) != want {
				t.Fatalf("offset %d of %v holds %.20q", at, s, rec.Value)
			}
			at++
		}
		return true
	})
	if err != nil || next != uint64(n) || at != n {
		t.Fatalf("%v: read up to %d, %d messages of %d: %v", s, next, at, n, err)
	}
}
