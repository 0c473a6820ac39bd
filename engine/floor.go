package engine

import (
	"encoding/binary"
	"fmt"

	"ayder/internal/record"
)

// Floors: the first offset of a partition that is kept. Somebody decides where it is to be, the client of a delete-before
// or the leader by a policy, and that is a command with the offset and with the bytes below it. So no node judges for
// itself how old or how much something is, and all agree on what was freed, to the byte.
//
// A floor moves up or not at all. Offsets, committed offsets and idempotency keys below it stay as they are.

// Mark is a place in a partition: an offset, and the bytes of all messages below it that there ever were.
type Mark struct{ Offset, Bytes uint64 }

// cutting is a floor in flight.
type cutting struct {
	at    Mark
	batch *record.Batch
}

// Cut is the result of moving a floor.
type Cut struct {
	Messages uint64        // that fall below it
	Bytes    uint64        // of these
	Batch    *record.Batch // answer when that is done; nil: nothing changed
}

// MarkBelow returns a place at or below offset that is known, at the floor or above it: the nearest one that the partition
// remembers. The bytes of the messages between it and offset make it a place for CutBefore.
func (p *Partition) MarkBelow(offset uint64) Mark {
	if p.ladder == nil {
		return Mark{Offset: p.Floor()}
	}
	m := p.ladder.below(offset)
	return Mark{m.offset, m.bytes}
}

// CutBefore makes at the partition's floor with a command in b; a floor at or above that, applied or in flight, stays. Error:
// ErrOffsetAbove when at is above Next.
func (s *Shard) CutBefore(b *record.Batch, p *Partition, at Mark) (Cut, error) {
	s.mustSeal(p)
	have := Mark{Offset: p.Floor()}
	if p.ladder != nil {
		have.Bytes = p.ladder.floor.bytes
	}
	pending, flying := s.cutting[p]
	if flying {
		have = pending.at
	}
	switch {
	case at.Offset > p.Next():
		return Cut{}, ErrOffsetAbove
	case at.Offset <= have.Offset:
		return Cut{Batch: pending.batch}, nil
	}
	b.AppendCommand(record.SectionFloor, p.stream, at.Offset, binary.LittleEndian.AppendUint64(nil, at.Bytes))
	s.cutting[p] = cutting{at, b}
	return Cut{Messages: at.Offset - have.Offset, Bytes: at.Bytes - have.Bytes, Batch: b}, nil
}

// applyFloor moves the floor.
func (p *Partition) applyFloor(sec *record.Section) error {
	if len(sec.Body) != 8 {
		return fmt.Errorf("floor with a body of %d bytes: %w", len(sec.Body), record.ErrMalformed)
	}
	if p.rocket != nil {
		return fmt.Errorf("floor of a rocket topic: %w", ErrDiverged)
	}
	at := Mark{sec.Base, binary.LittleEndian.Uint64(sec.Body)}
	if c, ok := p.owner.cutting[p]; ok && c.at.Offset <= at.Offset {
		delete(p.owner.cutting, p)
	}
	if at.Offset <= p.floor.Load() {
		return nil
	}
	l := p.ladder
	if at.Offset > p.next.Load() || l == nil || at.Bytes < l.floor.bytes || at.Bytes > l.total {
		return fmt.Errorf("floor at offset %d with %d bytes below it, of %d messages: %w", at.Offset, at.Bytes, p.next.Load(), ErrDiverged)
	}
	p.owner.engine.freed.Add(at.Bytes - l.floor.bytes)
	timeMs := l.below(at.Offset).timeMs
	if at.Offset == p.next.Load() {
		timeMs = l.lastMs
	}
	l.cut(mark{at.Offset, at.Bytes, timeMs})
	p.bytes.Store(l.total - at.Bytes)
	p.floor.Store(at.Offset)
	return nil
}

// Freed is how many bytes of messages have ceased to be kept since the start, because their partition's floor moved or
// their topic was deleted: when it grows, the log has space to give back. Any goroutine may ask.
func (e *Engine) Freed() uint64 { return e.freed.Load() }

// FloorOf returns the first offset of a stream that is kept, and false where nothing of it is and never will be again. What is
// below stays so, for good and on every node. A stream that is not known yet is kept whole. Any goroutine may ask.
func (e *Engine) FloorOf(s record.Stream) (offset uint64, kept bool) {
	if p := e.catalogue.partition(s); p != nil {
		return p.Floor(), true
	}
	return 0, !e.catalogue.deleted(s.Topic)
}
