package uring

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What giouring does wrong and we promise nevertheless, each by a test that fails when its way is taken. They hold
// for both implementations.

// An entry's place is used again with the flags of its last operation: close after send failed (and leaked), write
// after fsync, nop after write. A queue of one place makes every entry such a reuse.
func TestEntriesAreReusedClean(t *testing.T) {
	r := newRing(t, Config{Entries: 1, CQEntries: 16})
	if r.params.SQEntries != 1 {
		t.Fatalf("%d places", r.params.SQEntries)
	}
	c := collect(r)
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	file, text, back := int(f.Fd()), anonString(t, "text"), anon(t, 8)
	for range 3 {
		mine, peer := socketpair(t, unix.SOCK_STREAM)
		dup, err := unix.Dup(mine)
		if err != nil {
			t.Fatal(err)
		}
		c.must(t, r, 4, func(s *SQE) { s.PrepSend(mine, text, unix.MSG_WAITALL) })
		c.must(t, r, 0, func(s *SQE) { s.PrepClose(dup) })
		if _, err := unix.FcntlInt(uintptr(dup), unix.F_GETFD, 0); err == nil {
			t.Fatal("descriptor leaked")
		}
		c.must(t, r, 4, func(s *SQE) { s.PrepWriteDSync(file, text, 0) })
		c.must(t, r, 0, func(s *SQE) { s.PrepNop() })
		c.must(t, r, 0, func(s *SQE) { s.PrepFdatasync(file) })
		c.must(t, r, 4, func(s *SQE) { s.PrepWrite(file, text, 4) })
		c.must(t, r, 1, func(s *SQE) { s.PrepPollAdd(peer, unix.POLLIN) })
		c.must(t, r, 8, func(s *SQE) { s.PrepRead(file, back, 0) })
		c.must(t, r, 0, func(s *SQE) { s.PrepCancelFd(mine) })
		c.must(t, r, 0, func(s *SQE) { s.PrepMsgRing(r.Fd(), 0, 0) })
		c.must(t, r, 4, func(s *SQE) { s.PrepRecv(peer, back, 0) })
		c.must(t, r, 0, func(s *SQE) { s.PrepShutdown(mine, unix.SHUT_RDWR) })
		c.must(t, r, 0, func(s *SQE) { s.PrepNop() })
	}
}

func TestNextEntryIsZero(t *testing.T) {
	r := newRing(t, Config{Entries: 2})
	for range 8 {
		s := r.SQE()
		if *s != (SQE{}) {
			t.Fatalf("got %+v", *s)
		}
		// Everything set, under an operation that takes no notice of most: 0 is NOP.
		*s = SQE{
			Off: 1, Addr: 2, Len: 3, BufIndex: 4, FileIndex: 5, Addr3: 6, OpFlags: 1 << 31,
			Flags: SQESkipSuccess, IoPrio: 7, Fd: 8, Personality: 9,
		}
	}
}

// Send passed the address of the slice header: eight bytes of pointer to the peer.
func TestSendSendsTheBytes(t *testing.T) {
	r := newRing(t, Config{Entries: 8})
	c := collect(r)
	mine, peer := socketpair(t, unix.SOCK_STREAM)
	const text = "the bytes, not where they are"
	p := anonString(t, text)
	c.must(t, r, int32(len(text)), func(s *SQE) { s.PrepSend(mine, p, 0) })
	got := make([]byte, 100)
	if n, err := unix.Read(peer, got); err != nil || string(got[:n]) != text {
		t.Errorf("the peer got %q, %v", got[:n], err)
	}
}

// A timed wait keeps the time's address as a number while the stack may move. Ours is off the heap: waits at any
// depth of the stack, each on fresh ground, last at least as long as asked.
func TestTimedWaitSurvivesStackGrowth(t *testing.T) {
	r := newRing(t, Config{Entries: 8})
	const timeout = 200 * time.Microsecond
	done := make(chan struct{})
	go func() { // keeps the collector shrinking stacks meanwhile
		defer close(done)
		var garbage []byte
		for range 2000 {
			garbage = make([]byte, 1<<16)
		}
		_ = garbage
	}()
	var deep func(depth int) byte
	deep = func(depth int) byte {
		var frame [512]byte
		start := time.Now()
		if err := r.Wait(timeout); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < timeout {
			t.Fatalf("depth %d: %v instead of %v", depth, took, timeout)
		}
		if depth == 0 {
			return frame[0]
		}
		frame[depth%512] = 1
		return frame[0] + deep(depth-1)
	}
	for depth := 1; depth <= 64; depth *= 2 {
		deep(depth)
	}
	<-done
}

