package aof_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"ayder/aof"
	"ayder/internal/record"
)

// Each case of recovery under its own name. Sizes are such that a segment takes five frames of 5000 bytes.

// mustFail opens the log and expects damage at an index, whose description has all the given parts.
func (r *rig) mustFail(index uint64, parts ...string) {
	r.t.Helper()
	before := r.fs.Paths()
	err := r.open()
	if err == nil {
		r.t.Fatalf("opened with last index %d", r.log.LastIndex())
	}
	mustBe(r.t, err, aof.ErrDamaged)
	var d *aof.Damage
	if errors.As(err, &d) && d.Index != index {
		r.t.Errorf("damage at index %d, want %d: %v", d.Index, index, err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			r.t.Errorf("%q lacks %q", err, part)
		}
	}
	mustEqual(r.t, r.fs.Paths(), before) // nothing was changed
	report, err := aof.Check(r.fs, rigDir)
	if err != nil || report.OK() {
		r.t.Errorf("check finds nothing: %+v %v", report, err)
	}
}

func (r *rig) mustClose() {
	r.t.Helper()
	if err := r.log.Close(); err != nil {
		r.t.Fatal(err)
	}
}

func TestOpenEmptyDirectory(t *testing.T) {
	r := newRig(t)
	mustEqual(t, []uint64{r.log.FirstIndex(), r.log.LastIndex(), r.log.Durable()}, []uint64{0, 0, 0})
	r.reopen()
	mustEqual(t, r.put(200), 1)
}

func TestOpenTwiceWithoutWritingChangesNothing(t *testing.T) {
	r := newRig(t)
	r.fill(3, 5000)
	r.reopen()
	before := contents(r)
	r.reopen()
	mustEqual(t, contents(r) == before, true)
}

func contents(r *rig) string {
	var b strings.Builder
	for _, p := range r.fs.Paths() {
		data, _ := r.fs.Get(p)
		b.WriteString(p)
		b.Write(data)
	}
	return b.String()
}

func TestSecondOpenerIsRefused(t *testing.T) {
	r := newRig(t)
	_, err := aof.Open(r.o, nil)
	mustBe(t, err, aof.ErrLocked)
	_, err = aof.Check(r.fs, rigDir)
	mustBe(t, err, aof.ErrLocked)
	r.put(200)
}

func TestTornTailIsCut(t *testing.T) {
	r := newRig(t)
	r.put(5000)
	r.put(5000)
	r.log.Step()
	r.mustClose()
	r.edit(r.path(".aof", 0), func(b []byte) { clear(b[4096+5000+2048 : 4096+10000]) })
	r.mustOpen()
	mustEqual(t, r.log.LastIndex(), 1)
	mustEqual(t, r.put(300), 2)
	r.reopen()
	mustEqual(t, r.log.LastIndex(), 2)
}

func TestHoleAmongCommitsInFlightIsCut(t *testing.T) {
	r := newRig(t)
	r.put(200)
	for range 3 {
		r.add(0, one, 200)
	}
	r.loops[0].sub.Complete(2) // 4
	r.loops[0].sub.Complete(1) // 3; 2 is lost
	r.log.Step()
	r.kill()
	r.mustOpen()
	mustEqual(t, r.log.LastIndex(), 1)
	r.next[one] = 1
	mustEqual(t, r.put(300), 2) // in the first block, before the stale frames 3 and 4
	r.reopen()
	mustEqual(t, r.log.LastIndex(), 2)
}

// The new segment's first frame was lost, a later one was not: neither was acknowledged.
func TestHoleAtTheStartOfASegmentIsCut(t *testing.T) {
	r := newRig(t)
	for range 5 {
		r.put(5000)
	}
	r.add(0, one, 5000) // 6, rolls
	r.add(0, one, 300)
	r.loops[0].sub.Complete(1)
	r.log.Step()
	r.kill()
	r.mustOpen()
	mustEqual(t, r.log.LastIndex(), 5)
	r.next[one] = 5
	for range 8 {
		r.put(5000)
	}
	r.reopen()
	mustEqual(t, r.log.LastIndex(), 13)
}

