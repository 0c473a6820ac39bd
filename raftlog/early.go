package raftlog

import (
	"sync"

	"github.com/hashicorp/raft"
)

// early is a deliberate fault: built with the tag ackearly, a leader applies and acknowledges its own entries when they
// are in its log, before anybody else has them. The history checks must find that; without the tag none of it is used.
type early struct {
	mu    sync.Mutex
	terms map[uint64]uint64 // of the indexes that were applied too soon
}

// apply applies l if it is a proposal of this node.
func (e *early) apply(n *Node, l *raft.Log) {
	b := n.proposals.commit(l.Index)
	if b == nil {
		return
	}
	e.mu.Lock()
	if e.terms == nil {
		e.terms = make(map[uint64]uint64)
	}
	e.terms[l.Index] = l.Term
	e.mu.Unlock()
	n.o.Apply([]Committed{committed(l, b)})
}

// took tells that l was applied already.
func (e *early) took(l *raft.Log) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	term, ok := e.terms[l.Index]
	delete(e.terms, l.Index)
	return ok && term == l.Term
}
