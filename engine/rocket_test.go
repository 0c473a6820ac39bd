package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"ayder/internal/record"
)

// rocketTopic creates a rocket topic and waits for it.
func (w *world) rocketTopic(name string, partitions uint32, maxBytes uint64) *Topic {
	w.t.Helper()
	spec := TopicSpec{Name: name, Partitions: partitions, Mode: Rocket, MaxBytes: maxBytes}
	if _, err := w.e.Shard(CatalogueShard).CreateTopic(w.open[CatalogueShard], spec); err != nil {
		w.t.Fatal(err)
	}
	w.commit()
	return w.e.Topic([]byte(name))
}

// rocket produces one message, taking a range first if need be, and returns its offset.
func (w *world) rocket(p *Partition, value string) uint64 {
	w.t.Helper()
	w.takeRange(p, 1)
	got, err := p.owner.ProduceRocket(p, &record.Record{Value: []byte(value)}, ProduceOptions{}, w.now)
	if err != nil || got.Count != 1 || got.Duplicate {
		w.t.Fatalf("produce: %+v %v", got, err)
	}
	return got.Offset
}

func (w *world) takeRange(p *Partition, count int) {
	w.t.Helper()
	if p.RocketReady(count) {
		return
	}
	b := w.open[p.Shard()]
	if got := p.owner.TakeRange(b, p); got != b {
		w.t.Fatalf("range in batch %p, want the open one %p", got, b)
	}
	w.commit()
	if !p.RocketReady(count) {
		w.t.Fatal("a range was taken and the partition is not ready")
	}
}

// replayed is a new engine that has read the whole log.
func (w *world) replayed(shards int) *Engine {
	w.t.Helper()
	c := w.e.Config()
	c.Shards = shards
	e := New(c)
	for i := range w.frames {
		if err := e.ApplyReplay(parsedFrame(w.t, w.frames[i])); err != nil {
			w.t.Fatal(err)
		}
	}
	return e
}

