package api

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"ayder/engine"
	"ayder/internal/record"
	"ayder/netpoll"
)

// A cluster without other nodes: a replicated log whose commits the test decides, and a Cluster that says what the test
// wants. It stands in for package raftlog. Its calls come from the test's goroutine, as raft's come from one.

// repLog is a log whose batches are proposals until the test commits or loses them.
type repLog struct {
	*memLog // what is committed, for readers

	mu         sync.Mutex
	accepting  bool
	manual     bool // commits wait for the test
	term       uint64
	last       uint64 // index of the last proposal or foreign frame
	stored     uint64 // index of the last frame that is committed
	pending    []*proposal
	everywhere uint64
	behind     bool // everywhere does not follow the commits by itself
	holders    int
	writers    []*repWriter
}

// proposal is a batch between Append and its end.
type proposal struct {
	batch *record.Batch
	loop  *netpoll.Loop
	frame []byte
}

// repWriter is one loop's Log.
type repWriter struct {
	*repLog
	loop   *netpoll.Loop
	wake   func()
	wanted uint64
}

func (w *repWriter) Admit() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.accepting {
		return ErrNotLeader
	}
	return memWriter{memLog: w.memLog}.Admit()
}

func (w *repWriter) Deliver() {}

func (w *repWriter) Append(b *record.Batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.accepting {
		w.loop.Post(func() { b.Done(b, ErrLeadershipLost) })
		return
	}
	w.last++
	frame := bytes.Clone(b.Seal(record.Header{Index: w.last, Term: w.term}, 1))
	w.pending = append(w.pending, &proposal{b, w.loop, frame})
}

func (w *repWriter) Everywhere() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.everywhere
}

func (w *repWriter) Holders(index uint64) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if index <= w.everywhere {
		return 3
	}
	return w.holders
}

func (w *repWriter) WantEverywhere(index uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wanted = index; w.everywhere >= index {
		w.wake()
	}
}

// take removes up to n of the oldest proposals, all if n is negative.
func (r *repLog) take(n int) []*proposal {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n < 0 || n > len(r.pending) {
		n = len(r.pending)
	}
	taken := r.pending[:n:n]
	r.pending = r.pending[n:]
	return taken
}

// proposed is how many batches are neither committed nor lost.
func (r *repLog) proposed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.pending)
}

func (r *repLog) with(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// fakeCluster is the Cluster that the server asks.
type fakeCluster struct {
	mu      sync.Mutex
	status  ClusterStatus
	leading bool
	leased  bool
	hold    bool
	asked   []func(error) // barriers that are held
	refusal error         // of barriers
	changes []Member
	verbs   []string
	fault   error         // of changes
	lasting bool          // a transfer changes nothing by itself
	block   chan struct{} // changes wait for this, if it is set, or for their context
}

func (c *fakeCluster) set(f func(c *fakeCluster)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

func (c *fakeCluster) Status() *ClusterStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.status
	return &st
}

func (c *fakeCluster) Leading() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leading
}

func (c *fakeCluster) Leased() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leading && c.leased
}

