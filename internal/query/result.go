package query

// Results, as text.
//
// Rows and aggregates are rendered while the run knows their values, so that a result holds nothing of the messages, and an aggregate that cannot be shown (a sum that fits no number) is an error of the run and not of whoever writes the answer.

import (
	"bytes"
	"strconv"
	"unicode/utf8"

	"ayder/internal/jsonscan"
)

// Result is what a run found.
type Result struct {
	Scanned int // messages that were looked at
	Matched int // of them, those that are what was asked for
	Skipped int // of them, those that do not decode, or have no time where one is needed

	Truncated   bool              // there was a message that was not looked at
	TruncatedBy string            // "limit", "rows", "memory", "time", "output"; "" if it is not truncated
	Next        map[uint32]uint64 // partition -> offset behind the last message that was looked at; only of partitions that had one

	rows       []byte // joined by commas
	rowCount   int
	aggregates []byte // the same
}

// AppendJSON appends the members `"rows":[…],"aggregates":[…]`.
func (r *Result) AppendJSON(b []byte) []byte {
	b = append(b, `"rows":[`...)
	b = append(b, r.rows...)
	b = append(b, `],"aggregates":[`...)
	b = append(b, r.aggregates...)
	return append(b, ']')
}

// appendAggregate appends the object of one cell.
func (a *aggregation) appendAggregate(b []byte, c uint32) ([]byte, error) {
	at := &a.cells[c]
	key := a.groups[at.group].key
	b = append(b, '{')
	b = a.q.appendGroup(b, key)
	if !a.q.window.none() {
		b = append(b, `,"window_start_ms":`...)
		b = strconv.AppendInt(b, at.start, 10)
		b = append(b, `,"window_end_ms":`...)
		b = strconv.AppendInt(b, a.end(c), 10)
	}
	sums := a.sumsOf(c)
	for i := range a.q.measures {
		m := &a.q.measures[i]
		b = append(append(b, ','), m.label...)
		var err error
		if b, err = sums[i].appendJSON(b, m.op); err != nil {
			return b, &RequestError{"sum_overflow", "the " + m.name + " of the group " +
				strconv.Quote(string(a.q.appendKeyText(nil, key))) + " is in range of neither 64-bit integers nor float64"}
		}
	}
	return append(b, '}'), nil
}

// appendGroup appends `"key":"…","group":{…}`.
func (q *Query) appendGroup(b []byte, key string) []byte {
	b = append(b, `"key":`...)
	b = jsonscan.AppendString(b, validUTF8(q.appendKeyText(nil, key)))
	b = append(b, `,"group":{`...)
	for i, v := range q.groupValues(key) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, q.groups[i].label...)
		b = v.AppendJSON(b)
	}
	return append(b, '}')
}

// appendKeyText appends a group as `f1=v1|f2=v2`.
func (q *Query) appendKeyText(b []byte, key string) []byte {
	for i, v := range q.groupValues(key) {
		if i > 0 {
			b = append(b, '|')
		}
		b = append(append(b, q.groups[i].name...), '=')
		b = v.appendText(b)
	}
	return b
}

// appendText appends v as JSON, without quotes around it.
func (v Value) appendText(b []byte) []byte {
	if v.kind == String {
		return append(b, v.text...)
	}
	from := len(b)
	b = v.AppendJSON(b)
	if b[from] == '"' {
		b = append(b[:from], b[from+1:len(b)-1]...)
	}
	return b
}

// validUTF8 is b, with replacement characters where it is not UTF-8.
func validUTF8(b []byte) []byte {
	if utf8.Valid(b) {
		return b
	}
	return bytes.ToValidUTF8(b, []byte("\uFFFD"))
}
