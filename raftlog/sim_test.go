package raftlog

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"ayder/internal/testkit/simnet"
)

// A cluster in virtual time. Three or five nodes run in one process and one synctest bubble: the real aof.Log, the real
// Node, the real transport and hashicorp/raft, on disks that forget what was not synced (testkit.MemFS) and a network that
// partitions (testkit/simnet). A seed makes the schedule of faults, the disks' and the network's delays and what is lost in a power failure;
// the order in which goroutines run it does not make, so a seed finds a violation again often, not always.
//
//	sim_test.go           a cluster: run it, heal it, judge it; the tests
//	sim_faults_test.go    random faults
//	sim_guards_test.go    the same without one of the gates R1 to R4: the judge must notice
//	sim_directed_test.go  schedules that are written out
//	sim_rot_test.go       bits that rot
//	sim_machine_test.go   a computer and its process
//	sim_disk_test.go      its disk
//	sim_state_test.go     its state machine
//	sim_loop_test.go      its loop, and the clients
//	sim_ledger_test.go    what is observed, and the verdict
//	sim_watch_test.go     what nodes say of themselves, checked
//	sim_log_test.go       what nodes log, counted
//	sim_leaks_test.go     what raft leaves behind
//
// Twenty virtual seconds take well under a real one. `go test` runs a few seeds; AYDER_SIM_RUNS=n runs n seeds a test, from AYDER_SIM_SEED
// on (both optional), and AYDER_SIM_LOG=1 prints what the nodes log.
//
// Every goroutine of a bubble must block durably for time to move, and a mutex does not count: no code that runs
// here may hold a mutex, that somebody else wants, while it waits for disk, network or clock.
type sim struct {
	t        *testing.T
	seed     uint64
	changing bool // the membership changes: what a majority is, the observer does not know
	net      *simnet.Network
	ledger   *ledger
	machines []*simMachine
	peers    []Peer
	founders int // machines that the cluster is founded with; the first one does it
	unsafe   unsafeOptions
	running  sync.WaitGroup // processes, dead ones that are being shut down included
	rng      *rand.Rand     // the schedule's
	crashes  atomic.Int64
	watching sync.WaitGroup
	stopping atomic.Bool // nothing boots any more
	rotting  atomic.Bool // a disk may have less than it says; nothing is dropped

	mu      sync.Mutex
	answers map[string]int
	boots   uint64
	buried  []*raft.Raft
	seen    map[string]int
}

// simResult is what a run came to. seen counts what nodes logged, by message: whether the run tested anything.
type simResult struct {
	crashes, acks int
	seen          map[string]int
	answers       map[string]int
	harm, danger  []string
	trace         []string
}

const (
	simSettle   = 30 * time.Second // virtual; healed nodes agree within that time, or never
	simClients  = 6
	simManyRuns = 20  // so many must have seen everything
	simKept     = 100 // indexes that are kept although all have them
)

// newSim makes a cluster of n machines. Those whose number is below up run.
func newSim(t *testing.T, seed uint64, n int, unsafe unsafeOptions) *sim {
	s := &sim{
		t: t, seed: seed, net: simnet.New(seed), ledger: newLedger(), unsafe: unsafe, founders: n,
		rng: rand.New(rand.NewPCG(seed, 0x73696d)), answers: map[string]int{}, seen: map[string]int{},
	}
	for i := range n {
		name := fmt.Sprintf("n%d", i+1)
		s.peers = append(s.peers, Peer{ID: name, RaftAddr: simAddr(name), HTTPAddr: name + ":80", Priority: 100 - 10*i})
		s.machines = append(s.machines, &simMachine{s: s, name: name, disk: newSimDisk(seed*100 + uint64(i))})
	}
	return s
}

// holders counts the disks that have a frame; the asker's own counts while it recovers.
func (s *sim) holders(asker *simMachine, index uint64, x *fact) (n int) {
	for _, m := range s.machines {
		if m == asker && m.node() == nil || m.holds(index, x) {
			n++
		}
	}
	return n
}

