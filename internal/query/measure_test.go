package query

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// measured is a measure of values, as JSON.
func measured(op measureOp, values ...Value) string {
	var a accumulator
	for _, v := range values {
		if a.add(op, v) {
			a.best = v
		}
	}
	b, err := a.appendJSON(nil, op)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func TestMeasures(t *testing.T) {
	low, high, top := IntValue(math.MinInt64), IntValue(math.MaxInt64), UintValue(math.MaxUint64)
	none := errOverflow.Error()
	text, null, array := StringValue([]byte("7")), NullValue(), JSONValue([]byte("[9]"))
	for _, c := range []struct {
		op     measureOp
		values []Value
		want   string
	}{
		{measureCount, []Value{IntValue(1), null, {}, text, array, BoolValue(false)}, "4"},
		{measureSum, nil, "0"},
		{measureSum, []Value{text, null, array, BoolValue(true), {}}, "0"},
		{measureSum, []Value{high, low}, "-1"},
		{measureSum, []Value{high, high}, "18446744073709551614"},
		{measureSum, []Value{high, high, IntValue(1)}, "18446744073709551615"},
		{measureSum, []Value{high, high, IntValue(2)}, none},
		{measureSum, []Value{high, high, IntValue(2), IntValue(-1)}, "18446744073709551615"},
		{measureSum, []Value{low, IntValue(-1)}, none},
		{measureSum, []Value{low, low, high, high}, "-2"},
		{measureSum, []Value{top, top, IntValue(-1), low, low, IntValue(1)}, "18446744073709551614"},
		{measureSum, []Value{IntValue(1 << 53), IntValue(1)}, "9007199254740993"},
		{measureSum, []Value{IntValue(1), FloatValue(0.5)}, "1.5"},
		{measureSum, []Value{FloatValue(2), FloatValue(1)}, "3"},
		{measureSum, []Value{FloatValue(1), FloatValue(1e100), FloatValue(1), FloatValue(-1e100)}, "2"},
		{measureSum, slices.Repeat([]Value{FloatValue(0.1)}, 10), "1"},
		{measureSum, []Value{top, top, FloatValue(0.5)}, "36893488147419103000"},
		{measureSum, []Value{FloatValue(math.MaxFloat64), FloatValue(math.MaxFloat64)}, none},
		{measureAvg, []Value{FloatValue(math.MaxFloat64), FloatValue(math.MaxFloat64)}, none},
		{measureAvg, nil, "null"},
		{measureAvg, []Value{text, null}, "null"},
		{measureAvg, []Value{IntValue(1), text, IntValue(2)}, "1.5"},
		{measureAvg, []Value{high, high, high}, "9223372036854776000"},
		{measureAvg, []Value{top, top, top, low, low}, "7378697629483821000"},
		{measureAvg, []Value{IntValue(1), IntValue(0), IntValue(0)}, "0.3333333333333333"},
		{measureAvg, []Value{IntValue(3), FloatValue(0.5)}, "1.75"},
		{measureMin, nil, "null"},
		{measureMin, []Value{null, {}}, "null"},
		{measureMin, []Value{text, IntValue(3), FloatValue(2.5)}, "2.5"},
		{measureMax, []Value{text, IntValue(3), FloatValue(2.5)}, `"7"`},
		{measureMax, []Value{IntValue(1<<53 + 1), FloatValue(1 << 53), IntValue(1 << 53)}, "9007199254740993"},
		{measureMin, []Value{BoolValue(true), IntValue(0)}, "true"},
		{measureMax, []Value{array, text}, "[9]"},
		{measureMax, []Value{FloatValue(1), IntValue(1)}, "1"},
	} {
		if got := measured(c.op, c.values...); got != c.want {
			t.Errorf("%d of %+v: %s, want %s", c.op, c.values, got, c.want)
		}
	}
}

// Sums and averages of random whole numbers are those of arbitrary precision, in any order and merged in any way.
func TestSumsAreExact(t *testing.T) {
	seed := rand.Uint64()
	for n := range 500 {
		rng := rand.New(rand.NewPCG(seed, uint64(n)))
		sum := new(big.Int)
		parts := make([]accumulator, 3)
		count := 1 + rng.IntN(50)
		for range count {
			v := UintValue(rng.Uint64() >> rng.IntN(64))
			if rng.IntN(2) == 0 {
				v = IntValue(int64(rng.Uint64()) >> rng.IntN(64))
			}
			sum.Add(sum, exact(v).Num())
			parts[rng.IntN(3)].add(measureSum, v)
		}
		parts[1].merge(measureSum, &parts[2])
		parts[0].merge(measureSum, &parts[1])
		got, err := parts[0].appendJSON(nil, measureSum)
		if fits := sum.IsInt64() || sum.IsUint64(); fits != (err == nil) || fits && string(got) != sum.String() {
			t.Fatalf("seed %d case %d: %s %v, want %s", seed, n, got, err, sum)
		}
		average, _ := new(big.Rat).SetFrac(sum, big.NewInt(int64(count))).Float64()
		if got, err = parts[0].appendJSON(nil, measureAvg); err != nil || string(got) != string(appendFloat(nil, average)) {
			t.Fatalf("seed %d case %d: average %s %v, want %v", seed, n, got, err, average)
		}
	}
}

// Fractions of all sizes: the sum is at most a unit in the last place from the true one, where adding them up would lose all digits.
func TestSumsOfFractionsAreCompensated(t *testing.T) {
	seed := rand.Uint64()
	for n := range 300 {
		rng := rand.New(rand.NewPCG(seed, uint64(n)))
		exactly := new(big.Rat)
		var a accumulator
		for range 1 + rng.IntN(1000) {
			f := math.Ldexp(rng.Float64(), rng.IntN(60))
			exactly.Add(exactly, new(big.Rat).SetFloat64(f))
			a.add(measureSum, FloatValue(f))
		}
		want, _ := exactly.Float64()
		if got := a.float(); math.Abs(got-want) > math.Nextafter(want, math.Inf(1))-want {
			t.Fatalf("seed %d case %d: %v, want %v", seed, n, got, want)
		}
	}
}

// An overflow names the measure and the group.
func TestOverflowsSayWhere(t *testing.T) {
	_, err := compiled(t, `"aggregate":{"group_by":["g"],"measures":[{"op":"count"},{"op":"sum","field":"n","as":"total"}]}`).Run(Limits{}, stream(
		`{"g":"a","n":1}`, `{"g":"b","n":18446744073709551615}`, `{"g":"b","n":1}`))
	var bad *RequestError
	if !errors.As(err, &bad) || bad.Code != "sum_overflow" || !strings.Contains(bad.Message, "total") || !strings.Contains(bad.Message, `"g=b"`) {
		t.Errorf("%v", err)
	}
}

// What is kept of messages does not change with them, also where windows share it.
func TestBestIsKept(t *testing.T) {
	for _, window := range []string{`"size_ms":1000`, `"type":"hopping","size_ms":100,"advance_ms":10`, `"type":"session","gap_ms":1000`} {
		q := compiled(t, `"window":{`+window+`},"aggregate":{"measures":[{"op":"min","field":"s"},{"op":"max","field":"s"},{"op":"max","field":"s","as":"again"}]}`)
		buffer := make([]byte, 0, 100)
		r, err := q.Run(Limits{}, func(yield func(*Message) bool) {
			for i := range 100 {
				buffer = fmt.Appendf(buffer[:0], `{"s":"%02d"}`, (i*37)%100)
				if !yield(&Message{Offset: uint64(i), TimeMs: 500, Value: buffer}) {
					return
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range aggregatesOf(t, r) {
			if !strings.Contains(a, `"min_s":"00","max_s":"99","again":"99"`) {
				t.Errorf("%s: %s", window, a)
			}
		}
	}
}
