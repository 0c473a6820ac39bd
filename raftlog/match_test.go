package raftlog

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// matchTable is a table with a local disk and voters that the test sets.
type matchTable struct {
	*matches
	disk   atomic.Uint64
	list   []raft.ServerID
	asked  int // how often the voters were
	steps  int // OnProgress
	closed chan struct{}
}

func newMatchTable(voters ...raft.ServerID) *matchTable {
	m := &matchTable{list: voters, closed: make(chan struct{})}
	m.matches = newMatches(&transportOptions{
		Self:         func() hello { return hello{NodeID: "a"} },
		LocalDurable: func() uint64 { return m.disk.Load() },
		Voters: func() []raft.ServerID {
			m.asked++
			return m.list
		},
		OnProgress: func() { m.steps++ },
	}, m.closed)
	return m
}

func (m *matchTable) holds(index uint64) {
	m.disk.Store(index)
	m.noteLocal()
}

func TestSafe(t *testing.T) {
	type held map[raft.ServerID]uint64
	for _, c := range []struct {
		voters           []raft.ServerID
		disk             uint64
		held             held
		safe, everywhere uint64
	}{
		{[]raft.ServerID{"a"}, 7, nil, 7, 7},
		{[]raft.ServerID{"a", "b"}, 7, held{"b": 5}, 7, 5},
		{[]raft.ServerID{"a", "b"}, 5, held{"b": 7}, 5, 5},
		{[]raft.ServerID{"a", "b", "c"}, 7, held{"b": 5, "c": 3}, 7, 3},
		{[]raft.ServerID{"a", "b", "c"}, 3, held{"b": 5, "c": 7}, 5, 3},
		{[]raft.ServerID{"a", "b", "c"}, 3, held{"b": 7}, 3, 0},
		{[]raft.ServerID{"a", "b", "c", "d"}, 1, held{"b": 7, "c": 5, "d": 3}, 3, 1},
		{[]raft.ServerID{"a", "b", "c", "d"}, 1, held{"b": 7, "c": 5}, 1, 0},
		{[]raft.ServerID{"a", "b", "c", "d", "e"}, 1, held{"b": 9, "c": 8, "d": 7}, 7, 0},
		{[]raft.ServerID{"b", "c"}, 1, held{"b": 9, "c": 8}, 8, 8},                          // this node is no voter
		{[]raft.ServerID{"a", "b", "c"}, 1, held{"b": 5, "learner": 9, "another": 9}, 1, 0}, // others do not count
		{[]raft.ServerID{"a", "b", "c"}, 1, held{"b": 5, "c": 6, "learner": 1}, 5, 1},       //
		{nil, 4, held{"b": 9}, 4, 0},
	} {
		m := newMatchTable(c.voters...)
		m.disk.Store(c.disk)
		for id, index := range c.held {
			m.answered(id, 2, time.Now(), index)
		}
		if m.safe() != c.safe || m.everywhere() != c.everywhere {
			t.Errorf("%v, here %d, %v: safe %d, everywhere %d, expected %d, %d",
				c.voters, c.disk, c.held, m.safe(), m.everywhere(), c.safe, c.everywhere)
		}
	}
}

// TestSafeAgainstItsDefinition compares with a count, on random tables.
func TestSafeAgainstItsDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	all := []raft.ServerID{"a", "b", "c", "d", "e", "f", "g"}
	for range 2000 {
		m := newMatchTable(all[:1+rng.IntN(len(all))]...)
		m.disk.Store(rng.Uint64N(6))
		for _, id := range m.list[1:] {
			m.answered(id, 2, time.Now(), rng.Uint64N(6))
		}
		majority := uint64(0)
		for index := range uint64(6) {
			if 2*m.holders(index) > len(m.list) {
				majority = index
			}
			if (m.holders(index) == len(m.list)) != (index <= m.everywhere()) {
				t.Fatalf("%d holders of %d, everywhere %d", m.holders(index), index, m.everywhere())
			}
		}
		if want := max(m.disk.Load(), majority); m.safe() != want {
			t.Fatalf("voters %v, here %d, %v: safe %d, expected %d", m.list, m.disk.Load(), m.peers, m.safe(), want)
		}
	}
}

