package engine

import (
	"fmt"
	"slices"

	"ayder/internal/record"
)

// Commands about coordinated groups take effect.
//
// A command carries everything that its effect depends on besides the group itself: who, which topics, how large those
// are. It also names the generation that it was decided by, so one group's commands form a chain, and a frame that
// does not continue it is refused before it changes anything.

// applyMembers applies a command about a group's members.
func (e *Engine) applyMembers(f *record.Frame, sec *record.Section, live bool) error {
	g := &e.memberships
	if !live && f.Index <= g.skipTo {
		return nil
	}
	c, err := readMembers(sec.Body)
	if err != nil {
		return fmt.Errorf("members of a group: %w: %w", err, ErrDiverged)
	}
	old, generation := g.get([]byte(c.group)), uint64(0)
	if old != nil {
		generation = old.generation
	}
	if generation != sec.Base || generation >= f.Index || sec.Stream != (record.Stream{}) {
		return fmt.Errorf("group %q at generation %d has a command for %d: %w", c.group, generation, sec.Base, ErrDiverged)
	}
	next := &Membership{name: c.group}
	if old != nil {
		next = old.clone()
	}
	next.generation = f.Index
	if err := next.apply(&c); err != nil {
		return fmt.Errorf("group %q: %w: %w", c.group, err, ErrDiverged)
	}
	next.assign()
	g.put(next)
	g.asOf = f.Index
	delete(g.pending, c.group)
	return nil
}

// apply changes members and topics; who handles what is another matter.
func (m *Membership) apply(c *membersCommand) error {
	switch c.kind {
	case membersJoin:
		if err := m.join(c); err != nil {
			return err
		}
	case membersLeave:
		for _, id := range c.members {
			if !m.leave(id) {
				return fmt.Errorf("%q leaves: %w", id, ErrNoMember)
			}
		}
	case membersAcknowledge:
		i, member := m.Member([]byte(c.members[0]))
		if member == nil {
			return fmt.Errorf("%q acknowledges: %w", c.members[0], ErrNoMember)
		}
		m.release(int32(i), c.acknowledged)
	case membersTopics:
		for i := range c.topics {
			at, ok := m.topic(c.topics[i].name)
			if !ok {
				return fmt.Errorf("nobody handles topic %q", c.topics[i].name)
			}
			m.topics[at].resize(&c.topics[i])
		}
	}
	m.prune()
	return nil
}

// prune drops topics that nobody handles.
func (m *Membership) prune() {
	handlers, kept := m.handlers(), m.topics[:0]
	for i := range m.topics {
		if len(handlers[i]) > 0 {
			kept = append(kept, m.topics[i])
		}
	}
	clear(m.topics[len(kept):])
	m.topics = kept
}

func (m *Membership) join(c *membersCommand) error {
	member := Member{ID: c.members[0], SessionMs: c.sessionMs}
	for i := range c.topics {
		t := &c.topics[i]
		member.Topics = append(member.Topics, t.name)
		at, ok := m.topic(t.name)
		if !ok {
			m.topics = slices.Insert(m.topics, at, sharedTopic{name: t.name})
		}
		m.topics[at].resize(t)
	}
	if i, have := m.Member([]byte(member.ID)); have != nil {
		m.members[i] = member
		return nil
	}
	if len(m.members) >= GroupMembersMax {
		return ErrMemberLimit
	}
	at, _ := slices.BinarySearchFunc(m.members, member.ID, func(a Member, id string) int {
		if a.ID < id {
			return -1
		}
		return 1
	})
	m.members = slices.Insert(m.members, at, member)
	m.renumber(func(i int32) int32 {
		if i >= int32(at) {
			return i + 1
		}
		return i
	})
	return nil
}

// leave takes a member out; what it had has no owner any more.
func (m *Membership) leave(id string) bool {
	at, have := m.Member([]byte(id))
	if have == nil {
		return false
	}
	m.members = slices.Delete(m.members, at, at+1)
	m.renumber(func(i int32) int32 {
		switch {
		case i == int32(at):
			return nobody
		case i > int32(at):
			return i - 1
		}
		return i
	})
	return true
}

func (m *Membership) renumber(number func(int32) int32) {
	for t := range m.topics {
		shares := m.topics[t].shares
		for i := range shares {
			s := &shares[i]
			s.target = number(s.target)
			if s.owner = number(s.owner); s.owner == nobody {
				s.since, s.moved = 0, 0
			}
		}
	}
}

// release takes from a member what it lost up to a generation.
func (m *Membership) release(member int32, generation uint64) {
	for t := range m.topics {
		shares := m.topics[t].shares
		for i := range shares {
			if s := &shares[i]; s.owner == member && s.moved != 0 && s.moved <= generation {
				s.owner, s.since, s.moved = nobody, 0, 0
			}
		}
	}
}

// resize notes how many partitions a topic has. Another topic of the same name has nothing to do with the former.
func (t *sharedTopic) resize(size *topicSize) {
	if t.id != size.id {
		t.id, t.shares = size.id, nil
	}
	if n := int(size.partitions); n < len(t.shares) {
		t.shares = t.shares[:n]
	}
	for len(t.shares) < int(size.partitions) {
		t.shares = append(t.shares, share{owner: nobody, target: nobody})
	}
}
