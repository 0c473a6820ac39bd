// Package hgrm writes and reads HdrHistogram percentile distributions, the text
// files which hdrhistogram.github.io/HdrHistogram/plotFiles.html draws:
//
//	       Value     Percentile TotalCount 1/(1-Percentile)
//
//	       0.182 0.000000000000          1           1.00
//	       0.204 0.500000000000      50211           2.00
//	         …
//	#[Mean    =        0.211, StdDeviation   =        0.034]
//	#[Max     =        4.102, Total count    =       100000]
//	#[Buckets =           27, SubBuckets     =         2048]
//
// The library's own writer prints six decimals of a percentile, which rounds
// everything past 99.9999 % to 1 and makes the tail of a plot unreadable, and it
// tab-separates the heading. This one prints twelve, as the Java original does.
package hgrm

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// ticksPerHalf is how many lines describe each halving of the distance to
// 100 %; five is the original's default.
const ticksPerHalf = 5

// Point is one line: so much of all values is at or below Value.
type Point struct {
	Value      float64 // in the file's own unit; ayder-bench writes milliseconds
	Percentile float64 // 0 … 1
	Count      int64   // values at or below
}

// Write prints h with every value divided by scale (1e6 turns ns into ms).
func Write(w io.Writer, h *hdrhistogram.Histogram, scale float64) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")
	for _, line := range h.CumulativeDistributionWithTicks(ticksPerHalf) {
		p := line.Quantile / 100
		fmt.Fprintf(b, "%12.3f %2.12f %10d %14s\n", float64(line.ValueAt)/scale, p, line.Count, inverse(p))
	}
	fmt.Fprintf(b, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n", h.Mean()/scale, h.StdDev()/scale)
	fmt.Fprintf(b, "#[Max     = %12.3f, Total count    = %12d]\n", float64(h.Max())/scale, h.TotalCount())
	fmt.Fprintf(b, "#[Buckets = %12d, SubBuckets     = %12d]\n", buckets(h), subBuckets(h))
	if err := b.Flush(); err != nil {
		return fmt.Errorf("write percentile distribution: %w", err)
	}
	return nil
}

// inverse is the last column; the original leaves it out at 100 %, readers
// expect "inf" or nothing.
func inverse(p float64) string {
	if p >= 1 {
		return "inf"
	}
	return strconv.FormatFloat(1/(1-p), 'f', 2, 64)
}

// subBuckets is the linear part of one bucket: the next power of two above
// 2 × 10^digits.
func subBuckets(h *hdrhistogram.Histogram) int {
	n := 1
	for n < 2*int(math.Pow10(int(h.SignificantFigures()))) {
		n <<= 1
	}
	return n
}

// buckets counts the doublings from one bucket's reach to the highest value.
func buckets(h *hdrhistogram.Histogram) int {
	n, reach := 1, int64(subBuckets(h))*max(h.LowestTrackableValue(), 1)
	for reach > 0 && reach <= h.HighestTrackableValue() {
		n, reach = n+1, reach<<1
	}
	return n
}

// Read returns the lines of a distribution in order. Comments, the heading and
// blank lines are passed over; any other line must be a point.
func Read(r io.Reader) ([]Point, error) {
	var points []Point
	lines := bufio.NewScanner(r)
	for number := 1; lines.Scan(); number++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || text[0] == '#' || strings.HasPrefix(text, "Value") {
			continue
		}
		p, err := parse(text)
		if err != nil {
			return nil, fmt.Errorf("percentile distribution, line %d: %w", number, err)
		}
		points = append(points, p)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read percentile distribution: %w", err)
	}
	if len(points) == 0 {
		return nil, fmt.Errorf("read percentile distribution: no points")
	}
	return points, nil
}

// parse reads "value percentile count [inverse]".
func parse(text string) (Point, error) {
	fields := strings.Fields(text)
	if len(fields) < 3 {
		return Point{}, fmt.Errorf("%d fields, want at least 3: %q", len(fields), text)
	}
	value, err := strconv.ParseFloat(fields[0], 64)
	if err != nil {
		return Point{}, fmt.Errorf("value: %w", err)
	}
	percentile, err := strconv.ParseFloat(fields[1], 64)
	if err != nil {
		return Point{}, fmt.Errorf("percentile: %w", err)
	}
	if percentile < 0 || percentile > 1 || math.IsNaN(value) || math.IsInf(value, 0) {
		return Point{}, fmt.Errorf("percentile %v or value %v out of range", percentile, value)
	}
	count, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil {
		return Point{}, fmt.Errorf("count: %w", err)
	}
	return Point{Value: value, Percentile: percentile, Count: count}, nil
}
