package raftlog

import (
	"errors"

	"github.com/hashicorp/raft"
)

// Errors that callers tell apart.
var (
	// ErrNotLeader: this node does not lead, or not yet; nothing was proposed.
	ErrNotLeader = raft.ErrNotLeader
	// ErrLeadershipLost: proposed, but this node stopped leading before it learned the outcome.
	ErrLeadershipLost = errors.New("leadership was lost before the commit was known")
	// ErrStopped: the node is shutting down.
	ErrStopped = errors.New("the node is stopping")
)
