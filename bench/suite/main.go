// Command suite runs the standard set of measurements and writes a report.
//
// It is what `make bench` ends in (through bench/run.sh, which builds everything).
// For every part it starts the servers that are compared, each a real process with a
// fresh data directory, drives them with ayder-bench in interleaved rounds, takes the
// median of the rounds, and ends what it started.
//
//	parts.go    the list of parts, on one screen
//	lab.go      starting servers, running the load generator, keeping every run
//	group.go    clusters; rest.go waits until they have nothing to do
//	writers.go  a load that outlives its leaders, through patient.go; audit.go looks for what it wrote
//	summary.go  medians
//	part_*.go   what each part measures, and the tables it makes of it
//	markdown.go tables and the comparison with the targets
//	host.go     on what machine it was
//
// In bench/out (or -out) it leaves report.md to paste into BENCHMARKS.md, raw.json
// with every single run, facts.json with what was measured otherwise, percentile files with their pictures, and the servers' logs.
// A part that fails does not stop the others; the report says what failed, and the
// exit code is 1.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "suite:", err)
		os.Exit(1)
	}
}

// settings is what the command line chose.
type settings struct {
	parts    []string
	rounds   int
	duration time.Duration
	warmup   time.Duration
	pause    time.Duration
	out      string
	messages int64 // of the restart and rejoin parts

	queryMessages int64         // of the query part
	calm          time.Duration // files at rest for so long before a cluster is measured

	leaderTime     time.Duration // of the leader part
	kills          int           // of the failover part
	rejoinMessages int64         // that a follower misses
	nodeFlags      []string      // of every node of a cluster of ayder

	// Programs; an empty name leaves its part of the comparison out.
	ayder, bench, nethttp, plot, redis, nats, floor string
	live                                            string
	etcd, etcdBench, certs                          string
	floorMiB                                        int
}

// parse reads the command line.
func parse(args []string, stderr io.Writer) (settings, error) {
	var s settings
	f := flag.NewFlagSet("suite", flag.ContinueOnError)
	f.SetOutput(stderr)
	names := f.String("parts", strings.Join(partNames(), " "), "`parts` to run, separated by blanks")
	f.IntVar(&s.rounds, "rounds", 3, "interleaved rounds")
	f.DurationVar(&s.duration, "d", 5*time.Second, "of one measurement")
	f.DurationVar(&s.warmup, "warmup", time.Second, "before each measurement")
	f.DurationVar(&s.pause, "pause", 300*time.Millisecond, "after each measurement, for what the load has left to do")
	f.StringVar(&s.out, "out", "bench/out", "`directory` for the report; data lies there too while it runs")
	s.clusterFlags(f)
	nodeFlags := f.String("node-flags", "", "further `flags` of every node of ayder's clusters, separated by blanks")
	f.Int64Var(&s.messages, "messages", 8_000_000, "of the restart and rejoin parts")
	f.Int64Var(&s.queryMessages, "query-messages", 1_000_000, "of the query part; a tenth on each side of its join")
	f.StringVar(&s.ayder, "ayder", "bin/ayder", "server `program`")
	f.StringVar(&s.bench, "bench", "", "ayder-bench `program`")
	f.StringVar(&s.nethttp, "nethttp", "", "comparison `program` for pages")
	f.StringVar(&s.live, "live", "", "`program` that follows (bench/live)")
	f.StringVar(&s.plot, "plot", "", "plot `program`")
	f.StringVar(&s.redis, "redis", "", "redis-server `program`")
	f.StringVar(&s.nats, "nats", "", "nats-server `program`")
	f.StringVar(&s.floor, "floor", "", "floor `program`")
	f.IntVar(&s.floorMiB, "floor-mib", 1024, "size of the floor program's file")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	s.parts, s.nodeFlags = strings.Fields(*names), append([]string{"--backend", "uring"}, strings.Fields(*nodeFlags)...)
	return s, s.check()
}

// clusterFlags are those of the parts with clusters.
func (s *settings) clusterFlags(f *flag.FlagSet) {
	f.DurationVar(&s.calm, "calm", time.Second, "files are unchanged for so long before a cluster is measured; 0: do not wait")
	f.DurationVar(&s.leaderTime, "leader-d", time.Minute, "of the leader part")
	f.IntVar(&s.kills, "kills", 20, "of leaders in the failover part")
	f.Int64Var(&s.rejoinMessages, "rejoin-messages", 1_000_000, "that a follower misses")
	f.StringVar(&s.etcd, "etcd", "", "etcd `program`")
	f.StringVar(&s.etcdBench, "etcd-bench", "", "its load generator, a `program`")
	f.StringVar(&s.certs, "certs", "", "`program` that makes certificates (tools/certs)")
}

// check refuses what could not run.
func (s *settings) check() error {
	if s.bench == "" {
		return errors.New("-bench is missing")
	}
	if s.rounds < 1 || s.duration <= 0 || s.leaderTime <= 0 || s.kills < 1 {
		return fmt.Errorf("%d rounds of %v, %v at the leader, %d kills", s.rounds, s.duration, s.leaderTime, s.kills)
	}
	for _, name := range s.parts {
		if _, ok := findPart(name); !ok {
			return fmt.Errorf("unknown part %q: %s", name, strings.Join(partNames(), " "))
		}
	}
	return nil
}

// run is main without the process.
func run(ctx context.Context, args []string, log io.Writer) error {
	s, err := parse(args, log)
	if err != nil {
		return err
	}
	l, err := newLab(ctx, s, log)
	if err != nil {
		return err
	}
	defer l.close()
	var failed []error
	for _, name := range s.parts {
		p, _ := findPart(name)
		if err := l.runPart(p); err != nil {
			failed = append(failed, fmt.Errorf("part %s: %w", name, err))
			fmt.Fprintln(log, "suite:", failed[len(failed)-1])
		}
	}
	return errors.Join(append(failed, l.write(failed))...)
}

// write leaves the report and the raw data.
func (l *lab) write(failed []error) error {
	for file, data := range map[string]any{"raw.json": l.runs, "facts.json": l.facts} {
		raw, err := json.MarshalIndent(data, "", " ")
		if err != nil {
			return fmt.Errorf("raw data: %w", err)
		}
		if err := os.WriteFile(filepath.Join(l.out, file), raw, 0o644); err != nil {
			return err
		}
	}
	name := filepath.Join(l.out, "report.md")
	if err := os.WriteFile(name, []byte(l.report(failed)), 0o644); err != nil {
		return err
	}
	fmt.Fprintln(l.log, "wrote", name)
	return nil
}

// report is the whole text.
func (l *lab) report(failed []error) string {
	var b strings.Builder
	l.host(&b)
	for _, name := range l.parts {
		p, _ := findPart(name)
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", p.title, p.about)
		p.report(l, &b)
	}
	for _, err := range failed {
		fmt.Fprintf(&b, "\n**Failed:** %s\n", err)
	}
	return b.String()
}
