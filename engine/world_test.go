package engine

import (
	"bytes"
	"testing"

	"ayder/internal/record"
)

// world is an engine together with a log that is only memory: what the loops and the log do between
// them, step by step under the test's control. Each shard has one open batch and any number in flight.
type world struct {
	t      testing.TB
	e      *Engine
	open   []*record.Batch
	flying [][]*record.Batch // appended, not yet applied, oldest first
	frames [][]byte          // the log; frame i has index i+1
	now    uint64            // the clock that batches get their time from
	last   uint64            // time of the last frame
}

func newWorld(t testing.TB, c Config) *world {
	w := &world{t: t, now: 1000}
	w.start(New(c))
	return w
}

// start makes e the running engine, with nothing in flight.
func (w *world) start(e *Engine) {
	w.e = e
	n := e.Config().Shards
	w.open, w.flying = make([]*record.Batch, n), make([][]*record.Batch, n)
	for i := range w.open {
		w.open[i] = w.newBatch()
	}
}

func (w *world) newBatch() *record.Batch {
	b := record.NewBatch()
	b.TimeMs = w.now
	return b
}

// append gives a shard's open batch to the log. It returns the frame's index, 0 if the batch was empty.
func (w *world) append(shard int) uint64 {
	b := w.open[shard]
	if b.Empty() {
		return 0
	}
	w.last = max(w.last, b.TimeMs)
	frame := b.Seal(record.Header{Index: uint64(len(w.frames)) + 1, Term: 1, TimeMs: w.last}, 1)
	w.frames = append(w.frames, bytes.Clone(frame))
	w.flying[shard] = append(w.flying[shard], b)
	w.open[shard] = w.newBatch()
	return b.Index
}

// apply applies a shard's oldest batch in flight and returns it, nil if there is none.
func (w *world) apply(shard int) *record.Batch {
	w.t.Helper()
	if len(w.flying[shard]) == 0 {
		return nil
	}
	b := w.flying[shard][0]
	w.flying[shard] = w.flying[shard][1:]
	if err := w.e.Shard(shard).Apply(b.Frame()); err != nil {
		w.t.Fatal(err)
	}
	return b
}

// commit appends and applies everything there is.
func (w *world) commit() {
	w.t.Helper()
	for i := range w.open {
		w.append(i)
		for w.apply(i) != nil {
		}
	}
}

// later moves the clock, also that of the open batches, which must be empty.
func (w *world) later(ms uint64) {
	w.now += ms
	for _, b := range w.open {
		b.TimeMs = w.now
	}
}

// topic creates a topic and waits for it.
func (w *world) topic(name string, partitions uint32) *Topic {
	w.t.Helper()
	if _, err := w.e.Shard(CatalogueShard).CreateTopic(w.open[CatalogueShard], TopicSpec{Name: name, Partitions: partitions}); err != nil {
		w.t.Fatal(err)
	}
	w.commit()
	return w.e.Topic([]byte(name))
}

// produce appends one message; key may be empty for none.
func (w *world) produce(p *Partition, value, key string) (Append, error) {
	r := &record.Record{Value: []byte(value), HasIdem: key != "", Idem: []byte(key)}
	return p.owner.Produce(w.open[p.Shard()], p, r, ProduceOptions{})
}

// must produces and expects the given answer.
func (w *world) must(p *Partition, value, key string, want Append) {
	w.t.Helper()
	got, err := w.produce(p, value, key)
	if err != nil || got != want {
		w.t.Fatalf("produce %q key %q: %+v %v, want %+v", value, key, got, err, want)
	}
}

// many produces several messages under one key.
func (w *world) many(p *Partition, key string, values ...string) (Append, error) {
	m, dup, err := p.owner.BeginMany(w.open[p.Shard()], p, uint32(len(values)), []byte(key), key != "", ProduceOptions{})
	if err != nil || dup.Duplicate {
		return dup, err
	}
	for _, v := range values {
		m.Add(&record.Record{Value: []byte(v)})
	}
	return m.End(), nil
}

// commitOffset commits for a group.
func (w *world) commitOffset(p *Partition, group string, offset uint64) (Commit, error) {
	return p.owner.CommitOffset(w.open[p.Shard()], p, []byte(group), offset)
}

// checkpoint encodes the state of every shard at once.
func (w *world) checkpoint() []byte { return checkpointOf(w.e) }

func checkpointOf(e *Engine) []byte {
	var parts [][]byte
	for i := range e.Config().Shards {
		parts = append(parts, e.Shard(i).AppendCheckpoint(nil))
	}
	return EncodeCheckpoint(parts)
}

// frame decodes frame number index of the log.
func (w *world) frame(index int) record.Frame {
	w.t.Helper()
	f, err := record.ReadFrame(w.frames[index-1], 1)
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

// recovered is an engine made of a checkpoint, if not nil, and the frames after index.
func (w *world) recovered(c Config, checkpoint []byte, after int) *Engine {
	w.t.Helper()
	e := New(c)
	if checkpoint != nil {
		if err := e.Restore(checkpoint); err != nil {
			w.t.Fatal(err)
		}
	}
	for i := after + 1; i <= len(w.frames); i++ {
		if err := e.ApplyReplay(w.frame(i)); err != nil {
			w.t.Fatal(err)
		}
	}
	return e
}

// sameState fails the test where two engines differ.
func sameState(t testing.TB, a, b *Engine) {
	t.Helper()
	if x, y := a.AppendState(nil), b.AppendState(nil); !bytes.Equal(x, y) {
		at := 0
		for at < min(len(x), len(y)) && x[at] == y[at] {
			at++
		}
		t.Fatalf("states of %d and %d bytes differ from byte %d on", len(x), len(y), at)
	}
}

// mustPanic runs f and expects a panic about a bug.
func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if s, ok := recover().(string); !ok || len(s) < 4 || s[:4] != "bug:" {
			t.Fatalf("%s: panic %q, want one that starts with bug:", what, s)
		}
	}()
	f()
}
