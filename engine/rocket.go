package engine

import (
	"fmt"

	"ayder/internal/record"
)

// Rocket topics: messages that are in memory only. Their topics, and what groups commit, are in the log like everybody's.
//
// What must outlive a restart is that no offset is ever given twice. So offsets come in ranges of 2^32, each taken through the
// log before the first message of it: section 14 says "range n of this partition is taken", and the log gives every number
// once. Whoever put that section there, and learned by Apply that it was committed, gives the offsets of the range, for as
// long as it runs or leads. A restart, or another leader, takes the next range with its first message.
//
//	offset   n<<32 ──────────── floor ───────────── next ─── limit = (n+1)<<32
//	                 dropped          in memory      free
//
// As far as the log knows, a partition is empty and goes on where the next range will begin: floor = next = ranges<<32. This
// is what replay, checkpoints and other nodes have, and what a leader that was deposed goes back to. A consumer that comes
// with an offset of an earlier life finds it below the floor, and so does a group's committed offset.
//
// One counter for the whole node was simpler to explain; but then a shard would need another's word before it writes. With
// one per partition everything stays on the partition's loop, and a section costs 32 bytes per partition and life.
//
// What a partition holds is bounded by the policy for it (retention.go), and all of them together by Config.RocketBytesMax: the
// oldest go first, whenever something is added.

// rocket is what a partition of a rocket topic has besides. It belongs to the partition's loop, but for the chunks.
type rocket struct {
	ranges   uint64        // taken so far, by anybody
	batch    *record.Batch // where the next one is in flight
	open     bool          // the last one is this node's, and it may give offsets of it
	maxBytes uint64        // of messages
	ttlMs    uint64        // 0: none
	chunks   chunks
}

// rangeBits is log2 of the offsets in a range.
const rangeBits = 32

func newRocket(e *Engine, p Policy) *rocket {
	r := &rocket{}
	r.limit(p)
	r.chunks.pool = &e.memory
	return r
}

// limit has the partition hold what a policy says.
func (r *rocket) limit(p Policy) {
	r.ttlMs, r.maxBytes = p.TTLMs, p.MaxBytes
	if r.maxBytes == 0 {
		r.maxBytes = RocketBytesDefault
	}
}

// retain drops what a policy does not want any more.
func (r *rocket) retain(p *Partition, policy Policy, nowMs uint64) {
	r.limit(policy)
	for r.open && r.chunks.last != nil && r.tooMuch(p, 0, nowMs) {
		r.dropOldest(p)
	}
}

// Rocket tells whether the partition's messages are in memory only. Any goroutine may ask.
func (p *Partition) Rocket() bool { return p.rocket != nil }

// RocketReady tells whether count messages may be given to ProduceRocket now; otherwise a range must be taken first.
func (p *Partition) RocketReady(count int) bool {
	r := p.rocket
	return r.open && r.ranges<<rangeBits-p.assigned >= uint64(count)
}

// TakeRange makes sure that the next range is on its way, with a command in b if need be, and returns the batch after whose
// Apply RocketReady holds.
func (s *Shard) TakeRange(b *record.Batch, p *Partition) *record.Batch {
	s.mustOwn(p)
	r := p.rocket
	if r.batch == nil {
		b.AppendCommand(record.SectionBoot, p.stream, r.ranges, nil)
		r.batch = b
	}
	return r.batch
}

// applyRange applies the taking of a range: ours, if this shard's own batch had it.
func (p *Partition) applyRange(sec *record.Section, live bool) error {
	r := p.rocket
	switch {
	case r == nil:
		return fmt.Errorf("a range of a topic that is not rocket: %w", ErrDiverged)
	case sec.Base != r.ranges || r.ranges>>(63-rangeBits) != 0:
		return fmt.Errorf("range %d after %d: %w", sec.Base, r.ranges, ErrDiverged)
	}
	r.batch = nil
	r.ranges++
	if live { // where offsets of the range before are being given, they just go on
		r.open = true
		p.owner.rockets[p] = struct{}{}
		return nil
	}
	r.clear(p)
	return nil
}

