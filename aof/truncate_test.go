package aof_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"ayder/aof"
	"ayder/internal/record"
	"ayder/internal/testkit"
)

// The states that a cut can find, by name: each leaves the log with more frames than the cut keeps.
var cuts = []struct {
	name  string
	state func(x *follower)
	last  func(x *follower) uint64
}{
	{"within the active segment", func(x *follower) { x.put(300, 500, 300, 0, 300, 4096, 300, 150, 300) }, lastIs(3)},
	{"frames that share a block with what stays", func(x *follower) { x.put(300, 300, 300, 300) }, lastIs(2)},
	{"frames of one write", func(x *follower) { x.add(300, 300, 300, 5000, 300, 0, 300); x.write() }, lastIs(2)},
	{"groups of several frames", func(x *follower) {
		for range 5 {
			x.add(300)
			x.add(300, 2000)
			x.add(300, 0)
			x.write()
		}
	}, lastIs(6)},
	{"the first frame of the segment stays", func(x *follower) { x.put(300, 300, 5000) }, lastIs(1)},
	{"everything", func(x *follower) { x.put(300, 300, 300) }, lastIs(0)},
	{"everything of several segments", func(x *follower) { x.fill(3, 6000, true); x.put(300) }, lastIs(0)},
	{"across a roll, sidecars made", func(x *follower) { x.fill(3, 6000, true); x.put(300) }, lastIs(3)},
	{"across a roll, spares not named", func(x *follower) { x.fill(2, 6000, false); x.put(300) }, lastIs(3)},
	{"the whole active segment, sidecar made", func(x *follower) { x.fill(3, 6000, true) }, lastBefore(1)},
	{"the whole active segment, spare not named", func(x *follower) { x.fill(2, 6000, false); x.put(300, 0) }, lastBefore(1)},
	{"back to a cold segment", func(x *follower) {
		x.fill(6, 3000, true)
		x.log.Step()
	}, lastIs(15)},
	{"a sealed segment's last frame", func(x *follower) { x.fill(3, 1000, true) }, func(x *follower) uint64 { return lastBefore(1)(x) - 1 }},
}

func lastIs(n uint64) func(*follower) uint64 { return func(*follower) uint64 { return n } }

// lastBefore is the last index before the n-th segment from the end.
func lastBefore(n int) func(*follower) uint64 {
	return func(x *follower) uint64 {
		var firsts []uint64
		for _, at := range (&rig{t: x.t, fs: x.fs}).positions() {
			var index uint64
			if _, err := fmt.Sscanf(at, "%d@", &index); err == nil && strings.HasSuffix(at, ":4096") {
				firsts = append(firsts, index)
			}
		}
		slices.Sort(firsts)
		return firsts[len(firsts)-n] - 1
	}
}

// small makes images few, so that older segments are cold.
func small(o *aof.Options) { o.TailBytes = 3 * rigSegment }

// After a cut the log is as if what was cut had never been: in memory, after reopening, and after the indexes were given
// out again, to fewer or to more bytes.
func TestTruncate(t *testing.T) {
	for _, c := range cuts {
		for _, size := range []int{200, 0, 3500} {
			t.Run(fmt.Sprintf("%s, then %d bytes", c.name, size), func(t *testing.T) {
				x := newFollower(t, small)
				c.state(x)
				x.verify()
				x.cut(c.last(x))
				x.verify()
				x.put(size, size, 150)
				x.verify()
				x.log.Step()
				x.reopen()
				x.put(300)
				x.fill(x.log.Stats().Segments.Load()+2, 2000, true)
				x.verify()
				x.reopen()
				x.thread.Close()
				if err := x.log.Close(); err != nil {
					t.Fatal(err)
				}
				if r := mustCheck(t, x.fs); r.Last != x.last() || r.Unacknowledged != 0 {
					t.Errorf("%+v", r)
				}
			})
		}
	}
}

// Reopening directly behind a cut finds just what was kept.
func TestTruncateThenReopen(t *testing.T) {
	for _, c := range cuts {
		t.Run(c.name, func(t *testing.T) {
			x := newFollower(t, small)
			c.state(x)
			x.cut(c.last(x))
			x.fs.Crash()
			x.log.Abandon()
			if r := mustCheck(t, x.fs); r.Last != x.last() || len(r.Warnings) != 0 {
				t.Errorf("%+v", r)
			}
			x.mustOpen()
			x.verify()
			x.put(300, 300)
			x.reopen()
		})
	}
}

