package aof_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ayder/aof"
	"ayder/internal/testkit"
)

func (r *rig) mustCheckpoint(index uint64, payload string) {
	r.t.Helper()
	if err := r.log.WriteCheckpoint(index, []byte(payload)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) mustLoad(index uint64, payload string) {
	r.t.Helper()
	got, p, err := aof.LoadCheckpoint(r.fs, rigDir, nil)
	if err != nil || got != index || string(p) != payload {
		r.t.Fatalf("checkpoint %d %q %v, want %d %q", got, p, err, index, payload)
	}
}

func TestCheckpointSurvivesACrash(t *testing.T) {
	r := newRig(t)
	for range 3 {
		r.put(300)
	}
	r.mustLoad(0, "")
	r.mustCheckpoint(2, "two")
	r.crash()
	r.mustLoad(2, "two")
}

func TestTwoNewestCheckpointsAreKept(t *testing.T) {
	r := newRig(t)
	for i := range 5 {
		r.put(300)
		r.mustCheckpoint(uint64(i+1), fmt.Sprint("state ", i+1))
	}
	var names []string
	for _, p := range r.fs.Paths() {
		if strings.HasSuffix(p, ".ckp") {
			names = append(names, p)
		}
	}
	mustEqual(t, names, []string{"/log/checkpoint-00000000000000000004.ckp", "/log/checkpoint-00000000000000000005.ckp"})
	r.mustCheckpoint(5, "again") // the same index: replaced
	r.mustLoad(5, "again")
}

func TestDamagedCheckpointFallsBack(t *testing.T) {
	r := newRig(t)
	for range 2 {
		r.put(300)
	}
	r.mustCheckpoint(1, "older")
	r.mustCheckpoint(2, "newer")
	path := r.path(".ckp", 1)
	whole, _ := r.fs.Get(path)
	for at := range whole {
		if at >= 8 && at < 12 {
			continue // the version: see below
		}
		r.edit(path, func(b []byte) { b[at] ^= 4 })
		r.mustLoad(1, "older")
		r.fs.Put(path, whole)
	}
	for n := range whole {
		r.fs.Put(path, whole[:n])
		r.mustLoad(1, "older")
	}
	r.edit(r.path(".ckp", 0), func(b []byte) { b[70%len(b)] ^= 4 })
	r.mustLoad(0, "") // none is left: replay everything
}

func TestCheckpointOfANewerVersionIsNotPassedOver(t *testing.T) {
	r := newRig(t)
	r.put(300)
	r.mustCheckpoint(1, "state")
	r.edit(r.path(".ckp", 0), func(b []byte) { b[8] = 9 })
	_, _, err := aof.LoadCheckpoint(r.fs, rigDir, nil)
	mustBe(t, err, aof.ErrVersion)
}

func TestCheckpointUnderAnotherNameIsPassedOver(t *testing.T) {
	r := newRig(t)
	r.put(300)
	r.put(300)
	r.mustCheckpoint(1, "state")
	b, _ := r.fs.Get(r.path(".ckp", 0))
	r.fs.Put(rigDir+"/checkpoint-00000000000000000002.ckp", b)
	r.mustLoad(1, "state")
}

func TestCheckpointAheadOfTheDiskIsRefused(t *testing.T) {
	r := newRig(t)
	r.put(300)
	r.add(0, one, 300)
	if err := r.log.WriteCheckpoint(2, nil); err == nil {
		t.Error("index 2 is not durable")
	}
	r.mustLoad(0, "")
}

func TestFailedCheckpointLeavesTheOldOne(t *testing.T) {
	r := newRig(t)
	r.put(300)
	r.mustCheckpoint(1, "old")
	r.put(300)
	r.fs.SetSpace(10)
	mustBe(t, r.log.WriteCheckpoint(2, []byte("new")), syscall.ENOSPC)
	r.fs.SetSpace(-1)
	r.fs.FailSync(1)
	mustBe(t, r.log.WriteCheckpoint(2, []byte("new")), syscall.EIO)
	r.mustLoad(1, "old")
	for _, p := range r.fs.Paths() {
		if strings.HasSuffix(p, ".tmp") {
			t.Errorf("%s is left", p)
		}
	}
	if r.log.Err() != nil {
		t.Error("a checkpoint is derived: its failure must not stop the log")
	}
}

func TestLargeCheckpoint(t *testing.T) {
	r := newRig(t)
	r.put(300)
	big := bytes.Repeat([]byte("0123456789abcdef"), 300_000)
	r.mustCheckpoint(1, string(big))
	r.crash()
	r.mustLoad(1, string(big))
}

func TestLoadCheckpointFromNowhere(t *testing.T) {
	index, payload, err := aof.LoadCheckpoint(nil, t.TempDir()+"/none", nil)
	if index != 0 || payload != nil || err != nil {
		t.Error(index, payload, err)
	}
}

// ReplayAfter: only what follows the checkpoint is replayed.
func TestReplayStartsBehindTheCheckpoint(t *testing.T) {
	r := newRig(t)
	r.fill(4, 3000)
	last := r.log.LastIndex()
	for after := uint64(0); after <= last; after++ {
		r.mustClose()
		r.o.ReplayAfter = after
		r.mustOpen() // checks the order, from after+1 on
		mustEqual(t, r.log.LastIndex(), last)
	}
}

// OnSealed is the moment for a checkpoint: the segment is durable, indexed and will not change.
func TestOnSealed(t *testing.T) {
	var r *rig
	var sealed []uint64
	r = newRig(t, func(o *aof.Options) {
		o.OnSealed = func(last uint64) {
			sealed = append(sealed, last)
			if last > r.log.Durable() {
				t.Errorf("sealed up to %d, durable up to %d", last, r.log.Durable())
			}
			r.mustCheckpoint(last, "state")
			r.path(".idx", len(sealed)-1)
		}
	})
	r.fill(4, 5000)
	mustEqual(t, sealed, []uint64{5, 10, 15})
	r.mustLoad(15, "state")
}

func TestOnSealedFromTheLogsOwnGoroutine(t *testing.T) {
	m := testkit.NewMemFS(1)
	var sealed atomic.Uint64
	told := make(chan bool, 100)
	l, err := aof.Open(aof.Options{Dir: rigDir, FS: m, SegmentBytes: rigSegment, FrameBytesMax: rigFrame, OnSealed: func(last uint64) {
		sealed.Store(last)
		told <- true
	}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	loop := newPoolLoop(t, l)
	loop.produce(t, one, 12, 5000)
	for sealed.Load() < 5 { // at most five frames fit a segment
		select {
		case <-told:
		case <-time.After(hangGuard):
			t.Fatal("never told")
		}
	}
	loop.stop()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
