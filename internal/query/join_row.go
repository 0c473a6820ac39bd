package query

// Rows of joins as JSON:
//
//	{"key":"7|DE","keys":["7","DE"],"left_ts_ms":1,"right_ts_ms":null,"left":{…},"right":null}

import (
	"strconv"

	"ayder/internal/jsonscan"
)

// rowRenderer renders rows. It belongs to one goroutine.
type rowRenderer struct {
	missing string // what stands for the message of a side that has none
	text    []byte
}

func newRowRenderer(j *Join) rowRenderer {
	if j.missingEmpty {
		return rowRenderer{missing: "{}"}
	}
	return rowRenderer{missing: "null"}
}

// append appends p's row.
func (r *rowRenderer) append(b []byte, p *pair) []byte {
	r.text = appendJoinKey(r.text[:0], p.key)
	b = append(b, `{"key":`...)
	b = jsonscan.AppendString(b, validUTF8(r.text))
	b = append(b, `,"keys":[`...)
	b = r.appendKeys(b, p.key)
	b = append(b, `],"left_ts_ms":`...)
	b = p.sides[leftSide].appendTime(b)
	b = append(b, `,"right_ts_ms":`...)
	b = p.sides[rightSide].appendTime(b)
	b = append(b, `,"left":`...)
	b = r.appendShown(b, &p.sides[leftSide])
	b = append(b, `,"right":`...)
	b = r.appendShown(b, &p.sides[rightSide])
	return append(b, '}')
}

// appendKeys appends the key's values as JSON strings; what is missing is null.
func (r *rowRenderer) appendKeys(b, key []byte) []byte {
	values := stateReader{left: key}
	for i := 0; len(values.left) > 0; i++ {
		if i > 0 {
			b = append(b, ',')
		}
		v := values.value()
		if v.kind == Null {
			b = append(b, "null"...)
			continue
		}
		r.text = v.appendText(r.text[:0])
		b = jsonscan.AppendString(b, validUTF8(r.text))
	}
	return b
}

// appendJoinKey appends the key's values as text, joined by bars.
func appendJoinKey(b, key []byte) []byte {
	values := stateReader{left: key}
	for i := 0; len(values.left) > 0; i++ {
		if i > 0 {
			b = append(b, '|')
		}
		v := values.value()
		b = v.appendText(b)
	}
	return b
}

func (h *half) appendTime(b []byte) []byte {
	if !h.present {
		return append(b, "null"...)
	}
	return strconv.AppendInt(b, h.timeMs, 10)
}

func (r *rowRenderer) appendShown(b []byte, h *half) []byte {
	if !h.present {
		return append(b, r.missing...)
	}
	return append(b, h.shown...)
}

// timeMs is when the row came to be: the later of its messages' times.
func (p *pair) timeMs() int64 {
	l, r := &p.sides[leftSide], &p.sides[rightSide]
	switch {
	case !r.present:
		return l.timeMs
	case !l.present:
		return r.timeMs
	}
	return max(l.timeMs, r.timeMs)
}
