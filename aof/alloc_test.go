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

// The same for a Thread, per Append of three frames, and for reading entries that are in memory.
func TestThreadAllocatesNothing(t *testing.T) {
	x := newFollower(t, func(o *aof.Options) {
		o.SegmentBytes = 16 << 20
		o.TailBytes = 64 << 20
	})
	bs := []*record.Batch{record.NewBatch(), record.NewBatch(), record.NewBatch()}
	rec := &record.Record{Value: make([]byte, 64)}
	own := &record.Header{Kind: record.KindRaft, Term: 1}
	next := uint64(0)
	got := testing.AllocsPerRun(2000, func() {
		if !x.log.Room() {
			x.log.Step()
		}
		for _, b := range bs[1:] {
			b.Reset(1 << 20)
			b.AppendRecord(one, next, rec)
			next++
		}
		bs[0].Reset(1 << 20)
		bs[0].Load(own, rec.Value)
		if err := x.thread.Append(bs); err != nil {
			t.Fatal(err)
		}
		for _, _, _, ok := x.thread.Current(); ok; _, _, _, ok = x.thread.Current() {
			x.thread.Written(nil)
		}
	})
	if got != 0 {
		t.Errorf("%v allocations per append", got)
	}
	last, buf := x.log.LastIndex(), make([]byte, 0, 1024)
	index := last - 600
	got = testing.AllocsPerRun(500, func() {
		if _, _, err := x.log.Entry(index, buf); err != nil {
			t.Fatal(err)
		}
		index++
	})
	if got != 0 {
		t.Errorf("%v allocations per entry", got)
	}
}
