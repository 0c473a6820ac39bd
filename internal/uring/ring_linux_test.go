package uring

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestNopRoundTrip(t *testing.T) {
	r := newRing(t, Config{Entries: 8})
	c := collect(r)
	s := r.SQE()
	s.PrepNop()
	s.UserData = c.kind.UserData(0xABCDEF)
	if err := r.Wait(-1); err != nil {
		t.Fatal(err)
	}
	if n := r.Dispatch(); n != 1 {
		t.Fatalf("dispatched %d", n)
	}
	if len(c.all) != 1 || c.all[0] != (result{payload: 0xABCDEF}) {
		t.Errorf("got %+v", c.all)
	}
	if n := r.Dispatch(); n != 0 {
		t.Errorf("dispatched %d twice", n)
	}
}

func TestUserData(t *testing.T) {
	for _, k := range []Kind{1, 2, 255} {
		for _, payload := range []uint64{0, 1, 1<<PayloadBits - 1} {
			u := k.UserData(payload)
			if Kind(u>>PayloadBits) != k || u&payloadMask != payload {
				t.Errorf("kind %d payload %#x became %#x", k, payload, u)
			}
		}
		if u := k.UserData(^uint64(0)); Kind(u>>PayloadBits) != k {
			t.Errorf("a payload of 64 bits changed kind %d to %d", k, u>>PayloadBits)
		}
	}
}

// Every completion reaches the handler of its own kind, for all the kinds there can be.
func TestDispatchByKind(t *testing.T) {
	r := newRing(t, Config{Entries: 512})
	var got [KindsMax + 1]uint64
	var kinds []Kind
	for i := range KindsMax {
		kinds = append(kinds, r.Handle(func(payload uint64, _ int32, _ uint32) { got[i+1] += payload }))
	}
	for _, k := range kinds {
		s := r.SQE()
		s.PrepNop()
		s.UserData = k.UserData(uint64(k) * 1000)
	}
	s := r.SQE() // nobody's
	s.PrepNop()
	seen := 0
	for seen < KindsMax+1 {
		if err := r.Wait(hangGuard); err != nil {
			t.Fatal(err)
		}
		seen += r.Dispatch()
	}
	for i := 1; i <= KindsMax; i++ {
		if got[i] != uint64(i)*1000 {
			t.Errorf("kind %d got %d", i, got[i])
		}
	}
	mustPanic(t, "a kind too many", func() { r.Handle(func(uint64, int32, uint32) {}) })
}

func mustPanic(t *testing.T, what string, fn func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if p := recover(); p == nil {
			t.Errorf("%s: no panic", what)
		} else if s, ok := p.(string); !ok || !strings.HasPrefix(s, "bug:") {
			t.Errorf("%s: panic %v", what, p)
		}
	}()
	fn()
}

func TestCompletionOfUnknownKindIsABug(t *testing.T) {
	r := newRing(t, Config{Entries: 8})
	s := r.SQE()
	s.PrepNop()
	s.UserData = Kind(7).UserData(0)
	if err := r.Wait(hangGuard); err != nil {
		t.Fatal(err)
	}
	mustPanic(t, "kind 7", func() { r.Dispatch() })
	r.dispatching = false // so that the ring can be closed
}

func TestHandlersMayNotDispatchOrClose(t *testing.T) {
	r := newRing(t, Config{Entries: 8})
	calls := 0
	k := r.Handle(func(uint64, int32, uint32) {
		calls++
		mustPanic(t, "dispatch", func() { r.Dispatch() })
		mustPanic(t, "close", func() { _ = r.Close() })
	})
	s := r.SQE()
	s.PrepNop()
	s.UserData = k.UserData(0)
	turn(t, r, func() bool { return calls == 1 })
}

// What handlers submit completes in a later Dispatch, so one that always asks for more cannot hold up the loop.
func TestDispatchEnds(t *testing.T) {
	r := newRing(t, Config{Entries: 4, CQEntries: 64})
	var k Kind
	next := func() {
		s := r.SQE()
		s.PrepNop()
		s.UserData = k.UserData(0)
	}
	k = r.Handle(func(uint64, int32, uint32) {
		next()
		if err := r.Submit(); err != nil {
			t.Error(err)
		}
	})
	next()
	for range 10 {
		if err := r.Wait(hangGuard); err != nil {
			t.Fatal(err)
		}
		if n := r.Dispatch(); n != 1 {
			t.Fatalf("dispatched %d", n)
		}
	}
}

