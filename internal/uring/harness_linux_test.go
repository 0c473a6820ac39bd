package uring

import (
	"runtime"
	"testing"
)

// newRing makes a ring for this test's goroutine, locked to its thread until the test ends.
func newRing(t testing.TB, cfg Config) *Ring {
	t.Helper()
	if err := Probe(); err != nil {
		t.Skip("no io_uring here: ", err)
	}
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}
