package raftlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ayder/aof"
	"ayder/internal/record"
)

// member is a node in this process, on loopback and a real directory, with one goroutine as its loop.
type member struct {
	t    *testing.T
	id   string
	dir  string
	addr string
	c    *testCluster
	opts func(*Options)

	log  *aof.Log
	node *Node
	p    *Proposer
	loop chan func()
	done chan struct{}

	sealed atomic.Uint64 // last index of the newest sealed segment

	mu      sync.Mutex
	applied []string // values in order
	indexes []uint64
}

type testCluster struct {
	t       *testing.T
	members []*member
}

var payload = record.Stream{Topic: 1}

// newCluster makes members n1… with free ports and empty directories; none runs yet.
func newCluster(t *testing.T, n int) *testCluster {
	c := &testCluster{t: t}
	for i := range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		c.members = append(c.members, &member{t: t, id: fmt.Sprintf("n%d", i+1), dir: filepath.Join(t.TempDir(), "data"), addr: l.Addr().String(), c: c})
		_ = l.Close()
	}
	t.Cleanup(func() {
		for _, m := range c.members {
			m.stop()
		}
	})
	return c
}

func (c *testCluster) peers() (ps []Peer) {
	for i, m := range c.members {
		ps = append(ps, Peer{ID: m.id, RaftAddr: m.addr, HTTPAddr: "h" + m.addr, Priority: 100 - i})
	}
	return ps
}

func testLogger(t *testing.T, id string) *slog.Logger {
	if os.Getenv("AYDER_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", id, "test", t.Name())
}

// start opens the log and starts the node; what was applied before is forgotten and comes again.
func (m *member) start(bootstrap bool) {
	t := m.t
	t.Helper()
	m.applied, m.indexes = nil, nil
	mark, _, err := aof.LoadCheckpoint(aof.OS(), m.dir, testLogger(t, m.id))
	if err != nil {
		t.Fatal(err)
	}
	rec := NewRecovery(mark, func(f record.Frame) error { m.apply(f); return nil })
	log, err := aof.Open(aof.Options{Dir: m.dir, SegmentBytes: 1 << 20, FrameBytesMax: 64 << 10, Logger: testLogger(t, m.id), ReplayAfter: mark, OnSealed: m.sealed.Store}, rec.Frame)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", m.addr)
	if err != nil {
		t.Fatal(err)
	}
	m.log, m.loop, m.done = log, make(chan func(), 1024), make(chan struct{})
	o := Options{
		Log: log, Dir: m.dir, NodeID: m.id, Peers: m.c.peers(), Recovery: rec, Bootstrap: bootstrap, Listener: l,
		Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		},
		Apply: m.committed, PriorityHold: time.Hour, Logger: testLogger(t, m.id),
		Fatal: func(err error) { t.Logf("%s: fatal: %v", m.id, err) },
	}
	if m.opts != nil {
		m.opts(&o)
	}
	if m.node, err = Start(o); err != nil {
		t.Fatal(err)
	}
	loop := m.loop
	m.p = m.node.NewProposer(func() { m.post(loop, func() { m.p.Deliver() }) })
	go func() {
		defer close(m.done)
		for fn := range loop {
			fn()
		}
	}()
}

// post gives the loop something to do, unless it is gone.
func (m *member) post(loop chan func(), fn func()) {
	defer func() { _ = recover() }() // a wake after the end
	loop <- fn
}

// committed is Options.Apply.
func (m *member) committed(fs []Committed) {
	for _, f := range fs {
		if f.Own == nil {
			m.apply(f.Frame)
			continue
		}
		m.post(m.loop, func() { f.Own.Done(f.Own, nil) })
		m.apply(f.Frame)
	}
}

func (m *member) apply(f record.Frame) {
	m.mu.Lock()
	defer m.mu.Unlock()
	it := f.Iter()
	for sec, ok := it.Next(); ok; sec, ok = it.Next() {
		rs := sec.Records()
		for r, ok := rs.Next(); ok; r, ok = rs.Next() {
			m.applied = append(m.applied, string(r.Value))
			m.indexes = append(m.indexes, f.Index)
		}
	}
}

func (m *member) values() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.applied)
}

