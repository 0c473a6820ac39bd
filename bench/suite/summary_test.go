package main

import (
	"testing"

	"ayder/bench/result"
)

// filledLab holds three rounds of one cell, and one of another.
func filledLab(t *testing.T) *lab {
	t.Helper()
	l := testLab(t, settings{bench: "x"})
	for round, rate := range []float64{100, 300, 200} {
		r := &result.Result{
			RequestsPerS: rate, MessagesPerS: rate * 10, Errors: map[string]int64{"503": int64(round)},
			Latency:   result.Percentiles{Count: 10, P50: rate, P999: rate * 3, Max: 1000 - rate},
			ClientCPU: result.CPU{PerMillionS: rate / 100},
			Server:    &result.Server{CPU: result.CPU{PerMillionS: rate / 50}, RSSBytes: int64(rate) << 20},
			Stages: []result.Route{
				{Route: "GET /admin/timing", Stages: map[string]result.Percentiles{"total": {Count: 1, P50: 9999}}},
				{Route: "POST /p", Stages: map[string]result.Percentiles{"commit": {Count: 10, P50: rate}}},
			},
		}
		l.runs = append(l.runs, sample{"open", uring, "5 k/s", round, r})
	}
	l.runs = append(l.runs, sample{"open", redis, "5 k/s", 0, &result.Result{RequestsPerS: 50}})
	return l
}

func TestMedians(t *testing.T) {
	s := filledLab(t).find("open", uring, "5 k/s")
	want := summary{
		rounds: 3, errors: 3, requestsPerS: 200, messagesPerS: 2000, serverCPU: 4, clientCPU: 2, rssMiB: 200,
		latency: result.Percentiles{Count: 10, P50: 200, P999: 600, Max: 800},
	}
	if s != want {
		t.Errorf("%+v, want %+v", s, want)
	}
}

func TestMedianOfNothing(t *testing.T) {
	l := filledLab(t)
	if s := l.find("open", nats, "5 k/s"); s != (summary{}) {
		t.Errorf("%+v", s)
	}
	if s := l.find("open", redis, "5 k/s"); s.rounds != 1 || s.serverCPU != 0 {
		t.Errorf("a run without a watched server: %+v", s)
	}
}

func TestTypicalRound(t *testing.T) {
	l := filledLab(t)
	if got := l.typicalRound("open", uring, "5 k/s"); got != 2 {
		t.Errorf("round %d is drawn, want the one in the middle", got)
	}
	if got := l.typicalRound("open", nats, "5 k/s"); got != -1 {
		t.Errorf("round %d of none", got)
	}
}

func TestStagesOfTheBusiestRoute(t *testing.T) {
	stages := filledLab(t).stages("open", uring, "5 k/s")
	if len(stages) != 1 || stages["commit"].P50 != 200 {
		t.Errorf("%+v", stages)
	}
}