// A full queue is submitted by SQE itself: many more entries than places, none lost, in order.
func TestMoreEntriesThanPlaces(t *testing.T) {
	const entries, total = 8, 1000
	r := newRing(t, Config{Entries: entries, CQEntries: 2048})
	c := collect(r)
	queueNops(r, c.kind, 0, total)
	checkSequence(t, c.await(t, r, total), total)
	if len(r.spill) != 0 || cap(r.spill) != 0 {
		t.Errorf("%d entries went past a willing kernel", cap(r.spill))
	}
}

func queueNops(r *Ring, k Kind, first, n int) {
	for i := range n {
		s := r.SQE()
		s.PrepNop()
		s.UserData = k.UserData(uint64(first + i))
	}
}

func checkSequence(t *testing.T, got []result, n int) {
	t.Helper()
	if len(got) != n {
		t.Fatalf("%d completions of %d", len(got), n)
	}
	for i, g := range got {
		if g.payload != uint64(i) || g.res != 0 {
			t.Fatalf("completion %d is %+v", i, g)
		}
	}
}

// More completions than the queue holds: the kernel keeps the rest, and gives it out as we make room.
func TestMoreCompletionsThanPlaces(t *testing.T) {
	const total = 5000
	r := newRing(t, Config{Entries: 8, CQEntries: 16})
	c := collect(r)
	queueNops(r, c.kind, 0, total)
	if err := r.Submit(); err != nil {
		t.Fatal(err)
	}
	checkSequence(t, c.await(t, r, total), total)
}

// The same from inside handlers, where no completion place comes free until the pass is over.
func TestHandlersFloodTheQueues(t *testing.T) {
	const total = 3000
	r := newRing(t, Config{Entries: 4, CQEntries: 8})
	c := collect(r)
	start := r.Handle(func(uint64, int32, uint32) { queueNops(r, c.kind, 0, total) })
	s := r.SQE()
	s.PrepNop()
	s.UserData = start.UserData(0)
	checkSequence(t, c.await(t, r, total), total)
}

