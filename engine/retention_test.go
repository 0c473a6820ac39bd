package engine

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"ayder/internal/record"
)

// retention changes a policy and waits for it.
func (w *world) retention(u RetentionUpdate) {
	w.t.Helper()
	if err := w.e.Shard(CatalogueShard).SetRetention(w.open[CatalogueShard], &u); err != nil {
		w.t.Fatal(err)
	}
	w.commit()
}

// retain has every shard decide, and waits for what it decided.
func (w *world) retain() (commands int) {
	w.t.Helper()
	for i, b := range w.open {
		for done := false; !done; {
			var n int
			n, done = w.e.Shard(i).Retain(b, 10)
			commands += n
		}
	}
	w.commit()
	return commands
}

func TestClosestPolicyCounts(t *testing.T) {
	w := newWorld(t, Config{})
	w.topic("t", 2)
	set := func(scope RetentionScope, ttl, size int64) {
		u := RetentionUpdate{Scope: scope, Topic: []byte("t"), Partition: 1, SetTTL: ttl >= 0, SetMaxBytes: size >= 0}
		u.TTLMs, u.MaxBytes = uint64(max(ttl, 0)), uint64(max(size, 0))
		if scope != OnePartition {
			u.Partition = 0
		}
		w.retention(u)
	}
	is := func(zero, one Policy) {
		t.Helper()
		topic := w.e.Topic([]byte("t"))
		if a, b := w.e.Retention(topic, 0), w.e.Retention(topic, 1); a != zero || b != one {
			t.Fatalf("%+v %+v, want %+v %+v", a, b, zero, one)
		}
		if w.e.Retains() != (zero != Policy{} || one != Policy{}) {
			t.Fatal("retains", w.e.Retains())
		}
		sameState(t, w.e, w.recovered(Config{}, w.checkpoint(), len(w.frames)))
	}
	is(Policy{}, Policy{})
	set(EveryTopic, 100, -1)
	is(Policy{100, 0}, Policy{100, 0})
	set(OneTopic, -1, 50)
	is(Policy{100, 50}, Policy{100, 50})
	set(OnePartition, 7, -1)
	is(Policy{100, 50}, Policy{7, 50})
	set(OneTopic, 200, 60)
	is(Policy{200, 60}, Policy{7, 60})
	set(OnePartition, 0, 9)
	is(Policy{200, 60}, Policy{200, 9})
	set(EveryTopic, 0, 0)
	set(OneTopic, 0, 0)
	is(Policy{}, Policy{0, 9})
	set(OnePartition, -1, 0)
	is(Policy{}, Policy{})

	set(EveryTopic, -1, 77)
	later := w.topic("later", 1)
	if w.e.Retention(later, 0) != (Policy{0, 77}) {
		t.Fatal("a later topic")
	}
	for _, u := range []RetentionUpdate{
		{Scope: OneTopic, Topic: []byte("no")},
		{Scope: OnePartition, Topic: []byte("t"), Partition: 2},
	} {
		if err := w.e.Shard(0).SetRetention(w.open[0], &u); !errors.Is(err, ErrNoTopic) && !errors.Is(err, ErrNoPartition) {
			t.Error(err)
		}
	}
}

func TestTooOldMessagesGo(t *testing.T) {
	w := newWorld(t, Config{Shards: 2})
	topic := w.topic("t", 2)
	quiet, busy := topic.Partition(0), topic.Partition(1)
	w.produce(quiet, "v", "")
	w.commit()
	for range 100 {
		w.produce(busy, "v", "")
		w.commit()
		w.later(500)
	}
	w.retention(RetentionUpdate{Scope: OneTopic, Topic: []byte("t"), SetTTL: true, Policy: Policy{TTLMs: 20_000}})
	if n := w.retain(); n != 2 || quiet.Floor() != 1 || quiet.Bytes() != 0 {
		t.Fatalf("%d floors; of the quiet one %d", n, quiet.Floor())
	}
	// The newest 39 are younger; one and a half seconds of others may stay.
	if f := busy.Floor(); f < 58 || f > 61 || busy.Messages() != 100-f || busy.Bytes() != (100-f)*(record.RecordHeaderBytes+1) {
		t.Fatal("floor", f, "bytes", busy.Bytes())
	}
	if n := w.retain(); n != 0 {
		t.Fatal("again:", n)
	}
	w.later(30_000)
	w.retain()
	if busy.Floor() != 100 || busy.Bytes() != 0 || busy.Next() != 100 {
		t.Fatal("floor", busy.Floor())
	}
	w.must(busy, "v", "", Append{Offset: 100, Count: 1})
	w.commit()
	w.later(1000)
	w.must(busy, "v", "", Append{Offset: 101, Count: 1})
	w.commit()
	w.later(19_500)
	w.retain()
	if busy.Floor() != 101 {
		t.Fatal("the first of two has had its time, floor", busy.Floor())
	}
	for _, shards := range []int{1, 3} {
		sameState(t, w.e, w.recovered(Config{Shards: shards}, nil, 0))
	}
}

