package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"ayder/internal/record"
)

// opener gives out the open batch of the catalogue's shard.
func (w *world) opener() Opener {
	return func(int) (*record.Batch, error) { return w.open[CatalogueShard], nil }
}

func (w *world) coordinator() *Shard { return w.e.Shard(CatalogueShard) }

// join makes a member and waits for it.
func (w *world) join(group, id string, topics ...string) {
	w.t.Helper()
	slices.Sort(topics)
	if _, err := w.coordinator().JoinGroup(w.opener(), []byte(group), Member{ID: id, SessionMs: 5000, Topics: topics}); err != nil {
		w.t.Fatal(err)
	}
	w.commit()
}

func (w *world) leave(group string, ids ...string) {
	w.t.Helper()
	if _, err := w.coordinator().LeaveGroup(w.opener(), []byte(group), ids); err != nil {
		w.t.Fatal(err)
	}
	w.commit()
}

// acknowledge has a member name the present generation, and tells whether that changed anything.
func (w *world) acknowledge(group, id string) bool {
	w.t.Helper()
	m := w.coordinator().Membership([]byte(group))
	c, err := w.coordinator().Acknowledge(w.opener(), []byte(group), []byte(id), m.Generation())
	if err != nil {
		w.t.Fatal(err)
	}
	w.commit()
	return c.Made != nil
}

// rest lets all members acknowledge until nothing moves.
func (w *world) rest(group string) {
	w.t.Helper()
	for range 100 {
		m := w.coordinator().Membership([]byte(group))
		if m == nil || !m.Moving() {
			return
		}
		for _, a := range m.Members() {
			w.acknowledge(group, a.ID)
		}
	}
	w.t.Fatal("the group does not come to rest")
}

// has is what a member is told to handle, as text.
func (w *world) has(group, id string) (list []string) {
	w.t.Helper()
	m := w.coordinator().Membership([]byte(group))
	i, have := m.Member([]byte(id))
	if have == nil {
		w.t.Fatalf("%s has no member %s", group, id)
	}
	m.Assigned(i, func(topic string, s record.Stream, kept bool) {
		if kept {
			list = append(list, fmt.Sprint(topic, "/", s.Partition))
		}
	})
	return list
}

func (w *world) wantHas(group, id string, want ...string) {
	w.t.Helper()
	if got := w.has(group, id); !slices.Equal(got, want) {
		w.t.Fatalf("%s handles %v, want %v", id, got, want)
	}
}

func TestPartitionMovesAfterItsOwnerHasAcknowledged(t *testing.T) {
	w := newWorld(t, Config{})
	w.topic("t", 3)
	w.join("g", "a", "t")
	w.wantHas("g", "a", "t/0", "t/1", "t/2")
	first := w.coordinator().Membership([]byte("g")).Generation()
	w.join("g", "b", "t")
	w.wantHas("g", "a", "t/0", "t/1")
	w.wantHas("g", "b")
	if c, err := w.coordinator().Acknowledge(w.opener(), []byte("g"), []byte("a"), first); c != (Change{}) || err != nil {
		t.Fatal("a generation from before the loss acknowledges it:", c, err)
	}
	if w.acknowledge("g", "b") {
		t.Fatal("b acknowledged what a has to")
	}
	if !w.acknowledge("g", "a") {
		t.Fatal("nothing came of the acknowledgement")
	}
	w.wantHas("g", "b", "t/2")
	w.wantHas("g", "a", "t/0", "t/1")
	w.leave("g", "a")
	w.wantHas("g", "b", "t/0", "t/1", "t/2")
	w.leave("g", "b")
	if m := w.coordinator().Membership([]byte("g")); m != nil {
		t.Fatalf("a group without members: %+v", m)
	}
}

