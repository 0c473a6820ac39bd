package engine

import "slices"

// Who should handle what: sticky, balanced, and the same on every node.
//
// Every partition keeps its target if that is still there; one without gets back its owner, else the least loaded
// member that handles its topic. Then partitions move, one at a time, from a member to one that has at least two
// fewer and handles the topic. That ends, because the sum of squares falls, and then members of the same topics differ by one
// at most. A partition that its member does not have yet moves before one that it would have to give up, and best of all
// back to whoever has it: nothing is taken away that did not have to be.
//
// Where members handle different topics a chain of moves might balance better than single ones do; it would take away
// more, too. Order is that of sorted names and numbers, never of a map.

// assignment is the work on one membership.
type assignment struct {
	m       *Membership
	handles [][]int32 // members by topic
	load    []int     // partitions by member
	held    [][]int   // partitions by topic and member
}

// assign gives every share a target, and to those without owner that owner, as of m's generation.
func (m *Membership) assign() {
	a := assignment{m: m, load: make([]int, len(m.members))}
	a.handles = m.handlers()
	for range m.topics {
		a.held = append(a.held, make([]int, len(m.members)))
	}
	a.keep()
	a.fill()
	for a.balance() {
		continue
	}
	m.settle()
}

// handlers are, topic by topic, the members that handle it, in order.
func (m *Membership) handlers() [][]int32 {
	all := make([][]int32, len(m.topics))
	for i := range m.members {
		at := 0
		for _, name := range m.members[i].Topics { // both lists are sorted
			for m.topics[at].name != name {
				at++
			}
			all[at] = append(all[at], int32(i))
		}
	}
	return all
}

func (a *assignment) mayHandle(topic int, member int32) bool {
	_, ok := slices.BinarySearch(a.handles[topic], member)
	return ok
}

func (a *assignment) give(topic int, s *share, member int32) {
	if s.target != nobody {
		a.load[s.target]--
		a.held[topic][s.target]--
	}
	if s.target = member; member != nobody {
		a.load[member]++
		a.held[topic][member]++
	}
}

// keep counts the targets that stay and drops the others.
func (a *assignment) keep() {
	for t := range a.m.topics {
		for i := range a.m.topics[t].shares {
			s := &a.m.topics[t].shares[i]
			target := s.target
			s.target = nobody
			if target != nobody && a.mayHandle(t, target) {
				a.give(t, s, target)
			}
		}
	}
}

// fill finds a target for every share that has none.
func (a *assignment) fill() {
	for t := range a.m.topics {
		for i := range a.m.topics[t].shares {
			switch s := &a.m.topics[t].shares[i]; {
			case s.target != nobody:
			case s.owner != nobody && a.mayHandle(t, s.owner):
				a.give(t, s, s.owner)
			default:
				a.give(t, s, a.least(t))
			}
		}
	}
}

// least is the least loaded member that handles a topic, the first of several.
func (a *assignment) least(topic int) int32 {
	best := nobody
	for _, m := range a.handles[topic] {
		if best == nobody || a.load[m] < a.load[best] {
			best = m
		}
	}
	return best
}

// balance relieves the most loaded member of one partition, again and again, leaving out those who cannot be
// relieved. It tells whether anything moved: then some of these perhaps can be.
func (a *assignment) balance() (moved bool) {
	stuck := make([]bool, len(a.load))
	for m := a.most(stuck); m != nobody && a.load[m] >= slices.Min(a.load)+2; m = a.most(stuck) {
		if a.relieve(m) {
			moved = true
		} else {
			stuck[m] = true
		}
	}
	return moved
}

// most is the most loaded member that is not stuck, the first of several.
func (a *assignment) most(stuck []bool) int32 {
	best := nobody
	for m := range a.load {
		if !stuck[m] && (best == nobody || a.load[m] > a.load[best]) {
			best = int32(m)
		}
	}
	return best
}

// relieve moves one partition away from member, of the topic that it has most of among those whose other members have
// the least; false if nobody has so much less.
func (a *assignment) relieve(member int32) bool {
	topic, to := -1, nobody
	for t := range a.held {
		if a.held[t][member] == 0 {
			continue
		}
		n := a.least(t)
		if a.load[n]+2 > a.load[member] {
			continue
		}
		if to == nobody || a.load[n] < a.load[to] || a.load[n] == a.load[to] && a.held[t][member] > a.held[topic][member] {
			topic, to = t, n
		}
	}
	if to == nobody {
		return false
	}
	a.give(topic, a.cheapest(topic, member, to), to)
	return true
}

// cheapest is the partition of a topic whose move from one member to another costs least.
func (a *assignment) cheapest(topic int, from, to int32) *share {
	var best *share
	rank := 0
	shares := a.m.topics[topic].shares
	for i := len(shares) - 1; i >= 0; i-- {
		s := &shares[i]
		if s.target != from {
			continue
		}
		r := 1
		switch s.owner {
		case to:
			return s
		case from:
		default:
			r = 2
		}
		if r > rank {
			best, rank = s, r
		}
	}
	return best
}

// settle makes a target the owner where there is none, and notes since when the others part.
func (m *Membership) settle() {
	for t := range m.topics {
		for i := range m.topics[t].shares {
			s := &m.topics[t].shares[i]
			if s.owner == nobody {
				if s.owner, s.since = s.target, m.generation; s.owner == nobody {
					s.since = 0
				}
			}
			switch {
			case s.owner == s.target:
				s.moved = 0
			case s.moved == 0:
				s.moved = m.generation
			}
		}
	}
}
