package query

// A join of two streams, on demand: all pairs of messages whose keys are equal and whose times are no further apart than the window, and
// with an outer join the messages that have no partner. Who joins whom is in join_match.go; here it is decided what is read, and when it
// is enough.
//
// The side that lags in event time is read next. So both advance together, the horizon follows, and what is remembered is bounded by the
// window and not by the input. Nothing is looked at ahead: a message that was read was joined.
//
// An answer that stops early is the join of those messages that were looked at, which is not the same as the first rows of the whole join: a
// message near the end may have its partner behind it. So there are two places to go on from. Next is behind the last message that was
// looked at. Resume is the first message that may still lack a row, and so is never behind Next: a join that goes on from there misses no
// pair of messages that come within the allowed lateness, but gives some rows again. Where one side's limit is what ended it, the other is read on as
// far as messages can reach, so that every message of the limited side has all its partners; an inner or outer join of that side then goes on
// from Next on that side and Resume on the other, and gives no row twice. The message during which there was no more room for rows
// counts as not looked at.

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strconv"
)

// Join is what Compile makes of a request. It does not change, so that any number of runs may share it.
type Join struct {
	sides        [2]joinSide
	outer        [2]bool // messages of the side have a row without a partner
	sizeMs       int64   // how far apart two messages may be
	latenessMs   int64
	once         bool // each message is in one row at most
	missingEmpty bool // what is missing is left out, and not null
	rows         int
}

// JoinResult is what a run found.
type JoinResult struct {
	Truncated   bool   // there was a message that was not looked at, or a row that had no room
	TruncatedBy string // "limit", "rows", "memory", "time", "output"; "" if it is not truncated
	Left, Right JoinSideResult
	WatermarkMs *int64 // nil: one of the sides had no message with a time
	Once        bool

	text  []byte // rows, in the order in which they were made
	order []placedRow
}

// JoinSideResult is what was found on one side.
type JoinSideResult struct {
	Scanned int // messages that were looked at
	Skipped int // of them, those that do not decode or have no time
	Late    int // of them, those that were dropped because they are older than the watermark and a window
	Outer   int // rows without a partner

	// Next is, per partition, the offset behind the last message that was looked at; Resume the offset to go on from so that no pair is missed.
	// Only partitions that had a message.
	Next, Resume map[uint32]uint64
}

// placedRow says where a row is in the text, and in which order it belongs.
type placedRow struct {
	at, end int
	timeMs  int64
	sides   [2]rowPlace
}

type rowPlace struct {
	absent    bool
	partition uint32
	offset    uint64
}

// Run evaluates the join. An error is a *RequestError: the join cannot be answered for these messages.
func (j *Join) Run(l Limits, left, right iter.Seq[*Message]) (*JoinResult, error) {
	return newJoinRun(j, l).run(left, right)
}

func (r *joinRun) run(sides ...iter.Seq[*Message]) (*JoinResult, error) {
	for side, messages := range sides {
		next, stop := iter.Pull(messages)
		defer stop()
		r.feeds[side].next = next
	}
	for r.stoppedBy == "" && r.step() {
	}
	return r.finish()
}

// joinRun is a join under way.
type joinRun struct {
	*joiner
	limits    Limits
	feeds     [2]joinFeed
	render    rowRenderer
	found     JoinResult
	stoppedBy string
	cut       bool // in the middle of what a message gives
	err       error
	patience  int // pieces of work after which Expired is asked
	unasked   int // of them, those since then
	unread    int // bytes of messages since then
}

// joinFeed is where the messages of a side come from.
type joinFeed struct {
	next    func() (*Message, bool)
	ended   bool // there is none left
	limited bool // there are, but no more may be looked at
	after   map[uint32]uint64
	resume  map[uint32]uint64
}

func newJoinRun(j *Join, l Limits) *joinRun {
	r := &joinRun{joiner: newJoiner(j), limits: l, render: newRowRenderer(j), patience: expiryMessages}
	r.limits.Rows = least(l.Rows, j.rows)
	for side := range r.feeds {
		r.feeds[side].after, r.feeds[side].resume = make(map[uint32]uint64), make(map[uint32]uint64)
	}
	r.emit = r.addRow
	r.open = func(side uint8, partition uint32, offset uint64) { lower(r.feeds[side].resume, partition, offset) }
	return r
}

