package aof_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"ayder/aof"
	"ayder/internal/record"
	"ayder/internal/testkit"
)

// checkpoint makes one after index, and after one frame less the one before.
func (x *follower) checkpoint(index uint64) {
	x.t.Helper()
	for _, i := range []uint64{index - 1, index} {
		if err := x.log.WriteCheckpoint(i, []byte("state")); err != nil {
			x.t.Fatal(err)
		}
	}
	x.o.ReplayAfter = index
}

func (x *follower) mustDrop(index uint64) {
	x.t.Helper()
	if err := x.log.DropBefore(index); err != nil {
		x.t.Fatal(err)
	}
}

// Whole segments go, with their sidecars, and all that was in them; what follows stays readable, appendable and recoverable.
func TestDropBefore(t *testing.T) {
	x := newFollower(t, small)
	x.fill(6, 3000, true) // 9 frames each
	x.put(0, 300)
	second, third := uint64(10), uint64(19)
	x.checkpoint(x.last())
	for _, c := range []struct {
		index, first uint64
		segments     int
	}{{0, 1, 6}, {second - 1, 1, 6}, {second, second, 5}, {second + 1, second, 5}, {third + 5, third, 4}, {5, third, 4}} {
		x.mustDrop(c.index)
		x.drop(c.first)
		if got := x.log.FirstIndex(); got != c.first || x.count(".aof") != c.segments || x.log.Stats().Segments.Load() != int64(c.segments) {
			t.Fatalf("before %d: first index %d, %d segments, want %d and %d", c.index, got, x.count(".aof"), c.first, c.segments)
		}
		x.verify()
	}
	if x.count(".idx") != 3 {
		t.Errorf("sidecars left: %v", x.fs.Paths())
	}
	x.put(300)
	x.reopen()
	x.mustDrop(1 << 40)
	if x.log.FirstIndex() <= third {
		t.Error("not dropped after reopening")
	}
	x.drop(x.log.FirstIndex())
	x.verify()
	x.thread.Close()
	if err := x.log.Close(); err != nil {
		t.Fatal(err)
	}
	mustCheck(t, x.fs)
}

// What a restart may need stays: the frame that the older of two checkpoints was made at, and what is behind it.
func TestDropBeforeKeeps(t *testing.T) {
	x := newFollower(t, small)
	x.fill(4, 3000, true)
	x.mustDrop(1 << 40)
	x.verify() // no checkpoint, nothing goes
	if err := x.log.WriteCheckpoint(10, nil); err != nil {
		t.Fatal(err)
	}
	if err := x.log.WriteCheckpoint(20, nil); err != nil {
		t.Fatal(err)
	}
	x.mustDrop(1 << 40)
	mustEqual(t, x.log.FirstIndex(), 10)
	x.drop(10)
	x.verify()
}

// A segment that has no sidecar yet is still in the hands of keeper and indexer.
func TestDropBeforeKeepsWhatHasNoSidecar(t *testing.T) {
	x := newFollower(t)
	x.fill(2, 3000, false)
	if err := x.log.WriteCheckpoint(x.last(), nil); err != nil {
		t.Fatal(err)
	}
	x.mustDrop(1 << 40)
	x.verify()
	x.log.Step()
	x.mustDrop(1 << 40)
	mustEqual(t, x.log.FirstIndex(), x.last())
}

// The frame that a checkpoint was made at stays, although nothing is replayed from it: Raft asks for its term, and with a checkpoint and no frame
// a restart would call the log lost.
func TestDropBeforeKeepsTheCheckpointsFrame(t *testing.T) {
	x := newFollower(t)
	x.fill(2, 3000, true)
	sealed := x.last() - 1
	x.cut(sealed)
	x.log.Step()
	if err := x.log.WriteCheckpoint(sealed, nil); err != nil {
		t.Fatal(err)
	}
	x.o.ReplayAfter = sealed
	x.mustDrop(1 << 40)
	x.add(300) // not durable
	mustEqual(t, x.log.Stats().Segments.Load(), 2)
	x.mustDrop(1 << 40)
	x.verify()
	x.fs.Crash()
	x.log.Abandon()
	x.forget(sealed)
	x.mustOpen()
	x.verify()
}

// A power cut at any step leaves a log that begins a little earlier, at most.
func TestDropBeforePowerLoss(t *testing.T) {
	for seed := range uint64(4) {
		for step := 1; ; step++ {
			s := &stepFS{MemFS: testkit.NewMemFS(seed), left: 1 << 30}
			x := newFollower(t, small, func(o *aof.Options) { o.FS = s })
			x.fs = s.MemFS
			x.fill(5, 3000, true)
			x.checkpoint(x.last())
			s.left = step
			if err := x.log.DropBefore(25); err == nil {
				break
			} else if !errors.Is(err, errDark) {
				t.Fatal(err)
			}
			x.log.Abandon()
			s.left = 1 << 30
			mustCheck(t, x.fs)
			x.mustOpen()
			first := x.log.FirstIndex()
			if !slices.Contains([]uint64{1, 10, 19}, first) {
				t.Fatalf("seed %d, step %d: first index %d", seed, step, first)
			}
			x.drop(first)
			x.verify()
			x.put(300)
			x.mustDrop(25)
			x.drop(19)
			x.reopen()
		}
	}
}

func TestDropBeforeFails(t *testing.T) {
	x := newFollower(t)
	x.fill(3, 3000, true)
	x.checkpoint(x.last())
	x.fs.FailSync(1)
	if x.log.DropBefore(20) == nil || x.log.Err() == nil {
		t.Error("a failed sync is survived")
	}
}

// Readers that are in the segments that go look again.
func TestDropBeforeBesideReaders(t *testing.T) {
	for _, tail := range []int64{rigSegment, 40 * rigSegment} { // from files, from memory
		x := newThreaded(t, func(o *aof.Options, _ *aof.ThreadOptions) { o.TailBytes = tail })
		const frames = 300
		for range frames {
			x.append(x.batch(2000))
		}
		if !x.thread.WaitDurable(frames) {
			t.Fatal("not durable")
		}
		if err := x.log.WriteCheckpoint(frames, nil); err != nil {
			t.Fatal(err)
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
					next := uint64(0)
					at, err := r.Read(one, 0, frames, true, func(sec record.Section) bool {
						if sec.Base < next {
							t.Errorf("offset %d behind %d", sec.Base, next)
						}
						next = sec.Base + uint64(sec.Count)
						return true
					})
					if err != nil || at != frames {
						t.Errorf("read up to %d: %v", at, err)
						return
					}
				}
			}()
		}
		index := uint64(1)
		for guard := time.Now().Add(hangGuard); index <= frames || x.log.FirstIndex() < 200; index += 7 { // a segment stays until it has its sidecar
			if err := x.log.DropBefore(min(index, frames)); err != nil {
				t.Fatal(err)
			}
			if time.Now().After(guard) {
				t.Fatalf("first index %d", x.log.FirstIndex())
			}
		}
		close(stop)
		readers.Wait()
		x.close()
	}
}
