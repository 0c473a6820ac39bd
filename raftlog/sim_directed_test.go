package raftlog

import (
	"testing"
	"testing/synctest"
	"time"
)

// Schedules that are written out, for what random ones found once and might take long to find again.

// direct runs a schedule on a fresh cluster of three with clients, then heals it and judges as always.
func direct(t *testing.T, schedule func(s *sim, leader *simMachine)) {
	t.Helper()
	var r simResult
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 1, 3, unsafeOptions{})
		for _, m := range s.machines {
			m.boot()
		}
		leader := s.awaitLeader(t)
		stop := s.clients(simClients)
		schedule(s, leader)
		s.heal()
		time.Sleep(time.Second)
		stop()
		s.settle()
		s.judge()
		s.stop()
		r = s.result(0)
	})
	if len(r.harm)+len(r.danger) > 0 {
		t.Errorf("\n%s", r.explain())
	}
}

// awaitFull waits until a machine's log has no room left, and grows no more.
func (m *simMachine) awaitFull() {
	log := m.node().o.Log
	for last, tries := uint64(0), 0; !log.Full() || log.LastIndex() != last; tries++ {
		last = log.LastIndex()
		time.Sleep(500 * time.Millisecond)
		if tries == 200 {
			m.s.ledger.reportHarm("the log of %s is not full at index %d", m.name, last)
			return
		}
	}
}

// other is a machine that is not m.
func (s *sim) other(m *simMachine) *simMachine {
	for _, x := range s.machines {
		if x != m {
			return x
		}
	}
	panic("bug: one machine only")
}

// A leader that is cut off keeps what it was given to itself, and gives it up when it comes back.
func TestSimDeposed(t *testing.T) {
	t.Parallel()
	direct(t, func(s *sim, leader *simMachine) {
		depose(s, leader)
		time.Sleep(time.Second)
		if s.seen["log truncated"] == 0 {
			s.ledger.reportHarm("no log was truncated")
		}
	})
}

// A node whose disk is full waits in the middle of raft for room; it can be stopped all the same.
func TestSimStopOnAFullDisk(t *testing.T) {
	t.Parallel()
	direct(t, func(s *sim, leader *simMachine) {
		m := s.other(leader)
		m.disk.fill(0)
		m.awaitFull()
		started := time.Now()
		m.restart()
		if took := time.Since(started); took > time.Second {
			s.ledger.reportHarm("%s took %v to stop", m.name, took)
		}
	})
}
