package testkit

import (
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
)

// MemFS implements aof.FS. What it promises is what docs/FORMAT.md assumes of disks, and no more:
//
//   - a sector of 512 bytes is written whole or not at all;
//   - a write-through write that completed, and data before a Sync that returned nil, survive a crash;
//   - names survive as of some moment at or after the last SyncDir: changes of names happen in order;
//   - everything else may or may not have reached the disk, sector by sector.
//
// All files share one set of names; directories are prefixes.
type MemFS struct {
	mu      sync.Mutex
	rng     *rand.Rand
	names   map[string]*inode // as programs see them
	durable map[string]*inode // as the disk has them
	changes []nameChange      // between the two, in order
	locks   map[string]bool
	life    int // grows at every crash; files opened in an earlier life are dead

	space      int64 // bytes that files may still grow by
	failWrite  int   // fail the n-th durable write from now, 0: none
	failSync   int
	failOpen   error
	shortOneIn int // one durable write of n is short, 0: none
	writes     int // durable writes completed

	pace atomic.Pointer[func(bytes int)] // see Pace
}

// inode is a file's content, twice.
type inode struct {
	data    []byte         // as programs see it
	disk    []byte         // as it would be after a crash now, were nothing more written back
	dirty   map[int64]bool // sectors of data that disk may lack
	pending []*Pending     // durable writes in flight
}

// nameChange is one change of a name: to from nil is a removal, from "" a creation.
type nameChange struct {
	from, to string
	node     *inode
}

// SectorBytes is what is written whole or not at all.
const SectorBytes = 512

// unlimited is the space of a file system that is never full.
const unlimited = 1 << 60

// NewMemFS returns an empty file system whose choices follow from the seed.
func NewMemFS(seed uint64) *MemFS {
	return &MemFS{
		rng: rand.New(rand.NewPCG(seed, 0x6d656d6673)), names: map[string]*inode{}, durable: map[string]*inode{},
		locks: map[string]bool{}, space: unlimited,
	}
}

// SetSpace sets how many bytes files may still grow by; removing a file gives its bytes back. A negative n means no limit.
func (m *MemFS) SetSpace(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n < 0 {
		n = unlimited
	}
	m.space = n
}

// FailWrite makes the n-th durable write from now fail with EIO, after some of its sectors were written.
func (m *MemFS) FailWrite(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failWrite = n
}

// FailSync makes the n-th Sync from now fail with EIO; what it should have written may then never be.
func (m *MemFS) FailSync(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failSync = n
}

// FailOpens makes every Open fail with err, until it is nil: as when the process has no descriptor left.
func (m *MemFS) FailOpens(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failOpen = err
}

// ShortWrites makes about one durable write in n stop at a block before its end, without an error.
func (m *MemFS) ShortWrites(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shortOneIn = n
}

// DurableWrites is how many durable writes completed well.
func (m *MemFS) DurableWrites() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.writes
}

// Crash cuts the power: files in use are dead, locks are gone, and of everything that was not durable each sector
// survives or not by the toss of a coin that itself is loaded anew for every file.
func (m *MemFS) Crash() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.life++
	m.locks = map[string]bool{}
	for _, c := range m.changes[:m.rng.IntN(len(m.changes)+1)] {
		c.apply(m.durable)
	}
	m.changes = nil
	seen := map[*inode]bool{}
	for _, path := range slices.Sorted(maps.Keys(m.durable)) {
		if n := m.durable[path]; !seen[n] {
			seen[n] = true
			n.crash(m.rng)
		}
	}
	m.names = maps.Clone(m.durable)
}

// Kill ends the process, not the machine: files in use are dead and locks gone, but whatever was written stays, and durable
// writes in flight land later: when somebody waits for them (Settle), at the latest when the file is next
// opened for durable writes. They land without their sync.
func (m *MemFS) Kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.life++
	m.locks = map[string]bool{}
}

// DropPending makes durable writes in flight never reach the disk.
func (m *MemFS) DropPending() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.names {
		n.pending = nil
	}
}

// land completes the writes that dead processes left in flight.
func (m *MemFS) land(n *inode) {
	n.pending = slices.DeleteFunc(n.pending, func(p *Pending) bool {
		if p.f.life == m.life {
			return false
		}
		for at := 0; at < len(p.shot); at += SectorBytes {
			n.data = putSector(n.data, p.shot, int64(at), p.off)
			n.dirty[(p.off+int64(at))/SectorBytes] = true
		}
		return true
	})
}

func (c *nameChange) apply(names map[string]*inode) {
	if c.from != "" {
		delete(names, c.from)
	}
	if c.to != "" {
		names[c.to] = c.node
	}
}

// crash leaves of a file what the disk has.
func (n *inode) crash(rng *rand.Rand) {
	odds := rng.IntN(101)
	for _, s := range slices.Sorted(maps.Keys(n.dirty)) {
		if rng.IntN(100) < odds {
			n.disk = putSector(n.disk, n.data, s*SectorBytes, 0)
		}
	}
	for _, p := range n.pending {
		odds := rng.IntN(101)
		for at := 0; at < len(p.shot); at += SectorBytes {
			if rng.IntN(100) < odds {
				n.disk = putSector(n.disk, p.shot, int64(at), p.off)
			}
		}
	}
	n.dirty, n.pending = map[int64]bool{}, nil
	n.data = slices.Clone(n.disk)
}

// putSector copies the sector at src[at] to disk[at+shift], growing disk with zeros.
func putSector(disk, src []byte, at, shift int64) []byte {
	if at >= int64(len(src)) {
		return disk
	}
	part := src[at:min(at+SectorBytes, int64(len(src)))]
	disk = grown(disk, at+shift+int64(len(part)))
	copy(disk[at+shift:], part)
	return disk
}

func grown(b []byte, size int64) []byte {
	if n := size - int64(len(b)); n > 0 {
		b = append(b, make([]byte, n)...)
	}
	return b
}

func (m *MemFS) syncFails() bool {
	if m.failSync == 0 {
		return false
	}
	m.failSync--
	return m.failSync == 0
}

func (m *MemFS) change(c nameChange) {
	c.apply(m.names)
	m.changes = append(m.changes, c)
}

// free gives a file's bytes back.
func (m *MemFS) free(n *inode) {
	if m.space < unlimited {
		m.space += int64(len(n.data))
	}
}

// Paths returns every file's path, sorted.
func (m *MemFS) Paths() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.names))
}

// Get returns a file's content as programs see it.
func (m *MemFS) Get(path string) ([]byte, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.names[path]
	if n == nil {
		return nil, false
	}
	return slices.Clone(n.data), true
}

// Put replaces a file's content, durably: damage done by the test.
func (m *MemFS) Put(path string, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := &inode{data: slices.Clone(data), disk: slices.Clone(data), dirty: map[int64]bool{}}
	m.names[path], m.durable[path] = n, n
}

// Delete removes a file, durably.
func (m *MemFS) Delete(path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.names, path)
	delete(m.durable, path)
}
