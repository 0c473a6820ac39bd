package engine

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"ayder/internal/record"
)

func TestOffsetsAreGivenBeforeTheCommit(t *testing.T) {
	w := newWorld(t, Config{})
	p := w.topic("t", 2).Partition(1)
	w.must(p, "a", "", Append{Offset: 0, Count: 1})
	w.must(p, "b", "", Append{Offset: 1, Count: 1})
	if p.Next() != 0 || p.Assigned() != 2 || p.Messages() != 0 || p.Bytes() != 0 {
		t.Fatal("visible before it was applied")
	}
	w.append(0)
	w.must(p, "c", "", Append{Offset: 2, Count: 1})
	w.apply(0)
	if p.Next() != 2 || p.Assigned() != 3 || p.Messages() != 2 || p.Bytes() != 2*(record.RecordHeaderBytes+1) {
		t.Fatalf("next %d assigned %d messages %d bytes %d", p.Next(), p.Assigned(), p.Messages(), p.Bytes())
	}
	w.commit()
	if (p.Stats() != Stats{Floor: 0, Next: 3, Bytes: 3 * (record.RecordHeaderBytes + 1)}) || w.e.Shard(0).LastApplied() != 3 {
		t.Fatalf("%+v last applied %d", p.Stats(), w.e.Shard(0).LastApplied())
	}
}

func TestExpectedOffset(t *testing.T) {
	w := newWorld(t, Config{})
	p := w.topic("t", 1).Partition(0)
	r := &record.Record{HasIdem: true, Idem: []byte("k")}
	if _, err := p.owner.Produce(w.open[0], p, r, ProduceOptions{ExpectedOffset: 1, HasExpected: true}); !errors.Is(err, ErrOffset) {
		t.Fatal(err)
	}
	if !w.open[0].Empty() || p.Assigned() != 0 {
		t.Fatal("a refused produce left something behind")
	}
	if a, err := p.owner.Produce(w.open[0], p, r, ProduceOptions{ExpectedOffset: 0, HasExpected: true}); err != nil || a.Offset != 0 || a.Duplicate {
		t.Fatal("the refused key counts as seen:", a, err)
	}
	// The retry of a write that asked for both: it has been done.
	if a, err := p.owner.Produce(w.open[0], p, r, ProduceOptions{ExpectedOffset: 0, HasExpected: true}); err != nil || !a.Duplicate {
		t.Fatal(a, err)
	}
	plain := &record.Record{}
	if _, err := p.owner.Produce(w.open[0], p, plain, ProduceOptions{ExpectedOffset: 0, HasExpected: true}); !errors.Is(err, ErrOffset) {
		t.Fatal("what is in flight counts:", err)
	}
	if _, _, err := p.owner.BeginMany(w.open[0], p, 2, nil, false, ProduceOptions{ExpectedOffset: 5, HasExpected: true}); !errors.Is(err, ErrOffset) {
		t.Fatal(err)
	}
}

func TestIdempotencyKeys(t *testing.T) {
	w := newWorld(t, Config{IdemWindowMs: 100})
	tp := w.topic("t", 2)
	p := tp.Partition(0)
	batch := w.open[0]
	w.must(p, "a", "k", Append{Offset: 0, Count: 1})
	w.must(p, "a", "k", Append{Offset: 0, Count: 1, Duplicate: true, Pending: batch}) // in the open batch
	w.append(0)
	w.must(p, "a", "k", Append{Offset: 0, Count: 1, Duplicate: true, Pending: batch}) // in flight
	w.must(p, "b", "l", Append{Offset: 1, Count: 1})
	w.apply(0)
	w.must(p, "a", "k", Append{Offset: 0, Count: 1, Duplicate: true}) // applied
	w.must(p, "b", "l", Append{Offset: 1, Count: 1, Duplicate: true, Pending: w.open[0]})
	w.must(tp.Partition(1), "a", "k", Append{Offset: 0, Count: 1}) // keys are a partition's own
	w.must(p, "c", "", Append{Offset: 2, Count: 1})
	w.commit()
	if len(w.e.Shard(0).keys) != 0 {
		t.Fatal("applied keys are still in flight")
	}
	w.later(99)
	w.must(p, "a", "k", Append{Offset: 0, Count: 1, Duplicate: true})
	w.later(1)
	w.must(p, "a", "k", Append{Offset: 3, Count: 1}) // the window has passed
	w.commit()
	w.must(p, "a", "k", Append{Offset: 3, Count: 1, Duplicate: true})
}

