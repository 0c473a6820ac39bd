package aof_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"ayder/aof"
	"ayder/internal/record"
)

const segmentOne = "00000000000000000001.aof"

func TestFirstFrameFollowsTheHeaderBlock(t *testing.T) {
	r := newRig(t)
	r.put(200)
	r.log.Step()
	mustEqual(t, r.positions(), []string{"1@" + segmentOne + ":4096"})
}

func TestQuietLogIsDense(t *testing.T) {
	r := newRig(t)
	for range 3 {
		r.put(200)
	}
	r.put(201) // 208 with its padding
	r.put(200)
	r.log.Step()
	mustEqual(t, r.positions(), []string{
		"1@" + segmentOne + ":4096", "2@" + segmentOne + ":4296", "3@" + segmentOne + ":4496", "4@" + segmentOne + ":4696", "5@" + segmentOne + ":4904",
	})
	mustEqual(t, r.log.Stats().PaddingBytes.Load(), 0)
}

func TestTailBlockInFlightIsLeftAlone(t *testing.T) {
	r := newRig(t)
	r.add(0, one, 200)
	r.add(0, one, 200) // the first is in flight: next block
	r.add(0, one, 200)
	r.loops[0].sub.CompleteAll()
	r.put(200) // all is quiet again
	r.log.Step()
	mustEqual(t, r.positions(), []string{
		"1@" + segmentOne + ":4096", "2@" + segmentOne + ":8192", "3@" + segmentOne + ":12288", "4@" + segmentOne + ":12488",
	})
	mustEqual(t, r.log.Stats().PaddingBytes.Load(), 2*(4096-200))
}

// Only the last commit can cover the tail block: whether older ones are done does not matter.
func TestTailBlockIsFreeWhenTheLastCommitIsDone(t *testing.T) {
	r := newRig(t)
	r.add(0, one, 200)
	r.add(0, one, 200)
	r.loops[0].sub.Complete(1)
	r.add(0, one, 200)
	r.loops[0].sub.CompleteAll()
	r.log.Step()
	mustEqual(t, r.positions(), []string{"1@" + segmentOne + ":4096", "2@" + segmentOne + ":8192", "3@" + segmentOne + ":8392"})
	r.reopen()
	mustEqual(t, r.log.LastIndex(), 3)
}

func TestFrameThatEndsAtABlockBoundary(t *testing.T) {
	r := newRig(t)
	r.put(4096)
	r.add(0, one, 4096) // nothing is shared, so in flight or not is the same
	r.add(0, one, 300)
	r.loops[0].sub.CompleteAll()
	r.log.Step()
	mustEqual(t, r.positions(), []string{"1@" + segmentOne + ":4096", "2@" + segmentOne + ":8192", "3@" + segmentOne + ":12288"})
}

// The rest of a block may be smaller than a frame's header.
func TestRestOfBlockSmallerThanAHeader(t *testing.T) {
	for _, size := range []int{4096 - 8, 4096 - 56, 4096 - 64} {
		r := newRig(t)
		r.add(0, one, size)
		r.add(0, one, 300)
		r.loops[0].sub.CompleteAll()
		r.put(300)
		r.reopen()
		mustEqual(t, r.positions(), []string{"1@" + segmentOne + ":4096", "2@" + segmentOne + ":8192", "3@" + segmentOne + ":8496"})
		mustEqual(t, r.log.LastIndex(), 3)
	}
}

func TestRollStartsTheNextSegment(t *testing.T) {
	r := newRig(t)
	for range 4 {
		r.put(7000)
	}
	r.put(7000) // 4096 + 4*7000 + 7000 is more than 32768
	r.log.Step()
	r.log.Step()
	at := r.positions()
	mustEqual(t, at[3:], []string{"4@" + segmentOne + ":25096", "5@00000000000000000005.aof:4096"})
	mustEqual(t, r.log.Stats().Rolls.Load(), 2)
	r.reopen()
	mustEqual(t, r.log.LastIndex(), 5)
}

