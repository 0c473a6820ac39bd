package aof

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"ayder/internal/record"
)

// sampleSegment is a sealed segment with an index on the heap, as if frames had been appended.
func sampleSegment(streams, sections int) *segment {
	s := &segment{segmentHeader: segmentHeader{size: 1 << 20, seed: 77, log: logID{9}}, first: 100}
	x := newIndex()
	rng := rand.New(rand.NewPCG(uint64(streams), uint64(sections)))
	next := map[record.Stream]uint64{}
	pos := int64(BlockBytes)
	for i := range sections {
		st := record.Stream{Topic: uint32(rng.IntN(streams)), Partition: 3}
		sec := record.Section{Type: record.SectionRecords, Stream: st, Base: next[st], Count: 1 + uint32(rng.IntN(9)), Pos: record.FrameHeaderBytes, Body: make([]byte, 40)}
		next[st] += uint64(sec.Count)
		x.make(st).add(s, &sec, pos)
		s.note(100+uint64(i), pos, pos+1000, uint64(i))
		pos += 1000
	}
	return s
}

func TestSidecarSaysWhatTheHeapSaid(t *testing.T) {
	s := sampleSegment(20, 900)
	c, err := decodeSidecar(encodeSidecar(s).data)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.belongs(s); err != nil {
		t.Fatal(err)
	}
	if c.last != s.last || c.end != s.end || c.maxTime != s.maxTime || c.minTime != s.minTime {
		t.Errorf("head %+v", c.sidecarHeader)
	}
	_, runs, err := decodeHead(c.data)
	if err != nil || len(runs) != len(s.runs) {
		t.Fatal(len(runs), err)
	}
	dst, other := make([]entry, 0, entriesPerLock), make([]entry, 0, entriesPerLock)
	for i, r := range s.sortedRuns() {
		got := runs[i]
		if got.stream != r.stream || got.first != r.first || got.next != r.next || got.messages != r.messages || got.bytes != r.bytes || int(got.count) != r.heap.n {
			t.Fatalf("run %+v, want %+v", got, r)
		}
		for offset := range r.next + 2 {
			if list, err := c.from(&got, offset, dst); err != nil || !slices.Equal(list, r.heap.from(offset, other)) {
				t.Fatalf("%v at offset %d differs", r.stream, offset)
			}
		}
	}
	for index := s.first; index <= s.last; index++ {
		if got, err := c.mark(index); err != nil || got != markBefore(s.sparse, index) {
			t.Fatalf("mark of index %d: %v, want %v", index, got, markBefore(s.sparse, index))
		}
	}
}

func TestSidecarNoticesEveryChangedByte(t *testing.T) {
	data := encodeSidecar(sampleSegment(3, 40)).data
	for i := range data {
		data[i] ^= 0x40
		if _, err := decodeSidecar(data); err == nil {
			t.Fatalf("byte %d of %d changed and nobody noticed", i, len(data))
		}
		data[i] ^= 0x40
	}
	for n := range data {
		if _, err := decodeSidecar(data[:n]); err == nil {
			t.Fatalf("%d of %d bytes were taken", n, len(data))
		}
	}
	if _, err := decodeSidecar(append(data, 0)); err == nil {
		t.Error("a byte too many was taken")
	}
}

func TestSidecarOfAnotherSegment(t *testing.T) {
	s := sampleSegment(3, 40)
	c := encodeSidecar(s)
	for name, change := range map[string]func(*segment){
		"seed":  func(s *segment) { s.seed++ },
		"first": func(s *segment) { s.first++ },
		"log":   func(s *segment) { s.log[0]++ },
		"size":  func(s *segment) { s.size = c.end - 1 },
	} {
		o := &segment{segmentHeader: s.segmentHeader, first: s.first}
		change(o)
		if c.belongs(o) == nil {
			t.Errorf("%s differs and nobody noticed", name)
		}
	}
}

func FuzzSidecar(f *testing.F) {
	f.Add(encodeSidecar(sampleSegment(3, 40)).data)
	f.Add(encodeSidecar(sampleSegment(1, 1)).data)
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeSidecar(b)
		if err != nil {
			return
		}
		_, runs, err := decodeHead(b)
		if err != nil {
			t.Fatal("the head of a good sidecar is bad:", err)
		}
		dst := make([]entry, 0, entriesPerLock)
		for i := range runs {
			c.from(&runs[i], runs[i].first, dst)
		}
		if c.marks > 0 {
			c.mark(c.first)
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	payload := []byte("the state")
	f.Add(append(encodeCheckpointHeader(5, 7, payload, logID{1}), payload...))
	f.Add(encodeCheckpointHeader(0, 0, nil, logID{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		index, payload, err := decodeCheckpoint(b)
		if err != nil {
			return
		}
		again := append(encodeCheckpointHeader(index, binary.LittleEndian.Uint64(b[56:]), payload, logID(b[40:56])), payload...)
		if string(again[16:56]) != string(b[16:56]) {
			t.Errorf("decoded and encoded again it differs: %x", b[:checkpointHeader])
		}
	})
}

// Of a segment that was cut off nobody makes a sidecar, and one that was open is closed to its readers.
func TestSidecarOfAGoneSegment(t *testing.T) {
	l := &Log{fs: OS(), dir: t.TempDir(), o: Options{}.withDefaults()}
	s := sampleSegment(3, 40)
	s.setName(segmentPath(l.dir, s.first))
	c := encodeSidecar(s)
	s.side.Store(c)
	l.bury(s)
	if _, err := c.mark(s.first); !errors.Is(err, errGone) {
		t.Error(err)
	}
	if _, err := c.from(s.sortedRuns()[0], 0, make([]entry, 0, 1)); !errors.Is(err, errGone) {
		t.Error(err)
	}
	s.side.Store(nil)
	if _, err := l.sidecar(s); !errors.Is(err, errGone) {
		t.Error(err)
	}
}
