// Package result is the shape of one measurement: what ayder-bench prints with
// --json, what suite reads back, takes medians of and puts into tables, and what
// is kept beside BENCHMARKS.md so that figures can be checked later.
//
// Latencies are microseconds as decimal numbers (the histograms count
// nanoseconds). In an open-loop run they begin at the moment a request was
// scheduled, not when it was sent; SendLag tells how far the two were apart.
package result

import (
	"fmt"
	"sort"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result is one run of the load generator.
type Result struct {
	Engine      string  `json:"engine,omitempty"` // how the client moves bytes
	Target      string  `json:"target"`
	Workload    string  `json:"workload"`
	Connections int     `json:"connections"`
	Pipeline    int     `json:"pipeline"`
	RatePerS    float64 `json:"rate_per_s,omitempty"` // scheduled; absent in a closed loop

	ElapsedS     float64          `json:"elapsed_s"`
	Requests     int64            `json:"requests"` // answered as expected
	Messages     int64            `json:"messages"` // carried by them
	RequestsPerS float64          `json:"requests_per_s"`
	MessagesPerS float64          `json:"messages_per_s"`
	Errors       map[string]int64 `json:"errors"` // by status or cause; empty is what one wants
	BytesSent    int64            `json:"bytes_sent"`
	BytesRecv    int64            `json:"bytes_received"`

	Latency    Percentiles  `json:"latency"`
	SendLag    *Percentiles `json:"send_lag,omitempty"`
	Operations []Operation  `json:"operations,omitempty"` // of a mixed workload

	ClientCPU CPU     `json:"client_cpu"`
	Server    *Server `json:"server,omitempty"`
	Stages    []Route `json:"stages,omitempty"`

	// Of a cluster: the node that was measured, whether another one led when the run was over, and what the
	// others used meanwhile.
	Leader      string   `json:"leader,omitempty"` // host:port
	LeaderMoved bool     `json:"leader_moved,omitempty"`
	Followers   []Server `json:"followers,omitempty"`
}

// ErrorCount is how many requests were not answered as expected.
func (r *Result) ErrorCount() int64 {
	var n int64
	for _, count := range r.Errors {
		n += count
	}
	return n
}

// Operation is the share of one kind of request in a mixed workload.
type Operation struct {
	Name     string      `json:"name"`
	Requests int64       `json:"requests"`
	Latency  Percentiles `json:"latency"`
}

// CPU is processor time used during the measured interval.
type CPU struct {
	UserS       float64 `json:"user_s"`
	SystemS     float64 `json:"system_s"`
	PerMillionS float64 `json:"per_million_s"` // both, per million answered requests
}

// Server is what /proc tells about the measured process.
type Server struct {
	PID      int   `json:"pid"`
	CPU      CPU   `json:"cpu"`
	RSSBytes int64 `json:"rss_bytes"` // resident at the end of the run
	RSSPeak  int64 `json:"rss_peak_bytes"`
}

// Route is one line of the server's own GET /admin/timing.
type Route struct {
	Route  string                 `json:"route"`
	Stages map[string]Percentiles `json:"stages"`
}

// Percentiles summarises a histogram in µs.
type Percentiles struct {
	Count  int64   `json:"count"`
	Mean   float64 `json:"mean_us"`
	P50    float64 `json:"p50_us"`
	P90    float64 `json:"p90_us"`
	P99    float64 `json:"p99_us"`
	P999   float64 `json:"p99_9_us"`
	P9999  float64 `json:"p99_99_us"`
	P99999 float64 `json:"p99_999_us"`
	Max    float64 `json:"max_us"`
}

// Of summarises a histogram of nanoseconds.
func Of(h *hdrhistogram.Histogram) Percentiles {
	at := func(p float64) float64 { return us(h.ValueAtPercentile(p)) }
	return Percentiles{
		Count: h.TotalCount(), Mean: h.Mean() / 1e3,
		P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), P9999: at(99.99), P99999: at(99.999),
		Max: us(h.Max()),
	}
}

// us turns ns into µs.
func us(ns int64) float64 { return float64(ns) / 1e3 }

// Columns names the values of Row, in order.
var Columns = []string{"p50", "p90", "p99", "p99.9", "p99.99", "p99.999", "max"}

// Row lists the percentiles in the order of Columns.
func (p Percentiles) Row() []float64 {
	return []float64{p.P50, p.P90, p.P99, p.P999, p.P9999, p.P99999, p.Max}
}

// FormatMicros prints µs with about four significant digits, so that columns of
// very different size stay readable: 41.2, 999, 12.3 ms, 1.25 s.
func FormatMicros(v float64) string {
	switch {
	case v < 100:
		return fmt.Sprintf("%.1f µs", v)
	case v < 10_000:
		return fmt.Sprintf("%.0f µs", v)
	case v < 1e6:
		return fmt.Sprintf("%.1f ms", v/1e3)
	default:
		return fmt.Sprintf("%.2f s", v/1e6)
	}
}

// Median is the middle of an odd number of values, the mean of the two middle
// ones of an even number, 0 of none. It leaves its argument as it was.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := append([]float64(nil), values...)
	sort.Float64s(sorted)
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
