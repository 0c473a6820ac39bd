package aof_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ayder/aof"
	"ayder/internal/record"
)

// A log of four segments with five frames of 5000 bytes each, and a few in the fifth; index 1 to 22.
func damageRig(t *testing.T) *rig {
	r := newRig(t)
	r.fill(5, 5000)
	for r.log.LastIndex() < 22 {
		r.put(5000)
	}
	r.log.Step()
	return r
}

func flip(at int) func(b []byte) { return func(b []byte) { b[at] ^= 0x10 } }

// diagnosed is what a log that does not open has lost.
func (r *rig) diagnosed(everything bool) *aof.Loss {
	r.t.Helper()
	before := contents(r)
	loss, err := aof.DiagnoseLoss(r.fs, rigDir, everything)
	if err != nil {
		r.t.Fatal(err)
	}
	mustEqual(r.t, contents(r) == before, true)
	return loss
}

func TestQuarantine(t *testing.T) {
	const frame = aof.BlockBytes + 2*5000 + 3000 // in the third frame of a segment
	for _, c := range []struct {
		name   string
		mark   uint64 // checkpoint
		damage func(r *rig)
		want   aof.Loss // From, Index, Seen, Term, Blind
		last   uint64   // of the log that is left
		reason string
	}{
		{
			"a frame of a sealed segment", 22, func(r *rig) { r.edit(r.path(".aof", 2), flip(frame)) },
			aof.Loss{From: 11, Index: 22, Seen: 22, Term: 1},
			10, "checksum",
		},
		{
			"two segments", 0, func(r *rig) { r.edit(r.path(".aof", 1), flip(frame)); r.edit(r.path(".aof", 3), flip(frame)) },
			aof.Loss{From: 6, Index: 22, Seen: 22, Term: 1},
			5, "checksum",
		},
		{
			"the first frame of all", 22, func(r *rig) { r.edit(r.path(".aof", 0), flip(aof.BlockBytes+100)) },
			aof.Loss{From: 1, Index: 22, Seen: 22, Term: 1},
			0, "checksum",
		},
		{
			"the last segment, and frames behind it", 0, func(r *rig) { r.edit(r.path(".aof", 4), flip(aof.BlockBytes+100)) },
			aof.Loss{From: 21, Index: 22, Seen: 22, Term: 1},
			20, "checksum",
		},
		{
			"the last frame, which a checkpoint knows", 22, func(r *rig) { r.edit(r.path(".aof", 4), flip(aof.BlockBytes+5000+100)) },
			aof.Loss{From: 22, Index: 22, Seen: 21, Term: 1},
			21, "",
		},
		{
			"a header", 22, func(r *rig) { r.edit(r.path(".aof", 2), flip(30)) },
			aof.Loss{From: 11, Index: 22, Seen: 22, Term: 1},
			10, "header",
		},
		{
			"the first header", 22, func(r *rig) { r.edit(r.path(".aof", 0), flip(30)) },
			aof.Loss{From: 1, Index: 22, Seen: 22, Term: 1},
			0, "header",
		},
		{
			"the last header", 0, func(r *rig) { r.edit(r.path(".aof", 4), flip(30)) },
			aof.Loss{From: 21, Index: 20, Seen: 20, Term: 1, Blind: true},
			20, "header",
		},
		{
			"the last header, and a checkpoint", 22, func(r *rig) { r.edit(r.path(".aof", 4), flip(30)) },
			aof.Loss{From: 21, Index: 22, Seen: 20, Term: 1, Blind: true},
			20, "header",
		},
		{
			"a segment is gone", 0, func(r *rig) { r.fs.Delete(r.path(".aof", 2)) },
			aof.Loss{From: 11, Index: 22, Seen: 22, Term: 1},
			10, "index 16 where 11",
		},
		{
			"the newest segment is gone", 22, func(r *rig) { r.fs.Delete(r.path(".aof", 4)) },
			aof.Loss{From: 21, Index: 22, Seen: 20, Term: 1},
			20, "",
		},
		{
			"everything is gone but a checkpoint", 22, func(r *rig) {
				for _, p := range r.fs.Paths() {
					if !strings.HasSuffix(p, ".ckp") {
						r.fs.Delete(p)
					}
				}
			},
			aof.Loss{From: 1, Index: 22},
			0, "",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := damageRig(t)
			if c.mark > 0 {
				r.log.Step()
				if err := r.log.WriteCheckpoint(c.mark, []byte("state")); err != nil {
					t.Fatal(err)
				}
			}
			r.mustClose()
			c.damage(r)
			before := files(r)
			loss := r.diagnosed(false)
			if c.reason != "" && !strings.Contains(loss.Reason, c.reason) {
				t.Errorf("reason %q lacks %q", loss.Reason, c.reason)
			}
			got := *loss
			got.Files, got.Reason = nil, ""
			mustEqual(t, fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", c.want))
			if err := aof.Quarantine(r.fs, rigDir, loss); err != nil {
				t.Fatal(err)
			}
			mustEqual(t, files(r), before)
			r.mustOpen()
			mustEqual(t, r.log.LastIndex(), c.last)
			r.next[one] = c.last
			mustEqual(t, r.put(300), c.last+1)
			r.reopen()
		})
	}
}

