package engine

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"ayder/internal/record"
)

// Commands about coordinated groups: deciding and encoding. What they do is in members_apply.go.
//
// Each says "make it so": if it is so already nothing is logged, and if a command of that group is in flight the caller
// waits for its batch and asks again. So a caller asks until nothing changes and then reads the answer off the
// Membership; an answer never shows anything that was not committed.

// Change is the result of a command about a coordinated group. With neither field set it is as was asked.
type Change struct {
	Made    *record.Batch // the command is there: ask again when that is done
	Pending *record.Batch // another command is in flight there: ask again when that is done
}

// Batch is the one to wait for, nil if it is as was asked.
func (c Change) Batch() *record.Batch {
	if c.Made != nil {
		return c.Made
	}
	return c.Pending
}

// Opener returns the open batch with room for a command of size bytes, or why there is none. It is called only for a
// command that is needed: a member that has nothing to say costs no batch.
type Opener func(size int) (*record.Batch, error)

// The kinds of commands about members, on disk.
const (
	membersJoin        uint8 = 1 // one member; topics: those that it handles
	membersLeave       uint8 = 2 // some that left or expired
	membersAcknowledge uint8 = 3 // one member stopped handling what it had lost by a generation
	membersTopics      uint8 = 4 // topics were created, deleted or have grown
)

// membersCommand is a command about a group's members.
type membersCommand struct {
	kind         uint8
	group        string
	sessionMs    uint32   // join
	acknowledged uint64   // acknowledge
	members      []string // sorted
	topics       []topicSize
}

// topicSize is what the catalogue said of a topic when a command was made.
type topicSize struct {
	name       string
	id         uint32 // 0: there is none
	partitions uint32
}

const membersBytes = 24 // a command without names

// Membership returns a coordinated group, nil where it has no members.
func (s *Shard) Membership(name []byte) *Membership { return s.memberships().get(name) }

// Memberships returns all coordinated groups in no particular order; the caller must not change the list.
func (s *Shard) Memberships() []*Membership { return s.memberships().list }

// MembershipPending returns the batch that holds a command about a group, nil if none is in flight.
func (s *Shard) MembershipPending(name []byte) *record.Batch {
	return s.memberships().pending[string(name)]
}

// memberships are the coordinated groups, which the catalogue's shard alone may ask for.
func (s *Shard) memberships() *memberships {
	if s.number != CatalogueShard {
		panic("bug: members of a group asked for on a shard that is not the catalogue's")
	}
	return &s.engine.memberships
}

// JoinGroup makes m a member, or one with these topics and this session. Errors: ErrGroupName, ErrMemberName,
// ErrTopicName, ErrMemberTopics, ErrSession, ErrMemberLimit, and those of open.
func (s *Shard) JoinGroup(open Opener, group []byte, m Member) (Change, error) {
	g := s.memberships()
	if err := m.validate(group); err != nil {
		return Change{}, err
	}
	if p := g.pending[string(group)]; p != nil {
		return Change{Pending: p}, nil
	}
	old := g.get(group)
	if old != nil {
		if _, have := old.Member([]byte(m.ID)); have != nil && have.SessionMs == m.SessionMs && slices.Equal(have.Topics, m.Topics) {
			return Change{}, nil
		}
	}
	c := membersCommand{kind: membersJoin, group: string(group), sessionMs: m.SessionMs, members: []string{m.ID}, topics: s.sizes(m.Topics)}
	if !g.admits(old, &c) {
		return Change{}, ErrMemberLimit
	}
	return s.change(open, old, &c)
}

// admits tells whether the limits allow a join.
func (g *memberships) admits(old *Membership, c *membersCommand) bool {
	members, topics, more := 0, len(c.topics), 0
	for i := range c.topics {
		more += int(c.topics[i].partitions)
	}
	if old != nil {
		members = len(old.members)
		if _, have := old.Member([]byte(c.members[0])); have != nil {
			members--
		}
		topics = len(old.topics)
		for i := range c.topics {
			if _, ok := old.topic(c.topics[i].name); !ok {
				topics++
			}
		}
	}
	return members < GroupMembersMax && topics <= GroupTopicsMax && (old != nil || len(g.list) < CoordinatedGroupsMax) &&
		g.members < MembersTotalMax && g.partitions+more <= SharesTotalMax
}

