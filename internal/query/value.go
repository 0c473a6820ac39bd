package query

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"ayder/internal/jsonscan"
)

// Values: what a field of a message holds, whatever format the message has.
//
// Whole numbers are kept as such, with 64 bits and a sign, and are compared with fractions exactly: 2⁵³+1 is not 2⁵³.
// Arrays and objects stay JSON text, because nothing but rendering is asked of most of them.

// Kind is what a Value is.
type Kind uint8

// The kinds of values, in the order in which Order sorts them.
const (
	Missing Kind = iota // the message has no such field
	Null
	Bool
	Int   // from -2^63 to 2^63-1
	Uint  // from 2^63 to 2^64-1
	Float // finite
	Time  // an instant, of formats that have such a type
	String
	Bytes // of formats that tell them from text
	JSON  // an array or object, as JSON text
)

// Value is one field of a message. The zero value is Missing.
type Value struct {
	kind Kind
	bits uint64
	text []byte
}

// NullValue is JSON's null.
func NullValue() Value { return Value{kind: Null} }

// BoolValue is a truth value.
func BoolValue(b bool) Value {
	if b {
		return Value{kind: Bool, bits: 1}
	}
	return Value{kind: Bool}
}

// IntValue is a whole number.
func IntValue(i int64) Value { return Value{kind: Int, bits: uint64(i)} }

// UintValue is a whole number that is not negative.
func UintValue(u uint64) Value {
	if u <= math.MaxInt64 {
		return Value{kind: Int, bits: u}
	}
	return Value{kind: Uint, bits: u}
}

// FloatValue is a number; those that JSON cannot say (NaN and the infinities) are null.
func FloatValue(f float64) Value {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return NullValue()
	}
	return Value{kind: Float, bits: math.Float64bits(f)}
}

// TimeValue is an instant, in nanoseconds since 1970 (1677 to 2262).
func TimeValue(ns int64) Value { return Value{kind: Time, bits: uint64(ns)} }

// StringValue is text. It keeps s.
func StringValue(s []byte) Value { return Value{kind: String, text: s} }

// BytesValue are bytes, which JSON shows in base64. It keeps b.
func BytesValue(b []byte) Value { return Value{kind: Bytes, text: b} }

// JSONValue is an array or object, as valid JSON text. It keeps b.
func JSONValue(b []byte) Value { return Value{kind: JSON, text: b} }

// Kind tells what v is.
func (v Value) Kind() Kind { return v.kind }

// Text is what a String, Bytes or JSON value holds.
func (v Value) Text() []byte { return v.text }

// Bool is what a Bool holds.
func (v Value) Bool() bool { return v.bits != 0 }

// Int is what an Int holds.
func (v Value) Int() int64 { return int64(v.bits) }

// Uint is what an Int that is not negative, or a Uint, holds.
func (v Value) Uint() uint64 { return v.bits }

// Nanoseconds is what a Time holds.
func (v Value) Nanoseconds() int64 { return int64(v.bits) }

// IsNumber tells whether v is a number.
func (v Value) IsNumber() bool { return v.kind >= Int && v.kind <= Float }

// Float is a number as float64, rounded if need be.
func (v Value) Float() float64 {
	switch v.kind {
	case Int:
		return float64(int64(v.bits))
	case Uint:
		return float64(v.bits)
	}
	return math.Float64frombits(v.bits)
}

// Clone is v in memory of its own.
func (v Value) Clone() Value {
	v.text = bytes.Clone(v.text)
	return v
}

// Compare orders two values of one nature: numbers as numbers and exactly, text and bytes by bytes, false before true, instants in time.
// ok is false where they cannot be compared.
func (v Value) Compare(w Value) (order int, ok bool) {
	switch {
	case v.IsNumber() && w.IsNumber():
		return compareNumbers(v, w), true
	case v.kind != w.kind:
		return 0, false
	}
	switch v.kind {
	case Bool:
		return cmp.Compare(v.bits, w.bits), true
	case Time:
		return cmp.Compare(int64(v.bits), int64(w.bits)), true
	case String, Bytes:
		return bytes.Compare(v.text, w.text), true
	}
	return 0, false
}

// Order is a total order: by nature first (null, truth values, numbers, times, text, bytes, JSON text), then as Compare does. Numbers of
// the same value are the same.
func (v Value) Order(w Value) int {
	if order, ok := v.Compare(w); ok {
		return order
	}
	if v.kind != w.kind {
		return cmp.Compare(v.kind, w.kind)
	}
	return bytes.Compare(v.text, w.text)
}

func compareNumbers(v, w Value) int {
	switch {
	case v.kind == Float && w.kind == Float:
		return cmp.Compare(v.Float(), w.Float())
	case v.kind == Float:
		return -compareFloat(w, v.Float())
	case w.kind == Float:
		return compareFloat(v, w.Float())
	case v.kind != w.kind: // one of them is a Uint, and so the larger
		return cmp.Compare(v.kind, w.kind)
	case v.kind == Uint:
		return cmp.Compare(v.bits, w.bits)
	}
	return cmp.Compare(int64(v.bits), int64(w.bits))
}

// compareFloat compares a whole number with a float, without rounding either.
func compareFloat(v Value, f float64) int {
	const two63, two64 = 1 << 63, 1 << 64
	whole := math.Trunc(f)
	order := 0
	switch {
	case v.kind == Uint && f < two63, v.kind == Int && f < -two63:
		return 1
	case v.kind == Uint && f >= two64, v.kind == Int && f >= two63:
		return -1
	case v.kind == Uint:
		order = cmp.Compare(v.bits, uint64(whole))
	default:
		order = cmp.Compare(int64(v.bits), int64(whole))
	}
	if order == 0 {
		order = cmp.Compare(whole, f)
	}
	return order
}

// AppendJSON appends v as JSON; Missing is null.
func (v Value) AppendJSON(b []byte) []byte {
	switch v.kind {
	case Bool:
		return strconv.AppendBool(b, v.Bool())
	case Int:
		return strconv.AppendInt(b, v.Int(), 10)
	case Uint:
		return strconv.AppendUint(b, v.bits, 10)
	case Float:
		return appendFloat(b, v.Float())
	case Time:
		b = time.Unix(0, v.Nanoseconds()).UTC().AppendFormat(append(b, '"'), time.RFC3339Nano)
		return append(b, '"')
	case String:
		return jsonscan.AppendString(b, validUTF8(v.text))
	case Bytes:
		b = base64.StdEncoding.AppendEncode(append(b, '"'), v.text)
		return append(b, '"')
	case JSON:
		return appendText(b, v.text)
	}
	return append(b, "null"...)
}

// appendText appends JSON text that may have strings that are not UTF-8, with U+FFFD in place of what is not.
func appendText(b, text []byte) []byte {
	if !utf8.Valid(text) {
		text = bytes.ToValidUTF8(text, []byte("\uFFFD"))
	}
	return append(b, text...)
}

// appendFloat appends f so that it reads back as the same float64, with an exponent only where it is very large or small (ECMAScript's rule).
func appendFloat(b []byte, f float64) []byte {
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(b, f, format, -1, 64)
}
