package query

// Who joins whom. A joiner takes messages of both sides, in whatever order, and makes rows of them.
//
//	watermark = min(latest left, latest right) - allowed lateness      what comes is expected not to be older
//	horizon   = watermark - size                                       what comes and is older is late: dropped, counted
//
// So everything that is not late is at or behind the horizon, and a message can still find a partner as long as horizon <= time + size.
// Then it is settled: it leaves the buffer, and where its side is an outer one and nobody joined it, it is a row of its own.
// Nothing is given up sooner. Therefore the rows are exactly the join of all messages that were not late, whatever order they came
// in, and the buffer holds no more than that takes: the messages of three sizes and the lateness, around the side that lags.
//
// With dedupe once a message is in one row at most. Of all pairs that could be, the one whose messages are nearest in time is taken, then the
// nearest of those left, and so on; among equally near ones the one whose left message, then whose right message, has the lower partition and
// offset. A pair is taken as soon as that is certain: each is the other's nearest, and a message that is still to come, which is not older than
// the horizon, cannot be nearer to either. To settle a message, its nearest is asked for its own nearest, and so on, which are
// nearer and nearer pairs, until two agree.

import "math"

const (
	leftSide  uint8 = 0
	rightSide uint8 = 1
)

// pair is a row: both messages, or one of an outer side.
type pair struct {
	key   []byte // see appendKey
	sides [2]half
}

// half is a row's message of one side.
type half struct {
	present   bool
	timeMs    int64
	partition uint32
	offset    uint64
	shown     []byte // its fields, rendered
}

// tally is what happened on one side.
type tally struct {
	scanned, skipped, late, outer int
	seen                          bool  // a message that has a time
	latestMs                      int64 // of those
	progress                      joinProgress
}

type joiner struct {
	*Join
	readers [2]*sideReader
	tallies [2]tally
	horizon int64
	closed  [2]bool // no message of the side will come
	buf     joinBuffer
	chain   []int32
	asked   int  // messages that were asked for their nearest, until somebody sets it back
	row     pair // that is made

	// emit takes a row, which it must copy. False: it has no room, and the row is as good as not made; the joiner stops where it is and is
	// asked only for unfinished afterwards.
	emit func(*pair) bool
	// open is told of messages that may lack a row: those that emit had no room for, and those that a message to come may join. May be nil.
	open func(side uint8, partition uint32, offset uint64)
	// enough is asked before each message that is settled: the others can be settled with a later message, nobody joins them any more.
	// May be nil.
	enough func() bool
}

func newJoiner(j *Join) *joiner {
	return &joiner{
		Join: j, horizon: math.MinInt64, buf: newJoinBuffer(),
		readers: [2]*sideReader{newSideReader(&j.sides[leftSide]), newSideReader(&j.sides[rightSide])},
	}
}

// push takes a message. False: emit had no room.
func (j *joiner) push(side uint8, m *Message) bool {
	t, r := &j.tallies[side], j.readers[side]
	t.scanned++
	if !r.read(m) {
		t.skipped++
		return true
	}
	t.progress.note(r.timeMs)
	if r.timeMs < j.horizon {
		t.late++
		return true
	}
	if j.advance(side, r.timeMs); !j.settle() {
		return false
	}
	e := joinEntry{timeMs: r.timeMs, offset: m.Offset, partition: m.Partition, side: side}
	switch {
	case !r.keyed && !j.outer[side]:
		return true
	case !r.keyed:
		return j.alone(&e, r.key, r.show(j.missingEmpty))
	case j.once:
		return j.wait(&e, r)
	}
	return j.meet(&e, r)
}

// advance moves the horizon. Times and windows are limited so that nothing overflows.
func (j *joiner) advance(side uint8, timeMs int64) {
	t := &j.tallies[side]
	if t.seen && timeMs <= t.latestMs {
		return
	}
	t.seen, t.latestMs = true, timeMs
	if watermark, ok := j.watermark(); ok {
		j.horizon = watermark - j.sizeMs
	}
}

func (j *joiner) watermark() (ms int64, ok bool) {
	l, r := &j.tallies[leftSide], &j.tallies[rightSide]
	return min(l.latestMs, r.latestMs) - j.latenessMs, l.seen && r.seen
}

// meet joins a message with all that wait for it, and has it wait for those to come.
func (j *joiner) meet(e *joinEntry, r *sideReader) bool {
	opposite := 1 - e.side
	key, shown := r.key, r.show(j.missingEmpty)
	if g := j.buf.find(j.buf.hash(key), key); g != none {
		for slot := j.buf.from(g, opposite, e.timeMs-j.sizeMs); slot != none; slot = j.buf.after(slot) {
			o := &j.buf.entries[slot]
			if o.timeMs > e.timeMs+j.sizeMs {
				break
			}
			if !j.joined(e, shown, slot) {
				return false
			}
			e.matched, o.matched = true, true
		}
	}
	if !j.closed[opposite] {
		j.buf.add(*e, key, shown, e.timeMs+j.sizeMs)
		return true
	}
	if j.isOpen(e) {
		j.opened(e)
	}
	return e.matched || !j.outer[e.side] || j.alone(e, key, shown)
}

// wait has a message wait for being settled, where each joins once. If none of the other side will come, that is only needed for those
// that have somebody to join.
func (j *joiner) wait(e *joinEntry, r *sideReader) bool {
	key, shown := r.key, r.show(j.missingEmpty)
	if !j.closed[1-e.side] || j.reaches(e, key) {
		j.buf.add(*e, key, shown, e.timeMs+j.sizeMs)
		return true
	}
	if j.isOpen(e) {
		j.opened(e)
	}
	return !j.outer[e.side] || j.alone(e, key, shown)
}