func TestTooManyBytesGo(t *testing.T) {
	w := newWorld(t, Config{})
	p := w.topic("t", 1).Partition(0)
	value := strings.Repeat("x", 1000)
	fill := func(n int) {
		for range n {
			w.produce(p, value, "")
			w.commit()
			w.later(1)
		}
	}
	fill(2000)
	const most = 500_000
	w.retention(RetentionUpdate{Scope: EveryTopic, SetMaxBytes: true, Policy: Policy{MaxBytes: most}})
	before := p.Bytes()
	freed := w.e.Freed()
	w.retain()
	if p.Bytes() > most || p.Bytes() < most-before/ladderParts-2048 || w.e.Freed()-freed != before-p.Bytes() {
		t.Fatalf("%d bytes are kept, %d freed", p.Bytes(), w.e.Freed()-freed)
	}
	for range 20 { // and now and then, as they come
		fill(100)
		w.retain()
		if p.Bytes() > most || p.Bytes() < most-before/ladderParts-2048 {
			t.Fatalf("%d bytes are kept", p.Bytes())
		}
	}
	// Very little is not cut finer than a mark.
	w.retention(RetentionUpdate{Scope: EveryTopic, SetMaxBytes: true, Policy: Policy{MaxBytes: 1}})
	w.retain()
	if p.Bytes() > 4*ladderBytesMin {
		t.Fatalf("%d bytes are kept", p.Bytes())
	}
}

func TestRetainGoesOnWhereItWas(t *testing.T) {
	w := newWorld(t, Config{})
	for _, name := range []string{"a", "b", "c", "d"} {
		topic := w.topic(name, 3)
		for i := range uint32(3) {
			w.produce(topic.Partition(i), "v", "")
		}
	}
	w.commit()
	w.retention(RetentionUpdate{Scope: EveryTopic, SetTTL: true, Policy: Policy{TTLMs: 10}})
	w.later(100)
	s := w.e.Shard(0)
	for _, want := range []struct {
		commands int
		done     bool
	}{{6, false}, {6, false}, {0, true}, {0, true}} {
		if n, done := s.Retain(w.open[0], 4); n != want.commands || done != want.done {
			t.Fatalf("%d floors, done %v, want %+v", n, done, want)
		}
	}
}

// What is in flight is not decided again; what was lost is.
func TestRetainAndForget(t *testing.T) {
	w := newWorld(t, Config{})
	p := w.topic("t", 1).Partition(0)
	w.produce(p, "v", "")
	w.commit()
	w.retention(RetentionUpdate{Scope: EveryTopic, SetTTL: true, Policy: Policy{TTLMs: 10}})
	w.later(100)
	s := w.e.Shard(0)
	for _, want := range []int{1, 0} {
		if n, _ := s.Retain(w.open[0], 4); n != want {
			t.Fatal(n, "floors")
		}
		s.Retain(w.open[0], 4) // the end of the walk
	}
	if c, err := s.CutBefore(w.open[0], p, Mark{1, 25}); err != nil || c != (Cut{Batch: w.open[0]}) {
		t.Fatalf("%+v %v", c, err)
	}
	w.lose()
	if n, _ := s.Retain(w.open[0], 4); n != 1 {
		t.Fatal(n, "floors after they were lost")
	}
	w.commit()
	if p.Floor() != 1 {
		t.Fatal("floor", p.Floor())
	}
}

func TestCutBefore(t *testing.T) {
	w := newWorld(t, Config{})
	p := w.topic("t", 1).Partition(0)
	s := w.e.Shard(0)
	if c, err := s.CutBefore(w.open[0], p, Mark{}); err != nil || c != (Cut{}) {
		t.Fatalf("nothing of nothing: %+v %v", c, err)
	}
	for range 10 {
		w.produce(p, "v", "")
	}
	if _, err := s.CutBefore(w.open[0], p, Mark{1, 25}); !errors.Is(err, ErrOffsetAbove) {
		t.Fatal("of what is in flight:", err)
	}
	w.commitOffset(p, "g", 2)
	w.commit()
	for _, c := range []struct {
		at   uint64
		want Cut
	}{{4, Cut{Messages: 4, Bytes: 100, Batch: w.open[0]}}, {3, Cut{Batch: w.open[0]}}, {7, Cut{Messages: 3, Bytes: 75, Batch: w.open[0]}}} {
		if got, err := s.CutBefore(w.open[0], p, Mark{c.at, c.at * 25}); err != nil || got != c.want {
			t.Fatalf("%d: %+v %v, want %+v", c.at, got, err, c.want)
		}
	}
	w.commit()
	if got, err := s.CutBefore(w.open[0], p, Mark{7, 175}); err != nil || got != (Cut{}) || p.Floor() != 7 || p.Bytes() != 75 {
		t.Fatalf("%+v %v, floor %d", got, err, p.Floor())
	}
	if c, ok := p.Committed([]byte("g")); !ok || c != 2 {
		t.Fatal("committed offset", c)
	}
	if floor, kept := w.e.FloorOf(p.Stream()); floor != 7 || !kept {
		t.Fatal(floor, kept)
	}
	sameState(t, w.e, w.recovered(Config{}, w.checkpoint(), len(w.frames)))
}

