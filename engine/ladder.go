package engine

import (
	"slices"
	"sort"
)

// The ladder of a partition: how many bytes lie below some of its offsets, and how old they are. Retention goes by it: it
// finds the offset from which on there are at most so many bytes, or below which everything is older than that, without a
// look at the log, on any node alike, for the marks follow from what was applied.
//
//	offset     floor ······· mark ······· mark ········· mark ······ next
//	bytes      below it, counted from the partition's first message          total
//	time       of the newest message below it                                lastMs
//
// A mark is laid in front of a section of records when so much was written since the last one, or so much time has passed:
// a 64th of what is kept, but no less than 4 KiB and a second. As a partition grows, its marks get further
// apart; when there are 512, the old ones are thinned out by the same measure. So a partition's ladder is 12 KiB at most, and what
// it says is right to about one and a half percent of what is kept.
//
// Rejected: the log's own index of segments and sections. It knows sizes but not what of them is records, what it knows
// changes when segments are rewritten, and each node would have to ask its disk.

// mark is a place in a partition between two sections.
type mark struct {
	offset uint64 // of the first message behind it
	bytes  uint64 // of all messages below it that there ever were
	timeMs uint64 // of the frame of the newest message below it
}

// ladder is the marks of one partition. Those of a slice never change, so that a capture may refer to them.
type ladder struct {
	floor  mark   // at the partition's floor
	marks  []mark // above the floor, growing
	total  uint64 // bytes of all messages that there ever were
	lastMs uint64 // time of the newest message's frame
}

// openLadder returns the partition's ladder, made if need be.
func (p *Partition) openLadder(timeMs uint64) *ladder {
	if p.ladder == nil {
		p.ladder = p.newLadder(timeMs)
	}
	return p.ladder
}

// newLadder is a ladder without marks that takes what the partition has for written at a time.
func (p *Partition) newLadder(timeMs uint64) *ladder {
	return &ladder{floor: mark{offset: p.floor.Load(), timeMs: timeMs}, total: p.bytes.Load(), lastMs: timeMs}
}

// add accounts for a section of size bytes at an offset.
func (l *ladder) add(offset, size, timeMs uint64) {
	if l.total == l.floor.bytes { // nothing is kept: its time counts from now on
		l.floor.timeMs = max(l.lastMs, timeMs)
		l.lastMs = l.floor.timeMs
	}
	last := l.last()
	if offset > last.offset && (l.total-last.bytes >= l.bytesApart() || max(l.lastMs, timeMs)-last.timeMs >= l.timeApart()) {
		if len(l.marks) >= ladderMarksMax {
			l.thin()
		}
		l.marks = append(l.marks, mark{offset, l.total, l.lastMs})
	}
	l.total += size
	l.lastMs = max(l.lastMs, timeMs)
}

// last is the highest mark.
func (l *ladder) last() mark {
	if n := len(l.marks); n > 0 {
		return l.marks[n-1]
	}
	return l.floor
}

func (l *ladder) bytesApart() uint64 {
	return max(ladderBytesMin, (l.total-l.floor.bytes)/ladderParts)
}

func (l *ladder) timeApart() uint64 {
	return max(ladderTimeMinMs, (l.lastMs-l.floor.timeMs)/ladderParts)
}

// thin leaves out marks whose neighbours are near enough without them.
func (l *ladder) thin() {
	bytes, time := l.bytesApart(), l.timeApart()
	kept := make([]mark, 0, ladderMarksMax)
	below := l.floor
	for i, m := range l.marks[:len(l.marks)-1] {
		if above := l.marks[i+1]; above.bytes-below.bytes > bytes || above.timeMs-below.timeMs > time {
			kept = append(kept, m)
			below = m
		}
	}
	l.marks = append(kept, l.last())
}

// below returns the highest mark at or below an offset.
func (l *ladder) below(offset uint64) mark {
	n := sort.Search(len(l.marks), func(i int) bool { return l.marks[i].offset > offset })
	if n == 0 {
		return l.floor
	}
	return l.marks[n-1]
}

// cut makes m the floor.
func (l *ladder) cut(m mark) {
	n := sort.Search(len(l.marks), func(i int) bool { return l.marks[i].offset > m.offset })
	l.floor, l.marks = m, l.marks[n:]
}

// end is behind the last message, whose offset is next-1.
func (l *ladder) end(next uint64) mark { return mark{next, l.total, l.lastMs} }

// expired returns the highest place below which every message is older than the policy wants, or beyond the size that it
// allows. It is the floor itself where nothing is.
func (l *ladder) expired(p Policy, next, nowMs uint64) mark {
	m := l.floor
	if p.TTLMs > 0 && nowMs >= p.TTLMs {
		m = l.olderThan(nowMs-p.TTLMs, next)
	}
	if p.MaxBytes > 0 && l.total-m.bytes > p.MaxBytes {
		m = l.beyond(p.MaxBytes)
	}
	return m
}

// olderThan returns the highest place below which everything was written at timeMs or before.
func (l *ladder) olderThan(timeMs, next uint64) mark {
	if l.lastMs <= timeMs {
		return l.end(next)
	}
	n := sort.Search(len(l.marks), func(i int) bool { return l.marks[i].timeMs > timeMs })
	if n == 0 {
		return l.floor
	}
	return l.marks[n-1]
}

// beyond returns the lowest place above which there are at most size bytes, or the highest there is.
func (l *ladder) beyond(size uint64) mark {
	n := sort.Search(len(l.marks), func(i int) bool { return l.total-l.marks[i].bytes <= size })
	if n == len(l.marks) {
		return l.last()
	}
	return l.marks[n]
}

// capture returns a copy that stays as it is.
func (l *ladder) capture() ladder {
	c := *l
	c.marks = slices.Clip(l.marks)
	return c
}
