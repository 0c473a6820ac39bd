package query

// One side of a join: which fields of its messages are looked for, and what a message is then: a time, a key, and what a row shows of it.
//
// The key is bytes that are equal where all its values are (appendKey: 1 and 1.0 are). What is shown is rendered at once, because that
// is all a message has to be remembered for; of a message that nobody could join, it is not.

import "fmt"

// joinSide is what is compiled of a side. It does not change.
type joinSide struct {
	format  Format
	fields  *fieldSet
	keys    []int   // places of the fields that have to be equal
	ts      int     // place of the event time, -1: the log's time
	project []named // empty: whole messages
	limit   int     // messages
}

// sideRequest is what a request says about a side, and where.
type sideRequest struct {
	name     string // "left", "right"
	source   *Source
	keys     []string
	keysPath string
	ts       *string // the side's own
	commonTs *string
	fields   []string
}

func (s *sideRequest) compile() (joinSide, error) {
	side := joinSide{ts: -1, limit: *s.source.Limit}
	var err error
	if side.fields, err = newFieldSet(s.source.Decode, s.name+".decode"); err != nil {
		return side, err
	}
	for i, name := range s.keys {
		place, err := side.fields.add(s.keyPath(i), name)
		if err != nil {
			return side, err
		}
		side.keys = append(side.keys, place)
	}
	tsPath, ts := "window."+s.name+"_ts_field", s.ts
	if ts == nil {
		tsPath, ts = "window.ts_field", s.commonTs
	}
	if ts != nil {
		if side.ts, err = side.fields.add(tsPath, *ts); err != nil {
			return side, err
		}
	}
	side.project, err = nameFields(side.fields, "emit."+s.name+"_fields", s.fields, projectedMax)
	return side, err
}

// keyPath is where in the request a key's field is named.
func (s *sideRequest) keyPath(i int) string {
	if s.keysPath[len(s.keysPath)-1] != 's' { // the single one
		return s.keysPath
	}
	return fmt.Sprintf("%s[%d]", s.keysPath, i)
}

// sideReader reads messages of a side. It belongs to one goroutine.
type sideReader struct {
	*joinSide
	decoder Decoder
	values  []Value

	// Of the message that was read last:
	timeMs int64
	key    []byte // see appendKey; of all key fields
	keyed  bool   // it can join
	row    []byte
}

func newSideReader(s *joinSide) *sideReader {
	return &sideReader{joinSide: s, decoder: s.format.NewDecoder(s.fields.paths), values: make([]Value, len(s.fields.paths))}
}

// read takes a message. False: it does not decode, or has no time.
func (r *sideReader) read(m *Message) bool {
	if r.decoder.Decode(m.Value, r.values) != nil {
		return false
	}
	r.fields.resolve(r.values)
	if !r.readTime(m) {
		return false
	}
	r.key, r.keyed = r.key[:0], true
	for _, place := range r.keys {
		v := r.values[place]
		r.keyed = r.keyed && joins(v)
		r.key = appendKey(r.key, v)
	}
	return true
}

func (r *sideReader) readTime(m *Message) bool {
	if r.ts < 0 {
		r.timeMs = int64(m.TimeMs)
		return m.TimeMs <= timeMsMax
	}
	at, ok := instantOf(r.values[r.ts])
	r.timeMs = at.ms
	return ok
}

// joins tells whether a message with v in its key can have a partner: one whose value is equal to it.
func joins(v Value) bool {
	return v.kind != Missing && v.kind != Null && v.kind != JSON
}

// show renders what a row holds of the message that was read last. It is valid until the next call.
func (r *sideReader) show(leaveMissingOut bool) []byte {
	r.row = r.row[:0]
	if len(r.project) == 0 {
		r.row = r.decoder.AppendJSON(r.row)
		return r.row
	}
	r.row = append(r.row, '{')
	for i := range r.project {
		v := r.values[r.project[i].place]
		if v.kind == Missing && leaveMissingOut {
			continue
		}
		if len(r.row) > 1 {
			r.row = append(r.row, ',')
		}
		r.row = v.AppendJSON(append(r.row, r.project[i].label...))
	}
	r.row = append(r.row, '}')
	return r.row
}
