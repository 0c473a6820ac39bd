package engine

import (
	"sync/atomic"

	"ayder/internal/record"
)

// The key-value store: 64 buckets, which namespaces are spread over by a hash of their name. A bucket is a stream of the
// log, of topic 0, and what is in memory of it: the state that its records so far amount to, key by key. Values stay in
// the log; the tree says at which offset.
//
//	record in stream {0, bucket}     key: namespace | 0 | key     headers: the head     value: the value, of a put
//	head                             0 op u8: 1 put, 2 delete, 3 expiry | 1 cas u64 | 9 expiry_ms u64, 0: none
//
// So one namespace has one owner, one order, and one sequence of offsets, by which a watch can be resumed.
//
// # cas
//
// Every change of a key, its end included, has the next higher number. What a deleted key leaves in the tree is that
// number, for the kvDeadMax last deleted ones of a bucket; the highest of those that were dropped is the bucket's base,
// and a key that the tree knows nothing of begins above it. So no number ever comes back for a key. A put that names the
// number it expects is judged by what was applied and what is in flight, as idempotency keys are.
//
// # Expiry
//
// A key that has expired is gone because a record says so, never because somebody's clock does. Whoever finds on the leader, by
// its clock, that a key is due has the record written first: a put or delete of that key in the same batch, a
// read by waiting for it, the loop for keys that nobody asks for. Hence nobody who has seen a key gone sees it
// again, whatever the clock of the next leader says. Nodes that do not lead, and those that cannot write, do not show
// a key once the newest frame they have applied is as late as its expiry; that only anticipates the record.

// KVBuckets is how many streams namespaces are spread over. It is part of the disk format.
const KVBuckets = 64

// kvTopic is the topic id of their streams; those of topics start at 1.
const kvTopic = 0

// kvBucket is one part of the store. It belongs to its shard's loop.
type kvBucket struct {
	owner    *Shard
	stream   record.Stream
	next     uint64 // one above the last applied offset
	assigned uint64 // the offset that the next change gets. Invariant: next <= assigned
	asOf     uint64 // index of the last frame that changed this bucket
	skipTo   uint64 // asOf when it was restored: replay leaves frames up to here out
	base     uint64 // the highest cas of a deleted key that was dropped
	dead     int    // deleted keys in the tree
	tree     kvTree
	keys     atomic.Int64  // that live; written by the owner alone
	end      atomic.Uint64 // next, for other goroutines; written by the owner alone
}

// KVBucketOf returns the bucket that a namespace's keys are in.
func KVBucketOf(namespace []byte) uint32 { return uint32(bucket(namespace)) % KVBuckets }

// KVStream is the stream that a bucket's changes are in.
func KVStream(bucket uint32) record.Stream { return record.Stream{Topic: kvTopic, Partition: bucket} }

// AppendKVKey encodes a key of a namespace as streams and trees have it: the order of keys is kept, and a namespace's are
// together.
func AppendKVKey(dst, namespace, key []byte) []byte {
	dst = append(dst, namespace...)
	dst = append(dst, 0)
	return append(dst, key...)
}

// SplitKVKey is the reverse.
func SplitKVKey(full []byte) (namespace, key []byte, ok bool) {
	for i, c := range full {
		if c == 0 {
			return full[:i], full[i+1:], validKVKey(full[:i], full[i+1:])
		}
	}
	return nil, nil, false
}

func validKVKey(namespace, key []byte) bool {
	return ValidName(namespace) && len(key) > 0 && len(key) <= KVKeyBytesMax
}

// KVEntry is a key that is there.
type KVEntry struct {
	Offset uint64 // of the record that has its value
	CAS    uint64
	Expiry uint64 // Unix milliseconds, 0: never
	Size   uint32 // of the value, in bytes
}

func (it *kvItem) entry() KVEntry {
	return KVEntry{Offset: it.offset, CAS: it.cas, Expiry: it.expiry, Size: it.size}
}

