package aof

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"ayder/internal/record"
)

// Reader reads one stream at a time, by offset. It belongs to one goroutine. What is in memory (the newest segments' images,
// and their index on the heap) is visited in place, without a copy, a lock across the visit, or an allocation; a loop asks for that with
// block=false. Older segments are read through a window of the Reader's own, which reads ahead and grows while the
// reading goes on in sequence, so that page after page of a partition costs one system call per megabyte. Bytes from a
// file are used only after their frame's checksum was verified; images are memory that this process filled.
//
// Rejected: mapping whole segments (a page fault stops a loop, and an unreadable sector is a SIGBUS instead of an error).
type Reader struct {
	log     *Log
	entries [entriesPerLock]entry // being visited

	// mu guards seg and file: a log that removes or replaces a segment closes the readers' files of it, so that its space is free.
	mu    sync.Mutex
	seg   *segment // whose file is open
	file  File
	w     window
	frame record.Frame // the one at at, verified; it aliases the window
	at    int64        // where frame is, 0 if none
}

// NewReader returns a reader; Close gives its file and buffer back.
func (l *Log) NewReader() *Reader { return &Reader{log: l} }

// Close closes the file that the reader has open, and gives its memory back.
func (r *Reader) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closeFile()
	r.w, r.frame = window{}, record.Frame{}
}

// closeFile gives the file back, under mu.
func (r *Reader) closeFile() {
	if r.file == nil {
		return
	}
	_ = r.file.Close() // it was only read
	r.seg, r.file, r.at = nil, nil, 0
	r.log.openReaders.Lock()
	delete(r.log.readers, r)
	r.log.openReaders.Unlock()
}

// closeReaders closes what readers have open of segments that are gone: a file lives as long as somebody has it open, and a reader may
// not be asked again for hours.
func (l *Log) closeReaders() {
	l.openReaders.Lock()
	all := slices.Collect(maps.Keys(l.readers))
	l.openReaders.Unlock()
	for _, r := range all {
		r.mu.Lock()
		if r.seg != nil && r.seg.gone.Load() {
			r.closeFile()
		}
		r.mu.Unlock()
	}
}

// Read visits, in offset order, the sections of s that hold offsets in [offset, end), where end must not be beyond what is
// durable. A section may begin below offset and reach beyond end: the caller skips. It is valid during the call of fn,
// which returns false to stop and must not use this Reader. next is where to go on: behind the last section visited, or
// offset if there was none. Offsets may be missing, where they were dead and their segment rewritten. With block=false nothing but memory is touched, and ErrCold says that the section at next, or
// the one behind it, must be read from a file. A nil error without a stop means that the log has nothing more below end: the place to
// go on is end, even if next is less.
func (r *Reader) Read(s record.Stream, offset, end uint64, block bool, fn func(record.Section) bool) (next uint64, err error) {
	st := r.log.index.get(s)
	if st == nil {
		return offset, nil
	}
	for offset < end {
		sp, ok := st.find(offset)
		if !ok || sp.run.first >= end {
			return offset, nil
		}
		before := offset
		var more bool
		offset, more, err = r.readSpan(st, sp, offset, end, block, fn)
		if err != nil && sp.seg.gone.Load() {
			continue // what the index has now is elsewhere
		}
		if err != nil || !more {
			return offset, r.log.noticed(err)
		}
		if offset == before {
			return offset, nil
		}
	}
	return offset, nil
}

// readSpan visits what one segment has. more is false when fn stopped.
func (r *Reader) readSpan(st *stream, sp span, offset, end uint64, block bool, fn func(record.Section) bool) (next uint64, more bool, err error) {
	img := sp.seg.acquireImage()
	if img != nil {
		defer img.release()
	} else if !block {
		return offset, false, ErrCold
	}
	for more = true; more && offset < end; {
		list, err := r.list(st, sp, offset, block)
		if err != nil {
			return offset, false, err
		}
		before := offset
		if offset, more, err = r.visit(sp, img, list, offset, end, fn); err != nil {
			return offset, false, err
		}
		if offset == before { // the run has nothing more below end
			break
		}
	}
	return offset, more, nil
}

