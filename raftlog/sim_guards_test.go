package raftlog

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// The controls: without any one of the four gates that make a parallel sync safe (node.go), the same judge must find harm,
// something a user would see. For R1 to R3 random faults find it, with dice loaded towards what the gate is there for:
// crashes while disks are slow. R4 protects changes of membership, which the random schedules do not make; its schedule
// is written out.

// loaded is faults of several nodes at a time, in the orders that hurt, while disks are slow and the network is partly cut.
func loaded(more ...odd) faults {
	return faults{
		lasting: 20 * time.Second, pauseMin: 10 * time.Millisecond, pauseMax: 250 * time.Millisecond,
		odds: append(more, odd{2, crashOrBoot}, odd{3, bootAll}, odd{3, slowDisk}, odd{1, hangDisk}, odd{4, healDisks}, odd{2, isolate}, odd{4, healNetwork}),
	}
}

// slowAndDead is all of them.
var slowAndDead = loaded(odd{2, leaderLate}, odd{2, otherLate}, odd{2, oneWitness})

// leaderLate cuts everybody's power and boots the leader, if there is one, long after the others: they go on with what their disks
// have. Before, theirs were slow for a while.
func leaderLate(s *sim, m *simMachine) {
	if l := s.leader(); l != nil {
		m = l
	}
	for _, x := range s.machines {
		if x != m {
			x.disk.slowDown(300 * time.Millisecond)
		}
	}
	s.while()
	s.ledger.event("blackout; %s will come late", m.name)
	for _, x := range s.machines {
		x.powerOff()
	}
	for _, x := range s.machines {
		if x != m {
			x.boot()
		}
	}
	s.late(m)
}

// otherLate cuts the power of m, which often is the leader, and of another one, and boots m at once: it goes on, with the
// rest, with what its disk has.
func otherLate(s *sim, m *simMachine) {
	x := s.machines[s.rng.IntN(len(s.machines))]
	if x == m {
		return
	}
	s.ledger.event("%s and %s lose power; %s will come late", m.name, x.name, x.name)
	m.powerOff()
	x.powerOff()
	m.boot()
	s.net.Heal()
	s.late(x)
}

// oneWitness is otherLate after a time in which m's disk was slow and it had only the other one to talk to: nobody else has what
// was acknowledged then.
func oneWitness(s *sim, m *simMachine) {
	x := s.machines[s.rng.IntN(len(s.machines))]
	if x == m {
		return
	}
	s.ledger.event("%s has only %s", m.name, x.name)
	for _, y := range s.machines {
		if y != m && y != x {
			s.split([]*simMachine{m}, []*simMachine{y})
		}
	}
	m.disk.slowDown(300 * time.Millisecond)
	s.while()
	s.ledger.event("%s and %s lose power; %s will come late", m.name, x.name, x.name)
	m.powerOff()
	x.powerOff()
	m.boot()
	s.net.Heal()
	s.late(x)
}

// while waits for what a slow disk makes others wait.
func (s *sim) while() {
	time.Sleep(100*time.Millisecond + time.Duration(s.rng.Int64N(int64(200*time.Millisecond))))
}

// late boots a machine after a while.
func (s *sim) late(m *simMachine) {
	time.Sleep(700*time.Millisecond + time.Duration(s.rng.Int64N(int64(700*time.Millisecond))))
	m.boot()
}

// simControlRuns bounds the seeds that a control may need.
const simControlRuns = 60

