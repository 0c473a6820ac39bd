package timing

// A Snapshot is a copy of one recorder, or of several added up, taken at one moment. It is plain
// data: any goroutine may read it, and nothing changes it. Percentiles are rounded up to whole
// microseconds, so that a report never claims a time better than the one that was measured.

import (
	"slices"
	"strconv"
)

// Percentiles are the percentiles that a report gives, lowest first.
var Percentiles = [...]float64{50, 90, 99, 99.9, 99.99, 99.999}

// percentileKeys are the JSON names of Percentiles, in the same order.
var percentileKeys = [len(Percentiles)]string{"p50_us", "p90_us", "p99_us", "p99_9_us", "p99_99_us", "p99_999_us"}

// Snapshot holds the latencies of one or more loops at one moment.
type Snapshot struct {
	cells []cell
}

// Stats summarises one stage of one route.
type Stats struct {
	Count         int64
	PercentilesUs [len(Percentiles)]int64 // in the order of Percentiles
	MaxUs         int64
	SumNs         int64 // exact, not from the buckets
}

// Merge adds snapshots of the same route table. Nil snapshots (a loop that has stopped) are
// skipped.
func Merge(snapshots ...*Snapshot) *Snapshot {
	sum := &Snapshot{}
	for _, s := range snapshots {
		if s == nil {
			continue
		}
		if missing := len(s.cells) - len(sum.cells); missing > 0 {
			sum.cells = append(sum.cells, make([]cell, missing)...)
		}
		for i := range s.cells {
			sum.cells[i].add(&s.cells[i])
		}
	}
	return sum
}

// Routes returns how many routes the snapshot has room for.
func (s *Snapshot) Routes() int { return len(s.cells) / StageCount }

// Stats summarises one stage of one route; all zero when nothing was recorded.
func (s *Snapshot) Stats(route int, stage Stage) Stats {
	c := &s.cells[route*StageCount+int(stage)]
	if c.histogram == nil {
		return Stats{}
	}
	st := Stats{Count: c.histogram.TotalCount(), SumNs: c.sumNs, MaxUs: microsRoundedUp(c.longestNs)}
	for i, p := range Percentiles {
		// The histogram answers with the top of a bucket, which can lie above every value seen.
		st.PercentilesUs[i] = microsRoundedUp(min(c.histogram.ValueAtPercentile(p), c.longestNs))
	}
	return st
}

// Cumulative adds up, for every bound in nanoseconds (ascending), how many values are at or below
// it, as Prometheus histograms want them. A value's bucket counts for a bound when the whole bucket
// does, so that a count can be late by the histogram's 1 % but never shrinks.
func (s *Snapshot) Cumulative(route int, stage Stage, boundsNs []int64) []uint64 {
	counts := make([]uint64, len(boundsNs))
	c := &s.cells[route*StageCount+int(stage)]
	if c.histogram == nil {
		return counts
	}
	for _, bar := range c.histogram.Distribution() {
		if i, _ := slices.BinarySearch(boundsNs, bar.To); i < len(counts) {
			counts[i] += uint64(bar.Count)
		}
	}
	for i := 1; i < len(counts); i++ {
		counts[i] += counts[i-1]
	}
	return counts
}

// AppendJSON appends the document of GET /admin/timing: every route that has been used, named by
// routes[i], with all of its stages. Times are whole microseconds.
//
//	{"routes":[{"route":"POST /x","stages":{"recv_parse":{"count":1,"p50_us":1,…,"max_us":1},…}}]}
func (s *Snapshot) AppendJSON(dst []byte, routes []string) []byte {
	dst = append(dst, `{"routes":[`...)
	first := true
	for route := range min(s.Routes(), len(routes)) {
		if !s.used(route) {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = s.appendRoute(dst, route, routes[route])
	}
	return append(dst, `]}`...)
}

func (s *Snapshot) appendRoute(dst []byte, route int, name string) []byte {
	dst = append(dst, `{"route":`...)
	dst = strconv.AppendQuote(dst, name) // names are our own route patterns: printable ASCII, where this is JSON
	dst = append(dst, `,"stages":{`...)
	for stage := range Stage(StageCount) {
		if stage > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '"')
		dst = append(dst, stage.String()...)
		dst = append(dst, `":`...)
		dst = s.Stats(route, stage).appendJSON(dst)
	}
	return append(dst, `}}`...)
}

func (st Stats) appendJSON(dst []byte) []byte {
	dst = append(dst, `{"count":`...)
	dst = strconv.AppendInt(dst, st.Count, 10)
	for i, key := range percentileKeys {
		dst = appendField(dst, key, st.PercentilesUs[i])
	}
	dst = appendField(dst, "max_us", st.MaxUs)
	return append(dst, '}')
}

func appendField(dst []byte, key string, value int64) []byte {
	dst = append(dst, `,"`...)
	dst = append(dst, key...)
	dst = append(dst, `":`...)
	return strconv.AppendInt(dst, value, 10)
}

func (s *Snapshot) used(route int) bool {
	for _, c := range s.cells[route*StageCount : (route+1)*StageCount] {
		if c.histogram != nil && c.histogram.TotalCount() > 0 {
			return true
		}
	}
	return false
}

func microsRoundedUp(ns int64) int64 { return (ns + 999) / 1000 }