func (c *fakeCluster) ReadBarrier(done func(error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hold {
		c.asked = append(c.asked, done)
		return
	}
	err := c.refusal
	go done(err)
}

// barriers is how many are held.
func (c *fakeCluster) barriers() (n int) {
	c.set(func(c *fakeCluster) { n = len(c.asked) })
	return n
}

// pass ends the oldest barrier that is held.
func (c *fakeCluster) pass(err error) {
	var done func(error)
	c.set(func(c *fakeCluster) { done, c.asked = c.asked[0], c.asked[1:] })
	done(err)
}

func (c *fakeCluster) change(ctx context.Context, verb string, m Member) error {
	c.mu.Lock()
	c.verbs, c.changes = append(c.verbs, verb), append(c.changes, m)
	fault, block := c.fault, c.block
	c.mu.Unlock()
	if block == nil {
		return fault
	}
	select {
	case <-block:
		return fault
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *fakeCluster) Add(ctx context.Context, m Member) error { return c.change(ctx, "add", m) }

func (c *fakeCluster) Promote(ctx context.Context, id string) error {
	return c.change(ctx, "promote", Member{ID: id})
}

func (c *fakeCluster) Remove(ctx context.Context, id string) error {
	return c.change(ctx, "remove", Member{ID: id})
}

func (c *fakeCluster) Transfer(ctx context.Context, id string) error {
	err := c.change(ctx, "transfer", Member{ID: id})
	if err == nil && !c.lasting {
		c.set(func(c *fakeCluster) { c.status.Term++ }) // this node has won again
	}
	return err
}

// clusterFixture is a server that is one node of three.
type clusterFixture struct {
	*fixture
	rep     *repLog
	cluster *fakeCluster
	raft    sync.Mutex    // the goroutine that raft would have: commits and terms come one after the other
	pumped  chan struct{} // closed when commits do not go by themselves any more
	tries   int           // of requests that had to be made again
}

const leaderAddr = "127.0.0.9:1109" // of the node that leads when we do not

// newClusterFixture starts a follower that knows its leader. Commits go by themselves unless rep.manual is set.
func newClusterFixture(t *testing.T, backend string, change ...func(*Options)) *clusterFixture {
	t.Helper()
	rep := &repLog{memLog: &memLog{}, term: 1, holders: 2}
	cluster := &fakeCluster{leased: true, status: ClusterStatus{
		NodeID: "n1", Role: RoleFollower, Term: 1, LeaderID: "n2", LeaderHTTPAddr: leaderAddr, CaughtUp: true, FreshQuorum: true, WriteConcern: 2,
		Peers: []PeerStatus{
			{ID: "n1", RaftAddr: "127.0.0.1:7001", HTTPAddr: "127.0.0.1:7101", Priority: 10, Voter: true, Self: true},
			{ID: "n2", RaftAddr: "127.0.0.1:7002", HTTPAddr: leaderAddr, Priority: 5, Voter: true, Connected: true, LastContact: time.Now()},
			{ID: "n3", RaftAddr: "127.0.0.1:7003", Priority: 1},
		},
	}}
	f := &clusterFixture{rep: rep, cluster: cluster, pumped: make(chan struct{})}
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop); <-f.pumped }) // after the server has stopped: until then batches are committed
	f.fixture = newFixture(t, backend, append(change, func(o *Options) {
		o.Cluster = cluster
		o.NewReader = func() Reader { return memReader{rep.memLog} }
		o.OpenLog = func(l *netpoll.Loop, wake func()) (Log, error) {
			w := &repWriter{repLog: rep, loop: l, wake: wake}
			rep.with(func() { rep.writers = append(rep.writers, w) })
			return w, nil
		}
	})...)
	f.log = rep.memLog
	go f.pump(stop)
	t.Cleanup(func() { f.rep.with(func() { f.rep.manual = false }) })
	return f
}

// pump commits what is proposed, unless the test does.
func (f *clusterFixture) pump(stop chan struct{}) {
	defer close(f.pumped)
	for {
		select {
		case <-stop:
			return
		case <-time.After(100 * time.Microsecond):
		}
		manual := false
		f.rep.with(func() { manual = f.rep.manual })
		if !manual {
			f.commit(-1)
		}
	}
}

// commit commits the n oldest proposals, all if n is negative.
func (f *clusterFixture) commit(n int) {
	f.raft.Lock()
	defer f.raft.Unlock()
	var frames []CommittedFrame
	for _, p := range f.rep.take(n) {
		frames = append(frames, CommittedFrame{Frame: p.batch.Frame(), Own: p.batch})
		f.store(p.frame)
	}
	if len(frames) > 0 {
		f.server.ApplyCommitted(frames)
	}
}

// store makes a frame readable.
func (f *clusterFixture) store(frame []byte) {
	f.rep.set(func(m *memLog) { m.frames = append(m.frames, frame) })
	h, err := record.ReadHeader(frame)
	if err != nil {
		f.t.Fatal(err)
	}
	f.rep.with(func() {
		f.rep.last, f.rep.stored = max(f.rep.last, h.Index), h.Index
		if !f.rep.behind {
			f.rep.everywhere = h.Index
		}
	})
}

// reach says that every voter has the log up to index.
func (f *clusterFixture) reach(index uint64) {
	var wake []func()
	f.rep.with(func() {
		f.rep.everywhere = index
		for _, w := range f.rep.writers {
			if w.wanted != 0 && w.wanted <= index {
				wake = append(wake, w.wake)
			}
		}
	})
	for _, w := range wake {
		w()
	}
}

