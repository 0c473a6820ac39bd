package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"ayder/internal/testkit/proc"
)

// Nodes of two versions in one cluster. The older one is this program built with the tag previouswire: it speaks with other
// nodes as the release before the newest change of the protocol did.

// previous builds the older program.
func previous(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("AYDER_BUILD_FLAGS", strings.TrimSpace(os.Getenv("AYDER_BUILD_FLAGS")+" -tags previouswire"))
	bin, err := proc.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// speaks is the line of "ayder version" about the protocol between nodes.
func speaks(t *testing.T, bin string) string {
	t.Helper()
	out, err := exec.Command(bin, "version").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "between nodes: ") {
			return line
		}
	}
	t.Fatalf("%s version does not say what it speaks:\n%s", bin, out)
	return ""
}

// A cluster is taken to another version node by node, under load, and back again. In between, nodes of both versions lead,
// elect each other when the leader is killed, and take what the others send. Nothing is lost.
func TestUpgradeNodeByNode(t *testing.T) {
	newer, older := proc.Binary(t), previous(t) // in this order: what previous sets, Binary would use
	if a, b := speaks(t, older), speaks(t, newer); a == b {
		t.Fatalf("both are the same version: %s", a)
	}
	g := newGroup(t, 3, proc.Options{Args: []string{"--raft-priority-hold-ms", "3600000"}})
	for _, n := range g.nodes {
		n.options.Bin = older
	}
	g.start(g.nodes...)
	ks := g.keepWriting("upgrade", 4)
	roll := func(n *groupNode, bin string) {
		ks.more(20)
		mustStop(t, n.Server)
		n.options.Bin = bin
		ks.more(20)
		g.start(n)
		if strings.Contains(n.Log(), "connection between nodes refused") {
			t.Errorf("%s is refused, or refuses:\n%s", n.id, n.Log())
		}
	}
	for i, n := range g.nodes {
		roll(n, newer)
		for _, next := range g.nodes { // of both versions, but at the end
			g.lead(next)
			ks.more(10)
		}
		if i == 1 { // two of three are new
			leader := g.leader()
			mustKill(t, leader.Server)
			ks.more(20)
			g.start(leader)
		}
	}
	for _, n := range g.nodes[1:] { // and back: an upgrade may have to be given up
		roll(n, older)
		g.lead(n)
		ks.more(10)
	}
	ks.stop("upgrade")
}
