package uring

import (
	"errors"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The suite runs over whichever implementation is built in:
//
//	go test ./internal/uring/
//	go test -tags giouring -ldflags=-checklinkname=0 ./internal/uring/
//
// It needs a kernel that allows io_uring and skips, with Probe's reason, where there is none.

// hangGuard fails a test that would wait for ever; nothing depends on it otherwise.
const hangGuard = 60 * time.Second

func needRing(t testing.TB) {
	t.Helper()
	if err := Probe(); err != nil {
		t.Skip("no io_uring here: ", err)
	}
}

// newRing makes a ring for this test's goroutine, which stays locked to its thread until the test ends.
func newRing(t testing.TB, cfg Config) *Ring {
	t.Helper()
	needRing(t)
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeRing(t, r) })
	return r
}

func closeRing(t testing.TB, r *Ring) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// turn waits and dispatches until done reports true.
func turn(t testing.TB, r *Ring, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(hangGuard)
	for !done() {
		if err := r.Wait(time.Second); err != nil {
			t.Fatal(err)
		}
		if r.Dispatch() == 0 && time.Now().After(deadline) {
			t.Fatal("nothing more happens")
		}
	}
}

// result collects the completions of one kind.
type result struct {
	payload uint64
	res     int32
	flags   uint32
}

type results struct {
	kind Kind
	all  []result
}

func collect(r *Ring) *results {
	c := new(results)
	c.kind = r.Handle(func(payload uint64, res int32, flags uint32) {
		c.all = append(c.all, result{payload, res, flags})
	})
	return c
}

// await dispatches until there are n completions, which it takes.
func (c *results) await(t testing.TB, r *Ring, n int) []result {
	t.Helper()
	turn(t, r, func() bool { return len(c.all) >= n })
	got := c.all
	c.all = nil
	return got
}

// one submits the entry that prep fills and returns its result.
func (c *results) one(t testing.TB, r *Ring, prep func(*SQE)) int32 {
	t.Helper()
	s := r.SQE()
	prep(s)
	s.UserData = c.kind.UserData(0)
	got := c.await(t, r, 1)
	if len(got) != 1 {
		t.Fatalf("%d completions of one request", len(got))
	}
	return got[0].res
}

// must is one for requests that have to return want.
func (c *results) must(t testing.TB, r *Ring, want int32, prep func(*SQE)) {
	t.Helper()
	if res := c.one(t, r, prep); res != want {
		t.Fatalf("result %d (%v), want %d", res, errno(res), want)
	}
}

// errno is the error of a negative result.
func errno(res int32) error {
	if res >= 0 {
		return nil
	}
	return syscall.Errno(-res)
}

// anon is Anon for the length of a test.
func anon(t testing.TB, size int) []byte {
	t.Helper()
	b, err := Anon(size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := FreeAnon(b); err != nil {
			t.Error(err)
		}
	})
	return b
}

func anonString(t testing.TB, s string) []byte {
	t.Helper()
	b := anon(t, len(s))
	copy(b, s)
	return b
}

// socketpair returns two connected sockets of the type.
func socketpair(t testing.TB, kind int) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, fd := range fds {
			if err := unix.Close(fd); err != nil && !errors.Is(err, unix.EBADF) {
				t.Error(err)
			}
		}
	})
	return fds[0], fds[1]
}
