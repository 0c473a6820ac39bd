package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRealCluster runs the parts that need the product itself: queries, and a cluster which really loses nodes, in their shortest form, on the product
// and its load generator as they are built here. What they measure is not looked at.
func TestRealCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts the product")
	}
	bin := t.TempDir()
	if text, err := exec.Command("go", "build", "-o", bin+"/", "../ayder-bench", "../plot", "../../cmd/ayder").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, text)
	}
	l := testLab(t, settings{
		ayder: filepath.Join(bin, "ayder"), bench: filepath.Join(bin, "ayder-bench"), plot: filepath.Join(bin, "plot"), nodeFlags: []string{"--segment-bytes", "4MiB", "--body-bytes", "1MiB"},
		rounds: 1, duration: time.Second, leaderTime: 300 * time.Millisecond, kills: 1, rejoinMessages: 2000, messages: 5000,
		parts: []string{"query", "leader", "failover", "rejoin"}, queryMessages: 20_000,
	})
	for _, name := range l.parts {
		p, _ := findPart(name)
		if err := l.runPart(p); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	text := l.report(nil)
	for _, want := range []string{
		"| filter and aggregate |", "| closed loop, beside queries |", "## A leader at a fixed rate", "| commit |", "leader-5000.svg", "| 1 kills |", "missing on any node | ≤ 0 | 0 | met |",
		"missed 2000 messages", "| messages still there | ≥ 5000 | 5000 | met |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
