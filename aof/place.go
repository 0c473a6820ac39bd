package aof

import "ayder/internal/record"

// Placement decides, under one short lock, where each frame goes; everything costly (checksum, copy, index, the
// write itself) happens outside it. The rules, whose proof is in docs/FORMAT.md:
//
//  1. A frame starts directly behind the last one if no write in flight covers the tail block: where it was written
//     before it is then rewritten with its old bytes unchanged.
//  2. Otherwise the tail block is in flight and must not be touched. The frame starts at the next block boundary, and
//     the rest of the tail block stays zero for ever. No pad is written; the scanner knows both places to look at.
//  3. A frame that does not fit the rest of the segment starts the next one: a spare that is ready, so that rolling is
//     an assignment. The spare's name is changed later, in the background; recovery goes by content.
//
// With Writers only the last frame placed can have the tail block in flight, because an earlier one shares that block only if it was
// complete when the last one was placed (rule 1). So "is the last commit done?" is all there is to ask. A Thread
// has one write in flight and knows where it ends.

// place is where a frame goes.
type place struct {
	seg     *segment
	pos     int64 // of the frame
	end     int64 // behind it
	index   uint64
	timeMs  uint64
	durable uint64 // when it was placed
	skipped int64  // bytes left zero before it
}

// place reserves room for a frame of n bytes (a multiple of 8) of writer w.
func (l *Log) place(w *Writer, n int64, timeMs uint64) place {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.reserve(n, timeMs, l.tailIdle())
	l.slots[p.index%uint64(len(l.slots))] = slot{writer: w}
	return p
}

// reserve gives a frame of n bytes the next index and its place. idle tells that no write in flight covers the tail block.
func (l *Log) reserve(n int64, timeMs uint64, idle bool) place {
	pos := l.pos
	if !idle {
		pos = blockUp(pos)
	}
	skipped := pos - l.pos
	if l.active == nil || pos+n > l.active.size {
		skipped = l.roll()
		pos = BlockBytes
	}
	if l.slimmed {
		l.fatten()
	}
	l.last++
	l.timeMs = max(l.timeMs, timeMs)
	l.pos = pos + n
	l.active.note(l.last, pos, l.pos, l.timeMs)
	l.countRoom()
	return place{l.active, pos, l.pos, l.last, l.timeMs, l.durable.Load(), skipped}
}

// tailIdle tells that no write in flight covers the block that l.pos is in.
func (l *Log) tailIdle() bool {
	return l.last <= l.durable.Load() || l.slots[l.last%uint64(len(l.slots))].done
}

// roll seals the active segment and makes a spare the active one. It returns the bytes that stay unused.
func (l *Log) roll() (unused int64) {
	if len(l.ready) == 0 {
		panic("bug: batch appended without room: Admit was not asked, or refused")
	}
	if l.active != nil {
		unused = l.active.size - l.pos
		l.sealed = append(l.sealed, l.active)
	}
	s := l.ready[0]
	l.ready = append(l.ready[:0], l.ready[1:]...)
	s.first = l.last + 1
	l.active = s
	l.segs = append(l.segs, s)
	l.unnamed = append(l.unnamed, s)
	l.stats.Rolls.Add(1)
	l.stats.Segments.Store(int64(len(l.segs)))
	l.stats.SparesReady.Store(int64(len(l.ready)))
	l.keeper.kick()
	return unused
}

// countRoom recomputes how many largest frames fit. Frames are placed first-come into one segment after the other, and
// a segment is left only when less than one largest frame is free in it, so each holds at least
// its free blocks divided by the largest frame's.
func (l *Log) countRoom() {
	largest := blockUp(int64(l.o.FrameBytesMax))
	n := int64(0)
	if l.active != nil {
		n = l.active.rest(l.pos) / largest
	}
	for _, s := range l.ready {
		n += s.rest(BlockBytes) / largest
	}
	l.room.Store(n)
}

// committed marks index done and extends the durable prefix. It returns the writers, one bit each, that have batches
// in the extension.
func (l *Log) committed(index uint64) (owners uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure.Load() != nil {
		return 0
	}
	l.slot(index).done = true
	d := l.durable.Load()
	for d < l.last && l.slot(d+1).done {
		d++
		owners |= 1 << l.slot(d).writer.id
	}
	l.durable.Store(d)
	if len(l.sealed) > 0 && d >= l.sealed[0].last {
		l.indexer.kick()
	}
	return owners
}

func (l *Log) slot(index uint64) *slot { return &l.slots[index%uint64(len(l.slots))] }

// header is the frame header of b at p; size, sections and flags come from the batch.
func (l *Log) header(p *place, b *record.Batch) record.Header {
	h := record.Header{Index: p.index, Term: b.Term, TimeMs: p.timeMs, Staged: p.durable, Durable: p.durable, Kind: b.Kind}
	if h.Term == 0 {
		h.Term = soloTerm
	}
	if l.o.Committed != nil {
		h.Staged = l.o.Committed()
	}
	return h
}
