package main

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ayder/internal/testkit/proc"
)

// Nodes that die, leave, pause and come back, under load.

func TestLeaderKilledUnderLoad(t *testing.T) {
	t.Parallel()
	g := runGroup(t, 3, proc.Options{})
	l := g.load("kill", 4)
	l.more(20)
	var killed []time.Time
	for range scale(20, 3, 1) {
		leader := g.leader()
		killed = append(killed, time.Now())
		mustKill(t, leader.Server)
		l.more(20) // with two nodes
		g.start(leader)
	}
	l.stop()
	gaps := l.gaps(killed)
	slices.Sort(gaps)
	t.Logf("write gap after kill -9 of the leader, %d times: median %v, longest %v", len(gaps), gaps[len(gaps)/2], gaps[len(gaps)-1])
}

func TestFollowerCatchesUp(t *testing.T) {
	t.Parallel()
	g := runGroup(t, 3, proc.Options{})
	want := g.putMany("behind", 0, 10)
	f := g.follower()
	mustKill(t, f.Server)
	count := scale(5000, 500, 100)
	for i := range count { // more than a segment
		body := counted(i, 20_000)
		if a := g.put("behind", 1, body); a.Offset != uint64(i) {
			t.Fatalf("message %d is at offset %d", i, a.Offset)
		}
	}
	g.start(f)
	g.mustAllHold("behind", 0, want)
	got := g.holds(f, "behind", 1, uint64(count))
	for i := range count {
		if string(got[i]) != string(counted(i, 20_000)) {
			t.Fatalf("%s has something else at offset %d", f.id, i)
		}
	}
}

// Every node is stopped as an operator would and started again, one after the other, while the load goes on. Every request
// is answered in the end, nothing is lost, and every stop is clean.
func TestRollingRestartUnderLoad(t *testing.T) {
	t.Parallel()
	g := runGroup(t, 3, proc.Options{})
	l := g.load("rolling", 4)
	for range scale(5, 1, 1) {
		for _, n := range g.nodes {
			l.more(10)
			mustStop(t, n.Server)
			l.more(10)
			g.start(n)
		}
	}
	l.more(10)
	l.stop()
	t.Logf("%d requests were sent again because their connection broke", g.unanswered.Load())
	for _, n := range g.nodes {
		mustStop(t, n.Server)
		if out, code := ayder(t, nil, "check", n.options.Dir); code != 0 {
			t.Errorf("check of %s: exit status %d: %s", n.id, code, out)
		}
	}
}

func TestSIGTERMHandsLeadershipOver(t *testing.T) {
	t.Parallel()
	g := runGroup(t, 3, proc.Options{})
	want := g.putMany("term", 0, 5)
	handed := false
	for range 3 { // on a loaded machine, nobody may be fit to take over in time
		leader := g.leader()
		before, err := leader.status()
		if err != nil {
			t.Fatal(err)
		}
		mustStop(t, leader.Server)
		handed = handed || !strings.Contains(leader.Log(), "was not handed over")
		next := g.leader()
		after, err := next.status()
		if err != nil || after.Term <= before.Term || next == leader {
			t.Errorf("before %+v, after %+v, %v", before, after, err)
		}
		want = append(want, g.putMany("term", len(want), 5)...)
		g.start(leader)
		g.mustAllHold("term", 0, want)
		if handed {
			return
		}
	}
	t.Error("leadership was never handed over")
}

func TestTransferOnDemand(t *testing.T) {
	t.Parallel()
	g := runGroup(t, 3, proc.Options{Args: []string{"--raft-priority-hold-ms", "3600000"}})
	want := g.putMany("demand", 0, 3)
	for range 2 {
		f := g.follower()
		g.eventually("transfer to "+f.id, func() bool { // 409 while it lags behind
			r := g.any("POST", "/ha/transfer", []byte(named(f)))
			return r.Status == 200 && g.leader() == f
		})
		want = append(want, g.putMany("demand", len(want), 3)...)
	}
	if r := g.any("POST", "/ha/transfer", []byte(`{"node_id":"nobody"}`)); r.Status/100 != 4 {
		t.Errorf("transfer to nobody: %s", &r)
	}
	g.mustAllHold("demand", 0, want)
}

// The node with the highest priority leads in the end, whoever led before it came.
func TestHighestPriorityLeadsInTheEnd(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, proc.Options{Args: []string{"--raft-priority-hold-ms", "200"}})
	g.start(g.nodes...)
	g.eventually("n1 leads", func() bool { return g.leader() == g.nodes[0] })
	mustKill(t, g.nodes[0].Server)
	want := g.putMany("rank", 0, 3)
	g.start(g.nodes[0])
	g.eventually("n1 leads again", func() bool { return g.leader() == g.nodes[0] })
	g.mustAllHold("rank", 0, want)
}

// A leader that was stopped for a while believes that it leads when it goes on. What has been written meanwhile must
// not be missing in its answers to reads that were sent, or asked for, afterwards.
func TestPausedLeaderServesNoStaleReads(t *testing.T) {
	t.Parallel()
	g := runGroup(t, 3, proc.Options{})
	g.putMany("pause", 0, 3)
	for round := range scale(20, 3, 1) {
		leader := g.leader()
		waiting := leader.Connect(t) // open before, so that the request is the first thing that the process finds
		if err := leader.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		g.eventually("another node leads", func() bool {
			return slices.ContainsFunc(g.others(leader), func(n *groupNode) bool {
				s, err := n.status()
				return err == nil && s.Role == "leader" && s.Fresh
			})
		})
		number := 3 + round
		rest := &group{t: t, nodes: g.others(leader)} // who may elect yet another one
		key := fmt.Sprintf("/broker/topics/pause/produce?partition=0&idempotency_key=p%d", number)
		if r := rest.any("POST", key, counted(number, 50)); !strings.Contains(string(r.Body), fmt.Sprintf(`"offset":%d,`, number)) {
			t.Fatalf("message %d: %s", number, &r)
		}
		request := waiting.AppendRequest(nil, "GET", fmt.Sprintf("/broker/consume/pause/g/0?offset=%d", number), nil)
		if err := waiting.Send(append(request, request...)); err != nil {
			t.Fatal(err)
		}
		if err := leader.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			r, err := waiting.Receive("GET")
			if err != nil {
				t.Fatal(err)
			}
			fresh := r.Status == 200 && strings.Contains(string(r.Body), fmt.Sprintf(`"offset":%d,`, number))
			follower := strings.Contains(string(r.Body), `"role":"follower"`) || r.Status == 416 || r.Status == 503 || r.Status == 307
			if !fresh && !follower {
				t.Errorf("round %d: a stale read: %s", round, &r)
			}
		}
		waiting.Close()
		g.leader()
	}
}

// Followers that pause are no leaders, but what they hold must be the log's beginning at any time, and all of it in
// the end.
func TestPausedFollowerCatchesUp(t *testing.T) {
	t.Parallel()
	g := runGroup(t, 3, proc.Options{})
	l := g.load("nap", 3)
	l.more(10)
	for range 2 {
		f := g.follower()
		if err := f.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		l.more(30)
		if err := f.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		l.more(10)
	}
	l.stop()
}
