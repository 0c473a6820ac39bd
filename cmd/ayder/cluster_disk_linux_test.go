package main

import (
	"os"
	"path/filepath"
	"testing"

	"ayder/internal/testkit/proc"
)

// A node whose disk runs full. A follower that cannot take more keeps nobody else from writing, and catches up when
// there is room. A leader that cannot either gives its place to a node that can, or says 507; it never answers what it
// cannot keep.

const (
	slabBytes   = 800_000  // a message: few of them fill a disk
	weightBytes = 44 << 20 // takes most of the room that a small disk has
)

// putWeight takes room that removing the file gives back.
func putWeight(t *testing.T, d *proc.Disk) (path string) {
	t.Helper()
	path = filepath.Join(d.Mount, "weight")
	if err := os.WriteFile(path, make([]byte, weightBytes), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// memoryDisk mounts a file system in memory, or skips.
func memoryDisk(t *testing.T, bytes int64) *proc.Disk {
	t.Helper()
	if err := proc.DiskTools(); err != nil {
		t.Skip("no disk to fill here: ", err)
	}
	d, err := proc.NewMemoryDisk(t.TempDir(), bytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Remove(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// runWithSmallDisk starts three nodes, one of which, not the founder, has a small disk.
func runWithSmallDisk(t *testing.T) (g *group, small *groupNode, d *proc.Disk) {
	t.Helper()
	d = memoryDisk(t, diskBytes)
	large := memoryDisk(t, 8*diskBytes)
	g = newGroup(t, 3, proc.Options{Args: []string{"--raft-priority-hold-ms", "3600000"}})
	for _, n := range g.nodes {
		n.options.Dir = filepath.Join(large.Mount, n.id)
	}
	small = g.nodes[1]
	small.options.Dir = filepath.Join(d.Mount, "data")
	g.start(g.nodes...)
	return g, small, d
}

// putSlabs appends counted messages of a fixed size, and insists on their offsets.
func (g *group) putSlabs(from, count int) {
	g.t.Helper()
	for i := from; i < from+count; i++ {
		if a := g.put("fill", 0, counted(i, slabBytes)); a.Offset != uint64(i) {
			g.t.Fatalf("message %d is at offset %d", i, a.Offset)
		}
	}
}

// slabs are what putSlabs has appended.
func slabs(count int) (all [][]byte) {
	for i := range count {
		all = append(all, counted(i, slabBytes))
	}
	return all
}

const overfull = (diskBytes-weightBytes)/slabBytes + 20 // slabs that are more than a small disk holds beside the weight

func TestFullDiskOfAFollower(t *testing.T) {
	t.Parallel()
	g, small, d := runWithSmallDisk(t)
	g.lead(g.nodes[0])
	weight := putWeight(t, d)
	const count = (diskBytes - weightBytes*3/4) / slabBytes // more than fits beside the weight, less than fits without
	g.putSlabs(0, count)
	if !small.running() {
		t.Fatalf("the node with the full disk has ended: %s", small.Log())
	}
	if err := os.Remove(weight); err != nil {
		t.Fatal(err)
	}
	g.mustAllHold("fill", 0, slabs(count))
}

func TestFullDiskOfTheLeader(t *testing.T) {
	t.Parallel()
	g, small, d := runWithSmallDisk(t)
	g.lead(small)
	weight := putWeight(t, d)
	g.putSlabs(0, overfull)
	if leader := g.leader(); leader == small {
		t.Error("the node without room leads")
	}
	for _, n := range g.others(small) {
		if got := g.holds(n, "fill", 0, overfull); len(got) != overfull {
			t.Errorf("%s holds %d messages of %d", n.id, len(got), overfull)
		}
	}
	mustKill(t, small.Server)
	if err := os.Remove(weight); err != nil {
		t.Fatal(err)
	}
	g.start(small)
	g.putSlabs(overfull, 5)
	g.mustAllHold("fill", 0, slabs(overfull+5))
}

// Where all are full, clients are told so, with 507, and writes go on when there is room again.
func TestFullDisksEverywhere(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, proc.Options{})
	var disks []*proc.Disk
	for _, n := range g.nodes {
		d := memoryDisk(t, diskBytes)
		n.options.Dir = filepath.Join(d.Mount, "data")
		disks = append(disks, d)
	}
	g.start(g.nodes...)
	var weights []string
	for _, d := range disks {
		weights = append(weights, putWeight(t, d))
	}
	count := 0
	full := func() bool {
		r, err := followFor(proc.HangGuard, g.leader().http, "POST", "/broker/topics/fill/produce?partition=0", counted(count, slabBytes))
		if err != nil {
			t.Fatal(err)
		}
		if r.Status == 507 {
			mustBeDiskFull(t, &r)
			return true
		}
		if r.Status == 200 {
			count++
		} else if r.Status != 503 && r.Status != 504 {
			t.Fatalf("message %d: %s", count, &r)
		}
		return false
	}
	g.eventually("the disks are full", full)
	for _, path := range weights {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	g.put("fill", 1, []byte("there is room again"))
	for _, n := range g.nodes {
		if got := g.holds(n, "fill", 0, uint64(count)); string(got[0]) != string(counted(0, slabBytes)) {
			t.Errorf("%s holds something else", n.id)
		}
	}
}
