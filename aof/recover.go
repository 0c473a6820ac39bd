package aof

import (
	"fmt"
	"slices"

	"ayder/internal/record"
	"ayder/internal/uring"
)

// recovery is Open at work. The walk follows the chain of indexes from segment to segment; where it ends, everything
// behind is searched for a witness that acknowledged data is missing, and only when there is none anything is changed:
// first the files behind the end go, then the stale bytes in the last segment are zeroed, both synced, before the
// first append. So a frame that was never acknowledged cannot come back when its index is given out again. A crash in
// between finds the same end, because nothing was appended.
type recovery struct {
	l     *Log
	v     *survey
	apply func(record.Frame) error

	chain    []*segment // the log
	end      stop       // of the chain
	open     bool       // the chain's last segment was scanned, not attached: it can be appended to
	timeMs   uint64
	headless *segment   // the segment behind the end, when its name continues the chain and its first frame is missing
	behind   []*segment // segments behind the end
	remains  remains    // of the last segment
	empty    map[*segment]bool
	replayed uint64
	scanned  int
}

// walk visits the chain.
func (r *recovery) walk() error {
	after := r.l.o.ReplayAfter
	r.end.expect = after + 1
	for i, s := range r.v.segments {
		if s.rewritten() && s.last > after {
			return &Damage{File: s.name(), Index: s.first, Lost: s.last, Reason: fmt.Sprintf("what was dead in it is gone, and no state behind it is left: the state to replay into ends at %d", after)}
		}
		switch {
		case i == 0 && s.first > after+1:
			r.end.reason = fmt.Errorf("the log starts with index %d, the state to replay into ends at %d", s.first, after)
			r.behind = r.v.segments
			return nil
		case i == 0:
			r.end.expect = s.first
		case s.first != r.end.expect:
			r.behind = append(r.behind, r.v.segments[i:]...)
			return nil
		}
		end, open := r.end, r.open
		if err := r.visit(s); err != nil {
			return err
		}
		if s.last == 0 { // named early, nothing in it: not part of the log
			r.end, r.open, r.headless = end, open, s
			r.behind = append(r.behind, r.v.segments[i:]...)
			return nil
		}
		r.chain = append(r.chain, s)
	}
	return nil
}

// visit attaches a segment by its sidecar or scans it.
func (r *recovery) visit(s *segment) error {
	if r.v.supersedes(s) {
		if err := r.scanAlone(s); err != nil { // before those are removed that it stands for
			return err
		}
	}
	h, runs, err := goodSidecar(r.l.fs, r.l.dir, s)
	if err == nil && h.last <= r.l.o.ReplayAfter {
		return r.attach(s, &h, runs)
	}
	if err != nil && !sidecarMissing(err) {
		r.l.o.Logger.Warn("sidecar will be made again", "segment", s.name(), "err", err)
	}
	end, scanErr := r.scan(s, err != nil)
	if scanErr != nil {
		return scanErr
	}
	if err == nil && h.last >= end.expect {
		return &Damage{File: s.name(), Pos: end.pos, Index: end.expect, Lost: h.last, Reason: end.reason.Error()}
	}
	if err == nil {
		return r.attach(s, &h, runs)
	}
	r.end, r.open = end, s.last != 0 && !s.rewritten()
	return nil
}

// scanAlone verifies a segment and does nothing else.
func (r *recovery) scanAlone(s *segment) error {
	f, err := r.l.fs.Open(s.name(), ReadOnly)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = scanFile(f, s, func(f *frameAt) error { return checkSections(&f.Frame) })
	return err
}

// attach takes over what the sidecar says of a sealed segment.
func (r *recovery) attach(s *segment, h *sidecarHeader, runs []run) error {
	s.last, s.end, s.minTime, s.maxTime, s.indexed = h.last, h.end, h.minTime, h.maxTime, true
	s.sparse = nil
	s.runs = make([]*run, len(runs))
	for i := range runs {
		s.runs[i] = &runs[i]
		if !r.l.index.make(runs[i].stream).attach(s, &runs[i]) {
			return &Damage{File: sidecarPath(r.l.dir, s.first), Index: s.first, Reason: fmt.Sprintf("offsets of %v do not grow", runs[i].stream)}
		}
	}
	r.end, r.open = stop{pos: h.end, expect: h.last + 1}, false
	r.timeMs = h.maxTime
	return nil
}

