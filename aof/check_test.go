package aof_test

import (
	"bytes"
	"strings"
	"testing"

	"ayder/aof"
)

func (r *rig) mustReport() *aof.Report {
	r.t.Helper()
	report, err := aof.Check(r.fs, rigDir)
	if err != nil {
		r.t.Fatal(err)
	}
	return report
}

func TestCheckOfAGoodLog(t *testing.T) {
	r := newRig(t)
	r.fill(3, 5000)
	r.put(5000)
	r.mustCheckpoint(4, "state")
	r.mustClose()
	before := contents(r)
	got := r.mustReport()
	mustEqual(t, contents(r) == before, true)
	mustEqual(t, *got, aof.Report{
		Segments: 3, Spares: 1, Frames: 12, Sections: 12, Messages: 12, Bytes: 12 * 5000, First: 1, Last: 12,
		Sidecars: 2, Checkpoints: []uint64{4},
	})
	var b bytes.Buffer
	if err := got.Print(&b); err != nil || !strings.HasSuffix(b.String(), "ok\n") {
		t.Errorf("%q %v", b.String(), err)
	}
}

func TestCheckOfAnEmptyLog(t *testing.T) {
	r := newRig(t)
	r.mustClose()
	if got := r.mustReport(); !got.OK() || got.Frames != 0 || got.Last != 0 {
		t.Errorf("%+v", got)
	}
}

func TestCheckOfNoDirectory(t *testing.T) {
	dir := t.TempDir() + "/none"
	if _, err := aof.Check(nil, dir); err == nil {
		t.Error("no error")
	}
	if _, err := aof.OS().List(dir); err == nil {
		t.Error("Check made the directory")
	}
}

func TestCheckFindsEveryDamage(t *testing.T) {
	r := newRig(t)
	r.fill(4, 5000)
	r.put(5000)
	r.put(5000)
	r.mustClose()
	r.edit(r.path(".aof", 0), func(b []byte) { b[4096+5000+10] ^= 1 })
	r.edit(r.path(".aof", 1), func(b []byte) { b[4096+99] ^= 1 })
	r.edit(r.path(".aof", 2), func(b []byte) { clear(b[4096+10000 : 4096+20000]) })
	got := r.mustReport()
	var where []uint64
	for _, d := range got.Damage {
		where = append(where, d.Index)
	}
	mustEqual(t, where, []uint64{2, 6, 13})
	mustEqual(t, []any{got.Frames, got.Last, got.Unacknowledged}, []any{18 - 4, 18, 0})
	var b bytes.Buffer
	if err := got.Print(&b); err != nil || strings.Count(b.String(), "damage:") != 3 || strings.Contains(b.String(), "ok\n") {
		t.Errorf("%q %v", b.String(), err)
	}
}

func TestCheckTellsACutTailFromDamage(t *testing.T) {
	r := newRig(t)
	r.put(200)
	for range 3 {
		r.add(0, one, 200)
	}
	r.loops[0].sub.Complete(2)
	r.loops[0].sub.Complete(1)
	r.log.Step()
	r.kill()
	got := r.mustReport()
	mustEqual(t, []any{got.OK(), got.Last, got.Unacknowledged}, []any{true, 1, 2})
	var b bytes.Buffer
	if err := got.Print(&b); err != nil || !strings.Contains(b.String(), "2 frames behind a hole") {
		t.Errorf("%q %v", b.String(), err)
	}
}

func TestCheckOfDerivedFiles(t *testing.T) {
	r := newRig(t)
	r.fill(3, 5000)
	r.mustCheckpoint(4, "state")
	r.mustCheckpoint(5, "state")
	r.mustClose()
	r.edit(r.path(".idx", 0), func(b []byte) { b[200%len(b)] ^= 1 })
	r.edit(r.path(".ckp", 0), func(b []byte) { b[66] ^= 1 })
	r.fs.Put(rigDir+"/spare-00000000000000000099.tmp", nil)
	got := r.mustReport()
	mustEqual(t, []any{got.OK(), got.Sidecars, got.Checkpoints, len(got.Warnings)}, []any{true, 1, []uint64{5}, 3})
}

// A sidecar with good checksums that does not say what the segment holds is a bug somewhere: it is reported.
func TestCheckComparesSidecarsWithTheirSegments(t *testing.T) {
	r := newRig(t)
	r.fill(2, 5000)
	r.mustClose()
	r.edit(r.path(".idx", 0), func(b []byte) {
		b[96+32]++ // the stream's bytes
		resealSidecar(b)
	})
	got := r.mustReport()
	if got.OK() || !strings.Contains(got.Damage[0].Error(), "sidecar") {
		t.Errorf("%+v", got)
	}
}

func TestDump(t *testing.T) {
	r := newRig(t)
	r.put(300)
	r.add(0, two, 200)
	r.loops[0].sub.CompleteAll()
	r.put(300)
	r.log.Step()
	dump := func(o aof.DumpOptions) string {
		var b bytes.Buffer
		if err := aof.Dump(&b, r.fs, rigDir, o); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	frames := dump(aof.DumpOptions{})
	if strings.Count(frames, "index ") != 3 || strings.Count(frames, "segment /log/"+segmentOne+" size 32768 seed 0000000000000007") != 1 {
		t.Error(frames)
	}
	some := dump(aof.DumpOptions{From: 2, To: 2, Sections: true})
	if strings.Count(some, "index ") != 1 || !strings.Contains(some, "section +64 type 1 flags 0 stream 2/7 base 0 count 1 body 104") {
		t.Error(some)
	}
	all := dump(aof.DumpOptions{Records: true, ValueMax: 8})
	if strings.Count(all, "offset ") != 3 || !strings.Contains(all, `offset 1 time 0 key "" idem "" headers 0 value 180 "{1 0} 1."`) {
		t.Error(all)
	}
}

func TestDumpGoesOnBehindDamage(t *testing.T) {
	r := newRig(t)
	for range 3 {
		r.put(3000)
	}
	r.log.Step()
	r.edit(r.path(".aof", 0), func(b []byte) { b[4096+3000+10] ^= 1 })
	var b bytes.Buffer
	if err := aof.Dump(&b, r.fs, rigDir, aof.DumpOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"index 1 ", "byte 7096: bad frame", "index 3 "} {
		if !strings.Contains(b.String(), part) {
			t.Errorf("%q lacks %q", b.String(), part)
		}
	}
}
