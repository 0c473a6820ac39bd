package aof

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// Quarantine is for a log whose owner can get its frames again from elsewhere. Where Open finds that acknowledged data is
// unreadable it changes nothing and fails; whoever has other copies then asks for a Loss, which says what is unreadable and
// what it takes with it, remembers that, and moves the files aside. Then the log opens, and ends before the damage.
//
// What goes is the first segment that cannot be read to its end and everything behind it: the log is a chain, and a segment
// behind a gap is not part of it. Nothing is deleted: the files keep their names in the directory quarantine beside the
// log, for people. They go from the back: checkpoints, then spares that hold something, then the last segment first; so a crash
// in between leaves a shorter log, or one that is found damaged again, but never one with a gap whose far side Open would take
// for the rest of a crash and remove.
//
// Every segment is read whole here, also where a checkpoint covers it and Open would believe its sidecar: bytes that
// have changed are found once for all of them.

// quarantineName is the directory beside the log.
const quarantineName = "quarantine"

// Loss is what a damaged log will lack without the files that must go.
type Loss struct {
	From   uint64 // first index that the log will not have
	Index  uint64 // highest index that it is known to have had: a frame, or a mark, a sidecar or a checkpoint says so
	Seen   uint64 // highest index whose frame can be read
	Term   uint64 // and that frame's term
	Blind  bool   // something cannot be read that may have held frames behind Seen: a file without a header, a block
	Files  []string
	Reason string

	partial string // of a cut: the last segment, of which the part before the damage stays
}

// loss is DiagnoseLoss at work.
type loss struct {
	fs    FS
	dir   string
	r     *Loss
	v     *survey
	bad   map[string]*Damage // segments and spares without a readable header, by name
	kept  int                // segments from the front that stay
	end   uint64             // the index behind them
	first uint64             // of the log

	hidden []uint64 // first indexes of what blocks that cannot be read may have held, behind the last frame of their file

	cut     bool     // the good part of the first damaged segment stays, too
	partial *segment // it
}

// DiagnoseLoss reads the whole log in dir, which must not be in use, and says what has to go for the rest to be opened: all of it
// if nothing else will do, or if everything is asked for. It changes nothing.
func DiagnoseLoss(fsys FS, dir string, everything bool) (*Loss, error) {
	lock, err := fsys.Lock(dir)
	if err != nil {
		return nil, fmt.Errorf("aof: %w", err)
	}
	x := &loss{fs: fsys, dir: dir, r: &Loss{}, bad: make(map[string]*Damage)}
	if err := errors.Join(x.run(everything), lock.Close()); err != nil {
		return nil, fmt.Errorf("aof: what %s has lost: %w", dir, err)
	}
	return x.r, nil
}

// DiagnoseCut is DiagnoseLoss for a log whose owner has no other copy: of the first damaged segment what is in front of the damage stays, and no
// checkpoint stays that has anything of what is behind it, since other frames will get those indexes.
func DiagnoseCut(fsys FS, dir string) (*Loss, error) {
	lock, err := fsys.Lock(dir)
	if err != nil {
		return nil, fmt.Errorf("aof: %w", err)
	}
	x := &loss{fs: fsys, dir: dir, r: &Loss{}, bad: make(map[string]*Damage), cut: true}
	if err := errors.Join(x.run(false), lock.Close()); err != nil {
		return nil, fmt.Errorf("aof: what a cut of %s would lose: %w", dir, err)
	}
	return x.r, nil
}

func (x *loss) run(everything bool) error {
	var err error
	if x.v, err = take(x.fs, x.dir, x.collect); err != nil {
		return err
	}
	if err := x.walk(); err != nil {
		return err
	}
	if err := x.measure(); err != nil {
		return err
	}
	base, err := x.base()
	if err != nil {
		return err
	}
	if everything || !base {
		x.kept, x.end, x.partial = 0, 0, nil
	}
	if x.partial != nil {
		x.r.partial = filepath.Base(x.partial.name())
	}
	x.r.From = max(x.end, 1)
	x.r.Blind = x.blind()
	return x.list()
}

