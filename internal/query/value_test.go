package query

import (
	"bytes"
	"encoding/json"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
)

// numberSamples are numbers at the borders of what types hold exactly.
func numberSamples() []Value {
	var all []Value
	for _, u := range []uint64{0, 1, 2, 1<<53 - 1, 1 << 53, 1<<53 + 1, math.MaxInt64 - 1, math.MaxInt64, 1 << 63, 1<<63 + 1, 1<<63 + 1024, 1<<63 + 2048, math.MaxUint64 - 1, math.MaxUint64} {
		all = append(all, UintValue(u), IntValue(-int64(u)))
	}
	for _, f := range []float64{0, math.Copysign(0, -1), 0.5, 1, 1.5, 1 << 53, 1<<53 + 2, 1 << 63, 1<<63 + 2048, 1 << 64, 1 << 65, math.MaxFloat64, math.SmallestNonzeroFloat64, 1e300, math.Nextafter(1<<63, 0), math.Nextafter(1<<64, 0)} {
		all = append(all, FloatValue(f), FloatValue(-f))
	}
	return all
}

func exact(v Value) *big.Rat {
	switch v.Kind() {
	case Int:
		return new(big.Rat).SetInt64(v.Int())
	case Uint:
		return new(big.Rat).SetUint64(v.Uint())
	}
	return new(big.Rat).SetFloat64(v.Float())
}

// Numbers compare as they do without any rounding.
func TestNumbersCompareExactly(t *testing.T) {
	samples := numberSamples()
	for range 200 {
		samples = append(samples, IntValue(rand.Int64()>>rand.IntN(64)), UintValue(rand.Uint64()), FloatValue(math.Float64frombits(rand.Uint64())))
	}
	for _, v := range samples {
		for _, w := range samples {
			if !v.IsNumber() || !w.IsNumber() { // a NaN or an infinity is null
				continue
			}
			want := exact(v).Cmp(exact(w))
			if order, ok := v.Compare(w); !ok || order != want || v.Order(w) != want {
				t.Fatalf("%s and %s: %d %v, want %d", v.AppendJSON(nil), w.AppendJSON(nil), order, ok, want)
			}
			if same := bytes.Equal(appendKey(nil, v), appendKey(nil, w)); same != (want == 0) {
				t.Fatalf("%s and %s: keys are the same: %v", v.AppendJSON(nil), w.AppendJSON(nil), same)
			}
		}
	}
}

// otherSamples are values that are no numbers, in their order.
func otherSamples() []Value {
	return []Value{
		{},
		NullValue(), BoolValue(false), BoolValue(true), IntValue(3), TimeValue(-1), TimeValue(0), TimeValue(math.MaxInt64),
		StringValue(nil), StringValue([]byte("A")), StringValue([]byte("a")), StringValue([]byte("aa")), StringValue([]byte("é")), StringValue([]byte{0xff}),
		BytesValue(nil), BytesValue([]byte{0}), JSONValue([]byte("[]")), JSONValue([]byte(`{"a":1}`)),
	}
}

func TestOrderIsTotal(t *testing.T) {
	samples := otherSamples()
	for i, v := range samples {
		for k, w := range samples {
			if got, want := v.Order(w), big.NewInt(int64(i)).Cmp(big.NewInt(int64(k))); got != want {
				t.Errorf("%+v and %+v: %d, want %d", v, w, got, want)
			}
			order, ok := v.Compare(w)
			comparable := v.Kind() == w.Kind() && slices.Contains([]Kind{Bool, Int, Time, String, Bytes}, v.Kind())
			if ok != comparable || ok && order != v.Order(w) {
				t.Errorf("%+v and %+v compare: %d %v", v, w, order, ok)
			}
		}
	}
}

func TestValuesAsJSON(t *testing.T) {
	for _, c := range []struct {
		value Value
		want  string
	}{
		{Value{}, `null`},
		{NullValue(), `null`},
		{BoolValue(true), `true`},
		{BoolValue(false), `false`},
		{IntValue(math.MinInt64), `-9223372036854775808`},
		{UintValue(math.MaxUint64), `18446744073709551615`},
		{UintValue(7), `7`},
		{FloatValue(0.1), `0.1`},
		{FloatValue(1e21), `1e+21`},
		{FloatValue(1e-7), `1e-07`},
		{FloatValue(-2), `-2`},
		{FloatValue(math.NaN()), `null`},
		{FloatValue(math.Inf(-1)), `null`},
		{TimeValue(1_500_000_000), `"1970-01-01T00:00:01.5Z"`},
		{TimeValue(-1), `"1969-12-31T23:59:59.999999999Z"`},
		{StringValue([]byte("a\"\n\xff")), "\"a\\\"\\n\uFFFD\""},
		{BytesValue([]byte{0, 1}), `"AAE="`},
		{JSONValue([]byte(`[1, "x"]`)), `[1, "x"]`},
		{JSONValue([]byte("[\"\xff\"]")), "[\"\uFFFD\"]"},
	} {
		if got := string(c.value.AppendJSON(nil)); got != c.want || !json.Valid([]byte(got)) {
			t.Errorf("%+v: %s, want %s", c.value, got, c.want)
		}
	}
}

