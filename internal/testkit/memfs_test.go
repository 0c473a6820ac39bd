package testkit

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"syscall"
	"testing"

	"ayder/aof"
	"ayder/internal/uring"
)

// What MemFS promises, and what it refuses to promise, each in a test: a lenient one would make every crash test worthless.

func mustOpen(t *testing.T, m *MemFS, path string, mode aof.Mode) *memFile {
	t.Helper()
	f, err := m.Open(path, mode)
	if err != nil {
		t.Fatal(err)
	}
	return f.(*memFile)
}

// blocks is page-aligned memory full of c.
func blocks(t *testing.T, n int, c byte) []byte {
	t.Helper()
	b, err := uring.Anon(n * aof.BlockBytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = uring.FreeAnon(b) })
	for i := range b {
		b[i] = c
	}
	return b
}

// named makes a durable file of n blocks of zeros.
func named(t *testing.T, m *MemFS, path string, n int) *memFile {
	t.Helper()
	f := mustOpen(t, m, path, aof.CreateBlocks)
	if _, err := f.WriteAt(blocks(t, n, 0), 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), m.SyncDir("")); err != nil {
		t.Fatal(err)
	}
	return mustOpen(t, m, path, aof.WriteThrough)
}

// sectors counts the sectors of a file that are c throughout, and those that are neither c nor zero throughout.
func sectors(t *testing.T, m *MemFS, path string, c byte) (whole, torn int) {
	t.Helper()
	data, ok := m.Get(path)
	if !ok {
		t.Fatalf("%s is gone", path)
	}
	for ; len(data) >= SectorBytes; data = data[SectorBytes:] {
		s := data[:SectorBytes]
		switch {
		case len(bytes.Trim(s, string(c))) == 0:
			whole++
		case len(bytes.Trim(s, "\x00")) != 0:
			torn++
		}
	}
	return whole, torn
}

func TestSyncedDataSurvives(t *testing.T) {
	for seed := range uint64(20) {
		m := NewMemFS(seed)
		f := mustOpen(t, m, "/d/file", aof.Create)
		if _, err := f.WriteAt([]byte("hello"), 0); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Sync(), m.SyncDir("/d")); err != nil {
			t.Fatal(err)
		}
		m.Crash()
		if got, ok := m.Get("/d/file"); !ok || string(got) != "hello" {
			t.Fatalf("seed %d: %q %v", seed, got, ok)
		}
	}
}

