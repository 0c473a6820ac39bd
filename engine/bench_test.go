package engine

import (
	"encoding/binary"
	"fmt"
	"testing"

	"ayder/internal/record"
)

// The cost of a message in the engine alone: encoding, sealing and applying in frames of 64.

// bench is one loop with one topic and nothing but memory for a log.
type bench struct {
	t     testing.TB
	e     *Engine
	s     *Shard
	p     *Partition
	batch *record.Batch
	index uint64
	now   uint64
	key   [8]byte
}

func newBench(t testing.TB, c Config) *bench {
	w := &bench{t: t, e: New(c), batch: record.NewBatch(), now: 1}
	w.s = w.e.Shard(0)
	if _, err := w.s.CreateTopic(w.batch, TopicSpec{Name: "t", Partitions: 8}); err != nil {
		t.Fatal(err)
	}
	w.commit()
	w.p = w.e.Topic([]byte("t")).Partition(3)
	return w
}

// commit makes the open batch durable and applied.
func (w *bench) commit() {
	w.index++
	w.batch.Seal(record.Header{Index: w.index, Term: 1}, 1)
	if err := w.s.Apply(w.batch.Frame()); err != nil {
		w.t.Fatal(err)
	}
	w.batch.Reset(1 << 20)
	w.batch.TimeMs = w.now
}

// produce appends one message, with the number as its idempotency key if it is not 0.
func (w *bench) produce(r *record.Record, key uint64) {
	if r.HasIdem = key != 0; r.HasIdem {
		binary.LittleEndian.PutUint64(w.key[:], key)
		r.Idem = w.key[:]
	}
	a, err := w.s.Produce(w.batch, w.p, r, ProduceOptions{})
	if err != nil || a.Duplicate {
		w.t.Fatal(a, err)
	}
}

func BenchmarkProduceApply(b *testing.B) {
	w := newBench(b, Config{})
	r := &record.Record{Value: make([]byte, 64)}
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		w.produce(r, 0)
		if n++; n%64 == 0 {
			w.commit()
		}
	}
}

func BenchmarkProduceApplyIdempotent(b *testing.B) {
	w := newBench(b, Config{})
	r := &record.Record{Value: make([]byte, 64)}
	n := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		n++
		w.produce(r, n)
		if n%64 == 0 {
			w.commit()
		}
	}
}

func BenchmarkDuplicate(b *testing.B) {
	w := newBench(b, Config{})
	r := &record.Record{Value: make([]byte, 64)}
	w.fill(1000)
	r.HasIdem, r.Idem = true, []byte{1, 0, 0, 0, 0, 0, 0, 0}
	b.ReportAllocs()
	for b.Loop() {
		if a, _ := w.s.Produce(w.batch, w.p, r, ProduceOptions{}); !a.Duplicate {
			b.Fatal(a)
		}
	}
}

func BenchmarkCommitOffset(b *testing.B) {
	w := newBench(b, Config{})
	w.fill(1)
	w.p.assigned = 1 << 60
	w.p.next.Store(1 << 60)
	n := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		n++
		if _, err := w.s.CommitOffset(w.batch, w.p, []byte("group"), n); err != nil {
			b.Fatal(err)
		}
		if n%64 == 0 {
			w.commit()
		}
	}
}

// fill produces messages with the idempotency keys 1 … n.
func (w *bench) fill(n int) {
	r := &record.Record{}
	for i := range n {
		w.produce(r, uint64(i+1))
		if i%1024 == 0 {
			w.commit()
		}
	}
	w.commit()
}

func BenchmarkCapture1MKeys(b *testing.B) {
	w := newBench(b, Config{})
	w.fill(1_000_000)
	for b.Loop() {
		w.s.Capture()
	}
}

func BenchmarkCheckpoint1MKeys(b *testing.B) {
	w := newBench(b, Config{})
	w.fill(1_000_000)
	var buf []byte
	for b.Loop() {
		buf = w.s.AppendCheckpoint(buf[:0])
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkRestore1MKeys(b *testing.B) {
	w := newBench(b, Config{})
	w.fill(1_000_000)
	buf := EncodeCheckpoint([][]byte{w.s.AppendCheckpoint(nil)})
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		if err := New(Config{}).Restore(buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTopicLookup(b *testing.B) {
	w := newBench(b, Config{})
	for i := range 1000 {
		w.s.CreateTopic(w.batch, TopicSpec{Name: fmt.Sprint("topic-", i), Partitions: 1})
	}
	w.commit()
	name := []byte("topic-500")
	for b.Loop() {
		if w.e.Topic(name) == nil {
			b.Fatal("lost")
		}
	}
}