// A key is judged by the time that its frame will at least have, not only by the batch's; whether the
// expired entry was taken out already makes no difference.
func TestWindowFollowsAppliedTime(t *testing.T) {
	w := newWorld(t, Config{IdemWindowMs: 100})
	tp := w.topic("t", 4)
	for i := range uint32(4) {
		w.must(tp.Partition(i), "a", "k", Append{Offset: 0, Count: 1})
	}
	w.commit()
	w.later(200)
	w.must(tp.Partition(0), "b", "", Append{Offset: 1, Count: 1})
	w.commit()
	w.open[0].TimeMs = 1000 // a clock that went back: the log will lift it to at least the last frame's
	w.must(tp.Partition(0), "a", "k", Append{Offset: 2, Count: 1})
	for i := range uint32(3) {
		w.must(tp.Partition(i+1), "a", "k", Append{Offset: 1, Count: 1})
	}
}

func TestKeysMax(t *testing.T) {
	w := newWorld(t, Config{IdemKeysMax: 3})
	p := w.topic("t", 1).Partition(0)
	for i, k := range []string{"a", "b", "c", "d"} {
		w.must(p, "", k, Append{Offset: uint64(i), Count: 1})
		w.commit()
	}
	w.must(p, "", "b", Append{Offset: 1, Count: 1, Duplicate: true})
	w.must(p, "", "a", Append{Offset: 4, Count: 1})
}

func TestBadIdempotencyKeys(t *testing.T) {
	w := newWorld(t, Config{})
	p := w.topic("t", 1).Partition(0)
	r := &record.Record{HasIdem: true}
	for _, key := range []string{"", strings.Repeat("x", IdemKeyBytesMax+1)} {
		r.Idem = []byte(key)
		if _, err := p.owner.Produce(w.open[0], p, r, ProduceOptions{}); !errors.Is(err, ErrIdemKey) {
			t.Fatalf("key of %d bytes: %v", len(key), err)
		}
	}
	longest := strings.Repeat("x", IdemKeyBytesMax)
	w.must(p, "", longest, Append{Offset: 0, Count: 1})
	w.commit()
	w.must(p, "", longest, Append{Offset: 0, Count: 1, Duplicate: true})
}

func TestManyIsOneProduce(t *testing.T) {
	w := newWorld(t, Config{})
	p := w.topic("t", 1).Partition(0)
	w.must(p, "before", "", Append{Offset: 0, Count: 1})
	for _, c := range []struct {
		key    string
		values []string
		want   Append
	}{
		{"k", []string{"a", "b", "c"}, Append{Offset: 1, Count: 3}},
		{"k", []string{"a", "b", "c"}, Append{Offset: 1, Count: 3, Duplicate: true, Pending: w.open[0]}},
		{"k", []string{"fewer"}, Append{Offset: 1, Count: 3, Duplicate: true, Pending: w.open[0]}},
		{"", []string{"d", "e"}, Append{Offset: 4, Count: 2}},
		{"", []string{"d", "e"}, Append{Offset: 6, Count: 2}},
	} {
		if got, err := w.many(p, c.key, c.values...); err != nil || got != c.want {
			t.Fatalf("%q %v: %+v %v", c.key, c.values, got, err)
		}
	}
	w.commit()
	if got, _ := w.many(p, "k", "a"); (got != Append{Offset: 1, Count: 3, Duplicate: true}) {
		t.Fatalf("%+v", got)
	}
	w.must(p, "a", "k", Append{Offset: 1, Count: 3, Duplicate: true}) // a single produce with the batch's key
	if _, err := w.many(p, "x"); !errors.Is(err, ErrCount) {
		t.Fatal("no records:", err)
	}
	r := w.recovered(Config{Shards: 2}, nil, 0)
	sameState(t, w.e, r)
}

func TestManyKeepsItsWord(t *testing.T) {
	w := newWorld(t, Config{})
	p := w.topic("t", 1).Partition(0)
	for _, n := range []int{1, 3} {
		m, _, _ := p.owner.BeginMany(w.open[0], p, 2, nil, false, ProduceOptions{})
		for range n {
			m.Add(&record.Record{})
		}
		mustPanic(t, "a wrong number of records", func() { m.End() })
	}
}

// The bytes in the log: the count and the key on the first record only, whatever the records came with.
func TestKeyOnDisk(t *testing.T) {
	w := newWorld(t, Config{})
	p := w.topic("t", 1).Partition(0)
	m, _, _ := p.owner.BeginMany(w.open[0], p, 2, []byte("key"), true, ProduceOptions{})
	m.Add(&record.Record{HasIdem: true, Idem: []byte("other"), Value: []byte("v0")})
	m.Add(&record.Record{HasIdem: true, Idem: []byte("other"), Value: []byte("v1")})
	m.End()
	w.commit()
	f := w.frame(len(w.frames))
	it := f.Iter()
	sec, _ := it.Next()
	rs := sec.Records()
	first, _ := rs.Next()
	second, _ := rs.Next()
	if !first.HasIdem || !bytes.Equal(first.Idem, []byte("\x02\x00\x00\x00key")) || second.HasIdem || len(second.Idem) != 0 ||
		string(first.Value) != "v0" || string(second.Value) != "v1" || sec.Flags&record.FlagSectionIdem == 0 {
		t.Fatalf("%+v %+v", first, second)
	}
}

