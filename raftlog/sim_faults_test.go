package raftlog

import (
	"context"
	"time"
)

// faults is a random schedule: every few hundred milliseconds one thing happens to one node, the leader more
// often than its share. Faults overlap and pile up; all that is promised is that crashes leave a majority a chance to run: a
// node too many that is down is booted.
type faults struct {
	lasting  time.Duration // virtual
	pauseMin time.Duration // between two faults
	pauseMax time.Duration
	odds     []odd
	rotting  bool // disks may forget: see sim_rot_test.go
}

// odd is a fault and its weight.
type odd struct {
	weight int
	what   func(s *sim, m *simMachine)
}

var everyFault = faults{
	lasting: 20 * time.Second, pauseMin: 20 * time.Millisecond, pauseMax: 420 * time.Millisecond,
	odds: []odd{
		{8, crashOrBoot},
		{1, handOver},
		{2, restart},
		{1, failDisk},
		{1, fillDisk},
		{3, bootAll},
		{1, blackout},
		{3, slowDisk},
		{1, hangDisk},
		{3, healDisks},
		{3, isolate},
		{4, depose},
		{4, healNetwork},
		{2, pauseProcess},
		{2, resumeAll},
	},
}

// inflict does it.
func (f faults) inflict(s *sim) {
	s.rotting.Store(f.rotting)
	total := 0
	for _, o := range f.odds {
		total += o.weight
	}
	for end := time.Now().Add(f.lasting); time.Now().Before(end) && !s.ledger.harmed(); {
		time.Sleep(f.pauseMin + time.Duration(s.rng.Int64N(int64(f.pauseMax-f.pauseMin)+1)))
		n := s.rng.IntN(total)
		for _, o := range f.odds {
			if n -= o.weight; n < 0 {
				o.what(s, s.victim())
				break
			}
		}
		s.keepMajority()
	}
}

// victim is a random machine; every other time, a leader.
func (s *sim) victim() *simMachine {
	m := s.machines[s.rng.IntN(len(s.machines))]
	if l := s.leader(); l != nil && s.rng.IntN(2) == 0 {
		m = l
	}
	return m
}

// leader is a machine that believes to lead, nil if there is none.
func (s *sim) leader() *simMachine {
	for _, m := range s.machines {
		if n := m.node(); n != nil && n.Leading() {
			return m
		}
	}
	return nil
}

// keepMajority boots machines until a majority is up.
func (s *sim) keepMajority() {
	up := 0
	for _, m := range s.machines {
		if m.current() != nil {
			up++
		}
	}
	for _, m := range s.machines {
		if up > len(s.machines)/2 {
			return
		}
		if m.current() == nil {
			m.boot()
			up++
		}
	}
}

// crashOrBoot cuts a running machine's power, or kills its process only; one that is down it boots.
func crashOrBoot(s *sim, m *simMachine) {
	if m.current() == nil {
		m.boot()
	}
	switch s.rng.IntN(6) {
	case 0, 1:
		s.ledger.event("%s is killed", m.name)
		m.kill()
	case 2:
		n := 1 + s.rng.IntN(40)
		s.ledger.event("%s loses power %d operations from now", m.name, n)
		m.disk.blowAt(n, m.powerOff)
	default:
		s.ledger.event("%s loses power", m.name)
		m.powerOff()
	}
}

func bootAll(s *sim, _ *simMachine) {
	s.ledger.event("whoever is down boots")
	for _, m := range s.machines {
		m.boot()
	}
}

// blackout cuts everybody's power, and boots everybody soon after.
func blackout(s *sim, _ *simMachine) {
	s.ledger.event("blackout")
	for _, m := range s.machines {
		if m.current() != nil {
			m.powerOff()
		}
	}
	for _, m := range s.machines {
		time.Sleep(time.Duration(s.rng.Int64N(int64(200 * time.Millisecond))))
		m.boot()
	}
}

// restart is what an operator does; it takes its time while other things happen.
func restart(s *sim, m *simMachine) {
	s.ledger.event("%s is restarted", m.name)
	s.running.Go(m.restart)
}

// handOver has a leader give up its office.
func handOver(s *sim, m *simMachine) {
	n := m.node()
	if n == nil || !n.Leading() {
		return
	}
	s.ledger.event("%s hands over", m.name)
	s.running.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), transferTimeout)
		defer cancel()
		err := n.Transfer(ctx, "")
		s.ledger.event("%s handed over: %v", m.name, err)
	})
}

// failDisk makes one of the next writes fail.
func failDisk(s *sim, m *simMachine) {
	m.breakDisk(1 + s.rng.IntN(20))
}

// fillDisk leaves less room on the disk than a segment or two need.
func fillDisk(s *sim, m *simMachine) {
	s.ledger.event("disk of %s is full", m.name)
	m.disk.fill(s.rng.Int64N(2 * simSegmentBytes))
}

func slowDisk(s *sim, m *simMachine) {
	by := time.Duration(s.rng.Int64N(int64(300 * time.Millisecond)))
	s.ledger.event("disk of %s is slow by %v", m.name, by)
	m.disk.slowDown(by)
}

func hangDisk(s *sim, m *simMachine) {
	s.ledger.event("disk of %s hangs", m.name)
	m.disk.hang()
}

func healDisks(s *sim, _ *simMachine) {
	s.ledger.event("disks are well")
	for _, m := range s.machines {
		m.disk.recover()
	}
}

// isolate cuts a machine off from some of the others, in both directions or in one.
func isolate(s *sim, m *simMachine) {
	out, in := true, true
	switch s.rng.IntN(4) {
	case 0:
		out = false
	case 1:
		in = false
	}
	for _, x := range s.machines {
		if x == m || s.rng.IntN(3) == 0 {
			continue
		}
		s.ledger.event("%s is cut off from %s: out %v, in %v", m.name, x.name, out, in)
		if out {
			s.net.Block(m.name, x.name)
		}
		if in {
			s.net.Block(x.name, m.name)
		}
	}
}

// depose cuts a leader off from everybody, in both directions, for about long enough that it has a successor. What it was
// given meanwhile is cut off its log when it comes back.
func depose(s *sim, m *simMachine) {
	if l := s.leader(); l != nil {
		m = l
	}
	s.ledger.event("%s is deposed", m.name)
	alone := []*simMachine{m}
	var others []*simMachine
	for _, x := range s.machines {
		if x != m {
			others = append(others, x)
		}
	}
	s.split(alone, others)
	time.Sleep(time.Second/2 + time.Duration(s.rng.Int64N(int64(time.Second))))
	s.join(alone, others)
}

func healNetwork(s *sim, _ *simMachine) {
	s.ledger.event("network is whole")
	s.net.Heal()
}

func pauseProcess(s *sim, m *simMachine) {
	if l := m.current(); l != nil {
		s.ledger.event("%s is paused", m.name)
		l.pause()
	}
}

func resumeAll(s *sim, _ *simMachine) {
	s.ledger.event("nobody is paused")
	for _, m := range s.machines {
		if l := m.current(); l != nil {
			l.resume()
		}
	}
}
