package aof

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"ayder/internal/record"
	"ayder/internal/uring"
)

// Rewriting: one or more neighbouring sealed segments become one file that has what is alive in them, and takes their place.
//
//	segments a … z ──► read, verify, keep live sections ──► a.aof.tmp ──► synced ──► renamed to a.aof ──► b … z removed
//	                   index them                      ──► a.aof.idx.tmp ──► synced ──► renamed to a.idx
//
// A frame keeps index, term, time, marks and kind, and loses the sections that are dead, commands (a checkpoint has what they did), and, where
// only a part of a section is alive, the rest of that section. One of which nothing is left is left out. Frames stand one behind the other, and the file
// ends behind the last. Its header says which indexes the file stands for, so that the log has no gap where frames are missing, even if nothing at all is alive.
//
// The one moment that counts is the first renaming: before it the old files are the log, after it the new one is, and b … z are left over from
// before (survey.go finds them by the header of a). In memory the same moment replaces the segments by another one. Readers that
// are in one of the old ones go on from the file or image that they have, or find it gone and look again.
//
// Rejected: rewriting in place (holes punched into a file give blocks back, but not what lies between, and every reader's position becomes a
// question), and sorting by stream (a partition that is read alone would gain; all others, and the order of the log, would lose).

// rewriting is one at work.
type rewriting struct {
	l      *Log
	in     []*segment
	out    *segment // the new one
	index  *index   // of out alone
	file   File
	pace   pacer
	blocks []byte // page-aligned; the end of the file that is not written yet
	at     int64  // of blocks in the file
	fill   int    // bytes in blocks
	frame  []byte
	alive  map[record.Stream][]Range // in the segment that is being read
	read   int64                     // bytes of frames since the last rest

	installed bool // the new file is the log's
}

// rewrite makes one file of a group.
func (l *Log) rewrite(group []candidate, live Liveness, done *Reclaimed) error {
	w := &rewriting{l: l, index: newIndex(), pace: pacer{l, time.Now()}}
	for _, c := range group {
		w.in = append(w.in, c.s)
	}
	side, err := w.make(live)
	if err == nil {
		err = w.install(side)
	}
	switch {
	case err == nil:
		done.Rewritten += len(w.in)
		done.Files++
		return nil
	case w.installed:
		return err
	}
	w.discard(side)
	if errors.Is(err, ErrDamaged) || errors.Is(err, record.ErrMalformed) {
		l.o.Logger.Error("segments are not rewritten", "first", w.in[0].first, "err", err)
		for _, s := range w.in {
			s.stuck = true
		}
		_ = l.noticed(err)
		return nil
	}
	if errors.Is(err, errGone) {
		return nil // dropped meanwhile
	}
	return err
}

// paths of what is being made.
func (w *rewriting) filePath() string { return segmentPath(w.l.dir, w.in[0].first) + tmpSuffix }

func (w *rewriting) sidePath() string {
	return segmentPath(w.l.dir, w.in[0].first) + sidecarSuffix + tmpSuffix
}

// make writes the new segment and its sidecar under temporary names, durably.
func (w *rewriting) make(live Liveness) (side *sidecar, err error) {
	first, last := w.in[0], w.in[len(w.in)-1]
	w.out = &segment{segmentHeader: segmentHeader{seed: w.l.o.newSeed(), createdMs: uint64(time.Now().UnixMilli()), log: w.l.id}}
	w.out.first, w.out.named, w.out.indexed = first.first, true, true
	w.out.extent = extent{first: first.first, last: last.last, end: BlockBytes}
	w.out.setName(segmentPath(w.l.dir, first.first))
	if err := w.writeSegment(live); err != nil {
		return nil, err
	}
	w.out.last, w.out.end = last.last, w.out.extent.end
	side = encodeSidecar(w.out)
	if err := writeParts(w.l.fs, w.sidePath(), [][]byte{side.data}); err != nil {
		return side, err
	}
	mapped, err := readSidecar(w.l.fs, w.sidePath())
	if err != nil {
		return side, err
	}
	w.index.cool(w.out)
	w.out.sparse = nil
	return mapped, nil
}