// files are the contents of all files that hold something, with their names, wherever they are.
func files(r *rig) string {
	var all []string
	for _, p := range r.fs.Paths() {
		data, _ := r.fs.Get(p)
		name := filepath.Base(p)
		if strings.HasPrefix(name, "spare-") {
			continue
		}
		all = append(all, fmt.Sprintf("%s %x", name, data[:min(len(data), 64)]))
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// A log whose front was dropped needs a checkpoint that stays; without one all of it goes.
func TestQuarantineOfALogWithoutItsFront(t *testing.T) {
	for _, c := range []struct{ older, newer, last uint64 }{{16, 22, 0}, {12, 22, 15}} {
		r := damageRig(t)
		for _, index := range []uint64{c.older, c.newer} {
			if err := r.log.WriteCheckpoint(index, []byte("state")); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.log.DropBefore(11); err != nil {
			t.Fatal(err)
		}
		mustEqual(t, r.log.FirstIndex(), 11)
		r.mustClose()
		r.edit(r.path(".aof", 1), flip(aof.BlockBytes+100)) // 16 to 20
		loss := r.diagnosed(false)
		mustEqual(t, loss.Index, 22)
		mustEqual(t, loss.From, c.last+1)
		if err := aof.Quarantine(r.fs, rigDir, loss); err != nil {
			t.Fatal(err)
		}
		if r.o.ReplayAfter, _, _ = aof.LoadCheckpoint(r.fs, rigDir, nil); c.last > 0 {
			mustEqual(t, r.o.ReplayAfter, c.older)
		}
		r.mustOpen()
		mustEqual(t, r.log.LastIndex(), c.last)
	}
}

// What was taken out of rewritten segments is in a checkpoint: without one that covers them they are no beginning.
func TestQuarantineOfARewrittenLog(t *testing.T) {
	for _, c := range []struct{ damaged, last uint64 }{{1, 0}, {18, 0}, {26, 25}, {36, 35}} {
		r := newRig(t, func(o *aof.Options) { o.SegmentBytes, o.FrameBytesMax = 16<<10, 8<<10 })
		r.mustClose()
		for _, p := range r.fs.Paths() {
			r.fs.Delete(p)
		}
		names, err := filepath.Glob("testdata/v2/*")
		if err != nil || len(names) == 0 {
			t.Fatal(err)
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			r.fs.Put(filepath.Join(rigDir, filepath.Base(name)), data)
		}
		newest, _ := r.fs.Get(filepath.Join(rigDir, "00000000000000000036.aof"))
		r.fs.Put(filepath.Join(rigDir, "00000000000000000005.aof"), newest) // left over: the first segment stands for it
		r.edit(filepath.Join(rigDir, fmt.Sprintf("%020d.aof", c.damaged)), flip(aof.BlockBytes+200))
		before := files(r)
		loss := r.diagnosed(false)
		mustEqual(t, loss.From, c.last+1)
		if err := aof.Quarantine(r.fs, rigDir, loss); err != nil {
			t.Fatal(err)
		}
		mustEqual(t, files(r), before)
		index, _, err := aof.LoadCheckpoint(r.fs, rigDir, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.o.ReplayAfter = index
		log, err := aof.Open(r.o, nil)
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, log.LastIndex(), c.last)
		log.Abandon()
	}
}

// Everything goes where that is asked for, also from a log that is good.
func TestQuarantineOfEverything(t *testing.T) {
	r := damageRig(t)
	r.mustClose()
	if files, bytes, err := aof.Aside(r.fs, rigDir); err != nil || files != 0 || bytes != 0 {
		t.Error("in quarantine: ", files, bytes, err)
	}
	loss := r.diagnosed(true)
	mustEqual(t, loss.From, 1)
	mustEqual(t, loss.Index, 22)
	if err := aof.Quarantine(r.fs, rigDir, loss); err != nil {
		t.Fatal(err)
	}
	moved, size, err := aof.Aside(r.fs, rigDir)
	if err != nil || moved != len(loss.Files) || size < 4*r.o.SegmentBytes {
		t.Error("in quarantine: ", moved, size, err)
	}
	r.mustOpen()
	mustEqual(t, r.log.LastIndex(), 0)
	r.mustClose()
	report, err := aof.Check(r.fs, rigDir)
	var said strings.Builder
	if err != nil || report.Print(&said) != nil || !strings.Contains(said.String(), fmt.Sprintf("note: %d files of %d bytes are in quarantine", moved, size)) {
		t.Error(said.String(), err)
	}
	for n := range 2 { // names that are taken
		r.fs.Put(filepath.Join(rigDir, "00000000000000000001.aof"), []byte("x"))
		if err := aof.Quarantine(r.fs, rigDir, &aof.Loss{Files: []string{"00000000000000000001.aof"}}); err != nil {
			t.Fatal(err)
		}
		if _, ok := r.fs.Get(fmt.Sprintf("%s/quarantine/00000000000000000001.aof.%d", rigDir, n+1)); !ok {
			t.Error(r.fs.Paths())
		}
	}
}

// A log that is good loses nothing; a torn end is no loss.
func TestNothingToQuarantine(t *testing.T) {
	r := damageRig(t)
	r.add(0, one, 5000)
	r.kill()
	loss := r.diagnosed(false)
	mustEqual(t, len(loss.Files), 0)
	mustEqual(t, loss.From, 23)
	mustEqual(t, loss.Index, 22)
}

// faultyNames fails at the n-th rename.
type faultyNames struct {
	aof.FS
	left int
}

var errNames = errors.New("no more names")

func (f *faultyNames) Rename(from, to string) error {
	if f.left--; f.left < 0 {
		return errNames
	}
	return f.FS.Rename(from, to)
}

// However often it is interrupted, by a crash too: what was there is there, the log opens with what is before the damage at
// most, and no index in it is wrong.
func TestQuarantineInterrupted(t *testing.T) {
	for moves := range 12 {
		r := damageRig(t)
		if err := r.log.WriteCheckpoint(22, []byte("state")); err != nil {
			t.Fatal(err)
		}
		r.mustClose()
		r.edit(r.path(".aof", 2), flip(aof.BlockBytes+100))
		before := files(r)
		for tries := 0; ; tries++ {
			if tries == 20 {
				t.Fatal("it never ends")
			}
			loss := r.diagnosed(false)
			err := aof.Quarantine(&faultyNames{r.fs, moves + tries}, rigDir, loss)
			if err == nil {
				break
			}
			mustBe(t, err, errNames)
			r.fs.Crash()
		}
		mustEqual(t, files(r), before)
		r.mustOpen()
		mustEqual(t, r.log.LastIndex(), 10)
	}
}

func TestVerify(t *testing.T) {
	r := damageRig(t)
	var seen []uint64
	verify := func() (damage error) {
		seen = nil
		for next := uint64(1); next != 0; {
			var err error
			seen = append(seen, next)
			if next, err = r.log.Verify(next); err != nil && damage == nil {
				damage = err
			}
		}
		return damage
	}
	if err := verify(); err != nil || fmt.Sprint(seen) != "[1 6 11 16 21]" {
		t.Error(err, seen)
	}
	r.edit(r.path(".aof", 2), flip(aof.BlockBytes+6000))
	var d *aof.Damage
	if err := verify(); !errors.As(err, &d) || d.Index != 12 || d.Lost != 15 || len(seen) != 5 {
		t.Error(d, seen)
	}
	if err := r.log.Distrust(12); err != nil {
		t.Fatal(err)
	}
	if err := r.log.Distrust(12); err != nil {
		t.Error("twice:", err)
	}
	mustBe(t, r.log.Distrust(99), aof.ErrNotFound)
	if err := r.log.WriteCheckpoint(22, []byte("state")); err != nil {
		t.Fatal(err)
	}
	r.mustClose()
	r.o.ReplayAfter = 22
	mustBe(t, r.open(), aof.ErrDamaged)
}

// Who meets damage while reading says so.
func TestOnDamage(t *testing.T) {
	var noticed []error
	r := newRig(t, func(o *aof.Options) {
		o.OnDamage = func(err error) { noticed = append(noticed, err) }
		o.TailBytes = 1
	})
	r.fill(4, 5000)
	r.log.Step()
	r.edit(r.path(".aof", 0), flip(aof.BlockBytes+6000))
	if _, _, err := r.log.Entry(2, nil); !errors.Is(err, aof.ErrDamaged) || len(noticed) != 1 {
		t.Error(err, noticed)
	}
	if _, _, err := r.log.Entry(99, nil); !errors.Is(err, aof.ErrNotFound) || len(noticed) != 1 {
		t.Error(err, noticed)
	}
	reader := r.log.NewReader()
	defer reader.Close()
	_, err := reader.Read(one, 0, 5, true, func(record.Section) bool { return true })
	if !errors.Is(err, aof.ErrDamaged) || len(noticed) != 2 {
		t.Error(err, noticed)
	}
}