// A kernel that takes nothing must not cost an entry. A ring that is not yet enabled refuses everything.
func TestUnwillingKernelLosesNothing(t *testing.T) {
	const entries, total = 8, 100
	needRing(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r, err := open(Config{Entries: entries, CQEntries: 256}, setups[0]|setupRDisabled)
	if errors.Is(err, unix.EINVAL) {
		t.Skip("this kernel has no DEFER_TASKRUN")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer closeRing(t, r)
	c := collect(r)
	queueNops(r, c.kind, 0, total)
	if want := total - entries; len(r.spill) != want {
		t.Fatalf("%d entries kept aside, want %d", len(r.spill), want)
	}
	if err := r.Submit(); err == nil {
		t.Error("Submit hides that the ring is not enabled")
	}
	if err := r.Wait(time.Millisecond); err == nil {
		t.Error("Wait hides that the ring is not enabled")
	}
	const registerEnableRings = 12
	if _, err := register(r.Fd(), registerEnableRings, nil, 0); err != nil {
		t.Fatal(err)
	}
	queueNops(r, c.kind, total, 50) // behind those kept aside
	checkSequence(t, c.await(t, r, total+50), total+50)
	if len(r.spill) != 0 {
		t.Errorf("%d entries still aside", len(r.spill))
	}
}

func TestRefusalsAreNotErrors(t *testing.T) {
	for _, e := range []error{nil, unix.EINTR, unix.ETIME, unix.EAGAIN, unix.EBUSY} {
		if err := submitError(e); err != nil {
			t.Errorf("%v became %v", e, err)
		}
	}
	for _, e := range []error{unix.EBADR, unix.EEXIST, unix.EBADF, unix.EINVAL} {
		if err := submitError(e); !errors.Is(err, e) {
			t.Errorf("%v became %v", e, err)
		}
	}
}

// While the kernel refuses, Wait asks again at a bounded pace and neither spins nor sleeps on.
func TestWaitWithEntriesAside(t *testing.T) {
	r := newRing(t, Config{Entries: 4})
	c := collect(r)
	for i := range 10 {
		r.spill = append(r.spill, SQE{UserData: c.kind.UserData(uint64(i))})
	}
	queueNops(r, c.kind, 10, 5) // there are places, but it is not their turn
	checkSequence(t, c.await(t, r, 15), 15)
	start := time.Now()
	if err := r.waitRefused(RefusedPause); err != nil {
		t.Fatal(err)
	}
	if time.Since(start) < RefusedPause {
		t.Error("no pause")
	}
}

func TestWaitTimeout(t *testing.T) {
	r := newRing(t, Config{Entries: 8})
	for _, timeout := range []time.Duration{0, time.Microsecond, 20 * time.Millisecond} {
		start := time.Now()
		if err := r.Wait(timeout); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < timeout {
			t.Errorf("Wait(%v) came back after %v", timeout, took)
		}
		if n := r.Dispatch(); n != 0 {
			t.Errorf("%d completions of nothing", n)
		}
	}
}

// A timeout is a bound, not a delay.
func TestWaitEndsWithTheFirstCompletion(t *testing.T) {
	r := newRing(t, Config{Entries: 8})
	c := collect(r)
	for i := range 100 {
		queueNops(r, c.kind, i, 1)
		if err := r.Wait(24 * time.Hour); err != nil {
			t.Fatal(err)
		}
		if n := r.Dispatch(); n != 1 {
			t.Fatalf("dispatched %d", n)
		}
	}
}

// Completions that are there already end a wait without timeout, and what is queued is submitted nevertheless.
func TestWaitWithCompletionsReady(t *testing.T) {
	r := newRing(t, Config{Entries: 8})
	c := collect(r)
	queueNops(r, c.kind, 0, 1)
	if err := r.Submit(); err != nil {
		t.Fatal(err)
	}
	queueNops(r, c.kind, 1, 1)
	if err := r.Wait(-1); err != nil {
		t.Fatal(err)
	}
	if n := r.core.pending(); n != 0 {
		t.Errorf("%d entries not submitted", n)
	}
	checkSequence(t, c.await(t, r, 2), 2)
}

// Without a Wait: Submit alone brings completions in, also where they need the owner to enter.
func TestSubmitCollects(t *testing.T) {
	r := newRing(t, Config{Entries: 8})
	c := collect(r)
	a, b := socketpair(t, unix.SOCK_STREAM)
	s := r.SQE()
	s.PrepPollAdd(a, unix.POLLIN)
	s.UserData = c.kind.UserData(0)
	if err := r.Submit(); err != nil {
		t.Fatal(err)
	}
	if n := r.Dispatch(); n != 0 {
		t.Fatalf("%d completions before the event", n)
	}
	if _, err := unix.Write(b, []byte{1}); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(hangGuard); len(c.all) == 0; {
		if err := r.Submit(); err != nil {
			t.Fatal(err)
		}
		r.Dispatch()
		if time.Now().After(end) {
			t.Fatal("the event never arrived")
		}
	}
	if c.all[0].res&unix.POLLIN == 0 {
		t.Errorf("events %#x", c.all[0].res)
	}
}

func TestSkipSuccess(t *testing.T) {
	r := newRing(t, Config{Entries: 8})
	c := collect(r)
	s := r.SQE()
	s.PrepNop()
	s.Flags |= SQESkipSuccess
	s.UserData = c.kind.UserData(1)
	s = r.SQE()
	s.PrepClose(1 << 20) // no such descriptor: failures are told
	s.Flags |= SQESkipSuccess
	s.UserData = c.kind.UserData(2)
	got := c.await(t, r, 1)
	if len(got) != 1 || got[0].payload != 2 || got[0].res != -int32(unix.EBADF) {
		t.Errorf("got %+v", got)
	}
}

func TestMsgRing(t *testing.T) {
	sender := newRing(t, Config{Entries: 8})
	sent := collect(sender)
	ready, done := make(chan [2]uint64), make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		r, err := New(Config{Entries: 8})
		if err != nil {
			t.Error(err)
			close(ready)
			return
		}
		defer closeRing(t, r)
		c := collect(r)
		ready <- [2]uint64{uint64(r.Fd()), c.kind.UserData(99)}
		for len(c.all) == 0 {
			if err := r.Wait(hangGuard); err != nil || r.Dispatch() == 0 {
				t.Error("no message: ", err)
				break
			}
		}
		done <- append(c.all, result{})[0]
	}()
	to, ok := <-ready
	if !ok {
		t.FailNow()
	}
	sent.must(t, sender, 0, func(s *SQE) { s.PrepMsgRing(int(to[0]), to[1], 7) })
	if got := <-done; got != (result{payload: 99, res: 7}) {
		t.Errorf("got %+v", got)
	}
}

// The flags for old kernels work on new ones: a ring behaves the same with each.
func TestEverySetup(t *testing.T) {
	needRing(t)
	for _, flags := range setups {
		t.Run(setupNames(flags), func(t *testing.T) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			r, err := open(Config{Entries: 4, CQEntries: 16}, flags)
			if errors.Is(err, unix.EINVAL) {
				t.Skip("not on this kernel")
			}
			if err != nil {
				t.Fatal(err)
			}
			defer closeRing(t, r)
			if r.Flags() != setupNames(flags) {
				t.Errorf("flags %s", r.Flags())
			}
			c := collect(r)
			queueNops(r, c.kind, 0, 100)
			checkSequence(t, c.await(t, r, 100), 100)
			woken := 0
			w, err := r.NewWaker(func() { woken++ })
			if err != nil {
				t.Fatal(err)
			}
			for i := 1; i <= 10; i++ {
				go w.Wake()
				turn(t, r, func() bool { return woken >= i })
			}
			submitOnly(t, r, c, 100)
			start := time.Now()
			if err := r.Wait(5 * time.Millisecond); err != nil || time.Since(start) < 5*time.Millisecond {
				t.Errorf("timeout: %v after %v", err, time.Since(start))
			}
		})
	}
}