func TestLostAndGivenBack(t *testing.T) {
	w := newWorld(t, Config{})
	w.topic("t", 2)
	w.join("g", "a", "t")
	w.join("g", "b", "t")
	lost := w.coordinator().Membership([]byte("g")).Generation()
	w.leave("g", "b")
	w.wantHas("g", "a", "t/0", "t/1")
	w.join("g", "c", "t")
	w.wantHas("g", "a", "t/0")
	if c, err := w.coordinator().Acknowledge(w.opener(), []byte("g"), []byte("a"), lost); c != (Change{}) || err != nil {
		t.Fatal("the acknowledgement of the first loss counts for the second:", c, err)
	}
	w.acknowledge("g", "a")
	w.wantHas("g", "c", "t/1")
}

func TestFence(t *testing.T) {
	w := newWorld(t, Config{})
	t1 := w.topic("t", 2)
	p0, p1 := t1.Partition(0).Stream(), t1.Partition(1).Stream()
	fence := func(id string, generation uint64, s record.Stream, want error) {
		t.Helper()
		if err := w.coordinator().Membership([]byte("g")).Fence([]byte(id), generation, s); !errors.Is(err, want) || want == nil && err != nil {
			t.Fatalf("%s at %d: %v, want %v", id, generation, err, want)
		}
	}
	fence("a", 1, p0, ErrNoMember)
	w.join("g", "a", "t")
	one := w.coordinator().Membership([]byte("g")).Generation()
	fence("a", one, p1, nil)
	fence("a", one-1, p1, ErrFenced)
	fence("a", one+1, p1, ErrFenced)
	fence("b", one, p1, ErrNoMember)
	fence("a", one, record.Stream{Topic: 9}, ErrFenced)
	fence("a", one, record.Stream{}, ErrFenced)
	w.join("g", "b", "t")
	two := w.coordinator().Membership([]byte("g")).Generation()
	fence("a", one, p0, nil)
	fence("a", one, p1, nil) // a may still commit what it handled
	fence("b", two, p1, ErrFenced)
	w.acknowledge("g", "a")
	three := w.coordinator().Membership([]byte("g")).Generation()
	fence("a", three, p1, ErrFenced)
	fence("b", two, p1, ErrFenced)
	fence("b", three, p1, nil)
	w.leave("g", "a", "b")
	w.join("g", "a", "t")
	fence("a", one, p0, ErrFenced)
	fence("a", three, p0, ErrFenced)
}

func TestTopicsComeAndGrow(t *testing.T) {
	w := newWorld(t, Config{})
	w.join("g", "a", "later")
	w.wantHas("g", "a")
	w.topic("later", 2)
	m := w.coordinator().Membership([]byte("g"))
	if !w.coordinator().Outdated(m) {
		t.Fatal("nobody noticed the topic")
	}
	if c, err := w.coordinator().RefreshGroup(w.opener(), m); c.Made == nil || err != nil {
		t.Fatal(c, err)
	}
	w.commit()
	w.wantHas("g", "a", "later/0", "later/1")
	m = w.coordinator().Membership([]byte("g"))
	if c, err := w.coordinator().RefreshGroup(w.opener(), m); c != (Change{}) || err != nil || w.coordinator().Outdated(m) {
		t.Fatal("outdated without a reason", c, err)
	}
}

func TestMembersOfDifferentTopics(t *testing.T) {
	w := newWorld(t, Config{})
	w.topic("x", 3)
	w.topic("y", 3)
	w.join("g", "a", "x")
	w.join("g", "b", "x", "y")
	w.rest("g")
	w.wantHas("g", "a", "x/0", "x/1", "x/2")
	w.wantHas("g", "b", "y/0", "y/1", "y/2")
	w.join("g", "b", "x") // y is nobody's now
	w.rest("g")
	if n := len(w.has("g", "a")) + len(w.has("g", "b")); n != 3 {
		t.Fatalf("%d partitions are handled", n)
	}
	if m := w.coordinator().Membership([]byte("g")); len(m.topics) != 1 {
		t.Fatalf("topics %+v", m.topics)
	}
}