// TestMatchOfAnOlderTerm does not count, whenever it arrives.
func TestMatchOfAnOlderTerm(t *testing.T) {
	m := newMatchTable("a", "b", "c")
	m.answered("b", 2, time.Now(), 9)
	m.answered("c", 2, time.Now(), 9)
	if m.safe() != 9 {
		t.Fatalf("safe %d", m.safe())
	}
	m.observe(2)
	m.observe(1)
	if m.safe() != 9 {
		t.Error("the same term emptied the table")
	}
	m.observe(3)
	if m.safe() != 0 || m.of("b") != 0 || m.everywhere() != 0 {
		t.Errorf("safe %d, b holds %d in a new term", m.safe(), m.of("b"))
	}
	m.answered("b", 2, time.Now(), 9)
	m.answered("c", 2, time.Now(), 9)
	if m.safe() != 0 || !m.leaseStart().IsZero() {
		t.Errorf("safe %d after answers of an older term", m.safe())
	}
	m.answered("b", 3, time.Now(), 4)
	m.answered("b", 3, time.Now(), 2) // late
	m.answered("c", 4, time.Now(), 1)
	if m.of("b") != 0 || m.of("c") != 1 {
		t.Errorf("b holds %d, c %d", m.of("b"), m.of("c"))
	}
}

// TestSafeDoesNotGoBack when a voter is added.
func TestSafeDoesNotGoBack(t *testing.T) {
	m := newMatchTable("a", "b", "c")
	m.answered("b", 2, time.Now(), 9)
	m.answered("c", 2, time.Now(), 9)
	m.list = append(m.list, "d")
	m.holds(1)
	m.answered("b", 2, time.Now(), 10)
	if m.safe() != 9 {
		t.Errorf("safe %d", m.safe())
	}
}

// TestVotersAreNotAskedOnAFollower: before raft runs, nobody could answer.
func TestVotersAreNotAskedOnAFollower(t *testing.T) {
	m := newMatchTable("a")
	m.observe(5)
	m.holds(3)
	if m.asked != 0 || m.steps != 1 || m.safe() != 3 {
		t.Errorf("asked %d times, %d steps, safe %d", m.asked, m.steps, m.safe())
	}
}

// TestProgressIsTold when a disk's index grew, and only then.
func TestProgressIsTold(t *testing.T) {
	m := newMatchTable("a", "b", "c")
	for i, c := range []struct {
		step func()
		want int
	}{
		{func() { m.answered("b", 2, time.Now(), 0) }, 0},
		{func() { m.answered("b", 2, time.Now(), 5) }, 1},
		{func() { m.answered("b", 2, time.Now(), 5) }, 1},
		{func() { m.answered("b", 1, time.Now(), 9) }, 1},
		{func() { m.answered("c", 2, time.Now(), 3) }, 2},
		{m.noteLocal, 3},
	} {
		if c.step(); m.steps != c.want {
			t.Errorf("step %d: told %d times, expected %d", i, m.steps, c.want)
		}
	}
}

