package main

import (
	"math"
	"testing"
	"time"
)

// drain takes everything due at now.
func drain(p pacer, now int64) []int64 {
	var starts []int64
	for {
		start, ok := p.take(now)
		if !ok {
			return starts
		}
		starts = append(starts, start)
	}
}

func TestOpenScheduleIgnoresAnswers(t *testing.T) {
	const rate, begin = 1000, 5_000_000
	p := newOpenPacer(begin, rate, 100*time.Millisecond, 0)

	// Nobody asks for 50 ms, as if every connection were waiting for a stalled
	// server. All that came due meanwhile must be there, each with its own time.
	starts := drain(p, begin+50*1e6)
	if len(starts) != 51 {
		t.Fatalf("%d requests due after 50 ms at 1000/s, want 51", len(starts))
	}
	for i, start := range starts {
		if want := int64(begin + i*1e6); start != want {
			t.Errorf("request %d due at %d, want %d", i, start, want)
		}
	}
	if got := drain(p, begin+50*1e6); len(got) != 0 {
		t.Errorf("%d requests handed out twice", len(got))
	}
	if wait := p.wait(begin + 50*1e6); wait != 1e6 {
		t.Errorf("next one due in %d ns, want 1 ms", wait)
	}
}

func TestOpenScheduleIsTheSameHoweverItIsAsked(t *testing.T) {
	const rate = 30_000.0
	often := newOpenPacer(0, rate, time.Second, 0)
	var a []int64
	for now := int64(0); now <= 1e9; now += 7_919 {
		a = append(a, drain(often, now)...)
	}
	once := newOpenPacer(0, rate, time.Second, 0)
	b := drain(once, 1e9)
	if len(a) != 30_000 || len(b) != len(a) {
		t.Fatalf("%d and %d requests, want 30000", len(a), len(b))
	}
	for i := range a {
		if a[i] != b[i] {
			t.Fatalf("request %d due at %d or %d", i, a[i], b[i])
		}
	}
	if !often.done(0) || !once.done(0) {
		t.Error("not done after the last request")
	}
}

func TestOpenScheduleDoesNotDrift(t *testing.T) {
	p := newOpenPacer(0, 70_000, time.Hour, 0) // a period of 14285.714… ns
	last := p.total - 1
	want := float64(last) / 70_000 * 1e9
	if got := float64(p.at(last)); math.Abs(got-want) > 1 {
		t.Errorf("last request of an hour is due at %.0f ns, want %.0f", got, want)
	}
}

func TestOpenScheduleCountsWhatWasNeverSent(t *testing.T) {
	p := newOpenPacer(0, 1000, 10*time.Millisecond, 0)
	drain(p, 3_500_000)
	var left []int64
	p.unsent(func(start int64) { left = append(left, start) })
	if len(left) != 6 || left[0] != 4e6 || left[5] != 9e6 {
		t.Errorf("unsent requests %v, want those due at 4 … 9 ms", left)
	}
	if !p.done(0) {
		t.Error("unsent requests are left in the schedule")
	}
}

func TestOpenScheduleByCount(t *testing.T) {
	p := newOpenPacer(0, 10, 0, 3)
	if got := drain(p, 1e18); len(got) != 3 || got[2] != 2e8 {
		t.Errorf("requests %v, want three, 100 ms apart", got)
	}
}

func TestClosedByTime(t *testing.T) {
	p := newClosedPacer(100, 50, 0)
	if start, ok := p.take(120); !ok || start != 120 {
		t.Errorf("take before the end: %d %v, want the asking time", start, ok)
	}
	if wait := p.wait(120); wait != 30 {
		t.Errorf("waits %d, want the 30 ns that are left", wait)
	}
	if _, ok := p.take(150); ok || !p.done(150) {
		t.Error("a request after the end")
	}
	p.unsent(func(int64) { t.Error("a closed loop has no unsent requests") })
}

func TestClosedByCount(t *testing.T) {
	p := newClosedPacer(0, time.Nanosecond, 3)
	for i := range int64(3) {
		if _, ok := p.take(i * 1e9); !ok {
			t.Fatalf("request %d refused", i)
		}
	}
	if _, ok := p.take(4e9); ok || !p.done(4e9) {
		t.Error("a fourth request")
	}
}
