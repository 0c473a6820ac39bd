package engine

import (
	"encoding/binary"
	"fmt"

	"ayder/internal/record"
)

// Applying the records of a bucket's stream, live, from other nodes and in recovery alike. Each is looked at: its
// key goes into the tree, with where the value is. What does not follow from the state, a cas that is not the next one
// or the end of a key that is not there, is refused, because it was decided from another state.

// kvHead is what a record says besides key and value.
type kvHead struct {
	op     kvOp
	cas    uint64
	expiry uint64
}

// readKVHead checks all of the record, as nobody looks at it again.
func readKVHead(r *record.Record) (h kvHead, ok bool) {
	if len(r.Headers) != kvHeadBytes || !r.HasKey || r.HasIdem {
		return h, false
	}
	le := binary.LittleEndian
	h = kvHead{kvOp(r.Headers[0]), le.Uint64(r.Headers[1:]), le.Uint64(r.Headers[9:])}
	switch h.op {
	case kvPut:
		ok = len(r.Value) <= KVValueBytesMax
	case kvDelete, kvExpire:
		ok = len(r.Value) == 0 && h.expiry == 0
	}
	return h, ok && h.cas > 0
}

// applyKV applies a section of a bucket's stream.
func (e *Engine) applyKV(f *record.Frame, sec *record.Section, live bool) error {
	if sec.Type != record.SectionRecords || sec.Stream.Partition >= KVBuckets {
		return fmt.Errorf("section type %d of the key-value store: %w", sec.Type, ErrDiverged)
	}
	k := &e.kv[sec.Stream.Partition]
	if !live && f.Index <= k.skipTo {
		return nil
	}
	end := k.next + uint64(sec.Count)
	switch {
	case sec.Base != k.next:
		return fmt.Errorf("changes start at offset %d, not %d: %w", sec.Base, k.next, ErrDiverged)
	case live && end > k.assigned:
		return fmt.Errorf("changes end at offset %d, assigned %d: %w", end, k.assigned, ErrDiverged)
	case sec.Count == 0 || end < k.next:
		return fmt.Errorf("%d changes: %w", sec.Count, record.ErrMalformed)
	}
	it := sec.Records()
	var r record.Record
	for it.Read(&r) {
		if err := k.apply(&r); err != nil {
			return fmt.Errorf("change at offset %d: %w", k.next, err)
		}
		k.next++
	}
	if it.Err() != nil || k.next != end {
		return fmt.Errorf("%d changes expected from offset %d: %w", sec.Count, sec.Base, record.ErrMalformed)
	}
	k.asOf = f.Index
	k.end.Store(end)
	k.assigned = max(k.assigned, end)
	return nil
}

// apply applies the change at offset next.
func (k *kvBucket) apply(r *record.Record) error {
	h, ok := readKVHead(r)
	if namespace, _, valid := SplitKVKey(r.Key); !ok || !valid || KVBucketOf(namespace) != k.stream.Partition {
		return record.ErrMalformed
	}
	before, had := k.tree.put(r.Key, kvItem{offset: k.next, cas: h.cas, expiry: h.expiry, size: uint32(len(r.Value)), dead: h.op != kvPut})
	live := had && !before.dead
	switch {
	case had && h.cas != before.cas+1:
		return fmt.Errorf("cas %d follows %d: %w", h.cas, before.cas, ErrDiverged)
	case h.op != kvPut && !live:
		return fmt.Errorf("the end of a key that does not exist: %w", ErrDiverged)
	}
	if before.dead {
		k.dead--
	}
	switch {
	case h.op != kvPut:
		k.keys.Add(-1)
		k.bury()
	case !live:
		k.keys.Add(1)
	}
	k.land()
	return nil
}

// bury counts a deleted key and drops the oldest where they are too many.
func (k *kvBucket) bury() {
	k.dead++
	if k.dead <= kvDeadMax {
		return
	}
	key, it := k.tree.oldestDead(k.owner.kvScratch)
	k.base = max(k.base, it.cas)
	k.owner.kvScratch = key
	k.tree.remove(key)
	k.dead--
}

// land forgets that the change at offset next was in flight. Changes land in the order in which they were decided, or not at all.
func (k *kvBucket) land() {
	s := k.owner
	if s.kvLanded == len(s.kvOrder) {
		return
	}
	c := s.kvOrder[s.kvLanded]
	if c.bucket != k.stream.Partition || c.offset != k.next {
		return // another node's
	}
	if f, ok := s.kvFlying[c.hash]; ok && f.offset == c.offset {
		delete(s.kvFlying, c.hash)
	}
	if s.kvLanded++; s.kvLanded >= max(len(s.kvOrder)/2, kvOrderMin) {
		s.kvOrder = append(s.kvOrder[:0], s.kvOrder[s.kvLanded:]...)
		s.kvLanded = 0
	}
}
