package main

import (
	"strings"
	"testing"

	"ayder/bench/result"
)

func TestTable(t *testing.T) {
	var b strings.Builder
	table(&b, []string{"server", "rate"}, [][]string{{"a|b", "1"}})
	want := "| server | rate |\n| --- | ---: |\n| a\\|b | 1 |\n\n"
	if b.String() != want {
		t.Errorf("table\n%s, want\n%s", b.String(), want)
	}
}

func TestPerSecond(t *testing.T) {
	for v, want := range map[float64]string{0: missing, 950: "950", 4_512: "4.5 k", 111_400: "111 k", 1_234_567: "1.23 M"} {
		if got := perSecond(v); got != want {
			t.Errorf("%v prints as %q, want %q", v, got, want)
		}
	}
}

func TestTargetVerdicts(t *testing.T) {
	for _, test := range []struct {
		t    target
		want string
	}{
		{target{value: 1.31, limit: 1.3, decimal: 2}, "met"},
		{target{value: 1.2999, limit: 1.3, decimal: 2}, "met"}, // printed as 1.30
		{target{value: 1.29, limit: 1.3, decimal: 2}, "**missed**"},
		{target{value: 5.9, limit: 6, atMost: true, decimal: 1}, "met"},
		{target{value: 6.1, limit: 6, atMost: true, decimal: 1}, "**missed**"},
		{target{value: 0, limit: 6, atMost: true}, missing},
	} {
		var b strings.Builder
		targets(&b, []target{test.t})
		if !strings.Contains(b.String(), "| "+test.want+" |") {
			t.Errorf("%+v: %s, want %s", test.t, b.String(), test.want)
		}
	}
}

func TestRatio(t *testing.T) {
	if ratio(3, 2) != 1.5 || ratio(3, 0) != 0 || ratio(0, 3) != 0 {
		t.Error("ratio of what was not measured is not 0")
	}
}

// TestProduceReport goes from runs to the text of the main table.
func TestProduceReport(t *testing.T) {
	l := testLab(t, settings{bench: "x"})
	add := func(server, load string, rate, p50 float64) {
		l.runs = append(l.runs, sample{"produce", server, load, 0, &result.Result{
			RequestsPerS: rate, Latency: result.Percentiles{P50: p50, P99: 2 * p50},
			Server: &result.Server{CPU: result.CPU{PerMillionS: 4.8}}, ClientCPU: result.CPU{PerMillionS: 3.1},
		}})
	}
	add(disk, diskLoad, 5000, 180)
	add(uring, "1", 4500, 210)
	add(uring, "64", 111_000, 490)
	add(redis, "64", 60_000, 900)
	var b strings.Builder
	reportProduce(l, &b)
	for _, want := range []string{
		"| ayder uring | 4.5 k | 210 µs | 420 µs | 4.8 (3.1) | 111 k |",
		"p50 180 µs, p99 360 µs",
		"| requests/s ÷ redis, 64 connections | ≥ 1.50 × | 1.85 × | met |",
		"| requests/s ÷ redis, 1 connections | ≥ 1.30 × | – | – |",
		"| p50 at 1 connection ÷ one synced 4 KiB write | ≤ 1.30 × | 1.17 × | met |",
		"| server CPU per million, 64 connections | ≤ 6.0 s | 4.8 s | met |",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestErrorsAreShown(t *testing.T) {
	l := testLab(t, settings{bench: "x"})
	l.runs = []sample{{"ndjson", uring, "10 lines", 1, &result.Result{Errors: map[string]int64{"507": 4}}}}
	var b strings.Builder
	reportNDJSON(l, &b)
	if !strings.Contains(b.String(), "ayder uring, 10 lines, round 2: **4 failed requests** map[507:4]") {
		t.Errorf("report\n%s", b.String())
	}
}

func TestIdleReport(t *testing.T) {
	l := testLab(t, settings{bench: "x"})
	l.fact("idle percent "+uring+" fresh", 0)
	l.fact("idle rss "+uring+" fresh", 11.5)
	var b strings.Builder
	reportIdle(l, &b)
	if !strings.Contains(b.String(), "| ayder uring, fresh | ≤ 0.200 % | 0.000 % | met |") {
		t.Errorf("a server that used no time at all:\n%s", b.String())
	}
}

func TestHostFields(t *testing.T) {
	text := "processor\t: 0\nmodel name\t: AMD EPYC\nMemTotal:  24684084 kB\n"
	if field(text, "model name") != "AMD EPYC" || field(text, "MemTotal") != "24684084 kB" || field(text, "nothing") != "" {
		t.Error("a field is not found")
	}
	if output("") != "" || output("/no/such/program") != "" || contents("/no/such/file") != "" {
		t.Error("what is not there has a text")
	}
}
