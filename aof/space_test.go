package aof_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"ayder/aof"
	"ayder/internal/record"
	"ayder/internal/testkit"
)

// fillDisk leaves no room for another spare and appends until Admit refuses.
func fillDisk(t *testing.T, r *rig) {
	t.Helper()
	r.fs.SetSpace(rigSegment / 2)
	for range 100 {
		if err := r.loops[0].w.Admit(); err != nil {
			r.log.Step()
			mustBe(t, r.loops[0].w.Admit(), aof.ErrNoSpace)
			return
		}
		r.put(5000)
		r.log.Step()
	}
	t.Fatal("the disk never filled up")
}

func TestFullDiskRefusesAndRecovers(t *testing.T) {
	r := newRig(t)
	r.put(5000)
	fillDisk(t, r)
	last := r.log.LastIndex()
	if r.log.Err() != nil || r.log.Durable() != last {
		t.Fatal("a full disk must not stop the log:", r.log.Err())
	}
	r.read(one, r.next[one])
	r.log.Step()
	mustBe(t, r.loops[0].w.Admit(), aof.ErrNoSpace)
	wakes := r.loops[0].wakes
	r.fs.SetSpace(4 * rigSegment)
	r.log.Step()
	mustEqual(t, r.loops[0].wakes, wakes+1)
	r.put(5000)
	mustEqual(t, r.log.LastIndex(), last+1)
	r.reopen()
	mustEqual(t, r.log.LastIndex(), last+1)
}

// What Admit let in has its room: with every writer's batches open and as large as can be, nothing fails.
func TestAdmittedBatchesAlwaysFit(t *testing.T) {
	for first := range 60 {
		r := newRig(t)
		for range 2 {
			r.addLoop()
		}
		r.log.Step()
		for range first % 7 {
			r.put(4096)
		}
		r.put(200 + 8*first)
		r.fs.SetSpace(0)
		for i := 0; r.loops[i%3].w.Admit() == nil; i++ {
			for n, l := range r.loops { // all three open two, then append them
				for range 2 {
					b := record.NewBatch()
					b.AppendCommand(record.SectionTopicCreate, record.Stream{Topic: uint32(n)}, 0, make([]byte, rigFrame-record.FrameHeaderBytes-record.SectionHeaderBytes))
					b.Done = func(_ *record.Batch, err error) {
						if err != nil {
							t.Fatal(err)
						}
					}
					l.w.Append(b)
				}
			}
			for _, l := range r.loops {
				l.sub.CompleteAll()
				l.w.Deliver()
			}
		}
		mustEqual(t, r.log.Durable(), r.log.LastIndex())
		r.log.Abandon()
	}
}

func TestBusyWhileTheSpareIsMade(t *testing.T) {
	r := newRig(t)
	for range 100 {
		if err := r.loops[0].w.Admit(); err != nil {
			mustBe(t, err, aof.ErrBusy)
			wakes := r.loops[0].wakes
			r.log.Step()
			mustEqual(t, r.loops[0].wakes, wakes+1)
			if err := r.loops[0].w.Admit(); err != nil {
				t.Fatal(err)
			}
			mustEqual(t, r.log.Stats().Refused.Load(), 1)
			return
		}
		r.put(7000)
	}
	t.Fatal("never busy")
}

// No descriptor left is no reason to stop the log.
func TestKeeperTriesAgainWithoutDescriptors(t *testing.T) {
	r := newRig(t)
	r.put(7000)
	r.fs.FailOpens(syscall.EMFILE)
	for r.loops[0].w.Admit() == nil {
		r.put(7000)
		r.log.Step()
	}
	mustBe(t, r.loops[0].w.Admit(), aof.ErrBusy)
	if r.log.Err() != nil {
		t.Fatal(r.log.Err())
	}
	r.fs.FailOpens(nil)
	r.log.Step()
	r.put(7000)
	r.reopen()
}

// A failed attempt leaves nothing that fills the disk.
func TestHalfMadeSpareIsRemoved(t *testing.T) {
	r := newRig(t)
	before := len(r.fs.Paths())
	fillDisk(t, r)
	for _, p := range r.fs.Paths() {
		if len(p) > 4 && p[len(p)-4:] == ".tmp" {
			t.Errorf("%s is left", p)
		}
	}
	if before == 0 {
		t.Error("no files")
	}
}

func TestOpenOnAFullDiskServesReads(t *testing.T) {
	r := newRig(t)
	r.fill(3, 5000)
	end := r.next[one]
	if err := r.log.Close(); err != nil {
		t.Fatal(err)
	}
	for _, p := range r.fs.Paths() {
		if len(p) > 6 && p[len(p)-6:] == ".ready" {
			r.fs.Delete(p)
		}
	}
	r.fs.SetSpace(0)
	r.mustOpen()
	r.read(one, end)
	for r.loops[0].w.Admit() == nil {
		r.put(5000)
	}
	mustBe(t, r.loops[0].w.Admit(), aof.ErrNoSpace)
}

func TestEmptyLogOnAFullDisk(t *testing.T) {
	m := testkit.NewMemFS(1)
	m.SetSpace(100)
	l, err := aof.Open(aof.Options{Dir: rigDir, FS: m, SegmentBytes: rigSegment, FrameBytesMax: rigFrame}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	woken := make(chan bool, 10)
	w := l.NewWriter(&testkit.Submitter{}, func() { woken <- true })
	mustBe(t, w.Admit(), aof.ErrNoSpace)
	m.SetSpace(-1) // the keeper finds out by itself
	select {
	case <-woken:
	case <-time.After(time.Minute):
		t.Fatal("not woken")
	}
	if err := w.Admit(); err != nil && !errors.Is(err, aof.ErrBusy) {
		t.Fatal(err)
	}
}

// A sidecar that finds no room lives in memory until the next start makes it again.
func TestSidecarOnAFullDisk(t *testing.T) {
	r := cooled(t)
	r.put(5000)
	r.log.Step() // a spare for later
	r.fs.SetSpace(0)
	for r.loops[0].w.Admit() == nil {
		r.put(5000)
		r.log.Step()
	}
	for _, p := range r.fs.Paths() {
		if strings.HasSuffix(p, ".idx") || strings.HasSuffix(p, ".tmp") {
			t.Errorf("%s was written without room", p)
		}
	}
	if cold := r.read(one, r.next[one]); cold == 0 {
		t.Error("nothing was cold: the test shows nothing")
	}
	r.fs.SetSpace(-1)
	r.reopen()
	r.path("01.idx", 0)
	r.read(one, r.next[one])
}
