package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"ayder/internal/testkit/proc"
)

func TestMain(m *testing.M) { os.Exit(proc.Main(m)) }

func TestUsageErrors(t *testing.T) {
	for want, args := range map[string][]string{
		`unknown fault "flood"`:   {"-faults", "flood"},
		"not defined: -bogus":     {"-bogus"},
		"nodes are from 3":        {"-nodes", "2"},
		"unexpected argument":     {"now"},
		"duration is more":        {"-duration", "0s"},
		`invalid value "several"`: {"-clients", "several"},
		"at least one client":     {"-clients", "0"},
		"rate is from":            {"-clients", "20", "-rate", "10"},
	} {
		var out, errs bytes.Buffer
		if code := run(args, &out, &errs); code != 2 || !strings.Contains(errs.String(), want) {
			t.Errorf("%v: exit status %d and %q, want 2 and something with %q", args, code, errs.String(), want)
		}
	}
	var out, errs bytes.Buffer
	if code := run([]string{"-h"}, &out, &errs); code != 0 {
		t.Errorf("-h: exit status %d", code)
	}
}

// Servers that end at once are a failure, not a hang and not a success.
func TestAProgramThatEndsFails(t *testing.T) {
	var out, errs bytes.Buffer
	code := run([]string{"-bin", "/bin/false", "-dir", t.TempDir(), "-netns=false", "-faults", "none"}, &out, &errs)
	if code != 1 || !strings.Contains(out.String(), "ended") {
		t.Errorf("exit status %d:\n%s%s", code, out.String(), errs.String())
	}
}

// faultsHere are the arguments for where nodes can live on this machine.
func faultsHere(t *testing.T) (args []string, cut bool) {
	t.Helper()
	n, err := newNamespaces(1)
	if err != nil {
		t.Log("without network faults: ", err)
		return []string{"-netns=false"}, false
	}
	if err := n.close(); err != nil {
		t.Error(err)
	}
	return nil, true
}

// histories runs a cluster for a while and shows what was printed.
func histories(t *testing.T, bin string, args ...string) (output string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	args = append(args, "-bin", bin, "-dir", t.TempDir())
	code = run(args, &out, &errs)
	t.Logf("histcheck %s\n%s%s", strings.Join(args, " "), out.String(), errs.String())
	return out.String(), code
}

func TestThreeNodes(t *testing.T) {
	args, _ := faultsHere(t)
	if _, code := histories(t, proc.Binary(t), append(args, "-duration", "12s")...); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

func TestFiveNodesWithoutNamespaces(t *testing.T) {
	if testing.Short() {
		t.Skip("five nodes")
	}
	if _, code := histories(t, proc.Binary(t), "-nodes", "5", "-netns=false", "-duration", "6s", "-faults", "kill,pause,restart,kill-all"); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

// A server that acknowledges before the commit is found out, by the messages that it loses and by its histories. What
// meets what is up to the machine, so there are several tries.
func TestAcknowledgingEarlyIsCaught(t *testing.T) {
	args, cut := faultsHere(t)
	if !cut {
		t.Skip("a leader must be cut off for this")
	}
	bin := faulty(t, "ackearly")
	for _, seed := range []string{"1", "4", "5", "7", "8"} {
		output, code := histories(t, bin, append(args, "-duration", "10s", "-faults", "split", "-seed", seed)...)
		if code != 0 && strings.Contains(output, "LOST") && strings.Contains(output, "NOT linearizable") {
			return
		}
	}
	t.Error("it was not caught")
}

// faulty builds the server with a deliberate fault in it.
func faulty(t *testing.T, tag string) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("AYDER_BUILD_FLAGS", strings.TrimSpace(os.Getenv("AYDER_BUILD_FLAGS")+" -tags "+tag))
	bin, err := proc.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// patient are settings of one node whose lease is longer than the other nodes' patience.
const patient = "--raft-heartbeat-ms 4000 --raft-election-ms 4000 --raft-lease-ms 4000"

// A lease that does not mind the other nodes' patience lets a leader that is cut off serve stale reads. Nothing is lost by
// that, so nothing but the search can find it.
func TestStaleReadsAreCaught(t *testing.T) {
	args, cut := faultsHere(t)
	if !cut {
		t.Skip("a leader must be cut off for this")
	}
	if testing.Short() {
		t.Skip("one of the two controls is enough")
	}
	bin := faulty(t, "leaseblind")
	for _, seed := range []string{"1", "4", "5", "7", "8"} {
		output, code := histories(t, bin, append(args, "-duration", "10s", "-faults", "split", "-seed", seed, "-first-args", patient)...)
		if strings.Contains(output, "LOST") {
			t.Error("messages were lost")
		}
		if code != 0 && strings.Contains(output, "NOT linearizable") {
			return
		}
	}
	t.Error("they were not caught")
}

// The same settings do no harm as the server is: a lease counts on the others for no longer than they wait.
func TestUnequalTimesAreHarmless(t *testing.T) {
	args, cut := faultsHere(t)
	if !cut {
		t.Skip("a leader must be cut off for this")
	}
	if testing.Short() {
		t.Skip("the long form")
	}
	for _, seed := range []string{"1", "4"} {
		if _, code := histories(t, proc.Binary(t), append(args, "-duration", "10s", "-faults", "split", "-seed", seed, "-first-args", patient)...); code != 0 {
			t.Errorf("seed %s: exit status %d", seed, code)
		}
	}
}
