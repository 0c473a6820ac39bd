package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"ayder/internal/testkit/proc"
)

func TestMain(m *testing.M) { os.Exit(proc.Main(m)) }

func TestUsageErrors(t *testing.T) {
	for want, args := range map[string][]string{
		`unknown mode "power"`:    {"-mode", "power"},
		"not defined: -bogus":     {"-bogus"},
		"rounds and conns":        {"-rounds", "0"},
		"unexpected argument":     {"now"},
		"load is at least":        {"-load", "1ms"},
		`invalid value "several"`: {"-conns", "several"},
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

// A program that never becomes ready is a failure, not a hang and not a success.
func TestAServerThatEndsFailsTheTrial(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run([]string{"-bin", "/bin/false", "-dir", t.TempDir()}, &out, &errs); code != 1 {
		t.Errorf("exit status %d:\n%s%s", code, out.String(), errs.String())
	}
}

// crashes runs a short trial and shows what it printed.
func crashes(t *testing.T, args ...string) {
	t.Helper()
	var out, errs bytes.Buffer
	args = append(args, "-bin", proc.Binary(t), "-dir", t.TempDir(), "-load", (600 * time.Millisecond).String())
	code := run(args, &out, &errs)
	t.Logf("crashtest %s\n%s%s", strings.Join(args, " "), out.String(), errs.String())
	if code != 0 {
		t.Errorf("exit status %d", code)
	}
}

func TestKill9(t *testing.T) {
	for _, backend := range proc.Backends(t) {
		t.Run(backend, func(t *testing.T) { crashes(t, "-mode", modeKill, "-rounds", "3", "-backend", backend) })
	}
}

func TestKill9WithSeveralLoops(t *testing.T) {
	crashes(t, "-mode", modeIdempotent, "-rounds", "2", "-args", serverArgs+" --loops 3")
}

func TestIdempotentRetries(t *testing.T) {
	for _, backend := range proc.Backends(t) {
		t.Run(backend, func(t *testing.T) { crashes(t, "-mode", modeIdempotent, "-rounds", "2", "-backend", backend) })
	}
}

func TestFileSystemShutdown(t *testing.T) {
	if err := proc.DiskTools("xfs_io"); err != nil {
		t.Skip("no file system to shut down here: ", err)
	}
	for _, backend := range proc.Backends(t) {
		t.Run(backend, func(t *testing.T) { crashes(t, "-mode", modeFS, "-rounds", "2", "-backend", backend) })
	}
}
