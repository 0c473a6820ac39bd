package aof

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"ayder/internal/record"
)

// Mending: frames of a damaged log are taken from copies of its files. A copy has the segment's seed, and so the same bytes in the same places
// as far as it goes; at every place that the log puts a frame in, the file's own counts if it is good, else the copy's. Nothing is believed
// but checksums, so neither need be good as a whole.
//
// The mended file is written beside, synced, and renamed over the damaged one, of which a copy went to the directory quarantine before: every moment's
// disk has the one or the other under the segment's name. What a start makes again by itself (sidecars) is left to it.
//
// A segment that is missing comes whole from a copy, if it begins where the one before it ends. What is in front of the first segment was
// dropped, and stays so.

// Donor is a copy of a file of the log.
type Donor struct {
	Path string
	Piece
}

// Mended is what was, or would be, taken from a copy.
type Mended struct {
	File   string // of the log
	Donor  string
	Frames uint64 // taken from there; of a checkpoint 0
	Last   uint64 // the last index that the file has then
}

// mender is Mend at work.
type mender struct {
	fs     FS
	dir    string
	log    string // the log's id; empty if no header is readable
	apply  bool
	v      *survey
	broken []string // names of files whose header cannot be read
	done   []Mended
}

// Mend looks for what copies can put in the place of damage in the log in dir, which must not be in use, and does it if apply is set. Copies
// of another log are left out.
func Mend(fsys FS, dir string, donors []Donor, apply bool) (done []Mended, err error) {
	if fsys == nil {
		fsys = OS()
	}
	lock, err := fsys.Lock(dir)
	if err != nil {
		return nil, fmt.Errorf("aof: %w", err)
	}
	m := &mender{fs: fsys, dir: dir, apply: apply}
	if err := errors.Join(m.run(donors), lock.Close()); err != nil {
		return m.done, fmt.Errorf("aof: mend %s: %w", dir, err)
	}
	return m.done, nil
}

func (m *mender) run(donors []Donor) error {
	var err error
	m.v, err = take(m.fs, m.dir, func(err error) error {
		var d *Damage
		if !errors.As(err, &d) {
			return err
		}
		m.broken = append(m.broken, filepath.Base(d.File))
		return nil
	})
	if err != nil {
		return err
	}
	if m.v.id != (logID{}) {
		m.log = fmt.Sprintf("%x", m.v.id)
	}
	donors = slices.Clone(donors)
	slices.SortStableFunc(donors, func(a, b Donor) int { return cmp.Compare(a.First, b.First) })
	if err := m.checkpoints(donors); err != nil {
		return err
	}
	for i := range donors {
		if d := &donors[i]; !d.IsCheckpoint() {
			if err := m.segment(d); err != nil {
				return fmt.Errorf("%s: %w", d.Path, err)
			}
		}
	}
	return m.putAside()
}