func TestOneCommandOfAGroupAtATime(t *testing.T) {
	w := newWorld(t, Config{})
	w.topic("t", 1)
	s, b := w.coordinator(), w.open[CatalogueShard]
	c, err := s.JoinGroup(w.opener(), []byte("g"), Member{ID: "a", SessionMs: 1000, Topics: []string{"t"}})
	if err != nil || c.Made != b {
		t.Fatal(c, err)
	}
	if c, err := s.JoinGroup(w.opener(), []byte("g"), Member{ID: "b", SessionMs: 1000, Topics: []string{"t"}}); err != nil || c.Pending != b {
		t.Fatal(c, err)
	}
	if c, err := s.LeaveGroup(w.opener(), []byte("g"), []string{"a"}); c.Pending != b || err != nil {
		t.Fatal(c, err)
	}
	if c, err := s.Acknowledge(w.opener(), []byte("g"), []byte("a"), 1); c.Pending != b || err != nil {
		t.Fatal(c, err)
	}
	if s.MembershipPending([]byte("g")) != b || s.MembershipPending([]byte("h")) != nil {
		t.Fatal("pending")
	}
	s.Forget()
	if s.MembershipPending([]byte("g")) != nil || s.Membership([]byte("g")) != nil {
		t.Fatal("something was not forgotten")
	}
}

func TestWhatNoMemberMayBe(t *testing.T) {
	w := newWorld(t, Config{})
	many := make([]string, GroupTopicsMax+1)
	for i := range many {
		many[i] = fmt.Sprintf("t%03d", i)
	}
	for _, c := range []struct {
		group string
		m     Member
		want  error
	}{
		{"", Member{"a", 1000, []string{"t"}}, ErrGroupName},
		{"g", Member{"", 1000, []string{"t"}}, ErrMemberName},
		{"g", Member{"a b", 1000, []string{"t"}}, ErrMemberName},
		{"g", Member{"a", 999, []string{"t"}}, ErrSession},
		{"g", Member{"a", SessionMsMax + 1, []string{"t"}}, ErrSession},
		{"g", Member{"a", 1000, nil}, ErrMemberTopics},
		{"g", Member{"a", 1000, many}, ErrMemberTopics},
		{"g", Member{"a", 1000, []string{"t", "t"}}, ErrMemberTopics},
		{"g", Member{"a", 1000, []string{"t", "s"}}, ErrMemberTopics},
		{"g", Member{"a", 1000, []string{"/"}}, ErrTopicName},
	} {
		if ch, err := w.coordinator().JoinGroup(w.opener(), []byte(c.group), c.m); err != c.want || ch != (Change{}) {
			t.Errorf("%q %+v: %v, want %v", c.group, c.m, err, c.want)
		}
	}
	for i := range GroupMembersMax {
		w.join("g", fmt.Sprintf("m%03d", i), "t")
	}
	if _, err := w.coordinator().JoinGroup(w.opener(), []byte("g"), Member{"one-more", 1000, []string{"t"}}); err != ErrMemberLimit {
		t.Fatal(err)
	}
	w.join("g", "m000", "u") // who is in already may change
	mustPanic(t, "another shard", func() { New(Config{Shards: 2}).Shard(1).Memberships() })
	full := errors.New("full")
	open := func(int) (*record.Batch, error) { return nil, full }
	if _, err := w.coordinator().LeaveGroup(open, []byte("g"), []string{"m001"}); err != full {
		t.Fatal(err)
	}
	if w.coordinator().MembershipPending([]byte("g")) != nil {
		t.Fatal("a command without a batch is in flight")
	}
}

// client is a member as it sees itself: what it handles, by the last answer that it read.
type client struct {
	id         string
	topics     []string
	generation uint64
	handles    map[record.Stream]bool
	alive      bool
}

// groupWalk is a random walk of members of one group, some of which die without a word.
type groupWalk struct {
	t       *testing.T
	rng     *rand.Rand
	w       *world
	config  Config
	clients []*client
	topics  int
	moves   int
}

