package engine

import (
	"errors"
	"fmt"
	"testing"

	"ayder/internal/record"
)

// drop deletes a topic and waits for it.
func (w *world) drop(name string) {
	w.t.Helper()
	if c, err := w.e.Shard(CatalogueShard).DeleteTopic(w.open[CatalogueShard], []byte(name)); err != nil || c.Batch == nil || c.Again {
		w.t.Fatalf("delete %s: %+v %v", name, c, err)
	}
	w.commit()
}

func (w *world) grow(name string, partitions uint32) *Topic {
	w.t.Helper()
	if _, err := w.e.Shard(CatalogueShard).GrowTopic(w.open[CatalogueShard], []byte(name), partitions); err != nil {
		w.t.Fatal(err)
	}
	w.commit()
	return w.e.Topic([]byte(name))
}

func TestDeletedTopicLeavesNothingBehind(t *testing.T) {
	w := newWorld(t, Config{Shards: 3})
	w.topic("kept", 2)
	before := w.e.AppendState(nil)
	old := w.topic("t", 6)
	for i := range uint32(6) {
		w.produce(old.Partition(i), "v", "key")
		w.commitOffset(old.Partition(i), "g", 1)
	}
	w.commit()
	w.drop("t")
	if w.e.Topic([]byte("t")) != nil || w.e.TopicByID(2) != nil || len(w.e.Topics()) != 1 {
		t.Fatal("it is still there")
	}
	for i := range 3 {
		if s := w.e.Shard(i); len(s.windows)+len(s.keys)+len(s.committing)+len(s.cutting) > 0 {
			w.come(w.frame(len(w.frames))) // every shard looks at its next frame
			s.finish(&record.Frame{})
			if len(s.windows)+len(s.keys)+len(s.committing)+len(s.cutting) > 0 {
				t.Fatalf("shard %d keeps %d windows, %d keys", i, len(s.windows), len(s.keys))
			}
		}
	}
	if _, kept := w.e.FloorOf(old.Partition(1).Stream()); kept || old.Partition(1).GoneAt() == 0 || w.e.Freed() == 0 {
		t.Fatal("its messages are still wanted")
	}
	if _, kept := w.e.FloorOf(record.Stream{Topic: 9}); !kept {
		t.Fatal("a topic that is not known yet is not wanted")
	}
	again := w.topic("t", 1)
	if again.ID() != 3 {
		t.Fatal("id", again.ID())
	}
	w.must(again.Partition(0), "v", "key", Append{Offset: 0, Count: 1})
	if _, has := again.Partition(0).Committed([]byte("g")); has {
		t.Fatal("the new topic has the old one's group")
	}
	w.commit()
	w.drop("t")
	after := w.recovered(Config{}, nil, 0)
	sameState(t, w.e, after)
	if len(before) == len(w.e.AppendState(nil)) {
		t.Fatal("nothing says that ids were given")
	}
	if w.topic("t", 1).ID() != 4 {
		t.Fatal("an id was used twice")
	}
}

// Whatever is in flight for a topic when it is deleted ends harmlessly, whichever shard is first.
func TestDeleteWhileOthersWrite(t *testing.T) {
	for _, early := range []bool{true, false} {
		t.Run(fmt.Sprint("early=", early), func(t *testing.T) {
			w := newWorld(t, Config{Shards: 2})
			topic := w.topic("t", 2)
			p := topic.Partition(0) // of shard 1
			if p.Shard() != 1 {
				t.Fatal("shard", p.Shard())
			}
			write := func(key string, commit uint64) {
				w.produce(p, "v", key)
				w.commitOffset(p, "g", commit)
			}
			write("before", 1)
			w.append(1)
			if _, err := w.e.Shard(0).DeleteTopic(w.open[0], []byte("t")); err != nil {
				t.Fatal(err)
			}
			at := w.append(0)
			write("behind", 2)
			w.append(1)
			if early {
				w.apply(0)
			}
			write("never appended yet", 3)
			if _, err := w.e.Shard(1).CutBefore(w.open[1], p, Mark{}); err != nil {
				t.Fatal(err)
			}
			w.commit()
			if p.GoneAt() != at {
				t.Fatalf("gone at %d, not %d", p.GoneAt(), at)
			}
			for i := range 2 {
				s := w.e.Shard(i)
				s.finish(&record.Frame{})
				if len(s.windows)+len(s.keys)+len(s.committing)+len(s.cutting) > 0 {
					t.Fatalf("shard %d keeps %d windows, %d keys, %d commits", i, len(s.windows), len(s.keys), len(s.committing))
				}
			}
			for _, shards := range []int{1, 3} {
				sameState(t, w.e, w.recovered(Config{Shards: shards}, nil, 0))
				sameState(t, w.e, w.recovered(Config{Shards: shards}, w.checkpoint(), 0))
			}
		})
	}
}

