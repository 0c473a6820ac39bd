package engine

import "ayder/internal/record"

// Commit is the result of CommitOffset.
type Commit struct {
	Changed bool          // a command is in the batch: answer when that is done
	Pending *record.Batch // not changed, but only because of one in flight there: answer when that is done
}

// CommitOffset moves a group's committed offset (the next one to read) forward with a command in b. An
// offset at or below the committed one, applied or in flight, changes nothing. Errors: ErrGroupName,
// ErrGroupLimit, ErrOffsetAbove when offset is above Assigned.
func (s *Shard) CommitOffset(b *record.Batch, p *Partition, name []byte, offset uint64) (Commit, error) {
	s.mustOwn(p)
	if offset > p.assigned {
		return Commit{}, ErrOffsetAbove
	}
	g := p.groups[string(name)]
	if g == nil {
		if !ValidName(name) {
			return Commit{}, ErrGroupName
		}
		if len(p.groups) >= GroupsPerPartition {
			return Commit{}, ErrGroupLimit
		}
		g = p.group(name)
	}
	if g.applied && offset <= g.committed {
		return Commit{}, nil
	}
	if g.batch != nil && offset <= g.pending {
		return Commit{Pending: g.batch}, nil
	}
	if g.batch == nil {
		s.committing[g] = committingOf(p, g, name)
	}
	b.AppendCommand(record.SectionGroupCommit, p.stream, offset, name)
	g.pending, g.batch = offset, b
	return Commit{Changed: true}, nil
}

// committing is what Forget needs to know of a group with a commit in flight.
type committing struct {
	partition *Partition
	name      string // where the group exists only for the sake of that commit
}

func committingOf(p *Partition, g *group, name []byte) committing {
	c := committing{partition: p}
	if !g.applied {
		c.name = string(name)
	}
	return c
}

// forget takes the commits in flight back.
func (c *committing) forget(g *group) {
	g.pending, g.batch = 0, nil
	if !g.applied {
		delete(c.partition.groups, c.name)
	}
}

// commit applies a commit; one that would go backward is without effect.
func (g *group) commit(offset uint64) {
	if !g.applied || offset > g.committed {
		g.applied, g.committed = true, offset
	}
	if g.batch != nil && g.pending <= offset {
		g.pending, g.batch = 0, nil
	}
}