// scan reads a segment's frames, replays those that are wanted and, where there is no sidecar, indexes them.
func (r *recovery) scan(s *segment, index bool) (stop, error) {
	r.scanned++
	f, err := openSettled(r.l.fs, s.name())
	if err != nil {
		return stop{}, err
	}
	defer f.Close()
	return scanFile(f, s, func(f *frameAt) error {
		s.note(f.Index, f.pos, f.end(), f.TimeMs)
		r.timeMs = f.TimeMs
		if err := checkSections(&f.Frame); err != nil {
			return err
		}
		if index {
			if sec, ok := r.l.index.addFrame(s, &f.Frame, f.pos); !ok {
				return fmt.Errorf("%w: offset %d of %v again", ErrDamaged, sec.Base, sec.Stream)
			}
		}
		if f.Index <= r.l.o.ReplayAfter {
			return nil
		}
		r.replayed++
		if r.apply == nil {
			return nil
		}
		return r.apply(f.Frame)
	})
}

// checkSections makes sure that the sections of a frame can be walked: a good checksum over nonsense is a bug or a newer version.
func checkSections(f *record.Frame) error {
	it := f.Iter()
	for _, ok := it.Next(); ok; _, ok = it.Next() {
	}
	return it.Err()
}

// searchWitness fails if anything behind the end proves that the index missing there had been durable: a later
// frame's mark, a sidecar, or the caller's checkpoint.
func (r *recovery) searchWitness() error {
	missing := r.end.expect
	if after := r.l.o.ReplayAfter; after >= missing || (after > 0 && len(r.chain) == 0) {
		return r.damage(after, fmt.Sprintf("a checkpoint was made at index %d", after))
	}
	if r.open {
		s := r.chain[len(r.chain)-1]
		rest, err := r.l.remainsOf(s, r.end.pos, missing)
		if err != nil {
			return err
		}
		if rest.witness != 0 {
			return r.damage(rest.acked, fmt.Sprintf("the frame at byte %d says that it was durable", rest.witness))
		}
		r.remains = rest
	}
	r.empty = make(map[*segment]bool)
	for _, s := range r.discarded() {
		if h, _, err := goodSidecar(r.l.fs, r.l.dir, s); err == nil {
			return r.damage(h.last, s.name()+" has a sidecar, so it was durable")
		}
		rest, err := r.l.remainsOf(s, BlockBytes, missing)
		if err != nil {
			return err
		}
		if rest.witness != 0 {
			return r.damage(rest.acked, fmt.Sprintf("%s, the frame at byte %d, says that it was durable", s.name(), rest.witness))
		}
		r.empty[s] = rest.to == 0
	}
	return nil
}

// discarded is every segment and spare that is not part of the log.
func (r *recovery) discarded() []*segment {
	return append(append([]*segment(nil), r.behind...), r.v.spares...)
}

// damage describes what is missing at the end of the chain, given the highest index that had been durable.
func (r *recovery) damage(lost uint64, proof string) *Damage {
	d := &Damage{File: r.l.dir, Index: r.end.expect, Lost: lost, Reason: proof}
	switch n := len(r.chain); {
	case r.headless != nil:
		d.File, d.Pos = r.headless.name(), BlockBytes
	case n > 0:
		d.File, d.Pos = r.chain[n-1].name(), r.end.pos
	}
	if r.end.reason != nil {
		d.Reason = fmt.Sprintf("%v, but %s", r.end.reason, proof)
	}
	return d
}

func (l *Log) remainsOf(s *segment, pos int64, missing uint64) (remains, error) {
	f, err := openSettled(l.fs, s.name())
	if err != nil {
		return remains{}, err
	}
	defer f.Close()
	rest, err := searchRemains(f, &s.segmentHeader, pos, missing)
	if err != nil {
		return rest, fmt.Errorf("%s: %w", s.name(), err)
	}
	forget(f)
	return rest, nil
}

// cut removes what lies behind the end of the log, and then zeroes the stale bytes in its last segment.
func (r *recovery) cut() error {
	l := r.l
	l.segs = r.chain
	for _, path := range r.v.leftovers {
		if err := l.fs.Remove(path); err != nil {
			return err
		}
	}
	for _, s := range r.discarded() {
		if err := r.recycle(s); err != nil {
			return err
		}
	}
	for _, s := range r.v.superseded {
		l.o.Logger.Info("segment removed that a rewritten one stands for", "segment", s.name())
		if err := l.removeSegment(s); err != nil {
			return err
		}
	}
	for _, s := range r.chain {
		if s.named {
			continue
		}
		path := segmentPath(l.dir, s.first)
		if err := l.fs.Rename(s.name(), path); err != nil {
			return err
		}
		s.setName(path)
		s.named = true
	}
	if err := l.fs.SyncDir(l.dir); err != nil {
		return err
	}
	if !r.open {
		return nil
	}
	return r.loadActive(r.chain[len(r.chain)-1])
}

