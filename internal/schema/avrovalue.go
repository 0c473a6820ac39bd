package schema

// Logical types: what numbers and bytes mean.
//
// Timestamps are instants, local ones as if they were of UTC. Dates, times of day, durations and UUIDs are text that sorts as they do, or
// that everybody knows. Decimals are numbers. What does not fit (an instant before 1677 or after 2262, a time of day of more than a
// day) stays the number that it is.

import (
	"encoding/hex"
	"math"
	"math/big"
	"time"

	"github.com/twmb/avro"

	"ayder/internal/query"
)

const (
	nanosecondsPerDay = 24 * int64(time.Hour)
	secondsPerDay     = 24 * 60 * 60
)

// meant is what a number of type t means.
func (w *avroWalk) meant(t *avroType, i int64) query.Value {
	switch t.logical {
	case timestamp:
		if ns := i * t.unit; ns/t.unit == i {
			return query.TimeValue(ns)
		}
	case date:
		return w.textOf(time.Unix(i*secondsPerDay, 0).UTC().AppendFormat(w.text, "2006-01-02"))
	case timeOfDay:
		if i < 0 || i >= nanosecondsPerDay/t.unit {
			break
		}
		format := "15:04:05.000"
		if t.unit < 1e6 {
			format = "15:04:05.000000"
		}
		return w.textOf(time.Unix(0, i*t.unit).UTC().AppendFormat(w.text, format))
	}
	return query.IntValue(i)
}

// meantBytes is what bytes of type t mean.
func (w *avroWalk) meantBytes(t *avroType, b []byte) query.Value {
	switch {
	case t.logical == decimal:
		return decimalValue(b, t)
	case t.logical == uuid && len(b) == 16:
		text := w.text
		for i, end := range [...]int{4, 6, 8, 10, 16} {
			if i > 0 {
				text = append(text, '-')
			}
			text = hex.AppendEncode(text, b[[...]int{0, 4, 6, 8, 10}[i]:end])
		}
		return w.textOf(text)
	case t.logical == duration && len(b) == 12:
		return w.textOf(append(w.text, avro.DurationFromBytes(b).String()...))
	}
	return query.BytesValue(b)
}

// textOf makes a string of what text has more than w.text, which it replaces.
func (w *avroWalk) textOf(text []byte) query.Value {
	start := len(w.text)
	w.text = text
	return query.StringValue(text[start:])
}

// decimalValue is a number of which b has the digits, big-endian in two's complement, as near as a float64 can be; a whole one that
// fits 64 bits is exact.
func decimalValue(b []byte, t *avroType) query.Value {
	for len(b) > 8 && (b[0] == 0 && b[1] < 0x80 || b[0] == 0xff && b[1] >= 0x80) {
		b = b[1:] // it only says the sign
	}
	if len(b) > decimalBytesMax {
		return query.NullValue()
	}
	const exactMax = 1 << 53 // whole numbers and powers of ten below are exact as float64, so their quotient is rounded once
	if len(b) <= 8 {
		i := int64Of(b)
		if t.digits == 0 {
			return query.IntValue(i)
		}
		if i > -exactMax && i < exactMax && t.digits <= 15 {
			return query.FloatValue(float64(i) / math.Pow10(t.digits))
		}
	}
	unscaled := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0] >= 0x80 {
		unscaled.Sub(unscaled, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	if t.digits == 0 && unscaled.IsInt64() {
		return query.IntValue(unscaled.Int64())
	}
	if t.digits == 0 && unscaled.IsUint64() {
		return query.UintValue(unscaled.Uint64())
	}
	f, _ := new(big.Rat).SetFrac(unscaled, t.scale).Float64()
	return query.FloatValue(f)
}

// int64Of reads up to eight bytes, big-endian in two's complement.
func int64Of(b []byte) int64 {
	var u uint64
	if len(b) > 0 && b[0] >= 0x80 {
		u = math.MaxUint64
	}
	for _, c := range b {
		u = u<<8 | uint64(c)
	}
	return int64(u)
}
