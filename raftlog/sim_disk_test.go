package raftlog

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"ayder/aof"
	"ayder/internal/testkit"
)

// simDisk is a node's disk: it survives the node's lives. A write takes 0.1 to 0.5 ms and whatever a fault adds; a hung one
// takes until the disk recovers or the machine is gone. Only what the log's thread writes and the node's state take
// time: aof and raftlog may hold a mutex while they do other things to files, and a goroutine that waits for a mutex stops
// virtual time. So that the power can fail in the middle of those, too, a power failure may be set to come with the n-th
// operation from now, whatever that is.
type simDisk struct {
	fs *testkit.MemFS

	mu     sync.Mutex
	change *sync.Cond
	rng    *rand.Rand
	slow   time.Duration // added to every write and sync
	hung   bool
	broken bool // a write fails
	full   bool
	stuck  bool // the log's writes hang, the state's do not
	held   bool // the machine is paused: its process waits for its writes
	fuse   int  // operations until blow is called; 0: never
	blow   func()
}

func newSimDisk(seed uint64) *simDisk {
	d := &simDisk{fs: testkit.NewMemFS(seed), rng: rand.New(rand.NewPCG(seed, 0x6469736b))}
	d.change = sync.NewCond(&d.mu)
	d.fs.Pace(d.pace)
	return d
}

// pace takes an operation's time.
func (d *simDisk) pace(int) {
	if blow := d.burn(); blow != nil {
		blow()
	}
	caller := calledBy(threadWrite, stateWrite)
	if caller == "" {
		return
	}
	d.mu.Lock()
	t := 100*time.Microsecond + time.Duration(d.rng.IntN(400))*time.Microsecond + d.slow
	d.mu.Unlock()
	time.Sleep(t)
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.hung || d.held || d.stuck && caller == threadWrite {
		d.change.Wait()
	}
}

// burn counts an operation, and returns what has to happen at it.
func (d *simDisk) burn() func() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fuse == 0 {
		return nil
	}
	if d.fuse--; d.fuse > 0 {
		return nil
	}
	return d.blow
}

// Who may wait, see above, and who must not be told that a file is gone.
const (
	threadWrite  = "aof.(*Thread).write"
	stateWrite   = "raftlog.(*stable).write"
	applyEntries = "raft.(*Raft).processLogs"
)

// calledBy tells which of some functions the caller is in, "" for none.
func calledBy(functions ...string) string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		f, more := frames.Next()
		for _, who := range functions {
			if strings.HasSuffix(f.Function, who) {
				return who
			}
		}
		if !more {
			return ""
		}
	}
}

// set changes the disk's condition.
func (d *simDisk) set(fn func(d *simDisk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fn(d)
	d.change.Broadcast()
}

func (d *simDisk) slowDown(by time.Duration) { d.set(func(d *simDisk) { d.slow = by }) }
func (d *simDisk) hang()                     { d.set(func(d *simDisk) { d.hung = true }) }
func (d *simDisk) stick()                    { d.set(func(d *simDisk) { d.stuck = true }) }
func (d *simDisk) hold(held bool)            { d.set(func(d *simDisk) { d.held = held }) }

// recover makes the disk well.
func (d *simDisk) recover() {
	d.fs.FailWrite(0)
	d.fs.SetSpace(-1)
	d.set(func(d *simDisk) { d.slow, d.hung, d.stuck, d.broken, d.full, d.fuse = 0, false, false, false, false, 0 })
}

// break makes the n-th durable write from now fail. The process must end; its successor finds a good disk.
func (d *simDisk) breakAt(n int) {
	d.fs.FailWrite(n)
	d.set(func(d *simDisk) { d.broken = true })
}

// fill leaves room for a few bytes.
func (d *simDisk) fill(room int64) {
	d.fs.SetSpace(room)
	d.set(func(d *simDisk) { d.full = true })
}

// blowAt has blow called at the n-th operation from now, unless the machine is down before.
func (d *simDisk) blowAt(n int, blow func()) {
	d.set(func(d *simDisk) { d.fuse, d.blow = n, blow })
}

// ailing tells whether a fault is on.
func (d *simDisk) ailing() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.broken || d.hung || d.stuck || d.held || d.slow > 0
}

// powerOff loses what is not durable, in the way MemFS does. Writes that wait fail; the next life's disk is well.
func (d *simDisk) powerOff() {
	d.fs.FailWrite(0)
	d.fs.SetSpace(-1)
	d.fs.Crash()
	d.set(func(d *simDisk) {
		d.slow, d.hung, d.stuck, d.held, d.broken, d.full, d.fuse = 0, false, false, false, false, false, 0
	})
}

// kill ends the process: what it wrote stays, what it was writing lands.
func (d *simDisk) kill() {
	d.fs.FailWrite(0)
	d.fs.Kill()
	d.set(func(d *simDisk) { d.held, d.broken, d.fuse = false, false, 0 })
}

// mount is the disk as one process has it. When the process is dead its state file takes everything without an error:
// raft panics when it cannot save its term, and nobody hears of it any more.
func (d *simDisk) mount() aof.FS { return simMount{d.fs.Mount()} }

type simMount struct{ aof.FS }

func (o simMount) Open(path string, mode aof.Mode) (aof.File, error) {
	f, err := o.FS.Open(path, mode)
	endApplying(err)
	if !isState(path) {
		return simFile{f}, err
	}
	if errors.Is(err, testkit.ErrCrashed) {
		return blackHole{}, nil
	}
	return simStateFile{f}, err
}

func (o simMount) Rename(from, to string) error {
	if err := o.FS.Rename(from, to); !isState(to) || !errors.Is(err, testkit.ErrCrashed) {
		return err
	}
	return nil
}

func (o simMount) SyncDir(dir string) error {
	if err := o.FS.SyncDir(dir); !errors.Is(err, testkit.ErrCrashed) {
		return err
	}
	return nil
}

func isState(path string) bool { return strings.HasPrefix(filepath.Base(path), stateName) }

// simFile is a file of the log.
type simFile struct{ aof.File }

func (f simFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	endApplying(err)
	return n, err
}

func (f simFile) Size() (int64, error) {
	n, err := f.File.Size()
	endApplying(err)
	return n, err
}

// endApplying ends the goroutine if it is raft's and reads a committed entry on a machine that is gone: there it would panic.
func endApplying(err error) {
	if errors.Is(err, testkit.ErrCrashed) && calledBy(applyEntries) != "" {
		runtime.Goexit()
	}
}

// simStateFile is a state file whose writes do not fail for want of a machine.
type simStateFile struct{ aof.File }

func (f simStateFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(p, off)
	if errors.Is(err, testkit.ErrCrashed) {
		return len(p), nil
	}
	return n, err
}

func (f simStateFile) Sync() error {
	if err := f.File.Sync(); !errors.Is(err, testkit.ErrCrashed) {
		return err
	}
	return nil
}

// blackHole is a file of a machine that is gone.
type blackHole struct{ aof.File }

func (blackHole) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (blackHole) Sync() error                            { return nil }
func (blackHole) Close() error                           { return nil }
