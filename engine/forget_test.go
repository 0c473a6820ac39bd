package engine

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"ayder/internal/record"
)

// What happens to a shard when leadership is lost with batches in flight, and what frames of other nodes do to it.

// lose is the loss of leadership: open batches and those in flight are gone. It returns the frames that were in the log.
func (w *world) lose() (frames []record.Frame) {
	for i := range w.open {
		for _, b := range w.flying[i] {
			frames = append(frames, w.frame(int(b.Index)))
		}
		w.flying[i] = nil
		w.open[i] = w.newBatch()
		w.e.Shard(i).Forget()
	}
	return frames
}

// come has frames arrive that nobody here proposed in this term.
func (w *world) come(frames ...record.Frame) {
	w.t.Helper()
	for _, f := range frames {
		set := w.e.ShardsOf(f)
		for i := range w.e.Config().Shards {
			if set.Has(i) {
				if err := w.e.Shard(i).ApplyCommitted(f); err != nil {
					w.t.Fatal(err)
				}
			}
		}
	}
}

func TestForgetTakesOffsetsBack(t *testing.T) {
	w := newWorld(t, Config{Shards: 3})
	topic := w.topic("t", 6)
	for i := range uint32(6) {
		w.must(topic.Partition(i), "kept", "", Append{Count: 1})
	}
	w.commit()
	for i := range uint32(6) {
		w.must(topic.Partition(i), "in flight", "", Append{Offset: 1, Count: 1})
		w.append(topic.Partition(i).Shard())
		w.must(topic.Partition(i), "open", "", Append{Offset: 2, Count: 1})
	}
	w.lose()
	for i := range uint32(6) {
		p := topic.Partition(i)
		if p.Assigned() != 1 || p.Next() != 1 {
			t.Fatalf("partition %d: next %d assigned %d", i, p.Next(), p.Assigned())
		}
		w.must(p, "again", "", Append{Offset: 1, Count: 1})
	}
}

func TestForgetIsAboutOneShard(t *testing.T) {
	w := newWorld(t, Config{Shards: 2})
	topic := w.topic("t", 2)
	for i := range uint32(2) {
		w.must(topic.Partition(i), "v", fmt.Sprint(i), Append{Count: 1})
	}
	w.e.Shard(topic.Partition(0).Shard()).Forget()
	if topic.Partition(0).Assigned() != 0 || topic.Partition(1).Assigned() != 1 {
		t.Fatal("another shard's offsets were taken back")
	}
	w.must(topic.Partition(1), "v", "1", Append{Count: 1, Duplicate: true, Pending: w.open[topic.Partition(1).Shard()]})
}

func TestForgetKeepsAppliedKeys(t *testing.T) {
	w := newWorld(t, Config{})
	p := w.topic("t", 1).Partition(0)
	w.must(p, "a", "applied", Append{Count: 1})
	w.commit()
	w.must(p, "b", "in flight", Append{Offset: 1, Count: 1})
	w.append(0)
	w.must(p, "c", "open", Append{Offset: 2, Count: 1})
	w.lose()
	w.must(p, "a", "applied", Append{Count: 1, Duplicate: true})
	w.must(p, "c", "open", Append{Offset: 1, Count: 1})
	w.must(p, "b", "in flight", Append{Offset: 2, Count: 1})
}

