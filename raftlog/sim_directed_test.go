package raftlog

import (
	"context"
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

// A leader whose disk is slow goes on at the pace of the others: its own sync is not waited for.
func TestSimSlowLeaderDisk(t *testing.T) {
	t.Parallel()
	direct(t, func(s *sim, leader *simMachine) {
		leader.disk.slowDown(100 * time.Millisecond)
		time.Sleep(time.Second)
		before := s.answered("acknowledged")
		time.Sleep(2 * time.Second)
		if n := s.answered("acknowledged") - before; n < 500 || s.leader() != leader {
			s.ledger.reportHarm("%d acknowledged in two seconds", n)
		}
	})
}

// A leader whose disk hangs hands over, and writes go on.
func TestSimHungLeaderDisk(t *testing.T) {
	t.Parallel()
	direct(t, func(s *sim, leader *simMachine) {
		leader.disk.hang()
		gap := s.longestGap(10 * time.Second)
		s.ledger.event("longest time without an acknowledgement: %v", gap)
		if gap > 5*time.Second {
			s.ledger.reportHarm("nothing was acknowledged for %v", gap)
		}
	})
}

// longestGap is the longest time without an acknowledgement while a time passes.
func (s *sim) longestGap(during time.Duration) (longest time.Duration) {
	last, at := s.answered("acknowledged"), time.Now()
	for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if n := s.answered("acknowledged"); n != last {
			last, at = n, time.Now()
		}
		longest = max(longest, time.Since(at))
	}
	return longest
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

// Handing over again and again to a node whose disk hangs comes to nothing, and leaves nothing behind: the leader, deposed
// meanwhile, can lead again.
func TestSimHandOverToAHungDisk(t *testing.T) {
	t.Parallel()
	direct(t, func(s *sim, leader *simMachine) {
		m := s.other(leader)
		m.disk.hang()
		time.Sleep(200 * time.Millisecond)
		for range 4 {
			err := handOverTo(leader, m)
			s.ledger.event("%s handed over to %s: %v", leader.name, m.name, err)
			time.Sleep(50 * time.Millisecond)
		}
		depose(s, leader)
		m.disk.recover()
		s.awaitLeading(leader)
	})
}

// A leader whose lease of its own is long is cut off at the moment when the others have agreed to a heartbeat and it has not
// heard so: it hears it when they have elected another. What they agreed to before a read began does not confirm the read.
func TestSimAnswersThatComeLate(t *testing.T) {
	t.Parallel()
	direct(t, func(s *sim, _ *simMachine) {
		defer s.watch()()
		first := s.machines[0]
		first.patience = 4 * time.Second
		first.restart()
		for range 10 {
			s.awaitLeading(first)
			time.Sleep(time.Duration(s.rng.Int64N(int64(time.Second))))
			for _, m := range s.machines[1:] {
				s.net.Block(m.name, first.name)
			}
			time.Sleep(time.Duration(s.rng.Int64N(int64(50 * time.Millisecond))))
			for _, m := range s.machines[1:] {
				s.net.Block(first.name, m.name)
			}
			time.Sleep(600*time.Millisecond + time.Duration(s.rng.Int64N(int64(200*time.Millisecond))))
			for _, m := range s.machines[1:] {
				s.net.Unblock(m.name, first.name)
			}
			time.Sleep(400 * time.Millisecond)
			s.net.Heal()
		}
	})
}

// awaitLeading has leadership handed over to a machine until it leads.
func (s *sim) awaitLeading(m *simMachine) {
	for end := time.Now().Add(time.Minute); m.node() == nil || !m.node().Leading(); time.Sleep(100 * time.Millisecond) {
		if now := s.leader(); now != nil && now != m {
			_ = handOverTo(now, m)
		}
		if time.Now().After(end) {
			s.ledger.reportHarm("%s never leads", m.name)
			return
		}
	}
}

func handOverTo(from, to *simMachine) error {
	ctx, cancel := context.WithTimeout(context.Background(), transferTimeout)
	defer cancel()
	return from.node().Transfer(ctx, to.name)
}
