package query

// Groups and windows while messages come in.
//
// A group is the canonical encoding of its values (codec.go), looked up in a map by a buffer that is used again for each message, so
// that a message of a known group allocates nothing. A *cell* is one group in one window; its accumulators, one per measure, lie
// side by side in one slice. Cells refer to groups by number, so that hopping windows do not repeat long keys.
//
// A batch run keeps every cell to its end. A pipeline closes cells as time passes: the heap in closing.go knows which ends next.
//
// Nothing depends on the order of the map: what is shown is sorted first.

import (
	"math"
	"slices"
	"unsafe"
)

// group is a set of equal values of the group_by fields.
type group struct {
	key      string   // canonical encoding
	latest   uint32   // cell that was used last, plus one; 0: none
	cells    int      // that refer to it
	sessions []uint32 // its cells where windows are sessions, by start
	shown    int      // bytes of its text in an aggregate; of batch runs only
}

// cell is a group in a window.
type cell struct {
	group      uint32
	generation uint32 // counts how often the place was used, so that the heap knows an old entry
	start      int64
	last       int64 // of sessions: time of the last message
}

// cellName is what a cell is found by, if windows are not sessions.
type cellName struct {
	group uint32
	start int64
}

// aggregation is the groups of a run.
type aggregation struct {
	q       *Query
	horizon int64 // windows that end here or before are closed: the watermark. math.MinInt64: none

	ids        map[string]uint32
	groups     []group
	freeGroups []uint32

	names     map[cellName]uint32
	cells     []cell
	sums      []accumulator // of cell i from i·len(measures) on
	freeCells []uint32
	closing   *closing // nil: nothing closes before the end

	key    []byte  // of the group at hand
	clones []Value // per measure: the value at hand in memory of its own, shared by the windows that it falls into

	memory int // bytes, about
	shown  int // bytes of all aggregates as JSON, about; of batch runs only
}

const (
	groupBytes = int(unsafe.Sizeof(group{})) + 64 // with its place in the map
	cellBytes  = int(unsafe.Sizeof(cell{})) + 32
	sumBytes   = int(unsafe.Sizeof(accumulator{}))

	shownCellBytes   = len(`{},`)
	shownWindowBytes = len(`,"window_start_ms":1700000000000,"window_end_ms":1700000000000`)
	shownValueBytes  = 10 // of a number, about
)

func newAggregation(q *Query) *aggregation {
	return &aggregation{
		q: q, horizon: math.MinInt64,
		ids: make(map[string]uint32), names: make(map[cellName]uint32), clones: make([]Value, len(q.measures)),
	}
}

// add takes a message's values. It is late when every window that it belongs to is closed, and then changes nothing.
func (a *aggregation) add(values []Value, ts int64) (late bool) {
	clear(a.clones)
	a.key = a.key[:0]
	for i := range a.q.groups {
		a.key = appendKey(a.key, values[a.q.groups[i].place])
	}
	w := &a.q.window
	switch {
	case w.none():
		a.accumulate(a.cellOf(a.groupOf(), 0), values)
		return false
	case w.sessions():
		return a.addToSession(values, ts)
	}
	start := w.lastStart(ts)
	if !w.covers(start, ts) { // between windows that are shorter than their advance
		return false
	}
	if start+w.size <= a.horizon {
		return true
	}
	g := a.groupOf()
	for ; w.covers(start, ts) && start+w.size > a.horizon; start -= w.advance {
		a.accumulate(a.cellOf(g, start), values)
	}
	return false
}

// groupOf is the group whose key is at hand.
func (a *aggregation) groupOf() uint32 {
	if id, ok := a.ids[string(a.key)]; ok {
		return id
	}
	return a.newGroup(string(a.key))
}

