package raftlog

import (
	"fmt"
	"sync/atomic"
)

// Who is who. A cluster has an id, made when it is founded; a data directory has one too, its incarnation. Both are in every
// hello, and both guard against a node that is not what it was:
//
//	another cluster's node      is refused
//	an emptied directory        has forgotten votes and entries that this node had confirmed; counted again as if nothing
//	                            had happened it could make a majority without them. Who has met the old incarnation
//	                            refuses the new one until the node was removed from the cluster
//	a node that belongs nowhere gives its vote to none but the founder, and belongs to the cluster whose leader gives it
//	                            its first entries; so an emptied node cannot vote before a leader has judged it
type identity struct {
	cluster atomic.Pointer[[16]byte] // zero: none yet
	offered atomic.Pointer[[16]byte] // the cluster of the peers met before that
	founder atomic.Pointer[string]   // raft address of the peer that founds a cluster
}

// identify takes over what the state says.
func (n *Node) identify() {
	id := idBytes(n.stable.get().Cluster)
	n.identity.cluster.Store(&id)
	n.stable.mayVote, n.stable.fatal = n.mayVote, n.fatal
}

// hello is what this node says of itself.
func (n *Node) hello() hello {
	p, s := n.peer(n.o.NodeID), n.stable.get()
	return hello{
		Cluster: *n.identity.cluster.Load(), Incarnation: idBytes(s.Incarnation), Founding: s.Founding,
		NodeID: p.ID, RaftAddr: p.RaftAddr, HTTPAddr: p.HTTPAddr, HTTPSAddr: p.HTTPSAddr, Priority: p.Priority, Version: protocolVersion,
		Times: n.times(),
	}
}

// accept judges a peer by what it says.
func (n *Node) accept(peer hello) error {
	none := [16]byte{}
	ours := *n.identity.cluster.Load()
	switch {
	case peer.NodeID == n.o.NodeID:
		return fmt.Errorf("a peer calls itself %q, which is this node", peer.NodeID)
	case ours != none && peer.Cluster != none && ours != peer.Cluster:
		return fmt.Errorf("node %q belongs to another cluster; if its directory was emptied by mistake, remove it here, "+
			"start it empty without RF_HA_BOOTSTRAP_LEADER and add it again", peer.NodeID)
	case ours == none && peer.Cluster != none:
		n.identity.offered.Store(&peer.Cluster)
		if peer.Founding {
			n.identity.founder.Store(&peer.RaftAddr)
		}
	case ours != none:
		if err := n.recognize(peer); err != nil {
			return err
		}
	}
	n.compareTimes(peer)
	n.learn(&peer)
	return nil
}

// learn takes over what a peer says of itself. Of what its version does not say the configuration's word stands.
func (n *Node) learn(h *hello) {
	p := Peer{ID: h.NodeID, RaftAddr: h.RaftAddr, HTTPAddr: h.HTTPAddr, HTTPSAddr: h.HTTPSAddr, Priority: h.Priority}
	n.mu.Lock()
	defer n.mu.Unlock()
	if h.minor() < minorHTTPS {
		p.HTTPSAddr = n.known[p.ID].HTTPSAddr
	}
	n.known[p.ID] = p
}

// recognize compares a peer's incarnation with the one met before, and remembers it at the first meeting.
func (n *Node) recognize(peer hello) error {
	incarnation := fmt.Sprintf("%x", peer.Incarnation)
	switch before := n.stable.get().Peers[peer.NodeID]; before {
	case incarnation:
		return nil
	case "":
		return n.stable.change(func(s *state) { s.Peers[peer.NodeID] = incarnation })
	}
	return fmt.Errorf("node %q has come back with another data directory and does not know what it had confirmed: "+
		"remove it from the cluster and add it again (POST /ha/membership/remove, add)", peer.NodeID)
}

// mayVote refuses a vote of a node that belongs to no cluster, unless the candidate is founding one; and this node's for
// itself as long as its log lacks what it had.
func (n *Node) mayVote(candidate string) error {
	if candidate == n.peer(n.o.NodeID).RaftAddr {
		if err := n.mayStand(); err != nil {
			return err
		}
	}
	if *n.identity.cluster.Load() != [16]byte{} {
		return nil
	}
	if founder := n.identity.founder.Load(); founder != nil && *founder == candidate {
		return nil
	}
	return fmt.Errorf("raftlog: no vote for %s: this node has not heard from a leader yet", candidate)
}

// join makes this node one of the cluster whose leader has sent it entries.
func (n *Node) join() error {
	offered := n.identity.offered.Load()
	if offered == nil || *n.identity.cluster.Load() != [16]byte{} {
		return nil
	}
	if err := n.stable.change(func(s *state) { s.Cluster = fmt.Sprintf("%x", *offered) }); err != nil {
		return err
	}
	n.identity.cluster.Store(offered)
	n.o.Logger.Info("joined a cluster", "node", n.o.NodeID, "cluster", fmt.Sprintf("%x", *offered))
	return nil
}