// What is encoded is decoded as it was, and nothing of it can be missing.
func TestValuesAsBytes(t *testing.T) {
	for _, v := range append(numberSamples(), otherSamples()...) {
		b := appendValue(nil, v)
		r := stateReader{left: append(slices.Clone(b), 7)}
		if w := r.value(); r.failed || len(r.left) != 1 || w.kind != v.kind || w.bits != v.bits || !bytes.Equal(w.text, v.text) {
			t.Errorf("%+v became %+v", v, w)
		}
		for cut := range b {
			r := stateReader{left: b[:cut]}
			if w := r.value(); !r.failed || w.kind != Missing {
				t.Errorf("%d of %d bytes of %+v are %+v", cut, len(b), v, w)
			}
		}
	}
	for _, b := range [][]byte{{99}, {byte(Bool), 2}, {byte(Uint), 1, 0, 0, 0, 0, 0, 0, 0}, {byte(Float), 0, 0, 0, 0, 0, 0, 0xF0, 0x7F}, {byte(String), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}} {
		r := stateReader{left: b}
		if r.value(); !r.failed {
			t.Errorf("%x is taken", b)
		}
	}
}

func TestCloneIsNobodyElses(t *testing.T) {
	text := []byte("abc")
	v := StringValue(text).Clone()
	text[0] = 'x'
	if string(v.Text()) != "abc" {
		t.Errorf("%s", v.Text())
	}
}

func TestInstants(t *testing.T) {
	for _, c := range []struct {
		value Value
		ms    int64
		ns    int32
		ok    bool
	}{
		{IntValue(-5), -5, 0, true},
		{FloatValue(-5.9), -5, 0, true},
		{FloatValue(5.9), 5, 0, true},
		{IntValue(timeMsMax), timeMsMax, 0, true},
		{IntValue(-timeMsMax), -timeMsMax, 0, true},
		{IntValue(timeMsMax + 1), 0, 0, false},
		{IntValue(math.MinInt64), 0, 0, false},
		{UintValue(math.MaxUint64), 0, 0, false},
		{FloatValue(math.MaxFloat64), 0, 0, false},
		{FloatValue(-math.MaxFloat64), 0, 0, false},
		{TimeValue(-1), -1, 999_999, true},
		{TimeValue(math.MinInt64), -9223372036855, 224_192, true},
		{TimeValue(1_000_001), 1, 1, true},
		{StringValue([]byte("0001-01-01T00:00:00Z")), -62135596800000, 0, true},
		{StringValue([]byte("9999-12-31T23:59:59.999999999Z")), 253402300799999, 999_999, true},
		{StringValue([]byte("2026-11-22T14:00:00+02:00")), 1795348800000, 0, true},
		{StringValue([]byte("1969-12-31T23:59:59.9999Z")), -1, 900_000, true},
		{StringValue([]byte("2026-11-22 14:00:00Z")), 0, 0, false},
		{StringValue([]byte("2026-11-22")), 0, 0, false},
		{StringValue([]byte("2026-02-30T00:00:00Z")), 0, 0, false},
		{StringValue(nil), 0, 0, false},
		{StringValue(bytes.Repeat([]byte("2"), 1<<20)), 0, 0, false},
		{NullValue(), 0, 0, false},
		{Value{}, 0, 0, false},
		{BoolValue(true), 0, 0, false},
		{JSONValue([]byte("[1]")), 0, 0, false},
		{BytesValue([]byte("1")), 0, 0, false},
	} {
		got, ok := instantOf(c.value)
		if ok != c.ok || ok && got != (instant{c.ms, c.ns}) {
			t.Errorf("%s: %+v %v, want %d ms %d ns %v", c.value.AppendJSON(nil), got, ok, c.ms, c.ns, c.ok)
		}
	}
}
