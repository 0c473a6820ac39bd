package raftlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"ayder/aof"
	"ayder/internal/record"
)

// A node: hashicorp/raft over our log and our transport.
//
// The leader's sync runs beside the followers', not before (Raft's dissertation, 10.2.1): StoreLogs returns when entries are
// placed, and raft counts this node's copy at once. What raft believes is therefore too much, and four gates keep it harmless:
//
//	R1  a node answers an AppendEntries with success only when its own disk holds the last entry     transport, server side
//	R2  a leader tells others at most Safe() as commit index                                        transport, client side
//	R3  nothing is applied, acknowledged or shown beyond Safe()                                      fsm.go
//	R4  no-op, barrier and configuration entries are synced before StoreLogs returns                store.go
//
// Safe() is the larger of this disk's durable index and the median of what the voters' disks are known to hold in this
// term: an entry that raft has committed and that is not beyond Safe is on a majority of disks.
//
// Known defects of hashicorp/raft 1.8.0 and how they are avoided: its pipeline can lock up after a refused AppendEntries
// (#612: our transport has its own); a failed StoreLogs leads to elections without end (#614: ours ends the process);
// a transfer to a peer that does not answer can block for ever (#696: only to one that answered just now).

// Peer is another node, or this one, as the configuration names it.
type Peer struct {
	ID       string
	RaftAddr string // host:port
	HTTPAddr string // host:port
	// HTTPSAddr is where clients go that speak TLS, host:port; empty: nowhere.
	HTTPSAddr string
	Priority  int // the highest leads, if it can
}

// Options of a node. Times that are zero have defaults (limits.go).
type Options struct {
	Log      *aof.Log
	Dir      string // where raft.state is
	FS       aof.FS // nil: the operating system's
	NodeID   string
	Peers    []Peer // every node that the configuration names, this one included
	Recovery *Recovery
	// Bootstrap makes this node found the cluster of Peers if it belongs to none yet.
	Bootstrap bool

	Listener net.Listener
	Dial     func(ctx context.Context, addr string) (net.Conn, error)

	Heartbeat, Election, Lease, CommitTimeout time.Duration
	PriorityHold                              time.Duration // how long a better leader must be fit before it is handed over to
	SerialSync                                bool          // sync on the leader before replication begins

	// Apply receives committed frames in order, on one goroutine. It may block.
	Apply func([]Committed)
	// Leading is called on one goroutine when leadership was won (everything committed before has been given to
	// Apply) or lost. Writes are admitted after it has returned from won.
	Leading func(won bool)
	// Checkpoint makes a checkpoint at the last index of a sealed segment, once it is applied, and reports it by Checkpointed. It
	// may block. Nil: there are only those that the program makes by itself.
	Checkpoint func(last uint64)
	// Restart starts the program over after the log's files were replaced (install.go); it does not return unless it
	// fails. Nil: such an install is refused.
	Restart func() error
	// Fatal is called when the node must not go on: its disk failed or hangs. Nil: panic.
	Fatal func(error)

	Logger *slog.Logger

	unsafe unsafeOptions
}

// unsafeOptions take a gate, or the bound of a damaged log, away, to prove that the simulation would notice.
type unsafeOptions struct{ noR1, noR2, noR3, noR4, noBound bool }