// floor is an index below which no machine needs anything: all have it applied and on disk.
func (s *sim) floor() uint64 {
	if s.rotting.Load() {
		return 0
	}
	floor := uint64(math.MaxUint64)
	for _, m := range s.machines {
		floor = min(floor, m.settled())
	}
	return floor - min(floor, simKept)
}

// skew draws how far a process's clock is ahead: mostly not at all, else up to an hour.
func (s *sim) skew() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.boots++
	return s.boots % 3 * 1_800_000
}

// peersOf is what a machine is told: the founders, and itself.
func (s *sim) peersOf(m *simMachine) []Peer {
	for i := s.founders; i < len(s.machines); i++ {
		if s.machines[i] == m {
			return append(slices.Clone(s.peers[:s.founders]), s.peers[i])
		}
	}
	return s.peers[:s.founders]
}

// serial tells whether a machine, when it leads, syncs before it replicates: one in five does, and they must get along.
func (s *sim) serial(m *simMachine) bool {
	return (s.seed+uint64(slices.Index(s.machines, m)))%5 == 0 && s.unsafe == unsafeOptions{}
}

func (s *sim) value(client string, n int) string { return fmt.Sprintf("%s-%d", client, n) }

// count notes what clients were answered.
func (s *sim) count(err error) {
	what := "acknowledged"
	switch {
	case errors.Is(err, errSimSilence):
		what = "silence"
	case errors.Is(err, ErrNotLeader):
		what = "not leader"
	case errors.Is(err, ErrLeadershipLost):
		what = "leadership lost"
	case err != nil:
		what = err.Error()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[what]++
}

func (s *sim) answered(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answers[what]
}

// clients starts clients and returns a function that stops them and waits.
func (s *sim) clients(n int) (stop func()) {
	var wg sync.WaitGroup
	end := make(chan struct{})
	for i := range n {
		c := &simClient{s: s, name: fmt.Sprintf("c%d", i), rng: rand.New(rand.NewPCG(s.seed, uint64(i)))}
		wg.Go(func() { c.run(end) })
	}
	return sync.OnceFunc(func() { close(end); wg.Wait() })
}

// heal ends every fault and boots what is down.
func (s *sim) heal() {
	s.ledger.event("all is healed")
	s.net.Heal()
	for _, m := range s.machines {
		m.disk.recover()
		if l := m.current(); l != nil {
			l.resume()
		}
		m.boot()
	}
}

// settle waits until every node has applied everything that any has, and nothing moves.
func (s *sim) settle() {
	deadline := time.Now().Add(simSettle)
	for !s.agreed() && time.Now().Before(deadline) {
		time.Sleep(50 * time.Millisecond)
	}
}

func (s *sim) agreed() bool {
	var index uint64
	for i, m := range s.machines {
		n := m.node()
		if n == nil || n.o.Log.Durable() != n.o.Log.LastIndex() || n.Applied() != n.o.Log.LastIndex() || i > 0 && n.Applied() != index {
			return false
		}
		index = n.Applied()
	}
	return true
}

// judge compares all nodes with the ledger, and their logs, raft's own entries included, with each other.
func (s *sim) judge() {
	if !s.agreed() {
		for _, m := range s.machines {
			s.ledger.reportHarm("after healing: %s", m.describe())
		}
		return
	}
	first := s.machines[0].node().o.Log
	from := uint64(1)
	for _, m := range s.machines {
		from = max(from, m.node().o.Log.FirstIndex())
	}
	for _, m := range s.machines {
		log := m.node().o.Log
		s.ledger.judge(m.name, m.current().state.index(), from, func(index uint64) (fact, error) { return entryFact(log, index) })
		for index := from; index <= first.LastIndex(); index++ {
			a, errA := entryFact(first, index)
			b, errB := entryFact(log, index)
			if errA != nil || errB != nil || !a.same(&b) {
				s.ledger.reportHarm("index %d: %s has %v (%v), %s has %v (%v)", index, s.machines[0].name, a, errA, m.name, b, errB)
			}
		}
	}
	s.ledger.close()
}

// stop ends all processes and waits for their goroutines.
func (s *sim) stop() {
	s.stopping.Store(true)
	for _, m := range s.machines {
		m.disk.recover()
		m.kill()
	}
	s.running.Wait()
	for _, r := range s.buried { // some futures were asked for while raft stopped
		answerStuck(r)
	}
}

// bury remembers a raft that has stopped.
func (s *sim) bury(r *raft.Raft) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buried = append(s.buried, r)
}

