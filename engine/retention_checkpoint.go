package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"ayder/internal/record"
)

// Extension 1 of a checkpoint: policies and ladders.
//
//	extension 1  has u8, 1: policies follow | policies | ladders u32 | × ladder
//	policies     last u32: the highest topic id | every ttl_ms u64, max_bytes u64 | topics u32 | × topic | partitions u32 | × partition
//	topic        id u32 | ttl_ms u64 | max_bytes u64; those that have a policy, by rising ids
//	partition    id u32 | partition u32 | ttl_ms u64 | max_bytes u64; likewise
//	ladder       topic u32 | partition u32 | floor's bytes u64, time_ms u64 | last_ms u64 | marks u32 | × mark
//	mark         varint offset | varint bytes | varint time_ms, each less the one's before, the floor's at first
//
// Policies are the catalogue's, and only its shard's part has them: what the other parts' topics say is as old as those
// shards may have been behind. It says nothing of topics that were created after it, up to "last" it knows all.
//
// Checkpoints without the extension are from before there was any. Their partitions get a ladder without marks, and everything
// in them counts as written when the checkpoint was made.

// capturedLadder is a partition's ladder at one moment.
type capturedLadder struct {
	stream record.Stream
	ladder
}

// capturedRetention is what extension 1 has of a shard, or of all.
type capturedRetention struct {
	topics  *topicList // nil: no policies
	every   Policy
	ladders []capturedLadder
}

func captureRetention(e *Engine, owner *Shard) capturedExtension {
	var c capturedRetention
	topics := e.catalogue.topics()
	if (owner == nil || owner.number == CatalogueShard) && (topics.last > 0 || e.EveryPolicy() != (Policy{})) {
		c.topics, c.every = topics, e.EveryPolicy()
	}
	for t := range topics.all {
		for _, p := range t.partitions {
			if p.ladder != nil && (owner == nil || p.owner == owner) {
				c.ladders = append(c.ladders, capturedLadder{p.stream, p.ladder.capture()})
			}
		}
	}
	if c.topics == nil && len(c.ladders) == 0 {
		return nil
	}
	return c.appendTo
}

func (c *capturedRetention) appendTo(dst []byte) []byte {
	le := binary.LittleEndian
	if c.topics == nil {
		dst = append(dst, 0)
	} else {
		dst = c.appendPolicies(append(dst, 1))
	}
	dst = le.AppendUint32(dst, uint32(len(c.ladders)))
	for i := range c.ladders {
		dst = c.ladders[i].appendTo(dst)
	}
	return dst
}

func (c *capturedRetention) appendPolicies(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, c.topics.last)
	dst = c.every.appendTo(dst)
	at, topics, partitions := len(dst), uint32(0), uint32(0)
	dst = le.AppendUint32(dst, 0)
	for t := range c.topics.all {
		if t.Policy() != (Policy{}) {
			dst = t.Policy().appendTo(le.AppendUint32(dst, t.id))
			topics++
		}
	}
	le.PutUint32(dst[at:], topics)
	at = len(dst)
	dst = le.AppendUint32(dst, 0)
	for t := range c.topics.all {
		for i := range t.Partitions() {
			if own, ok := t.own[i]; ok {
				dst = own.appendTo(le.AppendUint32(le.AppendUint32(dst, t.id), i))
				partitions++
			}
		}
	}
	le.PutUint32(dst[at:], partitions)
	return dst
}

func (p Policy) appendTo(dst []byte) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(dst, p.TTLMs), p.MaxBytes)
}

func (l *capturedLadder) appendTo(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, l.stream.Topic)
	dst = le.AppendUint32(dst, l.stream.Partition)
	dst = le.AppendUint64(dst, l.floor.bytes)
	dst = le.AppendUint64(dst, l.floor.timeMs)
	dst = le.AppendUint64(dst, l.lastMs)
	dst = le.AppendUint32(dst, uint32(len(l.marks)))
	before := l.floor
	for _, m := range l.marks {
		dst = binary.AppendUvarint(dst, m.offset-before.offset)
		dst = binary.AppendUvarint(dst, m.bytes-before.bytes)
		dst = binary.AppendUvarint(dst, m.timeMs-before.timeMs)
		before = m
	}
	return dst
}

