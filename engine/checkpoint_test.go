package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"ayder/internal/record"
)

// sampleWorld has something of everything.
func sampleWorld(t testing.TB, shards int) *world {
	w := newWorld(t, Config{Shards: shards, IdemWindowMs: 1000})
	a, b := w.topic("a", 4), w.topic("b", 1)
	w.topic("untouched", 8)
	for i := range uint32(4) {
		p := a.Partition(i)
		for n := range 10 * i {
			w.produce(p, "value", fmt.Sprint("key", n))
		}
		w.commit()
		w.commitOffset(p, "g1", p.Next())
		w.commitOffset(p, "g0", p.Next()/2)
		w.later(10)
	}
	w.many(b.Partition(0), "batch", "x", "y", "z")
	w.commit()
	return w
}

func TestCheckpointRoundTrip(t *testing.T) {
	for _, shards := range []int{1, 2, 3} {
		w := sampleWorld(t, shards)
		cp := w.checkpoint()
		for _, restored := range []int{1, 2, 5} {
			e := w.recovered(Config{Shards: restored, IdemWindowMs: 1000}, cp, len(w.frames))
			sameState(t, w.e, e)
			p := e.Topic([]byte("a")).Partition(3)
			if got, ok := p.Committed([]byte("g0")); got != 15 || !ok || p.Next() != 30 || p.Assigned() != 30 {
				t.Fatalf("committed %d %v next %d assigned %d", got, ok, p.Next(), p.Assigned())
			}
			// And it goes on as the old one would: every key still known, ids and offsets follow.
			x := &world{t: t, now: w.now, last: w.last, frames: w.frames}
			x.start(e)
			x.must(p, "", "key7", Append{Offset: 7, Count: 1, Duplicate: true})
			x.must(e.Topic([]byte("b")).Partition(0), "", "batch", Append{Offset: 0, Count: 3, Duplicate: true})
			x.must(p, "", "new", Append{Offset: 30, Count: 1})
			if x.topic("c", 1).ID() != 4 {
				t.Fatal("topic id")
			}
		}
	}
}

func TestCheckpointOfNothing(t *testing.T) {
	e := New(Config{})
	if err := e.Restore(checkpointOf(New(Config{Shards: 3}))); err != nil {
		t.Fatal(err)
	}
	sameState(t, e, New(Config{}))
}

// A group may commit before there is any message.
func TestCommitInAnEmptyPartitionIsKept(t *testing.T) {
	w := newWorld(t, Config{})
	p := w.topic("t", 2).Partition(1)
	w.commitOffset(p, "g", 0)
	w.commit()
	e := w.recovered(Config{}, w.checkpoint(), len(w.frames))
	if _, ok := e.Topic([]byte("t")).Partition(1).Committed([]byte("g")); !ok {
		t.Fatal("lost")
	}
}

// Equal states give equal bytes, however maps are laid out.
func TestCheckpointIsDeterministic(t *testing.T) {
	first := sampleWorld(t, 2).checkpoint()
	for range 10 {
		if !bytes.Equal(first, sampleWorld(t, 2).checkpoint()) {
			t.Fatal("two runs of the same differ")
		}
	}
}

// Shards captured at different moments: between the captures, topics appear and everything moves on.
func TestFuzzyCheckpoint(t *testing.T) {
	w := sampleWorld(t, 2)
	after := len(w.frames)
	part0 := w.e.Shard(0).AppendCheckpoint(nil)
	late := w.topic("late", 4)
	a := w.e.Topic([]byte("a"))
	for i := range uint32(4) {
		w.produce(late.Partition(i), "v", "k")
		w.produce(a.Partition(i), "v", "late")
		w.commitOffset(a.Partition(i), "g1", a.Partition(i).Next())
	}
	w.commit()
	part1 := w.e.Shard(1).AppendCheckpoint(nil)
	w.produce(late.Partition(0), "v", "k2")
	w.produce(late.Partition(1), "v", "k2")
	w.commit()
	for _, parts := range [][][]byte{{part0, part1}, {part1, part0}} {
		sameState(t, w.e, w.recovered(Config{Shards: 3, IdemWindowMs: 1000}, EncodeCheckpoint(parts), after))
	}
	sameState(t, w.e, w.recovered(Config{IdemWindowMs: 1000}, nil, 0))
	// Replay may begin earlier than it would have to.
	sameState(t, w.e, w.recovered(Config{IdemWindowMs: 1000}, EncodeCheckpoint([][]byte{part0, part1}), 0))
}

// Encoding on another goroutine while the loop goes on gives what the loop had at the capture.
func TestCaptureIsEncodedElsewhere(t *testing.T) {
	w := sampleWorld(t, 1)
	want := w.e.Shard(0).AppendCheckpoint(nil)
	c := w.e.Shard(0).Capture()
	got := make(chan []byte)
	go func() { got <- c.AppendTo(nil) }()
	p := w.e.Topic([]byte("a")).Partition(2)
	for i := range 500 {
		w.produce(p, "v", fmt.Sprint("after", i))
		w.commitOffset(p, fmt.Sprint("group", i%10), p.Next())
		w.commit()
		w.later(10)
	}
	if !bytes.Equal(<-got, want) {
		t.Fatal("a capture changed after it was made")
	}
}