func parsedFrame(t testing.TB, b []byte) record.Frame {
	t.Helper()
	f, err := record.ReadFrame(b, 1)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// stored is what a rocket partition serves from offset on.
func stored(p *Partition, offset uint64) (values []string, next uint64) {
	end := p.Next()
	next = p.ReadRocket(offset, end, func(s record.Section) bool {
		it, at := s.Records(), s.Base
		for r, ok := it.Next(); ok && at < end; r, ok = it.Next() {
			if at >= offset {
				values = append(values, string(r.Value))
			}
			at++
		}
		return it.Err() == nil
	})
	return values, min(next, end)
}

func extent(p *Partition) string { return fmt.Sprint(p.Floor(), " ", p.Next(), " ", p.Assigned()) }

func TestRocketOffsetsAreNeverGivenTwice(t *testing.T) {
	w := newWorld(t, Config{Shards: 2})
	p := w.rocketTopic("r", 3, 0).Partition(1)
	for i := range uint64(5) {
		if got := w.rocket(p, fmt.Sprint(i)); got != i {
			t.Fatalf("message %d has offset %d", i, got)
		}
	}
	frames := len(w.frames)
	if values, next := stored(p, 2); fmt.Sprint(values) != "[2 3 4]" || next != 5 {
		t.Fatalf("stored: %v, next %d", values, next)
	}
	for life := uint64(1); life < 4; life++ {
		w.start(w.replayed(int(life)))
		p = w.e.Topic([]byte("r")).Partition(1)
		if want := fmt.Sprint(life<<32, " ", life<<32, " ", life<<32); extent(p) != want || p.Bytes() != 0 {
			t.Fatalf("after restart %d: %s, want %s", life, extent(p), want)
		}
		if got := w.rocket(p, "x"); got != life<<32 {
			t.Fatalf("after restart %d the first offset is %d", life, got)
		}
		w.rocket(p, "y")
		if values, next := stored(p, p.Floor()); fmt.Sprint(values) != "[x y]" || next != life<<32+2 {
			t.Fatalf("stored: %v, next %d", values, next)
		}
	}
	if got := len(w.frames) - frames; got != 3 {
		t.Fatalf("three lives wrote %d frames", got)
	}
	if other := w.e.Topic([]byte("r")).Partition(0); extent(other) != "0 0 0" {
		t.Fatalf("a partition that nobody wrote to: %s", extent(other))
	}
}

func TestRocketStateIsTheLogsAlone(t *testing.T) {
	w := newWorld(t, Config{Shards: 3})
	topic := w.rocketTopic("r", 4, 0)
	for i := range uint32(4) {
		for range i {
			w.rocket(topic.Partition(i), "a message")
		}
	}
	if _, err := w.commitOffset(topic.Partition(3), "g", 2); err != nil {
		t.Fatal(err)
	}
	w.commit()
	want := w.e.AppendState(nil)
	if got := w.replayed(2).AppendState(nil); !bytes.Equal(got, want) {
		t.Fatalf("replayed:\n%x\nlive:\n%x", got, want)
	}
	var parts [][]byte
	for i := range 3 {
		parts = append(parts, w.e.Shard(i).AppendCheckpoint(nil))
	}
	e := New(Config{Shards: 1})
	if err := e.Restore(EncodeCheckpoint(parts)); err != nil {
		t.Fatal(err)
	}
	if got := e.AppendState(nil); !bytes.Equal(got, want) {
		t.Fatalf("restored:\n%x\nlive:\n%x", got, want)
	}
	p := e.Topic([]byte("r")).Partition(3)
	if at, ok := p.Committed([]byte("g")); !ok || at != 2 || p.Floor() != 1<<32 {
		t.Fatalf("committed %d %v, floor %d", at, ok, p.Floor())
	}
}

func TestRocketRangesFollowEachOther(t *testing.T) {
	w := newWorld(t, Config{})
	p := w.rocketTopic("r", 1, 0).Partition(0)
	w.takeRange(p, 1)
	p.assigned = 1<<32 - 2 // as if four thousand million messages had come
	p.next.Store(p.assigned)
	p.floor.Store(p.assigned)
	w.rocket(p, "a")
	if p.RocketReady(2) || !p.RocketReady(1) {
		t.Fatal("one offset is left in the range")
	}
	w.takeRange(p, 2)
	many, err := p.owner.BeginRocket(p, 3, ProduceOptions{}, w.now)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []string{"b", "c", "d"} {
		many.Add(&record.Record{Value: []byte(v)})
	}
	if got := many.End(); got.Offset != 1<<32-1 || got.Count != 3 {
		t.Fatalf("across the ranges: %+v", got)
	}
	if values, _ := stored(p, p.Floor()); fmt.Sprint(values) != "[a b c d]" {
		t.Fatalf("stored: %v", values)
	}
	if got := w.replayed(1).Topic([]byte("r")).Partition(0).Next(); got != 2<<32 {
		t.Fatalf("after a restart the next offset is %d", got)
	}
}

func TestRocketEndsWithTheTerm(t *testing.T) {
	w := newWorld(t, Config{})
	p := w.rocketTopic("r", 1, 0).Partition(0)
	w.rocket(p, "a")
	s := p.owner
	s.Forget()
	if extent(p) != fmt.Sprint(1<<32, " ", 1<<32, " ", 1<<32) || p.RocketReady(1) || w.e.memory.used.Load() != 0 {
		t.Fatalf("after the term: %s, %d bytes in use", extent(p), w.e.memory.used.Load())
	}
	// Another node takes a range, then this one again, twice: the first try is committed after its term.
	other := record.NewBatch()
	other.AppendCommand(record.SectionBoot, p.stream, 1, nil)
	foreign := func(b *record.Batch) {
		frame := b.Seal(record.Header{Index: uint64(len(w.frames)) + 1, Term: 2}, 1)
		w.frames = append(w.frames, bytes.Clone(frame))
		if err := s.ApplyCommitted(b.Frame()); err != nil {
			t.Fatal(err)
		}
	}
	foreign(other)
	late := record.NewBatch()
	if s.TakeRange(late, p) != late || s.TakeRange(record.NewBatch(), p) != late {
		t.Fatal("a range in flight was asked for again")
	}
	s.Forget()
	foreign(late)
	if p.RocketReady(1) {
		t.Fatal("a range of a past term is used")
	}
	if got := w.rocket(p, "b"); got != 3<<32 {
		t.Fatalf("offset %d", got)
	}
	// A foreign range while this node still believes that it leads ends that.
	usurper := record.NewBatch()
	usurper.AppendCommand(record.SectionBoot, p.stream, 4, nil)
	foreign(usurper)
	if p.RocketReady(1) || p.Next() != 5<<32 {
		t.Fatalf("after a foreign range: %s", extent(p))
	}
}

func TestRocketIsBounded(t *testing.T) {
	w := newWorld(t, Config{})
	p := w.rocketTopic("r", 1, 10_000).Partition(0)
	for i := range uint64(2000) {
		w.rocket(p, fmt.Sprintf("%0100d", i))
		if p.Bytes() > 10_000 {
			t.Fatalf("%d bytes after %d messages", p.Bytes(), i+1)
		}
		if values, next := stored(p, p.Floor()); uint64(len(values)) != p.Messages() || next != p.Next() {
			t.Fatalf("%d of %d messages readable up to %d of %d", len(values), p.Messages(), next, p.Next())
		}
		if values, next := stored(p, p.Floor()-min(p.Floor(), 1)); p.Floor() > 0 && (len(values) > 0 || next != p.Floor()-1) {
			t.Fatalf("below the floor: %d messages", len(values))
		}
	}
	if p.Messages() < 60 {
		t.Fatalf("only %d messages of 124 bytes are kept", p.Messages())
	}
	w.rocket(p, fmt.Sprintf("%050000d", 0)) // one that is larger than all: it is kept alone
	if p.Messages() != 1 || p.Bytes() != 50_024 {
		t.Fatalf("%d messages of %d bytes", p.Messages(), p.Bytes())
	}
	w.rocket(p, "small")
	if p.Messages() != 1 {
		t.Fatalf("%d messages", p.Messages())
	}
}

func TestRocketBatchLargerThanAllThatIsKept(t *testing.T) {
	w := newWorld(t, Config{})
	p := w.rocketTopic("r", 1, 1000).Partition(0)
	w.takeRange(p, 100)
	many, err := p.owner.BeginRocket(p, 100, ProduceOptions{}, w.now)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		many.Add(&record.Record{Value: make([]byte, 100)})
		if s := p.Stats(); s.Floor > s.Next {
			t.Fatalf("floor %d above end %d", s.Floor, s.Next)
		}
	}
	if got := many.End(); got.Offset != 0 || p.Next() != 100 || p.Bytes() > 1000 {
		t.Fatalf("%+v: %s, %d bytes", got, extent(p), p.Bytes())
	}
}

