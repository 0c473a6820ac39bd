package raftlog

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"ayder/aof"
	"ayder/internal/record"
)

// A Proposer is one loop's way into the replicated log; Append and Deliver belong to that loop. The life of a batch:
//
//	Admit ─► (the loop fills it) ─► Append ─► raft ─► StoreLogs ─► the disks of a majority ─► fsm ─► the loop: Done
//	                                            └─ leadership lost: Deliver ─► Done with an error
//
// Batches end in the order in which they were appended: one that raft refused and one that it lost leave by Deliver, and a
// committed one takes everything before it along.

// Proposer implements the HTTP face's Log for a node of a cluster.
type Proposer struct {
	node *Node
	wake func() // any thread

	flight []*flight // of the loop: appended and not ended, oldest first
	free   []*flight

	refused        atomic.Bool   // Admit said no for want of room; the node wakes when there is some
	wantSynced     atomic.Bool   // a batch in flight has Synced
	wantEverywhere atomic.Uint64 // index that the loop waits for, 0: none

	mu     sync.Mutex
	losses map[uint64]error  // by number of the proposal; not yet delivered
	places map[uint64]uint64 // indexes of those with Synced
}

// flight is a batch between Append and Done.
type flight struct {
	id     uint64
	batch  *record.Batch
	done   func(b *record.Batch, err error) // the loop's
	synced bool
}

// NewProposer registers a loop; wake makes it call Deliver soon, from any thread. To be called before Start returns to
// anybody who proposes.
func (n *Node) NewProposer(wake func()) *Proposer {
	p := &Proposer{node: n, wake: wake, losses: make(map[uint64]error), places: make(map[uint64]uint64)}
	n.mu.Lock()
	n.proposers = append(n.proposers, p)
	n.mu.Unlock()
	return p
}

// Admit tells whether a batch may be opened: nil, ErrNotLeader, aof.ErrBusy or aof.ErrNoSpace (wake follows when it is worth
// asking again), or why the log has stopped.
func (p *Proposer) Admit() error {
	n := p.node
	if err := n.o.Log.Err(); err != nil {
		return err
	}
	if !n.accepting.Load() {
		return ErrNotLeader
	}
	if n.room() {
		return nil
	}
	p.refused.Store(true)
	if n.o.Log.Full() {
		return aof.ErrNoSpace
	}
	return aof.ErrBusy
}

// Append proposes the batch and returns at once. Its Done is called later, once, in order, on this loop: with nil when the batch
// is committed and to be applied, else with an error that wraps ErrLeadershipLost.
func (p *Proposer) Append(b *record.Batch) {
	f := p.park(b)
	n := p.node
	n.gate.RLock()
	defer n.gate.RUnlock()
	if !n.accepting.Load() {
		p.lost(f.id, fmt.Errorf("%w: nothing was proposed", ErrLeadershipLost))
		return
	}
	if f.synced {
		p.wantSynced.Store(true)
	}
	n.proposals.add(&proposal{id: f.id, term: n.term.Load(), owner: p, batch: b})
	var number [8]byte
	binary.LittleEndian.PutUint64(number[:], f.id)
	n.raft.ApplyLog(raft.Log{Extensions: number[:]}, 0)
}

func (p *Proposer) park(b *record.Batch) *flight {
	var f *flight
	if n := len(p.free); n > 0 {
		f, p.free = p.free[n-1], p.free[:n-1]
	} else {
		f = &flight{}
	}
	*f = flight{id: p.node.proposals.number(), batch: b, done: b.Done, synced: b.Synced != nil}
	b.Done = p.committed
	p.flight = append(p.flight, f)
	if len(p.flight) > proposalsMax {
		panic("bug: more batches in flight than raft's queue holds")
	}
	return f
}

// committed is the Done of a batch on its way: the loop is about to apply it.
func (p *Proposer) committed(b *record.Batch, err error) {
	for len(p.flight) > 0 && p.flight[0].batch != b {
		p.end(ErrLeadershipLost)
	}
	if len(p.flight) == 0 {
		panic("bug: a batch ends that was never appended")
	}
	if f := p.flight[0]; f.synced {
		p.sync(f)
	}
	p.end(err)
}

// end takes the oldest batch out and ends it.
func (p *Proposer) end(err error) {
	f := p.flight[0]
	p.flight = append(p.flight[:0], p.flight[1:]...)
	p.node.proposals.forget(f.id)
	p.mu.Lock()
	delete(p.losses, f.id)
	delete(p.places, f.id)
	p.mu.Unlock()
	b, done := f.batch, f.done
	b.Done = done
	f.batch, f.done = nil, nil
	p.free = append(p.free, f)
	done(b, err)
}

// Deliver ends the batches that were lost and tells of those that are on this node's disk.
func (p *Proposer) Deliver() {
	for len(p.flight) > 0 {
		p.mu.Lock()
		err := p.losses[p.flight[0].id]
		p.mu.Unlock()
		if err == nil {
			break
		}
		p.end(err)
	}
	if !p.wantSynced.Load() {
		return
	}
	durable, more := p.node.o.Log.Durable(), false
	for _, f := range p.flight {
		if !f.synced {
			continue
		}
		p.mu.Lock()
		index, placed := p.places[f.id]
		p.mu.Unlock()
		if !placed || index > durable {
			more = true
			break
		}
		p.sync(f)
	}
	p.wantSynced.Store(more)
}

func (p *Proposer) sync(f *flight) {
	f.synced = false
	f.batch.Synced(f.batch)
}

// placed notes where a batch is, if its loop waits for its disk. Any goroutine.
func (p *Proposer) placed(x *proposal) {
	if x.batch.Synced == nil {
		return
	}
	p.mu.Lock()
	p.places[x.id] = x.index
	p.mu.Unlock()
}

// lost notes that the outcome of a proposal will not be known. Any goroutine.
func (p *Proposer) lost(id uint64, err error) {
	p.mu.Lock()
	p.losses[id] = err
	p.mu.Unlock()
	p.wake()
}

// Everywhere is the highest index that is on the disks of all voters.
func (p *Proposer) Everywhere() uint64 { return p.node.Everywhere() }

// Holders is how many voters have index on their disks.
func (p *Proposer) Holders(index uint64) int { return p.node.Holders(index) }

// WantEverywhere has the loop woken once index is on the disks of all voters.
func (p *Proposer) WantEverywhere(index uint64) {
	p.wantEverywhere.Store(index)
	if p.Everywhere() >= index {
		p.wake()
	}
}

// progress wakes the loop if something came true that it waits for. Any goroutine.
func (p *Proposer) progress(durable bool) {
	if durable && p.wantSynced.Load() {
		p.wake()
		return
	}
	if want := p.wantEverywhere.Load(); want != 0 && p.Everywhere() >= want && p.wantEverywhere.CompareAndSwap(want, 0) {
		p.wake()
	}
}
