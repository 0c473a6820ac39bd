package engine

import (
	"sync/atomic"

	"ayder/internal/record"
)

// Shard is the part of the engine that one loop owns: the partitions that ShardOf gives it, and
// what is in flight for them. It is not safe for concurrent use.
//
// In flight means: encoded into a batch that was not applied yet. It is resolved by Apply, batch by batch, or
// taken back as a whole, by Forget.
type Shard struct {
	engine  *Engine
	number  int
	timeMs  uint64        // highest time of an applied frame
	applied atomic.Uint64 // index of the last applied frame; written by the owner, read by metrics too

	keys     map[flightKey]flight // idempotency keys in flight
	windows  []*Partition         // the partitions that remember keys, in no particular order
	sweepAt  int                  // the one in windows to sweep next
	idem     [idemPrefixBytes + IdemKeyBytesMax]byte
	changing changes // topics in flight; only on the catalogue's shard

	committing map[*group]committing  // groups with a commit in flight
	cutting    map[*Partition]cutting // partitions whose floor is on its way

	rockets map[*Partition]struct{} // partitions whose messages are in memory

	pipelines map[uint32]*stepped // pipelines that write into partitions of this shard, once they have

	buried uint64 // the deletions that this shard has seen
	dig    bool   // it applied, or left out, something of a topic that is deleted
	look   place  // where Retain goes on

	kvFlying  map[keyHash]kvFlight // keys of the key-value store with a change in flight
	kvOrder   []kvLanding
	kvLanded  int // of kvOrder
	kvHead    [kvHeadBytes]byte
	kvRecord  record.Record
	kvScratch []byte
}

// flightKey names an idempotency key among all partitions of a shard.
type flightKey struct {
	stream record.Stream
	hash   keyHash
}

// flight is where the first produce with a key is on its way.
type flight struct {
	batch *record.Batch
	first uint64
	count uint32
}

func newShard(e *Engine, number int) *Shard {
	return &Shard{engine: e, number: number, keys: make(map[flightKey]flight), committing: make(map[*group]committing), kvFlying: make(map[keyHash]kvFlight), cutting: make(map[*Partition]cutting), rockets: make(map[*Partition]struct{})}
}

// LastApplied returns the index of the last frame that this shard applied. Any goroutine may ask.
func (s *Shard) LastApplied() uint64 { return s.applied.Load() }

// mustOwn stops a loop that reaches into another one's partition before it can do harm.
func (s *Shard) mustOwn(p *Partition) {
	if p.owner != s {
		panic("bug: partition used by a shard that does not own it")
	}
}

// mustSeal is mustOwn for what goes into the log: a rocket topic's messages never do.
func (s *Shard) mustSeal(p *Partition) {
	s.mustOwn(p)
	if p.rocket != nil {
		panic("bug: message of a rocket topic for the log")
	}
}

// now is the time by which a request that goes into b judges the age of keys. It never exceeds the
// time that b's frame will carry, so what has expired now has expired when the frame is applied.
func (s *Shard) now(b *record.Batch) uint64 { return max(b.TimeMs, s.timeMs) }