// reaches tells whether somebody waits that e could join.
func (j *joiner) reaches(e *joinEntry, key []byte) bool {
	g := j.buf.find(j.buf.hash(key), key)
	if g == none {
		return false
	}
	slot := j.buf.from(g, 1-e.side, e.timeMs-j.sizeMs)
	return slot != none && j.buf.entries[slot].timeMs <= e.timeMs+j.sizeMs
}

// settle deals with the messages that the horizon has left behind. False: emit had no room.
func (j *joiner) settle() bool {
	for len(j.buf.due) > 0 && j.buf.due[0].dueMs < j.horizon && (j.enough == nil || !j.enough()) {
		slot := j.buf.due[0].slot
		e := &j.buf.entries[slot]
		dueMs := int64(math.MinInt64)
		switch {
		case j.once && !e.matched:
			var ok bool
			if dueMs, ok = j.decide(slot); !ok {
				return false
			}
		case !j.once:
			if !e.matched && j.outer[e.side] && !j.alone(e, j.buf.key(slot), j.buf.shown(slot)) {
				return false
			}
			j.buf.leave(slot)
		}
		j.buf.pop()
		if dueMs != math.MinInt64 {
			j.buf.push(joinDue{dueMs, slot})
			continue
		}
		j.buf.free(slot)
	}
	return true
}

// decide finds the partner of a message that joins once, or that it has none: then it is in no tree any more. Where that is not certain yet
// it returns when to ask again, else the least number. False: emit had no room.
func (j *joiner) decide(slot int32) (againMs int64, ok bool) {
	j.chain = append(j.chain[:0], slot)
	for len(j.chain) > 0 {
		top := len(j.chain) - 1
		last := j.chain[top]
		nearest := j.nearest(last)
		j.asked++
		if nearest == none { // only the first has none: the others are somebody's nearest
			return math.MinInt64, j.single(last)
		}
		if top == 0 || nearest != j.chain[top-1] {
			j.chain = append(j.chain, nearest)
			continue
		}
		e, o := &j.buf.entries[last], &j.buf.entries[nearest]
		if certain := max(e.timeMs, o.timeMs) + distance(e, o); certain >= j.horizon {
			return certain, true
		}
		if !j.joined(e, j.buf.shown(last), nearest) {
			return 0, false
		}
		e.matched, o.matched = true, true
		j.buf.leave(last)
		j.buf.leave(nearest)
		j.chain = j.chain[:top-1]
	}
	return math.MinInt64, true
}

// single settles a message that joins nobody.
func (j *joiner) single(slot int32) bool {
	e := &j.buf.entries[slot]
	if j.outer[e.side] && !j.alone(e, j.buf.key(slot), j.buf.shown(slot)) {
		return false
	}
	e.matched = true
	j.buf.leave(slot)
	return true
}

// nearest returns the message that is the first choice of slot among those of the other side that wait, none if there is none in reach.
func (j *joiner) nearest(slot int32) int32 {
	b := &j.buf
	e := &b.entries[slot]
	opposite := 1 - e.side
	best := b.from(e.group, opposite, e.timeMs)
	if earlier := b.until(e.group, opposite, e.timeMs); earlier != none {
		earlier = b.from(e.group, opposite, b.entries[earlier].timeMs) // of those at that time, the first
		if best == none || closer(e, &b.entries[earlier], &b.entries[best]) {
			best = earlier
		}
	}
	if best != none && distance(e, &b.entries[best]) > j.sizeMs {
		return none
	}
	return best
}

// closer tells whether e prefers x to y.
func closer(e, x, y *joinEntry) bool {
	if dx, dy := distance(e, x), distance(e, y); dx != dy {
		return dx < dy
	}
	return x.orderOffset(y) < 0
}

func distance(e, o *joinEntry) int64 { return max(e.timeMs-o.timeMs, o.timeMs-e.timeMs) }

// joined emits the row of a message and one that waits.
func (j *joiner) joined(e *joinEntry, shown []byte, slot int32) bool {
	p := &j.row
	p.key = j.buf.key(slot)
	p.sides[e.side] = e.half(shown)
	p.sides[1-e.side] = j.buf.entries[slot].half(j.buf.shown(slot))
	return j.emit(p)
}

// alone emits the row of a message without a partner.
func (j *joiner) alone(e *joinEntry, key, shown []byte) bool {
	p := &j.row
	p.key = key
	p.sides[e.side], p.sides[1-e.side] = e.half(shown), half{}
	if !j.emit(p) {
		return false
	}
	j.tallies[e.side].outer++
	return true
}

func (e *joinEntry) half(shown []byte) half {
	return half{true, e.timeMs, e.partition, e.offset, shown}
}

// finish settles everything: no message will come.
func (j *joiner) finish() bool {
	j.horizon = math.MaxInt64
	return j.settle()
}

// isOpen tells whether a message could still find a partner if messages of the other side came that are not late by more than is allowed.
func (j *joiner) isOpen(e *joinEntry) bool {
	other := &j.tallies[1-e.side]
	return !other.seen || e.timeMs+j.sizeMs >= other.latestMs-j.latenessMs
}

func (j *joiner) opened(e *joinEntry) {
	if j.open != nil {
		j.open(e.side, e.partition, e.offset)
	}
}

// unfinished tells of all messages that wait: those that are open, or where rows are missing, those whose row may be.
func (j *joiner) unfinished(rowsMissing bool) {
	for _, d := range j.buf.due {
		e := &j.buf.entries[d.slot]
		owed := !e.matched && (j.once || j.outer[e.side])
		if j.isOpen(e) && !(j.once && e.matched) || rowsMissing && owed {
			j.opened(e)
		}
	}
}
