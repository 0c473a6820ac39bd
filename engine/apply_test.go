package engine

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"ayder/internal/record"
)

// frameOf seals sections into a frame of their own.
func frameOf(index, timeMs uint64, fill func(b *record.Batch)) record.Frame {
	b := record.NewBatch()
	b.TimeMs = timeMs
	fill(b)
	b.Seal(record.Header{Index: index, Term: 1}, 1)
	return b.Frame()
}

// oneTopic is an engine that has replayed, in frame 1, the creation of topic 1 with two partitions.
func oneTopic(t testing.TB) *Engine {
	e := New(Config{Shards: 2})
	if err := e.ApplyReplay(frameOf(1, 10, func(b *record.Batch) { createSection(b, 1, "t", 2) })); err != nil {
		t.Fatal(err)
	}
	return e
}

func createSection(b *record.Batch, id uint32, name string, partitions uint32) {
	spec := TopicSpec{Name: name, Partitions: partitions}
	b.AppendCommand(record.SectionTopicCreate, record.Stream{Topic: id}, 0, appendSpec(nil, &spec))
}

func TestReplayRefusesWhatDoesNotFollow(t *testing.T) {
	s := record.Stream{Topic: 1, Partition: 1}
	idem := func(count uint32, key string) *record.Record {
		return &record.Record{HasIdem: true, Idem: append(binary.LittleEndian.AppendUint32(nil, count), key...)}
	}
	for name, c := range map[string]struct {
		fill func(b *record.Batch)
		want error
	}{
		"gap":                 {func(b *record.Batch) { b.AppendRecord(s, 1, &record.Record{}) }, ErrDiverged},
		"unknown topic":       {func(b *record.Batch) { b.AppendRecord(record.Stream{Topic: 2}, 0, &record.Record{}) }, ErrDiverged},
		"topic 0":             {func(b *record.Batch) { b.AppendRecord(record.Stream{Partition: KVBuckets}, 0, &record.Record{}) }, ErrDiverged},
		"unknown partition":   {func(b *record.Batch) { b.AppendRecord(record.Stream{Topic: 1, Partition: 2}, 0, &record.Record{}) }, ErrDiverged},
		"unknown section":     {func(b *record.Batch) { b.AppendCommand(99, s, 0, nil) }, ErrDiverged},
		"commit above":        {func(b *record.Batch) { b.AppendCommand(record.SectionGroupCommit, s, 1, []byte("g")) }, ErrDiverged},
		"commit without name": {func(b *record.Batch) { b.AppendCommand(record.SectionGroupCommit, s, 0, nil) }, record.ErrMalformed},
		"topic id skipped":    {func(b *record.Batch) { createSection(b, 3, "u", 1) }, ErrDiverged},
		"topic id again":      {func(b *record.Batch) { createSection(b, 1, "u", 1) }, ErrDiverged},
		"topic name again":    {func(b *record.Batch) { createSection(b, 2, "t", 1) }, ErrTopicExists},
		"topic without name":  {func(b *record.Batch) { createSection(b, 2, "", 1) }, ErrTopicName},
		"topic too wide":      {func(b *record.Batch) { createSection(b, 2, "u", 1025) }, ErrPartitions},
		"topic cut short":     {func(b *record.Batch) { b.AppendCommand(record.SectionTopicCreate, s, 0, make([]byte, 5)) }, record.ErrMalformed},
		"key without count":   {func(b *record.Batch) { b.AppendRecord(s, 0, &record.Record{HasIdem: true, Idem: []byte("abc")}) }, record.ErrMalformed},
		"empty key":           {func(b *record.Batch) { b.AppendRecord(s, 0, idem(1, "")) }, record.ErrMalformed},
		"key for none":        {func(b *record.Batch) { b.AppendRecord(s, 0, idem(0, "k")) }, record.ErrMalformed},
		"key for too many":    {func(b *record.Batch) { b.AppendRecord(s, 0, idem(2, "k")) }, record.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			e := oneTopic(t)
			err := e.ApplyReplay(frameOf(2, 20, c.fill))
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), "index 2") || !strings.Contains(err.Error(), "partition") {
				t.Fatalf("%v, want %v and where", err, c.want)
			}
		})
	}
}

