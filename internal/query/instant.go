package query

// Instants: what a ts_field holds, however it is written.
//
// Numbers are Unix milliseconds, strings RFC 3339, and formats with times of their own give those in nanoseconds. An int64 of
// nanoseconds would end in 2262, one of milliseconds would make two times of one millisecond equal; so it is both parts.

import (
	"cmp"
	"math"
	"time"
)

// instant is a point in time that windows can be cut around.
type instant struct {
	ms int64 // since 1970, rounded down
	ns int32 // from there, below a million
}

func (t instant) compare(u instant) int {
	if t.ms != u.ms {
		return cmp.Compare(t.ms, u.ms)
	}
	return cmp.Compare(t.ns, u.ns)
}

// instantOf is v as a time; ok is false where it is none, or one out of range.
func instantOf(v Value) (t instant, ok bool) {
	switch v.kind {
	case Int:
		t.ms = v.Int()
	case Float:
		f := math.Trunc(v.Float())
		if math.Abs(f) > timeMsMax {
			return t, false
		}
		t.ms = int64(f)
	case Time:
		return splitNanoseconds(v.Nanoseconds()), true
	case String:
		var at time.Time
		if len(v.text) > len("2006-01-02T15:04:05.999999999+00:00")+32 || at.UnmarshalText(v.text) != nil {
			return t, false
		}
		t = instant{at.UnixMilli(), int32(at.Nanosecond() % 1e6)}
	default:
		return t, false
	}
	return t, t.ms >= -timeMsMax && t.ms <= timeMsMax
}

func splitNanoseconds(ns int64) instant {
	ms := floorDiv(ns, 1e6)
	return instant{ms, int32(ns - ms*1e6)}
}

// floorDiv is a/b rounded down, for b > 0.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