// step looks at one message. False: there is none left that may be looked at.
func (r *joinRun) step() bool {
	side, ok := r.pick()
	if !ok {
		return false
	}
	f := &r.feeds[side]
	m, ok := f.next()
	switch {
	case !ok:
		f.ended, r.closed[side] = true, true
	case r.tallies[side].scanned >= r.sides[side].limit || r.exhausted():
		f.limited, r.closed[side] = true, true
	case r.full(m):
	case r.push(side, m):
		f.after[m.Partition] = m.Offset + 1
	default:
		r.tallies[side].scanned--
		r.cut = true
	}
	return true
}

// pick chooses the side to read next: the one that lags. Where the other may not be read any more, it is read as far as it can join
// what was looked at there.
func (r *joinRun) pick() (side uint8, ok bool) {
	open := [2]bool{!r.closed[leftSide], !r.closed[rightSide]}
	switch {
	case open[leftSide] && open[rightSide]:
		return r.lagging(), true
	case open[leftSide]:
		side = leftSide
	case open[rightSide]:
		side = rightSide
	default:
		return 0, false
	}
	if !r.feeds[1-side].limited {
		return side, true
	}
	this, other := &r.tallies[side], &r.tallies[1-side]
	return side, other.seen && (!this.seen || this.progress.ms <= other.latestMs+r.sizeMs+r.latenessMs)
}

// lagging is the side whose time is behind, of equals the one that was read less.
func (r *joinRun) lagging() uint8 {
	left, right := &r.tallies[leftSide], &r.tallies[rightSide]
	order := cmp.Compare(left.scanned, right.scanned)
	switch {
	case left.seen && right.seen && left.progress.ms != right.progress.ms:
		order = cmp.Compare(left.progress.ms, right.progress.ms)
	case left.seen != right.seen:
		order = 1
		if right.seen {
			order = -1
		}
	}
	if order <= 0 {
		return leftSide
	}
	return rightSide
}

// joinProgress is how far a side is: the earliest time of its last few messages. One message of a far future does not make its side wait
// until the other one is there, by which time all that it has would be late; one of the far past has a few more read.
type joinProgress struct {
	ms    int64
	last  [joinProgressMessages]int64
	count int
}

func (p *joinProgress) note(ms int64) {
	p.last[p.count%len(p.last)] = ms
	p.count++
	p.ms = slices.Min(p.last[:min(p.count, len(p.last))])
}

// exhausted tells whether as many messages were looked at as may be, of both sides together.
func (r *joinRun) exhausted() bool {
	return r.limits.Scanned > 0 && r.tallies[leftSide].scanned+r.tallies[rightSide].scanned >= r.limits.Scanned
}

// full tells whether the run has to stop before m; then stoppedBy says why.
func (r *joinRun) full(m *Message) bool {
	r.unread += len(m.Value)
	r.unasked, r.asked = r.unasked+r.asked, 0
	switch {
	case r.limits.StateBytes > 0 && r.buf.occupied() > r.limits.StateBytes:
		r.stoppedBy = "memory"
	case r.expired():
		r.stoppedBy = "time"
	}
	return r.stoppedBy != ""
}

// expired asks now and then whether time is up. It is called for every message and every row.
func (r *joinRun) expired() bool {
	if r.unasked++; r.limits.Expired == nil || r.unasked <= r.patience && r.unread <= expiryBytes {
		return false
	}
	r.unasked, r.unread = 0, 0
	return r.limits.Expired()
}

// addRow takes a row, if there is room.
func (r *joinRun) addRow(p *pair) bool {
	if r.limits.Rows > 0 && len(r.found.order) >= r.limits.Rows {
		r.stoppedBy = "rows"
		return false
	}
	if r.expired() {
		r.stoppedBy = "time"
		return false
	}
	at := len(r.found.text)
	r.found.text = r.render.append(r.found.text, p)
	if end := len(r.found.text); r.limits.OutputBytes > 0 && end+len(r.found.order) > r.limits.OutputBytes {
		r.stoppedBy, r.found.text = "output", r.found.text[:at]
		if at == 0 {
			r.err = &RequestError{"output_too_large", "the row of " + p.names() + " is larger than the answer may be"}
		}
		return false
	}
	r.found.order = append(r.found.order, p.placed(at, len(r.found.text)))
	return true
}

