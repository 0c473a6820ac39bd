package raftlog

import (
	"errors"
	"testing"

	"ayder/internal/record"
)

// outcomes collects what happened to the batches of one proposer, without a node.
func proposerAlone() (*Proposer, *int) {
	wakes := new(int)
	return &Proposer{wake: func() { *wakes++ }, losses: map[*record.Batch]error{}, places: map[*record.Batch]uint64{}}, wakes
}

// Whoever decides first decides: a batch is committed or lost, never both.
func TestAnOutcomeIsDecidedOnce(t *testing.T) {
	ps := newProposals()
	p, wakes := proposerAlone()
	a, b := record.NewBatch(), record.NewBatch()
	idA, idB := ps.add(p, a), ps.add(p, b)
	if ps.begin(idA, 10) != a || ps.begin(idB, 11) != b {
		t.Fatal("StoreLogs gets the batches")
	}
	ps.end(idA)
	ps.end(idB)
	if ps.commit(10) != a || ps.commit(10) != nil {
		t.Fatal("committed once")
	}
	ps.loseAll(ErrLeadershipLost)
	if ps.commit(11) != nil || len(p.losses) != 1 || p.losses[b] == nil || *wakes != 1 || ps.count() != 0 {
		t.Fatal("lost once", p.losses, *wakes)
	}
}

// A batch that StoreLogs is reading is not given back to the loop, which would write into it.
func TestALossWaitsForStoreLogs(t *testing.T) {
	ps := newProposals()
	p, wakes := proposerAlone()
	b := record.NewBatch()
	id := ps.add(p, b)
	ps.begin(id, 10)
	ps.loseAll(ErrLeadershipLost)
	if *wakes != 0 {
		t.Fatal("given back while it is read")
	}
	ps.end(id)
	if *wakes != 1 || !errors.Is(p.losses[b], ErrLeadershipLost) {
		t.Fatal("not given back afterwards")
	}
}

// A proposal that was given up before raft came to it is stored as nothing.
func TestAGivenUpProposalIsNotRead(t *testing.T) {
	ps := newProposals()
	p, _ := proposerAlone()
	id := ps.add(p, record.NewBatch())
	ps.loseAll(ErrLeadershipLost)
	if ps.begin(id, 10) != nil {
		t.Fatal("its batch may be in use again")
	}
}

func TestACutGivesUpWhatItTakesAway(t *testing.T) {
	ps := newProposals()
	p, _ := proposerAlone()
	var bs []*record.Batch
	for i := range uint64(4) {
		b := record.NewBatch()
		id := ps.add(p, b)
		ps.begin(id, 10+i)
		ps.end(id)
		bs = append(bs, b)
	}
	ps.cut(12)
	if len(p.losses) != 2 || p.losses[bs[2]] == nil || p.losses[bs[3]] == nil || ps.count() != 2 {
		t.Fatal(p.losses)
	}
}
