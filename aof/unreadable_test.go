package aof_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ayder/aof"
)

// deadBlocks is an FS whose disk does not give some bytes of some files back, by base name.
type deadBlocks struct {
	aof.FS
	dead map[string][2]int64 // from, to
}

type deadFile struct {
	aof.File
	path string
	dead [2]int64
}

func (d *deadBlocks) Open(path string, mode aof.Mode) (aof.File, error) {
	f, err := d.FS.Open(path, mode)
	dead, ok := d.dead[filepath.Base(path)]
	if err != nil || !ok || mode != aof.ReadOnly {
		return f, err
	}
	return &deadFile{f, path, dead}, nil
}

func (f *deadFile) ReadAt(p []byte, off int64) (int, error) {
	if off < f.dead[1] && off+int64(len(p)) > f.dead[0] {
		return 0, &aof.Damage{File: f.path, Pos: off, Reason: "it cannot be read: input/output error"}
	}
	return f.File.ReadAt(p, off)
}

// A block that the disk does not give back is damage: Open says so, it can be put aside, Check reports it, and the rest of the file is
// read for what the log had.
func TestUnreadableBlocks(t *testing.T) {
	const block = aof.BlockBytes
	for _, c := range []struct {
		name     string
		segment  int
		from, to int64
		want     aof.Loss // From, Index, Seen, Term, Blind
		last     uint64
	}{
		{"in the middle of a sealed segment", 2, 3 * block, 4 * block, aof.Loss{From: 11, Index: 22, Seen: 22, Term: 1}, 10},
		{"the header of a sealed segment", 1, 0, block, aof.Loss{From: 6, Index: 22, Seen: 22, Term: 1}, 5},
		{"a whole sealed segment behind its header", 3, block, 1 << 30, aof.Loss{From: 16, Index: 22, Seen: 22, Term: 1}, 15},
		{"the end of the last segment", 4, block + 2*5000, 1 << 30, aof.Loss{From: 21, Index: 21, Seen: 21, Term: 1, Blind: true}, 20},
		{"the last segment behind its header", 4, block, 1 << 30, aof.Loss{From: 21, Index: 20, Seen: 20, Term: 1, Blind: true}, 20},
		{"the header of the last segment", 4, 0, block, aof.Loss{From: 21, Index: 20, Seen: 20, Term: 1, Blind: true}, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := damageRig(t)
			r.mustClose()
			name := filepath.Base(r.path(".aof", c.segment))
			disk := &deadBlocks{r.fs, map[string][2]int64{name: {c.from, c.to}}}
			o := r.o
			o.FS = disk
			if _, err := aof.Open(o, nil); !errors.Is(err, aof.ErrDamaged) {
				t.Fatal("the log opens: ", err)
			}
			report, err := aof.Check(disk, rigDir)
			var said strings.Builder
			if err != nil || report.OK() || report.Print(&said) != nil || !strings.Contains(said.String(), name) {
				t.Error("check: ", err, said.String())
			}
			loss, err := aof.DiagnoseLoss(disk, rigDir, false)
			if err != nil {
				t.Fatal(err)
			}
			got := *loss
			got.Files, got.Reason = nil, ""
			mustEqual(t, got, c.want)
			if err := aof.Quarantine(disk, rigDir, loss); err != nil {
				t.Fatal(err)
			}
			disk.dead = nil // the file is elsewhere now
			r.mustOpen()
			mustEqual(t, r.log.LastIndex(), c.last)
		})
	}
}

// What cannot be read is taken from a copy, wherever in a file it is.
func TestUnreadableBlocksAreMended(t *testing.T) {
	const block = aof.BlockBytes
	for _, c := range []struct {
		segment  int
		from, to int64
	}{{2, 3 * block, 4 * block}, {1, 0, block}, {3, block, 1 << 30}, {4, block + 2*5000, 1 << 30}, {4, block, 1 << 30}, {4, 0, block}, {0, 0, 1 << 30}} {
		r := damageRig(t)
		want := strings.Join(r.positions(), "\n")
		listed, err := r.log.Contents(nil)
		if err != nil {
			t.Fatal(err)
		}
		r.mustClose()
		var donors []aof.Donor
		for _, p := range listed.Pieces {
			d := aof.Donor{Path: "/copies/" + p.Name + ".copy", Piece: p}
			b, _ := r.fs.Get(filepath.Join(rigDir, p.Name))
			r.fs.Put(d.Path, b)
			donors = append(donors, d)
		}
		name := filepath.Base(r.path(".aof", c.segment))
		disk := &deadBlocks{r.fs, map[string][2]int64{name: {c.from, c.to}}}
		mended, err := aof.Mend(disk, rigDir, donors, false)
		if err != nil || len(mended) != 1 || filepath.Base(mended[0].File) != name {
			t.Fatalf("%+v: %+v, %v", c, mended, err)
		}
		if again, err := aof.Mend(disk, rigDir, donors, true); err != nil || len(again) != 1 || again[0] != mended[0] {
			t.Fatalf("%+v: %+v, %v", c, again, err)
		}
		disk.dead = nil // other blocks hold the file now
		if report, err := aof.Check(disk, rigDir); err != nil || !report.OK() {
			t.Errorf("%+v: %v", c, err)
		}
		r.mustOpen()
		mustEqual(t, strings.Join(r.positions(), "\n"), want)
	}
}

// The operating system's FS says of a block that cannot be read that it is damaged.
func TestUnreadableFile(t *testing.T) {
	const path = "/proc/self/mem" // at 0 nothing is mapped
	if f, err := os.Open(path); err != nil {
		t.Skip(err)
	} else {
		_ = f.Close()
	}
	f, err := aof.OS().Open(path, aof.ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.ReadAt(make([]byte, 10), 0); !errors.Is(err, aof.ErrDamaged) || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
}