// expired tells whether the key is due at now.
func (it *kvItem) expired(now uint64) bool { return it.expiry != 0 && it.expiry <= now }

func (s *Shard) kvBucket(n uint32) *kvBucket {
	k := &s.engine.kv[n]
	if k.owner != s {
		panic("bug: bucket used by a shard that does not own it")
	}
	return k
}

// KVFound says what a look at a key has found.
type KVFound uint8

// What KVGet finds.
const (
	KVAbsent KVFound = iota
	KVPresent
	KVDue // present, and expired by the clock: have it expired, or take it for absent where nothing can be written
)

// KVGet looks a key up among what was applied. now is the reader's clock, in Unix milliseconds; the shard's own time
// counts where that is later. It does not allocate.
func (s *Shard) KVGet(full []byte, bucket uint32, now uint64) (KVEntry, KVFound) {
	it := s.kvBucket(bucket).tree.get(full)
	switch {
	case it == nil || it.dead:
		return KVEntry{}, KVAbsent
	case it.expired(max(now, s.timeMs)):
		return it.entry(), KVDue
	}
	return it.entry(), KVPresent
}

// KVTime is the time by which a node that follows judges: that of the newest frame applied here.
func (s *Shard) KVTime() uint64 { return s.timeMs }

// KVEnd is the end of what was applied of a bucket's stream. Any goroutine may ask.
func (e *Engine) KVEnd(bucket uint32) uint64 { return e.kv[bucket].end.Load() }

// KVList shows the keys of a namespace that begin with prefix and are above after, where that is not nil, in order, until
// fn returns false. Live is false for those that are deleted, or due at now. Key is valid during the call.
func (s *Shard) KVList(namespace, prefix, after []byte, now uint64, fn func(key []byte, e KVEntry, live bool) bool) {
	full := AppendKVKey(nil, namespace, prefix)
	from := full
	if after != nil {
		if above := append(AppendKVKey(nil, namespace, after), 0); string(above) > string(full) {
			from = above
		}
	}
	now = max(now, s.timeMs)
	s.kvBucket(KVBucketOf(namespace)).tree.ascend(from, func(key []byte, it *kvItem) bool {
		if len(key) < len(full) || string(key[:len(full)]) != string(full) {
			return false
		}
		return fn(key[len(namespace)+1:], it.entry(), !it.dead && !it.expired(now))
	})
}

// KVKeys is how many keys live. Any goroutine may ask.
func (e *Engine) KVKeys() (n int64) {
	for i := range e.kv {
		n += e.kv[i].keys.Load()
	}
	return n
}

// KVDueMs is when the next key of this shard expires, 0 if none does.
func (s *Shard) KVDueMs() uint64 {
	due := uint64(kvNone)
	for i := range s.engine.kv {
		if k := &s.engine.kv[i]; k.owner == s {
			due = min(due, k.tree.mins().due)
		}
	}
	if due == kvNone {
		return 0
	}
	return due
}

// The head of a record.

type kvOp uint8

const (
	kvPut    kvOp = 1
	kvDelete kvOp = 2
	kvExpire kvOp = 3
)

const kvHeadBytes = 17

// KVChange is one change as a record tells of it; its slices alias the record.
type KVChange struct {
	Namespace, Key []byte
	CAS            uint64
	Expiry         uint64 // Unix milliseconds, 0: never
	Value          []byte
	Put, Expired   bool // neither: it was deleted
}

// ReadKVChange decodes a record of a bucket's stream.
func ReadKVChange(r *record.Record) (c KVChange, ok bool) {
	h, ok := readKVHead(r)
	if !ok {
		return c, false
	}
	c = KVChange{CAS: h.cas, Expiry: h.expiry, Value: r.Value, Put: h.op == kvPut, Expired: h.op == kvExpire}
	c.Namespace, c.Key, ok = SplitKVKey(r.Key)
	return c, ok
}
