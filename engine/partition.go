package engine

import (
	"sync/atomic"

	"ayder/internal/record"
)

// Partition is one sequence of messages: three numbers that say which offsets exist, the groups'
// committed offsets and the idempotency keys seen lately. The messages themselves are in the log.
//
//	floor ≤ next ≤ assigned
//	|-------|---------|
//	 visible  in flight
//
// It belongs to its shard's loop, except where a method says otherwise. A thousand topics have eight
// thousand of these, nearly all idle, so what most lack is behind a nil pointer. Partitions of a
// topic lie side by side in memory and belong to different loops: the padding to two cache lines
// keeps one loop's stores from slowing another's.
type Partition struct {
	owner    *Shard
	stream   record.Stream
	floor    atomic.Uint64 // written by the owner alone; atomic for Stats
	next     atomic.Uint64 // as floor. Invariant: floor <= next <= assigned
	bytes    atomic.Uint64 // as floor
	assigned uint64        // the offset that the next message gets

	gone   atomic.Uint64 // index of the frame that deleted its topic, 0: it is there; written by the catalogue's shard
	ladder *ladder       // where bytes and times are, nil while nothing was ever written

	asOf   uint64 // index of the last frame that changed this partition
	skipTo uint64 // asOf when the partition was created or restored: replay leaves frames up to here out
	groups map[string]*group
	window *window
	rocket *rocket // nil: the messages are in the log. Set before anybody else knows the partition

	_ [128 - 13*8]byte
}

// group is one consumer group's progress in one partition.
type group struct {
	committed uint64 // the next offset to read; meaningful once applied
	pending   uint64 // the highest offset in flight; meaningful while batch is set
	batch     *record.Batch
	applied   bool // at least one commit was applied
}

// Stats are a partition's figures for metrics: each is exact, all together perhaps of different moments.
type Stats struct{ Floor, Next, Bytes uint64 }

// Stream is the partition's name in the log. Any goroutine may ask.
func (p *Partition) Stream() record.Stream { return p.stream }

// Shard is the number of the shard that owns the partition. Any goroutine may ask.
func (p *Partition) Shard() int { return p.owner.number }

// GoneAt is the index of the frame that deleted the partition's topic, 0 while it exists. What was written in a later frame
// is nowhere. Any goroutine may ask.
func (p *Partition) GoneAt() uint64 { return p.gone.Load() }

// Floor is the first offset that is kept.
func (p *Partition) Floor() uint64 { return p.floor.Load() }

// Next is the end of what may be read: one above the last applied offset.
func (p *Partition) Next() uint64 { return p.next.Load() }

// Assigned is the offset that the next message gets.
func (p *Partition) Assigned() uint64 { return p.assigned }

// Messages is how many may be read.
func (p *Partition) Messages() uint64 { return p.Next() - p.Floor() }

// Bytes is the size of what may be read, as encoded in the log.
func (p *Partition) Bytes() uint64 { return p.bytes.Load() }

// Stats may be called from any goroutine.
func (p *Partition) Stats() Stats {
	floor := p.floor.Load() // before next, which only grows, so that floor <= next holds in what is seen
	return Stats{Floor: floor, Next: p.next.Load(), Bytes: p.bytes.Load()}
}

// Committed returns a group's committed offset, the next one to read, and whether it has any.
// It does not allocate.
func (p *Partition) Committed(name []byte) (uint64, bool) {
	g := p.groups[string(name)]
	if g == nil || !g.applied {
		return 0, false
	}
	return g.committed, true
}

// group returns the named group, made if need be.
func (p *Partition) group(name []byte) *group {
	g := p.groups[string(name)]
	if g == nil {
		if p.groups == nil {
			p.groups = make(map[string]*group)
		}
		g = &group{}
		p.groups[string(name)] = g
	}
	return g
}
