// Command histcheck runs a cluster of real nodes under load while faults befall it, records what every client asked
// and was told, and proves from this history, with a search (porcupine), that the cluster behaved like a single
// log that never forgets:
//
//	histcheck -nodes 3 -duration 60s [-seed N] [-faults all] [-backend uring|evio]
//
// Every node is a process in a network namespace of its own (root, Linux; -netns=false does without, and without
// network faults). The faults are SIGKILL, SIGSTOP, SIGTERM and slow disks, partitions in both directions and in
// one; plan.go lists them. Clients append messages, with idempotency keys, with expected_offset (compare and set) and
// without, read the leader and the followers, and commit a group's offsets, through all nodes, following
// redirects by themselves. Others put, compare and set, delete and read keys, some of which expire, and watchers follow
// the keys' changes from node to node.
//
// It fails if a history is not linearizable, and then leaves a picture of it; if an acknowledged message is not on
// every node, at its offset, with its bytes; if one occurs twice; if a follower ever showed what is not in the log;
// if a node ended by itself or would not end; if ayder check finds fault with a directory. The seed is printed
// first: the same seed makes the same plan of faults and the same load, though what meets what is up to the
// machine.
//
// Two runs must fail, or the tool is worth nothing: a server built with -tags ackearly, which acknowledges before the
// commit, and one built with -tags leaseblind, a node of which is told to count on a leader's lease for longer than the
// others keep it, which serves stale reads and loses nothing:
//
//	histcheck -faults split -build-flags "-tags ackearly"
//	histcheck -faults split -build-flags "-tags leaseblind" -first-args "--raft-heartbeat-ms 4000 --raft-election-ms 4000 --raft-lease-ms 4000"
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ayder/internal/testkit/proc"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is the program: 0 kept its word, 1 did not (or could not be tested), 2 wrong usage.
func run(args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "histcheck:", err)
		return 2
	}
	if err := check(o, stdout); err != nil {
		fmt.Fprintln(stdout, "FAILED:", err)
		return 1
	}
	fmt.Fprintln(stdout, "PASSED: every history is linearizable; every acknowledged message is on every node, at its offset, with its bytes, once")
	return 0
}

// options are one run's.
type options struct {
	nodes     int
	clients   int
	kvClients int
	watchers  int
	rate      int // operations a second, of all clients
	duration  time.Duration
	seed      uint64
	faults    map[faultKind]bool
	netns     bool
	backend   string
	bin       string
	build     string
	dir       string
	args      []string
	// firstArgs are for the first node alone.
	firstArgs []string
}

// serverArgs make the log roll often and keep little of it in memory.
const serverArgs = "--segment-bytes 4MiB --body-bytes 1MiB --tail-bytes 8MiB --raft-priority-hold-ms 3000"

func parse(args []string, stderr io.Writer) (o options, err error) {
	f := flag.NewFlagSet("histcheck", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&o.nodes, "nodes", 3, "nodes of the cluster")
	f.IntVar(&o.clients, "clients", 12, "clients, each of which does one thing at a time")
	f.IntVar(&o.kvClients, "kv-clients", 4, "further clients, of keys and values, each as fast as the others")
	f.IntVar(&o.watchers, "watchers", 3, "watchers of the keys' changes")
	f.IntVar(&o.rate, "rate", 500, "operations a second that all clients together aim at")
	f.DurationVar(&o.duration, "duration", time.Minute, "how long faults are made")
	f.Uint64Var(&o.seed, "seed", 0, "of the plan and the load; 0: a new one")
	wanted := f.String("faults", "all", "all, none or a list of kill kill-all pause restart slow transfer split mute deaf one-way bridge")
	f.BoolVar(&o.netns, "netns", true, "nodes in network namespaces; false: on loopback, without network faults")
	f.StringVar(&o.backend, "backend", "", "uring or evio; without one, what the server chooses")
	f.StringVar(&o.bin, "bin", "", "the server's program; without one it is built")
	f.StringVar(&o.build, "build-flags", "", "flags for building it")
	f.StringVar(&o.dir, "dir", "", "directory to work in, which is left behind; without one a temporary one")
	words := f.String("args", serverArgs, "further flags of the servers")
	first := f.String("first-args", "", "further flags of the first of them")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.args, o.firstArgs = strings.Fields(*words), strings.Fields(*first)
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
	if o.faults, err = parseFaults(*wanted); err != nil {
		return o, err
	}
	return o, o.check(f.Args())
}

func (o *options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case o.nodes < 3 || o.nodes > nodesMax:
		return fmt.Errorf("nodes are from 3 to %d", nodesMax)
	case o.kvClients < 0 || o.watchers < 0:
		return errors.New("there are no fewer clients than none")
	case o.clients < 1 || o.rate < o.clients || o.rate > rateMax:
		return fmt.Errorf("there is at least one client, and rate is from one a second for each to %d", rateMax)
	case o.duration <= 0:
		return errors.New("duration is more than nothing")
	}
	return nil
}

// check prepares directory and program, runs, and cleans up. What a failed run wrote is kept: it is the evidence.
func check(o options, out io.Writer) (err error) {
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "histcheck-"); err != nil {
			return err
		}
		defer func() {
			if err == nil {
				err = os.RemoveAll(o.dir)
			} else {
				fmt.Fprintln(out, "logs, data and pictures are left in", o.dir)
			}
		}()
	}
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return err
	}
	if o.bin == "" {
		if o.bin, err = build(o.dir, o.build); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "histcheck: seed %d, %d nodes, %d clients, %d operations a second, %v\n", o.seed, o.nodes, o.clients, o.rate, o.duration)
	r, err := newTrial(o, out)
	if err != nil {
		return err
	}
	return errors.Join(r.run(), r.close())
}

// build compiles the server with flags of its own.
func build(dir, flags string) (string, error) {
	if flags != "" {
		if err := os.Setenv("AYDER_BUILD_FLAGS", flags); err != nil {
			return "", err
		}
	}
	return proc.Build(dir)
}