func (a *aggregation) newGroup(key string) uint32 {
	var id uint32
	if n := len(a.freeGroups); n > 0 {
		id, a.freeGroups = a.freeGroups[n-1], a.freeGroups[:n-1]
	} else {
		id = uint32(len(a.groups))
		a.groups = append(a.groups, group{})
	}
	a.groups[id] = group{key: key}
	a.ids[key] = id
	a.memory += groupBytes + 2*len(key)
	if a.closing == nil {
		a.groups[id].shown = len(a.q.appendGroup(nil, key))
	}
	return id
}

// cellOf is the cell of a group in the window that starts there.
func (a *aggregation) cellOf(id uint32, start int64) uint32 {
	g := &a.groups[id]
	if g.latest != 0 && a.cells[g.latest-1].start == start {
		return g.latest - 1
	}
	name := cellName{id, start}
	c, ok := a.names[name]
	if !ok {
		c = a.newCell(id, start)
		a.names[name] = c
	}
	g.latest = c + 1
	return c
}

func (a *aggregation) newCell(id uint32, start int64) uint32 {
	var c uint32
	if n := len(a.freeCells); n > 0 {
		c, a.freeCells = a.freeCells[n-1], a.freeCells[:n-1]
	} else {
		c = uint32(len(a.cells))
		a.cells = append(a.cells, cell{})
		a.sums = slices.Grow(a.sums, len(a.q.measures))[:len(a.sums)+len(a.q.measures)]
	}
	at := &a.cells[c]
	*at = cell{group: id, generation: at.generation + 1, start: start, last: start}
	g := &a.groups[id]
	g.cells++
	a.memory += cellBytes + len(a.q.measures)*sumBytes
	a.shown += shownCellBytes + g.shown
	if !a.q.window.none() {
		a.shown += shownWindowBytes
	}
	for i := range a.q.measures {
		a.shown += len(a.q.measures[i].label) + shownValueBytes
	}
	if a.closing != nil {
		a.closing.push(closingEntry{a.end(c), c, at.generation})
	}
	return c
}

// dropCell gives a cell's place back, and its group's if that was the last. A session is taken from its group's list by the caller.
func (a *aggregation) dropCell(c uint32) {
	at := &a.cells[c]
	id := at.group
	g := &a.groups[id]
	if g.latest == c+1 {
		g.latest = 0
	}
	if !a.q.window.sessions() {
		delete(a.names, cellName{id, at.start})
	}
	at.generation++
	clear(a.sumsOf(c))
	a.freeCells = append(a.freeCells, c)
	if g.cells--; g.cells == 0 {
		delete(a.ids, g.key)
		a.groups[id] = group{}
		a.freeGroups = append(a.freeGroups, id)
	}
}

func (a *aggregation) sumsOf(c uint32) []accumulator {
	n := len(a.q.measures)
	return a.sums[int(c)*n : int(c)*n+n]
}

// end is where the cell's window ends.
func (a *aggregation) end(c uint32) int64 {
	if a.q.window.sessions() {
		return a.cells[c].last + a.q.window.size
	}
	return a.cells[c].start + a.q.window.size
}

// accumulate adds values to a cell.
func (a *aggregation) accumulate(c uint32, values []Value) {
	sums := a.sumsOf(c)
	for i := range a.q.measures {
		m := &a.q.measures[i]
		if m.place < 0 {
			sums[i].count++
		} else if v := values[m.place]; sums[i].add(m.op, v) {
			a.keep(&sums[i].best, v, i)
		}
	}
}

// keep makes v the best of a measure, in memory that the next message does not change.
func (a *aggregation) keep(best *Value, v Value, measure int) {
	grown := len(v.text) - len(best.text)
	a.memory += grown
	a.shown += 2 * grown
	if v.text == nil {
		*best = v
		return
	}
	w := &a.q.window
	if w.size == w.advance || w.sessions() { // nobody else has the old one's memory
		v.text = append(best.text[:0], v.text...)
		*best = v
		return
	}
	if a.clones[measure].kind == Missing {
		a.clones[measure] = v.Clone()
	}
	*best = a.clones[measure]
}

