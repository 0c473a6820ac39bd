package aof_test

import (
	"testing"

	"ayder/aof"
	"ayder/internal/record"
)

// Append to Done allocates nothing in steady state, and neither does reading what is in memory. Averages over many runs hide
// what grows by doubling (index chunks, marks): that is the promise, no more.
func TestAppendAllocatesNothing(t *testing.T) {
	r := newRig(t, func(o *aof.Options) {
		o.SegmentBytes = 16 << 20
		o.TailBytes = 64 << 20
	})
	sub := &idleSubmitter{}
	w := r.log.NewWriter(sub, func() {})
	r.log.Step()
	b := record.NewBatch()
	b.Done = func(*record.Batch, error) {}
	rec := &record.Record{Value: make([]byte, 64)}
	next := uint64(0)
	got := testing.AllocsPerRun(2000, func() {
		if w.Admit() != nil {
			r.log.Step()
		}
		b.Reset(1 << 20)
		for range 8 {
			b.AppendRecord(one, next, rec)
			next++
		}
		w.Append(b)
		sub.turn()
	})
	if got != 0 {
		t.Errorf("%v allocations per commit", got)
	}
	reader := r.log.NewReader()
	defer reader.Close()
	visit := func(record.Section) bool { return true }
	got = testing.AllocsPerRun(500, func() {
		if _, err := reader.Read(one, next/2, next/2+100, false, visit); err != nil {
			t.Fatal(err)
		}
	})
	if got != 0 {
		t.Errorf("%v allocations per page", got)
	}
}