func TestReplayRefusesAnOlderFrame(t *testing.T) {
	e := oneTopic(t)
	nothing := func(*record.Batch) {}
	if err := e.ApplyReplay(frameOf(1, 20, nothing)); !errors.Is(err, ErrDiverged) {
		t.Fatal(err)
	}
	if err := e.ApplyReplay(frameOf(7, 20, nothing)); err != nil { // indexes of other kinds of frames lie between
		t.Fatal(err)
	}
	if e.Shard(0).LastApplied() != 7 || e.Shard(1).LastApplied() != 7 {
		t.Fatal("a replayed frame is applied by every shard")
	}
}

// A frame with a correct checksum whose payload is nonsense.
func TestMalformedFramesAreErrors(t *testing.T) {
	e := New(Config{})
	f := record.Frame{Header: record.Header{Index: 1, Kind: record.KindBatch}, Payload: make([]byte, 40)}
	if err := e.Shard(0).Apply(f); !errors.Is(err, record.ErrMalformed) {
		t.Fatal("live:", err)
	}
	if err := e.ApplyReplay(f); !errors.Is(err, record.ErrMalformed) {
		t.Fatal("replay:", err)
	}
	e = oneTopic(t)
	lie := frameOf(2, 20, func(b *record.Batch) { b.AppendRecord(record.Stream{Topic: 1}, 0, &record.Record{}) })
	binary.LittleEndian.PutUint32(lie.Payload[24:], 1000) // the section's count
	if err := e.ApplyReplay(lie); !errors.Is(err, record.ErrMalformed) {
		t.Fatal("a count that the body cannot hold:", err)
	}
	binary.LittleEndian.PutUint32(lie.Payload[24:], 0)
	if err := oneTopic(t).ApplyReplay(lie); !errors.Is(err, record.ErrMalformed) {
		t.Fatal("a section of no records:", err)
	}
}

// Frames that are not batches change nothing but what was applied last.
func TestOtherKindsHaveNoEffect(t *testing.T) {
	e := oneTopic(t)
	before := New(Config{Shards: 2})
	if err := before.ApplyReplay(frameOf(1, 10, func(b *record.Batch) { createSection(b, 1, "t", 2) })); err != nil {
		t.Fatal(err)
	}
	for i, kind := range []record.Kind{record.KindRaft, record.KindCheckpoint} {
		f := record.Frame{Header: record.Header{Index: uint64(i) + 2, Kind: kind}, Payload: []byte("anything")}
		if err := e.ApplyReplay(f); err != nil {
			t.Fatal(err)
		}
	}
	sameState(t, e, before)
}

func TestLiveDivergenceIsABug(t *testing.T) {
	for name, fill := range map[string]func(b *record.Batch, p *Partition){
		"gap":            func(b *record.Batch, p *Partition) { b.AppendRecord(p.stream, 5, &record.Record{}) },
		"never assigned": func(b *record.Batch, p *Partition) { b.AppendRecord(p.stream, 0, &record.Record{}) },
		"no such stream": func(b *record.Batch, _ *Partition) { b.AppendRecord(record.Stream{Topic: 9}, 0, &record.Record{}) },
	} {
		w := newWorld(t, Config{})
		p := w.topic("t", 1).Partition(0)
		f := frameOf(2, 2000, func(b *record.Batch) { fill(b, p) })
		mustPanic(t, name, func() { w.e.Shard(0).Apply(f) })
	}
}

// Sections without keys cost the same however many records are in them.
func TestApplyLooksAtNoRecordWithoutKeys(t *testing.T) {
	e := oneTopic(t)
	f := frameOf(2, 20, func(b *record.Batch) {
		for i := range uint64(3) {
			b.AppendRecord(record.Stream{Topic: 1}, i, &record.Record{})
		}
	})
	clear(f.Payload[record.SectionHeaderBytes:]) // records that would not decode
	if err := e.ApplyReplay(f); err != nil || e.TopicByID(1).Partition(0).Next() != 3 {
		t.Fatal(err)
	}
}