func TestRocketTopicsShareTheNodesMemory(t *testing.T) {
	w := newWorld(t, Config{RocketBytesMax: 1 << 20})
	topic := w.rocketTopic("r", 4, 0)
	for range 3000 {
		for i := range uint32(4) {
			w.rocket(topic.Partition(i), string(make([]byte, 1000)))
		}
	}
	if used := w.e.memory.used.Load(); used > 1<<20+4*chunkBytesMax {
		t.Fatalf("%d bytes are in use", used)
	}
	for i := range uint32(4) {
		if topic.Partition(i).Messages() == 0 {
			t.Fatalf("partition %d is empty", i)
		}
	}
}

func TestRocketMessagesAgeOut(t *testing.T) {
	w := newWorld(t, Config{})
	spec := TopicSpec{Name: "r", Partitions: 1, Mode: Rocket, TTLMs: 100, MaxBytes: 64}
	spec.MaxBytes = 1 << 20
	if _, err := w.e.Shard(0).CreateTopic(w.open[0], spec); err != nil {
		t.Fatal(err)
	}
	w.commit()
	p := w.e.Topic([]byte("r")).Partition(0)
	for range 3 {
		w.rocket(p, string(make([]byte, 3000))) // one per chunk
	}
	w.later(99)
	w.rocket(p, "a")
	if p.Messages() != 4 {
		t.Fatalf("%d messages", p.Messages())
	}
	w.later(1)
	w.rocket(p, "b")
	if p.Floor() != 1 {
		t.Fatalf("the floor is %d: the first chunk holds one message, and that is too old", p.Floor())
	}
	w.later(100)
	w.rocket(p, "c")
	if values, _ := stored(p, p.Floor()); fmt.Sprint(values) != "[c]" {
		t.Fatalf("%d messages are left", p.Messages())
	}
}

