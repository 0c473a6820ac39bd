package main

import (
	"fmt"
	"testing"
	"time"

	"ayder/bench/result"
)

func TestRecorderFill(t *testing.T) {
	r := newRecorder([]string{"produce", "consume"}, true)
	r.answer(0, 1, 1000, 2000)
	r.answer(1, 100, 1000, 501_000)
	r.failed("503", 2e9)
	r.late(7000)
	r.late(-1) // the clock was read before the request was due
	var out result.Result
	r.fill(&out, 1e9)
	if out.Requests != 2 || out.Messages != 101 || out.ElapsedS != 1 || out.RequestsPerS != 2 {
		t.Errorf("%+v", out)
	}
	if out.Errors["503"] != 1 || out.Latency.Count != 2 || out.Latency.Max != 500 {
		t.Errorf("errors %v, latency %+v", out.Errors, out.Latency)
	}
	if out.SendLag.Count != 2 || out.SendLag.P99 < 6.9 {
		t.Errorf("send lag %+v", out.SendLag)
	}
	if len(out.Operations) != 2 || out.Operations[1].Latency.P50 != 500 {
		t.Errorf("operations %+v", out.Operations)
	}
}

func TestRecorderOneOperation(t *testing.T) {
	r := newRecorder([]string{"produce"}, false)
	r.answer(0, 1, 0, 123_456_789)
	r.late(1)
	var out result.Result
	r.fill(&out, 0)
	if out.SendLag != nil || out.Operations != nil {
		t.Errorf("%+v", out)
	}
	// Three digits of the histogram, but an exact maximum which nothing passes.
	if p := out.Latency; p.Max != 123_456.789 || p.P50 > p.Max || p.P99999 > p.Max {
		t.Errorf("latency %+v", p)
	}
}

func TestRecorderClamps(t *testing.T) {
	r := newRecorder([]string{"x"}, true)
	r.answer(0, 1, 10, 0) // an answer before its request: a clock that stepped back
	r.answer(0, 1, 0, latencyNsMax*2)
	r.late(latencyNsMax * 2)
	if total := r.all(); total.latency.TotalCount() != 2 || total.maximumNs != latencyNsMax {
		t.Errorf("%d values up to %d", total.latency.TotalCount(), total.maximumNs)
	}
}

func TestRecorderCountsUnanswered(t *testing.T) {
	r := newRecorder([]string{"x"}, false)
	r.unanswered(0, 0, int64(3*time.Second))
	total := r.all()
	if r.errors["unanswered"] != 1 || total.answered != 0 || total.maximumNs != int64(3*time.Second) {
		t.Errorf("%v, %d answered, %d ns", r.errors, total.answered, total.maximumNs)
	}
}

func TestErrorNames(t *testing.T) {
	got := errorNames(map[string]int64{"503": 1, "429": 1, "unanswered": 9})
	if fmt.Sprint(got) != "[unanswered 429 503]" {
		t.Errorf("order %v", got)
	}
}

// TestRecordAllocates: the loop records on every answer.
func TestRecordAllocates(t *testing.T) {
	r := newRecorder([]string{"x"}, true)
	now := int64(0)
	if n := testing.AllocsPerRun(1000, func() {
		now += 12_345
		r.answer(0, 1, now-1000, now)
		r.late(5)
	}); n != 0 {
		t.Errorf("%v allocations per answer", n)
	}
}