// Marks do not grow without bound, and say the truth about as near as they promise.
func TestLadderIsThinnedOut(t *testing.T) {
	var l ladder
	truth := []mark{{}}
	size, timeMs, apart, apartMs := uint64(0), uint64(0), uint64(2*ladderBytesMin), uint64(0)
	for i := range uint64(200_000) {
		if i%1000 == 0 {
			timeMs += 100_000 // bursts
		}
		n := 100 + i%7*300
		l.add(i, n, timeMs)
		size += n
		truth = append(truth, mark{i + 1, size, timeMs})
		apart, apartMs = max(apart, l.bytesApart()), max(apartMs, l.timeApart())
		if len(l.marks) > ladderMarksMax {
			t.Fatal(len(l.marks), "marks at", i)
		}
		if i%9973 != 0 || i == 0 {
			continue
		}
		all := append(append([]mark{l.floor}, l.marks...), l.end(i+1))
		for j, m := range all {
			if j > 0 && m != truth[m.offset] {
				t.Fatalf("mark %+v, truth %+v", m, truth[m.offset])
			}
			if j > 0 && m.offset-all[j-1].offset > 1 && m.bytes-all[j-1].bytes > apart+4000 {
				t.Fatalf("%d bytes between marks of %d", m.bytes-all[j-1].bytes, l.total)
			}
			if j > 0 && m.offset-all[j-1].offset > 1000 && m.timeMs-all[j-1].timeMs > apartMs+100_000 {
				t.Fatalf("%d ms between marks", m.timeMs-all[j-1].timeMs)
			}
		}
		if i > 100_000 && i%3 == 0 {
			at := l.below(i - 50_000)
			l.cut(at)
		}
	}
}

// A capture is encoded as it was, however the ladder changes meanwhile.
func TestCapturedLadderStays(t *testing.T) {
	w := newWorld(t, Config{})
	p := w.topic("t", 1).Partition(0)
	for i := range 3 * ladderMarksMax {
		w.produce(p, "v", "")
		w.commit()
		w.later(5000)
		if i%100 != 99 {
			continue
		}
		c := w.e.Shard(0).Capture()
		want := slices.Clone(c.AppendTo(nil))
		for range 50 {
			w.produce(p, "v", "")
			w.commit()
			w.later(5000)
		}
		at := p.MarkBelow(p.Next() - 60)
		w.e.Shard(0).CutBefore(w.open[0], p, at)
		w.commit()
		if !slices.Equal(want, c.AppendTo(nil)) {
			t.Fatal("a capture changed")
		}
	}
}

func TestImpossibleCommands(t *testing.T) {
	w := newWorld(t, Config{})
	p := w.topic("t", 1).Partition(0)
	w.produce(p, "v", "")
	w.commit()
	state := w.e.AppendState(nil)
	one := make([]byte, 8)
	one[0] = 1
	for name, c := range map[string]struct {
		t    record.SectionType
		at   record.Stream
		base uint64
		body []byte
	}{
		"delete of nothing":       {record.SectionTopicDelete, record.Stream{Topic: 2}, 0, nil},
		"delete with a body":      {record.SectionTopicDelete, record.Stream{Topic: 1}, 0, one},
		"growth of nothing":       {record.SectionTopicGrow, record.Stream{Topic: 2}, 0, one[:4]},
		"growth without a number": {record.SectionTopicGrow, record.Stream{Topic: 1}, 0, nil},
		"growth beyond the limit": {record.SectionTopicGrow, record.Stream{Topic: 1}, 0, []byte{1, 4, 0, 0}},
		"floor above the end":     {record.SectionFloor, record.Stream{Topic: 1}, 2, one},
		"floor without bytes":     {record.SectionFloor, record.Stream{Topic: 1}, 1, nil},
		"floor with too many":     {record.SectionFloor, record.Stream{Topic: 1}, 1, []byte{0, 0, 0, 1, 0, 0, 0, 0}},
		"floor of nothing":        {record.SectionFloor, record.Stream{Topic: 1, Partition: 1}, 0, one},
		"retention of nothing":    {record.SectionRetention, record.Stream{Topic: 2}, 0, (&RetentionUpdate{Scope: OneTopic}).append(nil)},
		"retention without end":   {record.SectionRetention, record.Stream{Topic: 1}, 0, one},
		"retention of partition":  {record.SectionRetention, record.Stream{Topic: 1, Partition: 1}, 0, (&RetentionUpdate{Scope: OnePartition}).append(nil)},
	} {
		e := w.recovered(Config{}, nil, 0)
		b := record.NewBatch()
		b.AppendCommand(c.t, c.at, c.base, c.body)
		b.Seal(record.Header{Index: uint64(len(w.frames)) + 1, Term: 1, TimeMs: 1}, 1)
		if err := e.ApplyReplay(b.Frame()); !errors.Is(err, ErrDiverged) && !errors.Is(err, record.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		if !slices.Equal(state, e.AppendState(nil)) && c.t != record.SectionFloor {
			t.Errorf("%s: something has changed", name)
		}
	}
}