// stop ends the node and closes its log.
func (m *member) stop() {
	if m.node == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := m.node.Shutdown(ctx); err != nil {
		m.t.Errorf("%s: %v", m.id, err)
	}
	close(m.loop)
	<-m.done
	m.node = nil
	if err := m.log.Close(); err != nil {
		m.t.Errorf("%s: %v", m.id, err)
	}
}

// propose has the value committed by this member. The offset of each record is taken from a counter that only this test
// knows: the log wants growing ones.
func (m *member) propose(value string, offset uint64) error {
	result := make(chan error, 1)
	m.loop <- func() {
		if err := m.p.Admit(); err != nil {
			result <- err
			return
		}
		b := record.NewBatch()
		b.TimeMs = 1000
		b.AppendRecord(payload, offset, &record.Record{Value: []byte(value)})
		b.Done = func(_ *record.Batch, err error) { result <- err }
		m.p.Append(b)
	}
	select {
	case err := <-result:
		return err
	case <-time.After(30 * time.Second):
		return errors.New("no outcome")
	}
}

// until waits for something that must come.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never came:", what)
		}
	}
}

// leader waits for one.
func (c *testCluster) leader() (l *member) {
	c.t.Helper()
	until(c.t, "a leader", func() bool {
		for _, m := range c.members {
			if m.node != nil && m.node.Leading() {
				l = m
				return true
			}
		}
		return false
	})
	return l
}

// write has values committed by whoever leads, each once.
func (c *testCluster) write(first, n int) (want []string) {
	c.t.Helper()
	for i := first; i < first+n; i++ {
		v := fmt.Sprintf("v%d", i)
		c.commit(v, i)
		want = append(want, v)
	}
	return want
}

// commit appends a value at offset, whoever leads and however long a leader cannot take it.
func (c *testCluster) commit(v string, offset int) {
	c.t.Helper()
	until(c.t, fmt.Sprint("the commit at ", offset), func() bool {
		err := c.leader().propose(v, uint64(offset))
		switch {
		case errors.Is(err, ErrLeadershipLost): // the next leader knows what became of it
			return slices.Contains(c.leader().values(), v)
		case err != nil && !errors.Is(err, ErrNotLeader) && !errors.Is(err, aof.ErrBusy):
			c.t.Fatal(err)
		}
		return err == nil
	})
}

func (c *testCluster) agree(want []string) {
	c.t.Helper()
	for _, m := range c.members {
		if m.node == nil {
			continue
		}
		until(c.t, m.id+" has everything", func() bool { return len(m.values()) >= len(want) })
		if got := m.values(); !slices.Equal(got, want) {
			c.t.Fatalf("%s has %v, want %v", m.id, got, want)
		}
	}
}

func TestThreeNodes(t *testing.T) {
	c := newCluster(t, 3)
	for i, m := range c.members {
		m.start(i == 0)
	}
	want := c.write(0, 20)
	c.agree(want)
	// Everybody restarts, and it goes on.
	for _, m := range c.members {
		m.stop()
	}
	for _, m := range c.members {
		m.start(true)
	}
	want = append(want, c.write(20, 5)...)
	c.agree(want)
}

func TestAFollowerThatWasAwayCatchesUp(t *testing.T) {
	c := newCluster(t, 3)
	for i, m := range c.members {
		m.start(i == 0)
	}
	want := c.write(0, 5)
	l := c.leader()
	var away *member
	for _, m := range c.members {
		if m != l {
			away = m
		}
	}
	away.stop()
	want = append(want, c.write(5, 300)...)
	away.start(false)
	c.agree(want)
}

func TestALeaderThatStopsIsReplaced(t *testing.T) {
	c := newCluster(t, 3)
	for i, m := range c.members {
		m.start(i == 0)
	}
	want := c.write(0, 5)
	old := c.leader()
	old.stop()
	want = append(want, c.write(5, 20)...)
	old.start(false)
	c.agree(want)
}

func TestTransfer(t *testing.T) {
	c := newCluster(t, 3)
	for i, m := range c.members {
		m.start(i == 0)
	}
	want := c.write(0, 5)
	for range 4 {
		l := c.leader()
		to := c.members[(slices.Index(c.members, l)+1)%3]
		until(t, "the transfer", func() bool {
			if l.node.Leading() {
				_ = l.node.Transfer(context.Background(), to.id)
			}
			return to.node.Leading()
		})
		want = append(want, c.write(len(want), 3)...)
	}
	c.agree(want)
}

