package testkit

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"ayder/aof"
)

// Whatever a machine had in its hands when its power failed does nothing any more.
func TestMountEndsWithItsLife(t *testing.T) {
	for _, end := range []func(*MemFS){(*MemFS).Crash, (*MemFS).Kill} {
		m := NewMemFS(1)
		named(t, m, "/d/a", 1)
		old := m.Mount()
		end(m)
		_, errOpen := old.Open("/d/new", aof.Create)
		_, errList := old.List("/d")
		_, errLock := old.Lock("/d")
		errs := []error{errOpen, errList, errLock, old.Rename("/d/a", "/d/b"), old.Remove("/d/a"), old.SyncDir("/d"), old.(*mount).Settle("/d/a")}
		for i, err := range errs {
			if !errors.Is(err, ErrCrashed) {
				t.Errorf("call %d: error %v", i, err)
			}
		}
		if names, err := m.Mount().List("/d"); err != nil || len(names) != 1 || names[0] != "a" {
			t.Errorf("the new life finds %v, %v", names, err)
		}
	}
}

// A write takes the time that Pace makes it take, and a crash in the middle of it tears it.
func TestPacedWriteIsTornByACrash(t *testing.T) {
	seen := map[int]bool{}
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			m := NewMemFS(seed)
			f := named(t, m, "/d/a", 2)
			m.Pace(func(int) { time.Sleep(time.Millisecond) })
			p := blocks(t, 2, 'x')
			done := make(chan error, 1)
			started := time.Now()
			go func() {
				_, err := f.WriteAt(p, 0)
				done <- err
			}()
			time.Sleep(time.Millisecond / 2)
			m.Crash()
			if err := <-done; !errors.Is(err, ErrCrashed) || time.Since(started) != time.Millisecond {
				t.Errorf("%v after %v", err, time.Since(started))
			}
			whole, torn := sectors(t, m, "/d/a", 'x')
			if torn != 0 {
				t.Errorf("seed %d: %d sectors torn", seed, torn)
			}
			seen[whole] = true
		})
	}
	if len(seen) < 5 {
		t.Errorf("numbers of sectors seen: %v", seen)
	}
}

// A Sync that the power failure overtakes makes nothing durable, and one that returned has.
func TestPacedSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemFS(1)
		sizes := []int{}
		m.Pace(func(bytes int) { sizes = append(sizes, bytes); time.Sleep(time.Second) })
		f := mustOpen(t, m, "/d/a", aof.Create)
		if _, err := f.WriteAt([]byte("data"), 0); err != nil { // into the cache: takes no time
			t.Fatal(err)
		}
		started := time.Now()
		if err := errors.Join(f.Sync(), m.SyncDir("/d")); err != nil || time.Since(started) != 2*time.Second {
			t.Fatal(err, time.Since(started))
		}
		m.Pace(nil)
		if err := f.Sync(); err != nil || len(sizes) != 2 || time.Since(started) != 2*time.Second {
			t.Error(err, sizes, time.Since(started))
		}
	})
}
