package engine

import (
	"slices"
	"sort"

	"ayder/internal/record"
)

// What of the buckets' streams is wanted still, for whoever gives the log's space back: the records that are some key's
// present value. Deletions and expiries are not; what they leave is in the checkpoints.
//
// It is computed from snapshots of the trees, away from the loops, into one sorted list of offsets per bucket: 8 bytes a
// key for as long as it is used. What is behind a snapshot counts as wanted. Nothing comes to life again, so a
// list that is old errs on the safe side.

// KVSnapshot is a bucket at one moment, for any goroutine.
type KVSnapshot struct {
	bucket uint32
	next   uint64
	keys   int
	tree   kvTree
}

// KVSnapshots are those of the shard's buckets that anything has happened to. It takes microseconds.
func (s *Shard) KVSnapshots() (all []KVSnapshot) {
	for i := range s.engine.kv {
		if k := &s.engine.kv[i]; k.owner == s && k.next > 0 {
			all = append(all, s.KVSnapshotOf(uint32(i)))
		}
	}
	return all
}

// KVSnapshotOf is that of one of the shard's buckets.
func (s *Shard) KVSnapshotOf(bucket uint32) KVSnapshot {
	k := s.kvBucket(bucket)
	return KVSnapshot{bucket, k.next, int(k.keys.Load()), k.tree.snapshot()}
}

// Next is the end of what was applied of the bucket's stream.
func (s *KVSnapshot) Next() uint64 { return s.next }

// Ascend shows the keys that live from the first one not below from on, in order, until fn returns false. full is as
// AppendKVKey has it, and valid during the call.
func (s *KVSnapshot) Ascend(from []byte, fn func(full []byte, e KVEntry) bool) {
	s.tree.ascend(from, func(key []byte, it *kvItem) bool { return it.dead || fn(key, it.entry()) })
}

// KVAlive tells which records of the buckets' streams are wanted. It never changes.
type KVAlive struct {
	next    [KVBuckets]uint64 // what it knows of each stream ends here
	offsets [KVBuckets][]uint64
}

// NewKVAlive makes it of the snapshots of all shards. It takes a second for ten million keys.
func NewKVAlive(all []KVSnapshot) *KVAlive {
	a := &KVAlive{}
	for i := range all {
		s := &all[i]
		list := make([]uint64, 0, s.keys)
		s.tree.ascend(nil, func(_ []byte, it *kvItem) bool {
			if !it.dead {
				list = append(list, it.offset)
			}
			return true
		})
		slices.Sort(list)
		a.next[s.bucket], a.offsets[s.bucket] = s.next, list
	}
	return a
}

// in returns the wanted offsets in [first, next) below what it knows, and where that ends.
func (a *KVAlive) in(s record.Stream, first, next uint64) (known []uint64, end uint64) {
	list, end := a.offsets[s.Partition], min(next, a.next[s.Partition])
	from := sort.Search(len(list), func(i int) bool { return list[i] >= first })
	to := sort.Search(len(list), func(i int) bool { return list[i] >= end })
	return list[from:max(from, to)], max(first, end)
}

// Count is how many offsets in [first, next) of a bucket's stream are wanted.
func (a *KVAlive) Count(s record.Stream, first, next uint64) uint64 {
	known, end := a.in(s, first, next)
	return uint64(len(known)) + next - end
}

// Each calls fn with the ranges that they form, which grow and do not touch.
func (a *KVAlive) Each(s record.Stream, first, next uint64, fn func(first, next uint64)) {
	known, end := a.in(s, first, next)
	for i := 0; i < len(known); {
		from := i
		for i++; i < len(known) && known[i] == known[i-1]+1; i++ {
			continue
		}
		if i == len(known) && known[i-1]+1 == end {
			fn(known[from], next)
			return
		}
		fn(known[from], known[i-1]+1)
	}
	if end < next {
		fn(end, next)
	}
}

// IsKVStream tells whether a stream is a bucket's.
func IsKVStream(s record.Stream) bool { return s.Topic == kvTopic }