// Data without Sync, and names without SyncDir, are lost in some runs and kept in others.
func TestUnsyncedMayOrMayNotSurvive(t *testing.T) {
	var data, names [2]int
	for seed := range uint64(60) {
		m := NewMemFS(seed)
		named(t, m, "/d/a", 1)
		f := mustOpen(t, m, "/d/b", aof.Create)
		if _, err := f.WriteAt(bytes.Repeat([]byte{'x'}, 4*SectorBytes), 0); err != nil {
			t.Fatal(err)
		}
		if err := m.Rename("/d/b", "/d/c"); err != nil {
			t.Fatal(err)
		}
		m.Crash()
		_, b := m.Get("/d/b")
		got, c := m.Get("/d/c")
		if b && c {
			t.Fatalf("seed %d: both names", seed)
		}
		names[btoi(c)]++
		if c {
			data[btoi(len(got) == 4*SectorBytes && bytes.Count(got, []byte{'x'}) == len(got))]++
		}
	}
	for what, n := range map[string][2]int{"name": names, "data": data} {
		if n[0] == 0 || n[1] == 0 {
			t.Errorf("%s: lost %d times, kept %d times", what, n[0], n[1])
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestFinishedWriteSurvives(t *testing.T) {
	for seed := range uint64(20) {
		m := NewMemFS(seed)
		f := named(t, m, "/d/a", 4)
		if n, err := f.WriteAt(blocks(t, 2, 'x'), aof.BlockBytes); n != 2*aof.BlockBytes || err != nil {
			t.Fatal(n, err)
		}
		m.Crash()
		if whole, torn := sectors(t, m, "/d/a", 'x'); whole != 16 || torn != 0 {
			t.Fatalf("seed %d: %d sectors, %d torn", seed, whole, torn)
		}
	}
}

// A write in flight leaves any of its sectors, each whole.
func TestWriteInFlightTearsAtSectors(t *testing.T) {
	seen := map[int]bool{}
	for seed := range uint64(100) {
		m := NewMemFS(seed)
		f := named(t, m, "/d/a", 4)
		if _, err := f.Begin(blocks(t, 2, 'x'), aof.BlockBytes); err != nil {
			t.Fatal(err)
		}
		m.Crash()
		whole, torn := sectors(t, m, "/d/a", 'x')
		if torn != 0 {
			t.Fatalf("seed %d: %d sectors torn", seed, torn)
		}
		seen[whole] = true
	}
	if !seen[0] || !seen[16] || len(seen) < 8 {
		t.Errorf("numbers of sectors seen: %v", seen)
	}
}

func TestOneSeedOneOutcome(t *testing.T) {
	outcome := func() string {
		m := NewMemFS(42)
		f := named(t, m, "/d/a", 8)
		for i := range 4 {
			if _, err := f.Begin(blocks(t, 1, byte('a'+i)), int64(i)*aof.BlockBytes); err != nil {
				t.Fatal(err)
			}
		}
		m.Crash()
		data, _ := m.Get("/d/a")
		return string(data)
	}
	if first, second := outcome(), outcome(); first != second {
		t.Error("the same seed came out differently")
	}
}

func TestOverlapAndChangedMemoryAreBugs(t *testing.T) {
	m := NewMemFS(1)
	f := named(t, m, "/d/a", 4)
	p := blocks(t, 2, 'x')
	w, err := f.Begin(p, 0)
	if err != nil {
		t.Fatal(err)
	}
	mustPanic(t, func() { _, _ = f.Begin(p[:aof.BlockBytes], aof.BlockBytes) })
	p[5000]++
	mustPanic(t, func() { _, _ = w.Finish() })
}

func mustPanic(t *testing.T, fn func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	fn()
}

func TestAlignmentIsDemanded(t *testing.T) {
	m := NewMemFS(1)
	f := named(t, m, "/d/a", 4)
	p := blocks(t, 2, 'x')
	for _, c := range []struct {
		p   []byte
		off int64
	}{{p[:100], 0}, {p[:4096], 512}, {p[512 : 512+4096], 0}} {
		if _, err := f.WriteAt(c.p, c.off); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%d bytes at %d: %v", len(c.p), c.off, err)
		}
	}
}

func TestFilesOfAnEarlierLifeAreDead(t *testing.T) {
	for _, end := range []func(*MemFS){(*MemFS).Crash, (*MemFS).Kill} {
		m := NewMemFS(1)
		f := named(t, m, "/d/a", 4)
		w, err := f.Begin(blocks(t, 1, 'x'), 0)
		if err != nil {
			t.Fatal(err)
		}
		end(m)
		_, errRead := f.ReadAt(make([]byte, 10), 0)
		_, errWrite := f.WriteAt(blocks(t, 1, 'x'), 0)
		_, errSize := f.Size()
		_, errFinish := w.Finish()
		for _, err := range []error{errRead, errWrite, errSize, errFinish, f.Sync()} {
			if !errors.Is(err, ErrCrashed) {
				t.Errorf("error %v", err)
			}
		}
	}
}

// After a kill the writes in flight land, without their sync.
func TestKilledProcessesWritesLand(t *testing.T) {
	kept := map[bool]bool{}
	for seed := range uint64(20) {
		m := NewMemFS(seed)
		f := named(t, m, "/d/a", 4)
		if _, err := f.Begin(blocks(t, 1, 'x'), 0); err != nil {
			t.Fatal(err)
		}
		m.Kill()
		if whole, _ := sectors(t, m, "/d/a", 'x'); whole != 0 {
			t.Fatal("landed before anybody waited")
		}
		if err := m.Settle("/d/a"); err != nil {
			t.Fatal(err)
		}
		if whole, _ := sectors(t, m, "/d/a", 'x'); whole != 8 {
			t.Fatal("did not land")
		}
		if seed%2 == 0 {
			if err := mustOpen(t, m, "/d/a", aof.ReadOnly).Sync(); err != nil {
				t.Fatal(err)
			}
		}
		m.Crash()
		whole, _ := sectors(t, m, "/d/a", 'x')
		if seed%2 == 0 && whole != 8 {
			t.Fatal("synced and lost")
		}
		if seed%2 == 1 {
			kept[whole == 8] = true
		}
	}
	if !kept[false] {
		t.Error("unsynced and never lost")
	}
}

func TestInjectedFailures(t *testing.T) {
	m := NewMemFS(1)
	f := named(t, m, "/d/a", 4)
	p := blocks(t, 2, 'x')
	m.FailWrite(2)
	for i, want := range []error{nil, syscall.EIO, nil} {
		if _, err := f.WriteAt(p, 0); !errors.Is(err, want) {
			t.Errorf("write %d: %v", i, err)
		}
	}
	m.FailSync(2)
	for i, want := range []error{nil, syscall.EIO, nil} {
		if err := f.Sync(); !errors.Is(err, want) {
			t.Errorf("sync %d: %v", i, err)
		}
	}
	m.ShortWrites(1)
	if n, err := f.WriteAt(p, 0); n != aof.BlockBytes || err != nil {
		t.Errorf("short write: %d %v", n, err)
	}
	m.FailOpens(syscall.EMFILE)
	if _, err := m.Open("/d/a", aof.ReadOnly); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("open: %v", err)
	}
	if m.DurableWrites() != 3 { // the failed one is not counted
		t.Errorf("%d durable writes", m.DurableWrites())
	}
}

// What a failed Sync should have written may never be.
func TestFailedSyncForgets(t *testing.T) {
	lost := false
	for seed := range uint64(30) {
		m := NewMemFS(seed)
		f := mustOpen(t, m, "/d/a", aof.Create)
		if err := m.SyncDir("/d"); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("data"), 0); err != nil {
			t.Fatal(err)
		}
		m.FailSync(1)
		if err := f.Sync(); err == nil {
			t.Fatal("no error")
		}
		if err := f.Sync(); err != nil { // says nothing about what failed before
			t.Fatal(err)
		}
		m.Crash()
		got, _ := m.Get("/d/a")
		lost = lost || string(got) != "data"
	}
	if !lost {
		t.Error("never lost")
	}
}

