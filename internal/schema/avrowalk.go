package schema

// The walk over Avro binary. All of the message is read, by the schema, and every length is held against the bytes that are left. What takes no
// bytes (an array of nulls may claim 2⁶⁰ of them) is bounded by a number of visits that grows with the message, which also bounds the
// time. Nothing is reserved by a number that the message claims.

import (
	"encoding/binary"
	"math"

	"ayder/internal/query"
)

// avroWalk reads one message.
type avroWalk struct {
	b      []byte
	pos    int
	visits int // that are left
	depth  int
	dst    []query.Value
	text   []byte // what values refer to that is not in the message
	shower avroShower
}

// run reads all of b. It reports whether that is a value of type t and nothing more.
func (w *avroWalk) run(t *avroType, p *avroPlan, b []byte, dst []query.Value) bool {
	w.b, w.pos, w.dst, w.depth = b, 0, dst, 0
	w.visits = visitsPerByte*len(b) + visitsMin
	w.text = w.text[:0]
	return w.value(t, p) && w.pos == len(b)
}

// value reads a value; p says what is wanted of it, nil for nothing.
func (w *avroWalk) value(t *avroType, p *avroPlan) bool {
	if w.visits--; w.visits < 0 {
		return false
	}
	if t.kind < avroArray {
		return w.scalar(t, p)
	}
	if t.kind == avroUnion {
		i, ok := w.branch(t)
		return ok && w.value(t.branches[i], p.field(i))
	}
	if w.depth++; w.depth > depthMax {
		return false
	}
	start := w.pos
	if !w.inside(t, p) {
		return false
	}
	if w.depth--; p != nil && len(p.paths.Here) > 0 {
		w.set(p, query.JSONValue(w.shown(t, start)))
	}
	return true
}

// inside reads what an array, map or record has.
func (w *avroWalk) inside(t *avroType, p *avroPlan) bool {
	switch t.kind {
	case avroArray:
		return w.array(t, p)
	case avroMap:
		return w.pairs(t, p)
	}
	for i := range t.fields {
		if !w.value(t.fields[i].t, p.field(i)) {
			return false
		}
	}
	return true
}

func (w *avroWalk) array(t *avroType, p *avroPlan) bool {
	for index := 0; ; {
		count, ok := w.block()
		if !ok || count == 0 {
			return ok
		}
		for ; count > 0; count-- {
			if !w.value(t.items, p.element(index)) {
				return false
			}
			index++
		}
	}
}

// pairs reads a map. Of a key that is there twice the last one counts.
func (w *avroWalk) pairs(t *avroType, p *avroPlan) bool {
	for {
		count, ok := w.block()
		if !ok || count == 0 {
			return ok
		}
		for ; count > 0; count-- {
			key, ok := w.bytes()
			if !ok {
				return false
			}
			inside := p.key(key)
			w.forget(inside)
			if !w.value(t.items, inside) {
				return false
			}
		}
	}
}

// block reads the head of a block of an array or map: how many items it has, and maybe how many bytes, which nobody needs. Zero is the end.
func (w *avroWalk) block() (count int64, ok bool) {
	count, ok = w.long()
	if count >= 0 || !ok {
		return count, ok
	}
	if size, ok := w.long(); !ok || size < 0 || count == math.MinInt64 {
		return 0, false
	}
	return -count, true
}

func (w *avroWalk) branch(t *avroType) (int, bool) {
	i, ok := w.long()
	return int(i), ok && i >= 0 && i < int64(len(t.branches))
}

func (w *avroWalk) forget(p *avroPlan) {
	if p == nil {
		return
	}
	for _, place := range p.paths.Below {
		w.dst[place] = query.Value{}
	}
}

func (w *avroWalk) set(p *avroPlan, v query.Value) {
	for _, place := range p.paths.Here {
		w.dst[place] = v
	}
}

