package query

// A run: messages in, one result out.
//
// Whether to stop is asked before a message is looked at, never after, so that two things are always true: an answer is truncated exactly when
// there was a message that nobody looked at, and the next offset is that of the first such message. The price is that a limit may be
// passed by what one message adds.

import (
	"fmt"
	"iter"
)

// Limits are where a run stops. 0 is no limit besides the request's own.
type Limits struct {
	Rows        int         // rows of the answer
	Scanned     int         // messages
	StateBytes  int         // memory of groups
	OutputBytes int         // of the answer
	Expired     func() bool // asked every few hundred messages: time is up, or nobody waits any more
}

// evaluator judges messages by one query. It belongs to one goroutine.
type evaluator struct {
	q       *Query
	decoder Decoder
	values  []Value
	matcher matcher
	time    instant // of the message at hand
	timed   bool    // there is such a time
}

// verdict is what a message is to a query.
type verdict uint8

const (
	skipped verdict = iota
	unmatched
	matched
)

func newEvaluator(q *Query) *evaluator {
	return &evaluator{q: q, decoder: q.format.NewDecoder(q.fields.paths), values: make([]Value, len(q.fields.paths))}
}

// look decodes and judges a message.
func (e *evaluator) look(m *Message) verdict {
	if e.decoder.Decode(m.Value, e.values) != nil {
		return skipped
	}
	e.q.fields.resolve(e.values)
	if !e.matcher.all(e.q.filter, e.values) {
		return unmatched
	}
	e.timeOf(m)
	if !e.timed && !e.q.window.none() && len(e.q.measures) > 0 {
		return skipped
	}
	return matched
}

// timeOf finds a message's event time.
func (e *evaluator) timeOf(m *Message) {
	if place := e.q.window.tsField; place >= 0 {
		e.time, e.timed = instantOf(e.values[place])
		return
	}
	e.time, e.timed = instant{ms: int64(m.TimeMs)}, m.TimeMs <= timeMsMax
}

// appendRow appends what is shown of the message at hand. most is where it stops being looked at: the row is then too large.
func (e *evaluator) appendRow(b []byte, most int) []byte {
	if len(e.q.project) == 0 {
		return e.decoder.AppendJSON(b)
	}
	from := len(b)
	b = append(b, '{')
	for i := range e.q.project {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, e.q.project[i].label...)
		b = e.values[e.q.project[i].place].AppendJSON(b)
		if len(b)-from > most {
			break
		}
	}
	return append(b, '}')
}

// run is a query under way.
type run struct {
	*evaluator
	limits Limits
	groups *aggregation // nil: nothing is measured
	result Result

	partition uint32 // of the last message that was looked at
	next      uint64 // offset behind it
	unasked   int    // messages since Expired was asked
	unread    int    // bytes of them
}

// Run evaluates the query over messages. An error is a *RequestError: the query cannot be answered for these messages.
func (q *Query) Run(l Limits, messages iter.Seq[*Message]) (*Result, error) {
	r := &run{evaluator: newEvaluator(q), limits: l.within(q)}
	r.result.Next = make(map[uint32]uint64)
	if len(q.measures) > 0 {
		r.groups = newAggregation(q)
	}
	for m := range messages {
		more, err := r.take(m)
		if err != nil {
			return nil, err
		}
		if !more {
			r.result.Truncated = true
			break
		}
	}
	return r.finish()
}

// within is l, or less where the request asks for less.
func (l Limits) within(q *Query) Limits {
	l.Rows = least(l.Rows, q.emitRows)
	if q.emitRows == 0 {
		l.Rows = 0
	}
	l.Scanned = least(l.Scanned, q.limit)
	return l
}

// least is the smaller of limits, of which 0 is none.
func least(a, b int) int {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// take looks at a message, unless the run has to stop before it.
func (r *run) take(m *Message) (more bool, err error) {
	if r.result.TruncatedBy = r.full(m); r.result.TruncatedBy != "" {
		return false, nil
	}
	what := r.look(m)
	if what == matched && r.result.rowCount < r.limits.Rows {
		fits, err := r.addRow(m)
		if err != nil {
			return false, err
		}
		if !fits {
			r.result.TruncatedBy = "output"
			return false, nil
		}
	}
	r.count(m, what)
	if what == matched && r.groups != nil {
		r.groups.add(r.values, r.time.ms)
	}
	return true, nil
}

// full tells which limit is reached, "" if none is.
func (r *run) full(m *Message) string {
	l, found := &r.limits, &r.result
	switch {
	case l.Scanned > 0 && found.Scanned >= l.Scanned:
		return "limit"
	case r.groups == nil && l.Rows > 0 && found.rowCount >= l.Rows:
		return "rows"
	case r.groups != nil && l.StateBytes > 0 && r.groups.memory > l.StateBytes:
		return "memory"
	case l.OutputBytes > 0 && r.outputBytes() > l.OutputBytes:
		return "output"
	case r.expired(m):
		return "time"
	}
	return ""
}

func (r *run) outputBytes() int {
	n := len(r.result.rows)
	if r.groups != nil {
		n += r.groups.shown
	}
	return n
}

// expired asks now and then whether time is up; not before the first message, so that every run gets on.
func (r *run) expired(m *Message) bool {
	if r.limits.Expired == nil {
		return false
	}
	if r.unasked < expiryMessages && r.unread < expiryBytes {
		r.unasked++
		r.unread += len(m.Value)
		return false
	}
	r.unasked, r.unread = 1, len(m.Value)
	return r.limits.Expired()
}

// addRow adds what is shown of the message at hand, unless the output gets too large by it.
func (r *run) addRow(m *Message) (fits bool, err error) {
	most := r.limits.OutputBytes
	if most == 0 {
		most = int(^uint(0) >> 1)
	}
	before := len(r.result.rows)
	if before > 0 {
		r.result.rows = append(r.result.rows, ',')
	}
	r.result.rows = r.appendRow(r.result.rows, most)
	size := len(r.result.rows) - before
	switch {
	case size > most:
		return false, errRowTooLarge(m)
	case before > 0 && r.outputBytes() > most:
		r.result.rows = r.result.rows[:before]
		return false, nil
	}
	r.result.rowCount++
	return true, nil
}

// count notes that a message was looked at.
func (r *run) count(m *Message, what verdict) {
	switch what {
	case skipped:
		r.result.Skipped++
	case matched:
		r.result.Matched++
	}
	if r.result.Scanned > 0 && m.Partition != r.partition {
		r.result.Next[r.partition] = r.next
	}
	r.result.Scanned++
	r.partition, r.next = m.Partition, m.Offset+1
}

// finish makes the result complete.
func (r *run) finish() (*Result, error) {
	if r.result.Scanned > 0 {
		r.result.Next[r.partition] = r.next
	}
	if r.groups == nil {
		return &r.result, nil
	}
	a := r.groups
	if a.q.window.none() && len(a.q.groups) == 0 { // the one global group is there without messages, too
		a.key = a.key[:0]
		a.cellOf(a.groupOf(), 0)
	}
	for i, c := range a.sorted(a.live(), false) {
		if i > 0 {
			r.result.aggregates = append(r.result.aggregates, ',')
		}
		var err error
		if r.result.aggregates, err = a.appendAggregate(r.result.aggregates, c.cell); err != nil {
			return nil, err
		}
	}
	return &r.result, nil
}

func errRowTooLarge(m *Message) error {
	return &RequestError{"output_too_large", fmt.Sprintf("the row of offset %d of partition %d is larger than a result may be", m.Offset, m.Partition)}
}
