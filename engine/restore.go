package engine

import (
	"encoding/binary"
	"errors"
	"fmt"

	"ayder/internal/record"
)

// Restore is the other direction of checkpoint.go. The bytes passed a checksum, so what does not
// decode is a bug or another version's; still nothing in them is believed: every count is held against the
// bytes that are left before anything is made for it, and what the engine takes for granted is checked.

// Restore fills an engine that is still empty from EncodeCheckpoint's bytes. Errors wrap ErrCheckpoint;
// the engine must be thrown away after one.
func (e *Engine) Restore(payload []byte) error {
	if e.catalogue.topics().last > 0 || e.replayed > 0 {
		panic("bug: restore into an engine that is not empty")
	}
	d := decoder{left: payload}
	magic, version, parts := d.u32(), d.u32(), d.u32()
	if d.failed || magic != checkpointMagic || version < 1 || version > checkpointVersion {
		return fmt.Errorf("magic %#x version %d: %w", magic, version, ErrCheckpoint)
	}
	for i := range parts {
		part := decoder{left: d.bytes(d.partSize(version)), version: version}
		if d.failed {
			return fmt.Errorf("part %d of %d is cut short: %w", i, parts, ErrCheckpoint)
		}
		if err := e.restorePart(&part); err != nil {
			return fmt.Errorf("part %d: %w: %w", i, err, ErrCheckpoint)
		}
	}
	for _, s := range e.shards {
		s.bury()
	}
	return d.end()
}

func (e *Engine) restorePart(d *decoder) error {
	timeMs, topics, partitions := d.u64(), d.u32(), d.u32()
	for _, s := range e.shards {
		s.timeMs = max(s.timeMs, timeMs)
	}
	id := uint32(0)
	for i := range topics {
		var err error
		if id, err = e.restoreTopic(d, id); err != nil {
			return fmt.Errorf("topic %d of %d: %w", i, topics, err)
		}
	}
	for i := range partitions {
		if err := e.restorePartition(d); err != nil {
			return fmt.Errorf("partition %d of %d: %w", i, partitions, err)
		}
	}
	if d.version > 1 {
		if err := e.restoreExtensions(d); err != nil {
			return err
		}
	}
	return d.end()
}

// restoreTopic takes the entry of the topics behind id before and returns the last one's id.
func (e *Engine) restoreTopic(d *decoder, before uint32) (id uint32, err error) {
	created, size := d.u64(), d.u32()
	body := d.bytes(uint64(size))
	if d.failed {
		return 0, errShort
	}
	if size == 0 {
		return e.restoreDeleted(before, created)
	}
	id = before + 1
	spec, err := readSpec(body)
	if err != nil {
		return 0, err
	}
	t := e.catalogue.get(id)
	switch {
	case t == nil && e.catalogue.deleted(id): // since this part was made
		return id, nil
	case t == nil:
		return id, e.addTopic(id, spec, created)
	case t.spec.Name != spec.Name || t.spec.Mode != spec.Mode || t.created != created:
		return 0, fmt.Errorf("topic %d differs between parts: %q and %q", id, t.spec.Name, spec.Name)
	}
	return id, e.growTopic(t, spec.Partitions)
}

// restoreDeleted takes out the topics of count ids behind before, which other parts may know.
func (e *Engine) restoreDeleted(before uint32, count uint64) (id uint32, err error) {
	if count == 0 || count > TopicIDMax || uint64(before)+count > TopicIDMax {
		return 0, fmt.Errorf("%d deleted topics behind %d", count, before)
	}
	known := e.catalogue.topics()
	id = before + uint32(count)
	for t := range known.between(before+1, id) {
		e.deleteTopic(t, max(t.created, 1))
	}
	if id > known.last {
		e.catalogue.skipTo(id)
	}
	return id, nil
}

