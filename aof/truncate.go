package aof

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sort"
)

// Truncate takes frames off the end, durably: a follower does that with what a deposed leader gave it and no
// majority ever had. Their indexes are given out again, so nothing of them may be found by a later recovery; and since they
// were durable here, later ones among them say so of earlier ones (the durable mark), which recovery would call
// damage if it found the later without the earlier. So everything goes from the back, and every moment's disk is a log that
// ends somewhere between the new end and the old one:
//
//  1. Segments behind the one that the cut is in are removed, last first, each after its sidecar; and the sidecar of the segment
//     with the cut. Names reach the disk in that order; one sync of the directory ends this step.
//  2. In the segment with the cut, frames are zeroed in groups, last group first, one durable write each. A group goes as far
//     back as its last frame's durable mark allows: none of its frames says anything about another of the group, because
//     marks grow with the index.
//
// What was one write is zeroed by one write, so that a cut takes no longer than the writing did.
//
// In memory the segment with the cut becomes a new segment object, the twin, which shares file and image with the old one; whoever still
// has the old one in hand finds it gone and looks again.
//
// Rejected: a file that says where the log ends (a new kind of file for recovery to trust), and frames that supersede others
// (a scanner that must look at everything before it knows what counts).

// truncation is one cut at work.
type truncation struct {
	l       *Log
	last    uint64     // index of the last frame kept
	removed []*segment // whole ones, in log order
	old     *segment   // the one with the cut in it, nil if the cut is between two
	twin    *segment   // what it becomes
	tail    []cutFrame // its frames behind the cut, in log order
}

// cutFrame is a frame that goes: where it is, and the mark that it carries.
type cutFrame struct {
	pos, end int64
	durable  uint64
}

// Truncate removes every frame with a higher index than last, in memory and on disk; the next frame appended has index last+1. It
// waits until everything appended is durable. After a crash in the middle the log ends at last or later, at most where it did.
// Nothing that a checkpoint covers is cut, nor the first frame of a log that does not begin with index 1. It blocks,
// and is not for use at the same time as Append.
func (l *Log) Truncate(last uint64) error {
	if err := l.quiesce(); err != nil {
		return fmt.Errorf("aof: truncate: %w", err)
	}
	l.upkeep.Lock()
	defer l.upkeep.Unlock()
	l.cuts.Lock()
	defer l.cuts.Unlock()
	c, err := l.planTruncation(last)
	if diskFailed(err) {
		l.fail(fmt.Sprintf("truncate behind index %d", last), err)
	}
	if err != nil {
		return fmt.Errorf("aof: truncate behind index %d: %w", last, err)
	}
	if c == nil {
		return nil
	}
	c.forget()
	if err := c.clean(); err != nil {
		l.fail(fmt.Sprintf("truncate behind index %d", last), err)
		return l.Err()
	}
	c.finish()
	l.keeper.kick()
	l.wakeRefused()
	l.o.Logger.Info("log truncated", "dir", l.dir, "last", last, "segments_removed", len(c.removed), "frames_zeroed", len(c.tail))
	return nil
}

// quiesce waits until no frame is on its way to the disk.
func (l *Log) quiesce() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.failure.Load() == nil && l.last > l.durable.Load() {
		if l.thread == nil {
			return fmt.Errorf("index %d is not durable", l.last)
		}
		l.thread.grown.Wait()
	}
	return l.Err()
}

// planTruncation finds out what has to be done; nil: nothing. It changes nothing but names.
func (l *Log) planTruncation(last uint64) (*truncation, error) {
	if last >= l.LastIndex() {
		return nil, nil
	}
	if first := l.FirstIndex(); last+1 < first || (last+1 == first && first > 1) {
		return nil, fmt.Errorf("the log begins with index %d", first)
	}
	if after := l.checkpoint.Load(); last < after {
		return nil, fmt.Errorf("a checkpoint was made at index %d", after)
	}
	if err := l.nameAll(); err != nil {
		return nil, err
	}
	c := &truncation{l: l, last: last}
	l.mu.Lock()
	n := sort.Search(len(l.segs), func(i int) bool { return l.segs[i].first > last })
	c.removed = slices.Clone(l.segs[n:])
	if n > 0 && l.segs[n-1].last > last {
		c.old = l.segs[n-1]
	}
	l.mu.Unlock()
	if c.old == nil {
		return c, nil
	}
	return c, c.makeTwin()
}

