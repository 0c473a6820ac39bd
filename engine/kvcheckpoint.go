package engine

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Checkpoints of the key-value store, extension 3. A capture holds snapshots of the trees, which cost nothing; keys are encoded
// in their order, each as what it does not share with the one before.
//
//	extension    buckets u32 | bucket …, by rising numbers; those that nothing has happened to are left out
//	bucket       number u32 | as_of u64 | next u64 | base u64 | keys u64 | key …
//	key          varint shared << 1 | dead | varint rest_size | rest | varint next - offset | varint cas | varint expiry_ms | varint size
//	             dead: neither expiry_ms nor size
//
// rest and shared make the key with its namespace, as in the stream.

// kvExtension is the tag of the store's part of a checkpoint.
const kvExtension = 3

// capturedKV is a bucket at one moment.
type capturedKV struct {
	number           uint32
	asOf, next, base uint64
	keys             uint64
	tree             kvTree
}

// captureKV is an extension's capture.
func captureKV(e *Engine, owner *Shard) capturedExtension {
	var all []capturedKV
	for i := range e.kv {
		if k := &e.kv[i]; k.asOf > 0 && (owner == nil || k.owner == owner) {
			all = append(all, k.capture())
		}
	}
	if all == nil {
		return nil
	}
	return func(dst []byte) []byte { return appendKV(dst, all) }
}

func (k *kvBucket) capture() capturedKV {
	return capturedKV{
		number: k.stream.Partition, asOf: k.asOf, next: k.next, base: k.base,
		keys: uint64(k.keys.Load()) + uint64(k.dead), tree: k.tree.snapshot(),
	}
}

func appendKV(dst []byte, all []capturedKV) []byte {
	total := uint64(0)
	for i := range all {
		total += all[i].keys
	}
	dst = slices.Grow(dst, int(total)*kvKeyTypical)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(all)))
	for i := range all {
		dst = all[i].appendTo(dst)
	}
	return dst
}

func (c *capturedKV) appendTo(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, c.number)
	dst = le.AppendUint64(dst, c.asOf)
	dst = le.AppendUint64(dst, c.next)
	dst = le.AppendUint64(dst, c.base)
	dst = le.AppendUint64(dst, c.keys)
	var before []byte
	c.tree.ascend(nil, func(key []byte, it *kvItem) bool {
		shared := commonPrefix(before, key)
		head := uint64(shared) << 1
		if it.dead {
			head |= 1
		}
		dst = binary.AppendUvarint(dst, head)
		dst = binary.AppendUvarint(dst, uint64(len(key)-shared))
		dst = append(dst, key[shared:]...)
		dst = binary.AppendUvarint(dst, c.next-it.offset)
		dst = binary.AppendUvarint(dst, it.cas)
		if !it.dead {
			dst = binary.AppendUvarint(dst, it.expiry)
			dst = binary.AppendUvarint(dst, uint64(it.size))
		}
		before = append(before[:0], key...)
		return true
	})
	return dst
}

// restoreKV is an extension's restore.
func restoreKV(e *Engine, d *decoder) error {
	last := -1
	for range d.u32() {
		number := d.u32()
		if d.failed || number >= KVBuckets || int(number) <= last {
			return fmt.Errorf("bucket %d behind %d is impossible", number, last)
		}
		last = int(number)
		if err := e.kv[number].restore(d); err != nil {
			return fmt.Errorf("bucket %d: %w", number, err)
		}
	}
	return nil
}

func (k *kvBucket) restore(d *decoder) error {
	asOf, next, base, keys := d.u64(), d.u64(), d.u64(), d.u64()
	switch {
	case d.failed || keys > uint64(len(d.left))/kvKeyBytesMin:
		return errShort
	case k.asOf != 0 || asOf == 0 || next == 0:
		return fmt.Errorf("as of %d, ends at %d: is there already, or empty", asOf, next)
	}
	r := kvRestorer{next: next}
	for i := range keys {
		if err := r.key(d, k.stream.Partition); err != nil {
			return fmt.Errorf("key %d of %d: %w", i, keys, err)
		}
	}
	k.asOf, k.skipTo, k.next, k.assigned, k.base = asOf, asOf, next, next, base
	k.dead, k.tree = r.dead, r.build.tree()
	k.keys.Store(int64(keys) - int64(r.dead))
	k.end.Store(next)
	if k.dead > kvDeadMax {
		return fmt.Errorf("%d deleted keys", k.dead)
	}
	return nil
}

// kvRestorer takes a bucket's keys and makes its tree.
type kvRestorer struct {
	next  uint64
	build kvBuilder
	full  []byte
	found []byte // the key before
	dead  int
}

func (r *kvRestorer) key(d *decoder, bucket uint32) error {
	head, size := d.varint(), d.varint()
	rest := d.bytes(size)
	behind, cas := d.varint(), d.varint()
	it := kvItem{cas: cas, dead: head&1 == 1}
	if !it.dead {
		it.expiry = d.varint()
		value := d.varint()
		if value > KVValueBytesMax {
			return fmt.Errorf("a value of %d bytes", value)
		}
		it.size = uint32(value)
	}
	shared := head >> 1
	if d.failed || shared > uint64(len(r.full)) || behind == 0 || behind > r.next || cas == 0 {
		return errShort
	}
	it.offset = r.next - behind
	r.found = append(r.found[:0], r.full...)
	r.full = append(r.full[:shared], rest...)
	namespace, _, ok := SplitKVKey(r.full)
	if !ok || KVBucketOf(namespace) != bucket || string(r.full) <= string(r.found) {
		return fmt.Errorf("key %q behind %q is impossible", r.full, r.found)
	}
	if it.dead {
		r.dead++
	}
	r.build.add(r.full, &it)
	return nil
}