// submitOnly completes n requests, more than there are places for, by a caller who never waits.
func submitOnly(t *testing.T, r *Ring, c *results, n int) {
	t.Helper()
	queueNops(r, c.kind, 0, n)
	for end := time.Now().Add(hangGuard); len(c.all) < n; {
		if err := r.Submit(); err != nil {
			t.Fatal(err)
		}
		r.Dispatch()
		if time.Now().After(end) {
			t.Fatalf("only %d of %d completions", len(c.all), n)
		}
	}
	checkSequence(t, c.all, n)
}

func TestSizes(t *testing.T) {
	r := newRing(t, Config{})
	if r.params.SQEntries != EntriesDefault || r.params.CQEntries != EntriesDefault*CQEntriesPerEntry {
		t.Errorf("defaults: %d entries, %d completions", r.params.SQEntries, r.params.CQEntries)
	}
	r = newRing(t, Config{Entries: 1 << 30, CQEntries: 1 << 30}) // clamped
	if r.params.SQEntries != EntriesMax || r.params.CQEntries != 2*EntriesMax {
		t.Errorf("%d entries, %d completions", r.params.SQEntries, r.params.CQEntries)
	}
}

func TestAnotherThreadIsRefused(t *testing.T) {
	r := newRing(t, Config{Entries: 8})
	c := collect(r)
	queueNops(r, c.kind, 0, 1)
	refusal := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		refusal <- r.Submit()
	}()
	if err := <-refusal; err == nil && strings.Contains(r.Flags(), "SINGLE_ISSUER") {
		t.Error("another thread may submit")
	}
	checkSequence(t, c.await(t, r, 1), 1)
}

func TestClose(t *testing.T) {
	r := newRing(t, Config{Entries: 8})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	if err := r.Submit(); !errors.Is(err, ErrClosed) {
		t.Errorf("submit: %v", err)
	}
	if err := r.Wait(-1); !errors.Is(err, ErrClosed) {
		t.Errorf("wait: %v", err)
	}
	if r.Fd() != -1 {
		t.Errorf("descriptor %d", r.Fd())
	}
	mustPanic(t, "dispatch", func() { r.Dispatch() })
	mustPanic(t, "an entry", func() { r.SQE() })
}

// Close with everything in flight that never ends by itself: it returns, and sockets are let go of, which the other
// end sees.
func TestCloseCancels(t *testing.T) {
	r := newRing(t, Config{Entries: 64})
	c := collect(r)
	b, err := r.NewBufRing(8, 64, 1)
	if err != nil {
		t.Fatal(err)
	}
	var peers []int
	for range 10 {
		mine, peer := socketpair(t, unix.SOCK_STREAM)
		s := r.SQE()
		s.PrepRecvMultishot(mine, b.Group())
		s.UserData = c.kind.UserData(0)
		c.must(t, r, 0, func(s *SQE) { s.PrepClose(mine) }) // only the receive holds the socket now
		peers = append(peers, peer)
	}
	if _, err := r.NewWaker(func() {}); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for _, peer := range peers {
		fds := []unix.PollFd{{Fd: int32(peer), Events: unix.POLLIN}}
		if n, err := unix.Poll(fds, int(hangGuard/time.Millisecond)); n != 1 || err != nil {
			t.Errorf("the kernel keeps the socket: %d, %v", n, err)
		}
	}
	if len(c.all) != 0 {
		t.Errorf("handlers called by Close: %+v", c.all)
	}
}