func (w *rewriting) writeSegment(live Liveness) (err error) {
	w.blocks, err = uring.Anon(zeroChunkBytes)
	if err != nil {
		return fmt.Errorf("aof: memory to rewrite a segment: %w", err)
	}
	defer mustFree(w.blocks)
	w.at, w.fill = BlockBytes, 0 // the header comes last, when it is known
	if w.file, err = w.l.fs.Open(w.filePath(), CreateBlocks); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.file.Close()) }()
	for _, s := range w.in {
		if err := w.copyLive(s, live); err != nil {
			return err
		}
	}
	if err := w.flush(); err != nil {
		return err
	}
	w.out.size = blockUp(w.out.extent.end)
	clear(w.blocks[:BlockBytes])
	w.out.segmentHeader.put(w.blocks)
	if err := writeAll(w.file, w.blocks[:BlockBytes], 0); err != nil {
		return err
	}
	if w.l.o.looseRewrite {
		return nil
	}
	if err := w.file.Sync(); err != nil {
		return err
	}
	forget(w.file)
	return nil
}

// copyLive adds what is alive in one segment.
func (w *rewriting) copyLive(s *segment, live Liveness) error {
	w.alive = make(map[record.Stream][]Range)
	for _, r := range s.sortedRuns() {
		if all := live.Alive(nil, r.stream, r.first, r.next); len(all) > 0 {
			w.alive[r.stream] = all
		}
	}
	if len(w.alive) == 0 {
		return nil // it need not even be readable
	}
	file, err := w.l.openSegment(s)
	if err != nil {
		return err
	}
	defer file.Close()
	view := window{file: file, size: s.size, ahead: zeroChunkBytes}
	if s.rewritten() {
		err = scanRewritten(view, s, w.copyFrame)
	} else {
		err = w.copyWhole(view, s)
	}
	forget(file)
	return err
}

// copyWhole visits the frames of a segment that was never rewritten, all of them.
func (w *rewriting) copyWhole(view window, s *segment) error {
	reading := &segment{segmentHeader: s.segmentHeader, first: s.first} // scanning does not touch s itself
	reading.setName(s.name())
	end, err := scanFrames(view, reading, w.copyFrame)
	if err == nil && end.expect != s.last+1 {
		err = &Damage{File: s.name(), Pos: end.pos, Index: end.expect, Lost: s.last, Reason: end.reason.Error()}
	}
	return err
}

// copyFrame adds what is alive in a frame.
func (w *rewriting) copyFrame(f *frameAt) error {
	if w.read += int64(f.Size); w.read >= zeroChunkBytes {
		w.read = 0
		if err := w.pace.rest(); err != nil {
			return err
		}
	}
	w.frame = append(w.frame[:0], zeroBlock[:record.FrameHeaderBytes]...)
	sections := uint32(0)
	it := f.Iter()
	for sec, ok := it.Next(); ok; sec, ok = it.Next() {
		if sec.Type != record.SectionRecords {
			continue
		}
		n, err := w.copySection(&sec)
		if err != nil {
			return err
		}
		sections += n
	}
	if err := it.Err(); err != nil || sections == 0 {
		return err
	}
	if len(w.frame) > record.FrameBytesMax {
		return fmt.Errorf("%d bytes of what is alive: %w", len(w.frame), record.ErrMalformed)
	}
	h := f.Header
	h.Size, h.Sections = uint32(len(w.frame)), sections
	record.PutHeader(w.frame, &h, w.out.seed)
	return w.appendFrame(&h)
}

// copySection adds the parts of a section that are alive, each as a section, and returns how many there are.
func (w *rewriting) copySection(sec *record.Section) (n uint32, err error) {
	all := w.alive[sec.Stream]
	end := sec.Base + uint64(sec.Count)
	i := sort.Search(len(all), func(i int) bool { return all[i].Next > sec.Base })
	pos, offset := 0, sec.Base
	for ; i < len(all) && all[i].First < end; i++ {
		from, to := max(all[i].First, sec.Base), min(all[i].Next, end)
		part := *sec
		if from != sec.Base || to != end {
			skip, ok := record.SkipRecords(sec.Body[pos:], from-offset)
			size, fits := record.SkipRecords(sec.Body[pos+skip:], to-from)
			if !ok || !fits {
				return 0, record.ErrMalformed
			}
			part.Base, part.Count, part.Body = from, uint32(to-from), sec.Body[pos+skip:pos+skip+size]
			pos, offset = pos+skip+size, to
		}
		w.frame = part.AppendTo(w.frame)
		n++
	}
	return n, nil
}

