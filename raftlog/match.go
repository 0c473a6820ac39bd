package raftlog

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// What this node knows, as a leader, of the others' disks: per peer the highest index that it acknowledged (gate R1 makes
// that a promise of its disk) and when the request was sent that it answered last. All of it belongs to one term: an
// acknowledgement of an older one may speak of entries that were replaced since, so a newer term, wherever it is seen,
// empties the table.
//
// Three things are read off the table. Safe is the larger of the local durable index and the index that a majority of
// the voters' disks hold: an entry that raft has committed (which needs a majority, this node's unsynced copy counted)
// and that is not beyond Safe is on a majority of disks. Everywhere is what every voter's disk holds. And the start of
// the lease is the instant at or after which a majority was asked, and agreed, that this node leads: by the time of
// asking, because the follower's promise begins when the request arrives, which is not earlier. Its end is found in the
// same way, from the ends of the promises, because not all need be of the same length (lease.go).
//
// Within a term Safe never goes back, even if a change of the membership lowers the median: the old and the new majority
// overlap, so what was safe stays safe.
//
// Waiters wait for a channel that is closed at the next progress, not for a sync.Cond: they must end with the node.

type matches struct {
	self     raft.ServerID
	voters   func() []raft.ServerID
	local    func() uint64 // durable index of this node
	lease    func(id raft.ServerID) time.Duration
	progress func()
	stop     <-chan struct{}

	majority atomic.Uint64 // written under mu, so that it belongs to term
	seen     atomic.Uint64 // = term

	mu    sync.Mutex
	term  uint64
	peers map[raft.ServerID]peerMatch
	void  bool          // no lease in this term any more
	wake  chan struct{} // nil: nobody waits
}

type peerMatch struct {
	match uint64
	sent  time.Time
}

func newMatches(o *transportOptions, stop <-chan struct{}) *matches {
	return &matches{
		self: raft.ServerID(o.Self().NodeID), voters: o.Voters, local: o.LocalDurable, lease: o.Lease, progress: o.OnProgress, stop: stop,
		peers: make(map[raft.ServerID]peerMatch),
	}
}

// observe notes that a term exists.
func (m *matches) observe(term uint64) {
	if term <= m.seen.Load() {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if term > m.term {
		m.begin(term)
	}
}

// begin empties the table. Under mu.
func (m *matches) begin(term uint64) {
	m.term, m.void = term, false
	clear(m.peers)
	m.majority.Store(0)
	m.seen.Store(term)
}

// answered notes that a peer agreed to a request of a term, sent at an instant, and that its disk holds index (0: the
// answer says nothing of its disk).
func (m *matches) answered(id raft.ServerID, term uint64, sent time.Time, index uint64) {
	m.observe(term)
	if !m.note(id, term, sent, index) {
		return
	}
	m.recompute()
}

// note reports whether the peer's match index grew.
func (m *matches) note(id raft.ServerID, term uint64, sent time.Time, index uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if term != m.term {
		return false
	}
	p := m.peers[id]
	grew := index > p.match
	p.match = max(p.match, index)
	if sent.After(p.sent) {
		p.sent = sent
	}
	m.peers[id] = p
	return grew
}

// noteLocal: the local durable index grew.
func (m *matches) noteLocal() { m.recompute() }

// recompute raises the majority's index and wakes who waits. The voters are asked outside the lock: whoever knows them
// may be calling.
func (m *matches) recompute() {
	if m.leads() {
		voters := m.voters()
		m.mu.Lock()
		if index := m.median(voters); index > m.majority.Load() {
			m.majority.Store(index)
		}
		m.mu.Unlock()
	}
	m.wakeAll()
	if m.progress != nil {
		m.progress()
	}
}

// leads tells that somebody acknowledged something in this term; on other nodes the table says nothing.
func (m *matches) leads() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.peers) > 0
}

