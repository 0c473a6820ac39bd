package raftlog

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

const ms = time.Millisecond

// A leader counts on each voter for what that voter's patience allows, and on one that did not say it not at all.
func TestTheLeaseIsAsLongAsTheOthersPatienceAllows(t *testing.T) {
	own := times{300 * ms, 200 * ms}
	for _, c := range []struct {
		peer times
		want time.Duration
	}{
		{times{300 * ms, 200 * ms}, 200 * ms},
		{times{4000 * ms, 4000 * ms}, 200 * ms},
		{times{150 * ms, 100 * ms}, 100 * ms},
		{times{}, 0},
	} {
		if got := own.leaseFrom(c.peer); got != c.want {
			t.Errorf("%v: %v, want %v", c.peer, got, c.want)
		}
	}
	if got := (times{4000 * ms, 4000 * ms}).leaseFrom(times{300 * ms, 200 * ms}); got > 300*ms {
		t.Errorf("a lease of %v counts on a patience of 300ms", got)
	}
}

// The end of the lease is that of the promise which completes a majority.
func TestTheEndOfTheLease(t *testing.T) {
	base := time.Now()
	for _, c := range []struct {
		lengths map[raft.ServerID]time.Duration
		sent    map[raft.ServerID]time.Duration // after base
		voters  []raft.ServerID
		want    time.Duration // -1: none
	}{
		{map[raft.ServerID]time.Duration{"a": 1e15, "b": 200 * ms, "c": 200 * ms}, map[raft.ServerID]time.Duration{"b": 5 * ms, "c": 7 * ms}, []raft.ServerID{"a", "b", "c"}, 207 * ms},
		{map[raft.ServerID]time.Duration{"a": 1e15, "b": 200 * ms, "c": 20 * ms}, map[raft.ServerID]time.Duration{"b": 5 * ms, "c": 7 * ms}, []raft.ServerID{"a", "b", "c"}, 205 * ms},
		{map[raft.ServerID]time.Duration{"a": 1e15, "c": 20 * ms}, map[raft.ServerID]time.Duration{"b": 5 * ms, "c": 7 * ms}, []raft.ServerID{"a", "b", "c"}, 27 * ms},
		{map[raft.ServerID]time.Duration{"a": 1e15}, map[raft.ServerID]time.Duration{"b": 5 * ms, "c": 7 * ms}, []raft.ServerID{"a", "b", "c"}, -1},
		{map[raft.ServerID]time.Duration{"a": 1e15, "b": 200 * ms, "c": 200 * ms}, nil, []raft.ServerID{"a", "b", "c"}, -1},
	} {
		m := newMatchTable(c.voters...)
		m.lease = func(id raft.ServerID) time.Duration { return c.lengths[id] }
		for id, after := range c.sent {
			m.answered(id, 2, base.Add(after), 0)
		}
		got := m.leaseEnd()
		if c.want < 0 != got.IsZero() || c.want >= 0 && !got.Equal(base.Add(c.want)) {
			t.Errorf("%v %v: %v", c.lengths, c.sent, got.Sub(base))
		}
		if m.voidLease(); !m.leaseEnd().IsZero() {
			t.Error("a void lease has an end")
		}
	}
}

