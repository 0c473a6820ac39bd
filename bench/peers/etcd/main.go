// Command etcd-bench is the load generator for etcd: so many clients, each with one put outstanding over a connection
// of its own, all at the leader, as ayder-bench does it to the other servers.
//
//	etcd-bench -addr 127.0.0.1:2379,127.0.0.1:3379,127.0.0.1:4379 -pid 11,12,13 -c 64 -d 5s
//
// It is etcd's own Go client, because gRPC is not a protocol to be spoken in passing. That costs more than
// ayder-bench does, in its own processor time, which is printed, and where client and server share the processor therefore in the
// server's rate. Keys are eight bytes and in sequence, as in etcd's own published measurements; values are what -size says.
//
//	main.go   the command line, and the order of things
//	load.go   the closed loop
//	leader.go who leads
//
// The result on standard output is the JSON that ayder-bench prints (bench/result). Exit code 0: there is a result,
// whatever failed in it. 2: the run could not take place.
//
// The program is a module of its own, and so is the etcd server that the same go.mod names as a tool: a hundred modules
// that the product does not need.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"ayder/bench/proc"
	"ayder/bench/result"
)

func main() {
	err := run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "etcd-bench:", err)
		os.Exit(2)
	}
}

// config is the command line.
type config struct {
	addrs            []string
	pids             []int // one for each address, or none
	connections      int
	size             int // bytes of a value
	duration, warmup time.Duration
}

// Limits of the command line.
const (
	connectionsMax = 10_000
	valueBytesMax  = 1 << 20 // of etcd's own 1.5 MiB for a request
)

// parse reads the command line.
func parse(args []string, stderr io.Writer) (config, error) {
	var c config
	f := flag.NewFlagSet("etcd-bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	addrs := f.String("addr", "127.0.0.1:2379", "`host:port` of each member, separated by commas")
	pids := f.String("pid", "", "`process` of each member, for its CPU time and memory")
	f.IntVar(&c.connections, "c", 64, "clients, each with a connection")
	f.IntVar(&c.size, "size", 64, "`bytes` of a value")
	f.DurationVar(&c.duration, "d", 10*time.Second, "how long to measure")
	f.DurationVar(&c.warmup, "warmup", time.Second, "the same load before, unmeasured")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	c.addrs = strings.Split(*addrs, ",")
	for text := range strings.SplitSeq(*pids, ",") {
		pid, err := strconv.Atoi(text)
		if *pids != "" && err != nil {
			return c, fmt.Errorf("-pid %s: %w", *pids, err)
		}
		if *pids != "" {
			c.pids = append(c.pids, pid)
		}
	}
	return c, c.check()
}

// check refuses what could not run.
func (c *config) check() error {
	switch {
	case len(c.pids) > 0 && len(c.pids) != len(c.addrs):
		return fmt.Errorf("-pid: %d processes for %d addresses", len(c.pids), len(c.addrs))
	case c.connections < 1 || c.connections > connectionsMax:
		return fmt.Errorf("-c %d: want 1 … %d", c.connections, connectionsMax)
	case c.size < 0 || c.size > valueBytesMax:
		return fmt.Errorf("-size %d: want 0 … %d", c.size, valueBytesMax)
	case c.duration <= 0:
		return errors.New("-d: want a positive duration")
	}
	return nil
}

// leaderFirst lists the processes in the order of a result.
func (c *config) leaderFirst(leader int) []int {
	if len(c.pids) == 0 {
		return nil
	}
	list := []int{c.pids[leader]}
	for i, pid := range c.pids {
		if i != leader {
			list = append(list, pid)
		}
	}
	return list
}

// run is main without the process.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c, err := parse(args, stderr)
	if err != nil {
		return err
	}
	leader, err := awaitLeader(ctx, c.addrs)
	if err != nil {
		return err
	}
	l, err := connect(c, c.addrs[leader])
	if err != nil {
		return err
	}
	defer l.close()
	if c.warmup > 0 {
		l.phase(ctx, c.warmup)
	}
	cpu, err := proc.Begin(c.leaderFirst(leader)...)
	if err != nil {
		return err
	}
	r := l.phase(ctx, c.duration).result(&c)
	if err := cpu.End(r); err != nil {
		return err
	}
	if err := noteLeader(ctx, r, c.addrs, leader); err != nil {
		return err
	}
	e := json.NewEncoder(stdout)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// noteLeader asks once more who leads.
func noteLeader(ctx context.Context, r *result.Result, addrs []string, before int) error {
	after, err := awaitLeader(ctx, addrs)
	r.Leader, r.LeaderMoved = addrs[before], after != before
	return err
}
