package raftlog

import (
	"context"
	"time"
)

// What nodes say of themselves is checked against what the observer knows, every few milliseconds while a simulation runs:
//
//	a lease, a read barrier   everything acknowledged before is applied here: a read now is linearizable
//	Everywhere, Holders       so many disks have it indeed: what sync-all and acked_nodes stand for

const (
	simWatchEvery  = 3 * time.Millisecond
	simBarrierWait = time.Second
)

// watch starts the checks; the function that it returns ends them.
func (s *sim) watch() (stop func()) {
	end := make(chan struct{})
	for _, m := range s.machines {
		s.watching.Go(func() { m.each(end, simWatchEvery, m.checkLease) })
		s.watching.Go(func() { m.each(end, simWatchEvery, m.checkHolders) })
		s.watching.Go(func() { m.each(end, 5*simWatchEvery, m.checkBarrier) })
	}
	return func() { close(end); s.watching.Wait() }
}

// each has every life of the machine looked at that runs and is not paused.
func (m *simMachine) each(end <-chan struct{}, every time.Duration, look func(l *simLife, n *Node)) {
	for {
		select {
		case <-end:
			return
		case <-time.After(every):
		}
		if l := m.current(); l != nil && !l.isPaused() {
			if n := l.node.Load(); n != nil {
				look(l, n)
			}
		}
	}
}

func (m *simMachine) checkLease(l *simLife, n *Node) {
	newest := m.s.ledger.acknowledged()
	if n.Leased() {
		l.mustHaveApplied(newest, "has a lease")
	}
}

func (m *simMachine) checkBarrier(l *simLife, n *Node) {
	if !n.Leading() {
		return
	}
	newest := m.s.ledger.acknowledged()
	ctx, cancel := context.WithTimeout(context.Background(), simBarrierWait)
	defer cancel()
	if n.ReadBarrier(ctx) == nil {
		l.mustHaveApplied(newest, "passed a read barrier")
	}
}

func (l *simLife) mustHaveApplied(index uint64, because string) {
	if at := l.state.index(); at < index && !l.over() {
		l.m.s.ledger.reportHarm("%s %s and reads at index %d, %d is acknowledged", l.m.name, because, at, index)
	}
}

// checkHolders looks at the newest index that the node says is everywhere, and at one that is on some disks.
func (m *simMachine) checkHolders(l *simLife, n *Node) {
	if !n.Leading() || m.s.changing {
		return
	}
	everywhere, durable := n.Everywhere(), n.o.Log.Durable()
	holders, have := n.Holders(durable), 0
	for _, x := range m.s.machines {
		if at := x.onDisk(); at < everywhere && !l.over() {
			m.s.ledger.reportDanger("%s says that index %d is everywhere, %s has %d", m.name, everywhere, x.name, at)
		}
		if x.onDisk() >= durable {
			have++
		}
	}
	if holders > len(m.s.machines)/2 && have < holders && !l.over() && !m.s.rotting.Load() { // fewer may have been cut by another leader
		m.s.ledger.reportDanger("%s says that index %d is on %d disks, it is on %d", m.name, durable, holders, have)
	}
}

// onDisk is the index up to which a machine's disk has the log.
func (m *simMachine) onDisk() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.life != nil {
		if log := m.life.log.Load(); log != nil {
			return log.Durable()
		}
	}
	return m.durable
}