func TestRocketExpectedOffset(t *testing.T) {
	w := newWorld(t, Config{})
	p := w.rocketTopic("r", 1, 0).Partition(0)
	w.rocket(p, "a")
	opt := ProduceOptions{HasExpected: true, ExpectedOffset: 2}
	if _, err := p.owner.ProduceRocket(p, &record.Record{}, opt, 0); !errors.Is(err, ErrOffset) || p.Next() != 1 {
		t.Fatalf("%v, next %d", err, p.Next())
	}
	opt.ExpectedOffset = 1
	if got, err := p.owner.ProduceRocket(p, &record.Record{}, opt, 0); err != nil || got.Offset != 1 {
		t.Fatalf("%+v %v", got, err)
	}
}

func TestRocketMessagesDoNotBelongIntoTheLog(t *testing.T) {
	w := newWorld(t, Config{})
	rocket, sealed := w.rocketTopic("r", 1, 0).Partition(0), w.topic("s", 1).Partition(0)
	command := func(s record.Stream, base uint64) *record.Batch {
		b := record.NewBatch()
		b.AppendCommand(record.SectionBoot, s, base, nil)
		return b
	}
	records := record.NewBatch()
	records.AppendRecord(rocket.stream, 0, &record.Record{})
	for name, b := range map[string]*record.Batch{
		"a message":               records,
		"a range twice":           command(rocket.stream, 1),
		"a range of sealed":       command(sealed.stream, 0),
		"a range of no partition": command(record.Stream{Topic: 9}, 0),
	} {
		b.Seal(record.Header{Index: uint64(len(w.frames)) + 1, Term: 1}, 1)
		if err := rocket.owner.ApplyCommitted(b.Frame()); !errors.Is(err, ErrDiverged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("the shard put a rocket topic's message into a batch")
		}
	}()
	_, _ = w.produce(rocket, "x", "")
}

func TestRocketCheckpointsHoldEndsOfRanges(t *testing.T) {
	w := newWorld(t, Config{})
	p := w.rocketTopic("r", 1, 0).Partition(0)
	w.rocket(p, "x")
	good := w.e.Shard(0).AppendCheckpoint(nil)
	end := binary.LittleEndian.AppendUint64(nil, 1<<32)
	at := bytes.Index(good, append(bytes.Clone(end), end...)) // floor and end
	bad := bytes.Clone(good)
	bad[at]++ // floor and end differ
	if err := New(Config{}).Restore(EncodeCheckpoint([][]byte{bad})); !errors.Is(err, ErrCheckpoint) {
		t.Errorf("floor %d: %v", bad[at], err)
	}
	bad[at+8]++ // they are equal, and inside a range
	if err := New(Config{}).Restore(EncodeCheckpoint([][]byte{bad})); !errors.Is(err, ErrCheckpoint) {
		t.Errorf("floor and end inside a range: %v", err)
	}
}