// clear takes the partition back to what the log knows.
func (r *rocket) clear(p *Partition) {
	r.open = false
	delete(p.owner.rockets, p)
	r.chunks.drop()
	p.bytes.Store(0)
	p.assigned = r.ranges << rangeBits
	p.next.Store(p.assigned) // first, so that floor <= next holds for whoever looks meanwhile
	p.floor.Store(p.assigned)
}

// forget takes back what depends on leading.
func (r *rocket) forget(p *Partition) {
	r.batch = nil
	if r.open {
		r.clear(p)
	}
}

// ProduceRocket stores a message at the partition's next offset: it is visible at once, and nowhere but here. RocketReady must
// hold; nowMs is the time by which messages are too old. It allocates nothing but chunks. Errors: ErrOffset.
func (s *Shard) ProduceRocket(p *Partition, m *record.Record, opt ProduceOptions, nowMs uint64) (Append, error) {
	many, err := s.BeginRocket(p, 1, opt, nowMs)
	if err != nil {
		return Append{}, err
	}
	many.Add(m)
	return many.End(), nil
}

// BeginRocket is BeginMany for a rocket topic.
func (s *Shard) BeginRocket(p *Partition, count uint32, opt ProduceOptions, nowMs uint64) (Many, error) {
	s.mustOwn(p)
	if !p.RocketReady(int(count)) {
		panic("bug: produce to a rocket topic without a range")
	}
	if count == 0 {
		return Many{}, ErrCount
	}
	if err := opt.check(p); err != nil {
		return Many{}, err
	}
	return Many{shard: s, p: p, first: p.assigned, count: count, nowMs: nowMs}, nil
}

// add stores the next message of a produce, not yet visible.
func (r *rocket) add(p *Partition, m *record.Record, nowMs uint64) {
	size := m.Size()
	for r.chunks.last != nil && r.tooMuch(p, size, nowMs) {
		r.dropOldest(p)
	}
	r.chunks.append(p.assigned, m, nowMs, r.maxBytes)
	p.bytes.Store(p.bytes.Load() + uint64(size))
}

// tooMuch tells whether the oldest chunk must go before a message of size bytes comes. The last one stays while there is room
// in it, unless all of it is too old.
func (r *rocket) tooMuch(p *Partition, size int, nowMs uint64) bool {
	c := &r.chunks
	if r.ttlMs > 0 && c.list[0].newestMs+r.ttlMs <= nowMs {
		return true
	}
	return (c.more() || !c.last.fits(size)) && (p.bytes.Load()+uint64(size) > r.maxBytes || c.pool.full())
}

func (r *rocket) dropOldest(p *Partition) {
	gone, floor := r.chunks.dropOldest(p.assigned)
	p.bytes.Store(p.bytes.Load() - gone)
	p.next.Store(max(p.next.Load(), floor)) // a produce of many may be larger than all that is kept
	p.floor.Store(max(p.floor.Load(), floor))
}

// DropBefore raises the floor of a rocket partition to offset, at most to its end, and returns how many messages are gone.
// Memory is given back by whole chunks.
func (s *Shard) DropBefore(p *Partition, offset uint64) (messages uint64) {
	s.mustOwn(p)
	r, floor := p.rocket, p.floor.Load()
	offset = min(offset, p.next.Load())
	if offset <= floor {
		return 0
	}
	for r.chunks.more() && r.chunks.list[1].base <= offset {
		r.dropOldest(p)
	}
	if offset == p.next.Load() {
		r.chunks.drop()
		p.bytes.Store(0)
	}
	p.floor.Store(offset)
	return offset - floor
}

// ReadRocket visits the sections of memory that hold offsets of [offset, end), in order, until visit returns false; they are
// valid during the call. It stops where messages are gone that were there before, so there are no gaps. It returns the
// offset behind the last section that was visited. Any goroutine may call it.
func (p *Partition) ReadRocket(offset, end uint64, visit func(record.Section) bool) (next uint64) {
	for offset < end {
		c := p.rocket.chunks.pin(offset)
		if c == nil {
			return offset
		}
		sec := c.section(p.stream)
		behind := sec.Base + uint64(sec.Count)
		more := behind > offset && visit(sec)
		p.rocket.chunks.unpin(c)
		if behind <= offset {
			return offset
		}
		offset = behind
		if !more {
			return offset
		}
	}
	return offset
}
