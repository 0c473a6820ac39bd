package raftlog

import (
	"sync"

	"ayder/internal/record"
)

// Proposals under way on this node, from a loop's Append to the outcome. An outcome is decided once, under the lock, by
// whoever comes first: the state machine (committed) or the loss of leadership (unknown to us, whatever becomes of it).
// While StoreLogs reads a batch, the loss of leadership only leaves a note: the loop would use the batch again.
//
// A proposal belongs to the term in which its offsets were given. If raft comes to it in a later one, it is refused.

type proposalState uint8

const (
	proposed  proposalState = iota // on its way to StoreLogs
	storing                        // StoreLogs is reading the batch
	replicate                      // in the log, not committed
)

type proposal struct {
	id    uint64
	term  uint64
	owner *Proposer
	batch *record.Batch
	state proposalState
	index uint64
	lost  error // found while storing
}

type proposals struct {
	mu      sync.Mutex
	next    uint64
	byID    map[uint64]*proposal
	byIndex map[uint64]*proposal
}

func newProposals() *proposals {
	return &proposals{byID: make(map[uint64]*proposal), byIndex: make(map[uint64]*proposal)}
}

// number returns the next proposal's.
func (p *proposals) number() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next++
	return p.next
}

// add enters a proposal.
func (p *proposals) add(x *proposal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byID[x.id] = x
}

// forget takes a proposal out whose owner has ended it.
func (p *proposals) forget(id uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if x := p.byID[id]; x != nil {
		delete(p.byID, id)
		if p.byIndex[x.index] == x {
			delete(p.byIndex, x.index)
		}
	}
}

// begin gives StoreLogs the batch to read, nil if the proposal was given up or is of another term.
func (p *proposals) begin(id, index, term uint64) *record.Batch {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.byID[id]
	if x == nil {
		return nil
	}
	if x.term != term {
		p.lose(x, ErrLeadershipLost)
		return nil
	}
	x.state, x.index = storing, index
	p.byIndex[index] = x
	return x.batch
}

// end says that the batch was read.
func (p *proposals) end(id uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.byID[id]
	if x == nil {
		return
	}
	x.state = replicate
	if x.lost != nil {
		p.lose(x, x.lost)
		return
	}
	x.owner.placed(x)
}

// commit takes the proposal at index, nil if there is none of ours.
func (p *proposals) commit(index uint64) *record.Batch {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.byIndex[index]
	if x == nil {
		return nil
	}
	delete(p.byIndex, index)
	delete(p.byID, x.id)
	return x.batch
}

// cut gives up the proposals from index on: another leader's entries take their places.
func (p *proposals) cut(index uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, x := range p.byIndex {
		if i >= index {
			p.lose(x, ErrLeadershipLost)
		}
	}
}

// loseAll gives up everything.
func (p *proposals) loseAll(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, x := range p.byID {
		if x.state == storing {
			x.lost = err
			continue
		}
		p.lose(x, err)
	}
}

// lose gives up one. Under mu.
func (p *proposals) lose(x *proposal, err error) {
	delete(p.byID, x.id)
	if p.byIndex[x.index] == x {
		delete(p.byIndex, x.index)
	}
	x.owner.lost(x.id, err)
}

// count is how many proposals are under way.
func (p *proposals) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.byID)
}
