package engine

import (
	"encoding/binary"

	"ayder/internal/record"
)

// Changes of keys, decided on the owner's loop: each is one record in the open batch, with the next cas of its key. What
// is in flight counts, so that puts which build on each other may follow each other without waiting. The last change of a key
// that is in flight is remembered by the key's hash, 128 bits of SHA-256 as for idempotency keys: two keys that
// collided would take each other's state for theirs.

// kvState is what a change of a key has to follow from.
type kvState struct {
	cas    uint64
	expiry uint64
	live   bool
	batch  *record.Batch // where the change that made it so is in flight, nil: applied
}

// kvFlight is the last change of a key that is in flight.
type kvFlight struct {
	kvState
	offset uint64
}

// kvLanding is one change in flight, in the order in which they were decided: a change that is applied need not be hashed again.
type kvLanding struct {
	hash   keyHash
	offset uint64
	bucket uint32
}

// KVOptions are what a change may ask for.
type KVOptions struct {
	CAS    uint64 // the key must have it, 0: must not exist; if HasCAS
	HasCAS bool
	TTLMs  uint64 // from NowMs on, 0: for ever
	NowMs  uint64 // the caller's clock; the batch's time counts where that is later
}

// KVResult tells what became of a change.
type KVResult struct {
	CAS     uint64 // of the change; of the key as it is, beside ErrCAS, 0: it does not exist
	Changed bool   // false: there was nothing to delete
}

// KVPut gives a key a value with a record in b, which the caller has checked for room. full is AppendKVKey's, and the
// value has at most KVValueBytesMax. It keeps neither and does not allocate but for the memory of new keys, later. Errors:
// ErrCAS, ErrKVLimit.
func (s *Shard) KVPut(b *record.Batch, bucket uint32, full, value []byte, opt KVOptions) (KVResult, error) {
	k := s.kvBucket(bucket)
	h := hashKey(full)
	st := k.current(b, full, h)
	if err := opt.check(&st); err != nil {
		return KVResult{CAS: st.shown()}, err
	}
	if !st.live && k.keys.Load()+int64(len(s.kvFlying)) >= kvKeysMax {
		return KVResult{}, ErrKVLimit
	}
	expiry := uint64(0)
	if opt.TTLMs > 0 {
		expiry = max(s.now(b), opt.NowMs) + opt.TTLMs // the batch may have been open for long
	}
	return KVResult{k.change(b, full, h, kvPut, st.cas, expiry, value), true}, nil
}

// KVDelete takes a key away with a record in b, if it is there. Errors: ErrCAS.
func (s *Shard) KVDelete(b *record.Batch, bucket uint32, full []byte, opt KVOptions) (KVResult, error) {
	k := s.kvBucket(bucket)
	h := hashKey(full)
	st := k.current(b, full, h)
	if err := opt.check(&st); err != nil {
		return KVResult{CAS: st.shown()}, err
	}
	if !st.live {
		return KVResult{}, nil
	}
	return KVResult{k.change(b, full, h, kvDelete, st.cas, 0, nil), true}, nil
}

// KVExpire has a key that KVGet found due expired in b. It returns the batch whose end decides: b, or one in flight
// that has changed the key already.
func (s *Shard) KVExpire(b *record.Batch, bucket uint32, full []byte) *record.Batch {
	k := s.kvBucket(bucket)
	h := hashKey(full)
	if f, ok := s.kvFlying[h]; ok {
		return f.batch
	}
	if it := k.tree.get(full); it != nil && !it.dead {
		k.change(b, full, h, kvExpire, it.cas, 0, nil)
	}
	return b
}

// KVExpireDue has up to most keys that are due at now expired in b, and returns how many.
func (s *Shard) KVExpireDue(b *record.Batch, now uint64, most int) (n int) {
	for i := range s.engine.kv {
		k := &s.engine.kv[i]
		if k.owner != s || k.tree.mins().due > now {
			continue
		}
		k.tree.eachDue(now, func(key []byte, it *kvItem) bool {
			if n >= most {
				return false
			}
			h := hashKey(key)
			if _, ok := s.kvFlying[h]; !ok {
				k.change(b, key, h, kvExpire, it.cas, 0, nil)
				n++
			}
			return true
		})
	}
	return n
}

func (o *KVOptions) check(st *kvState) error {
	if o.HasCAS && o.CAS != st.shown() {
		return ErrCAS
	}
	return nil
}

// shown is the cas as clients know it: a key that is not there has none.
func (st *kvState) shown() uint64 {
	if !st.live {
		return 0
	}
	return st.cas
}

// current returns the key's state, in which it has not expired by the time of b: else its expiry is in b now.
func (k *kvBucket) current(b *record.Batch, full []byte, h keyHash) kvState {
	st := k.state(full, h)
	if st.live && st.expiry != 0 && st.expiry <= k.owner.now(b) {
		st = kvState{cas: k.change(b, full, h, kvExpire, st.cas, 0, nil), batch: b}
	}
	return st
}

func (k *kvBucket) state(full []byte, h keyHash) kvState {
	if f, ok := k.owner.kvFlying[h]; ok {
		return f.kvState
	}
	it := k.tree.get(full)
	if it == nil {
		return kvState{cas: k.base}
	}
	return kvState{cas: it.cas, expiry: it.expiry, live: !it.dead}
}

// change encodes the change that follows the one with cas and returns its own.
func (k *kvBucket) change(b *record.Batch, full []byte, h keyHash, op kvOp, cas, expiry uint64, value []byte) uint64 {
	s, le := k.owner, binary.LittleEndian
	cas++
	s.kvHead[0] = byte(op)
	le.PutUint64(s.kvHead[1:], cas)
	le.PutUint64(s.kvHead[9:], expiry)
	s.kvRecord = record.Record{TimeMs: b.TimeMs, HasKey: true, Key: full, Headers: s.kvHead[:], Value: value}
	if k.assigned%kvSectionRecords == 0 {
		b.EndSection()
	}
	b.AppendRecord(k.stream, k.assigned, &s.kvRecord)
	s.kvFlying[h] = kvFlight{kvState{cas, expiry, op == kvPut, b}, k.assigned}
	s.kvOrder = append(s.kvOrder, kvLanding{h, k.assigned, k.stream.Partition})
	k.assigned++
	return cas
}

// forgetKV takes what is in flight back.
func (s *Shard) forgetKV() {
	clear(s.kvFlying)
	s.kvOrder, s.kvLanded = s.kvOrder[:0], 0
	for i := range s.engine.kv {
		if k := &s.engine.kv[i]; k.owner == s {
			k.assigned = k.next
		}
	}
}