// LeaveGroup takes those of the named members out that are in. Errors are those of open.
func (s *Shard) LeaveGroup(open Opener, group []byte, members []string) (Change, error) {
	g := s.memberships()
	if p := g.pending[string(group)]; p != nil {
		return Change{Pending: p}, nil
	}
	old := g.get(group)
	if old == nil {
		return Change{}, nil
	}
	c := membersCommand{kind: membersLeave, group: string(group)}
	for i := range old.members {
		if slices.Contains(members, old.members[i].ID) {
			c.members = append(c.members, old.members[i].ID)
		}
	}
	if len(c.members) == 0 {
		return Change{}, nil
	}
	return s.change(open, old, &c)
}

// Acknowledge notes that a member knows the group as it was in generation, and so has stopped handling what it had lost by
// then. Errors: ErrNoMember; ErrFenced where the group has not seen that generation; those of open.
func (s *Shard) Acknowledge(open Opener, group, member []byte, generation uint64) (Change, error) {
	g := s.memberships()
	if p := g.pending[string(group)]; p != nil {
		return Change{Pending: p}, nil
	}
	m := g.get(group)
	if m == nil {
		return Change{}, ErrNoMember
	}
	i, have := m.Member(member)
	switch {
	case have == nil:
		return Change{}, ErrNoMember
	case generation > m.generation:
		return Change{}, ErrFenced
	case !m.owes(i, generation):
		return Change{}, nil
	}
	c := membersCommand{kind: membersAcknowledge, group: string(group), acknowledged: generation, members: []string{have.ID}}
	return s.change(open, m, &c)
}

// Outdated tells whether topics that the group handles have come, gone or grown.
func (s *Shard) Outdated(m *Membership) bool {
	for i := range m.topics {
		if id, n := s.sizeOf(m.topics[i].name); id != m.topics[i].id || int(n) != len(m.topics[i].shares) {
			return true
		}
	}
	return false
}

// RefreshGroup has a group take note of how large its topics are now. Errors are those of open.
func (s *Shard) RefreshGroup(open Opener, m *Membership) (Change, error) {
	if p := s.memberships().pending[m.name]; p != nil {
		return Change{Pending: p}, nil
	}
	c := membersCommand{kind: membersTopics, group: m.name}
	for i := range m.topics {
		if id, n := s.sizeOf(m.topics[i].name); id != m.topics[i].id || int(n) != len(m.topics[i].shares) {
			c.topics = append(c.topics, topicSize{m.topics[i].name, id, n})
		}
	}
	if len(c.topics) == 0 {
		return Change{}, nil
	}
	return s.change(open, m, &c)
}

// change puts a command into a batch. old is the group that it was decided by.
func (s *Shard) change(open Opener, old *Membership, c *membersCommand) (Change, error) {
	body := c.appendTo(nil)
	b, err := open(len(body))
	if err != nil {
		return Change{}, err
	}
	generation := uint64(0)
	if old != nil {
		generation = old.generation
	}
	b.AppendCommand(record.SectionGroupMembers, record.Stream{}, generation, body)
	g := s.memberships()
	if g.pending == nil {
		g.pending = make(map[string]*record.Batch)
	}
	g.pending[c.group] = b
	return Change{Made: b}, nil
}

// sizes is what the catalogue says of the named topics.
func (s *Shard) sizes(topics []string) (list []topicSize) {
	for _, name := range topics {
		id, n := s.sizeOf(name)
		list = append(list, topicSize{name, id, n})
	}
	return list
}

func (s *Shard) sizeOf(topic string) (id, partitions uint32) {
	if t := s.engine.Topic([]byte(topic)); t != nil {
		return t.ID(), t.Partitions()
	}
	return 0, 0
}