// TestWaitSafe is what gate R3 waits with.
func TestWaitSafe(t *testing.T) {
	for name, step := range map[string]func(m *matchTable){
		"this disk":         func(m *matchTable) { m.holds(10) },
		"the others' disks": func(m *matchTable) { m.answered("b", 2, time.Now(), 10); m.answered("c", 2, time.Now(), 11) },
		"one disk and this": func(m *matchTable) { m.answered("b", 2, time.Now(), 10); m.holds(10) },
	} {
		synctest.Test(t, func(t *testing.T) {
			m := newMatchTable("a", "b", "c")
			ended := later(func() {
				if !m.waitSafe(10) {
					t.Errorf("%s: false", name)
				}
			})
			m.holds(9)
			m.answered("b", 2, time.Now(), 9)
			if ended() {
				t.Errorf("%s: 10 is said to be safe, 9 is", name)
			}
			if step(m); !ended() {
				t.Errorf("%s: it still waits, safe %d", name, m.safe())
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		m := newMatchTable("a", "b", "c")
		ended := later(func() {
			if m.waitSafe(10) {
				t.Error("true at the end")
			}
		})
		if close(m.closed); !ended() {
			t.Error("it outlives the transport")
		}
		if m.disk.Store(10); !m.waitSafe(10) {
			t.Error("what is safe needs no waiting")
		}
	})
}

func TestLeaseStart(t *testing.T) {
	base := time.Now().Add(-time.Hour)
	at := func(seconds int) time.Time { return base.Add(time.Duration(seconds) * time.Second) }
	for _, c := range []struct {
		voters []raft.ServerID
		sent   map[raft.ServerID]int
		want   int // seconds, -1: none
	}{
		{[]raft.ServerID{"a", "b"}, nil, -1},
		{[]raft.ServerID{"a", "b"}, map[raft.ServerID]int{"b": 5}, 5},
		{[]raft.ServerID{"a", "b", "c"}, map[raft.ServerID]int{"b": 5}, 5},
		{[]raft.ServerID{"a", "b", "c"}, map[raft.ServerID]int{"b": 5, "c": 7}, 7},
		{[]raft.ServerID{"a", "b", "c", "d"}, map[raft.ServerID]int{"b": 5, "c": 7}, 5},
		{[]raft.ServerID{"a", "b", "c", "d", "e"}, map[raft.ServerID]int{"b": 5, "c": 7, "d": 9}, 7},
		{[]raft.ServerID{"a", "b", "c", "d", "e"}, map[raft.ServerID]int{"b": 5}, -1},
		{[]raft.ServerID{"b", "c", "d"}, map[raft.ServerID]int{"b": 5, "c": 7}, 5},
		{[]raft.ServerID{"a", "b", "c"}, map[raft.ServerID]int{"learner": 9}, -1},
		{nil, map[raft.ServerID]int{"b": 5}, -1},
	} {
		m := newMatchTable(c.voters...)
		for id, s := range c.sent {
			m.answered(id, 2, at(s), 0)
			m.answered(id, 2, at(s-1), 0) // a late answer to an earlier question
		}
		got := m.leaseStart()
		if c.want < 0 != got.IsZero() || c.want >= 0 && !got.Equal(at(c.want)) {
			t.Errorf("%v, %v: got %v", c.voters, c.sent, got.Sub(base))
		}
	}
	alone := newMatchTable("a")
	if time.Since(alone.leaseStart()) > time.Minute {
		t.Error("a lonely voter needs nobody")
	}
}

// TestVoidLease lasts for the term, and no longer.
func TestVoidLease(t *testing.T) {
	m := newMatchTable("a", "b", "c")
	m.answered("b", 2, time.Now(), 0)
	m.voidLease()
	m.answered("b", 2, time.Now(), 5)
	if !m.leaseStart().IsZero() {
		t.Error("the lease came back in the same term")
	}
	m.answered("b", 3, time.Now(), 0)
	if m.leaseStart().IsZero() {
		t.Error("no lease in the next term")
	}
}

// TestLeaseCostsNothing: it is asked for by every read.
func TestLeaseCostsNothing(t *testing.T) {
	m := newMatchTable("a", "b", "c")
	m.lease = func(raft.ServerID) time.Duration { return time.Second }
	m.answered("b", 2, time.Now(), 0)
	if n := testing.AllocsPerRun(100, func() { _, _, _ = m.leaseStart(), m.leaseEnd(), m.safe() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