// A worker of the kernel that sleeps in a read must be gone when Close returns: the buffer is freed next, and bytes
// that come later belong to whoever reads then.
func TestCloseEndsWhatAWorkerRuns(t *testing.T) {
	const sqeAsync = 1 << 4 // hand to a worker at once
	for range 50 {
		r := newRing(t, Config{Entries: 8})
		c := collect(r)
		buf := anon(t, 8)
		var pipe [2]int
		if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		s := r.SQE()
		s.PrepRead(pipe[0], buf, -1)
		s.Flags |= sqeAsync
		s.UserData = c.kind.UserData(0)
		if err := r.Submit(); err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		mustWrite(t, pipe[1], "later")
		late := make([]byte, 8)
		if err := unix.SetNonblock(pipe[0], true); err != nil { // RWF_NOWAIT is not for pipes before Linux 6.4
			t.Fatal(err)
		}
		n, err := unix.Read(pipe[0], late)
		if err != nil || string(late[:n]) != "later" || buf[0] != 0 {
			t.Fatalf("read %q, %v; the old buffer holds %q", late[:max(n, 0)], err, buf)
		}
		_, _ = unix.Close(pipe[0]), unix.Close(pipe[1])
	}
}

func TestABI(t *testing.T) {
	var s SQE
	var p params
	var reg bufReg
	var cancel syncCancelReg
	for _, c := range []struct {
		what      string
		got, want uintptr
	}{
		{"sqe", unsafe.Sizeof(s), 64},
		{"sqe.fd", unsafe.Offsetof(s.Fd), 4},
		{"sqe.off", unsafe.Offsetof(s.Off), 8},
		{"sqe.addr", unsafe.Offsetof(s.Addr), 16},
		{"sqe.len", unsafe.Offsetof(s.Len), 24},
		{"sqe.rw_flags", unsafe.Offsetof(s.OpFlags), 28},
		{"sqe.user_data", unsafe.Offsetof(s.UserData), 32},
		{"sqe.buf_index", unsafe.Offsetof(s.BufIndex), 40},
		{"sqe.file_index", unsafe.Offsetof(s.FileIndex), 44},
		{"sqe.addr3", unsafe.Offsetof(s.Addr3), 48},
		{"cqe", unsafe.Sizeof(CQE{}), 16},
		{"params", unsafe.Sizeof(p), 120},
		{"params.sq_off", unsafe.Offsetof(p.SQ), 40},
		{"params.cq_off", unsafe.Offsetof(p.CQ), 80},
		{"buf", unsafe.Sizeof(bufEntry{}), 16},
		{"buf.tail", unsafe.Offsetof(bufEntry{}.Tail), 14},
		{"buf_reg", unsafe.Sizeof(reg), 40},
		{"buf_reg.bgid", unsafe.Offsetof(reg.Group), 12},
		{"sync_cancel_reg", unsafe.Sizeof(cancel), 64},
		{"sync_cancel_reg.timeout", unsafe.Offsetof(cancel.TimeoutS), 16},
		{"sync_cancel_reg.opcode", unsafe.Offsetof(cancel.Opcode), 32},
		{"rsrc_update", unsafe.Sizeof(rsrcUpdate{}), 16},
		{"probe", unsafe.Sizeof(probeReg{}), 16 + 256*8},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", c.what, c.got, c.want)
		}
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	r := newRing(t, Config{Entries: 64})
	seen := 0
	k := r.Handle(func(uint64, int32, uint32) { seen++ })
	for name, timeout := range map[string]time.Duration{"no timeout": -1, "timeout": time.Hour, "poll": 0} {
		n := testing.AllocsPerRun(100, func() {
			queueNops(r, k, 0, 100) // more than the queue holds
			if err := r.Wait(timeout); err != nil {
				t.Fatal(err)
			}
			r.Dispatch()
		})
		if n != 0 {
			t.Errorf("%s: %v allocations per turn", name, n)
		}
	}
	n := testing.AllocsPerRun(20, func() {
		if err := r.Wait(time.Microsecond); err != nil { // runs out
			t.Fatal(err)
		}
		r.Dispatch()
	})
	if n != 0 || seen == 0 {
		t.Errorf("%v allocations per timeout, %d completions", n, seen)
	}
}

func TestImplementation(t *testing.T) {
	if i := Implementation(); i != "sys" && i != "giouring" {
		t.Errorf("implementation %q", i)
	}
}

func BenchmarkTurn(b *testing.B) {
	for _, batch := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("nops=%d", batch), func(b *testing.B) {
			r := newRing(b, Config{Entries: 256})
			k := r.Handle(func(uint64, int32, uint32) {})
			b.ReportAllocs()
			for b.Loop() {
				queueNops(r, k, 0, batch)
				if err := r.Wait(-1); err != nil {
					b.Fatal(err)
				}
				r.Dispatch()
			}
		})
	}
}