func TestSpace(t *testing.T) {
	m := NewMemFS(1)
	m.SetSpace(2 * aof.BlockBytes)
	f := mustOpen(t, m, "/d/a", aof.Create)
	if _, err := f.WriteAt(make([]byte, 2*aof.BlockBytes), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 2*aof.BlockBytes), 0); err != nil {
		t.Error("writing over needs space:", err)
	}
	if _, err := f.WriteAt([]byte{1}, 2*aof.BlockBytes); !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	if err := m.Remove("/d/a"); err != nil {
		t.Fatal(err)
	}
	g := mustOpen(t, m, "/d/b", aof.Create)
	if _, err := g.WriteAt(make([]byte, 2*aof.BlockBytes), 0); err != nil {
		t.Error("removing gave nothing back:", err)
	}
}

func TestNamesAndReads(t *testing.T) {
	m := NewMemFS(1)
	if _, err := m.Open("/d/none", aof.ReadOnly); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := m.Rename("/d/none", "/d/x"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := m.Remove("/d/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	m.Put("/d/a", []byte("0123456789"))
	m.Put("/d/sub/b", nil)
	names, err := m.List("/d/")
	if err != nil || len(names) != 1 || names[0] != "a" {
		t.Error(names, err)
	}
	f := mustOpen(t, m, "/d/a", aof.ReadOnly)
	b := make([]byte, 4)
	if n, err := f.ReadAt(b, 8); n != 2 || !errors.Is(err, io.EOF) || string(b[:2]) != "89" {
		t.Error(n, err)
	}
	if n, err := f.ReadAt(b, 10); n != 0 || !errors.Is(err, io.EOF) {
		t.Error(n, err)
	}
	if _, err := f.WriteAt(b, 0); !errors.Is(err, syscall.EBADF) {
		t.Error(err)
	}
	lock, err := m.Lock("/d")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Lock("/d"); !errors.Is(err, aof.ErrLocked) {
		t.Error(err)
	}
	m.Crash()
	again, err := m.Lock("/d")
	if err != nil {
		t.Fatal("a crash gives locks up:", err)
	}
	if err := lock.Close(); err != nil { // of a dead life: must not give up the new one's
		t.Error(err)
	}
	if _, err := m.Lock("/d"); !errors.Is(err, aof.ErrLocked) {
		t.Error(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// nullFile takes every write.
type nullFile struct{ aof.File }

func (nullFile) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

func TestSubmitterCompletesInAnyOrder(t *testing.T) {
	var s Submitter
	var tokens []uint64
	s.Start(func(token uint64, n int, err error) {
		if n != int(token) || err != nil {
			t.Errorf("token %d: %d %v", token, n, err)
		}
		tokens = append(tokens, token)
	})
	for token := range uint64(5) {
		s.Write(token, nullFile{}, make([]byte, token), 0)
	}
	if s.Held() != 5 || len(tokens) != 0 {
		t.Fatal("completed by itself")
	}
	s.Complete(3)
	s.Complete(0)
	s.CompleteAll()
	if len(tokens) != 5 || tokens[0] != 3 || tokens[1] != 0 || tokens[2] != 1 || tokens[4] != 4 {
		t.Error(tokens)
	}
	s.Write(9, nullFile{}, nil, 0)
	s.Drop()
	if s.Held() != 0 {
		t.Error("dropped and held")
	}
}
