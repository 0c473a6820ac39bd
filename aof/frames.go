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
	l.cuts.RLock()
	defer l.cuts.RUnlock()
	s, from := l.locate(index, l.durable.Load())
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

// Entry returns header and payload of the frame with this index, durable or not: any that a Thread's Append returned for, or
// that is durable. The payload is in buf, or in new memory where that is too small. ErrNotFound outside of what the log has. It
// may read a file, for an old one. Any goroutine.
func (l *Log) Entry(index uint64, buf []byte) (record.Header, []byte, error) {
	l.cuts.RLock()
	defer l.cuts.RUnlock()
	s, from := l.locate(index, l.appended())
	if s == nil {
		return record.Header{}, nil, fmt.Errorf("%w: index %d", ErrNotFound, index)
	}
	var img *image
	if from.index != 0 {
		img = s.acquireImage()
	}
	if img == nil {
		f, err := l.frames.find(s, index, buf)
		return f.Header, f.Payload, err
	}
	defer img.release()
	w := &window{mem: img.mem, size: s.size}
	h, pos, err := walk(w, s, from, index)
	if err != nil {
		return h, nil, err
	}
	return h, append(buf[:0], img.mem[pos+record.FrameHeaderBytes:pos+int64(h.Size)]...), nil
}

// appended is the highest index that Entry finds.
func (l *Log) appended() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.copied, l.durable.Load())
}

// locate returns the segment of an index up to end and the last mark before it; the mark's index is 0 if only the
// sidecar has it.
func (l *Log) locate(index, end uint64) (*segment, mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if index == 0 || index > end {
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
	from, err := side.mark(index)
	if err != nil {
		return record.Frame{}, err
	}
	return findFrame(&x.r.w, s, from, index, buf)
}

func (x *frameReader) close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.r != nil {
		x.r.Close()
	}
}

// findFrame walks from a mark to index, verifies that frame and copies it to buf.
func findFrame(w *window, s *segment, from mark, index uint64, buf []byte) (record.Frame, error) {
	_, pos, err := walk(w, s, from, index)
	if err != nil {
		return record.Frame{}, err
	}
	return copyFrame(w, s, pos, buf)
}

// walk goes from a mark to index by headers.
func walk(w *window, s *segment, from mark, index uint64) (h record.Header, at int64, err error) {
	pos := from.pos
	for i := from.index; ; i++ {
		if h, at, err = headerAt(w, pos, i); err != nil {
			return h, at, fmt.Errorf("%s: %w", s.name(), err)
		}
		if i == index {
			return h, at, nil
		}
		pos = at + int64(record.AlignedSize(int(h.Size)))
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
