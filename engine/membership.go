package engine

import (
	"cmp"
	"slices"
	"strings"

	"ayder/internal/record"
)

// Coordinated groups: who is a member, and who handles which partition.
//
// A Membership is immutable. Each command makes the next one, whose generation is the index of the command's frame:
// it rises with every change, and never repeats, not even when a group ends and another of its name begins. So an
// empty group needs no memory of its own, and a member of long ago is told from one of today.
//
// A partition has an owner, who may handle it now, and a target, who should. They differ while it moves:
//
//	owner A, target A    A is told to handle it
//	owner A, target B    nobody is told to: A's next answer lacks it, B's does not have it yet
//	owner B, target B    after A has acknowledged, by naming the generation that took it away, has left or has expired
//
// So there is one owner at most, and it has stopped before the next one begins. moved is the generation in which owner
// and target parted: an acknowledgement of an older one says nothing of it. since is when the owner got it: what a
// member sends with an older generation comes from an earlier life and is fenced.
//
// Nothing here reads the catalogue. How many partitions a topic has is carried in the commands, by the node that
// decides, because checkpoints capture shards at different moments: a replayed command must not see a topic that was
// created after it. For the same reason liveness is no state: the node that leads counts sessions in its own memory and
// commits the end of one as a command.
//
// All of it belongs to the catalogue's shard. A group has one command in flight at a time; whoever comes meanwhile waits
// for that batch and decides by what was applied. Deciding ahead of the log would be faster and need all of this twice.

// Member is one member of a coordinated group.
type Member struct {
	ID        string   // ValidName
	SessionMs uint32   // how long it may stay silent
	Topics    []string // that it handles, sorted, each once
}

// Membership is a coordinated group at one moment. It never changes.
type Membership struct {
	name       string
	generation uint64        // index of the frame that made it
	members    []Member      // sorted by ID, at least one
	topics     []sharedTopic // sorted by name; those that a member handles
}

// sharedTopic is a topic that a group handles, as of the last command that spoke of it.
type sharedTopic struct {
	name   string
	id     uint32 // 0: there is none of that name
	shares []share
}

// share is who handles one partition. Members are places in Membership.members.
type share struct {
	owner  int32  // who may handle it, nobody
	target int32  // who should
	since  uint64 // generation in which the owner got it, 0 without one
	moved  uint64 // generation since which a live owner is not the target, 0 while it is
}

const nobody int32 = -1

// memberships are all coordinated groups. They belong to the loop of the catalogue's shard.
type memberships struct {
	places     map[string]int // of a name in list
	list       []*Membership  // in no particular order
	pending    map[string]*record.Batch
	members    int // of all groups together
	partitions int // of all groups together
	asOf       uint64
	skipTo     uint64 // asOf when it was restored: replay leaves frames up to here out
}

func (g *memberships) get(name []byte) *Membership {
	if i, ok := g.places[string(name)]; ok {
		return g.list[i]
	}
	return nil
}

// put replaces the group of m's name; one without members ends.
func (g *memberships) put(m *Membership) {
	i, had := g.places[m.name]
	if had {
		g.count(g.list[i], -1)
	}
	switch {
	case len(m.members) > 0 && had:
		g.list[i] = m
	case len(m.members) > 0:
		if g.places == nil {
			g.places = make(map[string]int)
		}
		g.places[m.name] = len(g.list)
		g.list = append(g.list, m)
	case had:
		last := len(g.list) - 1
		g.list[i] = g.list[last]
		g.places[g.list[i].name] = i
		delete(g.places, m.name)
		g.list[last] = nil
		g.list = g.list[:last]
		return
	default:
		return
	}
	g.count(m, 1)
}

func (g *memberships) count(m *Membership, sign int) {
	g.members += sign * len(m.members)
	g.partitions += sign * m.size()
}

// Name is the group's name.
func (m *Membership) Name() string { return m.name }

// Generation is the index of the frame that made it what it is.
func (m *Membership) Generation() uint64 { return m.generation }

// Members are in the order of their IDs; the caller must not change them.
func (m *Membership) Members() []Member { return m.members }

// Member returns the member of that ID and its number, nil if there is none.
func (m *Membership) Member(id []byte) (int, *Member) {
	i, ok := slices.BinarySearchFunc(m.members, id, func(a Member, b []byte) int { return cmp.Compare(a.ID, string(b)) })
	if !ok {
		return 0, nil
	}
	return i, &m.members[i]
}

// Moving tells that an owner has yet to acknowledge that it lost a partition.
func (m *Membership) Moving() bool {
	for i := range m.topics {
		for _, s := range m.topics[i].shares {
			if s.moved != 0 {
				return true
			}
		}
	}
	return false
}

// Assigned calls visit for every partition that member i has or had, in order: kept ones are to be handled, the others
// to be given up, which naming this generation acknowledges.
func (m *Membership) Assigned(i int, visit func(topic string, s record.Stream, kept bool)) {
	for t := range m.topics {
		topic := &m.topics[t]
		for n, s := range topic.shares {
			if s.owner == int32(i) {
				visit(topic.name, record.Stream{Topic: topic.id, Partition: uint32(n)}, s.moved == 0)
			}
		}
	}
}

// Owner returns the ID of the member that handles a partition, empty if nobody does.
func (m *Membership) Owner(s record.Stream) string {
	if at := m.share(s); at != nil && at.owner != nobody {
		return m.members[at.owner].ID
	}
	return ""
}

// Fence tells whether a member may commit an offset of s, knowing the group as it was in generation: nil, ErrNoMember
// or ErrFenced. One that is to give the partition up and has not acknowledged that yet may.
func (m *Membership) Fence(id []byte, generation uint64, s record.Stream) error {
	if m == nil {
		return ErrNoMember
	}
	i, member := m.Member(id)
	if member == nil {
		return ErrNoMember
	}
	at := m.share(s)
	if at == nil || at.owner != int32(i) || generation < at.since || generation > m.generation {
		return ErrFenced
	}
	return nil
}

func (m *Membership) share(s record.Stream) *share {
	for i := range m.topics {
		if t := &m.topics[i]; t.id == s.Topic && s.Topic != 0 && s.Partition < uint32(len(t.shares)) {
			return &t.shares[s.Partition]
		}
	}
	return nil
}

// owes tells whether naming generation acknowledges that member i lost something.
func (m *Membership) owes(i int, generation uint64) bool {
	for t := range m.topics {
		for _, s := range m.topics[t].shares {
			if s.owner == int32(i) && s.moved != 0 && s.moved <= generation {
				return true
			}
		}
	}
	return false
}

// size is how many partitions the group handles.
func (m *Membership) size() (n int) {
	for i := range m.topics {
		n += len(m.topics[i].shares)
	}
	return n
}

// topic finds a topic by its name.
func (m *Membership) topic(name string) (at int, ok bool) {
	return slices.BinarySearchFunc(m.topics, name, func(t sharedTopic, name string) int { return strings.Compare(t.name, name) })
}

// clone returns a copy that may be changed.
func (m *Membership) clone() *Membership {
	c := *m
	c.members = slices.Clone(m.members)
	c.topics = slices.Clone(m.topics)
	for i := range c.topics {
		c.topics[i].shares = slices.Clone(c.topics[i].shares)
	}
	return &c
}
