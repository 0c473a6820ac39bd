package raftlog

import (
	"encoding/json"
	"maps"
	"sync"

	"ayder/aof"
	"ayder/internal/record"
)

// simState is a node's state machine: the next offset of every stream. It checks what it is given against what it has and
// tells the ledger; and it can be kept in a checkpoint, so that a restart replays only what is behind it.
type simState struct {
	m *simMachine

	mu   sync.Mutex
	last uint64            // highest index applied, raft's own not counted
	next map[uint32]uint64 // by topic
}

// simCheckpoint is a checkpoint's payload.
type simCheckpoint struct {
	Last uint64
	Next map[uint32]uint64
}

// load makes the state that of the newest checkpoint and returns its index.
func (st *simState) load(fsys aof.FS) (index uint64, err error) {
	index, payload, err := aof.LoadCheckpoint(fsys, simDir, nil)
	if err != nil || index == 0 {
		return 0, err
	}
	var c simCheckpoint
	if err := json.Unmarshal(payload, &c); err != nil {
		return 0, err
	}
	st.last, st.next = c.Last, c.Next
	return index, nil
}

// save writes a checkpoint.
func (st *simState) save(log *aof.Log) (index uint64, err error) {
	st.mu.Lock()
	c := simCheckpoint{st.last, maps.Clone(st.next)}
	st.mu.Unlock()
	payload, err := json.Marshal(c)
	if err != nil {
		return 0, err
	}
	return c.Last, log.WriteCheckpoint(c.Last, payload)
}

// offsets are where a new leader goes on.
func (st *simState) offsets() map[uint32]uint64 {
	st.mu.Lock()
	defer st.mu.Unlock()
	return maps.Clone(st.next)
}

// index is the highest one applied.
func (st *simState) index() uint64 {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.last
}

// take applies a frame. Those that raft made for itself are not the state machine's.
func (st *simState) take(f *record.Frame) {
	if f.Kind != record.KindBatch {
		return
	}
	x := factOf(f)
	st.mu.Lock()
	defer st.mu.Unlock()
	st.checkOrder(f.Index)
	st.checkSafe(f.Index, &x)
	st.m.s.ledger.applied(st.m.name, f.Index, x)
	st.last = f.Index
	it := f.Iter()
	for sec, ok := it.Next(); ok; sec, ok = it.Next() {
		if want := st.next[sec.Stream.Topic]; sec.Base != want {
			st.m.s.ledger.reportHarm("%s applies index %d with offset %d of %v, next is %d", st.m.name, f.Index, sec.Base, sec.Stream, want)
		}
		st.next[sec.Stream.Topic] = sec.Base + uint64(sec.Count)
	}
}

// checkOrder: indexes grow, and no command is left out.
func (st *simState) checkOrder(index uint64) {
	l := st.m.s.ledger
	if index <= st.last {
		l.reportHarm("%s applies index %d after %d", st.m.name, index, st.last)
	}
	for i := st.last + 1; i < index; i++ {
		if l.known(i) {
			l.reportHarm("%s applies index %d and skips %d", st.m.name, index, i)
		}
	}
}

// checkSafe: what is applied for the first time is on the disks of a majority.
func (st *simState) checkSafe(index uint64, x *fact) {
	s := st.m.s
	if s.changing || s.rotting.Load() || s.ledger.known(index) {
		return
	}
	if n := s.holders(st.m, index, x); n <= len(s.machines)/2 {
		s.ledger.reportDanger("%s applies index %d, which is on %d disks", st.m.name, index, n)
	}
}