// shown renders the value at pos, which was read already, and goes back to where the walk is.
func (w *avroWalk) shown(t *avroType, pos int) []byte {
	start := len(w.text)
	back := w.pos
	w.pos = pos
	w.text = w.show(w.text, t, 0)
	w.pos = back
	return w.text[start:]
}

// scalar reads a value that has no values inside.
func (w *avroWalk) scalar(t *avroType, p *avroPlan) bool {
	if p == nil || len(p.paths.Here) == 0 {
		return w.skip(t)
	}
	v, ok := w.read(t)
	w.set(p, v)
	return ok
}

// skip is read without its value.
func (w *avroWalk) skip(t *avroType) (ok bool) {
	switch t.kind {
	case avroBoolean:
		_, ok = w.boolean()
	case avroInt:
		_, ok = w.int()
	case avroLong:
		_, ok = w.long()
	case avroFloat:
		_, ok = w.take(4)
	case avroDouble:
		_, ok = w.take(8)
	case avroBytes, avroString:
		_, ok = w.bytes()
	case avroFixed:
		_, ok = w.take(t.size)
	case avroEnum:
		_, ok = w.symbol(t)
	default:
		ok = true
	}
	return ok
}

// read reads a value that has no values inside.
func (w *avroWalk) read(t *avroType) (query.Value, bool) {
	switch t.kind {
	case avroBoolean:
		b, ok := w.boolean()
		return query.BoolValue(b), ok
	case avroInt:
		i, ok := w.int()
		return w.meant(t, i), ok
	case avroLong:
		i, ok := w.long()
		return w.meant(t, i), ok
	case avroFloat:
		b, ok := w.take(4)
		if !ok {
			return query.Value{}, false
		}
		return query.FloatValue(float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))), true
	case avroDouble:
		b, ok := w.take(8)
		if !ok {
			return query.Value{}, false
		}
		return query.FloatValue(math.Float64frombits(binary.LittleEndian.Uint64(b))), true
	case avroString:
		b, ok := w.bytes()
		return query.StringValue(b), ok
	case avroBytes:
		b, ok := w.bytes()
		return w.meantBytes(t, b), ok
	case avroFixed:
		b, ok := w.take(t.size)
		return w.meantBytes(t, b), ok
	case avroEnum:
		b, ok := w.symbol(t)
		return query.StringValue(b), ok
	}
	return query.NullValue(), true
}

func (w *avroWalk) boolean() (value, ok bool) {
	if w.pos >= len(w.b) || w.b[w.pos] > 1 {
		return false, false
	}
	w.pos++
	return w.b[w.pos-1] == 1, true
}

func (w *avroWalk) symbol(t *avroType) ([]byte, bool) {
	i, ok := w.int()
	if !ok || i < 0 || i >= int64(len(t.symbols)) {
		return nil, false
	}
	return t.symbols[i], true
}

// long reads a number as zigzag varint.
func (w *avroWalk) long() (int64, bool) {
	if w.pos < len(w.b) && w.b[w.pos] < 0x80 { // most take one byte
		u := uint64(w.b[w.pos])
		w.pos++
		return int64(u>>1) ^ -int64(u&1), true
	}
	i, n := binary.Varint(w.b[w.pos:])
	if n <= 0 {
		return 0, false
	}
	w.pos += n
	return i, true
}

// int reads a long that fits 32 bits, and is not longer than those can be.
func (w *avroWalk) int() (int64, bool) {
	start := w.pos
	i, ok := w.long()
	return i, ok && i >= math.MinInt32 && i <= math.MaxInt32 && w.pos-start <= binary.MaxVarintLen32
}

// bytes reads bytes behind their length.
func (w *avroWalk) bytes() ([]byte, bool) {
	n, ok := w.long()
	if !ok || n < 0 || n > int64(len(w.b)-w.pos) {
		return nil, false
	}
	return w.take(int(n))
}

func (w *avroWalk) take(n int) ([]byte, bool) {
	if n > len(w.b)-w.pos {
		return nil, false
	}
	w.pos += n
	return w.b[w.pos-n : w.pos : w.pos], true
}
