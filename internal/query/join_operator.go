package query

// A join that runs for good. It remembers the messages that wait for a partner, with their keys and what rows show of them, and how far
// each side is; so that is its state:
//
//	version u8 | fingerprint of the join u64 |
//	  twice, left and right: a message was seen u8 | its latest time u64 | messages scanned, skipped, late uvarint (not in version 1)
//	messages uvarint |
//	  flags u8 (1: right, 2: is in a row) | time varint | partition, offset uvarint | put off for ms uvarint | key, fields: uvarint length, bytes
//
// little endian, in the order in which they will be settled. The request's limits of messages and rows do not hold here.

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strings"

	"ayder/internal/jsonscan"
)

const joinStateVersion = 2

const (
	stateRight   = 1
	stateMatched = 2
)

var errJoinState = errors.New("the state of the join is damaged, or of another one")

type joinOperator struct {
	*joiner
	render rowRenderer
	row    []byte
	key    []byte
	out    func(Row)
	bytes  int // of rows that the message at hand gave
}

// Operator makes the join run for good.
func (j *Join) Operator() (Operator, error) {
	o := &joinOperator{joiner: newJoiner(j), render: newRowRenderer(j)}
	o.emit = o.give
	o.enough = func() bool { return o.bytes >= settledBytesEnough }
	return o, nil
}

// Push implements Operator.
func (o *joinOperator) Push(source int, m *Message, emit func(Row)) error {
	o.out, o.bytes = emit, 0
	if !o.push(uint8(source), m) {
		return fmt.Errorf("offset %d of partition %d of the %s side joins so many messages that its rows have more than %d bytes",
			m.Offset, m.Partition, [...]string{"left", "right"}[source], pushedBytesMax)
	}
	if size := o.buf.dataBytes + o.buf.waiting*joinEntryBytes; size > operatorBytesMax {
		return fmt.Errorf("%d messages wait for a partner, with %d bytes: %d are allowed", o.buf.waiting, size, operatorBytesMax)
	}
	return nil
}

// give renders a row and passes it on.
func (o *joinOperator) give(p *pair) bool {
	o.row = o.render.append(o.row[:0], p)
	if o.bytes += len(o.row); o.bytes > pushedBytesMax {
		return false
	}
	o.key = appendJoinKey(o.key[:0], p.key)
	o.out(Row{Key: o.key, TimeMs: uint64(max(0, p.timeMs())), JSON: o.row})
	return true
}

// Counts implements Counted. Matched are those that could find a partner.
func (o *joinOperator) Counts() (c Counts) {
	for side := range o.tallies {
		t := &o.tallies[side]
		c.Scanned += uint64(t.scanned)
		c.Skipped += uint64(t.skipped)
		c.Late += uint64(t.late)
	}
	c.Matched = c.Scanned - c.Skipped - c.Late
	return c
}

// Order implements Paced.
func (o *joinOperator) Order() (first int, both bool) {
	l, r := &o.tallies[leftSide], &o.tallies[rightSide]
	switch {
	case !l.seen:
		return int(leftSide), !r.seen
	case !r.seen:
		return int(rightSide), false
	case r.latestMs < l.latestMs:
		return int(rightSide), l.latestMs-r.latestMs <= o.sizeMs+o.latenessMs
	}
	return int(leftSide), r.latestMs-l.latestMs <= o.sizeMs+o.latenessMs
}

// AppendState implements Operator.
func (o *joinOperator) AppendState(b []byte) []byte {
	b = append(b, joinStateVersion)
	b = binary.LittleEndian.AppendUint64(b, o.fingerprint())
	for side := range o.tallies {
		t := &o.tallies[side]
		b = append(b, byte(BoolValue(t.seen).bits))
		b = binary.LittleEndian.AppendUint64(b, uint64(t.latestMs))
		for _, n := range []int{t.scanned, t.skipped, t.late} {
			b = binary.AppendUvarint(b, uint64(n))
		}
	}
	b = binary.AppendUvarint(b, uint64(o.buf.waiting))
	due := slices.Clone(o.buf.due)
	slices.SortFunc(due, func(x, y joinDue) int {
		switch {
		case o.buf.earlier(x, y):
			return -1
		case o.buf.earlier(y, x):
			return 1
		}
		return 0
	})
	for _, d := range due {
		if e := &o.buf.entries[d.slot]; !o.once || !e.matched {
			b = o.appendWaiting(b, d)
		}
	}
	return b
}

