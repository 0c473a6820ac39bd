package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ayder/internal/testkit/proc"
)

// Disks that die, hang, or give back other bytes than were written. A node with a disk like that must not lead for long,
// must not answer what it cannot keep, and must take nothing from the others.

// runWithDisk starts three nodes, one of which has a disk of its own, and makes that one the leader.
func runWithDisk(t *testing.T, tools ...string) (g *group, sick *groupNode, d *proc.Disk) {
	t.Helper()
	if err := proc.DiskTools(tools...); err != nil {
		t.Skip("no disk to make ill here: ", err)
	}
	d, err := proc.NewDisk(t.TempDir(), 256<<20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Remove(); err != nil {
			t.Error(err)
		}
	})
	g = newGroup(t, 3, proc.Options{Args: []string{"--raft-priority-hold-ms", "3600000"}})
	sick = g.nodes[1]
	sick.options.Dir = filepath.Join(d.Mount, "data")
	g.start(g.nodes...)
	g.lead(sick)
	return g, sick, d
}

// A leader whose disk fails ends at once, so that another can lead.
func TestLeadersDiskDies(t *testing.T) {
	t.Parallel()
	g, sick, d := runWithDisk(t, "xfs_io")
	want := g.putMany("sick", 0, 10)
	if err := d.Shutdown(false); err != nil {
		t.Fatal(err)
	}
	want = append(want, g.putMany("sick", 10, 10)...)
	if code, err := sick.Exit(proc.HangGuard); err != nil || code != 1 {
		t.Errorf("a node without a disk: exit status %d, %v", code, err)
	}
	if leader := g.leader(); leader == sick {
		t.Error("the node without a disk leads")
	}
	if err := d.Remount(); err != nil {
		t.Fatal(err)
	}
	g.start(sick)
	g.mustAllHold("sick", 0, append(want, g.putMany("sick", 20, 5)...))
}

func freeze(t *testing.T, d *proc.Disk, how string) {
	t.Helper()
	if out, err := exec.Command("fsfreeze", how, d.Mount).CombinedOutput(); err != nil {
		t.Errorf("fsfreeze %s: %v: %s", how, err, out)
	}
}

// A leader whose disk hangs gives its place away; it may end, too. What was written meanwhile is there when the disk is
// back.
func TestLeadersDiskHangs(t *testing.T) {
	t.Parallel()
	g, sick, d := runWithDisk(t, "fsfreeze")
	want := g.putMany("sick", 0, 10)
	freeze(t, d, "--freeze")
	frozen := true
	thaw := func() {
		if frozen {
			freeze(t, d, "--unfreeze")
		}
		frozen = false
	}
	t.Cleanup(thaw)
	l := g.load("hang", 2)
	l.more(20)
	g.eventually("another node leads", func() bool {
		for _, n := range g.others(sick) {
			if s, err := n.status(); err == nil && s.Role == "leader" && s.Fresh {
				return true
			}
		}
		return false
	})
	l.more(20)
	thaw()
	if !sick.running() {
		g.start(sick)
	}
	l.more(20)
	if !sick.running() { // it may have made up its mind before
		g.start(sick)
	}
	l.stop()
	g.mustAllHold("sick", 0, want)
}

// A disk that gives back other bytes in the middle of the log. What was acknowledged is never cut off, and wrong bytes are
// never shown: the node gets the damaged part from the others; if it is read before the node has noticed, the answer says that
// it is damaged. The others do not mind. (More of that in cluster_damage_test.go.)
func TestDamagedLogOfAFollower(t *testing.T) {
	t.Parallel()
	const size = 100_000
	for part, number := range map[string]int{"a segment that is complete": 5, "the newest part": 58} {
		t.Run(part, func(t *testing.T) {
			g := runGroup(t, 3, proc.Options{})
			f := g.follower()
			var want [][]byte
			for i := range 60 {
				want = append(want, counted(i, size))
				g.put("sick", 0, want[i])
			}
			g.mustAllHold("sick", 0, want)
			mustKill(t, f.Server)
			flip(t, f.options.Dir, number, size)
			g.launch(f)
			g.eventually("it is ready, or has ended", func() bool {
				status, err := f.Ready()
				return !f.running() || err == nil && status == 200
			})
			mustNotShowDamage(t, f, number, want[number])
			mustKill(t, f.Server)
			g.mustAllHold("sick", 0, append(want, g.putLarge(60, 5, size)...))
		})
	}
}

// mustNotShowDamage looks at a message that was altered on a node's disk.
func mustNotShowDamage(t *testing.T, n *groupNode, number int, want []byte) {
	t.Helper()
	if !n.running() {
		if !strings.Contains(n.Log(), "damage") {
			t.Errorf("it has ended and does not say why: %s", n.Log())
		}
		t.Log("it does not start, and says why")
		return
	}
	var r proc.Response
	(&group{t: t}).eventually("an answer", func() (ok bool) { // it may just start over to mend its log
		var err error
		r, err = n.get(fmt.Sprintf("/broker/consume/sick/g/0?offset=%d&limit=1", number))
		return err == nil && r.Status != 503 && r.Status != 416 && r.Status != 404 // the topic's creation may be in what it lost
	})
	switch {
	case r.Status == 500 && r.ErrorCode() == "storage_damaged":
		t.Log("it says so when the message is read")
	case r.Status != 200 || !bytes.Contains(r.Body, want):
		t.Errorf("the message is shown as %s", &r)
	default:
		t.Log("it has the message from the others")
	}
}

// putLarge appends large messages.
func (g *group) putLarge(from, count, size int) (all [][]byte) {
	g.t.Helper()
	for i := from; i < from+count; i++ {
		all = append(all, counted(i, size))
		g.put("sick", 0, all[len(all)-1])
	}
	return all
}