// stepFS ends the machine's life at the n-th step that changes something: a durable write leaves any of its sectors.
type stepFS struct {
	*testkit.MemFS
	left int // steps; 0: dead
}

var errDark = errors.New("no power")

// step tells whether there still is power; with it gone for the first time, crash runs.
func (s *stepFS) step(torn func()) error {
	if s.left == 0 {
		return errDark
	}
	if s.left--; s.left == 0 {
		torn()
		s.Crash()
		return errDark
	}
	return nil
}

func nothing() {}

func (s *stepFS) Rename(from, to string) error {
	if err := s.step(nothing); err != nil {
		return err
	}
	return s.MemFS.Rename(from, to)
}

func (s *stepFS) Remove(path string) error {
	if err := s.step(nothing); err != nil {
		return err
	}
	return s.MemFS.Remove(path)
}

func (s *stepFS) SyncDir(dir string) error {
	if err := s.step(nothing); err != nil {
		return err
	}
	return s.MemFS.SyncDir(dir)
}

func (s *stepFS) Open(path string, mode aof.Mode) (aof.File, error) {
	if s.left == 0 {
		return nil, errDark
	}
	f, err := s.MemFS.Open(path, mode)
	if err != nil || mode == aof.ReadOnly {
		return f, err
	}
	if mode != aof.WriteThrough {
		return &stepNew{f, s}, nil
	}
	return &stepFile{f, s}, nil
}

// stepNew is a file that is being made.
type stepNew struct {
	aof.File
	s *stepFS
}

// WriteAt is not durable: what was written may or may not be there when the power goes.
func (f *stepNew) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(p, off)
	if err == nil {
		err = f.s.step(nothing)
	}
	return n, err
}

func (f *stepNew) Sync() error {
	if err := f.s.step(nothing); err != nil {
		return err
	}
	return f.File.Sync()
}

type stepFile struct {
	aof.File
	s *stepFS
}

// Begin makes a write that testkit.Submitter holds.
func (f *stepFile) Begin(p []byte, off int64) (*testkit.Pending, error) {
	return f.File.(interface {
		Begin(p []byte, off int64) (*testkit.Pending, error)
	}).Begin(p, off)
}

