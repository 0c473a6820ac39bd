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
