package main

import (
	"maps"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"

	"ayder/bench/result"
)

// recorder counts one phase. It belongs to the loop's thread and allocates only
// for the first error of each name.
//
// Latencies of failed requests stay out of the histograms: a server that refuses
// at once would look fast. They are counted by name instead, and a run with any
// exits non-zero. Requests that were never answered are the exception: leaving
// them out would hide the worst latencies of all, so they are recorded with the
// time they had waited when the run gave up (a lower bound) and counted as errors.
type recorder struct {
	ops      []opRecorder
	lag      *hdrhistogram.Histogram // sent − scheduled; nil in a closed loop
	errors   map[string]int64
	messages int64
	sent     int64 // bytes
	received int64 // bytes
	last     int64 // ns, when the last answer came
}

// opRecorder is the share of one operation.
type opRecorder struct {
	name      string
	latency   *hdrhistogram.Histogram
	answered  int64
	maximumNs int64 // exact; the histogram rounds up to three digits
}

// newRecorder prepares one histogram per operation.
func newRecorder(names []string, open bool) *recorder {
	r := &recorder{errors: map[string]int64{}}
	for _, name := range names {
		r.ops = append(r.ops, opRecorder{name: name, latency: newHistogram()})
	}
	if open {
		r.lag = newHistogram()
	}
	return r
}

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, latencyNsMax, latencyDigits)
}

// answer counts a request that went well.
func (r *recorder) answer(op, messages int, start, now int64) {
	o := &r.ops[op]
	o.answered++
	o.record(now - start)
	r.messages += int64(messages)
	r.last = now
}

// record clamps to the histogram's range, so it cannot fail.
func (o *opRecorder) record(ns int64) {
	ns = min(max(ns, 0), latencyNsMax)
	o.maximumNs = max(o.maximumNs, ns)
	if err := o.latency.RecordValue(ns); err != nil {
		panic("bug: latency outside the histogram: " + err.Error())
	}
}

// failed counts a request answered otherwise than expected.
func (r *recorder) failed(name string, now int64) {
	r.errors[name]++
	r.last = now
}

// unanswered counts a request given up at now.
func (r *recorder) unanswered(op int, start, now int64) {
	r.errors["unanswered"]++
	r.ops[op].record(now - start)
}

// late notes how far behind its schedule a request was sent.
func (r *recorder) late(ns int64) {
	if r.lag == nil {
		return
	}
	if err := r.lag.RecordValue(min(max(ns, 0), latencyNsMax)); err != nil {
		panic("bug: send lag outside the histogram: " + err.Error())
	}
}

// all merges the operations' histograms.
func (r *recorder) all() opRecorder {
	merged := opRecorder{name: "all", latency: newHistogram()}
	for i := range r.ops {
		o := &r.ops[i]
		merged.latency.Merge(o.latency)
		merged.answered += o.answered
		merged.maximumNs = max(merged.maximumNs, o.maximumNs)
	}
	return merged
}

// summary is the percentiles with the exact maximum. The library reports the
// upper edge of a value's bucket, which may lie above it.
func (o *opRecorder) summary() result.Percentiles {
	p := result.Of(o.latency)
	p.Max = float64(o.maximumNs) / 1e3
	for _, v := range []*float64{&p.P50, &p.P90, &p.P99, &p.P999, &p.P9999, &p.P99999} {
		*v = min(*v, p.Max)
	}
	return p
}

// fill writes what was counted into out; the phase began at begin.
func (r *recorder) fill(out *result.Result, begin int64) {
	total := r.all()
	out.ElapsedS = float64(max(r.last-begin, 1)) / 1e9
	out.Requests, out.Messages = total.answered, r.messages
	out.RequestsPerS = float64(out.Requests) / out.ElapsedS
	out.MessagesPerS = float64(out.Messages) / out.ElapsedS
	out.BytesSent, out.BytesRecv = r.sent, r.received
	out.Errors = r.errors
	out.Latency = total.summary()
	if r.lag != nil {
		lag := result.Of(r.lag)
		out.SendLag = &lag
	}
	if len(r.ops) > 1 {
		for i := range r.ops {
			o := &r.ops[i]
			out.Operations = append(out.Operations, result.Operation{Name: o.name, Requests: o.answered, Latency: o.summary()})
		}
	}
}

// errorNames lists what went wrong, most frequent first.
func errorNames(errors map[string]int64) []string {
	names := slices.Collect(maps.Keys(errors))
	slices.SortFunc(names, func(a, b string) int {
		if errors[a] != errors[b] {
			return int(errors[b] - errors[a])
		}
		if a < b {
			return -1
		}
		return 1
	})
	return names
}