// One node's directory, without a cluster's state, is the beginning of a cluster.
func TestASingleNodeBecomesTheFirst(t *testing.T) {
	c := newCluster(t, 3)
	m := c.members[0]
	log, err := aof.Open(aof.Options{Dir: m.dir, SegmentBytes: 1 << 20, FrameBytesMax: 64 << 10}, nil)
	if err != nil {
		t.Fatal(err)
	}
	thread := log.NewThread(aof.ThreadOptions{})
	var want []string
	for i := range 10 {
		b := record.NewBatch()
		v := fmt.Sprintf("v%d", i)
		b.AppendRecord(payload, uint64(i), &record.Record{Value: []byte(v)})
		if err := thread.Append([]*record.Batch{b}); err != nil {
			t.Fatal(err)
		}
		thread.WaitDurable(b.Index)
		want = append(want, v)
	}
	thread.Close()
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	for i, m := range c.members {
		m.start(i == 0)
	}
	want = append(want, c.write(10, 10)...)
	c.agree(want)
}

func TestASingleNodesLogDoesNotJoin(t *testing.T) {
	c := newCluster(t, 1)
	m := c.members[0]
	log, err := aof.Open(aof.Options{Dir: m.dir, SegmentBytes: 1 << 20, FrameBytesMax: 64 << 10}, nil)
	if err != nil {
		t.Fatal(err)
	}
	thread := log.NewThread(aof.ThreadOptions{})
	b := record.NewBatch()
	b.AppendRecord(payload, 0, &record.Record{Value: []byte("v")})
	if err := thread.Append([]*record.Batch{b}); err != nil {
		t.Fatal(err)
	}
	thread.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if _, err := Start(Options{Log: log, Dir: m.dir, NodeID: "n1", Listener: l, Peers: c.peers()}); err == nil {
		t.Fatal("it would have lost its messages to a leader's log")
	}
}

func TestMembership(t *testing.T) {
	c := newCluster(t, 4)
	late := c.members[3]
	c.members = c.members[:3]
	for i, m := range c.members {
		m.start(i == 0)
	}
	want := c.write(0, 10)
	c.members = append(c.members, late)
	late.start(false)
	ctx := context.Background()
	l := c.leader()
	if err := l.node.Add(ctx, Peer{ID: late.id, RaftAddr: late.addr}); err != nil {
		t.Fatal(err)
	}
	c.agree(want)
	if r := late.node.Status().Role; r != RoleLearner {
		t.Fatal("role", r)
	}
	until(t, "promotion", func() bool { return c.leader().node.Promote(ctx, late.id) == nil })
	until(t, "the vote", func() bool { return late.node.Status().Role == RoleFollower })
	want = append(want, c.write(10, 3)...)
	c.agree(want)
	gone := c.members[1]
	if gone == c.leader() {
		gone = c.members[2]
	}
	until(t, "removal", func() bool { return c.leader().node.Remove(ctx, gone.id) == nil })
	if n := len(c.leader().node.Status().Members); n != 3 {
		t.Fatal("members", n)
	}
	if err := c.leader().node.Remove(ctx, "nobody"); !errors.Is(err, ErrUnknownNode) && !errors.Is(err, ErrNotLeader) {
		t.Fatal(err)
	}
}

// A transfer that comes to nothing leaves a leader that is told to begin anew, because batches that came meanwhile were lost.
func TestATransferThatFails(t *testing.T) {
	c := newCluster(t, 3)
	var begun atomic.Int32
	for i, m := range c.members {
		m.opts = func(o *Options) {
			o.Leading = func(won bool) {
				if won {
					begun.Add(1)
				}
			}
		}
		m.start(i == 0)
	}
	want := c.write(0, 3)
	l := c.leader()
	before := begun.Load()
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	err := l.node.Transfer(gone, "")
	if err == nil {
		t.Skip("handed over all the same")
	}
	until(t, "a new beginning, here or elsewhere", func() bool { return begun.Load() > before })
	want = append(want, c.write(3, 3)...)
	c.agree(want)
}
