package aof_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"ayder/aof"
	"ayder/internal/record"
)

// The files in testdata/v1 were written once, by the first version of the format, and are never written again: every later
// version must open them and find what goldenBatch says. A new format version gets a directory of its own:
//
//	go test ./aof -run TestGolden -golden v2
//
// refuses to touch a directory that exists. testdata/v2 is the same log after what is in front of its checkpoints was rewritten without
// what goldenLive calls dead.

var golden = flag.String("golden", "", "write golden files of this version, once")

const (
	goldenBatches = 40
	goldenMarked  = 25 // a checkpoint was made here
)

// goldenBatch is the n-th batch of the golden log, from 1.
func goldenBatch(n uint64) *record.Batch {
	b := record.NewBatch()
	b.TimeMs = 1_700_000_000_000 + n*10
	if n%10 == 1 {
		b.AppendCommand(record.SectionTopicCreate, record.Stream{Topic: uint32(n)}, n, fmt.Appendf(nil, "topic %d", n))
	}
	for i := range n % 4 {
		b.AppendRecord(one, goldenOffset(n)+i, &record.Record{
			TimeMs: n, HasKey: i == 1, Key: []byte("key")[:3*(i%2)], HasIdem: i == 2, Idem: []byte("once")[:4*(i/2)],
			Headers: record.AppendHeader(nil, []byte("name"), []byte{byte(n)}), Value: bytes.Repeat([]byte{byte(n)}, int(n*37%1500)),
		})
	}
	b.AppendRecord(two, n, &record.Record{Value: fmt.Appendf(nil, "message %d", n)})
	return b
}

// goldenOffset is the first offset of stream one in batch n.
func goldenOffset(n uint64) (offset uint64) {
	for i := uint64(1); i < n; i++ {
		offset += i % 4
	}
	return offset
}

func goldenState() []byte { return bytes.Repeat([]byte("golden state "), 20) }

func TestGoldenFilesOpen(t *testing.T) {
	if *golden != "" {
		writeGolden(t, filepath.Join("testdata", *golden))
	}
	dirs, err := filepath.Glob("testdata/v*")
	if err != nil || len(dirs) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, from := range dirs {
		t.Run(filepath.Base(from), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "log")
			if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
				t.Fatal(err)
			}
			if from == "testdata/v1" {
				checkGolden(t, dir)
				readGolden(t, dir, 0)
				readGolden(t, dir, goldenMarked)
				return
			}
			readRewrittenGolden(t, dir)
		})
	}
}

func checkGolden(t *testing.T, dir string) {
	t.Helper()
	report, err := aof.Check(nil, dir)
	if err != nil || !report.OK() || report.First != 1 || report.Last != goldenBatches || report.Sidecars != report.Segments-1 || report.Spares != 2 {
		t.Fatalf("%+v %v", report, err)
	}
	mustEqual(t, report.Checkpoints, []uint64{goldenMarked})
	index, payload, err := aof.LoadCheckpoint(nil, dir, nil)
	if err != nil || index != goldenMarked || !bytes.Equal(payload, goldenState()) {
		t.Fatalf("checkpoint %d %q %v", index, payload, err)
	}
}