// Node is a member of a cluster.
type Node struct {
	o         Options
	raft      *raft.Raft
	transport *transport
	thread    *aof.Thread
	store     *store
	stable    *stable
	proposals *proposals
	early     early
	identity  identity
	leases    leases

	// gate is held by Append while it proposes, and taken to stop proposals: afterwards raft knows of all there are.
	gate       sync.RWMutex
	accepting  atomic.Bool                     // this node leads and admits writes
	handing    atomic.Bool                     // leadership is being handed over
	term       atomic.Uint64                   // of this node\'s leadership
	leading    atomic.Bool                     // this node leads and has applied everything before its term
	connected  atomic.Pointer[map[string]bool] // who was as this node began to lead; never changed once stored, set before leading
	applied    atomic.Uint64
	caughtUp   atomic.Bool
	checkpoint atomic.Uint64 // index of the newest checkpoint
	fetched    atomic.Int64  // when another node last asked for a file, Unix nanoseconds
	notify     chan bool     // raft's word about this node
	anew       chan struct{} // leadership was not handed over
	offering   chan struct{} // held while files for another node are prepared
	rotten     chan struct{} // the log was found to be damaged

	mu        sync.Mutex
	proposers []*Proposer
	known     map[string]Peer // by id: configured, and as the nodes themselves say

	started chan struct{} // closed when raft and transport are set: some callbacks come earlier
	stop    chan struct{}
	failed  atomic.Bool
	tasks   sync.WaitGroup
}

// Start brings a node up. The log must be open, with o.Recovery as its replay; Start appends through a thread of
// its own from now on.
func Start(o Options) (*Node, error) {
	o.setDefaults()
	n := &Node{
		o: o, proposals: newProposals(), stop: make(chan struct{}), notify: make(chan bool, 64), anew: make(chan struct{}, 1),
		known: make(map[string]Peer), started: make(chan struct{}),
	}
	n.rotten, n.offering = n.o.Recovery.rotten, make(chan struct{}, 1)
	for _, p := range o.Peers {
		n.known[p.ID] = p
	}
	if err := n.prepare(); err != nil {
		return nil, errors.Join(err, n.release())
	}
	if err := n.startRaft(); err != nil {
		return nil, errors.Join(err, n.release())
	}
	close(n.started)
	n.transport.noteLocal() // what was missed
	n.tasks.Go(n.followLeadership)
	n.tasks.Go(n.tend)
	n.tasks.Go(n.scrub)
	return n, nil
}

// running tells whether raft has been started. Its own goroutines, the transport's and the log's begin before Start has
// them all.
func (n *Node) running() bool {
	select {
	case <-n.started:
		return true
	default:
		return false
	}
}

// prepare opens what raft stands on.
func (n *Node) prepare() error {
	o := &n.o
	var fresh bool
	var err error
	if n.stable, fresh, err = openStable(o.FS, o.Dir, o.NodeID); err != nil {
		return err
	}
	n.thread = o.Log.NewThread(aof.ThreadOptions{OnDurable: n.durable, OnFail: n.fatal})
	n.store = &store{
		log: o.Log, thread: n.thread, cache: newEntryCache(cacheEntries, cacheBytes), proposals: n.proposals,
		serial: o.SerialSync, unsafe: &o.unsafe, fatal: n.fatal, early: func(l *raft.Log) { n.early.apply(n, l) },
		join: n.join,
	}
	for _, c := range o.Recovery.configs {
		if err := n.stable.configured(c.index, c.configuration); err != nil {
			return err
		}
	}
	if err := n.found(fresh); err != nil {
		return err
	}
	n.identify()
	if err := n.keepPromise(fresh); err != nil {
		return err
	}
	n.transport = newTransport(n.transportOptions())
	return nil
}

// found writes the first configuration of a cluster, once.
func (n *Node) found(fresh bool) error {
	o := &n.o
	s := n.stable.get()
	if s.Cluster != "" {
		return nil
	}
	if !o.Bootstrap {
		if fresh && o.Log.LastIndex() > 0 {
			return fmt.Errorf("raftlog: %s holds the log of a single node; with RF_HA_BOOTSTRAP_LEADER=1 it becomes the first node of a cluster, to join another one it must be empty", o.Dir)
		}
		return n.stable.change(func(*state) {})
	}
	if !fresh {
		return nil // it has joined, and waits to hear from a leader
	}
	var c raft.Configuration
	for _, p := range o.Peers {
		c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(p.ID), Address: raft.ServerAddress(p.RaftAddr)})
	}
	index, term, err := n.lastEntry()
	if err != nil {
		return err
	}
	term = max(term, 1)
	entry := &raft.Log{Index: index + 1, Term: term, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(c)}
	if err := n.store.StoreLogs([]*raft.Log{entry}); err != nil {
		return err
	}
	if !n.thread.WaitDurable(entry.Index) {
		return fmt.Errorf("raftlog: the first configuration was not written: %w", o.Log.Err())
	}
	o.Logger.Info("cluster founded", "node", o.NodeID, "index", entry.Index, "members", len(o.Peers))
	return n.stable.change(func(s *state) {
		s.Cluster, s.Term, s.Founding = randomID(), term, true
		s.Configurations = nil // the entry is in the log, behind what is applied
	})
}

