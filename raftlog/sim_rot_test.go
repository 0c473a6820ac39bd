package raftlog

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ayder/aof"
	"ayder/internal/record"
	"ayder/internal/testkit/simnet"
)

// Bits that rot: while a machine is down, a byte of one of its sealed segments changes. Its next life puts the damage aside and
// goes on by the bound in raft.state (heal.go), or finds it while it runs and starts over. It is always the same machine, or
// what two had forgotten could have been acknowledged by them alone; and it waits until all have heard from a leader, because one that has
// not gives no vote, so that there would be two that cannot be asked for what is committed. Nothing is dropped from any log in such a run: files, by which a node
// too far behind would be helped, do not travel on simulated disks.

// rotDisk ends the last machine's process, changes a byte, and boots it after a while.
func rotDisk(s *sim, _ *simMachine) {
	for _, m := range s.machines {
		if st, _, err := openStable(m.disk.fs, simDir, m.name); err != nil || st.get().Cluster == "" {
			return
		}
	}
	m := s.machines[len(s.machines)-1]
	m.powerOff()
	fs := m.disk.fs
	var sealed []string
	for _, path := range fs.Paths() {
		if side := strings.TrimSuffix(path, ".aof") + ".idx"; strings.HasSuffix(path, ".aof") && filepath.Dir(path) == simDir {
			if _, ok := fs.Get(side); ok {
				sealed = append(sealed, path)
			}
		}
	}
	if len(sealed) > 0 {
		path := sealed[s.rng.IntN(len(sealed))]
		data, _ := fs.Get(path)
		at := s.rng.IntN(len(data))
		data[at] ^= 1 << s.rng.IntN(8)
		fs.Put(path, data)
		s.ledger.event("byte %d of %s of %s rots", at, filepath.Base(path), m.name)
	}
	if s.rng.IntN(2) == 0 {
		s.while()
	}
	m.boot()
}

// openLog opens a machine's log as the program does.
func (l *simLife) openLog() (*aof.Log, *Recovery, error) {
	log, recovery, err := l.tryLog()
	for _, all := range []bool{false, true} {
		if !errors.Is(err, aof.ErrDamaged) {
			break
		}
		if err := PutAside(l.fsys, simDir, l.m.name, err, all, l.m.s.logger(l.m.name)); err != nil {
			return nil, nil, err
		}
		log, recovery, err = l.tryLog()
	}
	return log, recovery, err
}

func (l *simLife) tryLog() (*aof.Log, *Recovery, error) {
	l.state.mu.Lock()
	l.state.last, l.state.next = 0, map[uint32]uint64{}
	l.state.mu.Unlock()
	index, err := l.state.load(l.fsys)
	if err != nil {
		return nil, nil, err
	}
	recovery := NewRecovery(index, func(f record.Frame) error { l.state.take(&f); return nil })
	log, err := aof.Open(aof.Options{
		Dir: simDir, FS: l.fsys, SegmentBytes: simSegmentBytes, FrameBytesMax: simFrameBytes, TailBytes: 4 * simSegmentBytes,
		Logger: l.m.s.logger(l.m.name), Committed: recovery.Committed, ReplayAfter: index, OnSealed: l.sealed, OnDamage: recovery.Damaged,
	}, recovery.Frame)
	return log, recovery, err
}

// startOver is Options.Restart.
func (l *simLife) startOver() error {
	l.m.s.ledger.event("%s starts over", l.m.name)
	l.m.s.running.Go(func() {
		l.m.end(l, (*simnet.Host).Kill, (*simDisk).kill)
		l.m.boot()
	})
	<-l.dead
	return errors.New("it has ended")
}

// rot is everyFault with rotting bits, and more time without one, so that logs become whole.
func rot() faults {
	f := everyFault
	f.lasting, f.rotting = 30*time.Second, true
	f.odds = append([]odd{{4, rotDisk}}, f.odds...)
	return f
}

func TestSimRot(t *testing.T) {
	t.Parallel()
	first, n := simRuns(2)
	seen := map[string]int{}
	for seed := first; seed < first+uint64(n); seed++ {
		r := simulate(t, seed, 3, unsafeOptions{}, rot())
		if len(r.harm) > 0 {
			t.Errorf("seed %d:\n%s", seed, r.explain())
		}
		for what, n := range r.seen {
			seen[what] += n
		}
	}
	for _, what := range []string{putAsideLine, wholeLine} {
		t.Logf("%d times: %s", seen[what], what)
		if seen[what] == 0 && !simRace {
			t.Errorf("never: %s", what)
		}
	}
}

const (
	putAsideLine = "the log is damaged: what cannot be read, and all behind it, goes to the directory quarantine; the other nodes have it"
	wholeLine    = "the damaged log is whole again"
)

// Without the bound the same faults lose what was acknowledged.
func TestSimRotWithoutTheBound(t *testing.T) {
	if simRace {
		t.Skip("what the schedules find does not depend on the race detector")
	}
	t.Parallel()
	f := rot()
	f.odds = append([]odd{{6, witnessRots}}, f.odds...)
	first, _ := simRuns(0)
	for seed := first; seed < first+simControlRuns; seed++ {
		if r := simulate(t, seed, 3, unsafeOptions{noBound: true}, f); len(r.harm) > 0 {
			t.Logf("found with seed %d: %s", seed, r.harm[0])
			return
		}
	}
	t.Errorf("%d seeds showed no harm", simControlRuns)
}

// witnessRots lets only the last machine and one other receive anything for a while; then everybody stops, the last one rots, and the
// other comes late.
func witnessRots(s *sim, _ *simMachine) {
	last, other, late := s.machines[2], s.machines[0], s.machines[1]
	if s.rng.IntN(2) == 0 {
		other, late = late, other
	}
	s.net.Heal()
	s.split([]*simMachine{late}, []*simMachine{last, other})
	time.Sleep(2 * time.Second)
	other.powerOff()
	late.powerOff()
	rotDisk(s, last)
	late.boot()
	s.net.Heal()
	s.late(other)
}
