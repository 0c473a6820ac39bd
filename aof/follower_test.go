package aof_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"ayder/aof"
	"ayder/internal/record"
	"ayder/internal/testkit"
)

// follower is a log written by a Thread, under the test's hand like a rig: no goroutine runs, a write is done when the test
// says so. The model is the list of what was appended and not cut.
type follower struct {
	t      *testing.T
	fs     *testkit.MemFS
	o      aof.Options
	log    *aof.Log
	thread *aof.Thread
	term   uint64
	first  uint64 // index of model[0]
	gone   uint64 // records in front of the model
	model  []modelEntry
}

// modelEntry is what the log should have at an index. Records are of stream one.
type modelEntry struct {
	term    uint64
	kind    record.Kind
	payload []byte
	value   []byte // of its record; nil: has none
}

func newFollower(t *testing.T, tune ...func(*aof.Options)) *follower {
	t.Helper()
	x := &follower{t: t, fs: testkit.NewMemFS(1), term: 1, first: 1}
	x.o = aof.Options{Dir: rigDir, FS: x.fs, SegmentBytes: rigSegment, FrameBytesMax: rigFrame, TailBytes: 16 * rigSegment}
	x.o.Manual()
	seeds := uint64(0)
	x.o.Seeds(func() uint64 { seeds += 7; return seeds })
	for _, fn := range tune {
		fn(&x.o)
	}
	x.mustOpen()
	t.Cleanup(func() { x.log.Abandon() })
	return x
}

func (x *follower) mustOpen() {
	x.t.Helper()
	if err := x.open(); err != nil {
		x.t.Fatal(err)
	}
}

func (x *follower) open() (err error) {
	if x.log, err = aof.Open(x.o, nil); err != nil {
		return err
	}
	x.thread = x.log.NewThread(aof.ThreadOptions{OpenMax: 1})
	x.log.Step()
	return nil
}

func (x *follower) reopen() {
	x.t.Helper()
	x.thread.Close()
	if err := x.log.Close(); err != nil {
		x.t.Fatal(err)
	}
	x.mustOpen()
	x.verify()
}

// last is the index of the last frame of the model.
func (x *follower) last() uint64 { return x.first + uint64(len(x.model)) - 1 }

// make makes a frame of size bytes with a record, or, of size 0, one of Raft's own.
func (x *follower) make(size int) *record.Batch {
	index := x.last() + 1
	e := modelEntry{term: x.term, kind: record.KindRaft, payload: fmt.Appendf(nil, "own %d of term %d", index, x.term)}
	b := record.NewBatch()
	if size > 0 {
		e.value = bytes.Repeat([]byte{'.'}, size-record.FrameHeaderBytes-record.SectionHeaderBytes-record.RecordHeaderBytes)
		copy(e.value, fmt.Sprintf("%d of term %d", index, x.term))
		b.AppendRecord(one, x.records(), &record.Record{Value: e.value})
		e.kind, e.payload = record.KindBatch, bytes.Clone(b.Bytes()[record.FrameHeaderBytes:])
	} else {
		b.Load(&record.Header{Kind: record.KindRaft}, e.payload)
	}
	b.Term = x.term
	x.model = append(x.model, e)
	return b
}

// records is the next offset of stream one.
func (x *follower) records() uint64 {
	n := x.gone
	for _, e := range x.model {
		if e.value != nil {
			n++
		}
	}
	return n
}

// drop takes what is before index off the front of the model.
func (x *follower) drop(index uint64) {
	all := x.records()
	x.model = x.model[index-x.first:]
	x.first, x.gone = index, 0
	x.gone = all - x.records()
}

// add appends frames of these sizes with one Append and leaves the write in flight.
func (x *follower) add(sizes ...int) {
	x.t.Helper()
	if !x.log.Room() {
		x.log.Step()
	}
	var bs []*record.Batch
	for _, n := range sizes {
		bs = append(bs, x.make(n))
	}
	if err := x.thread.Append(bs); err != nil {
		x.t.Fatal(err)
	}
}

// write does the thread's writes until it has none.
func (x *follower) write() {
	x.t.Helper()
	for {
		f, p, off, ok := x.thread.Current()
		if !ok {
			return
		}
		n, err := f.WriteAt(p, off)
		if err != nil || n != len(p) {
			x.t.Fatal(n, err)
		}
		x.thread.Written(nil)
	}
}

// put appends each frame with an Append and a write of its own.
func (x *follower) put(sizes ...int) {
	x.t.Helper()
	for _, n := range sizes {
		x.add(n)
		x.write()
	}
}

// fill puts frames of size bytes until the log has n segments. named: the keeper and the indexer have done their work.
func (x *follower) fill(n int64, size int, named bool) {
	x.t.Helper()
	for x.log.Stats().Segments.Load() < n {
		x.put(size)
		if named {
			x.log.Step()
		}
	}
}

// cut truncates log and model.
func (x *follower) cut(last uint64) {
	x.t.Helper()
	if err := x.log.Truncate(last); err != nil {
		x.t.Fatal(err)
	}
	x.forget(last)
}

func (x *follower) forget(last uint64) {
	x.model = x.model[:last+1-x.first]
	x.term++
}

func (x *follower) verify() {
	x.t.Helper()
	if err := x.compare(); err != nil {
		x.t.Fatal(err)
	}
}

// compare compares all that the log has with the model: by index and by offset.
func (x *follower) compare() error {
	if got := x.log.LastIndex(); got != x.last() || x.log.Durable() > got {
		return fmt.Errorf("last index %d, durable %d, want %d", got, x.log.Durable(), x.last())
	}
	for i, e := range x.model {
		h, p, err := x.log.Entry(x.first+uint64(i), nil)
		if err != nil || h.Term != e.term || h.Kind != e.kind || !bytes.Equal(p, e.payload) {
			return fmt.Errorf("entry %d: %+v %.20q %w, want term %d %.20q", x.first+uint64(i), h, p, err, e.term, e.payload)
		}
	}
	for _, index := range []uint64{x.first - 1, x.last() + 1} {
		if _, _, err := x.log.Entry(index, nil); err == nil {
			return fmt.Errorf("entry %d is there", index)
		}
	}
	return x.compareStream()
}

func (x *follower) compareStream() error {
	var want, got [][]byte
	for _, e := range x.model {
		if e.value != nil {
			want = append(want, e.value)
		}
	}
	reader := x.log.NewReader()
	defer reader.Close()
	from, _ := x.log.Earliest(one)
	_, err := reader.Read(one, from, 1<<40, true, func(sec record.Section) bool {
		it := sec.Records()
		rec, _ := it.Next()
		got = append(got, bytes.Clone(rec.Value))
		return true
	})
	if err != nil {
		return err
	}
	if !slices.EqualFunc(got, want, bytes.Equal) {
		return fmt.Errorf("%d values read, %d wanted, or they differ", len(got), len(want))
	}
	if u, _ := x.log.Stream(one); u.Messages != uint64(len(want)) || (u.Messages > 0 && (u.First != x.gone || u.Next != x.records())) {
		return fmt.Errorf("usage %+v with %d messages", u, len(want))
	}
	return nil
}

// count is how many files there are whose names end so.
func (x *follower) count(suffix string) (n int) {
	for _, p := range x.fs.Paths() {
		if strings.HasSuffix(p, suffix) {
			n++
		}
	}
	return n
}

// mustCheck runs Check on the directory, which must not be in use.
func mustCheck(t *testing.T, fsys aof.FS) *aof.Report {
	t.Helper()
	r, err := aof.Check(fsys, rigDir)
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() {
		t.Fatalf("damage: %v", r.Damage)
	}
	return r
}