// Registered rings were never given back: a thread has 16 places for them.
func TestCloseGivesBackTheRegisteredRing(t *testing.T) {
	needRing(t)
	keep := newRing(t, Config{Entries: 8}) // locks the thread
	for range 20 {
		r, err := New(Config{Entries: 8})
		if err != nil {
			t.Fatal(err)
		}
		closeRing(t, r)
	}
	u := rsrcUpdate{Offset: ringFdOffsetAny, Data: uint64(keep.Fd())}
	if _, err := register(keep.Fd(), registerRingFds, unsafe.Pointer(&u), 1); err != nil {
		t.Fatalf("no place left after 20 rings: %v", err)
	}
	u.Data = 0
	if _, err := register(keep.Fd(), unregisterRingFds, unsafe.Pointer(&u), 1); err != nil {
		t.Error(err)
	}
}

// The size of the completion queue could not be asked for.
func TestCompletionQueueSize(t *testing.T) {
	r := newRing(t, Config{Entries: 4, CQEntries: 128})
	if r.params.SQEntries != 4 || r.params.CQEntries != 128 {
		t.Fatalf("%d entries, %d completions", r.params.SQEntries, r.params.CQEntries)
	}
	c := collect(r)
	queueNops(r, c.kind, 0, 128)
	if err := r.Submit(); err != nil {
		t.Fatal(err)
	}
	if n := r.core.ready(); n != 128 {
		t.Errorf("%d completions ready", n)
	}
	checkSequence(t, c.await(t, r, 128), 128)
}

// The batch peek wrote beyond what was ready: stale completions of the last lap must not come back.
func TestStaleCompletionsStayAway(t *testing.T) {
	r := newRing(t, Config{Entries: 8, CQEntries: 8})
	c := collect(r)
	for lap, next := 0, 0; lap < 50; lap++ {
		n := lap%8 + 1
		queueNops(r, c.kind, next, n)
		for i, got := range c.await(t, r, n) {
			if got.payload != uint64(next+i) {
				t.Fatalf("lap %d: completion %d again", lap, got.payload)
			}
		}
		next += n
		if len(c.all) != 0 {
			t.Fatalf("lap %d: %d completions too many", lap, len(c.all))
		}
	}
}

// Closing left mappings behind.
func TestCloseLeavesNothing(t *testing.T) {
	const cycles, bufSize = 50, 1 << 20
	needRing(t)
	newRing(t, Config{Entries: 8}) // locks the thread
	cycle := func() {
		r, err := New(Config{Entries: 8})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.NewBufRing(8, bufSize, 1); err != nil {
			t.Fatal(err)
		}
		if _, err := r.NewWaker(func() {}); err != nil {
			t.Fatal(err)
		}
		closeRing(t, r)
	}
	cycle()
	before := takeInventory(t)
	for range cycles {
		cycle()
	}
	after := takeInventory(t)
	// The runtime opens and maps things of its own now and then; 50 leaks are more than that.
	if after.fds > before.fds+cycles/2 || after.ringMaps > before.ringMaps {
		t.Errorf("descriptors %d → %d, mapped rings %d → %d", before.fds, after.fds, before.ringMaps, after.ringMaps)
	}
	if grown := after.mappedPages - before.mappedPages; grown*os.Getpagesize() > cycles/2*8*bufSize {
		t.Errorf("%d pages more are mapped", grown)
	}
}

// inventory is what this process holds of the kernel.
type inventory struct{ fds, ringMaps, mappedPages int }

func takeInventory(t *testing.T) (i inventory) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Skip(err)
	}
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip(err)
	}
	if _, err := fmt.Sscan(string(statm), &i.mappedPages); err != nil {
		t.Fatal(err)
	}
	i.fds, i.ringMaps = len(fds), bytes.Count(maps, []byte("[io_uring]"))
	return i
}
