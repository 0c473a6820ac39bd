package api

import (
	"time"

	"ayder/engine"
)

// Sessions of group members: who was heard of when, in the memory of the catalogue's loop of the node that leads.
//
// A heartbeat is not logged; the end of a session is, as a command that takes the member out. So an idle group costs no
// disk, and still every node agrees on who is a member. What makes it safe:
//
//   - A member may handle its partitions for session_ms from the moment it *sent* its last answered request. The leader counts
//     from when it received that, so it always waits longer than the member does.
//   - No request is answered by a node that only believes it leads (leader.go, coordinated): the answer was given before
//     any other node's term began.
//   - A new leader, and a restarted node, knows of no session, so everybody's begins anew when it looks first: later than
//     anything that the former one answered. So no live member expires because of a fail-over, and a dead one is out
//     session_ms after the later of its last request and the beginning of the present term.
//   - While a command about the group is in flight, requests of its members wait for it: nobody is told "go on" while its
//     expiry is on its way.
//   - A loop that was stopped (a paused machine) has heard of nobody for that long: all sessions begin anew.
//
// Logging a heartbeat now and then would let a new leader expire the dead a little sooner, at the cost of writes for as long
// as anybody is alive.

// sessions belong to the catalogue's loop.
type sessions struct {
	groups map[string]map[string]*session // by group and member
	alarm  alarm
}

// session is what is known of a member besides what the cluster has agreed on.
type session struct {
	heard int64  // when it was last heard of, monotonic nanoseconds
	polls uint32 // so many of its polls were answered with messages
}

// of returns a member's session, begun if need be.
func (s *sessions) of(group, member string, at int64) *session {
	members := s.groups[group]
	if members == nil {
		if s.groups == nil {
			s.groups = make(map[string]map[string]*session)
		}
		members = make(map[string]*session)
		s.groups[group] = members
	}
	one := members[member]
	if one == nil {
		one = &session{heard: at}
		members[member] = one
	}
	return one
}

// heardOf notes that a member is alive, if it is one.
func (l *loop) heardOf(group, member []byte) {
	m := l.shard.Membership(group)
	if m == nil {
		return
	}
	if _, have := m.Member(member); have != nil {
		at := l.net.Now()
		l.sessions.of(m.Name(), have.ID, at).heard = at
	}
}

// watchSessions looks after sessions as long as there are groups with members.
func (l *loop) watchSessions() {
	if l.index == engine.CatalogueShard && l.sessions.alarm.slot == 0 && len(l.shard.Memberships()) > 0 {
		l.sessions.alarm.who = sweeper{}
		l.alarms.set(&l.sessions.alarm, l.net.Now()+int64(sessionsEvery))
		l.net.WakeAt(l.sessions.alarm.at)
	}
}

// sweeper ends the sessions that are over, and tells groups what became of their topics.
type sweeper struct{}

func (sweeper) due(l *loop, at int64) {
	late := time.Duration(at - l.sessions.alarm.at)
	l.watchSessions()
	if !l.leading() || l.failed != nil || l.draining {
		clear(l.sessions.groups)
		return
	}
	if late > sessionsLate {
		clear(l.sessions.groups)
	}
	groups := l.shard.Memberships()
	for _, m := range groups {
		l.sweep(m, at)
	}
	if len(l.sessions.groups) > len(groups) {
		for name := range l.sessions.groups {
			if l.shard.Membership([]byte(name)) == nil {
				delete(l.sessions.groups, name)
			}
		}
	}
	l.submit()
}

// sweep sees to one group. What cannot be logged now can be next time.
func (l *loop) sweep(m *engine.Membership, at int64) {
	var over []string
	members := m.Members()
	for i := range members {
		a := &members[i]
		if at-l.sessions.of(m.Name(), a.ID, at).heard > int64(a.SessionMs)*1e6 {
			over = append(over, a.ID)
		}
	}
	if known := l.sessions.groups[m.Name()]; len(known) > len(members) {
		for id := range known {
			if _, have := m.Member([]byte(id)); have == nil {
				delete(known, id)
			}
		}
	}
	switch {
	case len(over) > 0:
		if c, err := l.shard.LeaveGroup(l.openBatch, []byte(m.Name()), over); err == nil && c.Made != nil {
			l.counters.MembersExpired.Add(uint64(len(over)))
		}
	case l.shard.Outdated(m):
		_, _ = l.shard.RefreshGroup(l.openBatch, m)
	}
}
