package engine

import (
	"fmt"

	"ayder/internal/record"
)

// Setting a group's committed offset, backward too, and forgetting it.
//
// Either takes effect in its place in the log, whatever commits are in flight around it: a commit that was
// ignored because it came before a reset was answered as if the two had come in that order.

// ResetOffset sets a group's committed offset, the next one to read, with a command in b. Errors: ErrGroupName,
// ErrGroupLimit; ErrOffsetBelow and ErrOffsetAbove when offset is not between Floor and Next.
func (s *Shard) ResetOffset(b *record.Batch, p *Partition, name []byte, offset uint64) error {
	s.mustOwn(p)
	switch {
	case offset < p.Floor():
		return ErrOffsetBelow
	case offset > p.Next():
		return ErrOffsetAbove
	case !ValidName(name):
		return ErrGroupName
	case p.groups[string(name)] == nil && len(p.groups) >= GroupsPerPartition:
		return ErrGroupLimit
	}
	b.AppendCommand(record.SectionGroupReset, p.stream, offset, name)
	return nil
}

// DeleteGroup forgets what a group has committed in a partition with a command in b. False: it has nothing there.
func (s *Shard) DeleteGroup(b *record.Batch, p *Partition, name []byte) bool {
	s.mustOwn(p)
	if p.groups[string(name)] == nil {
		return false
	}
	b.AppendCommand(record.SectionGroupDelete, p.stream, 0, name)
	return true
}

// HasGroup tells whether a group has committed in the partition, or is about to.
func (p *Partition) HasGroup(name []byte) bool { return p.groups[string(name)] != nil }

func (p *Partition) applyReset(sec *record.Section) error {
	switch {
	case !ValidName(sec.Body):
		return fmt.Errorf("reset of group %q: %w", sec.Body, record.ErrMalformed)
	case sec.Base > p.next.Load():
		return fmt.Errorf("group %q reset to offset %d above %d: %w", sec.Body, sec.Base, p.next.Load(), ErrDiverged)
	}
	g := p.group(sec.Body)
	g.applied, g.committed = true, sec.Base
	return nil
}

// applyDelete forgets a group. One with a commit in flight stays, as if that were its first.
func (p *Partition) applyDelete(sec *record.Section) error {
	if !ValidName(sec.Body) {
		return fmt.Errorf("deletion of group %q: %w", sec.Body, record.ErrMalformed)
	}
	g := p.groups[string(sec.Body)]
	switch {
	case g == nil:
	case g.batch == nil:
		delete(p.groups, string(sec.Body))
	default:
		g.applied, g.committed = false, 0
		c := p.owner.committing[g]
		c.name = string(sec.Body)
		p.owner.committing[g] = c
	}
	return nil
}

// EachGroup calls visit for every group that has committed in the partition, in no particular order.
func (p *Partition) EachGroup(visit func(name string, committed uint64)) {
	for name, g := range p.groups {
		if g.applied {
			visit(name, g.committed)
		}
	}
}