func TestSimWithoutAGate(t *testing.T) {
	if simRace {
		t.Skip("what the schedules find does not depend on the race detector")
	}
	t.Parallel()
	for name, c := range map[string]struct {
		unsafe unsafeOptions
		faults faults
	}{
		"R1": {unsafeOptions{noR1: true}, loaded(odd{6, leaderLate})},
		"R2": {unsafeOptions{noR2: true}, loaded(odd{6, oneWitness})},
		"R3": {unsafeOptions{noR3: true}, loaded(odd{6, oneWitness})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, _ := simRuns(0)
			crashes := 0
			for seed := first; seed < first+simControlRuns; seed++ {
				r := simulate(t, seed, 3, c.unsafe, c.faults)
				crashes += r.crashes
				if len(r.harm) > 0 {
					t.Logf("found with seed %d, after %d crashes: %s", seed, crashes, r.harm[0])
					return
				}
			}
			t.Errorf("%d seeds and %d crashes showed no harm", simControlRuns, crashes)
		})
	}
}

// With the gates in place the same faults find nothing.
func TestSimSlowAndDead(t *testing.T) {
	t.Parallel()
	runSims(t, 3, 1, slowAndDead)
}

// Without R4 two changes of membership can be made on the strength of a leader's copy that its disk does not have. The
// schedule: n3 is cut off, the leader's log stops being written, n4 and n5 become voters; then the leader loses its power, and with it
// both changes. Now the old leader and n3 are a majority of the three they know of, and the others one of five.
func TestSimGateR4(t *testing.T) {
	t.Parallel()
	for _, noR4 := range []bool{true, false} {
		var r simResult
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, 1, 5, unsafeOptions{noR4: noR4})
			s.twoHalves(t)
			r = s.result(1)
		})
		switch {
		case noR4 && len(r.harm) == 0:
			t.Errorf("without R4: no harm\n%s", r.explain())
		case !noR4 && len(r.harm) > 0:
			t.Errorf("with R4:\n%s", r.explain())
		case noR4:
			t.Logf("without R4: %s", r.harm[0])
		}
	}
}

// twoHalves is that schedule.
func (s *sim) twoHalves(t *testing.T) {
	s.founders, s.changing = 3, true
	for _, m := range s.machines {
		m.boot()
	}
	a := s.awaitLeader(t)
	var b, c *simMachine
	for _, m := range s.machines[:3] {
		switch {
		case m == a:
		case b == nil:
			b = m
		default:
			c = m
		}
	}
	d, e := s.machines[3], s.machines[4]
	s.split([]*simMachine{a, b, d, e}, []*simMachine{c})
	a.disk.stick()
	for _, m := range []*simMachine{d, e} {
		a.node().raft.AddVoter(raft.ServerID(m.name), raft.ServerAddress(simAddr(m.name)), 0, 50*time.Millisecond)
		time.Sleep(250 * time.Millisecond)
	}
	s.ledger.event("%s loses power", a.name)
	a.disk.fs.DropPending()
	a.powerOff()
	s.net.Heal()
	s.split([]*simMachine{a, c}, []*simMachine{b, d, e})
	a.boot()
	stop := s.clients(simClients)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end) && !s.ledger.harmed(); {
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	for _, m := range s.machines {
		s.ledger.event("%s", m.describe())
	}
	s.stop()
}

// split cuts every connection between the two groups.
func (s *sim) split(left, right []*simMachine) {
	for _, a := range left {
		for _, b := range right {
			s.net.Block(a.name, b.name)
			s.net.Block(b.name, a.name)
		}
	}
}

// join ends a split.
func (s *sim) join(left, right []*simMachine) {
	for _, a := range left {
		for _, b := range right {
			s.net.Unblock(a.name, b.name)
			s.net.Unblock(b.name, a.name)
		}
	}
}

// awaitLeader waits until one node leads and everybody has what it has.
func (s *sim) awaitLeader(t *testing.T) *simMachine {
	for range 100 {
		time.Sleep(100 * time.Millisecond)
		for _, m := range s.machines {
			if n := m.node(); n != nil && n.Leading() && n.transport.everywhere() == n.o.Log.LastIndex() {
				return m
			}
		}
	}
	for _, m := range s.machines {
		t.Log(m.describe())
	}
	t.Fatal("nobody leads")
	return nil
}
