package aof_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"ayder/aof"
	"ayder/internal/record"
	"ayder/internal/testkit"
)

func indexes(done []outcome) (all []uint64) {
	for _, d := range done {
		all = append(all, d.index)
	}
	return all
}

func TestAcknowledgedInLogOrder(t *testing.T) {
	r := newRig(t)
	l := r.loops[0]
	for range 4 {
		r.add(0, one, 200)
	}
	l.sub.Complete(2)
	l.sub.Complete(1)
	mustEqual(t, r.log.Durable(), 0)
	mustEqual(t, len(l.done), 0)
	l.sub.Complete(0)
	mustEqual(t, r.log.Durable(), 3)
	mustEqual(t, indexes(l.done), []uint64{1, 2, 3})
	mustEqual(t, l.w.InFlight(), 1)
	l.sub.Complete(0)
	mustEqual(t, indexes(l.done), []uint64{1, 2, 3, 4})
}

func TestOtherWritersAreWokenAndDeliver(t *testing.T) {
	r := newRig(t)
	a, b := r.loops[0], r.addLoop()
	c := r.addLoop()
	r.log.Step()
	r.add(0, one, 200)
	r.add(1, two, 200)
	r.add(0, one, 200)
	r.add(2, record.Stream{Topic: 3}, 200)
	a.wakes, b.wakes, c.wakes = 0, 0, 0
	b.sub.Complete(0)
	a.sub.Complete(1)
	mustEqual(t, []int{len(a.done), len(b.done), a.wakes, b.wakes, c.wakes}, []int{0, 0, 0, 0, 0})
	a.sub.Complete(0) // makes 1 to 3 durable
	mustEqual(t, indexes(a.done), []uint64{1, 3})
	mustEqual(t, []int{len(b.done), a.wakes, b.wakes, c.wakes}, []int{0, 0, 1, 0})
	b.w.Deliver()
	mustEqual(t, indexes(b.done), []uint64{2})
	c.sub.Complete(0)
	mustEqual(t, indexes(c.done), []uint64{4})
}

// Done may append: the batch goes behind those that are being delivered.
func TestAppendFromDone(t *testing.T) {
	r := newRig(t)
	l := r.loops[0]
	var order []uint64
	again := func(b *record.Batch, err error) {
		order = append(order, b.Index)
		if b.Index < 50 {
			b.Reset(1 << 20)
			b.AppendCommand(record.SectionTopicCreate, one, 0, []byte("again"))
			l.w.Append(b)
		}
	}
	for range 3 {
		b := record.NewBatch()
		b.Done = again
		b.AppendCommand(record.SectionTopicCreate, one, 0, []byte("first"))
		l.w.Append(b)
	}
	for l.sub.Held() > 0 {
		l.sub.Complete(0)
		r.log.Step()
	}
	for i, index := range order {
		if index != uint64(i+1) {
			t.Fatalf("delivered %v", order)
		}
	}
	mustEqual(t, len(order), r.log.LastIndex())
}

func TestFailedWriteStopsTheLogForGood(t *testing.T) {
	r := newRig(t)
	l, other := r.loops[0], r.addLoop()
	r.log.Step()
	r.put(200)
	r.add(0, one, 200)
	r.add(1, two, 200)
	r.add(0, one, 200)
	l.sub.Complete(1) // index 4, behind what fails
	r.fs.FailWrite(1)
	l.sub.Complete(0) // index 2
	mustBe(t, r.log.Err(), aof.ErrFailed)
	mustBe(t, r.log.Err(), syscall.EIO)
	mustEqual(t, indexes(l.done), []uint64{1, 2, 4})
	mustBe(t, l.done[1].err, aof.ErrFailed)
	mustBe(t, l.done[2].err, aof.ErrFailed)
	if other.wakes == 0 {
		t.Error("the other writer was not woken")
	}
	other.w.Deliver()
	mustBe(t, other.done[0].err, aof.ErrFailed)
	writes := r.fs.DurableWrites()
	other.sub.CompleteAll() // late: not claimed any more
	mustEqual(t, len(other.done), 1)
	mustEqual(t, r.log.Durable(), 1)
	mustEqual(t, r.fs.DurableWrites(), writes+1)
	mustBe(t, l.w.Admit(), aof.ErrFailed)
}

func TestBatchAfterFailureIsAnswered(t *testing.T) {
	r := newRig(t)
	l := r.loops[0]
	r.fs.FailWrite(1)
	r.put(200)
	before := l.wakes
	b := record.NewBatch()
	b.AppendCommand(record.SectionTopicCreate, one, 0, nil)
	var got error
	b.Done = func(_ *record.Batch, err error) { got = err }
	l.w.Append(b)
	if got != nil || l.wakes == before {
		t.Fatal("answered from inside Append, or not at all")
	}
	l.w.Deliver()
	mustBe(t, got, aof.ErrFailed)
	mustEqual(t, l.sub.Held(), 0)
}

