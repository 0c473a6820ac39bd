package raftlog

import (
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// How long a lease is. A node that has heard from a leader votes for nobody else within its patience, which is its
// heartbeat timeout. A leader's lease counts on that: within the lease after it asked, a majority cannot elect another
// leader, so a read needs no round to the others. The configuration of one node holds lease and patience in order; but the
// lease is the leader's setting and the patience each follower's own, and an operator may give them different ones. A lease
// that outlasts the others' patience lets a leader that is cut off serve what is no longer true.
//
// So every node says in its hello how patient it is, and a leader counts on a node that is less patient than itself for the
// same share of that node's patience as its lease is of its own. On a node that has not said it (an older version) it does
// not count at all: where such nodes are needed for a majority there is no lease, and reads ask the others. A difference is
// logged, once for each pair of values.
//
// A patience is a promise, and a restart with a shorter one must not break it: the last one is kept in raft.state, and a
// node waits for as long, if that is longer than its new one, before it listens and can vote.

// times are what a node says of its patience, and of its lease for the others' logs. Zero: it did not say.
type times struct{ patience, lease time.Duration }

// leases is what this node knows of the others' times.
type leases struct {
	mu    sync.Mutex
	peers map[raft.ServerID]leaseTimes
}

type leaseTimes struct {
	said  times
	count time.Duration // for how long a leader here counts on it
}

// times are this node's own.
func (n *Node) times() times { return times{n.o.Heartbeat, n.o.Lease} }

// leaseFrom is how long a lease is that counts on a node's word.
func (t times) leaseFrom(peer times) time.Duration {
	switch {
	case leaseBlind || peer.patience >= t.patience:
		return t.lease
	case peer.patience <= 0:
		return 0
	}
	return time.Duration(float64(t.lease) * float64(peer.patience) / float64(t.patience))
}

// leaseOn is how long this node's lease counts on a voter's word, itself included.
func (n *Node) leaseOn(id raft.ServerID) time.Duration {
	if leaseBlind || string(id) == n.o.NodeID {
		return n.o.Lease
	}
	n.leases.mu.Lock()
	defer n.leases.mu.Unlock()
	return n.leases.peers[id].count
}

// compareTimes notes a peer's times and logs, when they are new, if they do not fit this node's.
func (n *Node) compareTimes(peer hello) {
	own, id := n.times(), raft.ServerID(peer.NodeID)
	now := leaseTimes{peer.Times, own.leaseFrom(peer.Times)}
	n.leases.mu.Lock()
	before, known := n.leases.peers[id]
	if n.leases.peers == nil {
		n.leases.peers = make(map[raft.ServerID]leaseTimes)
	}
	if known || len(n.leases.peers) < peersKept {
		n.leases.peers[id] = now
	}
	n.leases.mu.Unlock()
	if known && before == now {
		return
	}
	switch said := peer.Times; {
	case said.patience <= 0:
		n.o.Logger.Warn("a node does not say how long it waits for a leader: no lease counts on it, reads ask the others", "peer", peer.NodeID)
	case said.lease > own.patience:
		n.o.Logger.Warn("a node's lease is longer than this one waits for a leader: it will count on a shorter one; set the same on all nodes",
			"peer", peer.NodeID, "its raft-lease-ms", said.lease.Milliseconds(), "raft-heartbeat-ms here", own.patience.Milliseconds())
	case said.patience < own.patience:
		n.o.Logger.Warn("a node waits less long for a leader than this one: leases that count on it are shorter; set the same on all nodes",
			"peer", peer.NodeID, "its raft-heartbeat-ms", said.patience.Milliseconds(), "raft-heartbeat-ms here", own.patience.Milliseconds(), "lease", now.count)
	}
}

// keepPromise waits until no lease can count any more on what this node promised before it stopped, and writes down what
// it promises now.
func (n *Node) keepPromise(fresh bool) error {
	before := time.Duration(n.stable.get().PatienceMs) * time.Millisecond
	if now := n.o.Heartbeat; before != now {
		if err := n.stable.change(func(s *state) { s.PatienceMs = max(now, before).Milliseconds() }); err != nil {
			return fmt.Errorf("raftlog: the promise to leaders: %w", err)
		}
	}
	if !fresh {
		time.Sleep(max(n.o.Heartbeat, before))
	}
	if before <= n.o.Heartbeat {
		return nil
	}
	return n.stable.change(func(s *state) { s.PatienceMs = n.o.Heartbeat.Milliseconds() })
}