func TestDamagedCheckpointsAreErrors(t *testing.T) {
	w := sampleWorld(t, 2)
	good := w.checkpoint()
	for n := range good {
		if err := New(Config{}).Restore(good[:n]); !errors.Is(err, ErrCheckpoint) {
			t.Fatalf("%d of %d bytes: %v", n, len(good), err)
		}
	}
	if err := New(Config{}).Restore(append(bytes.Clone(good), 0)); !errors.Is(err, ErrCheckpoint) {
		t.Fatal("a byte too many:", err)
	}
	// Not every flipped bit can be noticed without the checksum, but none may do harm.
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x81
		if err := New(Config{}).Restore(bad); err != nil && !errors.Is(err, ErrCheckpoint) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	mustPanic(t, "restore twice", func() { w.e.Restore(good) })
}

// part builds one part of a checkpoint by hand: topic "t" with 2 partitions, created at 5, and one partition.
func part(edit func(p *captured, topic *Topic)) []byte {
	topic := &Topic{id: 1, created: 5, spec: TopicSpec{Name: "t", Partitions: 2}}
	p := captured{stream: record.Stream{Topic: 1, Partition: 1}, asOf: 9, floor: 0, next: 10, size: 1000}
	p.groups = []capturedGroup{{"g", 4}, {"h", 10}}
	p.keys.push(entry{first: 0, timeMs: 100, count: 2})
	p.keys.push(entry{first: 8, timeMs: 100, count: 2})
	edit(&p, topic)
	c := Capture{timeMs: 100, windowMs: 1000, topics: new(topicList).with(1, topic), partitions: []captured{p}}
	c.extensions = make([]capturedExtension, len(extensionTable()))
	return c.AppendTo(nil)
}

func TestImpossibleCheckpointsAreErrors(t *testing.T) {
	same := func(*captured, *Topic) {}
	if err := New(Config{}).Restore(EncodeCheckpoint([][]byte{part(same)})); err != nil {
		t.Fatal("the one that the others differ from:", err)
	}
	for name, edit := range map[string]func(p *captured, topic *Topic){
		"unknown topic":      func(p *captured, _ *Topic) { p.stream.Topic = 2 },
		"unknown partition":  func(p *captured, _ *Topic) { p.stream.Partition = 2 },
		"before its topic":   func(p *captured, _ *Topic) { p.asOf = 5 },
		"floor above end":    func(p *captured, _ *Topic) { p.floor = 11 },
		"commit above end":   func(p *captured, _ *Topic) { p.groups[1].offset = 11 },
		"group twice":        func(p *captured, _ *Topic) { p.groups[1].name = "g" },
		"group name":         func(p *captured, _ *Topic) { p.groups[1].name = "g/h" },
		"key above end":      func(p *captured, _ *Topic) { p.keys.at(1).count = 3 },
		"key for none":       func(p *captured, _ *Topic) { p.keys.at(0).count = 0 },
		"keys at one offset": func(p *captured, _ *Topic) { p.keys.at(1).first = 0 },
		"keys out of order":  func(p *captured, _ *Topic) { p.keys.at(0).first = 9 },
		"times out of order": func(p *captured, _ *Topic) { p.keys.at(0).timeMs = 101 },
		"topic name":         func(_ *captured, topic *Topic) { topic.spec.Name = "" },
		"topic partitions":   func(_ *captured, topic *Topic) { topic.spec.Partitions = 1 << 20 },
	} {
		if err := New(Config{}).Restore(EncodeCheckpoint([][]byte{part(edit)})); !errors.Is(err, ErrCheckpoint) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := New(Config{}).Restore(EncodeCheckpoint([][]byte{part(same), part(same)})); !errors.Is(err, ErrCheckpoint) {
		t.Error("a partition in two parts:", err)
	}
	other := part(func(p *captured, topic *Topic) { p.stream.Partition, topic.created = 0, 6 })
	if err := New(Config{}).Restore(EncodeCheckpoint([][]byte{part(same), other})); !errors.Is(err, ErrCheckpoint) {
		t.Error("parts that disagree about a topic:", err)
	}
}

// Counts that promise more than there is must not make memory be taken.
func TestCheckpointCountsAreNotBelieved(t *testing.T) {
	good := EncodeCheckpoint([][]byte{part(func(*captured, *Topic) {})})
	for i := 0; i+4 <= len(good); i++ {
		bad := bytes.Clone(good)
		binary.LittleEndian.PutUint32(bad[i:], 1<<32-1)
		_ = New(Config{}).Restore(bad)
	}
}

func TestCheckpointOfAnotherVersion(t *testing.T) {
	good := sampleWorld(t, 1).checkpoint()
	for _, at := range []int{0, 4} {
		bad := bytes.Clone(good)
		bad[at]++
		if err := New(Config{}).Restore(bad); !errors.Is(err, ErrCheckpoint) {
			t.Fatal(err)
		}
	}
}

// Captures are encoded in one piece as they are part by part.
func TestEncodeCaptures(t *testing.T) {
	w := sampleWorld(t, 3)
	var captures []*Capture
	for i := range 3 {
		captures = append(captures, w.e.Shard(i).Capture())
	}
	if !bytes.Equal(EncodeCaptures(captures), w.checkpoint()) {
		t.Fatal("they differ")
	}
}