// read gives a client its answer: what is applied.
func (g *groupWalk) read(c *client) {
	m := g.w.coordinator().Membership([]byte("g"))
	i, have := 0, (*Member)(nil)
	if m != nil {
		i, have = m.Member([]byte(c.id))
	}
	if have == nil {
		c.alive, c.handles = false, nil
		return
	}
	c.generation, c.handles = m.Generation(), map[record.Stream]bool{}
	m.Assigned(i, func(_ string, s record.Stream, kept bool) {
		if kept {
			c.handles[s] = true
		}
	})
}

// check holds against each other what the living believe.
func (g *groupWalk) check() {
	g.t.Helper()
	who := map[record.Stream]string{}
	m := g.w.coordinator().Membership([]byte("g"))
	for _, c := range g.clients {
		for s := range c.handles {
			if who[s] != "" {
				g.t.Fatalf("%v is handled by %s and %s", s, who[s], c.id)
			}
			who[s] = c.id
			if err := m.Fence([]byte(c.id), c.generation, s); err != nil {
				g.t.Fatalf("%s handles %v and is told %v", c.id, s, err)
			}
		}
	}
	if m != nil {
		if err := m.check(); err != nil {
			g.t.Fatal(err)
		}
	}
}

// heartbeat is one request of a client: it names what it knows, and reads.
func (g *groupWalk) heartbeat(c *client) {
	g.t.Helper()
	if !c.alive {
		return
	}
	if ch, err := g.w.coordinator().Acknowledge(g.w.opener(), []byte("g"), []byte(c.id), c.generation); err != nil {
		g.t.Fatal(err)
	} else if ch.Made != nil {
		g.moves++
		g.w.commit()
	}
	if g.rng.IntN(3) > 0 { // else the answer is lost
		g.read(c)
	}
}

func (g *groupWalk) enter(c *client) {
	c.topics = nil
	for i := range g.topics {
		if g.rng.IntN(4) > 0 {
			c.topics = append(c.topics, fmt.Sprint("topic", i))
		}
	}
	if len(c.topics) == 0 {
		c.topics = []string{"topic0"}
	}
	if !c.alive {
		c.id, c.generation, c.handles = fmt.Sprint("m", g.rng.Uint32()), 0, map[record.Stream]bool{}
	}
	g.w.join("g", c.id, c.topics...)
	c.alive = true
	g.read(c)
}

func (g *groupWalk) step() {
	c := g.clients[g.rng.IntN(len(g.clients))]
	switch n := g.rng.IntN(100); {
	case n < 70:
		g.heartbeat(c)
	case n < 80:
		g.enter(c)
	case n < 84 && c.alive: // it stops, then says so
		c.alive, c.handles = false, nil
		g.w.leave("g", c.id)
	case n < 88 && c.alive: // it dies; the leader notices
		c.alive, c.handles = false, nil
		if g.rng.IntN(2) == 0 {
			g.w.leave("g", c.id)
		}
	case n < 91 && g.topics < 4:
		g.w.topic(fmt.Sprint("topic", g.topics), uint32(1+g.rng.IntN(7)))
		g.topics++
	case n < 96:
		if m := g.w.coordinator().Membership([]byte("g")); m != nil {
			if _, err := g.w.coordinator().RefreshGroup(g.w.opener(), m); err != nil {
				g.t.Fatal(err)
			}
			g.w.commit()
		}
	case n < 98:
		g.restart()
	}
	g.check()
}

// restart goes on from a checkpoint, or from the log alone, with another number of shards.
func (g *groupWalk) restart() {
	g.t.Helper()
	var checkpoint []byte
	after := 0
	if g.rng.IntN(2) == 0 {
		checkpoint, after = g.w.checkpoint(), g.rng.IntN(len(g.w.frames)+1)
	}
	g.config.Shards = 1 + g.rng.IntN(3)
	e := g.w.recovered(g.config, checkpoint, after)
	sameState(g.t, g.w.e, e)
	g.w.start(e)
}