// checkpoints replaces damaged ones, and brings the newest that there is where none is left.
func (m *mender) checkpoints(donors []Donor) error {
	good := 0
	for _, index := range m.v.checkpoints {
		path := checkpointPath(m.dir, index)
		_, err := readCheckpoint(m.fs, path, index)
		if err != nil && !errors.Is(err, ErrDamaged) {
			return err
		}
		if err == nil {
			good++
			continue
		}
		for i := range donors {
			if donors[i].IsCheckpoint() && donors[i].Last == index {
				good++
				if err := m.replaceCheckpoint(&donors[i], path, true); err != nil {
					return err
				}
			}
		}
	}
	for i := len(donors) - 1; i >= 0 && good == 0; i-- {
		if d := &donors[i]; d.IsCheckpoint() && !slices.Contains(m.v.checkpoints, d.Last) {
			good++
			if err := m.replaceCheckpoint(d, checkpointPath(m.dir, d.Last), false); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *mender) replaceCheckpoint(d *Donor, path string, there bool) error {
	f, err := m.fs.Open(d.Path, ReadOnly)
	if err != nil {
		return err
	}
	b, err := readWhole(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if _, _, err := decodeCheckpoint(b); err != nil {
		return fmt.Errorf("%s: %w", d.Path, err)
	}
	if m.log != "" && fmt.Sprintf("%x", b[40:56]) != m.log {
		return nil
	}
	m.done = append(m.done, Mended{File: path, Donor: d.Path, Last: d.Last})
	if !m.apply {
		return nil
	}
	if there {
		if err := m.keepCopy(path); err != nil {
			return err
		}
	}
	return writeFile(m.fs, m.dir, path, b)
}

// segment mends the segment that d is a copy of, if it can be and there is anything to mend.
func (m *mender) segment(d *Donor) error {
	in, err := m.fs.Open(d.Path, ReadOnly)
	if err != nil {
		return err
	}
	defer in.Close()
	h, err := headerOf(in, d.Path)
	if err != nil {
		return err
	}
	if m.log != "" && fmt.Sprintf("%x", h.log) != m.log {
		return nil
	}
	path := segmentPath(m.dir, d.First)
	own := m.own(&h, filepath.Base(path))
	if own == "" && !m.missing(d) {
		return nil
	}
	merge := &merge{h: h, copy: window{file: in, size: min(d.Size, h.size), ahead: scanAheadBytes}, first: d.First}
	around := &sparing{FS: m.fs}
	if own != "" {
		f, err := openSettled(around, own)
		if err != nil {
			return err
		}
		defer f.Close()
		size, err := f.Size()
		if err != nil {
			return err
		}
		merge.own = window{file: f, size: min(size, h.size), ahead: scanAheadBytes}
	}
	if err := merge.run(nil); err != nil {
		return err
	}
	whole := own != "" && !slices.Contains(m.broken, filepath.Base(own))
	if whole && merge.taken == 0 && len(around.blocks) == 0 {
		return m.know(d, merge.last, false)
	}
	m.done = append(m.done, Mended{File: path, Donor: d.Path, Frames: merge.taken, Last: merge.last})
	m.broken = slices.DeleteFunc(m.broken, func(name string) bool { return own != "" && name == filepath.Base(own) })
	if err := m.know(d, merge.last, true); err != nil || !m.apply {
		return err
	}
	return m.write(merge, own, path)
}

// own is the path of the file that has the donor's header, or should have it; empty if there is none.
func (m *mender) own(h *segmentHeader, name string) string {
	for _, s := range slices.Concat(m.v.segments, m.v.spares) {
		if s.seed == h.seed {
			return s.name()
		}
	}
	if slices.Contains(m.broken, name) {
		return filepath.Join(m.dir, name)
	}
	return ""
}

// missing tells whether a segment that is not there is one that should be: it begins where another ends, and nothing of the log stands for
// its beginning.
func (m *mender) missing(d *Donor) bool {
	follows := false
	for _, s := range m.v.segments {
		switch {
		case s.first == d.First || s.rewritten() && s.first < d.First && d.First <= s.last:
			return false
		case s.last+1 == d.First && s.last != 0:
			follows = true
		}
	}
	return follows
}

// know notes where a segment ends, so that a missing one behind it is known to be.
func (m *mender) know(d *Donor, last uint64, fresh bool) error {
	for _, s := range slices.Concat(m.v.segments, m.v.spares) {
		if s.first == d.First && !s.rewritten() {
			s.last = last
			return nil
		}
	}
	if fresh {
		s := &segment{first: d.First, last: last}
		s.setName(segmentPath(m.dir, d.First))
		m.v.segments = append(m.v.segments, s)
	}
	return nil
}

// write puts the merged file in the place of the segment's.
func (m *mender) write(w *merge, own, path string) error {
	tmp := path + tmpSuffix
	out := &zeroFiller{at: BlockBytes}
	var err error
	if out.file, err = m.fs.Open(tmp, Create); err != nil {
		return err
	}
	err = w.run(out)
	if err == nil {
		err = out.zeros(w.h.size)
	}
	if err == nil {
		head := make([]byte, BlockBytes)
		w.h.put(head)
		err = out.writeAt(head, 0)
	}
	if err == nil {
		err = out.file.Sync()
	}
	if err = errors.Join(err, out.file.Close()); err != nil {
		return err
	}
	if own != "" {
		if err := m.keepCopy(own); err != nil {
			return err
		}
	}
	if err := m.fs.Rename(tmp, path); err != nil {
		return err
	}
	if own != "" && own != path { // it had a spare's name
		if err := m.fs.Remove(own); err != nil {
			return err
		}
	}
	return m.fs.SyncDir(m.dir)
}

// putAside moves spares whose header cannot be read: if they held anything, it came from a copy, or is nowhere.
func (m *mender) putAside() error {
	var spares []string
	for _, name := range m.broken {
		if _, ok := numberIn(name, "", segmentSuffix); !ok {
			spares = append(spares, name)
		}
	}
	if !m.apply || len(spares) == 0 || len(m.done) == 0 {
		return nil
	}
	return moveAside(m.fs, m.dir, spares)
}

// keepCopy copies a file into the directory quarantine.
func (m *mender) keepCopy(path string) error {
	aside := filepath.Join(m.dir, quarantineName)
	if d, ok := m.fs.(directoryMaker); ok {
		if err := d.MakeDir(aside); err != nil {
			return err
		}
	}
	there, err := m.fs.List(aside)
	if err != nil {
		return err
	}
	in, err := (&sparing{FS: m.fs}).Open(path, ReadOnly)
	if err != nil {
		return err
	}
	b, err := readWhole(in)
	if err = errors.Join(err, in.Close()); err != nil {
		return err
	}
	return writeFile(m.fs, aside, filepath.Join(aside, freeName(there, filepath.Base(path))), b)
}

// merge reads a segment's frames from its own file where they are good there, else from a copy.
type merge struct {
	h     segmentHeader
	own   window // no file: there is none
	copy  window
	first uint64
	end   uint64 // the index to end before; 0: none

	last  uint64 // the last index found
	taken uint64 // frames of the copy
}

// run walks the places of frames, and writes them to out if that is not nil.
func (w *merge) run(out *zeroFiller) error {
	w.last, w.taken = w.first-1, 0
	for pos, frames := int64(BlockBytes), uint64(0); ; frames++ {
		f, ok, err := w.next(pos)
		if err != nil {
			return err
		}
		if !ok || w.end != 0 && f.Index >= w.end {
			if w.h.rewritten() && frames == w.h.extent.frames {
				w.last = w.h.extent.last
			}
			return nil
		}
		if out != nil {
			b := make([]byte, int(f.Size))
			copy(b[record.FrameHeaderBytes:], f.Payload)
			record.PutHeader(b, &f.Header, w.h.seed)
			if err := errors.Join(out.zeros(f.pos), out.write(b)); err != nil {
				return err
			}
		}
		w.last, pos = f.Index, f.end()
	}
}

// next finds the frame behind the last one.
func (w *merge) next(pos int64) (f frameAt, ok bool, err error) {
	for _, at := range [...]int64{pos, blockUp(pos)} {
		for i, from := range [...]*window{&w.own, &w.copy} {
			if from.file == nil || at >= from.size || w.h.rewritten() && at >= w.h.extent.end {
				continue
			}
			frame, bad, err := from.frame(at, w.h.seed)
			if err != nil {
				return f, false, err
			}
			if bad != nil || frame.Index <= w.last || !w.h.rewritten() && frame.Index != w.last+1 {
				continue
			}
			if i == 1 {
				w.taken++
			}
			return frameAt{frame, at}, true, nil
		}
	}
	return f, false, nil
}

// freeName is a name, with a number behind it if it is taken.
func freeName(there []string, name string) string {
	to := name
	for n := 1; slices.Contains(there, to); n++ {
		to = fmt.Sprintf("%s.%d", name, n)
	}
	return to
}

// Known finds the ends of streams, by what can be read of the log in dir: the highest next offset that frames from index first to
// before index end, sidecars of segments that begin there, say. frames is called with every good frame in that range, in the order of
// files; it may be nil.
func Known(fsys FS, dir string, first, end uint64, frames func(record.Frame)) (map[record.Stream]uint64, error) {
	if fsys == nil {
		fsys = OS()
	}
	v, err := take(fsys, dir, func(err error) error {
		if errors.Is(err, ErrDamaged) {
			return nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	next := make(map[record.Stream]uint64)
	a := &audit{fs: fsys, dir: dir}
	for _, s := range append(slices.Clone(v.segments), v.spares...) {
		if h, runs, err := goodSidecar(fsys, dir, s); err == nil && s.first >= first && h.last < end {
			for i := range runs {
				next[runs[i].stream] = max(next[runs[i].stream], runs[i].next)
			}
		}
		err := a.sweep(s, func(f *frameAt, _ *sweeper) bool {
			if f.Index < first || f.Index >= end {
				return true
			}
			it := f.Iter()
			for sec, ok := it.Next(); ok; sec, ok = it.Next() {
				if sec.Type == record.SectionRecords {
					next[sec.Stream] = max(next[sec.Stream], sec.Base+uint64(sec.Count))
				}
			}
			if frames != nil {
				frames(f.Frame)
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	return next, nil
}

// Checkpoints lists the checkpoints in dir that can be read, with their payloads' paths, by growing index.
func Checkpoints(fsys FS, dir string) (paths []string, err error) {
	if fsys == nil {
		fsys = OS()
	}
	all, err := listCheckpoints(fsys, dir)
	if err != nil {
		return nil, err
	}
	for _, index := range all {
		path := checkpointPath(dir, index)
		if _, err := readCheckpoint(fsys, path, index); err == nil {
			paths = append(paths, path)
		}
	}
	return paths, nil
}