// collect keeps the damage that a survey finds.
func (x *loss) collect(err error) error {
	var d *Damage
	if !errors.As(err, &d) {
		return err
	}
	x.bad[filepath.Base(d.File)] = d
	x.say(d.Reason, d.File)
	return nil
}

// say keeps the first reason.
func (x *loss) say(reason, file string) {
	if x.r.Reason == "" {
		x.r.Reason = filepath.Base(file) + ": " + reason
	}
}

// walk finds the segments that can stay: each good to its end and followed by the next.
func (x *loss) walk() error {
	segments := x.v.segments
	if len(segments) == 0 {
		return nil
	}
	x.first, x.end = segments[0].first, segments[0].first
	for name := range x.bad { // one that is missing at the front is no front
		if first, ok := numberIn(name, "", segmentSuffix); ok && first < x.first {
			return nil
		}
	}
	for i, s := range segments {
		if s.first != x.end {
			x.say(fmt.Sprintf("it starts with index %d where %d was expected", s.first, x.end), s.name())
			return nil
		}
		end, whole, err := x.whole(s, segments[i+1:])
		if err == nil && !whole && x.cut && !s.rewritten() && end > s.first {
			x.partial, x.end = s, end
		}
		if err != nil || !whole {
			return err
		}
		x.kept, x.end = i+1, end
	}
	return nil
}

// whole reads a segment and tells where it ends, and whether nothing that was acknowledged is missing there.
func (x *loss) whole(s *segment, behind []*segment) (end uint64, ok bool, err error) {
	f, err := openSettled(x.fs, s.name())
	if err != nil {
		return 0, false, err
	}
	defer f.Close()
	at, err := scanFile(f, s, func(f *frameAt) error { return checkSections(&f.Frame) })
	switch {
	case errors.Is(err, ErrDamaged):
		x.say(err.Error(), s.name())
		return 0, false, nil
	case err != nil:
		return 0, false, err
	}
	reason := "its frames end too early"
	if at.reason != nil {
		reason = at.reason.Error()
	}
	switch h, _, none := goodSidecar(x.fs, x.dir, s); {
	case none == nil:
		ok = h.last < at.expect
	case len(behind) > 0 && at.expect == behind[0].first:
		ok = true
	default:
		rest, err := searchRemains(f, &s.segmentHeader, at.pos, at.expect)
		if errors.Is(err, ErrDamaged) {
			x.say(err.Error(), s.name())
			return 0, false, nil
		} else if err != nil {
			return 0, false, err
		}
		ok = rest.to == 0 || len(behind) == 0 && rest.witness == 0
	}
	if !ok {
		x.say(fmt.Sprintf("%s at byte %d, index %d", reason, at.pos, at.expect), s.name())
	}
	return at.expect, ok, nil
}

// measure finds what the log is known to have had.
func (x *loss) measure() error {
	for _, index := range x.v.checkpoints {
		x.r.Index = max(x.r.Index, index)
	}
	for _, s := range append(slices.Clone(x.v.segments), x.v.spares...) {
		if h, _, err := goodSidecar(x.fs, x.dir, s); err == nil {
			x.r.Index = max(x.r.Index, h.last)
		}
		x.r.Index = max(x.r.Index, s.extent.last)
		around, last, end := &sparing{FS: x.fs}, uint64(0), int64(0)
		err := (&audit{fs: around, dir: x.dir}).sweep(s, func(f *frameAt, _ *sweeper) bool {
			last, end = max(last, f.Index), f.end()
			x.r.Index = max(x.r.Index, f.Index, f.Durable)
			if f.Index > x.r.Seen {
				x.r.Seen, x.r.Term = f.Index, f.Term
			}
			return true
		})
		if err != nil {
			return err
		}
		if around.behind(end) {
			x.hidden = append(x.hidden, max(last+1, s.first))
		}
	}
	return nil
}

