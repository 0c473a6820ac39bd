package timing

import (
	"github.com/HdrHistogram/hdrhistogram-go"
)

// cell holds what is known about one stage of one route. The histogram is nil until the first
// value; sum and longest are exact where the histogram rounds.
type cell struct {
	histogram *hdrhistogram.Histogram
	sumNs     int64
	longestNs int64
}

// Recorder collects the latencies of one loop. It belongs to that loop: no method may be called
// from any other goroutine.
type Recorder struct {
	cells []cell // route-major: route*StageCount + stage
}

// NewRecorder returns a recorder for routes numbered 0 … routes-1.
func NewRecorder(routes int) *Recorder {
	return &Recorder{cells: make([]cell, routes*StageCount)}
}

// Record adds one measurement in nanoseconds. A negative time counts as 0, one above ValueNsMax as
// ValueNsMax. It allocates only the first time that a route and stage is seen, never blocks and
// never fails; a route that does not exist is a bug of the caller and panics.
func (r *Recorder) Record(route int, stage Stage, ns int64) {
	c := &r.cells[route*StageCount+int(stage)]
	if c.histogram == nil {
		c.histogram = newHistogram()
	}
	ns = min(max(ns, 0), ValueNsMax)
	if err := c.histogram.RecordValue(ns); err != nil {
		panic("bug: a clamped value is out of the histogram's range: " + err.Error())
	}
	c.sumNs += ns
	c.longestNs = max(c.longestNs, ns)
}

// Reset forgets everything and keeps the memory.
func (r *Recorder) Reset() {
	for i := range r.cells {
		c := &r.cells[i]
		c.sumNs, c.longestNs = 0, 0
		if c.histogram != nil {
			c.histogram.Reset()
		}
	}
}

// Snapshot returns a copy that shares nothing with the recorder, so that it may leave the loop.
func (r *Recorder) Snapshot() *Snapshot {
	s := &Snapshot{cells: make([]cell, len(r.cells))}
	for i := range r.cells {
		s.cells[i].add(&r.cells[i])
	}
	return s
}

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(resolutionNs, ValueNsMax, significantDigits)
}

// add merges from into c. The geometry is the same everywhere, so that nothing can be dropped.
func (c *cell) add(from *cell) {
	if from.histogram == nil || from.histogram.TotalCount() == 0 {
		return
	}
	if c.histogram == nil {
		c.histogram = newHistogram()
	}
	if dropped := c.histogram.Merge(from.histogram); dropped != 0 {
		panic("bug: histograms of different shapes were merged")
	}
	c.sumNs += from.sumNs
	c.longestNs = max(c.longestNs, from.longestNs)
}
