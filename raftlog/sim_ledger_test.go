package raftlog

import (
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"ayder/internal/record"
)

// The ledger is what an observer who sees all nodes at once writes down during a simulation, and the judge of it. It knows
// nothing of raft: only which bytes some node applied at which index, what clients were told, and what must follow:
//
//   - at one index every node, in every life, applies the same frame (state machine safety);
//   - a node applies indexes in ascending order and skips no command that others applied;
//   - no value is applied at two indexes;
//   - every acknowledged value is applied, and was so by the node that acknowledged it;
//   - a frame is applied nowhere before the disks of a majority hold it;
//   - a node that says it may serve linearizable reads has applied everything acknowledged before.
//
// Violations are of two kinds. Harm is what a user would see; a danger is a promise broken that did none yet. The
// controls that take a guard away count harm only.
type ledger struct {
	mu      sync.Mutex
	frames  map[uint64]fact   // by index: what was applied first
	indexOf map[string]uint64 // by value
	acked   map[string]uint64 // by value: the index that the client was told
	newest  uint64            // highest index acknowledged
	harm    []string
	danger  []string
	trace   []string
	started time.Time
}

// fact is what identifies a frame: everything that replicas must agree on.
type fact struct {
	term, timeMs uint64
	sum          uint64 // of kind, flags, group, sections and payload
	values       []string
	node         string // who applied it first
}

func newLedger() *ledger {
	return &ledger{frames: map[uint64]fact{}, indexOf: map[string]uint64{}, acked: map[string]uint64{}, started: time.Now()}
}

// factOf reads a frame.
func factOf(f *record.Frame) fact {
	h := fnv.New64a()
	fmt.Fprint(h, f.Kind, f.Flags, f.Group, f.Sections)
	h.Write(f.Payload)
	x := fact{term: f.Term, timeMs: f.TimeMs, sum: h.Sum64()}
	if f.Kind != record.KindBatch {
		return x
	}
	it := f.Iter()
	for sec, ok := it.Next(); ok; sec, ok = it.Next() {
		records := sec.Records()
		for r, ok := records.Next(); ok; r, ok = records.Next() {
			x.values = append(x.values, string(r.Value))
		}
	}
	return x
}

func (x *fact) same(y *fact) bool {
	return x.term == y.term && x.timeMs == y.timeMs && x.sum == y.sum
}

// applied notes that a node applied a frame.
func (l *ledger) applied(node string, index uint64, x fact) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x.node = node
	first, known := l.frames[index]
	if known {
		if !first.same(&x) {
			l.harmf("index %d: %s applied %v of term %d, %s had applied %v of term %d", index, node, x.values, x.term, first.node, first.values, first.term)
		}
		return
	}
	l.frames[index] = x
	for _, v := range x.values {
		if at, ok := l.indexOf[v]; ok {
			l.harmf("value %s is applied at index %d and at index %d", v, at, index)
		}
		l.indexOf[v] = index
	}
}

// known tells whether some node has applied index.
func (l *ledger) known(index uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.frames[index]
	return ok
}

// acknowledge notes that a client was told that its value is at index.
func (l *ledger) acknowledge(node, value string, index uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.indexOf[value]; !ok || at != index {
		l.harmf("%s acknowledged %s at index %d, applied at %d", node, value, index, at)
	}
	l.acked[value] = index
	l.newest = max(l.newest, index)
}

// acknowledged is the highest index that a client was told of.
func (l *ledger) acknowledged() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.newest
}

// judge compares what a node has applied in its life, and what its log holds from an index on, with what is known at the end.
func (l *ledger) judge(node string, applied, from uint64, entry func(index uint64) (fact, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.last()
	if applied < last {
		l.harmf("%s has applied up to index %d, others up to %d", node, applied, last)
	}
	for _, index := range l.indexes() {
		want := l.frames[index]
		if index < from {
			continue
		}
		if got, err := entry(index); err != nil {
			l.harmf("%s: the log's index %d: %v", node, index, err)
		} else if !got.same(&want) {
			l.harmf("%s: the log's index %d holds %v of term %d, applied was %v of term %d", node, index, got.values, got.term, want.values, want.term)
		}
	}
}

// close checks that nothing acknowledged is missing, and that time goes forward along the log.
func (l *ledger) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := uint64(0)
	for _, index := range l.indexes() {
		if t := l.frames[index].timeMs; t < now {
			l.harmf("index %d has the time %d ms, before it was %d", index, t, now)
		}
		now = max(now, l.frames[index].timeMs)
	}
	for v, index := range l.acked {
		if at, ok := l.indexOf[v]; !ok || at != index {
			l.harmf("acknowledged value %s of index %d is lost", v, index)
		}
	}
}

// harmed tells whether harm was seen.
func (l *ledger) harmed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.harm) > 0
}

// last is the highest index that anybody applied.
func (l *ledger) last() (index uint64) {
	for i := range l.frames {
		index = max(index, i)
	}
	return index
}

func (l *ledger) indexes() []uint64 {
	all := make([]uint64, 0, len(l.frames))
	for i := range l.frames {
		all = append(all, i)
	}
	slices.Sort(all)
	return all
}

// harmf notes harm. Under the lock.
func (l *ledger) harmf(format string, args ...any) {
	if len(l.harm) < 10 {
		l.harm = append(l.harm, l.note(format, args...))
	}
}

// reportHarm and reportDanger are for others than the ledger itself.
func (l *ledger) reportHarm(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.harmf(format, args...)
}

func (l *ledger) reportDanger(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.danger) < 10 {
		l.danger = append(l.danger, l.note(format, args...))
	}
}

// event notes what happened, for whoever reads about a violation.
func (l *ledger) event(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.note(format, args...)
}

func (l *ledger) note(format string, args ...any) string {
	line := fmt.Sprintf("%12v ", time.Since(l.started)) + fmt.Sprintf(format, args...)
	l.trace = append(l.trace, line)
	return line
}