func TestForeignPartitionsAreABug(t *testing.T) {
	w := newWorld(t, Config{Shards: 2})
	tp := w.topic("t", 2)
	p := tp.Partition(0)
	other := w.e.Shard(1 - p.Shard())
	b := record.NewBatch()
	mustPanic(t, "produce", func() { other.Produce(b, p, &record.Record{}, ProduceOptions{}) })
	mustPanic(t, "many", func() { other.BeginMany(b, p, 1, nil, false, ProduceOptions{}) })
	mustPanic(t, "commit", func() { other.CommitOffset(b, p, []byte("g"), 0) })
	w.must(p, "x", "", Append{Offset: 0, Count: 1})
	w.open[p.Shard()].Seal(record.Header{Index: 9}, 1)
	mustPanic(t, "apply", func() { other.Apply(w.open[p.Shard()].Frame()) })
}

func TestCommitOffset(t *testing.T) {
	w := newWorld(t, Config{})
	p := w.topic("t", 1).Partition(0)
	for range 10 {
		w.produce(p, "x", "")
	}
	committed := func(want uint64, has bool) {
		t.Helper()
		if got, ok := p.Committed([]byte("g")); got != want || ok != has {
			t.Fatalf("committed %d %v, want %d %v", got, ok, want, has)
		}
	}
	step := func(offset uint64, want Commit, wantErr error) {
		t.Helper()
		if got, err := w.commitOffset(p, "g", offset); got != want || !errors.Is(err, wantErr) {
			t.Fatalf("commit %d: %+v %v, want %+v %v", offset, got, err, want, wantErr)
		}
	}
	committed(0, false)
	step(11, Commit{}, ErrOffsetAbove)
	step(0, Commit{Changed: true}, nil) // the first commit of a group counts, at 0 too
	first := w.open[0]
	step(0, Commit{Pending: first}, nil)
	committed(0, false)
	w.append(0)
	step(5, Commit{Changed: true}, nil)
	second := w.open[0]
	step(3, Commit{Pending: second}, nil)
	step(5, Commit{Pending: second}, nil)
	w.apply(0)
	committed(0, true)
	step(0, Commit{}, nil)
	step(5, Commit{Pending: second}, nil)
	w.commit()
	committed(5, true)
	step(5, Commit{}, nil)
	step(4, Commit{}, nil)
	step(10, Commit{Changed: true}, nil) // the end: everything was read
	w.commit()
	committed(10, true)
	if p.groups["g"].batch != nil {
		t.Fatal("an applied commit is still in flight")
	}
	if _, ok := p.Committed([]byte("other")); ok {
		t.Fatal("a group that never committed")
	}
}

func TestGroupNamesAndLimit(t *testing.T) {
	w := newWorld(t, Config{})
	p := w.topic("t", 1).Partition(0)
	for _, name := range []string{"", ".", "a/b", strings.Repeat("x", 250)} {
		if _, err := w.commitOffset(p, name, 0); !errors.Is(err, ErrGroupName) {
			t.Fatalf("group %q: %v", name, err)
		}
	}
	for i := range GroupsPerPartition {
		if _, err := w.commitOffset(p, "g"+string(rune('a'+i%26))+strings.Repeat("x", i/26%200)+strings.Repeat("y", i/5200), 0); err != nil {
			t.Fatal(i, err)
		}
	}
	if _, err := w.commitOffset(p, "one-more", 0); !errors.Is(err, ErrGroupLimit) {
		t.Fatal(err)
	}
	w.commit()
}

// Produce, commit and apply allocate nothing once the window is full and the memory has its size.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	w := newBench(t, Config{IdemKeysMax: 3000})
	w.fill(10_000)
	next, offset := uint64(10_000), uint64(0)
	r := &record.Record{Value: make([]byte, 64), HasKey: true, Key: []byte("key")}
	group, topic := []byte("group"), []byte("t")
	// 2048 messages a run, so that two chunks' worth of keys come and go in each.
	n := testing.AllocsPerRun(20, func() {
		for range 32 {
			for range 64 {
				next++
				w.produce(r, next)
				w.produce(r, 0)
				if a, _ := w.s.Produce(w.batch, w.e.Topic(topic).Partition(3), r, ProduceOptions{}); a.Duplicate {
					t.Fatal(a)
				}
			}
			offset++
			if c, err := w.s.CommitOffset(w.batch, w.p, group, offset); err != nil || !c.Changed {
				t.Fatal(c, err)
			}
			w.commit()
			if got, _ := w.p.Committed(group); got != offset {
				t.Fatal(got)
			}
		}
	})
	if n != 0 {
		t.Fatalf("%v allocations in 6,000 messages", n)
	}
}