// A proposal of the old term is committed after all: the retry finds it.
func TestFrameOfThePastTermComesBack(t *testing.T) {
	w := newWorld(t, Config{Shards: 2})
	topic := w.topic("t", 2)
	p, other := topic.Partition(0), topic.Partition(1)
	if _, err := w.many(p, "key", "a", "b"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.commitOffset(p, "g", 2); err != nil {
		t.Fatal(err)
	}
	w.must(other, "x", "", Append{Count: 1})
	w.append(p.Shard())
	frames := w.lose()
	w.come(frames...)
	if p.Next() != 2 || p.Assigned() != 2 || other.Next() != 0 {
		t.Fatal(p.Next(), p.Assigned(), other.Next())
	}
	if got, err := w.many(p, "key", "a", "b"); err != nil || got != (Append{Count: 2, Duplicate: true}) {
		t.Fatalf("%+v %v", got, err)
	}
	if c, ok := p.Committed([]byte("g")); !ok || c != 2 {
		t.Fatal(c, ok)
	}
	if got, err := w.commitOffset(p, "g", 2); err != nil || got != (Commit{}) {
		t.Fatalf("%+v %v", got, err)
	}
}

// The frame may also come before the shard hears that its batch was lost.
func TestFrameComesBackBeforeTheLossIsKnown(t *testing.T) {
	w := newWorld(t, Config{})
	p := w.topic("t", 1).Partition(0)
	w.must(p, "a", "key", Append{Count: 1})
	w.append(0)
	w.must(p, "b", "later", Append{Offset: 1, Count: 1})
	w.append(0)
	w.come(w.frame(2))
	frames := w.lose()
	if len(frames) != 2 || p.Assigned() != 1 {
		t.Fatal(len(frames), p.Assigned())
	}
	w.must(p, "a", "key", Append{Count: 1, Duplicate: true})
	w.must(p, "b", "later", Append{Offset: 1, Count: 1})
}

// Another node has given our offsets to other messages.
func TestOffsetsGivenByAnotherNode(t *testing.T) {
	w := newWorld(t, Config{})
	p := w.topic("t", 1).Partition(0)
	w.must(p, "ours", "k", Append{Count: 1})
	w.append(0)
	foreign := frameOf(2, 2000, func(b *record.Batch) {
		for i := range uint64(3) {
			b.AppendRecord(p.stream, i, &record.Record{Value: []byte("theirs")})
		}
	})
	w.come(foreign) // before it is known that ours is lost
	w.lose()
	if p.Next() != 3 || p.Assigned() != 3 {
		t.Fatal(p.Next(), p.Assigned())
	}
	w.must(p, "ours", "k", Append{Offset: 3, Count: 1})
}

func TestForgetTopicsInCreation(t *testing.T) {
	w := newWorld(t, Config{TopicsMax: 3, PartitionsMax: 11})
	w.topic("a", 1)
	create := func(name string, partitions uint32) Creation {
		t.Helper()
		c, err := w.e.Shard(0).CreateTopic(w.open[0], TopicSpec{Name: name, Partitions: partitions})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	create("lost", 9)
	w.append(0)
	create("open", 1) // the limit of topics is reached
	w.lose()
	if c := create("lost", 2); c.State != Created { // with other settings: nothing is known of the first try
		t.Fatalf("%+v", c)
	}
	if c := create("b", 7); c.State != Created {
		t.Fatalf("%+v", c)
	}
	w.frames = w.frames[:1]
	w.commit()
	if topic := w.e.Topic([]byte("lost")); topic.ID() != 2 || topic.Partitions() != 2 || w.e.Topic([]byte("b")).ID() != 3 {
		t.Fatalf("%+v", topic)
	}
}

// A topic that we were creating was created by another node, with another id and other settings.
func TestForeignTopicInPlaceOfOurs(t *testing.T) {
	w := newWorld(t, Config{Shards: 2})
	if _, err := w.e.Shard(0).CreateTopic(w.open[0], TopicSpec{Name: "t", Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	w.append(0)
	w.come(frameOf(1, 2000, func(b *record.Batch) { createSection(b, 1, "other", 1); createSection(b, 2, "t", 5) }))
	w.lose()
	if topic := w.e.Topic([]byte("t")); topic.ID() != 2 || topic.Partitions() != 5 {
		t.Fatalf("%+v", topic)
	}
	if _, err := w.e.Shard(0).CreateTopic(w.open[0], TopicSpec{Name: "t", Partitions: 2}); !errors.Is(err, ErrTopicExists) {
		t.Fatal(err)
	}
	if c, err := w.e.Shard(0).CreateTopic(w.open[0], TopicSpec{Name: "u", Partitions: 2}); err != nil || c.State != Created {
		t.Fatal(c, err)
	}
	w.frames = [][]byte{nil} // index 1 is taken
	w.commit()
	if id := w.e.Topic([]byte("u")).ID(); id != 3 {
		t.Fatal(id)
	}
}

func TestForgetCommitsInFlight(t *testing.T) {
	w := newWorld(t, Config{})
	p := w.topic("t", 1).Partition(0)
	for range 9 {
		if _, err := w.produce(p, "v", ""); err != nil {
			t.Fatal(err)
		}
	}
	w.commit()
	commit := func(group string, offset uint64, want Commit) {
		t.Helper()
		if got, err := w.commitOffset(p, group, offset); err != nil || got != want {
			t.Fatalf("commit of %s at %d: %+v %v, want %+v", group, offset, got, err, want)
		}
	}
	commit("old", 3, Commit{Changed: true})
	w.commit()
	for range 2 { // the second time must not meet anything of the first
		commit("old", 5, Commit{Changed: true})
		commit("new", 5, Commit{Changed: true})
		commit("new", 6, Commit{Changed: true})
		commit("old", 4, Commit{Pending: w.open[0]})
		w.append(0)
		w.lose()
		if c, ok := p.Committed([]byte("old")); !ok || c != 3 {
			t.Fatal(c, ok)
		}
		if _, ok := p.Committed([]byte("new")); ok || len(p.groups) != 1 {
			t.Fatal(ok, len(p.groups))
		}
		commit("old", 3, Commit{})
	}
	commit("old", 4, Commit{Changed: true})
	w.commit()
	if len(w.e.Shard(0).committing) != 0 {
		t.Fatal("a commit that is applied is still remembered as in flight")
	}
}

// TestFramesOfAnyNumberOfLoops has an engine of one shard make frames with sections of many partitions, and others
// of one to four shards apply them.
func TestFramesOfAnyNumberOfLoops(t *testing.T) {
	maker := newWorld(t, Config{})
	topics := []*Topic{maker.topic("a", 7), maker.topic("b", 3)}
	for round := range 3 {
		for _, topic := range topics {
			for i := range topic.Partitions() {
				if _, err := maker.many(topic.Partition(i), fmt.Sprint("key", round), "x", "y"); err != nil {
					t.Fatal(err)
				}
				if _, err := maker.commitOffset(topic.Partition(i), "g", uint64(round)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := maker.e.Shard(0).CreateTopic(maker.open[0], TopicSpec{Name: fmt.Sprint("c", round), Partitions: 4}); err != nil {
			t.Fatal(err)
		}
		maker.commit()
	}
	for shards := 1; shards <= 4; shards++ {
		w := newWorld(t, Config{Shards: shards})
		for i := range maker.frames {
			w.come(maker.frame(i + 1))
		}
		sameState(t, maker.e, w.e)
		p := w.e.Topic([]byte("a")).Partition(5)
		w.frames = maker.frames
		if got, err := w.many(p, "key1", "x", "y"); err != nil || !got.Duplicate || got.Offset != 2 {
			t.Fatalf("%d shards: %+v %v", shards, got, err)
		}
		w.must(p, "next", "", Append{Offset: 6, Count: 1})
	}
}

// A checkpoint is not of one moment: frames that it holds in part are applied in part.
func TestCommittedFramesThatACheckpointHolds(t *testing.T) {
	maker := newWorld(t, Config{Shards: 2})
	topic := maker.topic("t", 4)
	var parts [][]byte
	for round := range 2 {
		for i := range uint32(4) {
			if _, err := maker.produce(topic.Partition(i), "v", fmt.Sprint("k", round)); err != nil {
				t.Fatal(err)
			}
		}
		maker.commit()
		parts = append(parts, maker.e.Shard(round).AppendCheckpoint(nil))
	}
	w := newWorld(t, Config{Shards: 3})
	if err := w.e.Restore(EncodeCheckpoint(parts)); err != nil {
		t.Fatal(err)
	}
	for i := range maker.frames { // what is known to be committed at a start may be less than what the checkpoint holds
		w.come(maker.frame(i + 1))
	}
	sameState(t, maker.e, w.e)
}

func TestCommittedFrameThatDoesNotFollow(t *testing.T) {
	for name, c := range map[string]struct {
		fill func(b *record.Batch)
		want error
	}{
		"gap":           {func(b *record.Batch) { b.AppendRecord(record.Stream{Topic: 1}, 5, &record.Record{}) }, ErrDiverged},
		"unknown topic": {func(b *record.Batch) { b.AppendRecord(record.Stream{Topic: 9}, 0, &record.Record{}) }, ErrDiverged},
		"topic id":      {func(b *record.Batch) { createSection(b, 5, "u", 1) }, ErrDiverged},
		"empty group":   {func(b *record.Batch) { b.AppendCommand(record.SectionGroupCommit, record.Stream{Topic: 1}, 0, nil) }, record.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			e := New(Config{})
			if err := e.Shard(0).ApplyCommitted(frameOf(1, 10, func(b *record.Batch) { createSection(b, 1, "t", 1) })); err != nil {
				t.Fatal(err)
			}
			err := e.Shard(0).ApplyCommitted(frameOf(2, 20, c.fill))
			if !errors.Is(err, c.want) || !bytes.Contains([]byte(err.Error()), []byte("index 2")) {
				t.Fatal(err)
			}
		})
	}
	torn := record.Frame{Header: record.Header{Index: 1, Kind: record.KindBatch}, Payload: make([]byte, 40)}
	if err := New(Config{}).Shard(0).ApplyCommitted(torn); !errors.Is(err, record.ErrMalformed) {
		t.Fatal(err)
	}
}

func TestWhichShardsAFrameConcerns(t *testing.T) {
	e := New(Config{Shards: 5})
	stream := func(topic, partition uint32) func(b *record.Batch) {
		return func(b *record.Batch) {
			b.AppendRecord(record.Stream{Topic: topic, Partition: partition}, 0, &record.Record{})
		}
	}
	both := func(fs ...func(b *record.Batch)) func(b *record.Batch) {
		return func(b *record.Batch) {
			for _, f := range fs {
				f(b)
			}
		}
	}
	create := func(b *record.Batch) { createSection(b, 1, "t", 1) }
	for name, c := range map[string]struct {
		fill      func(b *record.Batch)
		shards    []int
		catalogue bool
	}{
		"one":       {stream(1, 2), []int{3}, false},
		"unknown":   {stream(99, 0), []int{4}, false}, // what it is called is all that counts
		"several":   {both(stream(1, 0), stream(1, 2), stream(1, 5)), []int{1, 3}, false},
		"creation":  {create, []int{0}, true},
		"all kinds": {both(stream(1, 1), create), []int{0, 2}, true},
	} {
		f := frameOf(1, 10, c.fill)
		set := e.ShardsOf(f)
		var got []int
		for i := range 5 {
			if set.Has(i) {
				got = append(got, i)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(c.shards) || HasCatalogue(f) != c.catalogue {
			t.Errorf("%s: shards %v, catalogue %v", name, got, HasCatalogue(f))
		}
	}
	raft := record.Frame{Header: record.Header{Index: 3, Kind: record.KindRaft}, Payload: []byte("anything")}
	if set := e.ShardsOf(raft); !set.Has(CatalogueShard) || HasCatalogue(raft) {
		t.Error("a frame without sections is the catalogue's shard's to note")
	}
	if err := e.Shard(0).ApplyCommitted(raft); err != nil || e.Shard(0).LastApplied() != 3 {
		t.Error(err)
	}
}
