package aof_test

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ayder/aof"
	"ayder/internal/record"
	"ayder/internal/testkit"
)

// threaded is a log on a MemFS with its goroutines running, written by a Thread.
type threaded struct {
	t      *testing.T
	fs     *testkit.MemFS
	o      aof.Options
	log    *aof.Log
	thread *aof.Thread
	next   uint64 // offset in stream one
}

func newThreaded(t *testing.T, tune func(*aof.Options, *aof.ThreadOptions)) *threaded {
	t.Helper()
	x := &threaded{t: t, fs: testkit.NewMemFS(1)}
	x.o = aof.Options{Dir: rigDir, FS: x.fs, SegmentBytes: rigSegment, FrameBytesMax: rigFrame, TailBytes: 8 * rigSegment}
	o := aof.ThreadOptions{OpenMax: 1}
	if tune != nil {
		tune(&x.o, &o)
	}
	x.open(o)
	return x
}

func (x *threaded) open(o aof.ThreadOptions) {
	x.t.Helper()
	var err error
	if x.log, err = aof.Open(x.o, nil); err != nil {
		x.t.Fatal(err)
	}
	x.thread = x.log.NewThread(o)
}

func (x *threaded) close() {
	x.t.Helper()
	x.thread.Close()
	if err := x.log.Close(); err != nil {
		x.t.Fatal(err)
	}
}

// batch is one record of stream one in a frame of size bytes.
func (x *threaded) batch(size int) *record.Batch {
	b := record.NewBatch()
	b.Term = 3
	value := bytes.Repeat([]byte{'.'}, size-record.FrameHeaderBytes-record.SectionHeaderBytes-record.RecordHeaderBytes)
	copy(value, fmt.Sprintf("%v %d", one, x.next))
	b.AppendRecord(one, x.next, &record.Record{Value: value})
	x.next++
	return b
}

// raftEntry is one of Raft's own.
func raftEntry(payload string) *record.Batch {
	b := record.NewBatch()
	b.Load(&record.Header{Kind: record.KindRaft, Term: 2}, []byte(payload))
	return b
}

func (x *threaded) append(bs ...*record.Batch) {
	x.t.Helper()
	if err := x.thread.Append(bs); err != nil {
		x.t.Fatal(err)
	}
}

// within fails the test if fn hangs.
func within(t *testing.T, what string, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	select {
	case <-done:
	case <-time.After(hangGuard):
		t.Fatal(what + " hangs")
	}
}

func TestThreadAppendsAndSyncs(t *testing.T) {
	var mu sync.Mutex
	var durable []uint64
	committed := uint64(0)
	x := newThreaded(t, func(o *aof.Options, to *aof.ThreadOptions) {
		o.Committed = func() uint64 { return committed }
		to.OnDurable = func(index uint64) {
			mu.Lock()
			defer mu.Unlock()
			durable = append(durable, index)
		}
	})
	x.append(x.batch(300), raftEntry("no-op"), x.batch(5000))
	mustEqual(t, x.log.LastIndex(), 3)
	committed = 2
	loaded := record.NewBatch()
	from := x.batch(400)
	from.TimeMs = 77
	from.Seal(record.Header{Index: 9, Term: 9}, 1)
	h := from.Frame().Header
	h.Term = 5
	loaded.Load(&h, from.Frame().Payload)
	x.append(loaded)
	mustEqual(t, loaded.Index, 4)

	for _, want := range []struct {
		index, term, staged, timeMs uint64
		kind                        record.Kind
		sections                    uint32
	}{{1, 3, 0, 0, record.KindBatch, 1}, {2, 2, 0, 0, record.KindRaft, 0}, {3, 3, 0, 0, record.KindBatch, 1}, {4, 5, 2, 77, record.KindBatch, 1}} {
		h, p, err := x.log.Entry(want.index, nil)
		if err != nil || h.Index != want.index || h.Term != want.term || h.Staged != want.staged || h.Kind != want.kind ||
			h.Sections != want.sections || h.TimeMs != want.timeMs || len(p) != int(h.Size)-record.FrameHeaderBytes {
			t.Errorf("entry %d: %+v, %d bytes, %v", want.index, h, len(p), err)
		}
	}
	_, p, err := x.log.Entry(2, make([]byte, 0, 100))
	if err != nil || string(p) != "no-op" || cap(p) != 100 {
		t.Errorf("%q %v", p, err)
	}
	for _, index := range []uint64{0, 5} {
		_, _, err := x.log.Entry(index, nil)
		mustBe(t, err, aof.ErrNotFound)
	}
	if !x.thread.WaitDurable(4) || x.log.Durable() != 4 {
		t.Fatal("not durable")
	}
	x.close()
	mu.Lock()
	defer mu.Unlock()
	if len(durable) == 0 || durable[len(durable)-1] != 4 {
		t.Errorf("durable at %v", durable)
	}
	x.open(aof.ThreadOptions{})
	mustEqual(t, x.log.LastIndex(), 4)
	if h, p, err := x.log.Entry(2, nil); err != nil || h.Kind != record.KindRaft || h.Term != 2 || string(p) != "no-op" {
		t.Errorf("after reopening: %+v %q %v", h, p, err)
	}
	x.close()
}

