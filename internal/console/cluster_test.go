package console_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"ayder/internal/testkit/proc"
)

// The console of a cluster: all nodes at a glance, and on a follower the way to the leader.

// cluster starts three nodes and returns them, the leader first. They wait for each other longer than usual, so that a machine
// under load does not make another node the leader.
func cluster(t *testing.T) []*proc.Server {
	t.Helper()
	var options []proc.Options
	var members []string
	dir := t.TempDir()
	for i := range 3 {
		http, err := proc.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		raft, err := proc.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		id := fmt.Sprintf("n%d", i+1)
		members = append(members, fmt.Sprintf("%s:127.0.0.1:%d:%d:%d", id, raft, 30-10*i, http))
		options = append(options, proc.Options{
			Bin: proc.Binary(t), Dir: filepath.Join(dir, id), Port: http, Args: smallSegments,
			Env: append([]string{"RF_HA_ENABLED=1", "RF_HA_NODE_ID=" + id, "AYDER_RAFT_HEARTBEAT_MS=2000", "AYDER_RAFT_ELECTION_MS=2000", "AYDER_RAFT_LEASE_MS=1500"}, tokens...),
		})
	}
	var nodes []*proc.Server
	for i, o := range options {
		o.Env = append(o.Env, "RF_HA_NODES="+strings.Join(members, ","))
		if i == 0 {
			o.Env = append(o.Env, "RF_HA_BOOTSTRAP_LEADER=1")
		}
		s, err := proc.Launch(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Kill() })
		nodes = append(nodes, s)
	}
	for _, s := range nodes {
		if err := s.WaitReady(proc.HangGuard); err != nil {
			t.Fatalf("%v\n%s", err, s.Log())
		}
	}
	return leaderFirst(t, nodes)
}

func leaderFirst(t *testing.T, nodes []*proc.Server) []*proc.Server {
	t.Helper()
	for i, s := range nodes {
		r, err := s.Connect(t).Get("/metrics_ha")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(r.Body), "ramforge_ha_role 0\n") {
			nodes[0], nodes[i] = nodes[i], nodes[0]
			return nodes
		}
	}
	t.Skip("the leader changed while it was looked for")
	return nil
}

func TestCluster(t *testing.T) {
	nodes := cluster(t)
	leader, follower := nodes[0], nodes[1]
	post(t, leader, "/broker/topics", `{"name":"orders","partitions":1}`)
	p := newTab(t)
	p.open(leader.Addr, "dev", "#/")
	p.until(`document.querySelectorAll("tbody tr").length === 3 && document.querySelectorAll("tbody a").length === 2`)
	p.sees("leader · ready")
	p.open(follower.Addr, "dev", "#/topics")
	p.sees("it shows what it has, and changes are made there")
	p.sees("orders")
	p.press("Create a topic")
	p.fill("Name", "refused")
	p.press("Create")
	p.sees("Nothing was changed: this node does not lead")
	p.until(`document.querySelector("dialog .notice a").href === ` + quoted("http://"+leader.Addr+"/console#/topics"))
	p.press("Cancel")
	p.view("#/tail/orders/0")
	p.sees("Following orders")
	post(t, leader, "/broker/topics/orders/produce?partition=0", "replicated")
	p.sees("replicated")
	p.press("Open the leader’s console")
	p.until(`location.host === ` + quoted(leader.Addr))
	p.sees("Following orders")
	p.mustBeClean()
}
