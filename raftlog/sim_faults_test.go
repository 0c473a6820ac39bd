package raftlog

import (
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
		{1, blackout},
		{3, slowDisk},
		{1, hangDisk},
		{3, healDisks},
		{3, isolate},
		{3, healNetwork},
		{2, pauseProcess},
		{2, resumeAll},
	},
}

// inflict does it.
func (f faults) inflict(s *sim) {
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
	if s.rng.IntN(2) == 0 {
		for _, x := range s.machines {
			if n := x.node(); n != nil && n.Leading() {
				m = x
			}
		}
	}
	return m
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