// base tells whether what would stay is a log that can be opened: it begins at the beginning, whole, or there is a checkpoint in it
// that covers what is missing before it or was taken out of it (rewrite.go).
func (x *loss) base() (bool, error) {
	if x.kept == 0 && x.partial == nil {
		return false, nil
	}
	covered := x.first - 1
	for _, s := range x.v.segments[:x.kept] {
		covered = max(covered, s.extent.last)
	}
	if covered == 0 {
		return true, nil
	}
	for _, index := range x.v.checkpoints {
		if stays, err := x.stays(index); err != nil || index <= covered || !stays {
			if err != nil {
				return false, err
			}
			continue
		}
		switch _, err := readCheckpoint(x.fs, checkpointPath(x.dir, index), index); {
		case err == nil:
			return true, nil
		case !errors.Is(err, ErrDamaged):
			return false, err
		}
	}
	return false, nil
}

// stays tells whether a checkpoint may stay beside a log that ends before x.end.
func (x *loss) stays(index uint64) (bool, error) {
	if index >= x.end || !x.cut {
		return index < x.end, nil
	}
	f, err := x.fs.Open(checkpointPath(x.dir, index), ReadOnly)
	if err != nil {
		return false, err
	}
	b, err := readWhole(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return false, err
	}
	if _, _, err := decodeCheckpoint(b); err != nil {
		return false, nil
	}
	reach := binary.LittleEndian.Uint64(b[56:])
	return reach != 0 && reach < x.end, nil
}

// blind tells whether a file without a readable header, or blocks that cannot be read, may have had the newest frames.
func (x *loss) blind() bool {
	for _, index := range x.hidden {
		if index > x.r.Seen {
			return true
		}
	}
	for name := range x.bad {
		if first, ok := numberIn(name, "", segmentSuffix); !ok || first > x.r.Seen {
			return true
		}
	}
	return false
}

// list names the files that go, in the order in which they do.
func (x *loss) list() error {
	var front, back []string
	for _, index := range slices.Backward(x.v.checkpoints) {
		stays, err := x.stays(index)
		if err != nil {
			return err
		}
		if !stays {
			front = append(front, filepath.Base(checkpointPath(x.dir, index)))
		}
	}
	spares, err := x.used()
	if err != nil {
		return err
	}
	for _, s := range x.v.segments[x.kept:] {
		back = append(back, filepath.Base(s.name()))
	}
	for _, s := range x.v.superseded {
		if s.first >= x.end { // what stands for it goes
			back = append(back, filepath.Base(s.name()))
		}
	}
	for name := range x.bad {
		if strings.HasSuffix(name, segmentSuffix) {
			back = append(back, name)
		} else {
			spares = append(spares, name)
		}
	}
	slices.Sort(spares)
	x.r.Files = append(front, spares...)
	slices.SortStableFunc(back, func(a, b string) int { return -strings.Compare(a, b) }) // spares in use are the newest, and sort last
	names, err := x.fs.List(x.dir)
	if err != nil {
		return err
	}
	for _, name := range back {
		if first, ok := numberIn(name, "", segmentSuffix); ok {
			if side := filepath.Base(sidecarPath(x.dir, first)); slices.Contains(names, side) {
				x.r.Files = append(x.r.Files, side)
			}
		}
		x.r.Files = append(x.r.Files, name)
	}
	return nil
}

// Cut moves aside what DiagnoseCut says, but for the part of the last segment that stays. It can be interrupted; then DiagnoseCut finds what is left
// to do, or nothing is.
func Cut(fsys FS, dir string, r *Loss) error {
	lock, err := fsys.Lock(dir)
	if err != nil {
		return fmt.Errorf("aof: %w", err)
	}
	files := slices.DeleteFunc(slices.Clone(r.Files), func(name string) bool { return name == r.partial })
	err = moveAside(fsys, dir, files)
	if err == nil && r.partial != "" {
		err = cutSegment(fsys, dir, r.partial, r.From)
	}
	if err = errors.Join(err, lock.Close()); err != nil {
		return fmt.Errorf("aof: cut in %s: %w", dir, err)
	}
	return nil
}