// recycle makes a segment that is not part of the log a spare again if it is all zeros and of the right size, and removes it if not.
func (r *recovery) recycle(s *segment) error {
	l := r.l
	if !r.empty[s] || s.size != l.o.SegmentBytes {
		if !r.empty[s] {
			l.o.Logger.Warn("frames cut that were never acknowledged", "segment", s.name(), "from", r.end.expect)
		}
		return l.fs.Remove(s.name())
	}
	path := sparePath(l.dir, s.sequence, readySuffix)
	if path != s.name() {
		if err := l.fs.Rename(s.name(), path); err != nil {
			return err
		}
	}
	spare, err := l.openSpare(path, s.segmentHeader)
	if err != nil {
		return err
	}
	l.addReady(spare)
	return nil
}

// loadActive reads the last segment into its image and zeroes what is behind its end, in memory and on disk.
func (r *recovery) loadActive(s *segment) (err error) {
	l := r.l
	img, err := l.pool.get(s.size)
	if err != nil {
		return err
	}
	s.img.Store(img)
	if err := l.readInto(img.mem[:r.end.pos], s); err != nil {
		return err
	}
	clear(img.mem[r.end.pos:blockUp(r.end.pos)])
	if s.file, err = l.fs.Open(s.name(), WriteThrough); err != nil {
		return err
	}
	if r.remains.to == 0 || l.o.keepStale {
		return nil
	}
	l.o.Logger.Warn("bytes zeroed behind the last frame", "segment", s.name(), "at", r.end.pos, "bytes", r.remains.to-r.end.pos, "highest", r.remains.highest)
	if err := r.zeroRest(s, img.mem); err != nil {
		return fmt.Errorf("%s: zero the rest: %w", s.name(), err)
	}
	return nil
}

// zeroRest writes the tail block as the image has it, and zeros as far as there is anything else.
func (r *recovery) zeroRest(s *segment, mem []byte) error {
	pos, to := r.end.pos, blockUp(r.remains.to)
	if from := blockDown(pos); from != pos {
		if err := writeAll(s.file, mem[from:from+BlockBytes], from); err != nil {
			return err
		}
		pos = from + BlockBytes
	}
	zeros, err := uring.Anon(zeroChunkBytes)
	if err != nil {
		return err
	}
	defer mustFree(zeros)
	for ; pos < to; pos += zeroChunkBytes {
		if err := writeAll(s.file, zeros[:min(zeroChunkBytes, to-pos)], pos); err != nil {
			return err
		}
	}
	return nil
}

// readInto fills p with the start of the segment's file.
func (l *Log) readInto(p []byte, s *segment) error {
	f, err := l.fs.Open(s.name(), ReadOnly)
	if err != nil {
		return err
	}
	defer f.Close()
	for at := 0; at < len(p); at += scanAheadBytes {
		part := p[at:min(at+scanAheadBytes, len(p))]
		if n, err := f.ReadAt(part, int64(at)); n < len(part) {
			return fmt.Errorf("%s: read at %d: %w", s.name(), at, err)
		}
	}
	forget(f)
	return nil
}

// index makes the missing sidecars of sealed segments.
func (r *recovery) index() error {
	l := r.l
	for i, s := range r.chain {
		if s.indexed || (r.open && i == len(r.chain)-1) {
			continue
		}
		if err := l.writeSidecar(s); err != nil {
			l.o.Logger.Warn("sidecar not written", "segment", s.name(), "err", err)
		}
		s.indexed = true
		l.index.cool(s)
	}
	return nil
}

// resume sets the log's state so that it goes on behind the end, with a spare at hand if nothing else has room.
func (r *recovery) resume() error {
	l := r.l
	l.last, l.timeMs = r.end.expect-1, r.timeMs
	l.copied = l.last
	l.checkpoint.Store(l.o.ReplayAfter)
	l.durable.Store(l.last)
	if r.open {
		l.active = r.chain[len(r.chain)-1]
		l.pos = r.end.pos
	}
	l.countRoom()
	if len(l.segs) > 0 && (l.segs[0].first > 1 || slices.ContainsFunc(l.segs, func(s *segment) bool { return s.rewritten() })) {
		l.wholeFrom = l.last // when that was nobody knows
	}
	l.stats.Segments.Store(int64(len(l.segs)))
	if l.active != nil || len(l.ready) > 0 {
		return nil
	}
	err := l.addSpare()
	if noSpace(err) {
		l.later("prepare a segment", err)
		return nil
	}
	return err
}
