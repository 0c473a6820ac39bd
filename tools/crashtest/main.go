// Command crashtest kills a server under load, again and again, and proves that it kept its word.
//
//	crashtest -rounds 20 -conns 16 -mode kill9|idempotent|fs [-backend uring|evio] [-seed N]
//
// In every round, connections produce unique messages, single ones and NDJSON batches, into several
// partitions, until at a random moment the blow falls:
//
//	kill9       SIGKILL to the server
//	idempotent  the same, but every request has an idempotency key, and what was not answered is
//	            sent again with the same key after the restart, until it is
//	fs          the file system is shut down under the server (root, ext4 on a loop device), then
//	            mounted again: what a power loss leaves behind
//
// After the restart the whole log is read through the consume call and compared with what was sent
// and what was answered (audit.go). One acknowledged message that is missing, moved or altered, one
// gap, one duplicate, one batch in pieces: exit status 1. The seed is printed first; the same seed
// sends the same requests, though where the blow falls among them is up to the machine.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
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
		fmt.Fprintln(stderr, "crashtest:", err)
		return 2
	}
	if err := crash(o, stdout); err != nil {
		fmt.Fprintln(stdout, "FAILED:", err)
		return 1
	}
	fmt.Fprintln(stdout, "PASSED: every acknowledged message was at its offset with its bytes; no gap, no duplicate, no torn batch")
	return 0
}

// options are one run's.
type options struct {
	rounds  int
	conns   int
	seed    uint64
	mode    string
	backend string
	bin     string
	dir     string // for the data and, in mode fs, the disk's file
	args    []string
	loadMax time.Duration // longest time between the first produce and the blow
}

const (
	modeKill       = "kill9"
	modeIdempotent = "idempotent"
	modeFS         = "fs"
)

// serverArgs make the log roll often and keep little of it in memory, so that recovery and reading
// see many segments.
const serverArgs = "--segment-bytes 8MiB --body-bytes 1MiB --tail-bytes 8MiB"

func parse(args []string, stderr io.Writer) (o options, err error) {
	f := flag.NewFlagSet("crashtest", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&o.rounds, "rounds", 20, "how often the blow falls")
	f.IntVar(&o.conns, "conns", 16, "connections that produce at the same time")
	f.Uint64Var(&o.seed, "seed", 0, "of everything that is random; 0: a new one")
	f.StringVar(&o.mode, "mode", modeKill, "kill9, idempotent or fs")
	f.StringVar(&o.backend, "backend", "", "uring or evio; without one, what the server chooses")
	f.StringVar(&o.bin, "bin", "", "the server's program; without one it is built")
	f.StringVar(&o.dir, "dir", "", "directory to work in, which is left behind; without one a temporary one")
	f.DurationVar(&o.loadMax, "load", 1500*time.Millisecond, "longest time that a round produces")
	words := f.String("args", serverArgs, "further flags of the server")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.args = strings.Fields(*words)
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
	return o, o.check(f.Args())
}

func (o *options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case o.mode != modeKill && o.mode != modeIdempotent && o.mode != modeFS:
		return fmt.Errorf("unknown mode %q: want kill9, idempotent or fs", o.mode)
	case o.rounds < 1 || o.conns < 1 || o.conns > nameFieldMax || o.rounds > nameFieldMax:
		return fmt.Errorf("rounds and conns are from 1 to %d", nameFieldMax)
	case o.loadMax < loadMin:
		return fmt.Errorf("load is at least %v", loadMin)
	}
	return nil
}

// crash prepares program and directory, runs the rounds and cleans up. What a failed run wrote is
// kept: it is the evidence.
func crash(o options, out io.Writer) (err error) {
	work := o.dir
	if work == "" {
		if work, err = os.MkdirTemp("", "crashtest-"); err != nil {
			return err
		}
		defer func() {
			if err == nil {
				err = os.RemoveAll(work)
			} else {
				fmt.Fprintln(out, "the data is left in", work)
			}
		}()
	}
	if o.bin == "" {
		if o.bin, err = proc.Build(work); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "crashtest: mode %s, %d rounds, %d connections, seed %d\n", o.mode, o.rounds, o.conns, o.seed)
	b, err := newBlow(&o, work)
	if err != nil {
		return err
	}
	t := newTrial(o, b, out)
	return errors.Join(t.run(), t.kill(), b.close())
}
