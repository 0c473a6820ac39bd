package api

import (
	"maps"
	"slices"
	"strings"

	"ayder/engine"
	"ayder/internal/jsonscan"
)

// Listing and describing groups. What a group has committed is spread over the loops of its partitions, who is a
// member is known to the catalogue's: the catalogue's loop answers, and walks all for the rest.
//
// A token that reaches only names with a prefix sees what concerns those topics, and a group that concerns none not at all.

// summary is a group in the list, as far as one loop knows it.
type summary struct {
	topics     []string // sorted, at most groupTopicsListed
	partitions int
	lag        uint64
}

// add notes a partition. Topics come in the order of their names.
func (s *summary) add(topic string, lag uint64) {
	if n := len(s.topics); n == 0 || s.topics[n-1] != topic {
		if n < groupTopicsListed {
			s.topics = append(s.topics, topic)
		}
	}
	s.partitions++
	s.lag += lag
}

// merge adds what another loop knows.
func (s *summary) merge(o *summary) {
	s.topics = slices.Compact(slices.Sorted(slices.Values(append(s.topics, o.topics...))))
	s.topics = s.topics[:min(len(s.topics), groupTopicsListed)]
	s.partitions += o.partitions
	s.lag += o.lag
}

// lag is how many messages a group has not read yet.
func lag(p *engine.Partition, committed uint64) uint64 {
	s := p.Stats()
	if committed = max(committed, s.Floor); committed < s.Next {
		return s.Next - committed
	}
	return 0
}

// listGroups names every group that has committed anything or has members.
func listGroups(l *loop, x *exchange) (reply, error) {
	if l.index != engine.CatalogueShard {
		return l.forward(engine.CatalogueShard, x)
	}
	l.exclude(x.conn)
	c := x.cloned()
	c.scope, c.follower = x.scope, x.follower
	args := listArgs{after: string(x.args.after), limit: x.args.limit}
	found := make([]map[string]*summary, len(l.server.loops))
	overflow := make([]bool, len(found)) // each loop's own
	visitorOf := func(i int) visitor {
		found[i] = map[string]*summary{}
		return func(t *engine.Topic, p *engine.Partition) (steps int) {
			p.EachGroup(func(name string, committed uint64) {
				steps++
				if name <= args.after {
					return
				}
				s := found[i][name]
				if s == nil {
					if overflow[i] = overflow[i] || len(found[i]) >= groupsListedMax; overflow[i] {
						return
					}
					s = &summary{}
					found[i][name] = s
				}
				s.add(t.Name(), lag(p, committed))
			})
			return steps
		}
	}
	l.walkAll(l.reachable(x), visitorOf, func() {
		if slices.Contains(overflow, true) {
			l.finishError(c.conn, &c.meta, errOverloaded.with("there are more than %d groups: ask for one by its name", groupsListedMax))
			return
		}
		l.finishList(c, args, found)
	})
	return reply{later: true}, nil
}

// listArgs say which part of the list is asked for.
type listArgs struct {
	after string
	limit int
}

// finishList answers with the groups that the loops have found, and those that have members.
func (l *loop) finishList(x *exchange, a listArgs, found []map[string]*summary) {
	all := map[string]*summary{}
	for _, part := range found {
		for name, s := range part {
			if have := all[name]; have != nil {
				have.merge(s)
			} else {
				all[name] = s
			}
		}
	}
	for _, m := range l.shard.Memberships() {
		if topics := memberTopics(m, x); len(topics) > 0 && m.Name() > a.after {
			s := all[m.Name()]
			if s == nil {
				s = &summary{}
				all[m.Name()] = s
			}
			s.merge(&summary{topics: topics})
		}
	}
	names := slices.Sorted(maps.Keys(all))
	truncated := len(names) > a.limit
	names = names[:min(len(names), a.limit)]
	b := append(l.body[:0], `{"ok":true,"groups":[`...)
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendSummary(b, name, all[name], l.shard.Membership([]byte(name)))
	}
	b = appendMember(append(b, ']'), "count", uint64(len(names)))
	if b = append(b, `,"truncated":false`...); truncated {
		b = append(b[:len(b)-len("false")], "true"...)
	}
	l.body = append(appendFollower(b, x.follower), '}')
	l.finish(x.conn, &x.meta, 0, &reply{status: 200, body: l.body})
}

// memberTopics are the topics that a group's members handle and the token reaches.
func memberTopics(m *engine.Membership, x *exchange) (topics []string) {
	for _, a := range m.Members() {
		for _, t := range a.Topics {
			if x.scope.AllowsName([]byte(t)) {
				topics = append(topics, t)
			}
		}
	}
	slices.Sort(topics)
	topics = slices.Compact(topics)
	return topics[:min(len(topics), groupTopicsListed)]
}