// cutSegment makes a segment end before index end; as it was it goes to quarantine.
func cutSegment(fsys FS, dir, name string, end uint64) error {
	m := &mender{fs: fsys, dir: dir}
	path := filepath.Join(dir, name)
	around := &sparing{FS: fsys}
	f, err := around.Open(path, ReadOnly)
	if err != nil {
		return err
	}
	defer f.Close()
	h, err := headerOf(f, path)
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err != nil {
		return err
	}
	w := &merge{h: h, own: window{file: f, size: min(size, h.size), ahead: scanAheadBytes}, end: end}
	if w.first, err = firstIndexOf(around, path, size); err != nil {
		return err
	}
	return m.write(w, path, segmentPath(dir, w.first))
}

// used names the spares that are not empty.
func (x *loss) used() (names []string, err error) {
	for _, s := range x.v.spares {
		f, err := openSettled(x.fs, s.name())
		if err != nil {
			return nil, err
		}
		rest, err := searchRemains(f, &s.segmentHeader, BlockBytes, 1)
		unread := errors.Is(err, ErrDamaged)
		if unread {
			err = nil
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		if rest.to != 0 || unread {
			names = append(names, filepath.Base(s.name()))
		}
	}
	return names, nil
}

// Aside tells how much is in the quarantine of a log's directory, which may be in use. Nothing empties it: what is there may be the only
// copy of something, so whoever has made sure that the others have it removes the files.
func Aside(fsys FS, dir string) (files int, bytes int64, err error) {
	aside := filepath.Join(dir, quarantineName)
	names, err := fsys.List(aside)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	for _, name := range names {
		size, sizeErr := sizeOf(fsys, filepath.Join(aside, name))
		if errors.Is(sizeErr, fs.ErrNotExist) {
			continue // removed just now
		}
		files, bytes, err = files+1, bytes+size, errors.Join(err, sizeErr)
	}
	if err != nil {
		return files, bytes, fmt.Errorf("aof: what is in quarantine: %w", err)
	}
	return files, bytes, nil
}

func sizeOf(fsys FS, path string) (int64, error) {
	f, err := fsys.Open(path, ReadOnly)
	if err != nil {
		return 0, err
	}
	size, err := f.Size()
	return size, errors.Join(err, f.Close())
}

// directoryMaker is an FS in which directories must be made.
type directoryMaker interface{ MakeDir(path string) error }

// Quarantine moves the files of a Loss aside. It can be interrupted; then DiagnoseLoss finds what is left to do.
func Quarantine(fsys FS, dir string, r *Loss) error {
	lock, err := fsys.Lock(dir)
	if err != nil {
		return fmt.Errorf("aof: %w", err)
	}
	if err := errors.Join(moveAside(fsys, dir, r.Files), lock.Close()); err != nil {
		return fmt.Errorf("aof: quarantine in %s: %w", dir, err)
	}
	return nil
}

func moveAside(fsys FS, dir string, files []string) error {
	aside := filepath.Join(dir, quarantineName)
	if m, ok := fsys.(directoryMaker); ok {
		if err := m.MakeDir(aside); err != nil {
			return err
		}
	}
	there, err := fsys.List(aside)
	if err != nil {
		return err
	}
	for _, name := range files {
		to := freeName(there, name) // one of an earlier time keeps its own
		if err := fsys.Rename(filepath.Join(dir, name), filepath.Join(aside, to)); err != nil {
			return err
		}
	}
	return errors.Join(fsys.SyncDir(aside), fsys.SyncDir(dir))
}
