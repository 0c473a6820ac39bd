package raftlog

import (
	"errors"
	"testing"

	"ayder/internal/record"
)

// outcomes collects what happened to the batches of one proposer, without a node.
func proposerAlone() (*Proposer, *int) {
	wakes := new(int)
	return &Proposer{wake: func() { *wakes++ }, losses: map[uint64]error{}, places: map[uint64]uint64{}}, wakes
}

// propose enters a batch in term 3.
func propose(p *Proposer, ps *proposals, b *record.Batch) uint64 {
	id := ps.number()
	ps.add(&proposal{id: id, term: 3, owner: p, batch: b})
	return id
}

// Whoever decides first decides: a batch is committed or lost, never both.
func TestAnOutcomeIsDecidedOnce(t *testing.T) {
	ps := newProposals()
	p, wakes := proposerAlone()
	a, b := record.NewBatch(), record.NewBatch()
	idA, idB := propose(p, ps, a), propose(p, ps, b)
	if ps.begin(idA, 10, 3) != a || ps.begin(idB, 11, 3) != b {
		t.Fatal("StoreLogs gets the batches")
	}
	ps.end(idA)
	ps.end(idB)
	if ps.commit(10) != a || ps.commit(10) != nil {
		t.Fatal("committed once")
	}
	ps.loseAll(ErrLeadershipLost)
	if ps.commit(11) != nil || len(p.losses) != 1 || p.losses[idB] == nil || *wakes != 1 || ps.count() != 0 {
		t.Fatal("lost once", p.losses, *wakes)
	}
}

// A batch that StoreLogs is reading is not given back to the loop, which would write into it.
func TestALossWaitsForStoreLogs(t *testing.T) {
	ps := newProposals()
	p, wakes := proposerAlone()
	b := record.NewBatch()
	id := propose(p, ps, b)
	ps.begin(id, 10, 3)
	ps.loseAll(ErrLeadershipLost)
	if *wakes != 0 {
		t.Fatal("given back while it is read")
	}
	ps.end(id)
	if *wakes != 1 || !errors.Is(p.losses[id], ErrLeadershipLost) {
		t.Fatal("not given back afterwards")
	}
}

// A proposal that was given up before raft came to it is stored as nothing.
func TestAGivenUpProposalIsNotRead(t *testing.T) {
	ps := newProposals()
	p, _ := proposerAlone()
	id := propose(p, ps, record.NewBatch())
	ps.loseAll(ErrLeadershipLost)
	if ps.begin(id, 10, 3) != nil {
		t.Fatal("its batch may be in use again")
	}
}

func TestACutGivesUpWhatItTakesAway(t *testing.T) {
	ps := newProposals()
	p, _ := proposerAlone()
	var ids []uint64
	for i := range uint64(4) {
		id := propose(p, ps, record.NewBatch())
		ps.begin(id, 10+i, 3)
		ps.end(id)
		ids = append(ids, id)
	}
	ps.cut(12)
	if len(p.losses) != 2 || p.losses[ids[2]] == nil || p.losses[ids[3]] == nil || ps.count() != 2 {
		t.Fatal(p.losses)
	}
}

// Offsets were given in one term; in another they may be wrong.
func TestAProposalOfAnotherTermIsRefused(t *testing.T) {
	ps := newProposals()
	p, wakes := proposerAlone()
	id := propose(p, ps, record.NewBatch())
	if ps.begin(id, 10, 5) != nil || !errors.Is(p.losses[id], ErrLeadershipLost) || *wakes != 1 || ps.count() != 0 {
		t.Fatal("stored in a later term")
	}
}