func TestDeleteAndForget(t *testing.T) {
	w := newWorld(t, Config{})
	w.topic("t", 2)
	s := w.e.Shard(0)
	if _, err := s.DeleteTopic(w.open[0], []byte("t")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.GrowTopic(w.open[0], []byte("t"), 9); err != nil {
		t.Fatal(err)
	}
	w.append(0)
	frames := w.lose()
	if c, err := s.GrowTopic(w.open[0], []byte("t"), 4); err != nil || c != (TopicChange{Batch: w.open[0]}) {
		t.Fatalf("%+v %v", c, err)
	}
	w.lose()
	w.come(frames...)
	if w.e.Topic([]byte("t")) != nil || s.changing.partitions != 0 {
		t.Fatal("a committed deletion was lost")
	}
}

func TestGrowTopic(t *testing.T) {
	w := newWorld(t, Config{Shards: 2, PartitionsMax: 20})
	old := w.topic("t", 3)
	w.must(old.Partition(2), "v", "k", Append{Count: 1})
	w.commit()
	now := w.grow("t", 7)
	if now == old || now.Partitions() != 7 || now.Spec().Partitions != 7 || old.Partitions() != 3 || now.Partition(2) != old.Partition(2) {
		t.Fatal("partitions", now.Partitions(), old.Partitions())
	}
	w.must(now.Partition(6), "v", "k", Append{Count: 1})
	w.must(old.Partition(2), "v", "k", Append{Count: 1, Duplicate: true})
	w.commit()
	s := w.e.Shard(0)
	for n, want := range map[uint32]error{0: ErrPartitions, 1025: ErrPartitions, 6: ErrShrink, 21: ErrTopicLimit} {
		if _, err := s.GrowTopic(w.open[0], []byte("t"), n); !errors.Is(err, want) {
			t.Errorf("%d: %v, want %v", n, err, want)
		}
	}
	if c, err := s.GrowTopic(w.open[0], []byte("t"), 7); err != nil || c != (TopicChange{}) {
		t.Errorf("as it is: %+v %v", c, err)
	}
	if _, err := s.GrowTopic(w.open[0], []byte("else"), 7); !errors.Is(err, ErrNoTopic) {
		t.Error(err)
	}
	if _, err := s.CreateTopic(w.open[0], TopicSpec{Name: "t", Partitions: 3}); !errors.Is(err, ErrTopicExists) {
		t.Error("create as it was:", err)
	}
	for _, after := range []int{0, len(w.frames)} {
		sameState(t, w.e, w.recovered(Config{Shards: 3}, w.checkpoint(), after))
	}
	sameState(t, w.e, w.recovered(Config{}, nil, 0))
}

// Parts of a checkpoint between which topics are deleted, made anew, grow and get other policies.
func TestFuzzyCheckpointOfChangedTopics(t *testing.T) {
	config := Config{Shards: 2, IdemWindowMs: 1000}
	w := sampleWorld(t, 2)
	b := w.topic("brief", 3)
	w.produce(b.Partition(0), "v", "k")
	w.produce(b.Partition(1), "v", "k")
	w.commitOffset(b.Partition(1), "g", 0)
	w.commit()
	w.retention(RetentionUpdate{Scope: OneTopic, Topic: []byte("a"), SetTTL: true, Policy: Policy{TTLMs: 5000}})
	after := len(w.frames)
	var parts [2][2][]byte // by shard, early and late
	for i := range 2 {
		parts[i][0] = w.e.Shard(i).AppendCheckpoint(nil)
	}
	w.drop("brief")
	w.topic("brief", 2)
	w.topic("brief2", 2)
	w.drop("brief2")
	w.retention(RetentionUpdate{Scope: OneTopic, Topic: []byte("a"), SetTTL: true, SetMaxBytes: true, Policy: Policy{MaxBytes: 1 << 20}})
	w.retention(RetentionUpdate{Scope: OnePartition, Topic: []byte("a"), Partition: 2, SetTTL: true, Policy: Policy{TTLMs: 7000}})
	w.retention(RetentionUpdate{Scope: EveryTopic, SetMaxBytes: true, Policy: Policy{MaxBytes: 1 << 30}})
	wide := w.grow("a", 9)
	for i := range uint32(9) {
		w.produce(wide.Partition(i), "v", "late")
	}
	w.produce(w.e.Topic([]byte("brief")).Partition(0), "v", "k")
	w.produce(w.e.Topic([]byte("brief")).Partition(1), "v", "k")
	w.commit()
	if _, err := w.e.Shard(1).CutBefore(w.open[1], wide.Partition(2), Mark{3, wide.Partition(2).ladder.floor.bytes + 100}); err != nil {
		t.Fatal(err)
	}
	w.commit()
	for i := range 2 {
		parts[i][1] = w.e.Shard(i).AppendCheckpoint(nil)
	}
	w.drop("b")
	w.commit()
	for n := range 8 {
		order := [][]byte{parts[0][n&1], parts[1][n>>1&1]}
		if n>>2 == 1 {
			order[0], order[1] = order[1], order[0]
		}
		cp := EncodeCheckpoint(order)
		sameState(t, w.e, w.recovered(Config{Shards: 3, IdemWindowMs: 1000}, cp, after))
		sameState(t, w.e, w.recovered(config, cp, 0))
	}
	whole := w.recovered(config, nil, 0)
	sameState(t, w.e, whole)
	if got := whole.Retention(whole.Topic([]byte("a")), 2); got != (Policy{7000, 1 << 20}) {
		t.Fatalf("%+v", got)
	}
}

// Ids of deleted topics cost nothing to speak of, however many there are.
func TestManyDeletedTopics(t *testing.T) {
	w := newWorld(t, Config{})
	w.topic("stays", 1)
	for i := range 3000 {
		name := fmt.Sprint("t", i)
		w.topic(name, 1)
		w.drop(name)
	}
	last := w.topic("last", 1)
	if last.ID() != 3002 || w.e.TopicByID(3002) != last || w.e.TopicByID(3001) != nil {
		t.Fatal("id", last.ID())
	}
	if n := len(w.checkpoint()); n > 400 {
		t.Errorf("a checkpoint of two topics has %d bytes", n)
	}
	e := w.recovered(Config{}, w.checkpoint(), len(w.frames))
	sameState(t, w.e, e)
	for i, c := range e.catalogue.topics().chunks {
		if c != nil && i > 0 && i < 3001/topicsPerChunk {
			t.Error("nothing is in chunk", i, "but it is there")
		}
	}
}

// changedWorld has topics that were deleted, have grown, and have policies and floors.
func changedWorld(t testing.TB) *world {
	w := newWorld(t, Config{})
	w.topic("brief", 2)
	p := w.topic("t", 1).Partition(0)
	for range 5 {
		w.produce(p, "v", "")
		w.commit()
		w.later(2000)
	}
	w.drop("brief")
	w.grow("t", 2)
	w.retention(RetentionUpdate{Scope: EveryTopic, SetMaxBytes: true, Policy: Policy{MaxBytes: 9}})
	w.retention(RetentionUpdate{Scope: OnePartition, Topic: []byte("t"), Partition: 1, SetTTL: true, Policy: Policy{TTLMs: 7}})
	w.retain()
	w.topic("brief", 1)
	return w
}

// The memory of a rocket topic is given back when it is deleted, and bounded by its policy as it is now.
func TestRocketTopicsAreDeletedAndBounded(t *testing.T) {
	w := newWorld(t, Config{Shards: 2})
	topic := w.rocketTopic("r", 2, 0)
	fill := func() {
		for i := range uint32(2) {
			p := topic.Partition(i)
			s := w.e.Shard(p.Shard())
			if !p.RocketReady(1) {
				s.TakeRange(w.open[p.Shard()], p)
				w.commit()
			}
			for range 1000 {
				if _, err := s.ProduceRocket(p, &record.Record{Value: make([]byte, 1000)}, ProduceOptions{}, w.now); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	fill()
	if !w.e.Retains() {
		t.Fatal("nobody looks after it")
	}
	w.retention(RetentionUpdate{Scope: EveryTopic, SetMaxBytes: true, Policy: Policy{MaxBytes: 100_000}})
	w.retain()
	for i := range uint32(2) {
		if n := topic.Partition(i).Bytes(); n > 100_000+chunkBytesMax || n == 0 {
			t.Error(n, "bytes")
		}
	}
	w.retention(RetentionUpdate{Scope: OnePartition, Topic: []byte("r"), Partition: 1, SetTTL: true, Policy: Policy{TTLMs: 1000}})
	w.later(5000)
	w.retain()
	if a, b := topic.Partition(0).Bytes(), topic.Partition(1).Bytes(); a == 0 || b != 0 {
		t.Error(a, "and", b, "bytes")
	}
	fill()
	if wide := w.grow("r", 3); !wide.Partition(2).Rocket() {
		t.Error("a new partition is not rocket")
	}
	w.drop("r")
	for i := range 2 {
		w.e.Shard(i).finish(&record.Frame{})
	}
	if n := w.e.memory.used.Load(); n != 0 {
		t.Error(n, "bytes are still in use")
	}
	sameState(t, w.e, w.recovered(Config{}, nil, 0))
}