// lastEntry is index and term of the log's end, zeros for an empty log.
func (n *Node) lastEntry() (index, term uint64, err error) {
	if index = n.o.Log.LastIndex(); index == 0 {
		return 0, 0, nil
	}
	h, _, err := n.o.Log.Entry(index, nil)
	return index, h.Term, err
}

// startRaft starts raft behind what was applied.
func (n *Node) startRaft() error {
	o := &n.o
	b, err := n.baseAt(o.Recovery.Applied())
	if err != nil {
		return err
	}
	n.applied.Store(b.index)
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(o.NodeID)
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = n.electionTimes()
	c.CommitTimeout = o.CommitTimeout
	c.MaxAppendEntries = entriesPerMessageMax
	c.BatchApplyCh = true
	c.SnapshotInterval, c.SnapshotThreshold = 1<<40, 1<<60 // checkpoints are the program's
	c.TrailingLogs = 1 << 60
	c.NoSnapshotRestoreOnStart = true
	c.NoLegacyTelemetry = true
	c.NotifyCh = n.notify
	c.Logger = newHclog(o.Logger)
	return n.newRaft(c, b)
}

// newRaft makes raft. It panics where it cannot read an entry; that is an error like any other.
func (n *Node) newRaft(c *raft.Config, b base) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("raftlog: raft does not start: %v", p)
		}
	}()
	if n.raft, err = raft.NewRaft(c, &fsm{n}, n.store, n.stable, &snapshots{n, b}, n.transport); err != nil {
		return fmt.Errorf("raftlog: %w", err)
	}
	return nil
}

// baseAt is the point behind index, which must be applied.
func (n *Node) baseAt(index uint64) (base, error) {
	b := base{index: index}
	if index == 0 {
		return b, nil
	}
	h, _, err := n.o.Log.Entry(index, nil)
	if err != nil {
		return b, fmt.Errorf("raftlog: entry %d, where the state ends: %w", index, err)
	}
	b.term = h.Term
	b.configuration, b.configIndex, _ = n.stable.configurationAt(index)
	return b, nil
}

// Checkpointed tells the node that the program's state at index is in a file.
func (n *Node) Checkpointed(index uint64) { n.checkpoint.Store(index) }

// electionTimes are raft's timeouts for this node: the better its priority, the sooner it becomes a candidate. The lease
// is shorter than any node's patience.
func (n *Node) electionTimes() (heartbeat, election, lease time.Duration) {
	o := &n.o
	extra := time.Duration(n.rank()) * o.Election / rankShare
	return o.Heartbeat + extra, o.Election + extra, o.Lease
}

// rank is this node's place in the order of priority, 0 for the best.
func (n *Node) rank() int {
	mine, rank := n.peer(n.o.NodeID), 0
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.known {
		if p.Priority > mine.Priority || p.Priority == mine.Priority && p.ID < mine.ID {
			rank++
		}
	}
	return rank
}

// peer is what is known of a node.
func (n *Node) peer(id string) Peer {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.known[id]
	p.ID = id
	return p
}

