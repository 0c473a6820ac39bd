package raftlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"ayder/aof"
	"ayder/internal/record"
	"ayder/internal/testkit/simnet"
)

// A simMachine is one computer of a simulation: a disk that stays, and a process that comes and goes. What runs in the process is
// real: aof.Log, Start, its transport, one loop with its Proposer. Only the engine is replaced by a model: a counter per
// stream that assigns offsets at propose time and checks them at apply time.
//
// A crash is one instant: from then on nothing that the process still does counts (its disk and its network refuse, its
// callbacks are ignored), and its goroutines are shut down in the background while the next life may already begin.
type simMachine struct {
	patience time.Duration // 0: as usual; heartbeat, election and lease
	s        *sim
	name     string
	disk     *simDisk

	mu      sync.Mutex
	life    *simLife // nil: down
	durable uint64   // index on the disk when it went down
	applied uint64   // highest index that it ever applied before
}

// simLife is one process.
type simLife struct {
	m      *simMachine
	host   *simnet.Host
	fsys   aof.FS
	dead   chan struct{}
	log    atomic.Pointer[aof.Log]
	node   atomic.Pointer[Node]
	loop   *simLoop
	state  simState
	skewMs uint64 // of its clock

	pausing sync.Mutex
	resumed chan struct{} // nil: not paused
	closing atomic.Bool
}

const (
	simSegmentBytes = 64 << 10
	simFrameBytes   = 8 << 10
	simDir          = "/data"
	simShutdown     = time.Minute
	simPriorityHold = 3 * time.Second
)

func simAddr(name string) string { return name + ":7000" }

// boot starts a process in the background.
func (m *simMachine) boot() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.life != nil || m.s.stopping.Load() {
		return
	}
	l := &simLife{m: m, host: m.s.net.Boot(m.name), fsys: m.disk.mount(), dead: make(chan struct{}), skewMs: m.s.skew()}
	l.state = simState{m: m, next: map[uint32]uint64{}}
	l.loop = newSimLoop(l)
	m.life = l
	m.s.ledger.event("%s boots", m.name)
	m.s.running.Go(func() { l.run() })
}

// current is the process, nil if the machine is down.
func (m *simMachine) current() *simLife {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.life
}

// node is the raft node, nil while there is none.
func (m *simMachine) node() *Node {
	if l := m.current(); l != nil {
		return l.node.Load()
	}
	return nil
}

// run is a process's life: start, wait for the end, shut down.
func (l *simLife) run() {
	err := l.start()
	if err != nil && !l.over() {
		l.m.s.ledger.reportHarm("%s does not start: %v", l.m.name, err)
	}
	<-l.dead
	l.close()
}

// close ends what runs, of a dead process or of one that is asked to end, once.
func (l *simLife) close() {
	if l.closing.Swap(true) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), simShutdown)
	defer cancel()
	if n := l.node.Load(); n != nil {
		if err := n.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
			l.m.s.ledger.reportHarm("%s does not shut down: %v", l.m.name, err)
		}
		answerStuck(n.raft)
		l.m.s.bury(n.raft)
	}
	l.loop.close()
	if log := l.log.Load(); log != nil {
		_ = log.Close() // files of a dead machine do not close well
	}
}

// over tells that the process is dead.
func (l *simLife) over() bool {
	select {
	case <-l.dead:
		return true
	default:
		return false
	}
}

func (l *simLife) start() error {
	s, name := l.m.s, l.m.name
	log, recovery, err := l.openLog()
	if err != nil {
		return err
	}
	l.log.Store(log)
	listener, err := l.host.Listen(simAddr(name))
	if err != nil {
		return err
	}
	o := Options{
		Log: log, Dir: simDir, FS: l.fsys, NodeID: name, Peers: s.peersOf(l.m), Recovery: recovery, Bootstrap: l.m == s.machines[0],
		Listener: listener, Dial: l.host.Dial,
		PriorityHold: simPriorityHold, SerialSync: s.serial(l.m),
		Apply: l.apply, Leading: l.leading, Fatal: l.fatal, Restart: l.startOver, Logger: s.logger(name), unsafe: s.unsafe,
	}
	if p := l.m.patience; p != 0 {
		o.Heartbeat, o.Election, o.Lease = p, p, p
	}
	n, err := Start(o)
	if err != nil {
		return err
	}
	l.node.Store(n)
	l.loop.post(func() { l.loop.proposer = n.NewProposer(l.loop.wake) })
	return nil
}

// apply is Options.Apply.
func (l *simLife) apply(cs []Committed) {
	l.awaitResume()
	for _, c := range cs {
		if l.over() {
			return
		}
		l.state.take(&c.Frame)
		if b := c.Own; b != nil {
			l.loop.post(func() { b.Done(b, nil) })
		}
	}
}

// leading is Options.Leading: a new leader assigns offsets from what is applied.
func (l *simLife) leading(won bool) {
	if !won {
		return
	}
	next := l.state.offsets()
	l.loop.call(func() { l.loop.assigned = next })
}

// sealed is aof.Options.OnSealed: the moment for a checkpoint, and for giving up what nobody needs any more.
func (l *simLife) sealed(last uint64) {
	n := l.node.Load()
	if n == nil || !n.AwaitApplied(last, l.dead) {
		return
	}
	log := l.log.Load()
	index, err := l.state.save(log)
	if err == nil {
		n.Checkpointed(index)
		err = l.reclaim(log)
	}
	if err != nil {
		l.m.s.ledger.event("%s: checkpoint at index %d: %v", l.m.name, index, err)
	}
}

