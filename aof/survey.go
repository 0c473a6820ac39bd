package aof

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// survey is what a directory holds, by names, header blocks and first frames. Recovery, Check and Dump start from it;
// making one changes nothing. A spare whose first frame is valid counts as a segment: it was in use and not yet renamed. One
// whose first frame is missing stays a spare, whatever else it holds: nothing in it can have been acknowledged, unless a
// witness says so (scan.go).
type survey struct {
	segments    []*segment // hold frames, or have a segment's name; by first index
	spares      []*segment // ready spares without a first frame
	superseded  []*segment // what a rewritten segment of segments stands for
	leftovers   []string   // paths of half-made files
	checkpoints []uint64   // indexes, growing
	id          logID      // zero if there is no segment
	sequence    uint64     // highest of a spare
}

// take lists dir. What is wrong with one file goes to bad: a *Damage when a header block is unreadable, or an error that
// wraps ErrVersion or ErrForeign; if bad returns it, that is the end, else the file is left out.
func take(fsys FS, dir string, bad func(error) error) (*survey, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	v := &survey{}
	for _, name := range names {
		if err := v.add(fsys, dir, name); err != nil {
			if err = bad(err); err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(v.segments, func(a, b *segment) int { return cmp.Compare(a.first, b.first) })
	slices.SortFunc(v.spares, func(a, b *segment) int { return cmp.Compare(a.sequence, b.sequence) })
	slices.Sort(v.checkpoints)
	v.supersede()
	for i, s := range v.segments {
		if i > 0 && s.first == v.segments[i-1].first {
			d := &Damage{File: s.name(), Pos: BlockBytes, Index: s.first, Reason: "two segments start with this index; the other is " + v.segments[i-1].name()}
			if err := bad(d); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// supersede sets apart the segments that a rewritten one stands for: what was alive in them is in that one. They are left when the power goes
// before they are removed.
func (v *survey) supersede() {
	var by *segment
	v.segments = slices.DeleteFunc(v.segments, func(s *segment) bool {
		if by != nil && s.first > by.first && s.first <= by.last && s.last <= by.last {
			v.superseded = append(v.superseded, s)
			return true
		}
		if s.rewritten() {
			by = s
		}
		return false
	})
}

// supersedes tells whether there are segments left that s stands for.
func (v *survey) supersedes(s *segment) bool {
	return slices.ContainsFunc(v.superseded, func(o *segment) bool { return o.first > s.first && o.first <= s.last })
}

// add files one name. Names that are not ours are left alone.
func (v *survey) add(fsys FS, dir, name string) error {
	path := filepath.Join(dir, name)
	if first, ok := numberIn(name, "", segmentSuffix); ok {
		s, err := v.open(fsys, path)
		if err != nil {
			return err
		}
		if s.rewritten() && s.extent.first != first {
			return &Damage{File: path, Index: first, Reason: fmt.Sprintf("its header says that it begins with index %d", s.extent.first)}
		}
		s.first, s.named = first, true
		v.segments = append(v.segments, s)
		return nil
	}
	if n, ok := numberIn(name, sparePrefix, readySuffix); ok {
		v.sequence = max(v.sequence, n)
		return v.addSpare(fsys, path)
	}
	if n, ok := numberIn(name, checkpointPrefix, checkpointSuffix); ok {
		v.checkpoints = append(v.checkpoints, n)
	}
	if strings.HasSuffix(name, tmpSuffix) && ours(name) {
		v.leftovers = append(v.leftovers, path)
	}
	return nil
}

// ours tells whether a temporary name is one that this package makes.
func ours(name string) bool {
	name = strings.TrimSuffix(name, tmpSuffix)
	_, spare := numberIn(name, sparePrefix, "")
	_, side := numberIn(name, "", sidecarSuffix)
	_, check := numberIn(name, checkpointPrefix, checkpointSuffix)
	_, rewritten := numberIn(name, "", segmentSuffix)
	_, itsSide := numberIn(name, "", segmentSuffix+sidecarSuffix)
	return spare || side || check || rewritten || itsSide
}

// addSpare files a ready spare: as a segment when it holds a first frame, because then it was taken into use and the
// crash came before its renaming.
func (v *survey) addSpare(fsys FS, path string) error {
	s, err := v.open(fsys, path)
	if err != nil {
		return err
	}
	if s.rewritten() {
		return &Damage{File: path, Reason: "the header of a rewritten segment in a spare"}
	}
	f, err := fsys.Open(path, ReadOnly)
	if err != nil {
		return err
	}
	defer f.Close()
	w := window{file: f, size: s.size}
	frame, bad, err := w.frame(BlockBytes, s.seed)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if bad != nil {
		v.spares = append(v.spares, s)
		return nil
	}
	s.first = frame.Index
	v.segments = append(v.segments, s)
	return nil
}

// open reads a header block and checks that the file is as long as it says and of this log.
func (v *survey) open(fsys FS, path string) (*segment, error) {
	f, err := fsys.Open(path, ReadOnly)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, min(size, BlockBytes))
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	h, err := readSegmentHeader(b)
	switch {
	case errors.Is(err, ErrVersion):
		return nil, fmt.Errorf("%s: %w", path, err)
	case err != nil:
		return nil, &Damage{File: path, Reason: err.Error()}
	case size < h.size:
		return nil, &Damage{File: path, Pos: size, Reason: fmt.Sprintf("the file ends here, its header says %d bytes", h.size)}
	}
	if v.id == (logID{}) {
		v.id = h.log
	}
	if h.log != v.id {
		return nil, fmt.Errorf("%s: %w", path, ErrForeign)
	}
	v.sequence = max(v.sequence, h.sequence)
	s := &segment{segmentHeader: h, last: h.extent.last, end: h.extent.end}
	s.setName(path)
	return s, nil
}

// goodSidecar returns the head of the segment's sidecar, or an error that says why there is none to be used.
func goodSidecar(fsys FS, dir string, s *segment) (sidecarHeader, []run, error) {
	h, runs, err := readHead(fsys, sidecarPath(dir, s.first))
	if err == nil {
		err = h.belongs(s)
	}
	return h, runs, err
}

// sidecarMissing tells an absent sidecar from a bad one.
func sidecarMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
