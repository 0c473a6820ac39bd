package engine

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// Coordinated groups in a checkpoint: an extension of the catalogue's shard. A Membership never changes, so capturing
// them all is copying a list of pointers.
//
//	extension 2  as_of u64 | groups u32 | groups × group, sorted by name
//	group        generation u64 | size u8 | members u16 | topics u16 | name | members × member | topics × topic
//	member       session_ms u32 | size u8 | topics u16 | id | topics × ( number u16 of the group's topics )
//	topic        id u32 | partitions u32 | size u8 | name | partitions × share
//	share        owner u16 | target u16 | since u64 | moved u64; a member by its number, 0xffff nobody

const (
	membersTag     uint32 = 2  // of the extension
	shareBytes            = 20 // as encoded
	groupBytesMin         = 13 + 1 + memberBytesMin
	memberBytesMin        = 7 + 1
)

// captureMembers captures the coordinated groups, if there ever was one.
func captureMembers(e *Engine, owner *Shard) capturedExtension {
	g := &e.memberships
	if owner != nil && owner.number != CatalogueShard || g.asOf == 0 {
		return nil
	}
	asOf, list := g.asOf, slices.Clone(g.list)
	return func(dst []byte) []byte {
		le := binary.LittleEndian
		slices.SortFunc(list, func(a, b *Membership) int { return strings.Compare(a.name, b.name) })
		dst = le.AppendUint64(dst, asOf)
		dst = le.AppendUint32(dst, uint32(len(list)))
		for _, m := range list {
			dst = m.appendTo(dst)
		}
		return dst
	}
}

func (m *Membership) appendTo(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, m.generation)
	dst = append(dst, byte(len(m.name)))
	dst = le.AppendUint16(dst, uint16(len(m.members)))
	dst = le.AppendUint16(dst, uint16(len(m.topics)))
	dst = append(dst, m.name...)
	for i := range m.members {
		a := &m.members[i]
		dst = le.AppendUint32(dst, a.SessionMs)
		dst = append(dst, byte(len(a.ID)))
		dst = le.AppendUint16(dst, uint16(len(a.Topics)))
		dst = append(dst, a.ID...)
		for _, name := range a.Topics {
			at, _ := m.topic(name)
			dst = le.AppendUint16(dst, uint16(at))
		}
	}
	for i := range m.topics {
		dst = m.topics[i].appendTo(dst)
	}
	return dst
}

func (t *sharedTopic) appendTo(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, t.id)
	dst = le.AppendUint32(dst, uint32(len(t.shares)))
	dst = append(dst, byte(len(t.name)))
	dst = append(dst, t.name...)
	for _, s := range t.shares {
		dst = le.AppendUint16(dst, uint16(s.owner)) // nobody, -1, is 0xffff
		dst = le.AppendUint16(dst, uint16(s.target))
		dst = le.AppendUint64(dst, s.since)
		dst = le.AppendUint64(dst, s.moved)
	}
	return dst
}

// restoreMembers takes what captureMembers encoded.
func restoreMembers(e *Engine, d *decoder) error {
	g := &e.memberships
	asOf, groups := d.u64(), d.u32()
	switch {
	case d.failed:
		return errShort
	case g.asOf != 0 || asOf == 0:
		return fmt.Errorf("coordinated groups as of %d: are there already, or too early", asOf)
	case uint64(groups)*groupBytesMin > uint64(len(d.left)):
		return errShort
	}
	g.asOf, g.skipTo = asOf, asOf
	before := ""
	for range groups {
		m, err := restoreMembership(d, asOf)
		if err != nil {
			return err
		}
		if m.name <= before {
			return fmt.Errorf("group %q after %q", m.name, before)
		}
		before = m.name
		g.put(m)
	}
	return nil
}

func restoreMembership(d *decoder, asOf uint64) (*Membership, error) {
	m := &Membership{generation: d.u64()}
	size, members, topics := d.u8(), d.u16(), d.u16()
	m.name = string(d.bytes(uint64(size)))
	if d.failed || uint64(members)*memberBytesMin+uint64(topics) > uint64(len(d.left)) {
		return nil, errShort
	}
	if !ValidName(m.name) || members < 1 || members > GroupMembersMax || m.generation == 0 || m.generation > asOf {
		return nil, fmt.Errorf("group %q of %d members in generation %d is impossible", m.name, members, m.generation)
	}
	numbers := make([][]uint16, members)
	for i := range numbers {
		m.members = append(m.members, restoreMember(d, &numbers[i]))
	}
	for range topics {
		if err := m.restoreTopic(d); err != nil {
			return nil, fmt.Errorf("group %q: %w", m.name, err)
		}
	}
	if d.failed {
		return nil, errShort
	}
	for i, list := range numbers {
		for _, n := range list {
			if n >= topics {
				return nil, fmt.Errorf("group %q has no topic %d", m.name, n)
			}
			m.members[i].Topics = append(m.members[i].Topics, m.topics[n].name)
		}
	}
	return m, m.check()
}

// restoreMember takes a member, whose topics are known by number yet.
func restoreMember(d *decoder, numbers *[]uint16) Member {
	a := Member{SessionMs: d.u32()}
	size, topics := d.u8(), d.u16()
	a.ID = string(d.bytes(uint64(size)))
	if uint64(topics)*2 > uint64(len(d.left)) {
		d.failed = true
		return a
	}
	for range topics {
		*numbers = append(*numbers, d.u16())
	}
	return a
}

func (m *Membership) restoreTopic(d *decoder) error {
	t := sharedTopic{id: d.u32()}
	partitions := d.u32()
	t.name = string(d.bytes(uint64(d.u8())))
	if d.failed || uint64(partitions)*shareBytes > uint64(len(d.left)) {
		return errShort
	}
	if partitions > TopicPartitionsMax || t.id == 0 && partitions > 0 {
		return fmt.Errorf("topic %q number %d of %d partitions", t.name, t.id, partitions)
	}
	for range partitions {
		t.shares = append(t.shares, share{owner: int32(int16(d.u16())), target: int32(int16(d.u16())), since: d.u64(), moved: d.u64()})
	}
	m.topics = append(m.topics, t)
	return nil
}

// check tells what is impossible about a group.
func (m *Membership) check() error {
	for i := range m.members {
		a := &m.members[i]
		if err := a.validate([]byte(m.name)); err != nil {
			return fmt.Errorf("member %q: %w", a.ID, err)
		}
		if i > 0 && m.members[i-1].ID >= a.ID {
			return fmt.Errorf("member %q after %q", a.ID, m.members[i-1].ID)
		}
	}
	for i := range m.topics {
		if t := &m.topics[i]; !ValidName(t.name) || i > 0 && m.topics[i-1].name >= t.name {
			return fmt.Errorf("topic %q is out of place", t.name)
		}
	}
	handlers := m.handlers()
	for i := range m.topics {
		t := &m.topics[i]
		if len(handlers[i]) == 0 {
			return fmt.Errorf("nobody handles topic %q", t.name)
		}
		for n := range t.shares {
			if !t.shares[n].possible(m) {
				return fmt.Errorf("topic %q partition %d: %+v is impossible", t.name, n, t.shares[n])
			}
		}
	}
	return nil
}

// possible tells whether a share of m may be like that.
func (s *share) possible(m *Membership) bool {
	members := int32(len(m.members))
	return s.owner >= nobody && s.owner < members && s.target >= nobody && s.target < members &&
		(s.owner == nobody) == (s.since == 0) && (s.owner == s.target) == (s.moved == 0) &&
		s.since <= m.generation && s.moved <= m.generation && (s.owner != nobody || s.target == nobody)
}