func appendSummary(b []byte, name string, s *summary, m *engine.Membership) []byte {
	b = append(b, `{"group":`...)
	b = jsonscan.AppendString(b, []byte(name))
	b = append(b, `,"state":"`...)
	b = append(b, groupState(m)...)
	b = append(b, `","topics":`...)
	b = appendStrings(b, s.topics)
	members := 0
	if m != nil {
		members = len(m.Members())
	}
	b = appendMember(b, "members", uint64(members))
	b = appendMember(b, "partitions", uint64(s.partitions))
	return append(appendMember(b, "lag", s.lag), '}')
}

// groupState says whether anybody is there, and whether partitions move.
func groupState(m *engine.Membership) string {
	switch {
	case m == nil:
		return "empty"
	case m.Moving():
		return "rebalancing"
	}
	return "stable"
}

func appendStrings(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = jsonscan.AppendString(b, []byte(s))
	}
	return append(b, ']')
}

// progress is a group in one partition.
type progress struct {
	topic     string
	partition *engine.Partition
	committed uint64
	has       bool
	member    string // who handles it
}

// describeGroup tells how far a group is in every partition, and who its members are.
func describeGroup(l *loop, x *exchange) (reply, error) {
	if l.index != engine.CatalogueShard {
		return l.forward(engine.CatalogueShard, x)
	}
	l.exclude(x.conn)
	group, m := string(x.args.group), l.shard.Membership(x.args.group)
	c := x.cloned()
	c.scope, c.follower = x.scope, x.follower
	found := make([][]progress, len(l.server.loops))
	visitorOf := func(i int) visitor {
		return func(t *engine.Topic, p *engine.Partition) int {
			g := progress{topic: t.Name(), partition: p}
			if g.committed, g.has = p.Committed([]byte(group)); m != nil {
				g.member = m.Owner(p.Stream())
			}
			if (g.has || g.member != "") && len(found[i]) <= groupPartitionsMax {
				found[i] = append(found[i], g)
			}
			return 0
		}
	}
	l.walkAll(l.reachable(x), visitorOf, func() { l.finishGroup(c, group, m, slices.Concat(found...)) })
	return reply{later: true}, nil
}

// finishGroup answers with what the loops have found.
func (l *loop) finishGroup(x *exchange, group string, m *engine.Membership, found []progress) {
	if m != nil && len(memberTopics(m, x)) == 0 {
		m = nil // none of the token's business
	}
	if m == nil && len(found) == 0 {
		l.finishError(x.conn, &x.meta, errUnknownGroup.with("the group %q has committed nothing and has no members", group))
		return
	}
	slices.SortFunc(found, func(a, b progress) int {
		if c := strings.Compare(a.topic, b.topic); c != 0 {
			return c
		}
		return int(a.partition.Stream().Partition) - int(b.partition.Stream().Partition)
	})
	truncated := len(found) > groupPartitionsMax
	found = found[:min(len(found), groupPartitionsMax)]
	b := append(l.body[:0], `{"ok":true,"group":`...)
	b = jsonscan.AppendString(b, []byte(group))
	b = append(b, `,"state":"`...)
	b = append(append(b, groupState(m)...), '"')
	if m != nil {
		b = appendMember(b, "generation", m.Generation())
	}
	b = append(b, `,"members":[`...)
	if m != nil {
		b = appendMembers(b, m)
	}
	b = append(b, `],"partitions":[`...)
	total := uint64(0)
	for i := range found {
		if i > 0 {
			b = append(b, ',')
		}
		behind := lag(found[i].partition, found[i].committed)
		total += behind
		b = found[i].appendTo(b, behind, l.server.options.CommitIsLast)
	}
	b = appendMember(append(b, ']'), "lag", total)
	if b = append(b, `,"truncated":false`...); truncated {
		b = append(b[:len(b)-len("false")], "true"...)
	}
	l.body = append(appendFollower(b, x.follower), '}')
	l.finish(x.conn, &x.meta, 0, &reply{status: 200, body: l.body})
}

func appendMembers(b []byte, m *engine.Membership) []byte {
	members := m.Members()
	for i := range members {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"member":`...)
		b = jsonscan.AppendString(b, []byte(members[i].ID))
		b = appendMember(b, "session_ms", uint64(members[i].SessionMs))
		b = append(b, `,"topics":`...)
		b = appendStrings(b, members[i].Topics)
		b = append(b, `,"assigned":[`...)
		b = appendShares(b, m, i, true)
		b = append(b, `],"revoked":[`...)
		b = append(appendShares(b, m, i, false), ']', '}')
	}
	return b
}

func (g *progress) appendTo(b []byte, behind uint64, last bool) []byte {
	s := g.partition.Stats()
	b = appendPlace(append(b, '{'), g.topic, g.partition.Stream().Partition)
	b = appendCommitted(b, g.committed, g.has, last)
	b = appendMember(b, "earliest_offset", s.Floor)
	b = appendMember(b, "next_offset", s.Next)
	b = appendMember(b, "lag", behind)
	if g.member == "" {
		return append(b, `,"member":null}`...)
	}
	b = append(b, `,"member":`...)
	return append(jsonscan.AppendString(b, []byte(g.member)), '}')
}
