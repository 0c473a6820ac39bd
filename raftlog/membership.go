package raftlog

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// Membership and what can be seen of it. Changes go through the log, one node at a time, and are the leader's to make. A node
// comes in without a vote, receives the log, and is promoted when it has almost all of it: a voter that lacks much would
// count in every majority and help in none.
//
// Status is put together from raft, the transport and the log at every call; nothing of it is kept.

// Add makes p a member that receives everything and does not vote. Errors: ErrNotLeader, or why not.
func (n *Node) Add(ctx context.Context, p Peer) error {
	if p.ID == "" || p.RaftAddr == "" {
		return fmt.Errorf("%w: a member needs an id and an address", ErrConflict)
	}
	for _, m := range n.Status().Members {
		if m.ID == p.ID && m.Voter {
			return fmt.Errorf("%w: node %q is a voter already", ErrConflict, p.ID)
		}
	}
	if err := n.change(ctx, n.raft.AddNonvoter(raft.ServerID(p.ID), raft.ServerAddress(p.RaftAddr), 0, changeTimeout)); err != nil {
		return err
	}
	n.mu.Lock()
	if old, ok := n.known[p.ID]; !ok || old.HTTPAddr == "" {
		n.known[p.ID] = p
	}
	n.mu.Unlock()
	return nil
}

// Promote gives a member a vote.
func (n *Node) Promote(ctx context.Context, id string) error {
	m, err := n.member(id)
	if err != nil {
		return err
	}
	if m.Voter {
		return nil
	}
	if m.Lag > transferLagMax || !m.Connected {
		return fmt.Errorf("%w: node %q is %d entries behind", ErrNotCurrent, id, m.Lag)
	}
	return n.change(ctx, n.raft.AddVoter(raft.ServerID(id), raft.ServerAddress(m.RaftAddr), 0, changeTimeout))
}

// Remove takes a member out. A leader that removes itself steps down.
func (n *Node) Remove(ctx context.Context, id string) error {
	if _, err := n.member(id); err != nil {
		return err
	}
	if err := n.change(ctx, n.raft.RemoveServer(raft.ServerID(id), 0, changeTimeout)); err != nil {
		return err
	}
	return n.stable.change(func(s *state) { delete(s.Peers, id) })
}

func (n *Node) change(ctx context.Context, f raft.IndexFuture) error { return n.wait(ctx, f.Error) }

func (n *Node) member(id string) (MemberStatus, error) {
	for _, m := range n.Status().Members {
		if m.ID == id {
			return m, nil
		}
	}
	return MemberStatus{}, fmt.Errorf("%w: %q", ErrUnknownNode, id)
}

// Role of a node.
type Role int

// The roles, numbered as operators' scripts know them.
const (
	RoleLeader Role = iota
	RoleFollower
	RoleCandidate
	RoleLearner
)

// String is the role's name.
func (r Role) String() string {
	return [...]string{"leader", "follower", "candidate", "learner"}[r]
}

// Status is what a node knows of itself and its cluster.
type Status struct {
	NodeID        string
	Cluster       string // hexadecimal, empty until joined
	Role          Role
	Term          uint64
	Leader        string // id, empty if unknown
	LeaderHTTP    string
	LeaderHTTPS   string // empty: it serves no TLS, or has not said where
	CommitIndex   uint64
	AppliedIndex  uint64
	DurableIndex  uint64
	LastIndex     uint64
	LeaderCommit  uint64 // the leader's commit index as last heard
	CaughtUp      bool   // since its start, this node has once applied everything that the leader had committed
	Lost          uint64 // index up to which this node lacks entries that its log had before it was damaged; 0: none
	FreshQuorum   bool   // a majority answered within the lease (leader), or the leader was heard within the heartbeat timeout
	Members       []MemberStatus
	Configuration uint64 // index of the latest
}

// MemberStatus is one member as this node sees it. On a follower only its own numbers are known.
type MemberStatus struct {
	Peer
	Voter       bool
	Match       uint64    // highest index known to be on its disk
	Lag         uint64    // entries behind the leader's last
	LastContact time.Time // when it last answered; zero: never, or this node
	Connected   bool
}

// Status may be called from any goroutine.
func (n *Node) Status() *Status {
	s := &Status{
		NodeID: n.o.NodeID, Role: n.role(), Term: n.raft.CurrentTerm(), CommitIndex: min(n.raft.CommitIndex(), n.transport.safe()),
		DurableIndex: n.o.Log.Durable(), LastIndex: n.o.Log.LastIndex(),
	}
	s.AppliedIndex = n.appliedOf(s.CommitIndex)
	if bound := n.lost(); bound != nil {
		s.Lost = bound.Index
	}
	if c := *n.identity.cluster.Load(); c != [16]byte{} {
		s.Cluster = fmt.Sprintf("%x", c)
	}
	if p, ok := n.Leader(); ok {
		s.Leader, s.LeaderHTTP, s.LeaderHTTPS = p.ID, p.HTTPAddr, p.HTTPSAddr
	}
	if at := n.raft.LastContact(); s.Role != RoleLeader && !at.IsZero() {
		s.FreshQuorum = s.Leader != "" && time.Since(at) < n.o.Heartbeat
	}
	if s.Role == RoleLeader {
		start := n.transport.leaseStart()
		s.FreshQuorum = !start.IsZero() && time.Since(start) < n.o.Heartbeat
	}
	s.LeaderCommit = max(s.CommitIndex, n.transport.heard.Load())
	if s.Leader != "" && s.FreshQuorum && s.AppliedIndex >= s.LeaderCommit {
		n.caughtUp.Store(true)
	}
	s.CaughtUp = n.caughtUp.Load()
	n.members(s)
	return s
}

func (n *Node) role() Role {
	switch n.raft.State() {
	case raft.Leader:
		return RoleLeader
	case raft.Candidate:
		return RoleCandidate
	}
	if !n.votes() {
		return RoleLearner
	}
	return RoleFollower
}

func (n *Node) members(s *Status) {
	seen := make(map[string]peerStatus)
	for _, p := range n.transport.peers() {
		seen[string(p.ID)] = p
	}
	for _, m := range n.raft.GetConfiguration().Configuration().Servers {
		x := MemberStatus{Peer: n.peer(string(m.ID)), Voter: m.Suffrage == raft.Voter}
		x.RaftAddr = string(m.Address)
		if x.ID == n.o.NodeID {
			x.Match, x.Connected = s.DurableIndex, true
		} else if p, ok := seen[x.ID]; ok {
			x.Match, x.Connected, x.LastContact = p.Match, p.Connected, p.LastContact
		}
		x.Lag = s.LastIndex - min(x.Match, s.LastIndex)
		s.Members = append(s.Members, x)
	}
}

// Everywhere is the highest index that is on the disks of all voters. Meaningful on the leader.
func (n *Node) Everywhere() uint64 { return n.transport.everywhere() }

// Holders is how many voters are known to have index on their disks. Meaningful on the leader.
func (n *Node) Holders(index uint64) int { return n.transport.holders(index) }