// finish settles what waits and makes the result complete.
func (r *joinRun) finish() (*JoinResult, error) {
	r.limits.Expired = nil // this is not long
	found := &r.found
	if w, ok := r.watermark(); ok {
		found.WatermarkMs = &w
	}
	r.unfinished(r.cut)
	if !r.cut && !r.joiner.finish() {
		r.unfinished(true)
	}
	if r.err != nil {
		return nil, r.err
	}
	found.TruncatedBy = r.stoppedBy
	if r.stoppedBy == "" && (r.feeds[leftSide].limited || r.feeds[rightSide].limited) {
		found.TruncatedBy = "limit"
	}
	found.Truncated, found.Once = found.TruncatedBy != "", r.once
	found.Left, found.Right = r.sideResult(leftSide), r.sideResult(rightSide)
	slices.SortFunc(found.order, placedRow.compare)
	return found, nil
}

func (r *joinRun) sideResult(side uint8) JoinSideResult {
	t, f := &r.tallies[side], &r.feeds[side]
	for partition, after := range f.after {
		lower(f.resume, partition, after)
	}
	return JoinSideResult{Scanned: t.scanned, Skipped: t.skipped, Late: t.late, Outer: t.outer, Next: f.after, Resume: f.resume}
}

// lower makes the partition's offset the lesser of what it is and this.
func lower(offsets map[uint32]uint64, partition uint32, offset uint64) {
	if known, ok := offsets[partition]; !ok || offset < known {
		offsets[partition] = offset
	}
}

func (p *pair) placed(at, end int) placedRow {
	row := placedRow{at: at, end: end, timeMs: p.timeMs()}
	for side := range p.sides {
		h := &p.sides[side]
		row.sides[side] = rowPlace{!h.present, h.partition, h.offset}
	}
	return row
}

// compare orders rows by time, then by the left message, then by the right one; those without are last.
func (p placedRow) compare(q placedRow) int {
	return cmp.Or(cmp.Compare(p.timeMs, q.timeMs), p.sides[leftSide].compare(q.sides[leftSide]), p.sides[rightSide].compare(q.sides[rightSide]))
}

func (p rowPlace) compare(q rowPlace) int {
	switch {
	case p.absent != q.absent && p.absent:
		return 1
	case p.absent != q.absent:
		return -1
	}
	return cmp.Or(cmp.Compare(p.partition, q.partition), cmp.Compare(p.offset, q.offset))
}

// names says which messages a row is of.
func (p *pair) names() string {
	var text string
	for side, name := range []string{"left", "right"} {
		if h := &p.sides[side]; h.present {
			text += fmt.Sprintf(" %s offset %d of partition %d", name, h.offset, h.partition)
		}
	}
	return text[1:]
}

// AppendRows appends `"rows":[…]`.
func (r *JoinResult) AppendRows(b []byte) []byte {
	b = append(b, `"rows":[`...)
	for i, row := range r.order {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, r.text[row.at:row.end]...)
	}
	return append(b, ']')
}

// AppendStats appends `"stats":{…}`.
func (r *JoinResult) AppendStats(b []byte) []byte {
	for _, member := range []struct {
		name  string
		count int
	}{
		{`"stats":{"left_scanned":`, r.Left.Scanned},
		{`,"right_scanned":`, r.Right.Scanned},
		{`,"left_skipped":`, r.Left.Skipped},
		{`,"right_skipped":`, r.Right.Skipped},
		{`,"rows":`, len(r.order)},
		{`,"outer_left":`, r.Left.Outer},
		{`,"outer_right":`, r.Right.Outer},
		{`,"late_left":`, r.Left.Late},
		{`,"late_right":`, r.Right.Late},
	} {
		b = strconv.AppendInt(append(b, member.name...), int64(member.count), 10)
	}
	b = append(b, `,"watermark_ms":`...)
	if r.WatermarkMs == nil {
		b = append(b, "null"...)
	} else {
		b = strconv.AppendInt(b, *r.WatermarkMs, 10)
	}
	b = append(b, `,"dedupe_once":`...)
	return append(strconv.AppendBool(b, r.Once), '}')
}