// readGolden opens the log and compares frames, and then sections by offset, with what was written.
func readGolden(t *testing.T, dir string, after uint64) {
	t.Helper()
	expect := after + 1
	l, err := aof.Open(aof.Options{Dir: dir, ReplayAfter: after, SegmentBytes: aof.SegmentBytesMin}, func(f record.Frame) error {
		if f.Index != expect {
			return fmt.Errorf("index %d, want %d", f.Index, expect)
		}
		expect++
		return sameFrame(f, goldenBatch(f.Index))
	})
	if err != nil {
		t.Fatal(err)
	}
	defer mustCloseLog(t, l)
	mustEqual(t, expect, goldenBatches+1)
	for n := uint64(1); n <= goldenBatches; n++ {
		f, err := l.ReadFrame(n, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := sameFrame(f, goldenBatch(n)); err != nil {
			t.Fatal(err)
		}
	}
	r := l.NewReader()
	defer r.Close()
	at := uint64(1)
	next, err := r.Read(two, 0, 1000, true, func(sec record.Section) bool {
		it := sec.Records()
		rec, _ := it.Next()
		mustEqual(t, []any{sec.Base, string(rec.Value)}, []any{at, fmt.Sprintf("message %d", at)})
		at++
		return true
	})
	mustEqual(t, []any{next, at, err}, []any{goldenBatches + 1, goldenBatches + 1, nil})
}

// goldenLive is what of the golden log in front of its checkpoints is alive.
func goldenLive(s record.Stream, offset uint64) bool {
	if s == one {
		return offset%3 == 1
	}
	return offset%5 < 2
}

type goldenLiveness struct{}

func (goldenLiveness) Count(s record.Stream, first, next uint64) (n uint64) {
	for _, r := range (goldenLiveness{}).Alive(nil, s, first, next) {
		n += r.Next - r.First
	}
	return n
}

func (goldenLiveness) Alive(dst []aof.Range, s record.Stream, first, next uint64) []aof.Range {
	for at := first; at < next; at++ {
		if goldenLive(s, at) {
			dst = append(dst, aof.Range{First: at, Next: at + 1})
		}
	}
	return dst
}

// rewriteGolden gives back what is dead of the log in dir.
func rewriteGolden(t *testing.T, dir string) {
	t.Helper()
	l := mustOpen(t, aof.Options{Dir: dir, SegmentBytes: aof.SegmentBytesMin, ReplayAfter: goldenMarked})
	if err := l.WriteCheckpoint(goldenMarked+1, goldenState()); err != nil {
		t.Fatal(err)
	}
	done, err := l.Reclaim(goldenLiveness{}, aof.ReclaimOptions{})
	if err != nil || done.Rewritten < 1 {
		t.Fatal(done, err)
	}
	mustCloseLog(t, l)
}

// readRewrittenGolden checks that everything is there that is alive, and every frame from the last rewritten segment on.
func readRewrittenGolden(t *testing.T, dir string) {
	t.Helper()
	report, err := aof.Check(nil, dir)
	if err != nil || !report.OK() || report.First != 1 || report.Last != goldenBatches || report.Sidecars != report.Segments-1 {
		t.Fatalf("%+v %v", report, err)
	}
	mustEqual(t, report.Checkpoints, []uint64{goldenMarked, goldenMarked + 1})
	l, err := aof.Open(aof.Options{Dir: dir, ReplayAfter: goldenMarked, SegmentBytes: aof.SegmentBytesMin}, func(f record.Frame) error {
		return sameFrame(f, goldenBatch(f.Index))
	})
	if err != nil {
		t.Fatal(err)
	}
	defer mustCloseLog(t, l)
	first := l.FirstIndex()
	if first < 15 || first > goldenMarked {
		t.Fatalf("first index %d", first)
	}
	r := l.NewReader()
	defer r.Close()
	got := map[record.Stream]map[uint64]record.Record{}
	for _, s := range []record.Stream{one, two} {
		got[s] = map[uint64]record.Record{}
		if _, err := r.Read(s, 0, 1000, true, func(sec record.Section) bool {
			it := sec.Records()
			for n := sec.Base; n < sec.Base+uint64(sec.Count); n++ {
				rec, _ := it.Next()
				rec.Value, rec.Key, rec.Idem, rec.Headers = bytes.Clone(rec.Value), bytes.Clone(rec.Key), bytes.Clone(rec.Idem), bytes.Clone(rec.Headers)
				got[s][n] = rec
			}
			return true
		}); err != nil {
			t.Fatal(err)
		}
	}
	for n := uint64(1); n <= goldenBatches; n++ {
		b := goldenBatch(n)
		b.Seal(record.Header{Index: n, Term: 1}, 0)
		f := b.Frame()
		it := f.Iter()
		for sec, ok := it.Next(); ok; sec, ok = it.Next() {
			if sec.Type == record.SectionRecords {
				compareGolden(t, &sec, got[sec.Stream], n >= first)
			}
		}
	}
	if len(got[one]) > 50 || len(got[two]) > 35 {
		t.Errorf("%d and %d messages: nothing was dead", len(got[one]), len(got[two]))
	}
}

// compareGolden compares a section with what was read. all: also of what is dead nothing is missing.
func compareGolden(t *testing.T, sec *record.Section, got map[uint64]record.Record, all bool) {
	t.Helper()
	records := sec.Records()
	for at := sec.Base; at < sec.Base+uint64(sec.Count); at++ {
		want, _ := records.Next()
		rec, there := got[at]
		if there != (all || goldenLive(sec.Stream, at)) || (there && fmt.Sprint(rec) != fmt.Sprint(want)) {
			t.Errorf("offset %d of %v: there %v, %v, want %v", at, sec.Stream, there, rec, want)
		}
	}
}

func sameFrame(f record.Frame, want *record.Batch) error {
	h := record.Header{Index: f.Index, Term: 1, TimeMs: want.TimeMs}
	want.Seal(h, 0)
	if f.Term != 1 || f.Kind != record.KindBatch || f.TimeMs != h.TimeMs || !bytes.Equal(f.Payload, want.Frame().Payload) {
		return fmt.Errorf("index %d is not what was written: %+v", f.Index, f.Header)
	}
	return nil
}

func writeGolden(t *testing.T, dir string) {
	t.Helper()
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%s exists: golden files are never written again", dir)
	}
	l := mustOpen(t, aof.Options{Dir: dir, SegmentBytes: aof.SegmentBytesMin, FrameBytesMax: 8 << 10})
	loop := newPoolLoop(t, l)
	for n := uint64(1); n <= goldenBatches; n++ {
		written := make(chan error, 1)
		try := func() {
			if l.Durable() >= n || loop.w.InFlight() > 0 || loop.w.Admit() != nil {
				return // woken is called when it is worth trying again
			}
			b := goldenBatch(n)
			b.Done = func(_ *record.Batch, err error) { written <- err }
			loop.w.Append(b)
		}
		loop.post(func() {
			loop.pumps = []func(){try}
			try()
		})
		if err := <-written; err != nil {
			t.Fatal(err)
		}
		if n == goldenMarked {
			if err := l.WriteCheckpoint(n, goldenState()); err != nil {
				t.Fatal(err)
			}
		}
	}
	loop.stop()
	mustCloseLog(t, l)
	if filepath.Base(dir) == "v2" {
		rewriteGolden(t, dir)
	}
	if err := os.Remove(filepath.Join(dir, "LOCK")); err != nil {
		t.Fatal(err)
	}
}