func (o *joinOperator) appendWaiting(b []byte, d joinDue) []byte {
	e := &o.buf.entries[d.slot]
	flags := e.side
	if e.matched {
		flags |= stateMatched
	}
	b = binary.AppendVarint(append(b, flags), e.timeMs)
	b = binary.AppendUvarint(b, uint64(e.partition))
	b = binary.AppendUvarint(b, e.offset)
	b = binary.AppendUvarint(b, uint64(d.dueMs-e.timeMs-o.sizeMs))
	for _, text := range [][]byte{o.buf.key(d.slot), o.buf.shown(d.slot)} {
		b = append(binary.AppendUvarint(b, uint64(len(text))), text...)
	}
	return b
}

// Restore implements Operator.
func (o *joinOperator) Restore(state []byte) error {
	r := stateReader{left: state}
	version := r.u8()
	if version == 0 || version > joinStateVersion || r.u64() != o.fingerprint() {
		return errJoinState
	}
	for side := range o.tallies {
		seen, latestMs := r.u8(), int64(r.u64())
		if seen > 1 || !inTime(latestMs) || version > 1 && !o.tallies[side].restoreCounts(&r) {
			return errJoinState
		}
		if seen == 1 {
			o.advance(uint8(side), latestMs)
		}
	}
	var last joinDue
	for count := r.uvarint(); count > 0; count-- {
		d, ok := o.restoreWaiting(&r)
		if !ok || o.buf.waiting > 1 && !o.buf.earlier(last, d) {
			return errJoinState
		}
		last = d
	}
	if r.failed || len(r.left) > 0 {
		return errJoinState
	}
	return nil
}

// restoreCounts reads how many messages there were; false: they contradict each other.
func (t *tally) restoreCounts(r *stateReader) bool {
	scanned, skipped, late := r.uvarint(), r.uvarint(), r.uvarint()
	t.scanned, t.skipped, t.late = int(scanned), int(skipped), int(late)
	return scanned <= math.MaxInt64/2 && skipped <= scanned && late <= scanned-skipped
}

// restoreWaiting reads what appendWaiting wrote.
func (o *joinOperator) restoreWaiting(r *stateReader) (joinDue, bool) {
	flags, timeMs := r.u8(), r.varint()
	partition, offset, later := r.uvarint(), r.uvarint(), r.uvarint()
	key, shown := r.text(), r.text()
	var scan jsonscan.Scanner
	switch {
	case r.failed, flags > stateRight|stateMatched, o.once && flags&stateMatched != 0:
		return joinDue{}, false
	case !inTime(timeMs), partition > math.MaxUint32, later > timeMsMax:
		return joinDue{}, false
	case !o.isKey(flags&stateRight, key), !scan.Valid(shown):
		return joinDue{}, false
	}
	e := joinEntry{timeMs: timeMs, offset: offset, partition: uint32(partition), side: flags & stateRight, matched: flags&stateMatched != 0}
	dueMs := timeMs + o.sizeMs + int64(later)
	return joinDue{dueMs, o.buf.add(e, key, shown, dueMs)}, true
}

// isKey tells whether key is one that messages of the side can have.
func (o *joinOperator) isKey(side uint8, key []byte) bool {
	values := stateReader{left: key}
	var again []byte
	for range o.sides[side].keys {
		v := values.value()
		if !joins(v) {
			return false
		}
		again = appendKey(again, v)
	}
	return !values.failed && string(again) == string(key)
}

func inTime(ms int64) bool { return ms >= -timeMsMax && ms <= timeMsMax }

// fingerprint tells joins apart whose state has another shape or meaning.
func (j *Join) fingerprint() uint64 {
	var plan strings.Builder
	fmt.Fprintf(&plan, "%d %d %v %t %t", j.sizeMs, j.latenessMs, j.outer, j.once, j.missingEmpty)
	for side := range j.sides {
		s := &j.sides[side]
		plan.WriteString(" side")
		for _, place := range s.keys {
			fmt.Fprintf(&plan, " %s", pathKey(s.fields.paths[place]))
		}
		if s.ts >= 0 {
			fmt.Fprintf(&plan, " at %s", pathKey(s.fields.paths[s.ts]))
		}
		for _, p := range s.project {
			fmt.Fprintf(&plan, " show %q", p.name)
		}
	}
	h := fnv.New64a()
	h.Write([]byte(plan.String()))
	return h.Sum64()
}
