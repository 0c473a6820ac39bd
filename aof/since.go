package aof

import (
	"sort"

	"ayder/internal/record"
)

// Looking for a time. Records carry a time of their own, which clients may set: in any order, years ago, ahead of our clock.
// So "the first record that is no older than T" must be looked for record by record, and most of that can be left out:
//
//   - A frame's time never decreases along the log, and sidecars have every segment's first and last.
//   - A record is no younger than its frame, unless its section is flagged (record.FlagSectionAhead), and the index has
//     that flag of every section.
//
// So of a segment whose last time is before T only flagged sections are looked at; in the one that T falls into, a binary
// search over the sections finds the first frame that is not older; behind that every section is. Where clients set no
// times, the very first section that is shown holds what was looked for, however long the log is.

// ReadSince is Read with block, but for sections all of whose records are certainly older than sinceMs, which it may pass
// over. next is where to go on, as Read has it; sections passed over count as visited.
func (r *Reader) ReadSince(s record.Stream, offset, end, sinceMs uint64, fn func(record.Section) bool) (next uint64, err error) {
	st := r.log.index.get(s)
	if st == nil {
		return offset, nil
	}
	for offset < end {
		sp, ok := st.find(offset)
		if !ok || sp.run.first >= end {
			return offset, nil
		}
		last := st.endOf(sp)
		young, err := r.youngFrom(st, sp, last, sinceMs)
		more := true
		if err == nil {
			offset, more, err = r.readAhead(st, sp, offset, min(end, young), fn)
		}
		if err != nil && sp.seg.gone.Load() {
			continue // what the index has now is elsewhere
		}
		if err != nil || !more {
			return offset, r.log.noticed(err)
		}
		offset = max(offset, young)
		if young < last {
			return r.Read(s, offset, end, true, fn)
		}
	}
	return offset, nil
}

// youngFrom is the first offset of the run, which ends at next, whose frame is no older than sinceMs; next if there is none.
func (r *Reader) youngFrom(st *stream, sp span, next, sinceMs uint64) (offset uint64, err error) {
	first := sp.run.first
	switch oldest, youngest := r.log.times(sp.seg); {
	case oldest >= sinceMs:
		return first, nil
	case youngest < sinceMs:
		return next, nil
	}
	n := sort.Search(int(next-first), func(i int) bool {
		if err != nil {
			return true
		}
		var timeMs uint64
		timeMs, err = r.timeAt(st, sp, first+uint64(i))
		return timeMs >= sinceMs
	})
	return first + uint64(n), err
}

// times are those of a segment's first and last frame.
func (l *Log) times(s *segment) (oldest, youngest uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return s.minTime, s.maxTime
}

// endOf is the end of a run, which grows as long as its segment is being written.
func (st *stream) endOf(sp span) uint64 {
	st.mu.Lock()
	defer st.mu.Unlock()
	return sp.run.next
}

// timeAt is the time of the frame that holds offset, or of the last one before it where offsets are missing.
func (r *Reader) timeAt(st *stream, sp span, offset uint64) (timeMs uint64, err error) {
	list, err := r.list(st, sp, offset, true)
	if err != nil || len(list) == 0 {
		return 0, err
	}
	if img := sp.seg.acquireImage(); img != nil {
		defer img.release()
		h, err := record.ReadHeader(img.mem[list[0].frame:])
		return h.TimeMs, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.open(sp.seg); err != nil {
		return 0, err
	}
	if pos := int64(list[0].frame); r.at != pos {
		if err := r.readFrame(sp.seg, pos); err != nil {
			return 0, err
		}
	}
	return r.frame.TimeMs, nil
}

// readAhead visits the run's flagged sections that hold offsets of [offset, end). more is false when fn stopped.
func (r *Reader) readAhead(st *stream, sp span, offset, end uint64, fn func(record.Section) bool) (next uint64, more bool, err error) {
	img := sp.seg.acquireImage()
	if img != nil {
		defer img.release()
	}
	for from := offset; from < end; {
		list, err := r.list(st, sp, from, true)
		if err != nil {
			return offset, false, err
		}
		behind := from
		for _, e := range list {
			behind = max(behind, e.base+1)
			if e.base >= end || !e.ahead() {
				continue
			}
			sec, err := r.section(sp, img, e)
			if err != nil {
				return offset, false, err
			}
			if last := sec.Base + uint64(sec.Count); last > offset {
				offset = last
				if !fn(sec) {
					return offset, false, nil
				}
			}
		}
		if behind == from {
			break // the entries end here
		}
		from = behind
	}
	return max(offset, end), true, nil
}
