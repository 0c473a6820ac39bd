package aof

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"ayder/internal/record"
)

// Check reads everything: every frame of every segment, every sidecar and checkpoint. It repairs nothing and trusts
// nothing but checksums, so it also finds what is behind damage. A gap in the indexes is damage if any later frame's mark,
// a sidecar or a checkpoint says that what is missing had been durable; otherwise it is the hole that a crash leaves
// among commits in flight, and Open will cut there.

// Report is what Check found.
type Report struct {
	Segments, Spares int
	Frames           uint64 // with good checksums
	Sections         uint64
	Messages         uint64
	Bytes            uint64 // of frames
	First, Last      uint64 // indexes; Last is that of the frames which Open would keep, were there no damage
	Unacknowledged   uint64 // frames behind a hole, which Open cuts
	Sidecars         int    // good ones
	Checkpoints      []uint64
	Aside            int   // files in quarantine, which nothing reads
	AsideBytes       int64 //
	Damage           []*Damage
	Warnings         []string // derived files that will be made again, leftovers
}

// OK tells that nothing acknowledged is unreadable.
func (r *Report) OK() bool { return len(r.Damage) == 0 }

// Print writes the report for people.
func (r *Report) Print(w io.Writer) error {
	_, err := fmt.Fprintf(w, "segments %d, spares %d, sidecars %d, checkpoints %d\nframes %d, sections %d, messages %d, bytes %d\nindexes %d to %d\n",
		r.Segments, r.Spares, r.Sidecars, len(r.Checkpoints), r.Frames, r.Sections, r.Messages, r.Bytes, r.First, r.Last)
	if r.Unacknowledged > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%d frames behind a hole were never acknowledged and will be cut", r.Unacknowledged))
	}
	if r.Aside > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%d files of %d bytes are in %s: nothing reads them; remove them when the other nodes have all they held", r.Aside, r.AsideBytes, quarantineName))
	}
	for _, s := range r.Warnings {
		if err == nil {
			_, err = fmt.Fprintln(w, "note:", s)
		}
	}
	for _, d := range r.Damage {
		if err == nil {
			_, err = fmt.Fprintln(w, "damage:", d)
		}
	}
	if err == nil && r.OK() {
		_, err = fmt.Fprintln(w, "ok")
	}
	return err
}

// Check reads the whole log in dir. fsys nil means the operating system's. The directory must not be in use. The error
// says that it could not be read; what was found wrong is in the report.
func Check(fsys FS, dir string) (*Report, error) {
	if fsys == nil {
		fsys = OS()
	}
	if _, err := fsys.List(dir); err != nil {
		return nil, fmt.Errorf("aof: check: %w", err)
	}
	lock, err := fsys.Lock(dir)
	if err != nil {
		return nil, fmt.Errorf("aof: check: %w", err)
	}
	around := &sparing{FS: fsys}
	a := &audit{fs: around, dir: dir, r: &Report{}}
	if err := errors.Join(a.run(), lock.Close()); err != nil {
		return nil, fmt.Errorf("aof: check %s: %w", dir, err)
	}
	a.r.Damage = append(a.r.Damage, around.blocks...)
	return a.r, nil
}

// audit is Check at work.
type audit struct {
	fs     FS
	dir    string
	r      *Report
	expect uint64  // next index
	hole   *Damage // a gap that nothing has proven to be damage yet
	tail   uint64  // frames behind the hole

	rewrittenTo uint64 // last index that a rewritten segment stands for
}

func (a *audit) run() error {
	v, err := take(a.fs, a.dir, a.collect)
	if err != nil {
		return err
	}
	if a.r.Aside, a.r.AsideBytes, err = Aside(a.fs, a.dir); err != nil {
		return err
	}
	newest, err := a.checkpoints(v.checkpoints)
	if err != nil {
		return err
	}
	segments, err := a.order(v)
	if err != nil {
		return err
	}
	a.expect = newest + 1
	if len(segments) > 0 {
		a.expect = min(a.expect, segments[0].first)
	}
	a.r.First = a.expect
	for _, s := range segments {
		if err := a.segment(s); err != nil {
			return err
		}
	}
	a.finish(newest)
	for _, s := range v.superseded {
		a.warn(s, "a rewritten segment stands for it, will be removed")
	}
	for _, path := range v.leftovers {
		a.r.Warnings = append(a.r.Warnings, path+": half-made, will be removed")
	}
	return nil
}

// order returns the segments by index, among them spares that hold frames although their first one is missing.
func (a *audit) order(v *survey) ([]*segment, error) {
	all := v.segments
	a.r.Segments = len(all)
	for _, s := range v.spares {
		err := a.sweep(s, func(f *frameAt, _ *sweeper) bool {
			s.first = f.Index
			return false
		})
		if err != nil {
			return nil, err
		}
		if s.first == 0 {
			a.r.Spares++
			continue
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *segment) int { return cmp.Compare(a.first, b.first) })
	return all, nil
}