// Frames that are appended together lie one behind the other, and one write makes them durable.
func TestThreadMergesWrites(t *testing.T) {
	x := newThreaded(t, nil)
	var bs []*record.Batch
	for range 20 {
		bs = append(bs, x.batch(300))
	}
	x.append(bs...)
	if !x.thread.WaitDurable(20) {
		t.Fatal("not durable")
	}
	s := x.log.Stats()
	mustEqual(t, []uint64{s.Commits.Load(), s.AppendedBytes.Load(), s.PaddingBytes.Load(), s.WrittenBytes.Load()}, []uint64{1, 20 * 304, 0, 8192})
	x.close()
}

// Waiting ends with the log's failure, for everybody.
func TestThreadFailure(t *testing.T) {
	failed := make(chan error, 2)
	x := newThreaded(t, func(_ *aof.Options, o *aof.ThreadOptions) {
		o.OnFail = func(err error) { failed <- err }
	})
	x.append(x.batch(300))
	if !x.thread.WaitDurable(1) {
		t.Fatal("not durable")
	}
	x.fs.FailWrite(1)
	x.append(x.batch(300), x.batch(300))
	within(t, "WaitDurable", func() {
		if x.thread.WaitDurable(2) || !x.thread.WaitDurable(1) {
			t.Error("the failed write is durable, or the one before is not")
		}
	})
	select {
	case err := <-failed:
		mustBe(t, err, syscall.EIO)
	case <-time.After(hangGuard):
		t.Fatal("OnFail was not called")
	}
	mustBe(t, x.thread.Append([]*record.Batch{x.batch(300)}), aof.ErrFailed)
	if x.log.Room() || x.log.Durable() != 1 {
		t.Error("room, or progress, in a log that has stopped")
	}
	x.thread.Close()
	if len(failed) != 0 {
		t.Error("OnFail called again")
	}
	_ = x.log.Close()
}

// A full disk: Room says so before Append has to wait, Append waits, and goes on when there is space.
func TestThreadWaitsForRoom(t *testing.T) {
	var lines lockedBuffer
	room := make(chan struct{}, 100)
	x := newThreaded(t, func(o *aof.Options, to *aof.ThreadOptions) {
		o.Logger = lines.logger()
		to.OnRoom = func() { room <- struct{}{} }
	})
	for !x.log.Room() {
		<-room
	}
	x.fs.SetSpace(0)
	n := 0
	for ; x.log.Room(); n++ {
		x.append(x.batch(rigFrame))
	}
	if n == 0 || !x.thread.WaitDurable(uint64(n)) {
		t.Fatal("no room to begin with")
	}
	within(t, "the keeper", func() {
		for !x.log.Full() {
			time.Sleep(time.Millisecond)
		}
	})
	// Raft's own entries still have room; then more than fits.
	x.append(raftEntry("configuration"))
	done := make(chan error)
	go func() {
		done <- x.thread.Append([]*record.Batch{x.batch(rigFrame), x.batch(rigFrame), x.batch(rigFrame), x.batch(rigFrame), x.batch(rigFrame)})
	}()
	within(t, "the log line", func() {
		for !strings.Contains(lines.String(), "append waits for the next segment") {
			time.Sleep(time.Millisecond)
		}
	})
	x.fs.SetSpace(-1)
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(hangGuard):
		t.Fatal("Append hangs")
	}
	if !x.thread.WaitDurable(uint64(n) + 6) {
		t.Fatal("not durable")
	}
	x.close()
}

func TestThreadCloseEndsWaiting(t *testing.T) {
	x := newThreaded(t, nil)
	x.fs.SetSpace(0)
	done := make(chan error)
	go func() {
		for {
			if err := x.thread.Append([]*record.Batch{x.batch(rigFrame)}); err != nil {
				done <- err
				return
			}
		}
	}()
	within(t, "the keeper", func() {
		for !x.log.Full() {
			time.Sleep(time.Millisecond)
		}
	})
	within(t, "Close", x.thread.Close)
	within(t, "Append", func() { mustBe(t, <-done, aof.ErrClosed) })
	if x.thread.WaitDurable(1000) {
		t.Error("an index that was never appended is durable")
	}
	if x.log.Durable() != x.log.LastIndex() {
		t.Error("closed with frames that were not written")
	}
	if err := x.log.Close(); err != nil && !errors.Is(err, aof.ErrClosed) {
		t.Fatal(err)
	}
}