// validate tells whether there may be such a member.
func (m *Member) validate(group []byte) error {
	switch {
	case !ValidName(group):
		return ErrGroupName
	case !ValidName(m.ID):
		return ErrMemberName
	case len(m.Topics) < 1 || len(m.Topics) > GroupTopicsMax:
		return ErrMemberTopics
	case m.SessionMs < SessionMsMin || m.SessionMs > SessionMsMax:
		return ErrSession
	}
	return validTopics(m.Topics)
}

// validTopics wants names of topics, sorted, each once.
func validTopics(topics []string) error {
	for i, name := range topics {
		if !ValidName(name) {
			return ErrTopicName
		}
		if i > 0 && topics[i-1] >= name {
			return ErrMemberTopics
		}
	}
	return nil
}

// appendTo encodes a command as doc.go draws it.
func (c *membersCommand) appendTo(dst []byte) []byte {
	le := binary.LittleEndian
	dst = append(dst, c.kind, byte(len(c.group)))
	dst = le.AppendUint16(dst, uint16(len(c.members)))
	dst = le.AppendUint16(dst, uint16(len(c.topics)))
	dst = le.AppendUint16(dst, 0)
	dst = le.AppendUint32(dst, c.sessionMs)
	dst = le.AppendUint32(dst, 0)
	dst = le.AppendUint64(dst, c.acknowledged)
	dst = append(dst, c.group...)
	for _, m := range c.members {
		dst = append(append(dst, byte(len(m))), m...)
	}
	for i := range c.topics {
		t := &c.topics[i]
		dst = le.AppendUint32(dst, t.id)
		dst = le.AppendUint32(dst, t.partitions)
		dst = append(append(dst, byte(len(t.name))), t.name...)
	}
	return dst
}

// readMembers decodes all of b and checks that there may be such a command.
func readMembers(b []byte) (c membersCommand, err error) {
	d := decoder{left: b}
	head := decoder{left: d.bytes(membersBytes)}
	c.kind = head.u8()
	size, members, topics := head.u8(), head.u16(), head.u16()
	zero := uint32(head.u16())
	c.sessionMs = head.u32()
	zero |= head.u32()
	c.acknowledged = head.u64()
	c.group = string(d.bytes(uint64(size)))
	for range members {
		c.members = append(c.members, string(d.bytes(uint64(d.u8()))))
	}
	for range topics {
		t := topicSize{id: d.u32(), partitions: d.u32()}
		t.name = string(d.bytes(uint64(d.u8())))
		c.topics = append(c.topics, t)
	}
	if d.failed || head.failed || len(d.left) > 0 || zero != 0 {
		return c, fmt.Errorf("command about members of %d bytes: %w", len(b), record.ErrMalformed)
	}
	return c, c.validate()
}

// validate tells whether there may be such a command, whatever the group.
func (c *membersCommand) validate() error {
	if !ValidName(c.group) {
		return ErrGroupName
	}
	for i, m := range c.members {
		if !ValidName(m) || i > 0 && c.members[i-1] >= m {
			return ErrMemberName
		}
	}
	for i := range c.topics {
		switch t := &c.topics[i]; {
		case !ValidName(t.name) || i > 0 && c.topics[i-1].name >= t.name:
			return ErrTopicName
		case t.partitions > TopicPartitionsMax || t.id == 0 && t.partitions > 0:
			return ErrPartitions
		}
	}
	ok := false
	switch c.kind {
	case membersJoin:
		ok = len(c.members) == 1 && len(c.topics) > 0 && len(c.topics) <= GroupTopicsMax && c.sessionMs >= SessionMsMin && c.sessionMs <= SessionMsMax
	case membersLeave:
		ok = len(c.members) > 0 && len(c.topics) == 0
	case membersAcknowledge:
		ok = len(c.members) == 1 && len(c.topics) == 0
	case membersTopics:
		ok = len(c.members) == 0 && len(c.topics) > 0
	}
	if !ok {
		return fmt.Errorf("kind %d with %d members and %d topics: %w", c.kind, len(c.members), len(c.topics), record.ErrMalformed)
	}
	return nil
}

// Members are counted in 16 bits, those of one group in a share's 16 bits of a checkpoint less one.
const _ uint = math.MaxUint16 - 1 - GroupMembersMax
