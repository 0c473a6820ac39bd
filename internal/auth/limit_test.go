package auth

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func limitOf(t testing.TB, text string) *Limit {
	t.Helper()
	scope, err := mustParse(t, text).Check([]byte("Bearer t"))
	if err != nil {
		t.Fatal(err)
	}
	return scope.Limit()
}

const second = int64(time.Second)

// taken is how many requests of a size are let in one after the other at a moment.
func taken(m *Limit, now int64, size int) (n int) {
	for m.Take(now, size) == 0 {
		if n++; n > 1_000_000 {
			return n
		}
	}
	return n
}

func TestRateAndBurst(t *testing.T) {
	const start = 5 * second
	for text, want := range map[string][3]int{ // at once, after a second, after an hour
		"t@read;rate=10/s":             {10, 10, 10},
		"t@read;rate=10/s;burst=25":    {25, 10, 25},
		"t@read;rate=10/s;burst=3":     {3, 3, 3},
		"t@read;rate=1/s;burst=1":      {1, 1, 1},
		"t@read;rate=2K/s":             {2000, 2000, 2000},
		"t@read/x;burst=7;rate=3/s":    {7, 3, 7},
		"t@read;rate=1M/s;burst=10":    {10, 10, 10},
		"t@read;rate=3/s;burst=259200": {259200, 3, 10_801}, // three a second for an hour, and what is left of a nanosecond's share
	} {
		m := limitOf(t, text)
		for i, at := range []int64{start, start + second, start + 3601*second} {
			if got := taken(m, at, 1<<20); got < want[i]-1 || got > want[i] {
				t.Errorf("%s: %d requests at moment %d, want %d", text, got, i, want[i])
			}
		}
	}
	var none *Limit
	if none.Take(1, 1<<30) != 0 || limitOf(t, "t@read") != nil || limitOf(t, "t") != nil {
		t.Error("a token without limits is limited")
	}
}

func TestBytesPerSecond(t *testing.T) {
	m := limitOf(t, "t@write;bytes=1000/s")
	now := second
	if got := taken(m, now, 100); got != 10 {
		t.Fatalf("%d requests of 100 bytes at 1000 bytes/s", got)
	}
	wait := m.Take(now, 100)
	if wait <= 0 || wait > time.Second {
		t.Fatalf("wait %v", wait)
	}
	now += int64(wait)
	if m.Take(now, 5000) != 0 {
		t.Fatal("refused after the wait that it told")
	}
	if wait := m.Take(now, 0); wait < 4*time.Second || wait > 5*time.Second+time.Microsecond {
		t.Fatalf("after a body of five seconds' worth the wait is %v", wait)
	}
	both := limitOf(t, "t@write;rate=5/s;bytes=1M/s")
	if got := taken(both, second, 1); got != 5 {
		t.Fatalf("%d requests at 5/s", got)
	}
	if got := taken(both, 3*second, 1_000_000); got != 1 {
		t.Fatalf("%d requests of a megabyte at 1M/s", got)
	}
	if got := taken(both, 6*second, 1); got != 5 {
		t.Fatalf("what was refused for its bytes has used requests: %d are left", got)
	}
}

func TestRefusalsTakeNothing(t *testing.T) {
	m := limitOf(t, "t@read;rate=1/s")
	now := second
	for range 100 {
		m.Take(now, 0)
	}
	if wait := m.Take(now, 0); wait != time.Second {
		t.Fatalf("wait %v", wait)
	}
	if m.Take(now+second, 0) != 0 {
		t.Fatal("a hundred refusals have put the next request off")
	}
}

func TestBucketsAreShared(t *testing.T) {
	m := limitOf(t, "t@read;rate=1000/s")
	var let atomic.Int64
	var loops sync.WaitGroup
	for range 4 {
		loops.Go(func() {
			for range 1000 {
				if m.Take(second, 10) == 0 {
					let.Add(1)
				}
			}
		})
	}
	loops.Wait()
	if let.Load() != 1000 {
		t.Fatalf("%d requests of four loops at 1000/s", let.Load())
	}
}

func TestReloadKeepsBuckets(t *testing.T) {
	now := second
	take := func(h *Holder) int {
		t.Helper()
		scope, err := h.Load().Check([]byte("Bearer t"))
		if err != nil {
			t.Fatal(err)
		}
		return taken(scope.Limit(), now, 0)
	}
	h := NewHolder(mustParse(t, "t@read;rate=10/s:other@read;rate=5/s"))
	if got := take(h); got != 10 {
		t.Fatalf("%d requests", got)
	}
	h.Swap(mustParse(t, "new:t@read+write;rate=10/s"))
	if got := take(h); got != 0 {
		t.Fatalf("%d more requests after a reload", got)
	}
	h.Swap(mustParse(t, "t@read;rate=100/s"))
	now += second / 2
	if got := take(h); got != 50 {
		t.Fatalf("%d requests after the rate was raised", got)
	}
	h.Swap(mustParse(t, "t@read"))
	h.Swap(mustParse(t, "t@read;rate=10/s"))
	if got := take(h); got != 10 {
		t.Fatalf("%d requests after a time without limits", got)
	}
	NewHolder(nil).Swap(mustParse(t, "t"))
}

func TestBadLimits(t *testing.T) {
	for _, limit := range []string{
		"", "rate", "rate=", "rate=10", "rate=/s", "rate=0/s", "rate=-1/s", "rate=+1/s", "rate=1.5/s", "rate=1/m", "rate=10G/s", "rate=2000M/s",
		"rate=99999999999999999999/s", "burst=5", "rate=1/s;burst=0", "rate=1/s;burst=5/s", "rate=1/s;burst=1M", "rate=1/s;rate=2/s",
		"bytes=10", "bytes=0/s", "bytes=1T/s", "bytes=99999999G/s", "hunter=2", "rate=1/s;", ";rate=1/s", "rate=1/s;hunter2", "rate=K/s",
	} {
		_, err := Parse("t@read;" + limit)
		if err == nil {
			t.Errorf("%q is accepted", limit)
		} else if strings.Contains(err.Error(), "hunter") {
			t.Errorf("%q: the error repeats what may be a secret: %v", limit, err)
		}
	}
	if scope, err := mustParse(t, "sec;ret").Check([]byte("Bearer sec;ret")); err != nil || scope.Limit() != nil {
		t.Errorf("a secret with a semicolon and no scope: %v", err)
	}
}

func TestTakeDoesNotAllocate(t *testing.T) {
	m := limitOf(t, "t@read;rate=1000/s;bytes=1G/s")
	now := second
	if n := testing.AllocsPerRun(1000, func() { now += 500_000; m.Take(now, 100) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTake(b *testing.B) {
	m := limitOf(b, "t@read;rate=1M/s;bytes=1G/s")
	now := second
	for b.Loop() {
		now += 1000
		m.Take(now, 100)
	}
}
