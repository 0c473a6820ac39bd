package raftlog

import (
	"errors"

	"github.com/hashicorp/raft"

	"ayder/aof"
)

// Errors that callers tell apart.
var (
	// ErrNotLeader: this node does not lead, or not yet; nothing was proposed.
	ErrNotLeader = raft.ErrNotLeader
	// ErrLeadershipLost: proposed, but this node stopped leading before it learned the outcome.
	ErrLeadershipLost = errors.New("leadership was lost before the commit was known")
	// ErrUnknownNode: no member has that id.
	ErrUnknownNode = errors.New("no such member")
	// ErrConflict: the change does not fit the members that there are.
	ErrConflict = errors.New("conflict")
	// ErrNotCurrent: the member is too far behind for what was asked.
	ErrNotCurrent = errors.New("the member is not current")
	// ErrStopped: the node is shutting down.
	ErrStopped = errors.New("the node is stopping")
)

// isNotFound tells that the log has no such entry.
func isNotFound(err error) bool { return errors.Is(err, aof.ErrNotFound) }
