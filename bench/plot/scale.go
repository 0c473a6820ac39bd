package main

import (
	"math"
	"strconv"
	"strings"

	"ayder/bench/hgrm"
)

// nines is a point's place on the horizontal axis: 0 at 0 %, 1 at 90 %, 2 at 99 %.
// 100 % would be infinitely far away; the last point stands where one value in all
// of them belongs.
func nines(p hgrm.Point) float64 {
	most := math.Log10(float64(max(p.Count, 1)))
	if p.Percentile >= 1 {
		return most
	}
	return -math.Log10(1 - p.Percentile)
}

// ninesLabel names a whole number of nines: 0 %, 90 %, 99.9 %.
func ninesLabel(n int) string {
	switch n {
	case 0:
		return "0 %"
	case 1:
		return "90 %"
	case 2:
		return "99 %"
	default:
		return "99." + strings.Repeat("9", n-2) + " %"
	}
}

// axis maps values to the interval 0 … 1 and knows where its ticks are.
type axis struct {
	low, high float64
	linear    bool
	ticks     []float64
}

// newAxis covers low … high, rounded outward to ticks.
func newAxis(low, high float64, linear bool) axis {
	if linear {
		return linearAxis(high)
	}
	return logAxis(low, high)
}

// logAxis has ticks at 1, 2 and 5 of every decade it touches. Values that a
// histogram rounded to 0 are drawn at the bottom, a µs.
func logAxis(low, high float64) axis {
	const least = 0.001 // ms
	low = max(low, least)
	high = max(high, low)
	steps := func(decade float64) []float64 { return []float64{decade, 2 * decade, 5 * decade} }
	var all []float64
	for decade := math.Pow(10, math.Floor(math.Log10(low))); decade <= high*10; decade *= 10 {
		all = append(all, steps(decade)...)
	}
	first, last := 0, len(all)-1
	for first+1 < len(all) && all[first+1] <= low {
		first++
	}
	for last-1 > first && all[last-1] >= high {
		last--
	}
	return axis{low: all[first], high: all[last], ticks: all[first : last+1]}
}

// linearAxis starts at 0 and has between four and ten ticks of a round size.
func linearAxis(high float64) axis {
	high = max(high, 0.001)
	step := math.Pow(10, math.Floor(math.Log10(high)))
	for high/step < 4 {
		step /= 2
	}
	a := axis{linear: true}
	for i := 0; ; i++ {
		a.high = float64(i) * step
		a.ticks = append(a.ticks, a.high)
		if a.high >= high {
			return a
		}
	}
}

// at is the place of v, clamped to the axis.
func (a axis) at(v float64) float64 {
	if a.linear {
		return clamp((v - a.low) / (a.high - a.low))
	}
	return clamp(math.Log(max(v, a.low)/a.low) / math.Log(a.high/a.low))
}

func clamp(v float64) float64 { return min(max(v, 0), 1) }

// millis prints a latency in ms with the unit a reader would use.
func millis(v float64) string {
	unit := " ms"
	switch {
	case v == 0:
		return "0"
	case v < 1:
		v, unit = v*1000, " µs"
	case v >= 1000:
		v, unit = v/1000, " s"
	}
	return strconv.FormatFloat(v, 'g', 4, 64) + unit
}