// appendFrame puts the frame behind the last one and indexes it.
func (w *rewriting) appendFrame(h *record.Header) error {
	pos := w.out.extent.end
	end := pos + int64(record.AlignedSize(len(w.frame)))
	if end > SegmentBytesMax {
		return fmt.Errorf("more is alive than fits one segment: %w", errGone) // it was counted before, so this is of another time
	}
	w.out.note(h.Index, pos, end, h.TimeMs)
	w.out.extent.end = end
	w.out.extent.frames++
	view := record.Frame{Header: *h, Payload: w.frame[record.FrameHeaderBytes:]}
	if sec, ok := w.index.addFrame(w.out, &view, pos); !ok {
		return fmt.Errorf("offset %d of %v again: %w", sec.Base, sec.Stream, ErrDamaged)
	}
	if err := w.write(w.frame); err != nil {
		return err
	}
	return w.write(zeroBlock[:end-pos-int64(len(w.frame))])
}

// write adds bytes to the file.
func (w *rewriting) write(p []byte) error {
	for len(p) > 0 {
		n := copy(w.blocks[w.fill:], p)
		p, w.fill = p[n:], w.fill+n
		if w.fill == len(w.blocks) {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush writes what has gathered, in whole blocks, and rests.
func (w *rewriting) flush() error {
	n := blockUp(int64(w.fill))
	clear(w.blocks[w.fill:n])
	if err := writeAll(w.file, w.blocks[:n], w.at); err != nil {
		return err
	}
	w.at, w.fill = w.at+n, 0
	return w.pace.rest()
}

// install puts the new file in the place of the old ones.
func (w *rewriting) install(side *sidecar) error {
	l := w.l
	l.upkeep.Lock()
	defer l.upkeep.Unlock()
	if l.o.removeFirst {
		if err := w.removeRest(); err != nil {
			return err
		}
	}
	if err := w.exchange(side); err != nil {
		return err
	}
	l.closeReaders()
	if err := l.fs.SyncDir(l.dir); err != nil {
		return err
	}
	if l.o.removeFirst {
		return nil
	}
	return w.removeRest()
}

// removeRest removes the segments that the new one stands for and does not replace.
func (w *rewriting) removeRest() error {
	for _, s := range w.in[1:] {
		if err := w.l.removeSegment(s); err != nil {
			return err
		}
	}
	if len(w.in) == 1 {
		return nil
	}
	return w.l.fs.SyncDir(w.l.dir)
}

// exchange is the moment in which the new file becomes the log's, on disk and in memory.
func (w *rewriting) exchange(side *sidecar) error {
	l, first := w.l, w.in[0].first
	l.cuts.Lock()
	defer l.cuts.Unlock()
	l.swaps.Lock()
	defer l.swaps.Unlock()
	if !l.has(w.in) {
		return errGone
	}
	if err := l.fs.Rename(w.filePath(), segmentPath(l.dir, first)); err != nil {
		return err
	}
	if err := l.fs.Rename(w.sidePath(), sidecarPath(l.dir, first)); err != nil {
		l.o.Logger.Warn("sidecar not renamed; the next start makes it again", "segment", w.out.name(), "err", err)
	}
	w.installed = true
	w.out.side.Store(side)
	l.replace(w.in, w.out)
	l.index.exchange(w.in, w.out)
	for _, s := range w.in {
		l.bury(s)
		s.dropImage()
	}
	l.frames.close()
	return nil
}

// has tells whether the segments are still the log's.
func (l *Log) has(segs []*segment) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.segs, segs[0])
	return i >= 0 && len(l.segs)-i >= len(segs) && slices.Equal(l.segs[i:i+len(segs)], segs)
}

// replace puts one segment in the place of neighbours, in the list.
func (l *Log) replace(olds []*segment, now *segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.segs, olds[0])
	l.segs = slices.Replace(slices.Clone(l.segs), i, i+len(olds), now)
	clear(l.hints[:])
	l.wholeFrom = l.durable.Load()
	l.stats.Segments.Store(int64(len(l.segs)))
}

// discard removes what was made in vain, best effort: the next start does it too.
func (w *rewriting) discard(side *sidecar) {
	if side != nil {
		side.close()
	}
	_ = w.l.removeIfThere(w.filePath())
	_ = w.l.removeIfThere(w.sidePath())
}
