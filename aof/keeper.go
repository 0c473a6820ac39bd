package aof

import (
	"errors"
	"fmt"
	"time"

	"ayder/internal/uring"
)

// The keeper is the log's own goroutine for files: it gives segments in use their final names, makes spares ahead of
// need, and holds the memory of images to its bound.
//
// A spare is written full of zeros because a synced write into blocks that were written before costs the disk
// half of one into new blocks: no allocation, no metadata. It is made under a temporary name and renamed when
// everything is durable, so that a spare that is "ready" is complete. The writing is paced (it rests as long as it
// writes) unless room is short, because it shares the disk with the commits.
//
// A disk that is full makes Admit refuse before room runs out; the keeper tries again every second until it has its
// spare, and likewise when descriptors or memory are short. A disk that fails stops the log: one that cannot write zeros will not
// keep data.

// keep is one step of the keeper. It returns when to try again what could not be done.
func (l *Log) keep() time.Duration {
	if l.Err() != nil {
		return 0
	}
	if err := l.nameSegments(); err != nil {
		return l.later("name a segment", err)
	}
	l.boundImages()
	for l.spareWanted() {
		if err := l.addSpare(); err != nil {
			return l.later("prepare a segment", err)
		}
	}
	return 0
}

// later decides what an error of the keeper means: the end of the log, or another attempt.
func (l *Log) later(op string, err error) time.Duration {
	switch {
	case errors.Is(err, ErrClosed):
		return 0
	case diskFailed(err):
		l.fail(op, err)
		return 0
	}
	l.mu.Lock()
	first := !l.lacking
	l.lacking, l.full = true, noSpace(err)
	l.mu.Unlock()
	if first {
		l.o.Logger.Warn("cannot "+op+"; trying again", "dir", l.dir, "every", keeperRetry, "err", err)
	}
	return keeperRetry
}

// nameSegments renames segments in use to their first index.
func (l *Log) nameSegments() error {
	l.upkeep.Lock()
	defer l.upkeep.Unlock()
	return l.nameAll()
}

// nameAll is nameSegments with upkeep held.
func (l *Log) nameAll() error {
	for {
		l.mu.Lock()
		if len(l.unnamed) == 0 {
			l.mu.Unlock()
			return nil
		}
		s := l.unnamed[0]
		l.mu.Unlock()
		path := segmentPath(l.dir, s.first)
		if err := l.fs.Rename(s.name(), path); err != nil {
			return err
		}
		s.setName(path) // at once: the next attempt, if the sync fails, goes by it
		if err := l.fs.SyncDir(l.dir); err != nil {
			return err
		}
		l.mu.Lock()
		s.named = true
		l.unnamed = append(l.unnamed[:0], l.unnamed[1:]...)
		l.mu.Unlock()
		l.indexer.kick()
	}
}

// spareWanted tells whether fewer spares are ready than Admit needs besides the active segment, and at least one.
func (l *Log) spareWanted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.slimmed && l.room.Load() >= l.need.Load() {
		return false
	}
	return len(l.ready) < l.sparesWanted() && l.failure.Load() == nil
}

func (l *Log) sparesWanted() int {
	perSegment := (l.o.SegmentBytes - BlockBytes) / blockUp(int64(l.o.FrameBytesMax))
	return int(max(1, (l.need.Load()+perSegment-1)/perSegment))
}

// addSpare makes a spare and gives it to the writers.
func (l *Log) addSpare() error {
	s, err := l.makeSpare()
	if err != nil {
		return err
	}
	l.addReady(s)
	l.wakeRefused()
	return nil
}

func (l *Log) addReady(s *segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ready = append(l.ready, s)
	l.full, l.lacking = false, false
	l.countRoom()
	l.wakeThread()
	l.stats.SparesReady.Store(int64(len(l.ready)))
}

// wakeRefused tells the writers that Admit turned away, or the thread's owner, to ask again.
func (l *Log) wakeRefused() {
	l.mu.Lock()
	var wake []*Writer
	for _, w := range l.writers[:l.writerCount] {
		if w.refused {
			w.refused = false
			wake = append(wake, w)
		}
	}
	thread := l.thread
	l.mu.Unlock()
	if thread != nil && thread.o.OnRoom != nil {
		thread.o.OnRoom()
	}
	for _, w := range wake {
		w.wake()
	}
}