// reclaim gives up what all machines have: by dropping it, or, in every other run, by rewriting it, with some of it alive.
func (l *simLife) reclaim(log *aof.Log) error {
	floor := l.m.s.floor()
	if l.m.s.seed%2 == 0 || floor == 0 {
		return log.DropBefore(floor)
	}
	_, err := log.Reclaim(everyFourth{}, aof.ReclaimOptions{Before: floor})
	if errors.Is(err, aof.ErrClosed) || errors.Is(err, aof.ErrFailed) {
		return nil // the process is ending
	}
	return err
}

// fatal is Options.Fatal: the process ends, as the program would end it.
func (l *simLife) fatal(err error) {
	if l.over() {
		return
	}
	if !l.m.disk.ailing() && !errors.Is(err, syscall.EIO) { // else it is to be expected
		l.m.s.ledger.reportHarm("%s gives up on a healthy disk: %v", l.m.name, err)
	}
	l.m.s.ledger.event("%s: fatal: %v", l.m.name, err)
	l.m.end(l, (*simnet.Host).Kill, (*simDisk).kill)
}

// powerOff cuts the power, kill kills the process.
func (m *simMachine) powerOff() { m.end(m.current(), (*simnet.Host).PowerOff, (*simDisk).powerOff) }
func (m *simMachine) kill()     { m.end(m.current(), (*simnet.Host).Kill, (*simDisk).kill) }

// end ends a life in one instant.
func (m *simMachine) end(l *simLife, cut func(*simnet.Host), lose func(*simDisk)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l == nil || m.life != l {
		return
	}
	close(l.dead)
	cut(l.host)
	lose(m.disk)
	if log := l.log.Load(); log != nil {
		m.durable = log.Durable()
		m.applied = max(m.applied, l.state.index())
	}
	m.life = nil
	m.s.crashes.Add(1)
	l.resume()
}

// breakDisk makes the n-th write from now fail, if there is a process that is past its start: that it ends then is no harm.
func (m *simMachine) breakDisk(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.life == nil || m.life.node.Load() == nil {
		return
	}
	m.s.ledger.event("disk of %s fails at write %d", m.name, n)
	m.disk.breakAt(n)
}

// restart ends the process as an operator does: leadership is handed over first, then everything is closed. A new process
// follows.
func (m *simMachine) restart() {
	l := m.current()
	if l == nil || l.node.Load() == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), transferTimeout)
	defer cancel()
	if err := l.node.Load().Transfer(ctx, ""); err != nil && !errors.Is(err, ErrNotLeader) {
		m.s.ledger.event("%s keeps leading: %v", m.name, err)
	}
	l.close()
	m.end(l, (*simnet.Host).Kill, (*simDisk).kill)
	m.boot()
}

// pause stops the process as far as others can see: network, disk, loop and state machine stand still. Its timers do not: it
// may become a candidate, or step down, while it is paused.
func (l *simLife) pause() {
	l.pausing.Lock()
	defer l.pausing.Unlock()
	if l.resumed == nil && !l.over() {
		l.resumed = make(chan struct{})
		l.host.Pause()
		l.m.disk.hold(true)
	}
}

func (l *simLife) resume() {
	l.pausing.Lock()
	defer l.pausing.Unlock()
	if l.resumed != nil {
		close(l.resumed)
		l.resumed = nil
		l.host.Resume()
		l.m.disk.hold(false)
	}
}

// awaitResume waits while the process is paused.
func (l *simLife) awaitResume() {
	l.pausing.Lock()
	c := l.resumed
	l.pausing.Unlock()
	if c != nil {
		<-c
	}
}

func (l *simLife) isPaused() bool {
	l.pausing.Lock()
	defer l.pausing.Unlock()
	return l.resumed != nil
}

// holds tells whether the machine's disk has the frame. Of a machine that is down only its index is known.
func (m *simMachine) holds(index uint64, x *fact) bool {
	m.mu.Lock()
	l, durable := m.life, m.durable
	m.mu.Unlock()
	if l == nil || l.log.Load() == nil {
		return durable >= index
	}
	log := l.log.Load()
	if log.Durable() < index {
		return false
	}
	y, err := entryFact(log, index)
	return err == nil && y.same(x) || l.over()
}

// settled is an index that the machine has applied and on its disk.
func (m *simMachine) settled() uint64 {
	m.mu.Lock()
	l, index := m.life, min(m.durable, m.applied)
	m.mu.Unlock()
	if l == nil || l.node.Load() == nil {
		return index
	}
	return min(l.log.Load().Durable(), l.state.index())
}

// entryFact is the frame that a log has at index.
func entryFact(log *aof.Log, index uint64) (fact, error) {
	h, payload, err := log.Entry(index, nil)
	if err != nil {
		return fact{}, err
	}
	return factOf(&record.Frame{Header: h, Payload: payload}), nil
}

// describe is a machine's state in one line.
func (m *simMachine) describe() string {
	l := m.current()
	if l == nil {
		return m.name + ": down"
	}
	n, log := l.node.Load(), l.log.Load()
	if n == nil {
		return m.name + ": starting"
	}
	return fmt.Sprintf("%s: %v term %d leader %q, last %d durable %d commit %d applied %d", m.name, n.raft.State(), n.raft.CurrentTerm(),
		n.raft.Leader(), log.LastIndex(), log.Durable(), n.raft.CommitIndex(), l.state.index())
}
