package metrics

import (
	"slices"
	"sync/atomic"
)

// Histogram counts values into fixed buckets without a lock. It is for events per commit, not per
// request: finding the bucket is a walk over at most two dozen bounds. One goroutine observes at a
// time, any number may read; a reader during an Observe may see the bucket already and the sum not
// yet, which a scrape can bear.
type Histogram struct {
	bounds []uint64                     // ascending, inclusive upper bounds; never changes
	counts [boundsMax + 1]atomic.Uint64 // counts[i]: values in (bounds[i-1], bounds[i]]; the one after the last bound: above it
	sum    atomic.Uint64
}

// HistogramSnapshot is a copy of a Histogram, or the sum of several with the same bounds.
type HistogramSnapshot struct {
	Bounds []uint64
	Counts []uint64 // per bucket, not cumulative; one more than Bounds
	Sum    uint64
}

// NewHistogram returns a histogram with these inclusive upper bounds, ascending, at most 24.
func NewHistogram(bounds ...uint64) *Histogram {
	if len(bounds) > boundsMax || !slices.IsSorted(bounds) {
		panic("bug: histogram bounds must ascend and be few")
	}
	return &Histogram{bounds: bounds}
}

// Observe counts one value. It does not block or allocate.
func (h *Histogram) Observe(v uint64) {
	i := 0
	for i < len(h.bounds) && v > h.bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(v)
}

// Snapshot copies the histogram; any goroutine may call it.
func (h *Histogram) Snapshot() HistogramSnapshot {
	s := HistogramSnapshot{Bounds: h.bounds, Counts: make([]uint64, len(h.bounds)+1), Sum: h.sum.Load()}
	for i := range s.Counts {
		s.Counts[i] = h.counts[i].Load()
	}
	return s
}

// add merges other, which has the same bounds, into s; an empty s becomes a copy of it.
func (s *HistogramSnapshot) add(other HistogramSnapshot) {
	if s.Bounds == nil {
		s.Bounds, s.Counts = other.Bounds, make([]uint64, len(other.Counts))
	}
	if !slices.Equal(s.Bounds, other.Bounds) {
		panic("bug: histograms with different bounds were added")
	}
	for i, n := range other.Counts {
		s.Counts[i] += n
	}
	s.Sum += other.Sum
}

// cumulative returns the total count, and for every bound how many values are at or below it. The
// count is the sum of the buckets, so that the two agree even when a value arrived during the
// snapshot. Bounds are divided by perUnit rather than multiplied with a fraction, so that one
// prints as 0.0003 and not as 0.00030000000000000003.
func (s *HistogramSnapshot) cumulative(perUnit float64) (count uint64, buckets map[float64]uint64) {
	buckets = make(map[float64]uint64, len(s.Bounds))
	for i, n := range s.Counts {
		count += n
		if i < len(s.Bounds) {
			buckets[float64(s.Bounds[i])/perUnit] = count
		}
	}
	return count, buckets
}