// addToSession adds values to the session that they belong to, which may thereby become one with the next.
func (a *aggregation) addToSession(values []Value, ts int64) (late bool) {
	gap := a.q.window.size
	id, known := a.ids[string(a.key)]
	var list []uint32
	if known {
		list = a.groups[id].sessions
	}
	i, _ := slices.BinarySearchFunc(list, ts, func(c uint32, ts int64) int { // the first that starts after ts
		if a.cells[c].start <= ts {
			return -1
		}
		return 1
	})
	joinsLast := i > 0 && ts-a.cells[list[i-1]].last < gap
	joinsNext := i < len(list) && a.cells[list[i]].start-ts < gap
	switch {
	case joinsLast && joinsNext:
		a.mergeSessions(id, i)
		a.extend(list[i-1], values, ts)
	case joinsLast:
		a.extend(list[i-1], values, ts)
	case joinsNext:
		a.extend(list[i], values, ts)
	case ts+gap <= a.horizon:
		return true
	default:
		if !known {
			id = a.newGroup(string(a.key))
		}
		c := a.newCell(id, ts)
		a.groups[id].sessions = slices.Insert(a.groups[id].sessions, i, c)
		a.accumulate(c, values)
	}
	return false
}

// extend adds values to a session.
func (a *aggregation) extend(c uint32, values []Value, ts int64) {
	at := &a.cells[c]
	at.start = min(at.start, ts)
	at.last = max(at.last, ts)
	a.accumulate(c, values)
}

// mergeSessions makes the i-th session of a group part of the one before.
func (a *aggregation) mergeSessions(id uint32, i int) {
	g := &a.groups[id]
	into, from := g.sessions[i-1], g.sessions[i]
	sums, more := a.sumsOf(into), a.sumsOf(from)
	for k := range sums {
		sums[k].merge(a.q.measures[k].op, &more[k])
	}
	a.cells[into].last = a.cells[from].last
	g.sessions = slices.Delete(g.sessions, i, i+1)
	a.dropCell(from)
}

// rank is a cell with what it is sorted by.
type rank struct {
	cell   uint32
	end    int64
	start  int64
	values []Value
}

// sorted puts cells into the order in which they are shown: by start (or, where they close, by end first), then by the group's values.
func (a *aggregation) sorted(cells []uint32, byEnd bool) []rank {
	ranks := make([]rank, len(cells))
	byGroup := make(map[uint32][]Value)
	for i, c := range cells {
		at := &a.cells[c]
		values, ok := byGroup[at.group]
		if !ok {
			values = a.q.groupValues(a.groups[at.group].key)
			byGroup[at.group] = values
		}
		ranks[i] = rank{cell: c, start: at.start, values: values}
		if byEnd {
			ranks[i].end = a.end(c)
		}
	}
	slices.SortFunc(ranks, compareRanks)
	return ranks
}

func compareRanks(a, b rank) int {
	switch {
	case a.end != b.end:
		return sign(a.end < b.end)
	case a.start != b.start:
		return sign(a.start < b.start)
	}
	return slices.CompareFunc(a.values, b.values, Value.Order)
}

func sign(less bool) int {
	if less {
		return -1
	}
	return 1
}

// live lists the cells that are in use.
func (a *aggregation) live() []uint32 {
	used := make([]bool, len(a.cells))
	for i := range used {
		used[i] = true
	}
	for _, c := range a.freeCells {
		used[c] = false
	}
	var list []uint32
	for c, ok := range used {
		if ok {
			list = append(list, uint32(c))
		}
	}
	return list
}

// groupValues takes a group's key apart.
func (q *Query) groupValues(key string) []Value {
	r := stateReader{left: []byte(key)}
	values := make([]Value, len(q.groups))
	for i := range values {
		values[i] = r.value()
	}
	return values
}
