package schema

// Avro messages as JSON: fields in the schema's order, keys of maps sorted, values as a query sees them (a union's branch is not
// named).
//
// The walk has read the message before, so nothing here can go wrong. A map is rendered in the order that it has, then its pairs are
// put in order if they are not; deep inside maps inside maps they stay as they are, because each level may copy all that is in it.

import (
	"bytes"
	"cmp"
	"slices"

	"ayder/internal/query"
)

// avroShower is memory for maps that are shown.
type avroShower struct {
	pairs    []avroPair
	scratch  []byte // texts of scalars
	unsorted []byte
}

// avroPair is a key of a map, and where the pair was rendered to, counted from the map's start.
type avroPair struct {
	key        []byte
	start, end int
}

// show appends the value at pos. maps is how many maps it is inside of.
func (w *avroWalk) show(b []byte, t *avroType, maps int) []byte {
	switch t.kind {
	case avroUnion:
		i, _ := w.branch(t)
		return w.show(b, t.branches[i], maps)
	case avroRecord:
		b = append(b, '{')
		for i := range t.fields {
			if i > 0 {
				b = append(b, ',')
			}
			b = w.show(append(b, t.fields[i].quoted...), t.fields[i].t, maps)
		}
		return append(b, '}')
	case avroArray:
		b = append(b, '[')
		for count, more := w.block(); count > 0 && more; count, more = w.block() {
			for ; count > 0; count-- {
				b = append(w.show(b, t.items, maps), ',')
			}
		}
		return closed(b, ']')
	case avroMap:
		return w.showMap(b, t, maps+1)
	}
	text := w.text
	w.text = w.shower.scratch[:0] // v may refer to it until it is appended
	v, _ := w.read(t)
	b = v.AppendJSON(b)
	w.shower.scratch, w.text = w.text, text
	return b
}

func (w *avroWalk) showMap(b []byte, t *avroType, maps int) []byte {
	b = append(b, '{')
	base, first := len(b), len(w.shower.pairs)
	for count, more := w.block(); count > 0 && more; count, more = w.block() {
		for ; count > 0; count-- {
			key, _ := w.bytes()
			start := len(b)
			b = append(query.StringValue(key).AppendJSON(b), ':')
			b = append(w.show(b, t.items, maps), ',')
			w.shower.pairs = append(w.shower.pairs, avroPair{key, start - base, len(b) - base})
		}
	}
	if maps <= sortedDepthMax {
		b = w.shower.sort(b, base, first)
	}
	w.shower.pairs = w.shower.pairs[:first]
	return closed(b, '}')
}

// sort sorts the pairs from first on, which were rendered from base on; of those with one key, the last one stays.
func (s *avroShower) sort(b []byte, base, first int) []byte {
	pairs := s.pairs[first:]
	if slices.IsSortedFunc(pairs, func(next, p avroPair) int { return cmp.Or(bytes.Compare(next.key, p.key), -1) }) {
		return b
	}
	slices.SortStableFunc(pairs, func(x, y avroPair) int { return bytes.Compare(x.key, y.key) })
	s.unsorted = append(s.unsorted[:0], b[base:]...)
	b = b[:base]
	for i, p := range pairs {
		if i+1 == len(pairs) || !bytes.Equal(p.key, pairs[i+1].key) {
			b = append(b, s.unsorted[p.start:p.end]...)
		}
	}
	return b
}

// closed replaces the comma behind the last item by the end.
func closed(b []byte, end byte) []byte {
	if b[len(b)-1] == ',' {
		b = b[:len(b)-1]
	}
	return append(b, end)
}