// finish draws the conclusions.
func (a *audit) finish(newest uint64) {
	a.r.Last = a.expect - 1
	if newest > a.r.Last {
		a.add(&Damage{File: a.dir, Index: a.r.Last + 1, Lost: newest, Reason: "the log ends before its newest checkpoint"})
	}
	if newest > 0 && a.r.Frames == 0 && a.rewrittenTo == 0 {
		a.add(&Damage{File: a.dir, Index: 1, Lost: newest, Reason: "there is a checkpoint, and no log"})
	}
	if a.rewrittenTo > newest {
		a.add(&Damage{File: a.dir, Index: a.r.First, Lost: a.rewrittenTo, Reason: "segments were rewritten, and there is no good checkpoint behind them"})
	}
	a.prove(newest)
	if a.hole != nil {
		a.r.Last, a.r.Unacknowledged = a.hole.Index-1, a.tail
	}
	if a.r.Frames == 0 && a.rewrittenTo == 0 {
		a.r.First, a.r.Last = 0, 0
	}
}

// collect keeps what is damage and passes on what is not.
func (a *audit) collect(err error) error {
	var d *Damage
	if !errors.As(err, &d) {
		return err
	}
	a.r.Damage = append(a.r.Damage, d)
	return nil
}

// segment reads one segment and compares its sidecar with what the segment says.
func (a *audit) segment(s *segment) error {
	if s.rewritten() {
		return a.rewritten(s)
	}
	twin := &segment{segmentHeader: s.segmentHeader, first: s.first}
	x := newIndex()
	whole := a.expect == s.first
	err := a.sweep(s, func(f *frameAt, sweep *sweeper) bool {
		whole = whole && f.Index == a.expect && !sweep.jumped
		if !a.frame(s, f, sweep) {
			return true
		}
		twin.note(f.Index, f.pos, f.end(), f.TimeMs)
		if sec, ok := x.addFrame(twin, &f.Frame, f.pos); !ok {
			a.add(&Damage{File: s.name(), Pos: f.pos, Index: f.Index, Reason: fmt.Sprintf("offset %d of %v again", sec.Base, sec.Stream)})
			whole = false
		}
		return true
	})
	if err != nil {
		return err
	}
	return a.sidecar(s, twin, whole)
}

// rewritten reads a rewritten segment. It stands for all of its indexes, whatever it holds of them, and had been durable as it is.
func (a *audit) rewritten(s *segment) error {
	x := s.extent
	switch {
	case x.first < a.expect:
		a.add(&Damage{File: s.name(), Index: x.first, Reason: fmt.Sprintf("index where %d was expected", a.expect)})
		return nil
	case x.first > a.expect:
		a.gap(s, BlockBytes, a.expect, nil)
		a.prove(x.last)
	}
	a.expect, a.rewrittenTo = x.last+1, x.last
	f, err := a.fs.Open(s.name(), ReadOnly)
	if err != nil {
		return err
	}
	defer f.Close()
	twin := &segment{segmentHeader: s.segmentHeader, first: s.first}
	twin.setName(s.name())
	index := newIndex()
	_, err = scanFile(f, twin, func(f *frameAt) error {
		twin.note(f.Index, f.pos, f.end(), f.TimeMs)
		a.count(s, f)
		_, ok := index.addFrame(twin, &f.Frame, f.pos)
		return orDamaged(ok, "offsets of a stream do not grow")
	})
	if errors.Is(err, ErrDamaged) {
		return a.collectAt(s, err)
	}
	if err != nil {
		return err
	}
	return a.sidecar(s, twin, true)
}

// collectAt keeps damage of a segment.
func (a *audit) collectAt(s *segment, err error) error {
	var d *Damage
	if !errors.As(err, &d) {
		d = &Damage{File: s.name(), Index: s.first, Reason: err.Error()}
	}
	a.add(d)
	return nil
}

// sidecar checks the sidecar of s against twin, the same segment as it was read.
func (a *audit) sidecar(s, twin *segment, whole bool) error {
	c, err := readSidecar(a.fs, sidecarPath(a.dir, s.first))
	if err == nil {
		defer c.close()
		err = c.belongs(s)
	}
	switch {
	case sidecarMissing(err):
		return nil
	case errors.Is(err, errSidecar):
		a.warn(s, "%v; it will be made again", err)
		return nil
	case err != nil:
		return err
	}
	if c.last > twin.last {
		a.gap(s, twin.end, twin.last+1, errors.New("the segment ends here"))
		a.prove(c.last)
		a.expect = max(a.expect, c.last+1)
	}
	if whole && c.last == twin.last && !bytes.Equal(c.data, encodeSidecar(twin).data) {
		a.add(&Damage{File: sidecarPath(a.dir, s.first), Index: s.first, Reason: "the sidecar does not say what the segment holds; remove it"})
		return nil
	}
	a.r.Sidecars++
	return nil
}

func (a *audit) add(d *Damage) { a.r.Damage = append(a.r.Damage, d) }

