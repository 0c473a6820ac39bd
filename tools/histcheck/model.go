package main

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/anishathalye/porcupine"
)

// What a partition must behave like, for porcupine: two objects that know nothing of each other.
//
//	log        an append-only list. An append answers the list's length before it; a compare-and-set appends
//	           if the length is the expected one, else it tells the length; a read tells a slice of the list, and
//	           the length if the slice ends there.
//	committed  a register that only grows: commit(v) makes it max(old, v), and tells nothing.
//
// The list is persistent: a state is its last element with a pointer to the one before, so a step is cheap
// and states share all but their ends. Comparing walks back until the pointers meet.
//
// A declined compare-and-set is held to the same standard as a read: the length that it was declined by is
// the list's length at one moment between call and return.

// element is the end of a list; nil is the empty list.
type element struct {
	before *element
	id     uint64
	length uint64
	sum    uint64 // hash of all ids
}

func (e *element) len() uint64 {
	if e == nil {
		return 0
	}
	return e.length
}

func (e *element) hash() uint64 {
	if e == nil {
		return 0
	}
	return e.sum
}

func (e *element) append(id uint64) *element {
	h := fnv.New64a()
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], e.hash())
	binary.LittleEndian.PutUint64(b[8:], id)
	_, _ = h.Write(b[:])
	return &element{before: e, id: id, length: e.len() + 1, sum: h.Sum64()}
}

// equal compares two lists.
func (e *element) equal(f *element) bool {
	for e != f {
		if e == nil || f == nil || e.length != f.length || e.sum != f.sum || e.id != f.id {
			return false
		}
		e, f = e.before, f.before
	}
	return true
}

// holds tells whether ids are the list's elements from an index on.
func (e *element) holds(from uint64, ids []uint64) bool {
	end := from + uint64(len(ids))
	if end > e.len() {
		return false
	}
	for e.len() > end {
		e = e.before
	}
	for _, id := range slices.Backward(ids) {
		if e.id != id {
			return false
		}
		e = e.before
	}
	return true
}

// stepLog is the log's sequential specification.
func stepLog(e *element, o *op) (bool, *element) {
	switch {
	case o.kind == kindRead && len(o.ids) == 0:
		return o.next == e.len(), e
	case o.kind == kindRead:
		end := o.from + uint64(len(o.ids))
		return o.next == end && e.holds(o.from, o.ids) && (o.more || end == e.len()), e
	case o.outcome == outcomeFailed:
		return o.expect != e.len() && o.next == e.len(), e
	case o.kind == kindSwap && o.expect != e.len(), o.offset != e.len():
		return false, e
	}
	return true, e.append(o.id)
}

// stepCommitted is the register's.
func stepCommitted(value uint64, o *op) (bool, uint64) {
	if o.kind == kindCommit {
		return true, max(value, o.offset)
	}
	return o.offset == value, value
}

// ofLog tells which of the two objects an operation is about.
func (o *op) ofLog() bool { return o.kind.writes() || o.kind == kindRead }

func (o *op) ofCommitted() bool { return o.kind == kindCommit || o.kind == kindCommitted }

// logModel is the log for porcupine.
func logModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return (*element)(nil) },
		Step: func(state, input, _ any) (bool, any) {
			ok, next := stepLog(state.(*element), input.(*op))
			return ok, next
		},
		Equal:             func(a, b any) bool { return a.(*element).equal(b.(*element)) },
		Hash:              func(state any) uint64 { return state.(*element).hash() },
		DescribeOperation: func(input, _ any) string { return input.(*op).describe() },
		DescribeState: func(state any) string {
			e := state.(*element)
			if e == nil {
				return "empty"
			}
			return fmt.Sprintf("length %d, ends with %d", e.length, e.id)
		},
	}
}

// committedModel is the register for porcupine.
func committedModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return uint64(0) },
		Step: func(state, input, _ any) (bool, any) {
			ok, next := stepCommitted(state.(uint64), input.(*op))
			return ok, next
		},
		DescribeOperation: func(input, _ any) string { return input.(*op).describe() },
	}
}

// describe shows an operation as a reader of the visualisation wants it.
func (o *op) describe() string {
	text := ""
	switch {
	case o.kind == kindSwap && o.outcome == outcomeFailed:
		text = fmt.Sprintf("cas(at %d, %d) → declined, next is %d", o.expect, o.id, o.next)
	case o.kind == kindSwap:
		text = fmt.Sprintf("cas(at %d, %d) → offset %d", o.expect, o.id, o.offset)
	case o.kind.writes():
		text = fmt.Sprintf("%s(%d) → offset %d", o.kind, o.id, o.offset)
	case o.kind == kindCommit:
		text = fmt.Sprintf("commit(%d)", o.offset)
	case o.kind == kindCommitted:
		text = fmt.Sprintf("committed() → %d", o.offset)
	default:
		text = fmt.Sprintf("%s(from %d) → %v, next %d", o.kind, o.from, o.ids, o.next)
	}
	if o.ret == forever {
		text += " (unanswered)"
	}
	return text
}