func TestFailedSyncOfASpareStopsTheLog(t *testing.T) {
	r := newRig(t)
	r.fill(2, 5000)
	r.fs.FailSync(1)
	for r.log.Err() == nil && r.log.LastIndex() < 100 {
		r.put(5000)
		r.log.Step()
	}
	mustBe(t, r.log.Err(), aof.ErrFailed)
}

func TestReadsGoOnAfterFailure(t *testing.T) {
	r := newRig(t)
	r.fill(3, 5000)
	end := r.next[one]
	r.fs.FailWrite(1)
	r.put(200)
	r.read(one, end)
}

func TestShortWriteIsContinued(t *testing.T) {
	r := newRig(t)
	r.fs.ShortWrites(1)
	for range 8 {
		r.put(7000)
		r.log.Step()
	}
	mustEqual(t, r.log.Durable(), 8)
	r.fs.ShortWrites(0)
	r.reopen()
	r.read(one, 8)
}

// strictSubmitter lets the test say how each write ends.
type strictSubmitter struct {
	testkit.Submitter
	complete func(token uint64, n int, err error)
	token    uint64
	size     int
	writes   int
}

func (s *strictSubmitter) Start(complete func(token uint64, n int, err error)) { s.complete = complete }

func (s *strictSubmitter) Write(token uint64, _ aof.File, p []byte, _ int64) {
	s.token, s.size = token, len(p)
	s.writes++
}

func TestProgressThatIsNotWholeBlocksFails(t *testing.T) {
	for _, n := range []int{0, 1, 512, 4095, 4097, 8192 - 512, 12288} {
		r := newRig(t)
		sub := &strictSubmitter{}
		w := r.log.NewWriter(sub, func() {})
		r.log.Step()
		b := record.NewBatch()
		b.AppendCommand(record.SectionTopicCreate, one, 0, make([]byte, 5000))
		var got error
		b.Done = func(_ *record.Batch, err error) { got = err }
		w.Append(b)
		sub.complete(sub.token, n, nil)
		if !errors.Is(got, aof.ErrFailed) || !strings.Contains(got.Error(), "short write") {
			t.Errorf("progress of %d bytes: %v", n, got)
		}
		mustEqual(t, sub.writes, 1)
	}
}

func TestErrorNamesIndexFileAndPosition(t *testing.T) {
	r := newRig(t)
	r.put(200)
	r.log.Step()
	r.fs.FailWrite(1)
	r.put(200)
	for _, part := range []string{"index 2", segmentOne, "byte 4096", "input/output error"} {
		if !strings.Contains(r.log.Err().Error(), part) {
			t.Errorf("%q lacks %q", r.log.Err(), part)
		}
	}
}

func TestOnCommitIsToldBytes(t *testing.T) {
	var sizes []int
	r := newRig(t, func(o *aof.Options) {
		o.OnCommit = func(ns int64, bytes int) {
			if ns < 0 {
				t.Error("negative time")
			}
			sizes = append(sizes, bytes)
		}
	})
	r.put(200)
	r.put(4000)
	r.fs.ShortWrites(1)
	r.put(7000)
	mustEqual(t, sizes, []int{4096, 8192, 8192})
	mustEqual(t, r.log.Stats().Commits.Load(), 3)
}

func mustPanic(t *testing.T, want string, fn func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if p, _ := recover().(string); !strings.HasPrefix(p, "bug: ") || !strings.Contains(p, want) {
			t.Errorf("panic %q, want one about %q", p, want)
		}
	}()
	fn()
}

func TestMisuseIsABug(t *testing.T) {
	r := newRig(t, func(o *aof.Options) { o.WritersMax = 1 })
	mustPanic(t, "more than 1 writers", func() { r.log.NewWriter(&testkit.Submitter{}, nil) })
	b := record.NewBatch()
	mustPanic(t, "batch of 64 bytes", func() { r.loops[0].w.Append(b) })
	r = newRig(t)
	b.AppendCommand(record.SectionTopicCreate, one, 0, make([]byte, rigFrame))
	mustPanic(t, "the most is", func() { r.loops[0].w.Append(b) })
	r = newRig(t)
	for range 4 {
		r.add(0, one, 200)
	}
	mustPanic(t, "in flight", func() { r.add(0, one, 200) })
	r = newRig(t)
	r.put(200)
	r.next[one] = 0
	mustPanic(t, "offset 0", func() { r.add(0, one, 200) })
}
