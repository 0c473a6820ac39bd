package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"ayder/internal/record"
)

// one is a checkpoint's extension with one group of two members, one of which has lost a partition.
func one(edit func(m *Membership)) []byte {
	m := &Membership{
		name: "g", generation: 7,
		members: []Member{{"a", 1000, []string{"t", "u"}}, {"b", 1000, []string{"t"}}},
		topics: []sharedTopic{
			{"t", 1, []share{{0, 0, 5, 0}, {0, 1, 5, 7}}},
			{"u", 0, nil},
		},
	}
	edit(m)
	return m.appendTo(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint64(nil, 8), 1))
}

func restoreOne(b []byte) error {
	e := New(Config{})
	d := decoder{left: b}
	if err := restoreMembers(e, &d); err != nil {
		return err
	}
	return d.end()
}

func TestImpossibleGroupsAreErrors(t *testing.T) {
	if err := restoreOne(one(func(*Membership) {})); err != nil {
		t.Fatal("the one that the others differ from:", err)
	}
	for name, edit := range map[string]func(m *Membership){
		"no members":       func(m *Membership) { m.members = nil },
		"group's name":     func(m *Membership) { m.name = "g/h" },
		"no generation":    func(m *Membership) { m.generation = 0 },
		"later generation": func(m *Membership) { m.generation = 9 },
		"members' order":   func(m *Membership) { m.members[0].ID = "c" },
		"member twice":     func(m *Membership) { m.members[0].ID = "b" },
		"member's name":    func(m *Membership) { m.members[0].ID = "" },
		"session":          func(m *Membership) { m.members[0].SessionMs = 1 },
		"topics' order": func(m *Membership) {
			m.topics[0].name, m.members[0].Topics, m.members[1].Topics = "z", []string{"z", "u"}, []string{"z"}
		},
		"nobody's topic":    func(m *Membership) { m.members[0].Topics = []string{"t"} },
		"member's topics":   func(m *Membership) { m.members[0].Topics = []string{"u", "t"} },
		"topic's name":      func(m *Membership) { m.topics[0].name = "" },
		"shares of nothing": func(m *Membership) { m.topics[0].id = 0 },
		"owner":             func(m *Membership) { m.topics[0].shares[0].owner = 2 },
		"target":            func(m *Membership) { m.topics[0].shares[0].target = -2 },
		"owner since never": func(m *Membership) { m.topics[0].shares[0].since = 0 },
		"since the future":  func(m *Membership) { m.topics[0].shares[0].since = 8 },
		"moves to itself":   func(m *Membership) { m.topics[0].shares[0].moved = 6 },
		"moves at no time":  func(m *Membership) { m.topics[0].shares[1].moved = 0 },
		"nobody owns":       func(m *Membership) { m.topics[0].shares[0] = share{nobody, 0, 0, 7} },
	} {
		if err := restoreOne(one(edit)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	good := one(func(*Membership) {})
	for n := range good {
		if err := restoreOne(good[:n]); err == nil {
			t.Fatalf("%d of %d bytes are no error", n, len(good))
		}
		bad := bytes.Clone(good)
		bad[n] ^= 0x81
		_ = restoreOne(bad) // may do no harm
		if n+4 <= len(bad) {
			binary.LittleEndian.PutUint32(bad[n:], 1<<32-1)
			_ = restoreOne(bad)
		}
	}
	if err := restoreOne(make([]byte, 12)); err == nil {
		t.Fatal("groups as of no frame")
	}
	e := New(Config{})
	if err := restoreMembers(e, &decoder{left: good}); err != nil {
		t.Fatal(err)
	}
	if err := restoreMembers(e, &decoder{left: good}); err == nil {
		t.Fatal("groups in two parts")
	}
}

// What the log says of members and offsets, but cannot be.
func TestGroupCommandsThatDoNotFollow(t *testing.T) {
	join := membersCommand{kind: membersJoin, group: "g", sessionMs: 1000, members: []string{"a"}, topics: []topicSize{{"t", 1, 1}}}
	with := func(edit func(c *membersCommand)) []byte {
		c := join
		edit(&c)
		return c.appendTo(nil)
	}
	good := join.appendTo(nil)
	long := bytes.Clone(good)
	long[6] = 1
	for name, f := range map[string]struct {
		typ    record.SectionType
		stream record.Stream
		base   uint64
		body   []byte
	}{
		"generation":       {record.SectionGroupMembers, record.Stream{}, 1, good},
		"stream":           {record.SectionGroupMembers, record.Stream{Topic: 1}, 0, good},
		"empty":            {record.SectionGroupMembers, record.Stream{}, 0, nil},
		"too long":         {record.SectionGroupMembers, record.Stream{}, 0, append(bytes.Clone(good), 0)},
		"too short":        {record.SectionGroupMembers, record.Stream{}, 0, good[:len(good)-1]},
		"reserved":         {record.SectionGroupMembers, record.Stream{}, 0, long},
		"kind":             {record.SectionGroupMembers, record.Stream{}, 0, with(func(c *membersCommand) { c.kind = 5 })},
		"group":            {record.SectionGroupMembers, record.Stream{}, 0, with(func(c *membersCommand) { c.group = "" })},
		"member":           {record.SectionGroupMembers, record.Stream{}, 0, with(func(c *membersCommand) { c.members = []string{"/"} })},
		"two join":         {record.SectionGroupMembers, record.Stream{}, 0, with(func(c *membersCommand) { c.members = []string{"a", "b"} })},
		"session":          {record.SectionGroupMembers, record.Stream{}, 0, with(func(c *membersCommand) { c.sessionMs = 10 })},
		"topics' order":    {record.SectionGroupMembers, record.Stream{}, 0, with(func(c *membersCommand) { c.topics = []topicSize{{"u", 1, 1}, {"t", 2, 1}} })},
		"topic":            {record.SectionGroupMembers, record.Stream{}, 0, with(func(c *membersCommand) { c.topics = []topicSize{{"", 1, 1}} })},
		"too many parts":   {record.SectionGroupMembers, record.Stream{}, 0, with(func(c *membersCommand) { c.topics = []topicSize{{"t", 1, 9999}} })},
		"parts of nothing": {record.SectionGroupMembers, record.Stream{}, 0, with(func(c *membersCommand) { c.topics = []topicSize{{"t", 0, 1}} })},
		"leaves nothing":   {record.SectionGroupMembers, record.Stream{}, 0, with(func(c *membersCommand) { c.kind, c.topics = membersLeave, nil })},
		"acknowledges":     {record.SectionGroupMembers, record.Stream{}, 0, with(func(c *membersCommand) { c.kind, c.topics = membersAcknowledge, nil })},
		"nobody's topic":   {record.SectionGroupMembers, record.Stream{}, 0, with(func(c *membersCommand) { c.kind, c.members = membersTopics, nil })},
		"reset above":      {record.SectionGroupReset, record.Stream{Topic: 1}, 1, []byte("g")},
		"reset of nobody":  {record.SectionGroupReset, record.Stream{Topic: 1}, 0, nil},
		"delete of nobody": {record.SectionGroupDelete, record.Stream{Topic: 1}, 0, nil},
		"no such stream":   {record.SectionGroupDelete, record.Stream{Topic: 2}, 0, []byte("g")},
	} {
		w := newWorld(t, Config{})
		w.topic("t", 1)
		w.open[0].AppendCommand(f.typ, f.stream, f.base, f.body)
		w.append(0)
		if err := w.e.ApplyReplay(w.frame(2)); !errors.Is(err, ErrDiverged) && !errors.Is(err, record.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestResetAndDeleteOfAGroup(t *testing.T) {
	w := newWorld(t, Config{})
	p := w.topic("t", 1).Partition(0)
	for range 5 {
		w.produce(p, "v", "")
	}
	w.commit()
	s, g := p.owner, []byte("g")
	w.commitOffset(p, "g", 4)
	w.commit()
	if err := s.ResetOffset(w.open[0], p, g, 2); err != nil {
		t.Fatal(err)
	}
	w.commit()
	if at, ok := p.Committed(g); at != 2 || !ok {
		t.Fatal("after the reset", at, ok)
	}
	// A commit is in flight when the group is deleted: it comes after, and stays.
	s.DeleteGroup(w.open[0], p, g)
	w.commitOffset(p, "g", 3)
	w.commit()
	if at, ok := p.Committed(g); at != 3 || !ok {
		t.Fatal("after delete and commit", at, ok)
	}
	w.commitOffset(p, "g", 4)
	s.DeleteGroup(w.open[0], p, g)
	w.commit()
	if _, ok := p.Committed(g); ok || len(s.committing) > 0 {
		t.Fatal("after commit and delete", ok, s.committing)
	}
	if s.DeleteGroup(w.open[0], p, g) {
		t.Fatal("deleted twice")
	}
	for err, c := range map[error]struct {
		name   string
		offset uint64
	}{ErrOffsetAbove: {"g", 6}, ErrGroupName: {"", 0}} {
		if got := s.ResetOffset(w.open[0], p, []byte(c.name), c.offset); got != err {
			t.Error(got, err)
		}
	}
	// Delete, then lose leadership with a commit in flight: nothing of the group is left.
	w.commitOffset(p, "g", 1)
	w.commit()
	w.commitOffset(p, "g", 2)
	s.DeleteGroup(w.open[0], p, g)
	w.open[0] = w.newBatch()
	s.Forget()
	if at, ok := p.Committed(g); at != 1 || !ok {
		t.Fatal("after forgetting", at, ok)
	}
	seen := 0
	p.EachGroup(func(name string, committed uint64) { seen++ })
	if seen != 1 {
		t.Fatal("groups", seen)
	}
}
