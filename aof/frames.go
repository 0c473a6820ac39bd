package aof

import (
	"fmt"
	"sort"
	"sync"

	"ayder/internal/record"
)

// Reading by index: Raft asks for entries by their place in the log, not by stream and offset. A segment has about one mark
// (index → position) per 64 KiB, on the heap while it is new and in its sidecar later; from the mark the
// headers are walked to the frame, without a system call where it is in memory. Who asks for one entry will ask for the next one: so
// where a frame ends is remembered as a hint of where the next begins, a few of them, for readers at different places.

// hint is where the frame with mark's index is, or where it may be: at the next block boundary.
type hint struct {
	seg *segment
	mark
}

// frameReader reads frames of segments that have no image: one cold reader behind a lock.
type frameReader struct {
	l  *Log
	mu sync.Mutex
	r  *Reader
}

// ReadFrame returns the frame with this index, which must be durable, verified; its bytes are in buf, or in new memory where
// that is too small. ErrNotFound: not in the log. It may read a file. Any goroutine.
func (l *Log) ReadFrame(index uint64, buf []byte) (record.Frame, error) {
	f, _, err := l.frame(index, buf, false)
	return f, err
}

// Entry returns header and payload of the frame with this index, durable or not: any that a Thread's Append returned for, or
// that is durable. The payload is in buf, or in new memory where that is too small. ErrNotFound outside of what the log has. It
// may read a file, for an old one; what is in memory is taken as it is, as a Reader does. Any goroutine.
func (l *Log) Entry(index uint64, buf []byte) (record.Header, []byte, error) {
	f, _, err := l.frame(index, buf, true)
	return f.Header, f.Payload, err
}

// frame finds a frame and copies its payload to buf; end is where it ends in its segment. entry: it need not be durable, nor
// verified if it is in memory.
func (l *Log) frame(index uint64, buf []byte, entry bool) (f record.Frame, end int64, err error) {
	l.cuts.RLock()
	defer l.cuts.RUnlock()
	s, from := l.locate(index, entry)
	if s == nil {
		return f, 0, fmt.Errorf("%w: index %d", ErrNotFound, index)
	}
	if img := s.acquireImage(); img != nil && from.index != 0 {
		f, end, err = findFrame(&window{mem: img.mem, size: s.size}, s, from, index, buf, !entry)
		img.release()
	} else { // without a mark, an image that is still there is on its way out
		if img != nil {
			img.release()
		}
		f, end, err = l.frames.find(s, from, index, buf)
	}
	if err == nil {
		l.remember(s, mark{index + 1, end})
	}
	return f, end, l.noticed(err)
}

// locate returns the segment of an index, nil if the log does not have it, and a mark at or before it; the mark's index is 0
// if only the sidecar has one.
func (l *Log) locate(index uint64, entry bool) (*segment, mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := l.durable.Load()
	if entry {
		end = max(end, l.copied)
	}
	if index == 0 || index > end {
		return nil, mark{}
	}
	s := l.segmentOf(index)
	if s != nil && s.rewritten() {
		return nil, mark{}
	}
	if h := &l.hints[index%hintSlots]; s != nil && h.seg == s && h.index == index {
		return s, h.mark
	}
	if s == nil || len(s.sparse) == 0 {
		return s, mark{}
	}
	return s, markBefore(s.sparse, index)
}

// remember keeps a hint.
func (l *Log) remember(s *segment, m mark) {
	l.mu.Lock()
	l.hints[m.index%hintSlots] = hint{s, m}
	l.mu.Unlock()
}

// find reads the frame from the segment's file, from a mark or else by the sidecar: only segments that have one lose their image.
func (x *frameReader) find(s *segment, from mark, index uint64, buf []byte) (f record.Frame, end int64, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if from.index == 0 {
		side, err := x.l.sidecar(s)
		if err != nil {
			return f, 0, err
		}
		if from, err = side.mark(index); err != nil {
			return f, 0, err
		}
	}
	if x.r == nil {
		x.r = x.l.NewReader()
	}
	x.r.mu.Lock()
	defer x.r.mu.Unlock()
	if err := x.r.open(s); err != nil {
		return f, 0, err
	}
	return findFrame(&x.r.w, s, from, index, buf, true)
}

func (x *frameReader) close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.r != nil {
		x.r.Close()
	}
}

// findFrame walks from a mark to index by headers and copies that frame's payload to buf; end is where the frame ends.
func findFrame(w *window, s *segment, from mark, index uint64, buf []byte, verify bool) (f record.Frame, end int64, err error) {
	pos := from.pos
	for at := from.index; ; at++ {
		var h record.Header
		if h, pos, err = headerAt(w, pos, at); err != nil {
			return f, 0, fmt.Errorf("%s: %w", s.name(), err)
		}
		end = pos + int64(record.AlignedSize(int(h.Size)))
		if at == index {
			f.Header = h
			break
		}
		pos = end
	}
	if verify {
		f, err = copyFrame(w, s, pos, buf)
		return f, end, err
	}
	b, err := w.view(pos, int(f.Size))
	if err != nil {
		return f, 0, fmt.Errorf("%s: %w", s.name(), err)
	}
	f.Payload = append(buf[:0], b[record.FrameHeaderBytes:]...)
	return f, end, nil
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

// copyFrame verifies the frame at pos and copies it.
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