// makeTwin makes the object of the segment with the cut: the frames that stay, indexed, and the list of those that go.
func (c *truncation) makeTwin() error {
	old := c.old
	t := &segment{segmentHeader: old.segmentHeader, first: old.first, named: true, sparse: make([]mark, 0, old.size/sparseBytes+1)}
	t.setName(old.name())
	img, err := c.l.imageOf(old)
	if err != nil {
		return err
	}
	x := newIndex()
	_, err = scanFrames(window{mem: img.mem[:old.end], size: old.end}, old, func(f *frameAt) error {
		if f.Index > c.last {
			c.tail = append(c.tail, cutFrame{f.pos, f.end(), f.Durable})
			return nil
		}
		t.note(f.Index, f.pos, f.end(), f.TimeMs)
		_, ok := x.addFrame(t, &f.Frame, f.pos)
		return orDamaged(ok, "offsets of a stream do not grow")
	})
	if err == nil {
		err = orDamaged(t.last == c.last && uint64(len(c.tail)) == old.last-c.last, "not all of its frames are found")
	}
	if t.file = old.file; err == nil && t.file == nil {
		t.file, err = c.l.fs.Open(old.name(), WriteThrough)
	}
	if err != nil {
		if old.img.Load() != img {
			img.release()
		}
		return err
	}
	t.img.Store(img)
	c.twin = t
	return nil
}

// orDamaged makes an error of what should hold and does not.
func orDamaged(ok bool, text string) error {
	if ok {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrDamaged, text)
}

// imageOf returns the image of a segment, a new one read from its file if it has none.
func (l *Log) imageOf(s *segment) (*image, error) {
	if img := s.img.Load(); img != nil {
		return img, nil
	}
	img, err := l.pool.get(s.size)
	if err != nil {
		return nil, err
	}
	if err := l.readInto(img.mem[:s.end], s); err != nil {
		img.release()
		return nil, err
	}
	clear(img.mem[s.end:blockUp(s.end)])
	return img, nil
}

// forget takes what is cut out of the index, and tells whoever still has one of the segments in hand that it is gone.
func (c *truncation) forget() {
	c.l.frames.close()
	for _, s := range c.removed {
		c.l.index.drop(s, nil)
		c.l.bury(s)
		s.dropImage()
	}
	if s := c.old; s != nil {
		c.l.index.drop(s, c.twin)
		c.l.bury(s)
		if s.img.Load() == c.twin.img.Load() {
			s.img.Store(nil) // its reference is the twin's now
		}
	}
}

// bury marks a segment as gone, once the index has forgotten it, and closes its sidecar.
func (l *Log) bury(s *segment) {
	s.loading.Lock()
	defer s.loading.Unlock()
	s.gone.Store(true)
	if side := s.side.Load(); side != nil {
		side.close()
	}
}

// clean makes it so on disk.
func (c *truncation) clean() error {
	if err := c.removeFiles(); err != nil {
		return err
	}
	return c.zeroTail()
}

// removeFiles is step 1.
func (c *truncation) removeFiles() error {
	for _, s := range slices.Backward(c.removed) {
		if err := c.l.removeSegment(s); err != nil {
			return err
		}
	}
	if c.old != nil {
		if err := c.l.removeIfThere(sidecarPath(c.l.dir, c.old.first)); err != nil {
			return err
		}
	}
	return c.l.fs.SyncDir(c.l.dir)
}

// removeSegment closes and removes a segment, its sidecar first.
func (l *Log) removeSegment(s *segment) error {
	if s.file != nil {
		if err := s.file.Close(); err != nil {
			return err
		}
	}
	if err := l.removeIfThere(sidecarPath(l.dir, s.first)); err != nil {
		return err
	}
	return l.fs.Remove(s.name())
}

func (l *Log) removeIfThere(path string) error {
	if err := l.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// zeroTail is step 2.
func (c *truncation) zeroTail() error {
	if c.old == nil || c.l.o.keepStale {
		return nil
	}
	mem := c.twin.img.Load().mem
	for n := len(c.tail); n > 0; {
		g := c.groupStart(n)
		from, to := c.tail[g].pos, c.tail[n-1].end
		clear(mem[from:to])
		from, to = blockDown(from), blockUp(to)
		if err := writeAll(c.twin.file, mem[from:to:to], from); err != nil {
			return fmt.Errorf("zero %s at byte %d: %w", c.twin.name(), from, err)
		}
		n = g
	}
	return nil
}

// groupStart returns where the group begins that ends with the n-th frame of the tail: behind the index that this frame's mark
// says was durable.
func (c *truncation) groupStart(n int) int {
	index, durable := c.last+uint64(n), c.tail[n-1].durable
	if durable >= index {
		panic(fmt.Sprintf("bug: frame %d says that %d was durable", index, durable))
	}
	return int(max(durable, c.last) - c.last)
}

// finish sets the log's state so that it goes on behind the cut.
func (c *truncation) finish() {
	l := c.l
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := l.segs[:len(l.segs)-len(c.removed)]
	l.active, l.pos, l.timeMs = nil, 0, 0
	if n := len(kept); n > 0 {
		if c.old != nil {
			kept[n-1] = c.twin
			l.active, l.pos = c.twin, c.twin.end
		}
		l.timeMs = kept[n-1].maxTime
	}
	clear(l.segs[len(kept):])
	clear(l.hints[:])
	l.segs = kept
	l.sealed = slices.DeleteFunc(l.sealed, func(s *segment) bool { return s.gone.Load() })
	l.last, l.copied = c.last, c.last
	l.truncations++
	l.wakeThread()
	l.durable.Store(c.last)
	l.countRoom()
	l.stats.Segments.Store(int64(len(l.segs)))
}
