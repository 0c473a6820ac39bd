package api

import (
	"context"
	"time"
)

// The seams to a cluster, declared here by their consumer; cmd/ayder wires package raftlog into them and the tests
// a cluster that is only memory. Without a Cluster the server is a single node, which leads itself for ever.
//
// What a cluster adds to a loop is little, because the order of things stays the same: a batch goes to the Log, and
// its Done comes back in log order. New is that
//
//	Admit may say ErrNotLeader        the request is redirected
//	Done may say ErrLeadershipLost    nobody knows what became of the batch, and the offsets given since are void:
//	                                  everything parked is answered 503 and the shard forgets what is in flight
//	frames come from other nodes      Server.ApplyCommitted
//	a term of leadership begins       Server.BeginTerm: from here on, and not before, the loops open batches

// Cluster is what the server must know of, and may ask of, the group of nodes that it is one of. All methods may be
// called from any goroutine.
type Cluster interface {
	// Status never blocks and is cheap enough for every request; the caller must not change what it gets.
	Status() *ClusterStatus
	// Leading: this node leads, has applied everything committed before its term, and BeginTerm has returned.
	Leading() bool
	// Leased: besides, no other node can have become leader by now, so that a read may be served without asking.
	Leased() bool
	// ReadBarrier calls done once, on any goroutine: with nil when this node is known to have led after the call began
	// and ApplyCommitted has returned for everything that was committed by then, else with why reads may not be
	// served. It must call done within a bounded time.
	ReadBarrier(done func(error))

	Membership
}

// Membership changes the cluster. Its methods block until the change is committed or ctx is done. Errors wrap
// ErrNotLeader, ErrUnknownNode, ErrNodeConflict, ErrLeadershipLost, a context's, or are of other kinds, which are
// answered 503.
type Membership interface {
	// Add brings a node in that receives the log and has no vote.
	Add(ctx context.Context, m Member) error
	// Promote gives a node a vote.
	Promote(ctx context.Context, id string) error
	// Remove takes a node out.
	Remove(ctx context.Context, id string) error
	// Transfer makes another node the leader: this one, or the best where id is empty.
	Transfer(ctx context.Context, id string) error
}

// Replicated is what a Log has besides when its batches go to several nodes. Called on the log's loop; none blocks.
type Replicated interface {
	// Everywhere is the highest index that is on the disks of all voters.
	Everywhere() uint64
	// Holders is how many voters have index on their disks.
	Holders(index uint64) int
	// WantEverywhere has this loop woken once everywhere has reached index. A later call replaces an earlier one.
	WantEverywhere(index uint64)
}

// Concern says how much must be true before a write is answered.
type Concern uint8

// The write concerns. A produce may ask for one with concern=.
const (
	ConcernMajority Concern = iota // committed: on the disks of a majority
	ConcernAsync                   // on the leader's disk
	ConcernAll                     // on the disks of all voters
)

var concernNames = [...]string{"sync-majority", "async", "sync-all"}

// String is the name in the HTTP interface.
func (c Concern) String() string { return concernNames[c] }

// ConcernOf is the concern that waits for so many disks of so many nodes: Async for one, All for more than a majority.
func ConcernOf(disks, nodes int) Concern {
	switch {
	case disks > nodes/2+1:
		return ConcernAll
	case disks == 1 && nodes > 1:
		return ConcernAsync
	}
	return ConcernMajority
}

// Role is what a node is in its cluster, as ramforge_ha_role counts.
type Role uint8

// The roles of a node.
const (
	RoleLeader Role = iota
	RoleFollower
	RoleCandidate
	RoleLearner // receives the log, has no vote
)

var roleNames = [...]string{"leader", "follower", "candidate", "learner"}

// String is the role's name in answers.
func (r Role) String() string { return roleNames[r] }

// Member is a node that is to be added.
type Member struct {
	ID       string
	RaftAddr string // host:port of the raft listener
	HTTPAddr string // host:port where clients go, empty if not known yet
	// HTTPSAddr is where clients go that came over TLS, empty for nowhere.
	HTTPSAddr string
	Priority  int
}

// ClusterStatus is the cluster as this node sees it at one moment.
type ClusterStatus struct {
	NodeID         string
	Role           Role
	Term           uint64
	LeaderID       string // empty: none is known
	LeaderHTTPAddr string // host:port, empty: not known
	// LeaderHTTPSAddr is where clients go that came over TLS, host:port; empty: the leader serves no TLS, or nobody said where.
	LeaderHTTPSAddr string
	CommitIndex     uint64 // what this node knows to be committed
	AppliedIndex    uint64 // Invariant: AppliedIndex <= CommitIndex
	LeaderCommit    uint64 // the leader's commit index as last heard
	LastIndex       uint64 // of this node's log
	LostIndex       uint64 // up to here its log had entries that were damaged and are not back yet; 0: none, the largest: unknown
	CaughtUp        bool   // since its start this node has once applied everything that the leader had committed
	FreshQuorum     bool   // a majority was heard from lately: the leader of its followers, a follower of its leader
	WriteConcern    int    // disks that a write waits for unless it says otherwise: 1, majority or all
	Peers           []PeerStatus
}

// PeerStatus is one node of the cluster, this one included. What only a leader knows is zero elsewhere.
type PeerStatus struct {
	ID          string
	RaftAddr    string
	HTTPAddr    string // empty: it has not said yet
	HTTPSAddr   string // empty: it serves no TLS, or has not said yet
	Priority    int
	Voter       bool
	Self        bool
	Connected   bool
	MatchIndex  uint64    // its log equals the leader's up to here
	Lag         uint64    // entries between the leader's last and that
	LastContact time.Time // zero: never
}
