package query

import (
	"encoding/binary"
	"math"

	"ayder/internal/jsonscan"
)

// What a measure needs of its accumulator when it is put away:
//
//	count     count uvarint
//	sum, avg  count uvarint | high zigzag | low u64 | fractions u8; 1: sum f64, rest f64
//	min, max  best value
//
// The rest of the bits of rounding matter: a sum that is put away and taken up again gives the same last digit as one that was not.

// appendState encodes what op needs.
func (a *accumulator) appendState(b []byte, op measureOp) []byte {
	switch op {
	case measureCount:
		return binary.AppendUvarint(b, a.count)
	case measureMin, measureMax:
		return appendValue(b, a.best)
	}
	b = binary.AppendUvarint(b, a.count)
	b = binary.AppendVarint(b, a.high)
	b = binary.LittleEndian.AppendUint64(b, a.low)
	b = appendBool(b, a.floats)
	if a.floats {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(a.sum))
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(a.rest))
	}
	return b
}

// restore reads what appendState wrote.
func (a *accumulator) restore(r *stateReader, scan *jsonscan.Scanner, op measureOp) {
	switch op {
	case measureCount:
		a.count = r.uvarint()
		return
	case measureMin, measureMax:
		a.best = r.checked(scan).Clone()
		r.failed = r.failed || a.best.kind == Null
		return
	}
	a.count, a.high, a.low, a.floats = r.uvarint(), r.varint(), r.u64(), r.bool()
	if a.floats {
		a.sum, a.rest = math.Float64frombits(r.u64()), math.Float64frombits(r.u64())
	}
}

// checked is value, of which an array or object is valid JSON.
func (r *stateReader) checked(scan *jsonscan.Scanner) Value {
	v := r.value()
	if v.kind == JSON && (len(v.text) == 0 || v.text[0] != '[' && v.text[0] != '{' || !scan.Valid(v.text)) {
		r.failed = true
		return Value{}
	}
	return v
}