func (s *sim) result(crashes int) simResult {
	return simResult{
		crashes: crashes, acks: s.answers["acknowledged"], answers: s.answers, seen: s.seen,
		harm: s.ledger.harm, danger: s.ledger.danger, trace: s.ledger.trace,
	}
}

// simulate is one random run.
func simulate(t *testing.T, seed uint64, nodes int, unsafe unsafeOptions, f faults) (r simResult) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, seed, nodes, unsafe)
		for _, m := range s.machines {
			m.boot()
		}
		stop := s.clients(simClients)
		watched := s.watch()
		f.inflict(s)
		crashes := int(s.crashes.Load())
		if s.ledger.harmed() { // enough is known
			stop()
			watched()
			s.stop()
			r = s.result(crashes)
			return
		}
		s.heal()
		before := s.answered("acknowledged")
		time.Sleep(5 * time.Second)
		stop()
		if s.answered("acknowledged") == before {
			s.ledger.reportHarm("nothing is acknowledged after healing")
		}
		watched()
		s.settle()
		s.judge()
		s.stop()
		r = s.result(crashes)
	})
	return r
}

// simRuns is how many seeds a test runs, and the first.
func simRuns(short int) (first uint64, n int) {
	n = short
	if v, err := strconv.Atoi(os.Getenv("AYDER_SIM_RUNS")); err == nil {
		n = v
	}
	first = 1
	if v, err := strconv.ParseUint(os.Getenv("AYDER_SIM_SEED"), 10, 64); err == nil {
		first = v
	}
	return first, n
}

// runSims runs seeds and fails for every violation, harm and danger.
func runSims(t *testing.T, nodes, short int, f faults) {
	first, n := simRuns(short)
	if simRace {
		n, f.lasting = 1, f.lasting/4
	}
	total := simResult{answers: map[string]int{}, seen: map[string]int{}}
	for seed := first; seed < first+uint64(n); seed++ {
		r := simulate(t, seed, nodes, unsafeOptions{}, f)
		total.crashes, total.acks = total.crashes+r.crashes, total.acks+r.acks
		for what, n := range r.answers {
			total.answers[what] += n
		}
		for what, n := range r.seen {
			total.seen[what] += n
		}
		verdict := "ok"
		if len(r.harm)+len(r.danger) > 0 {
			verdict = "VIOLATION"
			t.Errorf("seed %d:\n%s", seed, r.explain())
		}
		t.Logf("seed %d: %d nodes, %d crashes, %d acknowledged: %s", seed, nodes, r.crashes, r.acks, verdict)
	}
	t.Logf("%d runs of %d nodes: %d crashes, %d acknowledged, answers %v", n, nodes, total.crashes, total.acks, total.answers)
	t.Logf("%s", total.events())
	if missing := total.unseen(); n >= simManyRuns && len(missing) > 0 {
		t.Errorf("never seen in %d runs: %q", n, missing)
	}
	if total.crashes < n || total.acks < 100*n {
		t.Errorf("%d crashes and %d acknowledgements in %d runs prove nothing", total.crashes, total.acks, n)
	}
}

// explain is the violations, and what led to them.
func (r *simResult) explain() string {
	var b []byte
	for _, list := range [][]string{r.harm, r.danger} {
		for _, v := range list[:min(5, len(list))] {
			b = fmt.Appendln(b, "  !", v)
		}
	}
	trace := r.trace
	if i := len(trace) - 120; i > 0 {
		trace = trace[i:]
	}
	for _, e := range trace {
		b = fmt.Appendln(b, "   ", e)
	}
	return string(b)
}

func TestSimThreeNodes(t *testing.T) {
	t.Parallel()
	runSims(t, 3, 3, everyFault)
}

func TestSimFiveNodes(t *testing.T) {
	t.Parallel()
	runSims(t, 5, 1, everyFault)
}