func (m *matches) wakeAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.wake != nil {
		close(m.wake)
		m.wake = nil
	}
}

// median is the highest index that a majority of the voters' disks hold. Under mu.
func (m *matches) median(voters []raft.ServerID) uint64 {
	if len(voters) == 0 {
		return 0
	}
	var space [16]uint64
	held := space[:0]
	for _, id := range voters {
		held = append(held, m.disk(id))
	}
	slices.Sort(held)
	return held[(len(held)-1)/2]
}

// disk is the index up to which a voter's disk holds the log, as far as is known. Under mu.
func (m *matches) disk(id raft.ServerID) uint64 {
	if id == m.self {
		return m.local()
	}
	return m.peers[id].match
}

// safe bounds what may be committed, applied and shown. It never blocks.
func (m *matches) safe() uint64 { return max(m.local(), m.majority.Load()) }

// waitSafe returns when index <= safe; false: the node is stopping.
func (m *matches) waitSafe(index uint64) bool {
	for m.safe() < index {
		m.mu.Lock()
		if m.wake == nil {
			m.wake = make(chan struct{})
		}
		wake := m.wake
		m.mu.Unlock()
		if m.safe() >= index {
			return true
		}
		select {
		case <-wake:
		case <-m.stop:
			return false
		}
	}
	return true
}

// everywhere is the highest index that every voter's disk holds.
func (m *matches) everywhere() uint64 {
	voters := m.voters()
	if len(voters) == 0 {
		return 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	least := m.disk(voters[0])
	for _, id := range voters[1:] {
		least = min(least, m.disk(id))
	}
	return least
}

// holders is how many voters' disks hold index.
func (m *matches) holders(index uint64) int {
	voters := m.voters()
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, id := range voters {
		if m.disk(id) >= index {
			n++
		}
	}
	return n
}

// of is the match index of one peer in this term.
func (m *matches) of(id raft.ServerID) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.peers[id].match
}

// leaseStart is the latest instant such that a majority agreed to requests of this term that were sent at or after it.
// Zero: there is none. A voter without others is its own majority at any time.
func (m *matches) leaseStart() time.Time {
	voters := m.voters()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.void {
		return time.Time{}
	}
	return m.agreed(voters)
}

// agreedSince is leaseStart even where there is no lease any more: that nobody else was elected before they were asked holds
// whatever the others may do since.
func (m *matches) agreedSince() time.Time {
	voters := m.voters()
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.agreed(voters)
}

// agreed is called under mu.
func (m *matches) agreed(voters []raft.ServerID) time.Time {
	if len(voters) == 0 {
		return time.Time{}
	}
	var space [16]time.Time
	asked := space[:0]
	for _, id := range voters {
		if id == m.self {
			asked = append(asked, time.Now())
		} else {
			asked = append(asked, m.peers[id].sent)
		}
	}
	slices.SortFunc(asked, time.Time.Compare)
	return asked[(len(asked)-1)/2]
}

// leaseEnd is the latest instant at which the promises of a majority still hold, as far as each may be counted on.
// Zero: never. A promise of no length is none.
func (m *matches) leaseEnd() time.Time {
	voters := m.voters()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.void || len(voters) == 0 || m.lease == nil {
		return time.Time{}
	}
	var space [16]time.Time
	ends := space[:0]
	for _, id := range voters {
		length, sent := m.lease(id), m.peers[id].sent
		switch {
		case id == m.self:
			ends = append(ends, time.Now().Add(length))
		case length <= 0 || sent.IsZero():
			ends = append(ends, time.Time{})
		default:
			ends = append(ends, sent.Add(length))
		}
	}
	slices.SortFunc(ends, time.Time.Compare)
	return ends[(len(ends)-1)/2]
}

// voidLease ends the lease for the rest of the term. The next answer must not bring it back: once somebody was told to
// stand for election, the others may elect it at any later time, whatever they agreed to.
func (m *matches) voidLease() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.void = true
}
