package raftlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ayder/aof"
)

// writeMuch writes so much that several segments are full.
func (c *testCluster) writeMuch(first, n int) (want []string) {
	c.t.Helper()
	for i := first; i < first+n; i++ {
		v := fmt.Sprintf("v%d %s", i, strings.Repeat("x", 40<<10))
		c.commit(v, i)
		want = append(want, v)
	}
	return want
}

// agreeOnMuch is agree without printing it.
func (c *testCluster) agreeOnMuch(want []string) {
	c.t.Helper()
	for _, m := range c.members {
		if m.node == nil {
			continue
		}
		until(c.t, m.id+" has everything", func() bool { return len(m.values()) >= len(want) })
		if !slices.Equal(m.values(), want) {
			c.t.Fatal(m.id, "has something else")
		}
	}
}

// segments are the paths of a member's segments, in order.
func (m *member) segments() []string {
	m.t.Helper()
	paths, err := filepath.Glob(filepath.Join(m.dir, "0*.aof"))
	if err != nil || len(paths) < 3 {
		m.t.Fatal(paths, err)
	}
	slices.Sort(paths)
	return paths
}

// rot changes a byte of the n-th segment.
func (m *member) rot(n int) {
	m.t.Helper()
	path := m.segments()[n]
	b, err := os.ReadFile(path)
	if err != nil {
		m.t.Fatal(err)
	}
	b[300<<10] ^= 1
	if err := os.WriteFile(path, b, 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m *member) putAside() error {
	return PutAside(aof.OS(), m.dir, m.id, aof.ErrDamaged, false, testLogger(m.t, m.id))
}

// mustHeal starts a damaged member and waits until its log is whole.
func (m *member) mustHeal() {
	m.t.Helper()
	if err := m.putAside(); err != nil {
		m.t.Fatal(err)
	}
	m.start(false)
	m.mustBeWhole()
}

func (m *member) mustBeWhole() {
	m.t.Helper()
	until(m.t, m.id+" is whole", func() bool { return m.node.Status().Lost == 0 })
	aside, _ := os.ReadDir(filepath.Join(m.dir, "quarantine"))
	if len(aside) == 0 {
		m.t.Error("nothing was kept")
	}
}

func startAll(c *testCluster) {
	for i, m := range c.members {
		m.start(i == 0)
	}
}

func stopAll(c *testCluster) {
	for _, m := range c.members {
		m.stop()
	}
}

// A follower whose log was damaged while it was away gets what it lost from the others, which went on.
func TestADamagedFollowerHeals(t *testing.T) {
	c := newCluster(t, 3)
	startAll(c)
	want := c.writeMuch(0, 90)
	c.agreeOnMuch(want)
	l := c.leader()
	away := c.members[1]
	if away == l {
		away = c.members[2]
	}
	away.stop()
	want = append(want, c.writeMuch(90, 5)...)
	away.rot(1)
	away.mustHeal()
	c.agreeOnMuch(want)
	away.stop()
	away.start(false) // and stays whole
	if away.node.Status().Lost != 0 {
		t.Error("it has forgotten that it is whole")
	}
	want = append(want, c.writeMuch(95, 2)...)
	c.agreeOnMuch(want)
}

// All restart, and the preferred leader's log is damaged.
func TestADamagedNodeAmongRestartingOnes(t *testing.T) {
	c := newCluster(t, 3)
	startAll(c)
	want := c.writeMuch(0, 90)
	c.agreeOnMuch(want)
	stopAll(c)
	damaged := c.members[0]
	damaged.rot(0)
	if err := damaged.putAside(); err != nil {
		t.Fatal(err)
	}
	for _, m := range c.members {
		m.start(m == damaged)
	}
	damaged.mustBeWhole()
	c.agreeOnMuch(want)
	want = append(want, c.writeMuch(90, 3)...)
	c.agreeOnMuch(want)
}

// Two of three are damaged: the third, which has everything, is elected by them and gives it back.
func TestTwoDamagedNodesOfThree(t *testing.T) {
	c := newCluster(t, 3)
	startAll(c)
	want := c.writeMuch(0, 90)
	c.agreeOnMuch(want)
	stopAll(c)
	for i, m := range c.members[:2] {
		m.rot(i)
		if err := m.putAside(); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range c.members {
		m.start(false)
	}
	if l := c.leader(); l != c.members[2] {
		t.Fatal(l.id, "leads")
	}
	for _, m := range c.members[:2] {
		m.mustBeWhole()
	}
	c.agreeOnMuch(want)
	want = append(want, c.writeMuch(90, 3)...)
	c.agreeOnMuch(want)
}

// Two of three are damaged, and the third had not received what they had confirmed: nobody leads, nothing is forgotten.
func TestNobodyIsElectedWithoutWhatWasConfirmed(t *testing.T) {
	c := newCluster(t, 3)
	startAll(c)
	want := c.writeMuch(0, 80)
	c.agreeOnMuch(want)
	late := c.members[2]
	until(t, "a leader that is not the last one", func() bool {
		if l := c.leader(); l == late {
			_ = l.node.Transfer(t.Context(), "")
			return false
		}
		return true
	})
	late.stop()
	want = append(want, c.writeMuch(80, 3)...)
	stopAll(c)
	for i, m := range c.members[:2] {
		m.rot(i)
		if err := m.putAside(); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range c.members {
		m.start(false)
	}
	terms := late.node.raft.CurrentTerm()
	for end := time.Now().Add(10 * heartbeatDefault); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		for _, m := range c.members {
			if s := m.node.Status(); m.node.Leading() || s.Role == RoleLeader {
				t.Fatalf("%s leads: %+v", m.id, s)
			}
		}
	}
	for _, m := range c.members[:2] {
		if m.node.Status().Lost == 0 {
			t.Error(m.id, "believes to be whole")
		}
	}
	if now := late.node.raft.CurrentTerm(); now != terms {
		t.Error("elections were held in vain:", terms, now)
	}
	m := c.members[0] // its files are brought back: then it has what is needed
	m.stop()
	restore(t, m)
	m.start(false)
	if l := c.leader(); l != m {
		t.Fatal(l.id, "leads")
	}
	c.agreeOnMuch(want)
	c.members[1].mustBeWhole()
}

// restore puts the files back from quarantine, the damage mended, as a person could from a backup of that segment.
func restore(t *testing.T, m *member) {
	t.Helper()
	own, err := filepath.Glob(filepath.Join(m.dir, "*.aof"))
	if err != nil {
		t.Fatal(err)
	}
	spares, err := filepath.Glob(filepath.Join(m.dir, "spare-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(own, spares...) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	aside := filepath.Join(m.dir, "quarantine")
	entries, err := os.ReadDir(aside)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.Rename(filepath.Join(aside, e.Name()), filepath.Join(m.dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	m.rot(0) // the same bit
}

// What one node alone has, or no cluster, is not put aside.
func TestASingleNodeKeepsItsDamage(t *testing.T) {
	c := newCluster(t, 1)
	m := c.members[0]
	if err := m.putAside(); !errors.Is(err, aof.ErrDamaged) {
		t.Error("no state:", err)
	}
	m.start(true)
	c.writeMuch(0, 60)
	until(t, "a configuration", func() bool { return len(m.node.stable.get().Configurations) > 0 })
	m.stop()
	m.rot(0)
	if err := m.putAside(); !errors.Is(err, aof.ErrDamaged) || !strings.Contains(err.Error(), "no other node") {
		t.Error("the only voter:", err)
	}
	if _, err := os.Stat(filepath.Join(m.dir, "quarantine")); err == nil {
		t.Error("something was moved")
	}
}

// A node that runs finds by itself what has changed on its disk, and starts over.
func TestScrubbingFindsDamage(t *testing.T) {
	c := newCluster(t, 3)
	restarts := make(chan string, 100)
	for i, m := range c.members {
		m.opts = func(o *Options) {
			o.Restart = func() error { restarts <- m.id; return errors.New("the test starts it over") }
		}
		m.start(i == 0)
	}
	want := c.writeMuch(0, 90)
	c.agreeOnMuch(want)
	m := c.members[1]
	until(t, "a sealed segment", func() bool { return m.sealed.Load() > 0 })
	if id := nobody(restarts); id != "" {
		t.Fatal(id, "starts over without reason")
	}
	m.rot(0)
	m.node.o.Recovery.Damaged(nil)
	m.node.o.Recovery.Damaged(nil)
	select {
	case id := <-restarts:
		if id != m.id {
			t.Fatal(id, "starts over")
		}
	case <-time.After(60 * time.Second):
		t.Fatal("nothing was found")
	}
	m.stop()
	if _, err := aof.Open(aof.Options{Dir: m.dir, SegmentBytes: 1 << 20, FrameBytesMax: 64 << 10}, nil); !errors.Is(err, aof.ErrDamaged) {
		t.Fatal("a start does not find it:", err)
	}
	m.mustHeal()
	c.agreeOnMuch(want)
}

func nobody(c chan string) string {
	select {
	case id := <-c:
		return id
	default:
		return ""
	}
}

func TestBounds(t *testing.T) {
	for _, c := range []struct {
		loss aof.Loss
		want logEnd
	}{
		{aof.Loss{Index: 20, Seen: 20, Term: 3}, logEnd{20, 3}},
		{aof.Loss{Index: 25, Seen: 20, Term: 3}, logEnd{25, 7}},
		{aof.Loss{Index: 25, Seen: 20, Term: 3, Blind: true}, logEnd{everything, 7}},
		{aof.Loss{Index: 25}, logEnd{25, 7}},
	} {
		if got := boundOf(&c.loss, 7); got != c.want {
			t.Errorf("%+v: %v", c.loss, got)
		}
	}
	for _, c := range []struct {
		end, bound logEnd
		want       bool
	}{
		{logEnd{20, 3}, logEnd{20, 3}, true},
		{logEnd{21, 3}, logEnd{20, 3}, true},
		{logEnd{1, 4}, logEnd{20, 3}, true},
		{logEnd{19, 3}, logEnd{20, 3}, false},
		{logEnd{99, 2}, logEnd{20, 3}, false},
		{logEnd{99, 7}, logEnd{everything, 7}, false},
		{logEnd{1, 8}, logEnd{everything, 7}, true},
	} {
		if got := c.end.reaches(c.bound); got != c.want {
			t.Errorf("%v reaches %v: %v", c.end, c.bound, got)
		}
	}
	if got := further(&logEnd{9, 4}, logEnd{20, 3}); *got != (logEnd{9, 4}) {
		t.Error("a second loss lowers the bound:", got)
	}
	if got := further(nil, logEnd{20, 3}); *got != (logEnd{20, 3}) {
		t.Error(got)
	}
}

// A damaged node votes as the log that it lost would have, whoever asks, and is no candidate, whoever wants it.
func TestTheVoteOfADamagedNode(t *testing.T) {
	n := &Node{o: Options{NodeID: "n1"}, stable: &stable{s: state{Lost: &logEnd{20, 3}}}, known: map[string]Peer{"n1": {RaftAddr: "a:1"}}}
	n.identity.cluster.Store(&[16]byte{1})
	if n.mayElect("n2", logEnd{19, 3}) == nil || n.mayElect("n2", logEnd{50, 2}) == nil {
		t.Error("a vote for a log that lacks something")
	}
	if err := errors.Join(n.mayElect("n2", logEnd{20, 3}), n.mayElect("n2", logEnd{1, 4})); err != nil {
		t.Error(err)
	}
	if n.mayStand() == nil || n.mayVote("a:1") == nil {
		t.Error("it stands for election")
	}
	if err := n.mayVote("b:1"); err != nil {
		t.Error(err)
	}
	n.stable.s.Lost = nil
	if err := errors.Join(n.mayElect("n2", logEnd{1, 1}), n.mayStand(), n.mayVote("a:1")); err != nil {
		t.Error("raft decides alone:", err)
	}
}

// A damaged node that needs what the leader has dropped is given files, and is whole when it has what came after them.
func TestADamagedNodeIsGivenFiles(t *testing.T) {
	c := newCluster(t, 3)
	restarts := make(chan string, 10)
	for i, m := range c.members {
		m.opts = func(o *Options) {
			o.Restart = func() error { restarts <- m.id; return errors.New("the test starts it over") }
		}
		m.start(i == 0)
	}
	want := c.writeMuch(0, 90)
	c.agreeOnMuch(want)
	l := c.leader()
	away := c.members[1]
	if away == l {
		away = c.members[2]
	}
	away.stop()
	want = c.dropFront(want, (*aof.Log).DropBefore)
	away.rot(0)
	if err := away.putAside(); err != nil {
		t.Fatal(err)
	}
	away.start(false)
	lost := away.node.Status().Lost
	if lost == 0 || away.log.LastIndex() != 0 {
		t.Fatal(lost, away.log.LastIndex())
	}
	select {
	case id := <-restarts:
		if id != away.id {
			t.Fatal(id, "starts over")
		}
	case <-time.After(60 * time.Second):
		t.Fatal("the files never came")
	}
	away.stop()
	if installed, err := FinishInstall(away.dir); !installed || err != nil {
		t.Fatal(installed, err)
	}
	away.start(false)
	away.mustBeWhole()
	until(t, "the rest", func() bool { return away.node.Applied() >= l.node.Applied() })
	if got := away.values(); len(got) == 0 || got[len(got)-1] != want[len(want)-1] {
		t.Error("has not the end of the log")
	}
}

// A better leader that does not take over is not asked again at every turn.
func TestARefusingSuccessorIsLeftAlone(t *testing.T) {
	c := newCluster(t, 3)
	for i, m := range c.members {
		m.opts = func(o *Options) { o.PriorityHold = 50 * time.Millisecond }
		m.start(i == 0)
	}
	c.agree(c.write(0, 3))
	best := c.members[0]
	until(t, "the best one leads", func() bool { return c.leader() == best })
	if err := best.node.stable.change(func(s *state) { s.Lost = &logEnd{everything, best.node.raft.CurrentTerm() + 100} }); err != nil {
		t.Fatal(err)
	}
	until(t, "another leader", func() bool { return best.node.Transfer(t.Context(), "") == nil })
	until(t, "a refusal", func() bool {
		err := c.leader().node.Transfer(t.Context(), best.id)
		return err != nil && strings.Contains(err.Error(), "does not stand for election")
	})
	var b betterLeader
	until(t, "an attempt", func() bool { b.look(c.leader().node); return !b.spared[best.id].IsZero() })
	if b.look(c.leader().node); b.id == best.id {
		t.Error("it is wanted again at once")
	}
}
