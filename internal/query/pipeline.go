package query

// A query that runs for good.
//
// Without measures every match is a row at once. With measures a window's row comes when the window closes: when the watermark, which is the latest
// event time seen so far less allowed_lateness_ms, reaches its end. Every message that decodes moves the watermark, also one that the filter
// does not want, so that a rare match does not wait for the next. A message of which all windows are closed is late: it is dropped and counted. A
// session that is open takes what belongs to it, however old.
//
// Rows that close at once come by the end of their window, its start, the group. So the rows of tumbling and hopping windows come in the order
// of a batch run.
//
// State, when it is put away:
//
//	version u8 | fingerprint of the query u64 | started u8, newest zigzag | scanned, matched, skipped, late uvarint |
//	cells uvarint, each: length uvarint, key of the group | start zigzag | last − start uvarint | per measure: what it needs (measurestate.go)
//
// with cells by start, then key, so that equal states are equal bytes however they came about.

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"ayder/internal/jsonscan"
)

const queryStateVersion = 1

// errState: what is to be restored was not written by this operator.
var errState = errors.New("the state is damaged, or of another query")

// queryOperator is an Operator.
type queryOperator struct {
	*evaluator
	groups  *aggregation // nil: nothing is measured
	started bool         // newest is a time
	newest  int64        // the latest event time
	counts  Counts
	row     []byte
	scan    jsonscan.Scanner
}

// Operator makes what runs the query for good. The error is a *RequestError: the query has no end to wait for.
func (q *Query) Operator() (Operator, error) {
	if len(q.measures) > 0 && q.window.none() {
		return nil, badQuery("window", "is missing: a query that runs for good has a result for each window")
	}
	o := &queryOperator{evaluator: newEvaluator(q)}
	if len(q.measures) > 0 {
		o.groups = newAggregation(q)
		o.groups.closing = new(closing)
	}
	return o, nil
}

// Counts implements Counted.
func (o *queryOperator) Counts() Counts { return o.counts }

// Push implements Operator.
func (o *queryOperator) Push(_ int, m *Message, emit func(Row)) error {
	o.counts.Scanned++
	what := o.look(m)
	switch {
	case what == skipped:
		o.counts.Skipped++
		return nil
	case what == unmatched:
		o.timeOf(m)
	case o.groups == nil:
		o.counts.Matched++
		return o.pass(m, emit)
	case o.groups.add(o.values, o.time.ms):
		o.counts.Late++
	default:
		o.counts.Matched++
	}
	return o.advance(emit)
}

// pass gives a match out as it is.
func (o *queryOperator) pass(m *Message, emit func(Row)) error {
	o.row = o.appendRow(o.row[:0], rowBytesMax)
	if len(o.row) > rowBytesMax {
		return errRowTooLarge(m)
	}
	row := Row{TimeMs: m.TimeMs, JSON: o.row}
	if m.HasKey {
		row.Key = m.Key
	}
	if o.timed && o.time.ms >= 0 {
		row.TimeMs = uint64(o.time.ms)
	}
	emit(row)
	return nil
}

// advance moves the watermark by the message at hand, and closes what ends there.
func (o *queryOperator) advance(emit func(Row)) error {
	a := o.groups
	if a == nil || !o.timed || o.started && o.time.ms <= o.newest {
		return nil
	}
	o.started, o.newest = true, o.time.ms
	a.horizon = o.newest - o.q.window.lateness
	due := a.due()
	if due == nil {
		return nil
	}
	for _, r := range a.sorted(due, true) {
		if err := o.close(r, emit); err != nil {
			return err
		}
	}
	return nil
}

// close gives a cell out and forgets it.
func (o *queryOperator) close(r rank, emit func(Row)) (err error) {
	a := o.groups
	if o.row, err = a.appendAggregate(o.row[:0], r.cell); err != nil {
		return err
	}
	g := &a.groups[a.cells[r.cell].group]
	row := Row{TimeMs: uint64(max(r.end-1, 0)), JSON: o.row}
	if len(o.q.groups) > 0 {
		row.Key = o.q.appendKeyText(nil, g.key)
	}
	emit(row)
	if o.q.window.sessions() {
		i := slices.Index(g.sessions, r.cell)
		g.sessions = slices.Delete(g.sessions, i, i+1)
	}
	a.dropCell(r.cell)
	return nil
}