func (n *Node) transportOptions() transportOptions {
	o := &n.o
	wait := n.thread.WaitDurable
	if o.unsafe.noR1 {
		wait = func(uint64) bool { return true }
	}
	return transportOptions{
		Listener: o.Listener, Dial: o.Dial, Self: n.hello, Accept: n.accept,
		LocalDurable: o.Log.Durable, WaitDurable: wait, ParallelSync: !o.SerialSync && !o.unsafe.noR2,
		Voters: n.voters, OnPeerGone: n.peerGone, OnProgress: func() { n.progress(false) }, Bulk: n.bulk, Lease: n.leaseOn, MayElect: n.mayElect, MayStand: n.mayStand, MaySucceed: n.maySucceed,
		Have:    func(index uint64) bool { return n.Applied() >= index },
		Timeout: rpcTimeout, InFlight: appendsInFlight, Logger: o.Logger,
	}
}

// voters is who votes in the latest configuration; nobody, while raft is being started.
func (n *Node) voters() []raft.ServerID {
	if !n.running() {
		return nil
	}
	var ids []raft.ServerID
	for _, s := range n.raft.GetConfiguration().Configuration().Servers {
		if s.Suffrage == raft.Voter {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// durable is called by the log's thread whenever more is on the disk.
func (n *Node) durable(uint64) {
	if !n.running() {
		return
	}
	n.transport.noteLocal()
	n.progress(true)
}

// progress wakes the loops that wait for a disk.
func (n *Node) progress(durable bool) {
	n.mu.Lock()
	all := n.proposers
	n.mu.Unlock()
	for _, p := range all {
		p.progress(durable)
	}
}

// fatal ends what cannot go on.
func (n *Node) fatal(err error) {
	if n.failed.Swap(true) {
		return
	}
	n.o.Logger.Error("this node cannot go on", "error", err)
	n.accepting.Store(false)
	n.leading.Store(false)
	if n.o.Fatal == nil {
		panic("raftlog: " + err.Error())
	}
	n.o.Fatal(err)
}

// Applied is the index up to which committed frames were given to Apply.
func (n *Node) Applied() uint64 { return n.applied.Load() }

// Shutdown stops the node: leadership is not handed over (see Transfer), proposals end with ErrLeadershipLost, the log's
// thread writes what is queued, if the disk does that before ctx ends. The log stays open.
func (n *Node) Shutdown(ctx context.Context) error {
	n.stopAccepting()
	n.leading.Store(false)
	select {
	case <-n.stop:
		return nil
	default:
	}
	close(n.stop)
	done := make(chan error, 1)
	closed := n.transport.Close() // first: raft may be waiting for it
	go func() {
		stopped := n.raft.Shutdown()
		n.thread.Close() // raft may wait for room on a full disk
		done <- stopped.Error()
	}()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = fmt.Errorf("raftlog: raft did not stop: %w", ctx.Err())
	}
	n.proposals.loseAll(ErrLeadershipLost)
	n.tasks.Wait()
	return errors.Join(err, closed)
}

// release undoes a start that failed.
func (n *Node) release() error {
	var err error
	if n.transport != nil {
		err = n.transport.Close()
	} else if n.o.Listener != nil {
		err = n.o.Listener.Close()
	}
	if n.thread != nil {
		n.thread.Close()
	}
	return err
}

// setDefaults fills in what was left zero.
func (o *Options) setDefaults() {
	for _, d := range []struct {
		p *time.Duration
		v time.Duration
	}{
		{&o.Heartbeat, heartbeatDefault},
		{&o.Election, electionDefault},
		{&o.Lease, leaseDefault},
		{&o.CommitTimeout, commitTimeoutDefault},
		{&o.PriorityHold, priorityHoldDefault},
	} {
		if *d.p == 0 {
			*d.p = d.v
		}
	}
	if o.FS == nil {
		o.FS = aof.OS()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Leading == nil {
		o.Leading = func(bool) {}
	}
	if o.Recovery == nil {
		o.Recovery = NewRecovery(0, func(record.Frame) error { return nil })
	}
	o.Peers = slices.Clone(o.Peers)
}