func TestFrameThatFillsTheSegmentExactly(t *testing.T) {
	r := newRig(t)
	for range 7 {
		r.put(4096)
	}
	r.put(4096)
	r.log.Step()
	mustEqual(t, r.positions()[6:], []string{"7@" + segmentOne + ":28672", "8@00000000000000000008.aof:4096"})
	r.reopen()
	mustEqual(t, r.log.LastIndex(), 8)
	r.put(200)
	r.reopen()
	mustEqual(t, r.log.LastIndex(), 9)
}

func TestRollWithCommitsInFlight(t *testing.T) {
	r := newRig(t)
	for range 3 {
		r.put(7000)
	}
	for range 4 {
		r.add(0, one, 7000)
		r.log.Step()
	}
	for r.loops[0].sub.Held() > 0 {
		r.loops[0].sub.Complete(r.loops[0].sub.Held() - 1) // the new segment's first
	}
	mustEqual(t, r.log.Durable(), 7)
	r.reopen()
	mustEqual(t, r.log.LastIndex(), 7)
	r.read(one, 7)
}

func TestIndexAndTimeGrow(t *testing.T) {
	r := newRig(t)
	l := r.loops[0]
	for i, ms := range []uint64{100, 50, 0, 200} {
		b := record.NewBatch()
		b.TimeMs = ms
		b.AppendCommand(record.SectionTopicCreate, one, 0, []byte("x"))
		b.Done = func(*record.Batch, error) {}
		l.w.Append(b)
		l.sub.CompleteAll()
		want := max(ms, 100)
		f, err := r.log.ReadFrame(uint64(i+1), nil)
		if err != nil || f.TimeMs != want || b.TimeMs != want || b.Index != uint64(i+1) || f.Term != 1 {
			t.Fatalf("frame %+v of batch %d %d: %v", f.Header, b.Index, b.TimeMs, err)
		}
	}
	mustEqual(t, r.log.LastTimeMs(), 200)
	if err := r.log.Close(); err != nil {
		t.Fatal(err)
	}
	l2, err := aof.Open(r.o, nil)
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, l2.LastTimeMs(), 200)
	if err := l2.Close(); err != nil {
		t.Fatal(err)
	}
}

// A frame carries what was durable when it was placed: that is what recovery's witness search goes by.
func TestDurableMarkLagsByWhatIsInFlight(t *testing.T) {
	r := newRig(t)
	r.put(200)
	r.add(0, one, 200)
	r.add(0, one, 200)
	r.loops[0].sub.CompleteAll()
	r.put(200)
	for index, want := range map[uint64]uint64{1: 0, 2: 1, 3: 1, 4: 3} {
		f, err := r.log.ReadFrame(index, nil)
		if err != nil || f.Durable != want || f.Staged != want {
			t.Errorf("index %d: durable %d, staged %d, want %d: %v", index, f.Durable, f.Staged, want, err)
		}
	}
}

// Memory of an image is used again as it is: nothing of the old segment may reach the new one's file.
func TestRecycledImageLeavesNothingBehind(t *testing.T) {
	r := newRig(t, func(o *aof.Options) { o.TailBytes = 1 })
	r.fill(6, 5000)
	for range 3 {
		r.add(0, one, 200)
	}
	r.loops[0].sub.CompleteAll()
	r.log.Step()
	for _, path := range r.fs.Paths() {
		if b, _ := r.fs.Get(path); strings.HasSuffix(path, ".aof") {
			mustBeZeroBetweenFrames(t, path, b)
		}
	}
	r.reopen()
	r.read(one, r.next[one])
}

// mustBeZeroBetweenFrames checks that a segment holds its frames and nothing else.
func mustBeZeroBetweenFrames(t *testing.T, path string, b []byte) {
	t.Helper()
	seed := binary.LittleEndian.Uint64(b[24:])
	for pos := aof.BlockBytes; pos < len(b); {
		f, err := record.ReadFrame(b[pos:], seed)
		if err == nil {
			pos += record.AlignedSize(int(f.Size))
			continue
		}
		end := (pos/aof.BlockBytes + 1) * aof.BlockBytes
		if rest := bytes.TrimLeft(b[pos:end], "\x00"); len(rest) > 0 {
			t.Errorf("%s: %d bytes that are not zero behind the frame that ends at %d: %.20q", path, len(rest), pos, rest)
		}
		pos = end
	}
}
