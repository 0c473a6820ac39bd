package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"ayder/internal/testkit/proc"
)

// Nodes that come, get a vote, leave, and come back with nothing.

// members is /ha/membership by id.
func (g *group) members(n *groupNode) map[string]haPeer {
	g.t.Helper()
	r, err := n.get("/ha/membership")
	if err != nil || r.Status != 200 {
		g.t.Fatal(&r, err)
	}
	var list struct {
		Nodes []haPeer `json:"nodes"`
	}
	if err := r.JSON(&list); err != nil {
		g.t.Fatal(err)
	}
	byID := make(map[string]haPeer)
	for _, p := range list.Nodes {
		byID[p.NodeID] = p
	}
	return byID
}

// change calls one of /ha/membership/… until it is done; a cluster that is busy with another change says so.
func (g *group) change(call, body string) {
	g.t.Helper()
	g.eventually(call+" "+body, func() bool {
		r := g.any("POST", "/ha/membership/"+call, []byte(body))
		return r.Status == 200
	})
}

func addition(n *groupNode) string {
	return fmt.Sprintf(`{"node_id":%q,"advertise_addr":%q,"http_addr":%q,"priority":5}`, n.id, n.raft, n.http)
}

func named(n *groupNode) string { return fmt.Sprintf(`{"node_id":%q}`, n.id) }

// runThreeOfFour starts three nodes that know nothing of a fourth, which is prepared.
func runThreeOfFour(t *testing.T) (g *group, fourth *groupNode) {
	g = newGroup(t, 4, proc.Options{})
	fourth = g.nodes[3]
	g.nodes = g.nodes[:3]
	for _, n := range g.nodes {
		n.options.Env = append(g.environment(n, g.nodes), n.options.Env[3:]...)
	}
	g.start(g.nodes...)
	return g, fourth
}

func TestMembersAreAddedPromotedAndRemoved(t *testing.T) {
	t.Parallel()
	g, fourth := runThreeOfFour(t)
	want := g.putMany("member", 0, 50)
	g.launch(fourth)
	g.change("add", addition(fourth))
	g.nodes = append(g.nodes, fourth)
	g.waitReady(fourth)
	g.mustAllHold("member", 0, want)
	if s, err := fourth.status(); err != nil || s.Role != "learner" {
		t.Errorf("added: %+v, %v", s, err)
	}
	if p := g.members(g.leader())["n4"]; p.Voter || p.RaftAddr != fourth.raft || p.HTTPAddr != fourth.http {
		t.Errorf("added: %+v", p)
	}
	g.change("promote", named(fourth))
	if p := g.members(g.leader())["n4"]; !p.Voter {
		t.Errorf("promoted: %+v", p)
	}
	g.eventually("the new node knows it", func() bool {
		s, err := fourth.status()
		return err == nil && s.Role == "follower"
	})
	for _, n := range []*groupNode{g.nodes[2], g.nodes[1]} { // two of four may go only because the first has no vote any more
		g.change("remove", named(n))
		mustKill(t, n.Server)
		want = append(want, g.putMany("member", len(want), 5)...)
	}
	if m := g.members(g.leader()); len(m) != 2 || !m["n1"].Voter || !m["n4"].Voter {
		t.Errorf("members: %+v", m)
	}
	g.mustAllHold("member", 0, want)
	for _, n := range []*groupNode{g.nodes[0], fourth} { // what the change was is in the log, not in the settings
		mustKill(t, n.Server)
	}
	g.start(g.nodes[0], fourth)
	want = append(want, g.putMany("member", len(want), 5)...)
	g.mustAllHold("member", 0, want)
}

// The leader may be removed: it hands over, and the others go on.
func TestLeaderIsRemoved(t *testing.T) {
	t.Parallel()
	g := runGroup(t, 3, proc.Options{})
	want := g.putMany("member", 0, 3)
	leader := g.leader()
	g.change("remove", named(leader))
	g.eventually("another node leads", func() bool {
		for _, n := range g.others(leader) {
			if s, err := n.status(); err == nil && s.Role == "leader" && len(s.Peers) == 2 {
				return true
			}
		}
		return false
	})
	mustStop(t, leader.Server)
	want = append(want, g.putMany("member", 3, 3)...)
	g.mustAllHold("member", 0, want)
}

func TestMembershipRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	g := runGroup(t, 3, proc.Options{})
	for call, status := range map[string]int{
		`promote {"node_id":"nobody"}`:                        404,
		`remove {"node_id":"nobody"}`:                         404,
		`add {"node_id":"n9"}`:                                400,
		`add {}`:                                              400,
		`promote {"node_id":"n1","x":1}`:                      400,
		`add {"node_id":"n1","advertise_addr":"127.0.0.1:1"}`: 409,
	} {
		name, body, _ := strings.Cut(call, " ")
		if r := g.any("POST", "/ha/membership/"+name, []byte(body)); r.Status != status {
			t.Errorf("%s: %s, want %d", call, &r, status)
		}
	}
	if m := g.members(g.follower()); len(m) != 3 {
		t.Errorf("members: %+v", m)
	}
}

// A node that comes back with an empty directory has forgotten what it had confirmed. It counts for nothing until it was
// removed and added again; then it catches up as any other.
func TestWipedDisk(t *testing.T) {
	t.Parallel()
	for name, founder := range map[string]bool{"the founder": true, "another node": false} {
		t.Run(name, func(t *testing.T) {
			g := runGroup(t, 3, proc.Options{})
			want := g.putMany("wiped", 0, 20)
			wiped := g.nodes[2]
			if founder {
				wiped = g.nodes[0]
			}
			mustKill(t, wiped.Server)
			if err := os.RemoveAll(wiped.options.Dir); err != nil {
				t.Fatal(err)
			}
			g.launch(wiped)
			g.eventually("the others refuse it in their logs", func() bool {
				return slices.ContainsFunc(g.others(wiped), func(n *groupNode) bool {
					return strings.Contains(n.Log(), fmt.Sprintf(`node \"%s\"`, wiped.id)) && strings.Contains(n.Log(), "remove it")
				})
			})
			want = append(want, g.putMany("wiped", 20, 5)...)
			if status, err := wiped.Ready(); err == nil && status == 200 {
				t.Errorf("the emptied node is ready:\n%s", wiped.Log())
			}
			mustKill(t, wiped.Server)
			g.change("remove", named(wiped))
			if err := os.RemoveAll(wiped.options.Dir); err != nil {
				t.Fatal(err)
			}
			wiped.options.Env = append(wiped.options.Env, "RF_HA_BOOTSTRAP_LEADER=0")
			g.launch(wiped)
			g.change("add", addition(wiped))
			g.waitReady(wiped)
			g.change("promote", named(wiped))
			g.mustAllHold("wiped", 0, append(want, g.putMany("wiped", 25, 5)...))
		})
	}
}