// A segment that was taken into use, and renamed, but holds nothing yet.
func TestSegmentNamedEarlyIsASpareAgain(t *testing.T) {
	r := newRig(t)
	for range 5 {
		r.put(5000)
	}
	r.add(0, one, 5000)
	r.log.Step()
	r.path("06.aof", 0)
	r.loops[0].sub.Drop()
	r.log.Abandon()
	r.mustOpen()
	mustEqual(t, r.log.LastIndex(), 5)
	for _, p := range r.fs.Paths() {
		if strings.HasSuffix(p, "06.aof") {
			t.Errorf("%s is still there", p)
		}
	}
	r.path(".ready", 0)
}

// The crash came between the first commit into a spare and its renaming.
func TestSpareInUseIsNamedAtOpen(t *testing.T) {
	r := newRig(t)
	for range 5 {
		r.put(5000)
	}
	r.add(0, one, 5000)
	r.loops[0].sub.CompleteAll()
	r.crash()
	r.mustOpen()
	mustEqual(t, r.log.LastIndex(), 6)
	r.path("06.aof", 0)
}

func TestHalfCreatedSpareIsRemoved(t *testing.T) {
	r := newRig(t)
	r.put(200)
	r.log.Step()
	r.mustClose()
	r.fs.Put(rigDir+"/spare-00000000000000000099.tmp", []byte("half"))
	r.fs.Put(rigDir+"/checkpoint-00000000000000000099.ckp.tmp", []byte("half"))
	r.fs.Put(rigDir+"/00000000000000000099.idx.tmp", []byte("half"))
	r.fs.Put(rigDir+"/notes.tmp", []byte("not ours"))
	r.mustOpen()
	n := 0
	for _, p := range r.fs.Paths() {
		if strings.HasSuffix(p, ".tmp") {
			n++
		}
	}
	mustEqual(t, n, 1)
}

// Bytes of a frame that was never acknowledged must not survive as a frame once its index is given out again.
func TestStaleBytesAreZeroedBeforeTheFirstAppend(t *testing.T) {
	r := newRig(t)
	r.put(200)
	r.add(0, one, 200)
	r.add(0, one, 200) // 3, at block 3
	r.loops[0].sub.Complete(1)
	r.log.Step()
	r.kill()
	r.mustOpen()
	b, _ := r.fs.Get(r.path(".aof", 0))
	for i, c := range b[4096+200:] {
		if c != 0 {
			t.Fatalf("byte %d is not zero", i+4096+200)
		}
	}
}

func TestDamagedMiddleIsReported(t *testing.T) {
	r := newRig(t)
	r.fill(2, 5000)
	for range 3 {
		r.put(5000)
	}
	r.mustClose()
	path := r.path(".aof", 0)
	r.edit(path, func(b []byte) { b[4096+5000+700] ^= 1 })
	r.fs.Delete(r.path(".idx", 0))
	r.mustFail(2, path, "byte 9096", "checksum", "`ayder check`")
}

func TestDamagedMiddleOfTheActiveSegmentIsReported(t *testing.T) {
	r := newRig(t)
	for range 4 {
		r.put(3000)
	}
	r.log.Step()
	r.mustClose()
	path := r.path(".aof", 0)
	r.edit(path, func(b []byte) { clear(b[4096+3000 : 4096+6000]) }) // zeros are damage, too
	r.mustFail(2, path, "byte 7096", "acknowledged")
}

// The damaged frame's own header decides nothing: only later frames do.
func TestDamagedLastFrameLooksLikeATornOne(t *testing.T) {
	r := newRig(t)
	r.put(3000)
	r.put(3000)
	r.log.Step()
	r.mustClose()
	r.edit(r.path(".aof", 0), func(b []byte) { b[4096+3000+100] ^= 1 })
	r.mustOpen()
	mustEqual(t, r.log.LastIndex(), 1)
}

