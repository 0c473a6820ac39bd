package aof

import (
	"fmt"
	"sort"
	"sync"

	"ayder/internal/record"
)

// Reading by index: Raft asks for entries by their place in the log, not by stream and offset. A segment has about one mark
// (index → position) per 64 KiB, on the heap while it is new and in its sidecar later; from the mark the
// headers are walked to the frame. In memory that is a few dozen headers, without a system call.

// frameReader serves ReadFrame: one cold reader behind a lock.
type frameReader struct {
	l  *Log
	mu sync.Mutex
	r  *Reader
}

// ReadFrame returns the frame with this index, which must be durable; its bytes are in buf, or in new memory where
// that is too small. ErrNotFound: not in the log. It may read a file. Any goroutine.
func (l *Log) ReadFrame(index uint64, buf []byte) (record.Frame, error) {
	s, from := l.locate(index)
	if s == nil {
		return record.Frame{}, fmt.Errorf("%w: index %d", ErrNotFound, index)
	}
	if from.index == 0 { // cooled: the image, if still there, is on its way out
		return l.frames.find(s, index, buf)
	}
	img := s.acquireImage()
	if img == nil {
		return l.frames.find(s, index, buf)
	}
	defer img.release()
	return findFrame(&window{mem: img.mem, size: s.size}, s, from, index, buf)
}

// locate returns the segment of a durable index and the last mark before it; the mark's index is 0 if only the
// sidecar has it.
func (l *Log) locate(index uint64) (*segment, mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if index == 0 || index > l.durable.Load() {
		return nil, mark{}
	}
	s := l.segmentOf(index)
	if s == nil || len(s.sparse) == 0 {
		return s, mark{}
	}
	return s, markBefore(s.sparse, index)
}

// find reads the frame from the segment's file, by its sidecar: only segments that have one lose their image.
func (x *frameReader) find(s *segment, index uint64, buf []byte) (record.Frame, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	side, err := x.l.sidecar(s)
	if err != nil {
		return record.Frame{}, err
	}
	if x.r == nil {
		x.r = x.l.NewReader()
	}
	if err := x.r.open(s); err != nil {
		return record.Frame{}, err
	}
	return findFrame(&x.r.w, s, side.mark(index), index, buf)
}

func (x *frameReader) close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.r != nil {
		x.r.Close()
	}
}

// findFrame walks from a mark to index by headers, verifies that frame and copies it to buf.
func findFrame(w *window, s *segment, from mark, index uint64, buf []byte) (record.Frame, error) {
	pos := from.pos
	for at := from.index; ; at++ {
		h, where, err := headerAt(w, pos, at)
		if err != nil {
			return record.Frame{}, fmt.Errorf("%s: %w", s.name(), err)
		}
		if at == index {
			return copyFrame(w, s, where, buf)
		}
		pos = where + int64(record.AlignedSize(int(h.Size)))
	}
}

// headerAt finds the header of index at pos or at the next block boundary.
func headerAt(w *window, pos int64, index uint64) (h record.Header, at int64, err error) {
	for _, at := range [...]int64{pos, blockUp(pos)} {
		b, err := w.view(at, record.FrameHeaderBytes)
		if err != nil {
			return h, at, err
		}
		if h, bad := record.ReadHeader(b); bad == nil && h.Index == index {
			return h, at, nil
		}
	}
	return h, pos, fmt.Errorf("%w: no frame with index %d at byte %d", ErrDamaged, index, pos)
}

func copyFrame(w *window, s *segment, pos int64, buf []byte) (record.Frame, error) {
	f, bad, err := w.frame(pos, s.seed)
	if err != nil {
		return f, fmt.Errorf("%s: %w", s.name(), err)
	}
	if bad != nil {
		return f, &Damage{File: s.name(), Pos: pos, Index: f.Index, Reason: bad.Error()}
	}
	f.Payload = append(buf[:0], f.Payload...)
	return f, nil
}

// markBefore returns the last mark at or before index.
func markBefore(marks []mark, index uint64) mark {
	i := sort.Search(len(marks), func(i int) bool { return marks[i].index > index })
	return marks[max(i-1, 0)]
}
