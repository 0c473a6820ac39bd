package engine

import (
	"encoding/binary"

	"ayder/internal/record"
)

// Producing: a message gets its offset here, before it is written, and is encoded once into the open batch.
//
// An idempotency key is looked for among the applied ones and those in flight. The first produce with a key
// puts it into the log beside its first record, with the number of records that it stands for, so that
// the window can be rebuilt from the log alone:
//
//	idempotency key of a record:  count u32 | the client's key

// ProduceOptions are what a produce may ask for besides.
type ProduceOptions struct {
	ExpectedOffset uint64 // must be the next offset, if HasExpected
	HasExpected    bool
}

// Append tells where a produce went, or where its first try went.
type Append struct {
	Offset    uint64 // of the first record
	Count     uint32
	Duplicate bool
	Pending   *record.Batch // of a duplicate: the first try is still in flight there; answer when that is done
}

// Produce gives r the partition's next offset and encodes it into b. The caller has checked that b has
// room, and keeps r's sizes within the limits of package record. It does not allocate, does not keep r, and an
// r.Idem counts only with r.HasIdem. Errors, with nothing appended: ErrIdemKey, ErrOffset.
func (s *Shard) Produce(b *record.Batch, p *Partition, r *record.Record, opt ProduceOptions) (Append, error) {
	s.mustSeal(p)
	if !r.HasIdem {
		if err := opt.check(p); err != nil {
			return Append{}, err
		}
		b.AppendRecord(p.stream, p.assigned, r)
		p.assigned++
		return Append{Offset: p.assigned - 1, Count: 1}, nil
	}
	m, dup, err := s.BeginMany(b, p, 1, r.Idem, true, opt)
	if err != nil || dup.Duplicate {
		return dup, err
	}
	m.Add(r)
	return m.End(), nil
}

func (o *ProduceOptions) check(p *Partition) error {
	if o.HasExpected && o.ExpectedOffset != p.assigned {
		return ErrOffset
	}
	return nil
}

// Many is a produce of several records to one partition, in one batch. Between BeginMany and End
// nothing else may be done with the shard.
type Many struct {
	shard *Shard
	batch *record.Batch
	p     *Partition
	first uint64
	count uint32
	idem  []byte // what the first record carries, nil without a key
	hash  keyHash
	nowMs uint64 // of a rocket topic
}

// BeginMany starts a produce of exactly count records under one idempotency key, if has is set. Where the key
// is known, dup says so and there is nothing to add. All or nothing is up to the caller: once Add was called, it
// must go on to End. Errors: ErrCount, ErrIdemKey, ErrOffset.
func (s *Shard) BeginMany(b *record.Batch, p *Partition, count uint32, key []byte, has bool, opt ProduceOptions) (m Many, dup Append, err error) {
	s.mustSeal(p)
	if count == 0 {
		return m, dup, ErrCount
	}
	m = Many{shard: s, batch: b, p: p, first: p.assigned, count: count}
	if has {
		if len(key) == 0 || len(key) > IdemKeyBytesMax {
			return Many{}, dup, ErrIdemKey
		}
		m.hash = hashKey(key)
		if dup, ok := s.known(b, p, m.hash); ok {
			return Many{}, dup, nil
		}
		m.idem = s.encodeKey(count, key)
	}
	// After the key: a retry of a write with both is a duplicate, not one that came too late.
	if err := opt.check(p); err != nil {
		return Many{}, dup, err
	}
	return m, dup, nil
}

// Add encodes the next record; its own Idem and HasIdem are not looked at.
func (m *Many) Add(r *record.Record) {
	c := *r
	c.HasIdem, c.Idem = false, nil
	if m.p.assigned == m.first && m.idem != nil {
		c.HasIdem, c.Idem = true, m.idem
	}
	if m.batch == nil {
		m.p.rocket.add(m.p, &c, m.nowMs)
	} else {
		m.batch.AppendRecord(m.p.stream, m.p.assigned, &c)
	}
	m.p.assigned++
}

// End closes the produce and returns where it went.
func (m *Many) End() Append {
	if m.p.assigned != m.first+uint64(m.count) {
		panic("bug: a batch with more or fewer records than it was begun with")
	}
	if m.batch == nil {
		m.p.next.Store(m.p.assigned)
	}
	if m.idem != nil {
		m.shard.keys[flightKey{m.p.stream, m.hash}] = flight{m.batch, m.first, m.count}
	}
	return Append{Offset: m.first, Count: m.count}
}

// known looks for an earlier produce with the same key.
func (s *Shard) known(b *record.Batch, p *Partition, h keyHash) (Append, bool) {
	if f, ok := s.keys[flightKey{p.stream, h}]; ok {
		return Append{Offset: f.first, Count: f.count, Duplicate: true, Pending: f.batch}, true
	}
	if p.window == nil {
		return Append{}, false
	}
	k := p.window.lookup(h, s.now(b), s.engine.config.IdemWindowMs)
	if k == nil {
		return Append{}, false
	}
	return Append{Offset: k.first, Count: k.count, Duplicate: true}, true
}

// encodeKey returns what a record carries for a key; it is valid until the next call.
func (s *Shard) encodeKey(count uint32, key []byte) []byte {
	binary.LittleEndian.PutUint32(s.idem[:], count)
	return append(s.idem[:idemPrefixBytes], key...)
}

// decodeKey splits what a record carries.
func decodeKey(b []byte) (count uint32, key []byte, ok bool) {
	if len(b) <= idemPrefixBytes {
		return 0, nil, false
	}
	count = binary.LittleEndian.Uint32(b)
	return count, b[idemPrefixBytes:], count > 0
}