func TestDamagedFirstFrameOfASegmentIsReported(t *testing.T) {
	r := newRig(t)
	r.fill(2, 5000)
	first := r.log.LastIndex()
	r.put(5000)
	r.put(5000)
	r.mustClose()
	path := r.path(".aof", 1)
	r.edit(path, func(b []byte) { b[4096+100] ^= 1 })
	r.mustFail(first, path, "byte 4096")
}

func TestMissingSegmentIsReported(t *testing.T) {
	r := newRig(t)
	r.fill(4, 5000)
	r.put(5000)
	r.mustClose()
	r.fs.Delete(r.path(".aof", 1))
	r.mustFail(6)
}

func TestMissingFirstSegmentIsReported(t *testing.T) {
	r := newRig(t)
	r.fill(3, 5000)
	r.put(5000)
	r.mustClose()
	r.fs.Delete(r.path(".aof", 0))
	r.mustFail(1, "starts with index 6")
}

// With a checkpoint behind it, an older segment may be gone: retention drops them.
func TestLogMayStartAtTheCheckpoint(t *testing.T) {
	r := newRig(t)
	r.fill(3, 5000)
	end := r.log.LastIndex()
	if err := r.log.WriteCheckpoint(end, []byte("state")); err != nil {
		t.Fatal(err)
	}
	r.mustClose()
	r.fs.Delete(r.path(".aof", 0))
	r.fs.Delete(r.path(".idx", 0))
	r.o.ReplayAfter = end
	r.mustOpen()
	mustEqual(t, []uint64{r.log.FirstIndex(), r.log.LastIndex()}, []uint64{6, end})
	u, _ := r.log.Stream(one)
	mustEqual(t, []uint64{u.First, u.Next}, []uint64{5, end})
}

func TestLogShorterThanTheCheckpointIsReported(t *testing.T) {
	r := newRig(t)
	r.put(3000)
	r.put(3000)
	if err := r.log.WriteCheckpoint(2, []byte("state")); err != nil {
		t.Fatal(err)
	}
	r.log.Step()
	r.mustClose()
	r.edit(r.path(".aof", 0), func(b []byte) { b[4096+3000+100] ^= 1 })
	r.o.ReplayAfter = 2
	r.mustFail(2, "checkpoint", "up to 2")
}

func TestLogWipedUnderTheCheckpointIsReported(t *testing.T) {
	r := newRig(t)
	r.put(3000)
	if err := r.log.WriteCheckpoint(1, []byte("state")); err != nil {
		t.Fatal(err)
	}
	r.mustClose()
	for _, p := range r.fs.Paths() {
		if strings.HasSuffix(p, ".aof") || strings.HasSuffix(p, ".ready") {
			r.fs.Delete(p)
		}
	}
	r.o.ReplayAfter = 1
	r.mustFail(0+2, "checkpoint")
}

func TestSidecarProvesThatTheTailWasDurable(t *testing.T) {
	r := newRig(t)
	r.fill(2, 5000)
	r.mustClose()
	r.fs.Delete(r.path(".aof", 1)) // what would be left is the last segment, and its last frame is damaged
	path := r.path(".aof", 0)
	r.edit(path, func(b []byte) { b[4096+4*5000+100] ^= 1 })
	r.mustFail(5, path, "up to 5")
}

func TestMissingSidecarIsMadeAgain(t *testing.T) {
	r := newRig(t)
	r.fill(3, 5000)
	r.mustClose()
	path := r.path(".idx", 0)
	want, _ := r.fs.Get(path)
	r.fs.Delete(path)
	r.mustOpen()
	got, _ := r.fs.Get(path)
	mustEqual(t, string(got) == string(want), true)
	r.read(one, r.next[one])
}