func restoreRetention(e *Engine, d *decoder) error {
	switch has := d.bytes(1); {
	case d.failed:
		return errShort
	case has[0] > 1:
		return fmt.Errorf("%d policies", has[0])
	case has[0] == 1:
		if err := e.restorePolicies(d); err != nil {
			return err
		}
	}
	for range d.u32() {
		if err := e.restoreLadder(d); err != nil {
			return err
		}
	}
	return nil
}

// restorePolicies sets all policies of the topics that the catalogue's shard knew.
func (e *Engine) restorePolicies(d *decoder) error {
	last := d.u32()
	if every := d.policy(); every != (Policy{}) {
		e.catalogue.every.Store(&every)
	}
	for t := range e.catalogue.topics().all {
		if t.id <= last && t.retaining() > 0 {
			plain := t.withPolicy(Policy{})
			plain.own = nil
			e.catalogue.replace(plain)
		}
	}
	for range d.u32() {
		id, p := d.u32(), d.policy()
		if d.failed {
			return errShort
		}
		if t := e.catalogue.get(id); t != nil {
			e.catalogue.replace(t.withPolicy(p))
		}
	}
	for range d.u32() {
		id, partition, p := d.u32(), d.u32(), d.policy()
		if d.failed {
			return errShort
		}
		if t := e.catalogue.get(id); t != nil && partition < t.Partitions() {
			e.catalogue.replace(t.withOwn(partition, p))
		}
	}
	return nil
}

func (d *decoder) policy() Policy { return Policy{d.u64(), d.u64()} }

func (e *Engine) restoreLadder(d *decoder) error {
	stream := record.Stream{Topic: d.u32(), Partition: d.u32()}
	l := ladder{floor: mark{bytes: d.u64(), timeMs: d.u64()}, lastMs: d.u64()}
	marks := d.u32()
	p := e.catalogue.partition(stream)
	switch {
	case d.failed || uint64(marks) > uint64(len(d.left))/3:
		return errShort
	case p == nil && !e.catalogue.deleted(stream.Topic):
		return fmt.Errorf("ladder of stream %v, which does not exist", stream)
	case p == nil:
		p = &Partition{} // it was deleted since
		p.floor.Store(0)
		p.next.Store(1<<64 - 1)
		p.bytes.Store(1<<64 - 1 - l.floor.bytes)
	case p.ladder == nil:
		return fmt.Errorf("ladder of stream %v, which is empty", stream)
	}
	l.floor.offset, l.total = p.floor.Load(), l.floor.bytes+p.bytes.Load()
	if err := l.restoreMarks(d, marks, p.next.Load()); err != nil {
		return fmt.Errorf("ladder of stream %v: %w", stream, err)
	}
	if p.ladder != nil {
		p.ladder = &l
	}
	return nil
}

func (l *ladder) restoreMarks(d *decoder, count uint32, next uint64) error {
	if l.total < l.floor.bytes || l.lastMs < l.floor.timeMs {
		return errors.New("its end is below its floor")
	}
	l.marks = slices.Grow(l.marks, int(min(count, ladderMarksMax)))
	before := l.floor
	for range count {
		m := mark{before.offset + d.varint(), before.bytes + d.varint(), before.timeMs + d.varint()}
		switch {
		case d.failed:
			return errShort
		case m.offset <= before.offset || m.offset > next || m.bytes < before.bytes || m.bytes > l.total || m.timeMs < before.timeMs || m.timeMs > l.lastMs:
			return fmt.Errorf("mark %+v behind %+v is impossible", m, before)
		}
		l.marks = append(l.marks, m)
		before = m
	}
	return nil
}