func (e *Engine) restorePartition(d *decoder) error {
	stream := record.Stream{Topic: d.u32(), Partition: d.u32()}
	asOf, floor, next, size := d.u64(), d.u64(), d.u64(), d.u64()
	groups, keys := d.u32(), d.u32()
	p := e.restored(stream)
	switch {
	case d.failed:
		return errShort
	case p == nil:
		return fmt.Errorf("stream %v does not exist", stream)
	case p.asOf != p.skipTo || p.next.Load() != 0 || asOf <= p.skipTo:
		return fmt.Errorf("stream %v as of %d, created at %d: is there already, or too early", stream, asOf, p.skipTo)
	case floor > next:
		return fmt.Errorf("stream %v: floor %d above end %d", stream, floor, next)
	}
	if p.rocket != nil {
		if p.rocket.ranges = next >> rangeBits; floor != next || p.rocket.ranges<<rangeBits != next {
			return fmt.Errorf("stream %v: offsets %d to %d are no end of a range", stream, floor, next)
		}
	}
	p.asOf, p.skipTo, p.assigned = asOf, asOf, next
	p.floor.Store(floor)
	p.next.Store(next)
	p.bytes.Store(size)
	if next > 0 && p.rocket == nil {
		p.ladder = p.newLadder(p.owner.timeMs) // extension 1 knows better
	}
	if err := p.restoreGroups(d, groups); err != nil {
		return fmt.Errorf("stream %v: %w", stream, err)
	}
	if err := p.restoreKeys(d, keys); err != nil {
		return fmt.Errorf("stream %v: %w", stream, err)
	}
	return nil
}

// restored is the partition that a part says something of, one that is thrown away where its topic is known to be deleted,
// and nil where there never was one.
func (e *Engine) restored(stream record.Stream) *Partition {
	if p := e.catalogue.partition(stream); p != nil || !e.catalogue.deleted(stream.Topic) {
		return p
	}
	p := &Partition{stream: stream, owner: e.shards[e.ShardOf(stream)]}
	p.gone.Store(1)
	p.owner.dig = true
	return p
}

func (p *Partition) restoreGroups(d *decoder, groups uint32) error {
	before := ""
	for range groups {
		offset := d.u64()
		name := d.bytes(uint64(d.u16()))
		if d.failed {
			return errShort
		}
		if !ValidName(name) || string(name) <= before || offset > p.next.Load() {
			return fmt.Errorf("group %q at offset %d is impossible", name, offset)
		}
		before = string(name)
		p.group(name).commit(offset)
	}
	return nil
}

func (p *Partition) restoreKeys(d *decoder, keys uint32) error {
	if uint64(keys)*keyBytesMin > uint64(len(d.left)) {
		return errShort
	}
	if keys > 0 {
		p.openWindow().table.reserve(min(int(keys), p.owner.engine.config.IdemKeysMax))
	}
	offset, timeMs, next := uint64(0), uint64(0), p.next.Load()
	for i := range keys {
		hash := keyHash{d.u64(), d.u64()}
		gap, count, later := d.varint(), d.varint(), d.varint()
		if d.failed {
			return errShort
		}
		first := offset + gap
		if first < offset || (i > 0 && gap == 0) || count == 0 || first > next || count > next-first || count > 1<<32-1 || timeMs+later < timeMs {
			return fmt.Errorf("key %d at offset %d for %d records is impossible", i, first, count)
		}
		offset, timeMs = first, timeMs+later
		p.remember(entry{hash: hash, first: first, timeMs: timeMs, count: uint32(count)})
	}
	return nil
}

var errShort = errors.New("cut short")

// decoder takes values off the front of left. After the first that is not there, failed is set and all are zero.
type decoder struct {
	left    []byte
	failed  bool
	version uint32 // of the checkpoint
}

// partSize takes the size of a part.
func (d *decoder) partSize(version uint32) uint64 {
	if version == 1 {
		return uint64(d.u32())
	}
	return d.u64()
}

func (d *decoder) bytes(n uint64) []byte {
	if d.failed || n > uint64(len(d.left)) {
		d.failed = true
		return nil
	}
	b := d.left[:n]
	d.left = d.left[n:]
	return b
}

func (d *decoder) u8() uint8 {
	if b := d.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) u16() uint16 {
	if b := d.bytes(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if b := d.bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if b := d.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) varint() uint64 {
	v, n := binary.Uvarint(d.left)
	if d.failed || n <= 0 {
		d.failed = true
		return 0
	}
	d.left = d.left[n:]
	return v
}

// end is an error if bytes are left over or were missing.
func (d *decoder) end() error {
	if d.failed || len(d.left) > 0 {
		return fmt.Errorf("%d bytes left over, cut short %v: %w", len(d.left), d.failed, ErrCheckpoint)
	}
	return nil
}