// makeSpare makes one spare, complete and durable. What is left of a failed attempt is removed, best effort: it may
// be what fills the disk, and Open removes it anyway.
func (l *Log) makeSpare() (*segment, error) { return l.makeSpareOf(l.o.SegmentBytes) }

// makeSpareOf makes one of a size.
func (l *Log) makeSpareOf(size int64) (*segment, error) {
	l.mu.Lock()
	l.sequence++
	h := segmentHeader{size: size, seed: l.o.newSeed(), sequence: l.sequence, createdMs: uint64(time.Now().UnixMilli()), log: l.id}
	l.mu.Unlock()
	tmp, ready := sparePath(l.dir, h.sequence, tmpSuffix), sparePath(l.dir, h.sequence, readySuffix)
	err := l.writeSpare(tmp, &h)
	if err == nil {
		err = l.fs.Rename(tmp, ready)
	}
	if err != nil {
		_ = l.fs.Remove(tmp)
		return nil, fmt.Errorf("%s: %w", tmp, err)
	}
	if err = l.fs.SyncDir(l.dir); err != nil {
		return nil, err
	}
	return l.openSpare(ready, h)
}

// openSpare makes the segment of a ready spare: file and image.
func (l *Log) openSpare(path string, h segmentHeader) (*segment, error) {
	s := &segment{segmentHeader: h, sparse: make([]mark, 0, h.size/sparseBytes+1)}
	s.setName(path)
	l.boundImages()
	img, err := l.pool.get(h.size)
	if err != nil {
		return nil, err
	}
	if s.file, err = l.fs.Open(path, WriteThrough); err != nil {
		img.release()
		return nil, err
	}
	s.img.Store(img)
	return s, nil
}

// writeSpare writes the header block and zeros, and syncs.
func (l *Log) writeSpare(path string, h *segmentHeader) (err error) {
	f, err := l.fs.Open(path, CreateBlocks)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	chunk, err := uring.Anon(int(min(zeroChunkBytes, h.size)))
	if err != nil {
		return err
	}
	defer mustFree(chunk)
	if err := reserve(f, h.size); err != nil {
		return err
	}
	h.put(chunk)
	for at := int64(0); at < h.size; at += int64(len(chunk)) {
		part := chunk[:min(int64(len(chunk)), h.size-at)]
		if err := l.paced(func() error { return writeAll(f, part, at) }); err != nil {
			return err
		}
		clear(chunk[:BlockBytes])
	}
	if err := f.Sync(); err != nil {
		return err
	}
	forget(f)
	return nil
}

// paced runs a write, and rests as long as it took unless room is short.
func (l *Log) paced(write func() error) error {
	started := time.Now()
	err := write()
	if l.o.manual || err != nil {
		return err
	}
	if l.keeper.stop != nil && l.keeper.halting() {
		return ErrClosed
	}
	if l.room.Load() >= 2*l.need.Load() {
		time.Sleep(time.Since(started))
	}
	return nil
}

// boundImages gives up the oldest images while all of them, spares included, are over the bound, and unmaps what nobody
// needs. Only segments with a sidecar may lose their image: their index entries are on disk.
func (l *Log) boundImages() {
	l.upkeep.Lock()
	defer l.upkeep.Unlock()
	for _, s := range l.imagesToDrop() {
		l.index.cool(s)
		l.mu.Lock()
		s.sparse = nil // the sidecar has the marks
		l.mu.Unlock()
		s.dropImage()
	}
	l.pool.trim(imagesKept)
}

func (l *Log) imagesToDrop() (drop []*segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	total := l.o.SegmentBytes // the next spare's
	for _, s := range l.ready {
		total += s.size
	}
	for i := len(l.segs) - 1; i >= 0; i-- {
		if l.segs[i].img.Load() == nil {
			continue
		}
		total += l.segs[i].size
		if total > l.o.TailBytes && l.segs[i].indexed {
			drop = append(drop, l.segs[i])
		}
	}
	return drop
}