// What differs is logged with both values, once; a hello of an older version is understood, and counts for nothing.
func TestDifferentTimesAreLogged(t *testing.T) {
	c := newCluster(t, 1)
	m := c.members[0]
	var log bytes.Buffer
	m.opts = func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) }
	m.start(true)
	c.leader()
	old := encodeHello(nil, &hello{Cluster: *m.node.identity.cluster.Load(), NodeID: "old", Version: protocolMajor<<16 | minorTimes - 1})
	said, err := decodeHello(old[wireHeadBytes:])
	if err != nil || said.Times != (times{}) {
		t.Fatal(said, err)
	}
	patient, hasty, same := said, said, said
	patient.NodeID, patient.Times = "patient", times{4000 * ms, 3900 * ms}
	hasty.NodeID, hasty.Times = "hasty", times{90 * ms, 60 * ms}
	same.NodeID, same.Times = "same", m.node.times()
	for _, h := range []hello{said, patient, hasty, same, said, patient, hasty, same} {
		if err := m.node.accept(h); err != nil {
			t.Fatal(err)
		}
	}
	for id, want := range map[raft.ServerID]time.Duration{"old": 0, "patient": leaseDefault, "hasty": 60 * ms, "same": leaseDefault, "never met": 0, "n1": leaseDefault} {
		if got := m.node.leaseOn(id); got != want {
			t.Errorf("%s is counted on for %v, want %v", id, got, want)
		}
	}
	m.stop()
	for _, line := range []string{`peer=patient "its raft-lease-ms"=3900 "raft-heartbeat-ms here"=300`, `peer=hasty "its raft-heartbeat-ms"=90 "raft-heartbeat-ms here"=300`, "peer=old"} {
		if n := strings.Count(log.String(), line); n != 1 {
			t.Errorf("%d times %s in\n%s", n, line, log.String())
		}
	}
	if strings.Contains(log.String(), "peer=same") {
		t.Error("equal times are nothing to log")
	}
}

// A node that comes back with less patience keeps what it had promised.
func TestARestartKeepsTheOldPromise(t *testing.T) {
	c := newCluster(t, 1)
	m := c.members[0]
	m.opts = func(o *Options) { o.Heartbeat, o.Election = 700*ms, 700*ms }
	m.start(true)
	c.leader()
	if got := m.node.stable.get().PatienceMs; got != 700 {
		t.Fatal(got)
	}
	m.stop()
	m.opts = nil
	began := time.Now()
	m.start(true)
	if took := time.Since(began); took < 700*ms {
		t.Errorf("it listened after %v", took)
	}
	if got := m.node.stable.get().PatienceMs; got != heartbeatDefault.Milliseconds() {
		t.Error(got)
	}
}

// Leases work between nodes of this version, and not where a majority does not say its patience.
func TestNoLeaseFromNodesThatDoNotSayTheirPatience(t *testing.T) {
	c := newCluster(t, 3)
	for i, m := range c.members {
		m.start(i == 0)
	}
	c.agree(c.write(0, 3))
	until(t, "a lease", func() bool { return c.leader().node.Leased() })
	until(t, "a read that asks the others", func() bool { // a peer that connects anew says its patience again
		l := c.leader()
		l.node.leases.mu.Lock()
		for id, p := range l.node.leases.peers {
			p.count = 0
			l.node.leases.peers[id] = p
		}
		l.node.leases.mu.Unlock()
		return !l.node.Leased() && l.node.ReadBarrier(t.Context()) == nil
	})
}

// Only the node that leads, as far as one knows, can have one stand for election: a word of an earlier leader may have been long
// under way.
func TestWhoMayBeSucceeded(t *testing.T) {
	c := newCluster(t, 3)
	for i, m := range c.members {
		m.start(i == 0)
	}
	c.agree(c.write(0, 3))
	until(t, "a follower's word without effect", func() bool { // in a term that lasts: a busy machine elects
		leader := c.leader()
		term, followers := leader.node.raft.CurrentTerm(), c.others(leader)
		own := followers[1].node.hello()
		err := followers[0].node.transport.mayLead(raft.ServerID(own.NodeID), raft.ServerAddress(own.RaftAddr))
		return err != nil && strings.Contains(err.Error(), "does not succeed") && c.leader() == leader && leader.node.raft.CurrentTerm() == term
	})
	until(t, "the leader's word", func() bool {
		leader := c.leader()
		return leader.node.Transfer(t.Context(), c.others(leader)[0].node.o.NodeID) == nil
	})
}

func (c *testCluster) others(m *member) (all []*member) {
	for _, x := range c.members {
		if x != m {
			all = append(all, x)
		}
	}
	return all
}