func TestDamagedSidecarIsMadeAgain(t *testing.T) {
	r := newRig(t)
	r.fill(3, 5000)
	end := r.log.LastIndex()
	if err := r.log.WriteCheckpoint(end, nil); err != nil {
		t.Fatal(err)
	}
	r.mustClose()
	r.o.ReplayAfter = end
	path := r.path(".idx", 0)
	want, _ := r.fs.Get(path)
	for _, at := range []int{0, 8, 14, 20, 60, 100, len(want) - 1} {
		r.edit(path, func(b []byte) { b[at] ^= 1 })
		r.mustOpen()
		r.read(one, r.next[one])
		got, _ := r.fs.Get(path)
		if string(got) != string(want) {
			t.Errorf("byte %d: not the same as before", at)
		}
		r.mustClose()
	}
	r.fs.Put(path, want[:50])
	r.mustOpen()
	r.read(one, r.next[one])
}

// A sidecar that another segment left behind under the same name is not believed.
func TestForeignSidecarIsMadeAgain(t *testing.T) {
	r := newRig(t)
	r.fill(3, 5000)
	r.mustClose()
	stranger, _ := r.fs.Get(r.path(".idx", 1))
	r.fs.Put(r.path(".idx", 0), stranger)
	r.mustOpen()
	r.read(one, r.next[one])
}

func TestSegmentsBelowTheCheckpointAreNotScanned(t *testing.T) {
	r := newRig(t)
	r.fill(5, 5000)
	end := r.log.LastIndex()
	if err := r.log.WriteCheckpoint(end-1, nil); err != nil {
		t.Fatal(err)
	}
	r.mustClose()
	r.edit(r.path(".aof", 1), func(b []byte) { b[4096+100] ^= 1 }) // nobody looks
	r.o.ReplayAfter = end - 1
	r.mustOpen()
	mustEqual(t, r.log.LastIndex(), end)
	_, err := r.log.ReadFrame(6, nil)
	mustBe(t, err, aof.ErrDamaged)
	report, err := r.log.ReadFrame(7, nil)
	if err != nil || report.Index != 7 {
		t.Error(err)
	}
}

func TestNewerVersionIsRefused(t *testing.T) {
	r := newRig(t)
	r.put(200)
	r.log.Step()
	r.mustClose()
	r.edit(r.path(".aof", 0), func(b []byte) {
		b[8] = 9
		resealHeader(b)
	})
	err := r.open()
	mustBe(t, err, aof.ErrVersion)
	if !strings.Contains(err.Error(), segmentOne) {
		t.Errorf("%q names no file", err)
	}
}

func TestDamagedSegmentHeaderIsReported(t *testing.T) {
	r := newRig(t)
	r.put(200)
	r.put(200)
	r.log.Step()
	r.mustClose()
	path := r.path(".aof", 0)
	r.edit(path, func(b []byte) { b[100] ^= 1 })
	r.mustFail(0, path, "segment header")
}

func TestTruncatedSegmentIsReported(t *testing.T) {
	r := newRig(t)
	r.put(200)
	r.log.Step()
	r.mustClose()
	path := r.path(".aof", 0)
	b, _ := r.fs.Get(path)
	r.fs.Put(path, b[:rigSegment-512])
	r.mustFail(0, path, "32256")
}

func TestForeignSegmentIsRefused(t *testing.T) {
	r, other := newRig(t), newRig(t)
	r.fill(3, 5000)
	other.fill(3, 5000)
	r.mustClose()
	b, _ := other.fs.Get(other.path(".aof", 1))
	r.fs.Put(r.path(".aof", 1), b)
	mustBe(t, r.open(), aof.ErrForeign)
}

func TestApplyErrorEndsOpen(t *testing.T) {
	r := newRig(t)
	r.put(200)
	r.put(200)
	r.log.Step()
	r.mustClose()
	stop := errors.New("engine says no")
	_, err := aof.Open(r.o, func(record.Frame) error { return stop })
	mustBe(t, err, stop)
	if !strings.Contains(err.Error(), "index 1") {
		t.Errorf("%q names no index", err)
	}
	r.mustOpen() // the lock was given back
}

