package raftlog

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"
)

// An emptied directory does not count again under its old id until the node was removed and added.
func TestAWipedNodeIsNotTrusted(t *testing.T) {
	c := newCluster(t, 3)
	for i, m := range c.members {
		m.start(i == 0)
	}
	want := c.write(0, 10)
	c.agree(want)
	l := c.leader()
	wiped := c.members[1]
	if wiped == l {
		wiped = c.members[2]
	}
	wiped.stop()
	if err := os.RemoveAll(wiped.dir); err != nil {
		t.Fatal(err)
	}
	wiped.start(false)
	want = append(want, c.write(10, 10)...)
	if got := wiped.values(); len(got) != 0 || wiped.node.Status().Cluster != "" {
		t.Fatal("an emptied node was taken back", got)
	}
	ctx := context.Background()
	until(t, "removal", func() bool { return c.leader().node.Remove(ctx, wiped.id) == nil })
	until(t, "adding", func() bool { return c.leader().node.Add(ctx, Peer{ID: wiped.id, RaftAddr: wiped.addr}) == nil })
	c.agree(want)
	until(t, "promotion", func() bool { return c.leader().node.Promote(ctx, wiped.id) == nil })
}

// A founder that was emptied founds another cluster, whose entries nobody takes.
func TestAWipedFounderIsRefused(t *testing.T) {
	c := newCluster(t, 3)
	for i, m := range c.members {
		m.start(i == 0)
	}
	want := c.write(0, 10)
	c.agree(want)
	founder := c.members[0]
	founder.stop()
	if err := os.RemoveAll(founder.dir); err != nil {
		t.Fatal(err)
	}
	founder.start(true)
	rest := &testCluster{t: t, members: c.members[1:]}
	want = append(want, rest.write(10, 10)...)
	rest.agree(want)
	if got := founder.values(); len(got) != 0 || founder.node.Leading() {
		t.Fatal("two clusters", got)
	}
}

// A node that belongs nowhere votes for a founder and nobody else.
func TestVotesOfANodeThatBelongsNowhere(t *testing.T) {
	c := newCluster(t, 3)
	m := c.members[1]
	m.start(false)
	vote := func(addr string) error { return m.node.stable.Set([]byte(keyVoteFor), []byte(addr)) }
	if vote("a:1") == nil {
		t.Fatal("a vote for anybody")
	}
	some := hello{NodeID: "n1", RaftAddr: "a:1", Cluster: [16]byte{1}, Incarnation: [16]byte{2}}
	if err := m.node.accept(some); err != nil || vote("a:1") == nil {
		t.Fatal("a vote for a member of a cluster that exists", err)
	}
	some.Founding = true
	if err := m.node.accept(some); err != nil || vote("a:1") != nil || vote("b:1") == nil {
		t.Fatal("the founder has its vote", err)
	}
}

func TestIncarnationsAreRemembered(t *testing.T) {
	c := newCluster(t, 1)
	m := c.members[0]
	m.start(true)
	c.leader()
	peer := hello{NodeID: "n9", RaftAddr: "a:1", Cluster: *m.node.identity.cluster.Load(), Incarnation: [16]byte{2}}
	other := peer
	other.Incarnation = [16]byte{3}
	if err := errors.Join(m.node.accept(peer), m.node.accept(peer)); err != nil {
		t.Fatal(err)
	}
	if m.node.accept(other) == nil {
		t.Fatal("another directory under the same id")
	}
	m.stop()
	m.start(true)
	if m.node.accept(other) == nil {
		t.Fatal("forgotten at a restart")
	}
	foreign := peer
	foreign.Cluster = [16]byte{9}
	if m.node.accept(foreign) == nil {
		t.Fatal("a node of another cluster")
	}
}

// What an older node's hello does not say, the configuration knows; what a node says of itself counts more.
func TestWhatAHelloTeaches(t *testing.T) {
	n := &Node{known: map[string]Peer{"n2": {ID: "n2", HTTPAddr: "a:1", HTTPSAddr: "a:2"}}}
	h := hello{NodeID: "n2", RaftAddr: "b:3", HTTPAddr: "b:1", Version: protocolMajor << 16}
	n.learn(&h)
	if p := n.peer("n2"); p != (Peer{ID: "n2", RaftAddr: "b:3", HTTPAddr: "b:1", HTTPSAddr: "a:2"}) {
		t.Errorf("from an older node: %+v", p)
	}
	h.Version, h.HTTPSAddr = protocolMajor<<16|minorHTTPS, "b:2"
	n.learn(&h)
	if p := n.peer("n2"); p.HTTPSAddr != "b:2" {
		t.Errorf("from a newer node: %+v", p)
	}
	h.HTTPSAddr = ""
	n.learn(&h)
	if p := n.peer("n2"); p.HTTPSAddr != "" {
		t.Errorf("from one that has ceased to serve TLS: %+v", p)
	}
}

// A leader's restart does not wait for ever, and a node that was never told of a cluster waits.
func TestANodeAloneWaits(t *testing.T) {
	c := newCluster(t, 3)
	m := c.members[2]
	m.start(false)
	time.Sleep(2 * heartbeatDefault)
	if s := m.node.Status(); s.Leader != "" || s.Role == RoleLeader || s.Cluster != "" {
		t.Fatalf("%+v", s)
	}
}