// WriteAt is torn when the power goes.
func (f *stepFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.s.step(func() { _, _ = f.Begin(p, off) }); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

// TestTruncatePowerLoss cuts the power at every step of every cut, several times: what is found is a log that ends between the
// new end and the old, nothing of it damaged; and after a second cut and other frames under the same indexes
// these are what is found.
func TestTruncatePowerLoss(t *testing.T) {
	seeds := uint64(6)
	if testing.Short() {
		seeds = 1
	}
	ends := map[bool]int{}
	for _, c := range cuts {
		for seed := range seeds {
			for step := 1; powerLoss(t, c.name, c.state, c.last, seed, step, ends); step++ {
			}
		}
	}
	if ends[true] == 0 || ends[false] == 0 {
		t.Errorf("cuts done at once and half done: %v", ends)
	}
}

// powerLoss is one run; false when the cut takes fewer steps.
func powerLoss(t *testing.T, name string, state func(*follower), cut func(*follower) uint64, seed uint64, step int, ends map[bool]int) bool {
	t.Helper()
	s := &stepFS{MemFS: testkit.NewMemFS(seed), left: 1 << 30}
	x := newFollower(t, small, func(o *aof.Options) { o.FS = s })
	x.fs = s.MemFS
	state(x)
	last, before := cut(x), x.last()
	s.left = step
	err := x.log.Truncate(last)
	if err == nil {
		return false
	}
	mustBe(t, err, errDark)
	x.log.Abandon()
	s.left = 1 << 30
	check := mustCheck(t, x.fs)
	if err := x.open(); err != nil {
		t.Fatalf("%s, seed %d, step %d: %v", name, seed, step, err)
	}
	got := x.log.LastIndex()
	if got < last || got > before || got != check.Last {
		t.Fatalf("%s, seed %d, step %d: last index %d, check says %d, cut behind %d of %d", name, seed, step, got, check.Last, last, before)
	}
	ends[got == last || got == before]++
	x.forget(got)
	x.verify()
	if seed%2 == 0 { // the term's leader cuts again; else its entries follow at once
		x.cut(last)
	}
	x.put(300, 150, 0, 2000)
	x.fs.Crash()
	x.log.Abandon()
	x.mustOpen()
	x.verify()
	x.log.Abandon()
	return true
}

// Without the zeroing a frame that was cut is found again.
func TestTruncateNeedsItsZeros(t *testing.T) {
	x := newFollower(t, (*aof.Options).KeepStale)
	x.put(300, 300, 300, 300)
	if err := x.log.Truncate(2); err != nil {
		t.Fatal(err)
	}
	x.forget(2)
	x.fs.Crash()
	x.log.Abandon()
	x.mustOpen()
	if x.compare() == nil {
		t.Error("not noticed")
	}
}

func TestTruncateRefuses(t *testing.T) {
	x := newFollower(t)
	x.fill(3, 3000, true)
	n := x.last()
	if err := x.log.WriteCheckpoint(5, nil); err != nil {
		t.Fatal(err)
	}
	if err := x.log.Truncate(4); err == nil || !strings.Contains(err.Error(), "checkpoint was made at index 5") {
		t.Error(err)
	}
	for _, last := range []uint64{n, n + 1} { // nothing to do
		if err := x.log.Truncate(last); err != nil {
			t.Error(err)
		}
	}
	x.verify()
	x.o.ReplayAfter = 5
	x.reopen()
	if err := x.log.Truncate(4); err == nil {
		t.Error("the loaded checkpoint is not minded")
	}
	x.cut(5)
	x.verify()
	x.reopen()
}

// A failed step of a cut stops the log: who knows what is on disk.
func TestTruncateFails(t *testing.T) {
	for what, fail := range map[string]func(*testkit.MemFS){
		"write": func(m *testkit.MemFS) { m.FailWrite(2) },
		"sync":  func(m *testkit.MemFS) { m.FailSync(1) },
	} {
		x := newFollower(t)
		x.put(300, 300, 300, 300)
		fail(x.fs)
		if err := x.log.Truncate(1); !errors.Is(err, syscall.EIO) {
			t.Error(what, err)
		}
		mustBe(t, x.thread.Append([]*record.Batch{x.make(150)}), aof.ErrFailed)
	}
}

// What a writer of a single node appended can be cut, too, once it is durable.
func TestTruncateBehindWriters(t *testing.T) {
	r := newRig(t)
	r.put(300)
	r.add(0, one, 300)
	if err := r.log.Truncate(1); err == nil {
		t.Error("cut with a write in flight")
	}
	r.loops[0].sub.CompleteAll()
	if err := r.log.Truncate(1); err != nil {
		t.Fatal(err)
	}
	r.next[one] = 1
	r.put(500)
	r.reopen()
	mustEqual(t, r.log.LastIndex(), 2)
	r.read(one, 2)
}

// Readers by offset and by index go on while the end is cut and grows again, over and over; Truncate itself waits for the
// thread's writes.
func TestTruncateBesideReaders(t *testing.T) {
	x := newThreaded(t, func(o *aof.Options, _ *aof.ThreadOptions) { o.TailBytes = rigSegment })
	const kept = 40
	for range kept {
		x.append(x.batch(2000))
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Add(1)
		go func() {
			defer readers.Done()
			r := x.log.NewReader()
			defer r.Close()
			for {
				select {
				case <-stop:
					return
				default:
				}
				next, err := r.Read(one, 0, kept, true, func(record.Section) bool { return true })
				if err != nil || next != kept {
					t.Errorf("read up to %d: %v", next, err)
					return
				}
				for index := uint64(kept - 3); index < kept+3; index++ {
					if h, _, err := x.log.Entry(index, nil); err == nil && h.Index != index || err != nil && (index <= kept || !errors.Is(err, aof.ErrNotFound)) {
						t.Errorf("entry %d: %+v %v", index, h, err)
						return
					}
				}
			}
		}()
	}
	for range 30 {
		for range 20 {
			x.append(x.batch(2000))
		}
		if err := x.log.Truncate(kept); err != nil {
			t.Fatal(err)
		}
		x.next = kept
	}
	close(stop)
	readers.Wait()
	mustEqual(t, x.log.LastIndex(), kept)
	x.close()
}
