package aof_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"ayder/aof"
	"ayder/internal/record"
)

// The same suite over the operating system's files, with every kind of Submitter: what the tests on MemFS show of the log's
// logic, these show of the system calls under it.

// loopKinds makes a loop of each kind; "ring" exists on Linux.
var loopKinds = map[string]func(testing.TB, *aof.Log) *testLoop{"pool": newPoolLoop}

func eachKind(t *testing.T, fn func(t *testing.T, loop func(testing.TB, *aof.Log) *testLoop)) {
	for kind, loop := range loopKinds {
		t.Run(kind, func(t *testing.T) { fn(t, loop) })
	}
}

const (
	sysSegment = 256 << 10
	sysFrame   = 32 << 10
	sysTail    = 4 * sysSegment
)

func sysOptions(dir string) aof.Options {
	return aof.Options{Dir: dir, SegmentBytes: sysSegment, FrameBytesMax: sysFrame, TailBytes: sysTail, InFlightMax: 8}
}

func mustOpen(t testing.TB, o aof.Options) *aof.Log {
	t.Helper()
	l, err := aof.Open(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustCloseLog(t testing.TB, l *aof.Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSystemWriteReopenRead(t *testing.T) {
	eachKind(t, func(t *testing.T, newLoop func(testing.TB, *aof.Log) *testLoop) {
		o := sysOptions(t.TempDir())
		const n = 400
		for round := range 3 {
			l := mustOpen(t, o)
			loop := newLoop(t, l)
			s := record.Stream{Topic: uint32(round)}
			loop.produce(t, s, n, 3000)
			loop.stop()
			for old := range round + 1 {
				mustHold(t, l, record.Stream{Topic: uint32(old)}, n)
			}
			mustCloseLog(t, l)
			report, err := aof.Check(nil, o.Dir)
			if err != nil || !report.OK() || report.Messages != uint64(n*(round+1)) || report.Last != uint64(n*(round+1)) {
				t.Fatalf("%+v %v", report, err)
			}
		}
	})
}

func TestSystemSeveralLoops(t *testing.T) {
	eachKind(t, func(t *testing.T, newLoop func(testing.TB, *aof.Log) *testLoop) {
		o := sysOptions(t.TempDir())
		l := mustOpen(t, o)
		const loops, n = 3, 300
		var all []*testLoop
		var work sync.WaitGroup
		for i := range loops {
			loop := newLoop(t, l)
			all = append(all, loop)
			work.Add(1)
			go func() {
				defer work.Done()
				loop.produce(t, record.Stream{Topic: uint32(i)}, n, 500+i*1000)
			}()
		}
		work.Wait()
		for _, loop := range all {
			loop.stop()
		}
		for range 2 {
			for i := range loops {
				mustHold(t, l, record.Stream{Topic: uint32(i)}, n)
			}
			mustCloseLog(t, l)
			l = mustOpen(t, o)
		}
		mustCloseLog(t, l)
	})
}

// Readers of their own while loops write, roll and cool: run with -race.
func TestSystemReadersBesideWriters(t *testing.T) {
	eachKind(t, func(t *testing.T, newLoop func(testing.TB, *aof.Log) *testLoop) {
		o := sysOptions(t.TempDir())
		o.TailBytes = sysSegment
		l := mustOpen(t, o)
		loop := newLoop(t, l)
		stop := make(chan struct{})
		var readers sync.WaitGroup
		for range 2 {
			readers.Add(1)
			go func() {
				defer readers.Done()
				readBeside(t, l, stop)
			}()
		}
		loop.produce(t, one, 600, 2000)
		close(stop)
		readers.Wait()
		loop.stop()
		mustCloseLog(t, l)
	})
}

func readBeside(t *testing.T, l *aof.Log, stop chan struct{}) {
	r := l.NewReader()
	defer r.Close()
	for {
		select {
		case <-stop:
			return
		default:
		}
		if n := int(l.Durable()); n > 0 {
			mustHold(t, l, one, n)
			if _, err := l.ReadFrame(uint64(n), nil); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestSystemSecondOpener(t *testing.T) {
	o := sysOptions(t.TempDir())
	l := mustOpen(t, o)
	_, err := aof.Open(o, nil)
	mustBe(t, err, aof.ErrLocked)
	if !strings.Contains(err.Error(), o.Dir) {
		t.Errorf("%q names no directory", err)
	}
	mustCloseLog(t, l)
	mustCloseLog(t, mustOpen(t, o))
}

func TestSystemDamageOnRealFiles(t *testing.T) {
	o := sysOptions(t.TempDir())
	l := mustOpen(t, o)
	loop := newPoolLoop(t, l)
	loop.produce(t, one, 300, 3000)
	loop.stop()
	mustCloseLog(t, l)
	segments, _ := filepath.Glob(filepath.Join(o.Dir, "*.aof"))
	f, err := os.OpenFile(segments[1], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("damage"), 5*aof.BlockBytes+100); err != nil {
		t.Fatal(err)
	}
	f.Close()
	_, err = aof.Open(o, nil)
	mustBe(t, err, aof.ErrDamaged)
	var d *aof.Damage
	if !errors.As(err, &d) || d.File != segments[1] {
		t.Errorf("%v", err)
	}
	report, err := aof.Check(nil, o.Dir)
	if err != nil || len(report.Damage) != 1 {
		t.Errorf("%+v %v", report, err)
	}
}

// Memory file systems have no O_DIRECT, or not always: the log falls back to writes through the cache.
func TestSystemMemoryFileSystem(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "aof")
	if err != nil {
		t.Skip(err)
	}
	defer os.RemoveAll(dir)
	eachKind(t, func(t *testing.T, newLoop func(testing.TB, *aof.Log) *testLoop) {
		o := sysOptions(filepath.Join(dir, t.Name()))
		l := mustOpen(t, o)
		loop := newLoop(t, l)
		loop.produce(t, one, 200, 3000)
		loop.stop()
		mustCloseLog(t, l)
		l = mustOpen(t, o)
		mustHold(t, l, one, 200)
		mustCloseLog(t, l)
	})
}

// The FS itself, as the log relies on it.
func TestSystemFS(t *testing.T) {
	fsys, dir := aof.OS(), filepath.Join(t.TempDir(), "a", "b")
	lock, err := fsys.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fsys.Lock(dir)
	mustBe(t, err, aof.ErrLocked)
	path := filepath.Join(dir, "file")
	for _, mode := range []aof.Mode{aof.ReadOnly, aof.WriteThrough} {
		_, err := fsys.Open(path, mode)
		mustBe(t, err, os.ErrNotExist)
	}
	f, err := fsys.Open(path, aof.Create)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.WriteAt([]byte("hello"), 3); n != 5 || err != nil {
		t.Error(n, err)
	}
	if n, err := f.Size(); n != 8 || err != nil {
		t.Error(n, err)
	}
	if err := errors.Join(f.Sync(), f.Close(), fsys.Rename(path, path+"2"), fsys.SyncDir(dir)); err != nil {
		t.Error(err)
	}
	names, err := fsys.List(dir)
	mustEqual(t, []any{names, err}, []any{[]string{"LOCK", "file2"}, nil})
	if err := errors.Join(fsys.Remove(path+"2"), lock.Close()); err != nil {
		t.Error(err)
	}
	if lock, err = fsys.Lock(dir); err != nil {
		t.Error("the lock was not given back:", err)
	}
	lock.Close()
}

// Memory behind the log is given back: open and close leave nothing mapped.
func TestSystemMemoryIsGivenBack(t *testing.T) {
	o := sysOptions(t.TempDir())
	for range 3 {
		l := mustOpen(t, o)
		loop := newPoolLoop(t, l)
		loop.produce(t, one, 1, 100)
		loop.stop()
		mustCloseLog(t, l)
		if n := l.ImageBytes(); n != 0 {
			t.Fatal(fmt.Sprint(n, " bytes are still mapped"))
		}
		if err := os.RemoveAll(o.Dir); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	good := sysOptions(t.TempDir())
	for name, change := range map[string]func(*aof.Options){
		"no directory":       func(o *aof.Options) { o.Dir = "" },
		"odd segment":        func(o *aof.Options) { o.SegmentBytes = 100_000 },
		"small segment":      func(o *aof.Options) { o.SegmentBytes = 4096 },
		"large segment":      func(o *aof.Options) { o.SegmentBytes = 2 << 30 },
		"frame over segment": func(o *aof.Options) { o.FrameBytesMax = sysSegment },
		"tiny frame":         func(o *aof.Options) { o.FrameBytesMax = 10 },
		"too many writers":   func(o *aof.Options) { o.WritersMax = 65 },
		"negative writers":   func(o *aof.Options) { o.WritersMax = -1 },
		"too many in flight": func(o *aof.Options) { o.InFlightMax = 5000 },
		"negative in flight": func(o *aof.Options) { o.InFlightMax = -1 },
	} {
		o := good
		change(&o)
		if l, err := aof.Open(o, nil); err == nil {
			t.Error(name, "is taken")
			mustCloseLog(t, l)
		}
	}
}

// A Thread on real files, through all that it can do: rolls, cuts back into a sealed segment, old segments dropped, reopened.
func TestSystemThread(t *testing.T) {
	dir := t.TempDir()
	x := newThreaded(t, func(o *aof.Options, _ *aof.ThreadOptions) {
		tail := sysOptions(dir)
		tail.TailBytes = sysSegment
		*o = tail
	})
	const round, kept = 300, 200
	for i := range uint64(3) {
		base := i * kept
		for range round {
			x.append(x.batch(3000), raftEntry("own"))
		}
		if i == 1 && !x.thread.WaitDurable(x.log.LastIndex()) {
			t.Fatal("not durable")
		}
		if err := x.log.Truncate(2 * (base + kept)); err != nil {
			t.Fatal(err)
		}
		x.next = base + kept
		mustHold(t, x.log, one, int(x.next))
		x.close()
		if r, err := aof.Check(nil, dir); err != nil || !r.OK() || r.Last != 2*x.next || r.Messages != x.next {
			t.Fatalf("%+v %v", r, err)
		}
		x.open(aof.ThreadOptions{})
	}
	if err := x.log.WriteCheckpoint(kept, nil); err != nil {
		t.Fatal(err)
	}
	if err := x.log.DropBefore(kept); err != nil {
		t.Fatal(err)
	}
	first := x.log.FirstIndex()
	if first < 2 || first > kept {
		t.Errorf("first index %d", first)
	}
	if _, _, err := x.log.Entry(first-1, nil); !errors.Is(err, aof.ErrNotFound) {
		t.Error(err)
	}
	for index := first; index <= x.log.LastIndex(); index++ {
		if h, _, err := x.log.Entry(index, nil); err != nil || h.Index != index || (index%2 == 0) != (h.Kind == record.KindRaft) {
			t.Fatalf("entry %d: %+v %v", index, h, err)
		}
	}
	x.close()
	x.o.ReplayAfter = kept
	x.open(aof.ThreadOptions{})
	mustEqual(t, x.log.FirstIndex(), first)
	x.close()
}