// AppendState implements Operator.
func (o *queryOperator) AppendState(b []byte) []byte {
	if o.counts == (Counts{}) {
		return b
	}
	b = append(b, queryStateVersion)
	b = binary.LittleEndian.AppendUint64(b, o.q.fingerprint())
	b = appendBool(b, o.started)
	b = binary.AppendVarint(b, o.newest)
	for _, n := range []uint64{o.counts.Scanned, o.counts.Matched, o.counts.Skipped, o.counts.Late} {
		b = binary.AppendUvarint(b, n)
	}
	if o.groups == nil {
		return binary.AppendUvarint(b, 0)
	}
	return o.groups.appendCells(b)
}

// appendCells encodes all cells.
func (a *aggregation) appendCells(b []byte) []byte {
	cells := a.live()
	slices.SortFunc(cells, func(c, d uint32) int {
		x, y := &a.cells[c], &a.cells[d]
		return cmp.Or(cmp.Compare(x.start, y.start), cmp.Compare(a.groups[x.group].key, a.groups[y.group].key))
	})
	b = binary.AppendUvarint(b, uint64(len(cells)))
	for _, c := range cells {
		at := &a.cells[c]
		key := a.groups[at.group].key
		b = append(binary.AppendUvarint(b, uint64(len(key))), key...)
		b = binary.AppendVarint(b, at.start)
		b = binary.AppendUvarint(b, uint64(at.last-at.start))
		sums := a.sumsOf(c)
		for i := range sums {
			b = sums[i].appendState(b, a.q.measures[i].op)
		}
	}
	return b
}

// Restore implements Operator.
func (o *queryOperator) Restore(state []byte) error {
	if len(state) == 0 {
		return nil
	}
	r := stateReader{left: state}
	if version := r.u8(); version != queryStateVersion {
		return fmt.Errorf("%w: version %d", errState, version)
	}
	if r.u64() != o.q.fingerprint() {
		return fmt.Errorf("%w: another fingerprint", errState)
	}
	o.started, o.newest = r.bool(), r.varint()
	for _, n := range []*uint64{&o.counts.Scanned, &o.counts.Matched, &o.counts.Skipped, &o.counts.Late} {
		*n = r.uvarint()
	}
	if o.newest < -timeMsMax || o.newest > timeMsMax || o.counts == (Counts{}) {
		return errState
	}
	if o.groups != nil && o.started {
		o.groups.horizon = o.newest - o.q.window.lateness
	}
	count := r.uvarint()
	if count > 0 && (o.groups == nil || !o.started) {
		return errState
	}
	for ; count > 0 && !r.failed; count-- {
		o.restoreCell(&r)
	}
	if r.failed || len(r.left) > 0 {
		return errState
	}
	return nil
}

// restoreCell reads one cell; what cannot be one makes r fail.
func (o *queryOperator) restoreCell(r *stateReader) {
	a := o.groups
	key, start, length := r.text(), r.varint(), r.uvarint()
	if r.failed || !o.checkKey(key) || start < -2*timeMsMax || start > timeMsMax || length > 2*timeMsMax {
		r.failed = true
		return
	}
	a.key = append(a.key[:0], key...)
	id := a.groupOf()
	c, ok := o.placeCell(id, start, start+int64(length))
	if !ok {
		r.failed = true
		return
	}
	sums := a.sumsOf(c)
	for i := range sums {
		sums[i].restore(r, &o.scan, o.q.measures[i].op)
	}
}

// placeCell makes a cell, if there can be one: aligned, open, not twice, sessions by rising start and a gap apart.
func (o *queryOperator) placeCell(id uint32, start, last int64) (c uint32, ok bool) {
	a, w := o.groups, &o.q.window
	g := &a.groups[id]
	if !w.sessions() {
		if _, twice := a.names[cellName{id, start}]; twice || last != start || start%w.advance != 0 || start+w.size <= a.horizon {
			return 0, false
		}
		return a.cellOf(id, start), true
	}
	if n := len(g.sessions); n > 0 && start-a.cells[g.sessions[n-1]].last < w.size || last+w.size <= a.horizon || last > timeMsMax {
		return 0, false
	}
	c = a.newCell(id, start)
	a.cells[c].last = last
	a.groups[id].sessions = append(a.groups[id].sessions, c)
	return c, true
}

// checkKey tells whether b is a group's key as appendKey makes it.
func (o *queryOperator) checkKey(b []byte) bool {
	r := stateReader{left: b}
	var again []byte
	for range o.q.groups {
		v := r.checked(&o.scan)
		again = appendKey(again, v)
	}
	return !r.failed && string(again) == string(b)
}