// TestRocketModel holds a partition against a list, step by step.
func TestRocketModel(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 3))
		w := newWorld(t, Config{})
		limit := uint64(1 + rng.IntN(60_000))
		p := w.rocketTopic("r", 1, limit).Partition(0)
		var all []string
		first := uint64(0) // offset of all[0]
		for range 3000 {
			switch n := rng.IntN(100); {
			case n < 70:
				v := fmt.Sprint(rng.Uint64(), string(make([]byte, rng.IntN(1+rng.IntN(2000)))))
				if got := w.rocket(p, v); got != first+uint64(len(all)) {
					t.Fatalf("seed %d: offset %d, want %d", seed, got, first+uint64(len(all)))
				}
				all = append(all, v)
			case n < 97:
				from := p.Floor() + uint64(rng.IntN(int(p.Messages())+1))
				values, next := stored(p, from)
				if want := all[from-first:]; fmt.Sprint(values) != fmt.Sprint(want) || next != p.Next() {
					t.Fatalf("seed %d: from %d: %d messages, want %d", seed, from, len(values), len(want))
				}
			case n < 99:
				before, floor := p.Floor()+uint64(rng.IntN(int(p.Messages())+2)), p.Floor()
				if got, want := p.owner.DropBefore(p, before), min(before, p.Next())-floor; got != want || p.Floor() != floor+want {
					t.Fatalf("seed %d: drop before %d: %d, floor %d", seed, before, got, p.Floor())
				}
			default:
				p.owner.Forget()
				all, first = nil, p.Next()
			}
			if p.Bytes() > limit && p.Messages() > 1 || p.Floor() < first || p.Next() != first+uint64(len(all)) {
				t.Fatalf("seed %d: %s, %d bytes of %d", seed, extent(p), p.Bytes(), limit)
			}
		}
		p.owner.Forget()
		if used := w.e.memory.used.Load(); used != 0 {
			t.Fatalf("seed %d: %d bytes are never given back", seed, used)
		}
	}
}

// recycler gives memory out again at once, overwritten.
type recycler struct {
	mu   sync.Mutex
	free [][]byte
}

func (r *recycler) Get(size int) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, b := range r.free {
		if len(b) == size {
			r.free = append(r.free[:i], r.free[i+1:]...)
			return b
		}
	}
	return make([]byte, size)
}

func (r *recycler) Put(b []byte) {
	for i := range b {
		b[i] = 0xee
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free = append(r.free, b)
}

// TestRocketReadersSeeWholeMessages reads from other goroutines while the oldest messages go and their memory is used again.
func TestRocketReadersSeeWholeMessages(t *testing.T) {
	w := newWorld(t, Config{Memory: &recycler{}})
	p := w.rocketTopic("r", 1, 64<<10).Partition(0)
	w.takeRange(p, 1)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				offset := p.Floor()
				end := p.Next()
				p.ReadRocket(offset, end, func(s record.Section) bool {
					it, at := s.Records(), s.Base
					for r, ok := it.Next(); ok; r, ok = it.Next() {
						if len(r.Value) < 8 || binary.LittleEndian.Uint64(r.Value) != at {
							t.Errorf("offset %d holds %x", at, r.Value)
							return false
						}
						at++
					}
					if it.Err() != nil || at != s.Base+uint64(s.Count) {
						t.Errorf("section at %d: %v", s.Base, it.Err())
					}
					return true
				})
			}
		})
	}
	value := make([]byte, 300)
	for i := range uint64(50_000) {
		binary.LittleEndian.PutUint64(value, i)
		if _, err := p.owner.ProduceRocket(p, &record.Record{Value: value[:8+i%290]}, ProduceOptions{}, 0); err != nil {
			t.Fatal(err)
		}
		if i%10_000 == 9_999 {
			p.owner.DropBefore(p, i/2)
		}
	}
	close(stop)
	readers.Wait()
}

func TestRocketProduceDoesNotAllocate(t *testing.T) {
	w := newWorld(t, Config{Memory: &recycler{}})
	p := w.rocketTopic("r", 1, 4<<20).Partition(0)
	w.takeRange(p, 1)
	r := &record.Record{Value: make([]byte, 64)}
	produce := func() {
		if _, err := p.owner.ProduceRocket(p, r, ProduceOptions{}, 0); err != nil {
			t.Fatal(err)
		}
	}
	for range 100_000 {
		produce()
	}
	// One chunk in three thousand messages is an object of its own.
	if n := testing.AllocsPerRun(20_000, produce); n > 0 {
		t.Errorf("%v allocations per message", n)
	}
}

func BenchmarkProduceRocket(b *testing.B) {
	w := newWorld(b, Config{Memory: &recycler{}})
	p := w.rocketTopic("r", 1, 64<<20).Partition(0)
	w.takeRange(p, 1)
	r := &record.Record{Value: make([]byte, 64)}
	b.SetBytes(64)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = p.owner.ProduceRocket(p, r, ProduceOptions{}, 0)
	}
}