func TestSegmentSizeMayChange(t *testing.T) {
	r := newRig(t)
	r.fill(3, 5000)
	r.mustClose()
	r.o.SegmentBytes *= 2
	r.mustOpen()
	for range 20 {
		r.put(5000)
		r.log.Step()
	}
	r.mustClose()
	r.o.SegmentBytes /= 4
	r.mustOpen()
	for range 20 {
		r.put(5000)
		r.log.Step()
	}
	r.reopen()
	r.read(one, r.next[one])
}

// With its sidecar a segment may lose its image; readers then open it by name, so it must have its own.
func TestNoSidecarBeforeTheName(t *testing.T) {
	r := newRig(t)
	for range 3 {
		r.addLoop() // more writers, more spares
	}
	r.log.Step()
	r.unasked = true
	for r.log.Stats().Rolls.Load() < 3 {
		r.put(5000)
	}
	r.log.StepIndexer()
	for _, p := range r.fs.Paths() {
		if strings.HasSuffix(p, ".idx") {
			t.Errorf("%s belongs to a segment without a name", p)
		}
	}
	r.log.Step()
	r.path("01.idx", 0)
	r.path("06.idx", 0)
}

// All that is left of the proof is a sidecar behind the end: the frames there were placed before index 3 was durable, and what
// came later is gone.
func TestSidecarBehindTheEndProvesDamage(t *testing.T) {
	r := newRig(t)
	r.put(5000)
	r.put(5000)
	for range 4 { // 3 to 6: the last two roll
		r.add(0, one, 5000)
	}
	r.loops[0].sub.CompleteAll()
	for r.log.Stats().Rolls.Load() < 3 {
		r.put(5000)
		r.log.Step()
	}
	r.log.Step()
	r.mustClose()
	segment := r.path(".aof", 0)
	first := r.positions()
	var at int
	if _, err := fmt.Sscanf(first[2], "3@"+segmentOne+":%d", &at); err != nil {
		t.Fatal(first, err)
	}
	r.edit(segment, func(b []byte) { clear(b[at:]) })
	r.fs.Delete(r.path(".idx", 0))
	r.fs.Delete(r.path(".aof", 2))
	r.mustFail(3, segment, "has a sidecar")
}

// A torn frame that a client filled with headers, each claiming all that follows, must not make recovery compute for minutes.
func TestTornFrameFullOfHeaders(t *testing.T) {
	r := newRig(t, func(o *aof.Options) {
		o.SegmentBytes = 16 << 20
		o.FrameBytesMax = 15 << 20
	})
	r.put(200)
	r.log.Step()
	r.mustClose()
	r.edit(r.path(".aof", 0), func(b []byte) {
		h := record.Header{Index: 9, Term: 1, Durable: 2, Kind: record.KindBatch}
		for at := 8192; at+64 <= len(b); at += 64 {
			h.Size = record.FrameHeaderBytes
			record.PutHeader(b[at:], &h, 12345)
			binary.LittleEndian.PutUint32(b[at+8:], uint32(len(b)-at))
		}
	})
	r.mustOpen()
	mustEqual(t, r.log.LastIndex(), 1)
}

func TestSidecarOfACutSegmentNeverExists(t *testing.T) {
	r := newRig(t)
	for range 5 {
		r.put(5000)
	}
	for range 2 {
		r.add(0, one, 5000)
		r.log.Step()
	}
	for _, p := range r.fs.Paths() {
		if strings.HasSuffix(p, ".idx") && !strings.HasSuffix(p, "01.idx") {
			t.Errorf("%s exists before its segment is durable", p)
		}
	}
}

// resealHeader puts the right checksum into a changed header block.
func resealHeader(b []byte) {
	binary.LittleEndian.PutUint32(b[4092:], castagnoli(b[:4092]))
}
