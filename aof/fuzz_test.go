package aof_test

import (
	"encoding/binary"
	"testing"

	"ayder/aof"
	"ayder/internal/record"
	"ayder/internal/testkit"
)

// FuzzRecovery opens a log whose only segment holds arbitrary bytes behind a good header. Whatever they are: no panic, either
// damage or a log that opens a second time with the same end, that Check agrees with, that can be read and appended to.
// Checksums are put right first, or the fuzzer would never get behind them.
func FuzzRecovery(f *testing.F) {
	f.Add([]byte{}, false)
	f.Add(goodBody(f, 5), true)
	f.Add(goodBody(f, 1), true)
	f.Fuzz(func(t *testing.T, body []byte, repair bool) {
		if len(body) > rigSegment-aof.BlockBytes {
			return
		}
		m := testkit.NewMemFS(1)
		file := make([]byte, rigSegment)
		putSegmentHeader(file)
		copy(file[aof.BlockBytes:], body)
		if repair {
			repairFrames(file)
		}
		m.Put(rigDir+"/"+segmentOne, file)
		exercise(t, m)
	})
}

const fuzzSeed = 7

// putSegmentHeader writes a header block as docs/FORMAT.md draws it.
func putSegmentHeader(b []byte) {
	le := binary.LittleEndian
	copy(b, "AYDERSEG")
	le.PutUint32(b[8:], 1)
	le.PutUint32(b[12:], aof.BlockBytes)
	le.PutUint64(b[16:], uint64(len(b)))
	le.PutUint64(b[24:], fuzzSeed)
	copy(b[48:64], "the log's own id")
	resealHeader(b)
}

// goodBody is what a log of n frames has behind its header block.
func goodBody(t testing.TB, n int) (body []byte) {
	for i := range n {
		b := record.NewBatch()
		b.AppendRecord(one, uint64(i), &record.Record{Value: []byte("value"), HasKey: true, Key: []byte("key")})
		b.AppendCommand(record.SectionTopicCreate, two, 1, []byte("command"))
		frame := b.Seal(record.Header{Index: uint64(i + 1), Term: 1, TimeMs: uint64(i), Durable: uint64(i)}, fuzzSeed)
		body = append(body, frame...)
		body = append(body, make([]byte, record.AlignedSize(len(frame))-len(frame))...)
	}
	if len(body) == 0 {
		t.Fatal("no frames")
	}
	return body
}

// repairFrames gives everything that looks like a frame its right checksum.
func repairFrames(file []byte) {
	for pos := aof.BlockBytes; pos+record.FrameHeaderBytes <= len(file); pos += 8 {
		h, err := record.ReadHeader(file[pos:])
		if err != nil || pos+int(h.Size) > len(file) {
			continue
		}
		record.PutHeader(file[pos:], &h, fuzzSeed)
	}
}

func exercise(t *testing.T, m *testkit.MemFS) {
	o := aof.Options{Dir: rigDir, FS: m, SegmentBytes: rigSegment, FrameBytesMax: rigFrame}
	o.Manual()
	o.Seeds(func() uint64 { return 99 })
	report, err := aof.Check(m, rigDir)
	if err != nil {
		t.Fatal(err)
	}
	l, err := aof.Open(o, func(f record.Frame) error { return f.Validate() })
	if err != nil {
		return
	}
	last := l.LastIndex()
	readEverything(t, l)
	sub := &testkit.Submitter{}
	w := l.NewWriter(sub, func() {})
	l.Step()
	if report.OK() && report.Last != last {
		t.Fatalf("check says %d, open %d", report.Last, last)
	}
	b := record.NewBatch()
	b.AppendCommand(record.SectionTopicCreate, one, 0, []byte("new"))
	b.Done = func(_ *record.Batch, err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	w.Append(b)
	sub.CompleteAll()
	l.Step()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, err = aof.Open(o, nil)
	if err != nil || l.LastIndex() != last+1 {
		t.Fatalf("opened again: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func readEverything(t *testing.T, l *aof.Log) {
	r := l.NewReader()
	defer r.Close()
	for _, s := range []record.Stream{one, two} {
		u, ok := l.Stream(s)
		if !ok {
			continue
		}
		next, err := r.Read(s, 0, u.Next, true, func(sec record.Section) bool {
			it := sec.Records()
			for _, ok := it.Next(); ok; _, ok = it.Next() {
			}
			return it.Err() == nil
		})
		if err != nil || next != u.Next {
			t.Fatalf("%v: read up to %d of %d: %v", s, next, u.Next, err)
		}
	}
	for index := l.FirstIndex(); index > 0 && index <= l.Durable(); index++ {
		if _, err := l.ReadFrame(index, nil); err != nil {
			t.Fatal(err)
		}
	}
}
