package main

import (
	"math"
	"time"
)

// A pacer says when requests begin. The loop asks it whenever a connection could
// carry one more.
//
// The open loop is the reason for the seam. Its schedule is a function of the
// request's number alone: request i is due at begin + i/rate, whatever happened to
// the requests before it. A server that stalls for 100 ms therefore finds 100 ms
// worth of requests due, each measured from its own due time, and the stall is
// seen by all of them. A client that waits for answers before it sends (a closed
// loop, or a rate limiter fed by completions) sends nothing during the stall and
// reports one slow request: "coordinated omission" (Gil Tene).
//
// Nothing is queued for that: a backlog is just a schedule that is behind, so its
// length costs no memory.
type pacer interface {
	// take hands out one request if one is due at now, and the time its
	// latency is counted from.
	take(now int64) (start int64, ok bool)
	// wait is how long until take may say yes, or until the phase is over;
	// 0 or less if now.
	wait(now int64) int64
	// done reports that take will never say yes again.
	done(now int64) bool
	// end is when the last request is due; never if only their number is set.
	end() int64
	// unsent returns the due times of requests which were scheduled and never
	// taken: they count, as unanswered.
	unsent(yield func(start int64))
}

// never is a time that does not come; half the range, so that sums with it do not
// overflow.
const never = math.MaxInt64 / 2

// closedPacer lets every connection send as soon as it may, until a moment or a
// number of requests is reached.
type closedPacer struct {
	stop int64 // ns
	left int64 // requests still to hand out
}

// newClosedPacer runs for duration, or for exactly requests if that is positive.
func newClosedPacer(begin int64, duration time.Duration, requests int64) *closedPacer {
	if requests > 0 {
		return &closedPacer{stop: never, left: requests}
	}
	return &closedPacer{stop: begin + int64(duration), left: math.MaxInt64}
}

func (p *closedPacer) take(now int64) (int64, bool) {
	if p.done(now) {
		return 0, false
	}
	p.left--
	return now, true
}

func (p *closedPacer) wait(now int64) int64 { return p.stop - now }
func (p *closedPacer) done(now int64) bool  { return now >= p.stop || p.left <= 0 }
func (p *closedPacer) end() int64           { return p.stop }
func (p *closedPacer) unsent(func(int64))   {}

// openPacer hands out requests by the clock.
//
// Invariant: request next was not handed out, every earlier one was.
type openPacer struct {
	begin  int64   // ns
	period float64 // ns between two requests; a float, so that no error adds up
	next   int64
	total  int64
}

// newOpenPacer schedules rate × duration requests, or exactly requests if that
// is positive.
func newOpenPacer(begin int64, rate float64, duration time.Duration, requests int64) *openPacer {
	total := int64(rate * duration.Seconds())
	if requests > 0 {
		total = requests
	}
	return &openPacer{begin: begin, period: 1e9 / rate, total: max(total, 1)}
}

// at is the due time of request i.
func (p *openPacer) at(i int64) int64 { return p.begin + int64(float64(i)*p.period) }

func (p *openPacer) take(now int64) (int64, bool) {
	if p.next >= p.total {
		return 0, false
	}
	due := p.at(p.next)
	if due > now {
		return 0, false
	}
	p.next++
	return due, true
}

func (p *openPacer) wait(now int64) int64 { return p.at(p.next) - now }
func (p *openPacer) done(int64) bool      { return p.next >= p.total }
func (p *openPacer) end() int64           { return p.at(p.total - 1) }

func (p *openPacer) unsent(yield func(int64)) {
	for ; p.next < p.total; p.next++ {
		yield(p.at(p.next))
	}
}
