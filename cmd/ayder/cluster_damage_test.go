package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ayder/internal/testkit/proc"
)

// A disk that gives back other bytes than it was given, on a node of a cluster. The node puts the damaged part aside, gets
// it again from the others, byte for byte, and is not ready before that. Damage in what a checkpoint covers is not seen
// by a start: the node finds it while it runs, and starts over by itself.

const (
	damagedSlabs = 100     // messages
	damagedBytes = 120_000 // each: three segments are full
)

// putForRot appends large messages.
func (g *group) putForRot(topic string, from, count int) (all [][]byte) {
	g.t.Helper()
	for i := range count {
		body := counted(from+i, damagedBytes)
		if a := g.put(topic, 0, body); a.Offset != uint64(from+i) {
			g.t.Fatalf("message %d is at offset %d", from+i, a.Offset)
		}
		all = append(all, body)
	}
	return all
}

// rot changes some bytes of a node's n-th segment.
func (g *group) rot(node *groupNode, n int) {
	g.t.Helper()
	paths, err := filepath.Glob(filepath.Join(node.options.Dir, "0*.aof"))
	if err != nil || len(paths) < 3 {
		g.t.Fatal(paths, err)
	}
	slices.Sort(paths)
	f, err := os.OpenFile(paths[n], os.O_RDWR, 0)
	if err != nil {
		g.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("these are not the bytes that were written"), 1<<20+100); err != nil {
		g.t.Fatal(err)
	}
}

// mustHeal waits until a node is ready and whole, and has what it could not read.
func (g *group) mustHeal(n *groupNode) {
	g.t.Helper()
	g.eventually(n.id+" puts the damage aside", func() bool {
		kept, _ := filepath.Glob(filepath.Join(n.options.Dir, "quarantine", "*.aof"))
		return len(kept) > 0
	})
	g.eventually(n.id+" is whole", func() bool {
		r, err := n.get("/metrics_ha")
		return err == nil && strings.Contains(string(r.Body), "\nramforge_ha_lost_index 0\n") && strings.Contains(string(r.Body), "\nramforge_ha_caught_up 1\n")
	})
	g.waitReady(n)
	if r, err := n.get("/metrics"); err != nil || !strings.Contains(string(r.Body), "ayder_log_quarantine_bytes ") || strings.Contains(string(r.Body), "ayder_log_quarantine_bytes 0\n") {
		g.t.Errorf("%s does not say how much it has put aside: %v", n.id, err)
	}
	if !strings.Contains(n.Log(), "the damaged log is whole again") {
		g.t.Errorf("%s does not say that it is whole", n.id)
	}
}

func TestADamagedFollowerHealsWhileTheClusterGoesOn(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"stopped", "killed"} {
		t.Run(how, func(t *testing.T) {
			g := runGroup(t, 3, proc.Options{})
			want := g.putForRot("slabs", 0, damagedSlabs)
			g.mustAllHold("slabs", 0, want)
			n := g.follower()
			if how == "killed" {
				mustKill(t, n.Server)
			} else if code, err := n.Terminate(proc.HangGuard); err != nil || code != 0 {
				t.Fatal(code, err)
			}
			want = append(want, g.putForRot("slabs", len(want), 5)...)
			g.rot(n, 1)
			if out, code := ayder(t, nil, "check", n.options.Dir); code != 3 || !strings.Contains(out, "damage:") {
				t.Errorf("check: exit status %d: %s", code, out)
			}
			mustRepair(t, 1, "must not give up by itself what it confirmed", n.options.Dir, "--cut", "--yes")
			if _, err := os.Stat(filepath.Join(n.options.Dir, "quarantine")); err == nil {
				t.Error("what was refused has put something aside")
			}
			g.launch(n)
			g.mustHeal(n)
			g.mustAllHold("slabs", 0, want)
			want = append(want, g.putForRot("slabs", len(want), 3)...)
			g.mustAllHold("slabs", 0, want)
			if code, err := n.Terminate(proc.HangGuard); err != nil || code != 0 {
				t.Fatal(code, err)
			}
			if out, code := ayder(t, nil, "check", n.options.Dir); code != 0 {
				t.Errorf("check afterwards: exit status %d: %s", code, out)
			}
		})
	}
}

// All restart, and one or two of them are damaged.
func TestDamagedNodesAmongRestartingOnes(t *testing.T) {
	t.Parallel()
	for _, damaged := range []int{1, 2} {
		t.Run([]string{"", "one", "two"}[damaged], func(t *testing.T) {
			g := runGroup(t, 3, proc.Options{})
			want := g.putForRot("slabs", 0, damagedSlabs)
			g.mustAllHold("slabs", 0, want)
			for _, n := range g.nodes {
				mustKill(t, n.Server)
			}
			for i, n := range g.nodes[:damaged] {
				g.rot(n, i)
			}
			for _, n := range g.nodes {
				g.launch(n)
			}
			for _, n := range g.nodes[:damaged] {
				g.mustHeal(n)
			}
			g.mustAllHold("slabs", 0, want)
			want = append(want, g.putForRot("slabs", len(want), 3)...)
			g.mustAllHold("slabs", 0, want)
		})
	}
}

// Two are damaged and the third lacks what they had confirmed: nobody leads, and each says why.
func TestAClusterThatLostWhatItConfirmedSaysSo(t *testing.T) {
	t.Parallel()
	g := runGroup(t, 3, proc.Options{Args: []string{"--raft-priority-hold-ms", "3600000"}})
	want := g.putForRot("slabs", 0, damagedSlabs)
	g.mustAllHold("slabs", 0, want)
	late := g.follower()
	mustKill(t, late.Server)
	g.putForRot("slabs", len(want), 3)
	for i, n := range g.others(late) {
		mustKill(t, n.Server)
		g.rot(n, i)
	}
	for _, n := range g.nodes {
		g.launch(n)
	}
	for _, n := range g.others(late) {
		g.eventually(n.id+" says what it waits for", func() bool {
			r, err := n.get("/ready")
			return err == nil && r.Status == 503 && strings.Contains(string(r.Body), "were damaged") && strings.Contains(string(r.Body), "no leader is known")
		})
	}
	r, err := follow(late.http, "POST", "/broker/topics/slabs/produce?partition=0", []byte("x"))
	if err != nil || r.Status != 503 || r.ErrorCode() != "no_leader" {
		t.Errorf("a write: %s, %v", &r, err)
	}
}
