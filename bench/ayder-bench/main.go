// Command ayder-bench is the load generator: it drives ayder, or one of the peers it
// is compared with, from a single thread, and reports throughput, latency
// percentiles and what both sides paid for them.
//
// A run is: set up (topic or stream, optional prefill), warm up, measure. Warming
// up is a phase of its own, ended by waiting for all answers, so that the measured
// phase begins with clean counters on both sides: /admin/timing is reset between
// the two, and the processor times of client and server are read around the second
// only.
//
// Several addresses are a cluster; the load goes to its leader (cluster.go).
//
// The parts: pacer.go decides when requests begin, dialect.go and its three
// implementations what they look like, loop_linux.go drives them over io_uring or
// epoll, recorder.go counts, report.go prints. -target disk measures no server but one synced write
// (disk_linux.go), the yardstick for all of them.
//
// Exit code 0: every request was answered as expected. 1: some were not. 2: the run
// could not take place.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"ayder/bench/proc"
	"ayder/bench/result"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is main without the process.
func run(args []string, stdout, stderr io.Writer) int {
	c, err := parseConfig(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "ayder-bench:", err)
		return 2
	}
	m, err := measure(c)
	if err == nil {
		err = m.write(c, stdout, stderr)
	}
	if err != nil {
		fmt.Fprintln(stderr, "ayder-bench:", err)
		return 2
	}
	if m.result.ErrorCount() > 0 && !c.allowErrors {
		return 1
	}
	return 0
}

// measurement is a result with the histogram behind it.
type measurement struct {
	result *result.Result
	total  opRecorder
}

// measure does the whole run.
func measure(c *config) (*measurement, error) {
	if c.target == "disk" {
		return measureDisk(c)
	}
	d, err := approach(c)
	if err != nil {
		return nil, err
	}
	if err := prefill(c); err != nil {
		return nil, err
	}
	l, err := newLoop(c, d)
	if err != nil {
		return nil, err
	}
	defer l.close()
	if c.warmup > 0 {
		if err := l.run(newClosedOrOpen(c, l.clock(), true), newRecorder(names(d), false)); err != nil {
			return nil, fmt.Errorf("warming up: %w", err)
		}
	}
	return measured(c, l, d)
}

// approach finds the server, and makes what the load is sent to.
func approach(c *config) (dialect, error) {
	if len(c.nodes) > 1 {
		return await(func() (dialect, error) { return approachOnce(c) }) // who led a moment ago need not lead now
	}
	return approachOnce(c)
}

func approachOnce(c *config) (dialect, error) {
	if err := c.pin(); err != nil {
		return nil, err
	}
	d, err := c.dialect()
	if err != nil {
		return nil, err
	}
	return d, setUp(c, d)
}

// measured is the phase that counts.
func measured(c *config, l *loop, d dialect) (*measurement, error) {
	if err := resetStages(c); err != nil {
		return nil, err
	}
	r := newRecorder(names(d), c.rate > 0)
	cpu, err := proc.Begin(c.pids()...)
	if err != nil {
		return nil, err
	}
	begin := l.clock()
	if err := l.run(newClosedOrOpen(c, begin, false), r); err != nil && !errors.Is(err, errUnanswered) {
		return nil, err
	}
	m := &measurement{total: r.all(), result: &result.Result{
		Engine: l.engine(), Target: c.target, Workload: c.workload, Connections: c.connections, Pipeline: c.pipeline, RatePerS: c.rate,
	}}
	r.fill(m.result, begin)
	if err := cpu.End(m.result); err != nil {
		return nil, err
	}
	if m.result.Stages, err = fetchStages(c); err != nil || len(c.nodes) == 1 {
		return m, err
	}
	m.result.Leader = c.addr
	m.result.LeaderMoved, err = c.moved()
	return m, err
}

// newClosedOrOpen is the pacer of a phase. Warming up lasts for its own time, at
// the same rate.
func newClosedOrOpen(c *config, begin int64, warmup bool) pacer {
	duration, requests := c.duration, c.requests
	if warmup {
		duration, requests = c.warmup, 0
	}
	if c.rate > 0 {
		return newOpenPacer(begin, c.rate, duration, requests)
	}
	return newClosedPacer(begin, duration, requests)
}

func names(d dialect) []string {
	var list []string
	for _, op := range d.operations() {
		list = append(list, op.name)
	}
	return list
}