// visit shows the sections of index entries, as far as they lie in [offset, end).
func (r *Reader) visit(sp span, img *image, list []entry, offset, end uint64, fn func(record.Section) bool) (next uint64, more bool, err error) {
	for _, e := range list {
		if e.base >= end {
			break
		}
		sec, err := r.section(sp, img, e)
		if err != nil {
			return offset, false, err
		}
		behind := sec.Base + uint64(sec.Count)
		if behind <= offset {
			continue
		}
		offset = behind
		if !fn(sec) {
			return offset, false, nil
		}
	}
	return offset, true, nil
}

// list returns the next index entries of a span, from the heap or the sidecar.
func (r *Reader) list(st *stream, sp span, offset uint64, block bool) ([]entry, error) {
	list, hot := st.hotEntries(sp.run, offset, r.entries[:0])
	if hot {
		return list, nil
	}
	if !block {
		return nil, ErrCold
	}
	side, err := r.log.sidecar(sp.seg)
	if err != nil {
		return nil, err
	}
	return side.from(sp.run, offset, r.entries[:0])
}

// section finds the section of an index entry, in the image or in the file.
func (r *Reader) section(sp span, img *image, e entry) (record.Section, error) {
	var sec record.Section
	var err error
	if img != nil {
		sec, err = record.ReadSection(img.mem[int(e.frame)+e.pos():])
	} else {
		sec, err = r.coldSection(sp.seg, e)
	}
	if err != nil {
		return sec, err
	}
	if sec.Base != e.base || sec.Stream != sp.run.stream || sec.Type != record.SectionRecords {
		return sec, &Damage{File: sp.seg.name(), Pos: int64(e.frame), Reason: "the sidecar points to something else"}
	}
	return sec, nil
}

// coldSection reads the entry's frame from the segment's file and verifies it, once for all its sections.
func (r *Reader) coldSection(s *segment, e entry) (sec record.Section, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.open(s); err != nil {
		return sec, err
	}
	if pos := int64(e.frame); r.at != pos {
		if err := r.readFrame(s, pos); err != nil {
			return sec, err
		}
	}
	at := e.pos() - record.FrameHeaderBytes
	if at < 0 || at > len(r.frame.Payload) {
		return sec, &Damage{File: s.name(), Pos: int64(e.frame), Index: r.frame.Index, Reason: "the sidecar points behind the frame"}
	}
	sec, err = record.ReadSection(r.frame.Payload[at:])
	if err != nil {
		return sec, &Damage{File: s.name(), Pos: int64(e.frame), Index: r.frame.Index, Reason: err.Error()}
	}
	return sec, nil
}

// readFrame verifies the frame at pos and keeps it in r.frame.
func (r *Reader) readFrame(s *segment, pos int64) error {
	r.at = 0
	if end := r.w.off + int64(len(r.w.mem)); pos < r.w.off || pos > end+readAheadMax {
		r.w.ahead = readAheadMin // a jump: perhaps only this page is wanted
	}
	f, bad, err := r.w.frame(pos, s.seed)
	if err != nil {
		return fmt.Errorf("%s: %w", s.name(), err)
	}
	if bad != nil {
		return &Damage{File: s.name(), Pos: pos, Index: f.Index, Reason: bad.Error()}
	}
	r.log.stats.FramesRead.Add(1)
	r.frame, r.at = f, pos
	return nil
}

// open makes s the segment whose file is read.
func (r *Reader) open(s *segment) error {
	if r.seg == s {
		return nil
	}
	buf, ahead := r.w.mem[:0], max(readAheadMin, r.w.ahead)
	r.closeFile()
	r.log.openReaders.Lock()
	r.log.readers[r] = struct{}{} // before the file is open: whoever makes the segment gone meanwhile waits for mu
	r.log.openReaders.Unlock()
	f, err := r.log.openSegment(s)
	if err != nil {
		return fmt.Errorf("aof: %w", err)
	}
	r.seg, r.file, r.at = s, f, 0
	r.w = window{file: f, mem: buf, size: s.size, ahead: ahead, read: r.widen}
	return nil
}

// openSegment opens a segment's file, unless it is not the segment's any more.
func (l *Log) openSegment(s *segment) (File, error) {
	l.swaps.RLock()
	defer l.swaps.RUnlock()
	if s.gone.Load() {
		return nil, errGone
	}
	return l.fs.Open(s.name(), ReadOnly)
}

// widen counts a read and makes the next one longer: whoever reads on wants more.
func (r *Reader) widen(n int) {
	r.log.stats.ColdBytes.Add(uint64(n))
	r.w.ahead = min(2*r.w.ahead, readAheadMax)
}