// Many wait, one appends: everybody is told of exactly what is durable, in order.
func TestThreadManyWait(t *testing.T) {
	const frames, waiters = 400, 8
	last := uint64(0)
	x := newThreaded(t, func(_ *aof.Options, o *aof.ThreadOptions) {
		o.OnDurable = func(index uint64) {
			if index <= last {
				t.Errorf("durable %d behind %d", index, last)
			}
			last = index
		}
	})
	var wg sync.WaitGroup
	appended := make(chan uint64, frames)
	for range waiters {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for index := range appended {
				if !x.thread.WaitDurable(index) || x.log.Durable() < index {
					t.Errorf("index %d is not durable", index)
					return
				}
			}
		}()
	}
	for i := range frames / 4 {
		x.append(x.batch(300), x.batch(300+i*20), raftEntry("own"), x.batch(200))
		for index := range uint64(4) {
			appended <- uint64(4*i+1) + index
		}
	}
	close(appended)
	within(t, "waiting", wg.Wait)
	x.close()
	mustEqual(t, last, frames)
	x.open(aof.ThreadOptions{})
	mustEqual(t, x.log.LastIndex(), frames)
	x.close()
}

// Segments that hold nothing but Raft's own frames are segments like all others: sealed with a sidecar that names no
// stream, attached, read when cold, checked and dumped.
func TestRaftsOwnFramesAlone(t *testing.T) {
	x := newFollower(t, small)
	x.fill(5, 0, true)
	x.verify()
	x.reopen()
	x.checkpoint(x.last() - 1)
	x.reopen() // by sidecars
	x.put(300)
	x.verify()
	x.thread.Close()
	if err := x.log.Close(); err != nil {
		t.Fatal(err)
	}
	if r := mustCheck(t, x.fs); r.Frames != x.last() || r.Messages != 1 || r.Sidecars != 4 {
		t.Errorf("%+v", r)
	}
	var dump bytes.Buffer
	if err := aof.Dump(&dump, x.fs, rigDir, aof.DumpOptions{Records: true}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(dump.String(), " kind 2 sections 0 "); n != int(x.last()-1) {
		t.Errorf("%d frames of Raft's in the dump, want %d", n, x.last()-1)
	}
}

// Who waits for an index is answered, also if it is cut off before or while the waiter looks, and when nothing is written any
// more. What is not in the log is not waited for.
func TestWaitDurableEnds(t *testing.T) {
	for round := range 200 {
		x := newFollower(t)
		x.put(300)
		x.add(300, 300)
		answer := make(chan bool)
		go func() { answer <- x.thread.WaitDurable(3) }()
		if round%2 == 0 {
			runtime.Gosched()
			x.write()
			x.cut(1)
		} else {
			x.thread.Close()
		}
		within(t, "WaitDurable", func() {
			if durable := <-answer; durable && round%2 != 0 {
				t.Error("durable without a write")
			}
		})
		if x.thread.WaitDurable(4) {
			t.Error("what is not there is durable")
		}
		x.log.Abandon()
	}
}

// OnFail may close the thread, and the log closes one that was left open.
func TestThreadIsClosed(t *testing.T) {
	var x *threaded
	failed := make(chan struct{})
	x = newThreaded(t, func(_ *aof.Options, o *aof.ThreadOptions) {
		o.OnFail = func(error) {
			x.thread.Close()
			close(failed)
		}
	})
	x.fs.FailWrite(1)
	x.append(x.batch(300))
	within(t, "OnFail", func() { <-failed })
	_ = x.log.Close()

	y := newThreaded(t, nil)
	y.append(y.batch(300))
	if err := y.log.Close(); err != nil {
		t.Fatal(err)
	}
	mustBe(t, y.thread.Append([]*record.Batch{y.batch(300)}), aof.ErrClosed)
	y.open(aof.ThreadOptions{})
	mustEqual(t, y.log.LastIndex(), 1)
	y.close()
}

// A lent goroutine writes what it appended, and what others asked for meanwhile is answered as always.
func TestAppendHere(t *testing.T) {
	x := newThreaded(t, nil)
	here := func(bs ...*record.Batch) {
		t.Helper()
		if err := x.thread.AppendHere(bs); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		here(x.batch(300), x.batch(300))
		if x.log.Durable() != x.log.LastIndex() {
			t.Fatal("not durable on return, and nobody else writes")
		}
	}
	for range 50 { // mixed: whoever writes, everything gets there
		x.append(x.batch(300))
		here(x.batch(5000))
	}
	last := x.log.LastIndex()
	within(t, "WaitDurable", func() {
		if !x.thread.WaitDurable(last) {
			t.Error("not durable")
		}
	})
	x.close()
	x.open(aof.ThreadOptions{})
	if x.log.LastIndex() != last {
		t.Fatal("found", x.log.LastIndex(), "of", last)
	}
	x.fs.FailWrite(1)
	err := x.thread.AppendHere([]*record.Batch{x.batch(300)})
	if err != nil || x.log.Err() == nil || x.thread.WaitDurable(last+1) {
		t.Fatal("a failed write on a lent goroutine goes unnoticed", err)
	}
	x.thread.Close()
	_ = x.log.Close()
}
