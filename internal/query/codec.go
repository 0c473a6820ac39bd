package query

// Values as bytes: keys of groups, and state that is put away.
//
//	kind u8 | Bool u8 / Int, Uint, Float, Time u64 little endian / String, Bytes, JSON uvarint length, bytes
//
// As a key the value is canonical, so that equal values are equal bytes: what is missing is null, a float that is whole and fits 64 bits
// is that whole number. So a group of 1 and 1.0 is shown as 1.

import (
	"encoding/binary"
	"math"
)

// appendValue encodes v as it is.
func appendValue(b []byte, v Value) []byte {
	b = append(b, byte(v.kind))
	switch v.kind {
	case Bool:
		return append(b, byte(v.bits))
	case Int, Uint, Float, Time:
		return binary.LittleEndian.AppendUint64(b, v.bits)
	case String, Bytes, JSON:
		return append(binary.AppendUvarint(b, uint64(len(v.text))), v.text...)
	}
	return b
}

// appendKey encodes v so that equal values give equal bytes.
func appendKey(b []byte, v Value) []byte {
	switch v.kind {
	case Missing:
		v.kind = Null
	case Float:
		v = canonicalNumber(v)
	}
	return appendValue(b, v)
}

// canonicalNumber makes a float a whole number if it is one of 64 bits.
func canonicalNumber(v Value) Value {
	f := v.Float()
	switch {
	case f != math.Trunc(f) || f < -1<<63 || f >= 1<<64:
		return v
	case f < 1<<63:
		return IntValue(int64(f))
	}
	return UintValue(uint64(f))
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// stateReader takes apart what was put away. Reading past the end, or what nobody wrote, makes it fail; it then gives zeros.
type stateReader struct {
	left   []byte
	failed bool
}

func (r *stateReader) bytes(n uint64) []byte {
	if n > uint64(len(r.left)) {
		r.failed, r.left = true, nil
		return nil
	}
	b := r.left[:n:n]
	r.left = r.left[n:]
	return b
}

func (r *stateReader) u8() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *stateReader) u64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *stateReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.left)
	r.skip(n)
	return v
}

func (r *stateReader) varint() int64 {
	v, n := binary.Varint(r.left)
	r.skip(n)
	return v
}

// skip passes over what encoding/binary has read; its n is 0 or negative where there is no number.
func (r *stateReader) skip(n int) {
	if n <= 0 {
		r.failed, r.left = true, nil
		return
	}
	r.left = r.left[n:]
}

func (r *stateReader) bool() bool {
	b := r.u8()
	r.failed = r.failed || b > 1
	return b == 1
}

// text is a length and so many bytes, which are not copied.
func (r *stateReader) text() []byte { return r.bytes(r.uvarint()) }

// value reads what appendValue wrote, without copying text.
func (r *stateReader) value() Value {
	v := Value{kind: Kind(r.u8())}
	switch v.kind {
	case Missing, Null:
	case Bool:
		v.bits = uint64(r.u8())
		r.failed = r.failed || v.bits > 1
	case Int, Time:
		v.bits = r.u64()
	case Uint:
		v.bits = r.u64()
		r.failed = r.failed || v.bits <= math.MaxInt64
	case Float:
		v.bits = r.u64()
		r.failed = r.failed || FloatValue(v.Float()).kind != Float
	case String, Bytes, JSON:
		v.text = r.text()
	default:
		r.failed = true
	}
	if r.failed {
		return Value{}
	}
	return v
}