func (a *audit) warn(s *segment, format string, args ...any) {
	a.r.Warnings = append(a.r.Warnings, s.name()+": "+fmt.Sprintf(format, args...))
}

// sweep visits every valid frame of a segment, also behind damage, until visit returns false.
func (a *audit) sweep(s *segment, visit func(*frameAt, *sweeper) bool) error {
	f, err := a.fs.Open(s.name(), ReadOnly)
	if err != nil {
		return err
	}
	defer f.Close()
	sweep := newSweeper(f, &s.segmentHeader)
	for {
		f, ok, err := sweep.next()
		if err != nil {
			return fmt.Errorf("%s: %w", s.name(), err)
		}
		if !ok || !visit(&f, &sweep) {
			return nil
		}
	}
}

// frame accounts for one valid frame; false if it does not fit the order.
func (a *audit) frame(s *segment, f *frameAt, sweep *sweeper) bool {
	if f.Index < a.expect {
		a.add(&Damage{File: s.name(), Pos: f.pos, Index: f.Index, Reason: fmt.Sprintf("index where %d was expected", a.expect)})
		return false
	}
	if f.Index > a.expect || sweep.jumped {
		a.gap(s, sweep.gapAt, a.expect, sweep.reason)
	}
	a.expect = f.Index + 1
	a.prove(f.Durable)
	if a.hole != nil {
		a.tail++
	}
	a.count(s, f)
	return true
}

// count adds a frame to the totals and validates what is in it.
func (a *audit) count(s *segment, f *frameAt) {
	a.r.Frames++
	a.r.Bytes += uint64(f.Size)
	a.r.Sections += uint64(f.Sections)
	if err := f.Validate(); err != nil {
		a.add(&Damage{File: s.name(), Pos: f.pos, Index: f.Index, Reason: err.Error()})
		return
	}
	it := f.Iter()
	for sec, ok := it.Next(); ok; sec, ok = it.Next() {
		if sec.Type == record.SectionRecords {
			a.r.Messages += uint64(sec.Count)
		}
	}
}

// gap opens a hole at index, if none is open.
func (a *audit) gap(s *segment, pos int64, index uint64, reason error) {
	if a.hole != nil {
		return
	}
	if reason == nil {
		reason = errors.New("frames are missing")
	}
	a.hole = &Damage{File: s.name(), Pos: pos, Index: index, Reason: reason.Error()}
	a.tail = 0
}

// prove turns the hole into damage if what is missing is known to have been durable.
func (a *audit) prove(durable uint64) {
	if a.hole == nil || durable < a.hole.Index {
		return
	}
	a.hole.Lost = durable
	a.add(a.hole)
	a.hole = nil
}

// checkpoints verifies each one and returns the newest good one's index.
func (a *audit) checkpoints(all []uint64) (newest uint64, err error) {
	for _, index := range all {
		path := checkpointPath(a.dir, index)
		_, err := readCheckpoint(a.fs, path, index)
		if errors.Is(err, ErrDamaged) {
			a.r.Warnings = append(a.r.Warnings, fmt.Sprintf("%s: %v; recovery passes it over", path, err))
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
		a.r.Checkpoints = append(a.r.Checkpoints, index)
		newest = index
	}
	return newest, nil
}

// sweeper finds every valid frame of a segment: in the places where the log puts them, and, where there is none, by
// searching on.
type sweeper struct {
	w      window
	seed   uint64
	budget int64 // bytes of checksums that may still be computed in vain
	pos    int64
	jumped bool  // the last frame was found by searching, not where the log would have put it
	gapAt  int64 // where a frame was looked for in vain before the last one was found
	reason error // why there was none
}

func newSweeper(f File, h *segmentHeader) sweeper {
	return sweeper{w: window{file: f, size: h.size, ahead: scanAheadBytes}, seed: h.seed, pos: BlockBytes, budget: searchSegments * h.size}
}

// next returns the next valid frame, ok false when the rest of the segment has none.
func (s *sweeper) next() (f frameAt, ok bool, err error) {
	s.gapAt, s.reason, s.jumped = s.pos, nil, false
	for _, pos := range [...]int64{s.pos, blockUp(s.pos)} {
		frame, bad, err := s.w.frame(pos, s.seed)
		if err != nil {
			return f, false, err
		}
		if bad == nil {
			f = frameAt{frame, pos}
			s.pos = f.end()
			return f, true, nil
		}
		s.reason = firstReason(s.reason, bad)
	}
	return s.search()
}

// search looks for a frame at every place from s.pos on.
func (s *sweeper) search() (f frameAt, ok bool, err error) {
	for at := s.pos; ; at += 8 {
		if at, err = nextMagic(&s.w, at); err != nil || at < 0 {
			return f, false, err
		}
		f, ok, err = plausible(&s.w, at, s.seed, 1, &s.budget)
		if err != nil {
			return f, false, err
		}
		if ok {
			s.pos, s.jumped = f.end(), true
			return f, true, nil
		}
	}
}