// settle lets the dead expire and the living agree, and tells how the partitions are spread.
func (g *groupWalk) settle() {
	g.t.Helper()
	m := g.w.coordinator().Membership([]byte("g"))
	if m == nil {
		return
	}
	var dead []string
	for _, a := range m.Members() {
		if !slices.ContainsFunc(g.clients, func(c *client) bool { return c.alive && c.id == a.ID }) {
			dead = append(dead, a.ID)
		}
	}
	g.w.leave("g", dead...)
	if m = g.w.coordinator().Membership([]byte("g")); m == nil {
		return
	}
	if _, err := g.w.coordinator().RefreshGroup(g.w.opener(), m); err != nil {
		g.t.Fatal(err)
	}
	g.w.commit()
	for m = g.w.coordinator().Membership([]byte("g")); m.Moving(); m = g.w.coordinator().Membership([]byte("g")) {
		for _, c := range g.clients {
			g.heartbeat(c)
			g.check()
		}
	}
	for _, c := range g.clients {
		if c.alive {
			g.read(c)
		}
	}
	g.check()
	g.balanced(m)
}

func (g *groupWalk) balanced(m *Membership) {
	g.t.Helper()
	handled := 0
	for i, c := range g.clients {
		handled += len(c.handles)
		for _, d := range g.clients[:i] {
			if c.alive && d.alive && slices.Equal(c.topics, d.topics) && max(len(c.handles)-len(d.handles), len(d.handles)-len(c.handles)) > 1 {
				g.t.Fatalf("%s has %d, %s has %d", c.id, len(c.handles), d.id, len(d.handles))
			}
		}
	}
	if handled != m.size() {
		g.t.Fatalf("%d of %d partitions are handled", handled, m.size())
	}
}

func TestRandomGroups(t *testing.T) {
	walks, moves := uint64(40), 0
	if testing.Short() {
		walks = 8
	}
	for seed := range walks {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 11))
			g := &groupWalk{t: t, rng: rng, config: Config{Shards: 1 + rng.IntN(3)}}
			g.w = newWorld(t, g.config)
			for range 2 + rng.IntN(5) {
				g.clients = append(g.clients, &client{})
			}
			for i := range 600 {
				if g.step(); i%100 == 99 {
					g.settle()
				}
			}
			moves += g.moves
		})
	}
	t.Logf("%d acknowledgements moved something", moves)
	if moves == 0 {
		t.Fatal("the walks did not meet what they are for")
	}
}

// One member more or less takes away no more than it must.
func TestSticky(t *testing.T) {
	for n := 1; n < 12; n++ {
		w := newWorld(t, Config{})
		w.topic("x", 24)
		w.topic("y", 7)
		for i := range n {
			w.join("g", fmt.Sprintf("m%02d", i), "x", "y")
			w.rest("g")
		}
		before := owners(w)
		w.join("g", "new", "x", "y")
		w.rest("g")
		after := owners(w)
		moved := changed(before, after)
		if most := (31 + n) / (n + 1); moved > most {
			t.Errorf("%d members and one more: %d partitions moved, %d would do", n, moved, most)
		}
		w.leave("g", "new")
		w.rest("g")
		if moved := changed(after, owners(w)); moved > (31+n)/(n+1) {
			t.Errorf("%d members and one less: %d partitions moved", n, moved)
		}
	}
}

func owners(w *world) map[record.Stream]string {
	all := map[record.Stream]string{}
	m := w.coordinator().Membership([]byte("g"))
	for i := range m.Members() {
		m.Assigned(i, func(_ string, s record.Stream, _ bool) { all[s] = m.Owner(s) })
	}
	return all
}

func changed(a, b map[record.Stream]string) (n int) {
	for s := range a {
		if a[s] != b[s] {
			n++
		}
	}
	return n
}