// sync says that the n oldest proposals are on this node's disk.
func (f *clusterFixture) sync(n int) {
	f.rep.with(func() {
		for _, p := range f.rep.pending[:n] {
			b := p.batch
			p.loop.Post(func() {
				if b.Synced != nil {
					b.Synced(b)
				}
			})
		}
	})
}

// lead makes this node the leader.
func (f *clusterFixture) lead() {
	f.raft.Lock()
	defer f.raft.Unlock()
	f.server.BeginTerm()
	f.rep.with(func() { f.rep.accepting = true; f.rep.term++ })
	f.cluster.set(func(c *fakeCluster) {
		c.leading, c.status.Role, c.status.LeaderID, c.status.LeaderHTTPAddr = true, RoleLeader, "n1", "127.0.0.1:7101"
		c.status.Term++
	})
}

// depose ends this node's leadership; leader is who leads then, empty for nobody. The proposals are returned.
func (f *clusterFixture) depose(leader string) []*proposal {
	f.cluster.set(func(c *fakeCluster) {
		c.leading, c.status.Role, c.status.LeaderID, c.status.LeaderHTTPAddr = false, RoleFollower, leader, ""
		if leader != "" {
			c.status.LeaderHTTPAddr = leaderAddr
		}
	})
	f.rep.with(func() { f.rep.accepting = false })
	taken := f.rep.take(-1)
	for _, p := range taken {
		p.loop.Post(func() { p.batch.Done(p.batch, ErrLeadershipLost) })
	}
	for _, l := range f.server.loops {
		l.net.Post(func() {})
	}
	return taken
}

// foreign has frames committed that this node did not propose, or not in this term. It returns when they are applied.
func (f *clusterFixture) foreign(frames ...[]byte) {
	f.t.Helper()
	f.raft.Lock()
	defer f.raft.Unlock()
	var all []CommittedFrame
	for _, b := range frames {
		frame, err := record.ReadFrame(b, 1)
		if err != nil {
			f.t.Fatal(err)
		}
		f.store(b)
		all = append(all, CommittedFrame{Frame: frame})
	}
	f.server.ApplyCommitted(all)
	f.server.awaitLoops(f.server.loops)
}

// otherNode makes frames as a node with so many loops would: an engine of its own, applied at once.
type otherNode struct {
	engine *engine.Engine
	index  uint64
	term   uint64
}

func newOtherNode(loops int) *otherNode {
	return &otherNode{engine: engine.New(engine.Config{Shards: loops}), term: 7}
}

// adopt applies a frame that came from elsewhere.
func (o *otherNode) adopt(t *testing.T, frames ...[]byte) {
	t.Helper()
	for _, b := range frames {
		f, err := record.ReadFrame(b, 1)
		if err != nil {
			t.Fatal(err)
		}
		o.index = f.Index
		for i := range o.engine.Config().Shards {
			if err := o.engine.Shard(i).ApplyCommitted(f); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// seal makes a frame of what fill puts into a batch and applies it.
func (o *otherNode) seal(t *testing.T, fill func(b *record.Batch)) []byte {
	t.Helper()
	b := record.NewBatch()
	b.TimeMs = uint64(time.Now().UnixMilli())
	fill(b)
	frame := bytes.Clone(b.Seal(record.Header{Index: o.index + 1, Term: o.term}, 1))
	for i := range o.engine.Config().Shards {
		o.engine.Shard(i).Forget()
	}
	o.adopt(t, frame)
	return frame
}

// create makes a topic.
func (o *otherNode) create(t *testing.T, name string, partitions uint32) []byte {
	t.Helper()
	return o.seal(t, func(b *record.Batch) {
		if _, err := o.engine.Shard(engine.CatalogueShard).CreateTopic(b, engine.TopicSpec{Name: name, Partitions: partitions}); err != nil {
			t.Fatal(err)
		}
	})
}

// produce makes one frame with a message for every partition of a topic.
func (o *otherNode) produce(t *testing.T, topic, value, idem string) []byte {
	t.Helper()
	top := o.engine.Topic([]byte(topic))
	return o.seal(t, func(b *record.Batch) {
		for i := range top.Partitions() {
			p := top.Partition(i)
			r := &record.Record{Value: []byte(value), HasIdem: idem != "", Idem: []byte(idem)}
			if _, err := o.engine.Shard(p.Shard()).Produce(b, p, r, engine.ProduceOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	})
}
