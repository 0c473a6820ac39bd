package query

// Measures: count, sum, avg, min and max of one group.
//
// Whole numbers are summed in 128 bits, which no stream can exceed, and are only at the end held to 64. Fractions are summed apart from them in
// float64 with Neumaier's compensation ("Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen", 1974), so that
// the error does not grow with the number of messages. What is no number adds nothing to a sum and does not count in an average.

import (
	"errors"
	"math"
	"math/big"
	"math/bits"
	"strconv"
)

// measureOp is what a measure computes.
type measureOp uint8

const (
	measureCount measureOp = iota
	measureSum
	measureAvg
	measureMin
	measureMax
)

var measureNames = map[string]measureOp{
	"count": measureCount, "sum": measureSum, "avg": measureAvg, "min": measureMin, "max": measureMax,
}

// measure is compiled.
type measure struct {
	op    measureOp
	place int // of the field's value, -1: none
	name  string
	label []byte // `"name":`
}

// accumulator is one measure of one group. The zero value has seen nothing.
type accumulator struct {
	count     uint64 // values that count
	high      int64  // sum of whole numbers: high·2^64 + low
	low       uint64
	sum, rest float64 // of fractions, and what rounding took from it
	floats    bool    // there was a fraction
	best      Value   // of min and max; owns its text
}

// errOverflow: a sum is in range of no type of number that JSON readers have.
var errOverflow = errors.New("the sum does not fit")

// add takes one value. It returns true if that is the best now: the caller has to keep it, in memory of best's own.
func (a *accumulator) add(op measureOp, v Value) (better bool) {
	switch op {
	case measureCount:
		if v.kind > Null {
			a.count++
		}
	case measureSum, measureAvg:
		a.addNumber(v)
	default:
		return v.kind > Null && a.improves(op, v)
	}
	return false
}

func (a *accumulator) improves(op measureOp, v Value) bool {
	if a.best.kind == Missing {
		return true
	}
	order := v.Order(a.best)
	return op == measureMin && order < 0 || op == measureMax && order > 0
}

func (a *accumulator) addNumber(v Value) {
	switch v.kind {
	case Int:
		a.addWhole(int64(v.bits)>>63, v.bits)
	case Uint:
		a.addWhole(0, v.bits)
	case Float:
		a.floats = true
		a.addFloat(v.Float())
	default:
		return
	}
	a.count++
}

func (a *accumulator) addWhole(high int64, low uint64) {
	var carry uint64
	a.low, carry = bits.Add64(a.low, low, 0)
	a.high += high + int64(carry)
}

func (a *accumulator) addFloat(f float64) {
	sum := a.sum + f
	if math.Abs(a.sum) >= math.Abs(f) {
		a.rest += (a.sum - sum) + f
	} else {
		a.rest += (f - sum) + a.sum
	}
	a.sum = sum
}

// merge adds what b has seen, which came later.
func (a *accumulator) merge(op measureOp, b *accumulator) {
	a.addWhole(b.high, b.low)
	a.addFloat(b.sum)
	a.rest += b.rest
	a.floats = a.floats || b.floats
	a.count += b.count
	if b.best.kind != Missing && a.improves(op, b.best) {
		a.best = b.best
	}
}

// float is the whole sum as float64; the three parts of the whole numbers are exact.
func (a *accumulator) float() float64 {
	t := accumulator{sum: a.sum, rest: a.rest}
	t.addFloat(math.Ldexp(float64(a.high), 64))
	t.addFloat(float64(a.low &^ 0x7FF))
	t.addFloat(float64(a.low & 0x7FF))
	return t.sum + t.rest
}

// appendJSON appends the result.
func (a *accumulator) appendJSON(b []byte, op measureOp) ([]byte, error) {
	switch {
	case op == measureCount:
		return strconv.AppendUint(b, a.count, 10), nil
	case op == measureSum:
		return a.appendSum(b)
	case op == measureAvg && a.count > 0:
		return a.appendAverage(b)
	}
	return a.best.AppendJSON(b), nil
}

func (a *accumulator) appendSum(b []byte) ([]byte, error) {
	switch {
	case a.floats:
		return appendFinite(b, a.float())
	case a.high == int64(a.low)>>63:
		return strconv.AppendInt(b, int64(a.low), 10), nil
	case a.high == 0:
		return strconv.AppendUint(b, a.low, 10), nil
	}
	return b, errOverflow
}

// appendAverage divides; of whole numbers the quotient is rounded once.
func (a *accumulator) appendAverage(b []byte) ([]byte, error) {
	if a.floats {
		return appendFinite(b, a.float()/float64(a.count))
	}
	sum := new(big.Int).Lsh(big.NewInt(a.high), 64)
	sum.Add(sum, new(big.Int).SetUint64(a.low))
	f, _ := new(big.Rat).SetFrac(sum, new(big.Int).SetUint64(a.count)).Float64()
	return appendFloat(b, f), nil
}

func appendFinite(b []byte, f float64) ([]byte, error) {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return b, errOverflow
	}
	return appendFloat(b, f), nil
}
