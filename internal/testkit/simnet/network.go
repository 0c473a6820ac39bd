package simnet

import (
	"math/rand/v2"
	"sync"
	"time"
)

// A direction is blocked or open. What was sent in a blocked direction is not lost: as with TCP it is sent again, and
// arrives some time after the direction opened. Connections live through partitions until somebody's deadline
// ends them.

// Network is a set of machines that can reach each other until somebody blocks it.
type Network struct {
	mu       sync.Mutex
	rng      *rand.Rand
	delayMin time.Duration
	delayMax time.Duration
	machines map[string]*machine
	blocked  map[direction]bool
	pipes    map[*pipe]struct{} // of connections with at least one end open
}

// direction is one way between two machines.
type direction struct{ from, to string }

// machine is one host name.
type machine struct {
	name  string
	dark  bool // no power: nothing answers
	host  *Host
	boots int
}

const (
	delayMinDefault = 20 * time.Microsecond
	delayMaxDefault = 220 * time.Microsecond
	resendMax       = 200 * time.Millisecond // after a direction opened, at most that long until what was held arrives
	windowBytes     = 256 << 10              // bytes under way in one direction before its writer blocks
	dialRetry       = 50 * time.Millisecond  // between attempts to reach a machine that does not answer
	dialMax         = 30 * time.Second       // of a dial whose context has no deadline
)

// New returns a network without machines.
func New(seed uint64) *Network {
	return &Network{
		rng: rand.New(rand.NewPCG(seed, 0x6e6574)), delayMin: delayMinDefault, delayMax: delayMaxDefault,
		machines: map[string]*machine{}, blocked: map[direction]bool{}, pipes: map[*pipe]struct{}{},
	}
}

// SetDelay sets how long bytes travel from now on; equal values make it constant.
func (n *Network) SetDelay(least, most time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delayMin, n.delayMax = least, most
}

// delay draws a travel time. Under the lock.
func (n *Network) delay() time.Duration { return n.delayMin + n.upTo(n.delayMax-n.delayMin) }

func (n *Network) upTo(d time.Duration) time.Duration {
	return time.Duration(n.rng.Int64N(int64(d) + 1))
}

// Boot gives the machine power, if it had none, and starts a process on it, in whose hands the returned Host is. A
// process that is still running there is killed.
func (n *Network) Boot(name string) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := n.machines[name]
	if m == nil {
		m = &machine{name: name}
		n.machines[name] = m
	}
	if m.host != nil {
		m.host.end(true)
	}
	m.boots++
	m.dark = false
	m.host = &Host{net: n, name: name, listeners: map[string]*listener{}, conns: map[*conn]struct{}{}}
	m.host.wake = sync.NewCond(&n.mu)
	for p := range n.pipes {
		if p.to == name {
			p.refuse() // meant for an earlier life
		}
	}
	return m.host
}

// Block stops everything from one machine to another, one way.
func (n *Network) Block(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.blocked[direction{from, to}] = true
}

// Unblock opens one direction.
func (n *Network) Unblock(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open(direction{from, to})
}

// Heal opens every direction.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for d := range n.blocked {
		n.open(d)
	}
}

// open lets what was held in a direction arrive, each connection's in its own time. Under the lock.
func (n *Network) open(d direction) {
	if !n.blocked[d] {
		return
	}
	delete(n.blocked, d)
	for p := range n.pipes {
		if p.from == d.from && p.to == d.to {
			p.holdFor(n.upTo(resendMax))
			p.refuse()
		}
	}
}

// reachable tells whether both directions between two machines are open. Under the lock.
func (n *Network) reachable(a, b string) bool {
	return !n.blocked[direction{a, b}] && !n.blocked[direction{b, a}]
}
