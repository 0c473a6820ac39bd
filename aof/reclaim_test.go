package aof_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"ayder/aof"
	"ayder/internal/record"
	"ayder/internal/testkit"
)

// floors is a Liveness by floors that the test moves.
type floors map[record.Stream]uint64

func (f floors) live() aof.Liveness {
	return aof.Floors(func(s record.Stream) uint64 { return f[s] })
}

// cover makes both checkpoints at the end of the log, and a little more.
func (r *rig) cover() {
	r.t.Helper()
	for range 2 {
		last := r.put(300)
		if err := r.log.WriteCheckpoint(last, []byte("state")); err != nil {
			r.t.Fatal(err)
		}
		r.o.ReplayAfter = last
	}
}

// reclaim gives space back and fails the test if that does not work.
func (r *rig) reclaim(live aof.Liveness) aof.Reclaimed {
	r.t.Helper()
	done, err := r.log.Reclaim(live, aof.ReclaimOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	return done
}

// offsets reads every offset of s that there is, by pages of a few, and checks what the records say.
func (r *rig) offsets(s record.Stream) (got []uint64) {
	r.t.Helper()
	reader := r.log.NewReader()
	defer reader.Close()
	for at := uint64(0); at < r.next[s]; {
		pages := 0
		next, err := reader.Read(s, at, r.next[s], true, func(sec record.Section) bool {
			it := sec.Records()
			for n := sec.Base; n < sec.Base+uint64(sec.Count); n++ {
				rec, _ := it.Next()
				if want := fmt.Sprintf("%v %d", s, n); !strings.HasPrefix(string(rec.Value), want) {
					r.t.Fatalf("offset %d of %v holds %.20q", n, s, rec.Value)
				}
				if n >= at {
					got = append(got, n)
				}
			}
			pages++
			return pages < 3
		})
		if err != nil {
			r.t.Fatal(err)
		}
		if pages < 3 {
			return got
		}
		at = next
	}
	return got
}

// from is the offsets from first up to but not including next.
func from(first, next uint64) (all []uint64) {
	for ; first < next; first++ {
		all = append(all, first)
	}
	return all
}

// settle checks the files, reopens the log, and compares what is in it.
func (r *rig) settle(want map[record.Stream][]uint64) {
	r.t.Helper()
	for range 2 {
		for s, all := range want {
			mustEqual(r.t, r.offsets(s), all)
		}
		if err := r.log.Close(); err != nil {
			r.t.Fatal(err)
		}
		mustCheck(r.t, r.fs)
		r.mustOpen()
	}
}

// mixed puts frames of two streams in turn until the log has n segments.
func (r *rig) mixed(n int64, size int) {
	r.t.Helper()
	for i := 0; r.log.Stats().Segments.Load() < n; i++ {
		r.add(0, []record.Stream{one, two}[i%2], size)
		r.loops[0].sub.CompleteAll()
		r.log.Step()
	}
	r.log.Step()
}

func TestReclaimRemovesDeadSegmentsFromTheFront(t *testing.T) {
	r := newRig(t, small)
	r.fill(8, 3000)
	r.cover()
	before := r.log.DiskBytes()
	floor := r.next[one] - 5
	done := r.reclaim(floors{one: floor}.live())
	if done.Dropped < 5 || done.Rewritten > 1 || before-r.log.DiskBytes() != done.Freed || done.Freed < int64(done.Dropped)*rigSegment {
		t.Fatalf("%+v", done)
	}
	mustEqual(t, r.reclaim(floors{one: floor}.live()), aof.Reclaimed{})
	all := r.offsets(one)
	if all[0] > floor || all[0] == 0 {
		t.Errorf("begins with %d, the floor is %d", all[0], floor)
	}
	r.settle(map[record.Stream][]uint64{one: from(all[0], r.next[one])})
}

// What is dead in the middle goes, what is alive around it stays, and the log has no gap.
func TestReclaimRewrites(t *testing.T) {
	r := newRig(t, small)
	r.mixed(10, 2000)
	r.cover()
	two1 := r.next[two]
	before := r.log.DiskBytes()
	dead := r.next[one] - 2 // the checkpoints' frames are of stream one
	done := r.reclaim(floors{one: dead}.live())
	if done.Rewritten < 7 || done.Files > (done.Rewritten+1)/2 || done.Freed < before/3 {
		t.Fatalf("%+v of %d", done, before)
	}
	mustEqual(t, r.reclaim(floors{one: dead}.live()), aof.Reclaimed{})
	r.add(0, two, 500)
	r.loops[0].sub.CompleteAll()
	all := r.offsets(one)
	r.settle(map[record.Stream][]uint64{two: from(0, two1+1), one: from(all[0], r.next[one])})
	first := r.log.FirstIndex()
	if _, err := r.log.ReadFrame(first, nil); err != nil || first < 10 {
		t.Error(first, err)
	}
	_, err := r.log.ReadFrame(first-1, nil)
	mustBe(t, err, aof.ErrNotFound)
	_, _, err = r.log.Entry(1, nil)
	mustBe(t, err, aof.ErrNotFound)
}

// A part of the log of which nothing is left is a file that says so, and neighbours of it do not grow in number.
func TestReclaimLeavesNoGap(t *testing.T) {
	r := newRig(t)
	for range 3 {
		r.mixed(r.log.Stats().Segments.Load()+1, 3000) // the first segments have both
		for n := r.log.Stats().Segments.Load() + 4; r.log.Stats().Segments.Load() < n; r.log.Step() {
			r.add(0, two, 3000)
			r.loops[0].sub.CompleteAll()
		}
	}
	r.cover()
	dead := r.next[two]
	done := r.reclaim(floors{two: dead}.live())
	if done.Rewritten < 10 {
		t.Fatalf("%+v", done)
	}
	if n := r.log.Stats().Segments.Load(); n > 4 {
		t.Errorf("%d segments are left", n)
	}
	r.settle(map[record.Stream][]uint64{one: from(0, r.next[one]), two: r.offsets(two)})
	r.put(500)
	r.settle(map[record.Stream][]uint64{one: from(0, r.next[one])})
}

// set is a Liveness by offsets, of stream one; of others everything is alive.
type set func(offset uint64) bool

func (f set) Count(s record.Stream, first, next uint64) (n uint64) {
	for _, r := range f.Alive(nil, s, first, next) {
		n += r.Next - r.First
	}
	return n
}

func (f set) Alive(dst []aof.Range, s record.Stream, first, next uint64) []aof.Range {
	for at := first; at < next; at++ {
		if n := len(dst); s != one || f(at) {
			if n > 0 && dst[n-1].Next == at {
				dst[n-1].Next++
			} else {
				dst = append(dst, aof.Range{First: at, Next: at + 1})
			}
		}
	}
	return dst
}

// many appends a frame with a section of n records.
func (r *rig) many(s record.Stream, n, size int) {
	r.t.Helper()
	l := r.loops[0]
	if errors.Is(l.w.Admit(), aof.ErrBusy) {
		r.log.Step()
	}
	b := record.NewBatch()
	b.AppendCommand(record.SectionGroupCommit, s, 0, []byte("group"))
	for range n {
		value := bytes.Repeat([]byte{'.'}, size)
		copy(value, fmt.Sprintf("%v %d", s, r.next[s]))
		b.AppendRecord(s, r.next[s], &record.Record{Value: value})
		r.next[s]++
	}
	b.Done = func(*record.Batch, error) {}
	l.w.Append(b)
	l.sub.CompleteAll()
	r.log.Step()
}

// Of a section only what is alive is kept: its front, its end, single records.
func TestReclaimCutsSections(t *testing.T) {
	for what, alive := range map[string]set{
		"every third":      func(n uint64) bool { return n%3 == 0 },
		"runs":             func(n uint64) bool { return n%50 < 20 },
		"from the middle":  func(n uint64) bool { return n >= 333 },
		"up to the middle": func(n uint64) bool { return n < 100 },
		"one":              func(n uint64) bool { return n == 77 },
	} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t, small)
			for r.log.Stats().Segments.Load() < 7 {
				r.many(one, 37, 120)
			}
			n := r.next[one]
			for range 2 {
				r.many(two, 1, 200)
				if err := r.log.WriteCheckpoint(r.log.LastIndex(), nil); err != nil {
					t.Fatal(err)
				}
			}
			r.o.ReplayAfter = r.log.LastIndex()
			left := r.log.FirstIndex()
			r.reclaim(alive)
			if r.log.FirstIndex() <= left {
				t.Fatal("nothing was rewritten")
			}
			want, got := []uint64{}, r.offsets(one)
			last := got[len(got)-1]
			whole := got[0]
			for i := range got {
				if got[i]+uint64(len(got)-1-i) == last { // the untouched rest
					whole = got[i]
					break
				}
			}
			for at := range n {
				if at >= whole || alive(at) {
					want = append(want, at)
				}
			}
			mustEqual(t, got, want)
			if again := r.reclaim(alive); again.Rewritten != 0 {
				t.Errorf("once more: %+v", again)
			}
			r.settle(map[record.Stream][]uint64{one: want})
		})
	}
}

func TestReclaimWaitsForCheckpoints(t *testing.T) {
	r := newRig(t, small)
	r.fill(6, 3000)
	dead := floors{one: aof.AllDead}.live()
	done := r.reclaim(dead)
	if done.Dropped+done.Rewritten != 0 || done.Waiting < 4*rigSegment {
		t.Fatalf("without a checkpoint: %+v", done)
	}
	if err := r.log.WriteCheckpoint(1, nil); err != nil {
		t.Fatal(err)
	}
	r.cover()
	done = r.reclaim(dead)
	if done.Dropped < 5 || done.Waiting != 0 {
		t.Fatalf("with two: %+v", done)
	}
}

// What others may need as it is stays: the newest segments of a replicated log, and all of them while somebody says so.
func TestReclaimKeepsAndHolds(t *testing.T) {
	r := newRig(t, small)
	r.mixed(8, 2000)
	r.cover()
	live := floors{one: r.next[one]}.live()
	done, err := r.log.Reclaim(live, aof.ReclaimOptions{Hold: func() bool { return true }})
	mustEqual(t, []any{done.Rewritten, err}, []any{0, nil})
	if done, err = r.log.Reclaim(live, aof.ReclaimOptions{KeepBytes: 4*rigSegment + 1}); err != nil || done.Rewritten == 0 {
		t.Fatal(done, err)
	}
	if n := r.log.LastIndex() - r.log.FirstIndex(); n < 4*(rigSegment-aof.BlockBytes)/2000 {
		t.Errorf("%d entries are kept", n)
	}
	first := r.log.FirstIndex()
	r.reclaim(live)
	if r.log.FirstIndex() <= first {
		t.Error("nothing was kept")
	}
}

// Damage in what should be rewritten leaves it as it is; where nothing is alive nobody has to read.
func TestReclaimMeetsDamage(t *testing.T) {
	r := newRig(t, small)
	r.mixed(8, 2000)
	r.cover()
	path := r.path(".aof", 2)
	r.edit(path, func(b []byte) { b[2*aof.BlockBytes] ^= 1 })
	was, _ := r.fs.Get(path)
	live := floors{one: r.next[one]}.live()
	r.reclaim(live)
	if now, _ := r.fs.Get(path); !bytes.Equal(was, now) {
		t.Error("the damaged segment was replaced")
	}
	mustEqual(t, r.reclaim(live).Rewritten, 0)
	for _, p := range r.fs.Paths() {
		if strings.HasSuffix(p, ".tmp") {
			t.Error("left over:", p)
		}
	}
	done := r.reclaim(floors{one: aof.AllDead, two: aof.AllDead}.live())
	if done.Dropped < 4 {
		t.Errorf("%+v", done)
	}
}

// A full disk, a disk that fails, no descriptors: nothing is lost, and what can go on goes on.
func TestReclaimOnABadDisk(t *testing.T) {
	for what, fault := range map[string]func(*testkit.MemFS){
		"full":           func(m *testkit.MemFS) { m.SetSpace(9000) },
		"no descriptors": func(m *testkit.MemFS) { m.FailOpens(errors.New("too many")) },
	} {
		r := newRig(t, small)
		r.mixed(8, 2000)
		r.cover()
		live := floors{one: r.next[one] - 2}.live()
		fault(r.fs)
		_, err := r.log.Reclaim(live, aof.ReclaimOptions{})
		if err == nil || r.log.Err() != nil {
			t.Fatal(what, err, r.log.Err())
		}
		r.fs.SetSpace(-1)
		r.fs.FailOpens(nil)
		r.settle(map[record.Stream][]uint64{two: from(0, r.next[two]), one: from(0, r.next[one])})
		if r.reclaim(live).Rewritten == 0 {
			t.Error(what, "then nothing is rewritten")
		}
		r.settle(map[record.Stream][]uint64{two: from(0, r.next[two])})
	}
	r := newRig(t, small)
	r.mixed(8, 2000)
	r.cover()
	r.fs.FailSync(1)
	_, err := r.log.Reclaim(floors{one: r.next[one]}.live(), aof.ReclaimOptions{})
	mustBe(t, err, aof.ErrFailed)
	r.fs.Crash()
	r.log.Abandon()
	r.mustOpen()
	mustEqual(t, r.offsets(two), from(0, r.next[two]))
}

// The power goes at every step. What is found is the log before or the log after, or one that has files of both; afterwards the rest of it can be
// done.
func TestReclaimPowerLoss(t *testing.T) {
	seeds := uint64(6)
	if testing.Short() {
		seeds = 1
	}
	left := 0
	for seed := range seeds {
		for step := 1; ; step++ {
			s := &stepFS{MemFS: testkit.NewMemFS(seed), left: forever}
			r := newRig(t, small, func(o *aof.Options) { o.FS = s })
			r.fs = s.MemFS
			r.mixed(9, 2000)
			r.cover()
			f := floors{one: r.next[one] - 2}
			s.left = step
			_, err := r.log.Reclaim(f.live(), aof.ReclaimOptions{})
			if err == nil {
				break
			}
			mustBe(t, err, errDark)
			r.log.Abandon()
			s.left = forever
			if report := mustCheck(t, r.fs); strings.Contains(fmt.Sprint(report.Warnings), "stands for it") {
				left++
			}
			r.mustOpen()
			mustEqual(t, r.offsets(two), from(0, r.next[two]))
			r.reclaim(f.live())
			r.add(0, two, 600)
			r.loops[0].sub.CompleteAll()
			r.settle(map[record.Stream][]uint64{two: from(0, r.next[two])})
		}
	}
	if left == 0 {
		t.Error("the power never went between the new file's name and the removal of what it stands for")
	}
}

// Without the state behind them rewritten segments are not the log's beginning: nothing is replayed from them.
func TestRewrittenSegmentsNeedTheirCheckpoint(t *testing.T) {
	r := newRig(t, small)
	r.mixed(8, 2000)
	r.cover()
	r.reclaim(floors{one: r.next[one] - 2}.live())
	if err := r.log.Close(); err != nil {
		t.Fatal(err)
	}
	r.o.ReplayAfter = 0
	mustBe(t, r.open(), aof.ErrDamaged)
	for _, p := range r.fs.Paths() {
		if strings.HasSuffix(p, ".ckp") {
			r.fs.Delete(p)
		}
	}
	report, err := aof.Check(r.fs, rigDir)
	if err != nil || report.OK() {
		t.Errorf("%+v %v", report, err)
	}
}

// What is wrong with a rewritten file is damage: it was durable as a whole before it had its name.
func TestRewrittenSegmentDamaged(t *testing.T) {
	reseal := func(b []byte) { binary.LittleEndian.PutUint32(b[4092:], castagnoli(b[:4092])) }
	le := binary.LittleEndian
	for what, edit := range map[string]func(b []byte) []byte{
		"a frame":                   func(b []byte) []byte { b[aof.BlockBytes+100] ^= 1; return b },
		"the header":                func(b []byte) []byte { b[70] ^= 1; return b },
		"cut short":                 func(b []byte) []byte { return b[:len(b)-aof.BlockBytes] },
		"frames in the header":      func(b []byte) []byte { le.PutUint64(b[88:], le.Uint64(b[88:])+1); reseal(b); return b },
		"end in the header":         func(b []byte) []byte { le.PutUint64(b[80:], le.Uint64(b[80:])-8); reseal(b); return b },
		"first index in the header": func(b []byte) []byte { le.PutUint64(b[64:], 2); reseal(b); return b },
		"last index in the header":  func(b []byte) []byte { le.PutUint64(b[72:], 0); reseal(b); return b },
	} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t, small)
			r.mixed(8, 2000)
			r.cover()
			r.reclaim(floors{one: r.next[one] - 2}.live())
			if err := r.log.Close(); err != nil {
				t.Fatal(err)
			}
			for _, p := range r.fs.Paths() { // so that Open reads the file
				if strings.HasSuffix(p, ".idx") {
					r.fs.Delete(p)
				}
			}
			path := r.path(".aof", 0)
			b, _ := r.fs.Get(path)
			r.fs.Put(path, edit(b))
			report, err := aof.Check(r.fs, rigDir)
			if err != nil || report.OK() {
				t.Errorf("check: %+v %v", report, err)
			}
			mustBe(t, r.open(), aof.ErrDamaged)
			if err := aof.Dump(new(bytes.Buffer), r.fs, rigDir, aof.DumpOptions{Records: true}); err != nil {
				t.Error("dump:", err)
			}
		})
	}
}

// A sidecar that is missing, of the old file, or made for another one is made again.
func TestRewrittenSegmentsSidecar(t *testing.T) {
	r := newRig(t, small)
	r.mixed(8, 2000)
	r.cover()
	old, _ := r.fs.Get(r.path(".idx", 0))
	r.reclaim(floors{one: r.next[one] - 2}.live())
	want := map[record.Stream][]uint64{two: from(0, r.next[two])}
	r.settle(want)
	path := r.path(".idx", 0)
	r.fs.Put(path, old)
	r.settle(want)
	r.fs.Delete(path)
	r.settle(want)
	if now, ok := r.fs.Get(path); !ok || bytes.Equal(now, old) {
		t.Error("not made again")
	}
}

// A cut of the end takes nothing from what was rewritten.
func TestTruncateBehindRewrittenSegments(t *testing.T) {
	x := newFollower(t, small)
	x.fill(8, 3000, true)
	keep := x.last()
	x.checkpoint(keep)
	if _, err := x.log.Reclaim(aof.Floors(func(record.Stream) uint64 { return x.records() - 12 }), aof.ReclaimOptions{}); err != nil {
		t.Fatal(err)
	}
	first := x.log.FirstIndex()
	before, _ := x.log.Earliest(one)
	x.drop(first)
	x.fill(x.log.Stats().Segments.Load()+3, 3000, true)
	x.cut(keep + 1)
	x.put(300, 400)
	x.thread.Close()
	if err := x.log.Close(); err != nil {
		t.Fatal(err)
	}
	mustCheck(t, x.fs)
	x.mustOpen()
	for i, e := range x.model {
		h, payload, err := x.log.Entry(first+uint64(i), nil)
		if err != nil || h.Term != e.term || !bytes.Equal(payload, e.payload) {
			t.Fatal(i, h, err)
		}
	}
	if u, _ := x.log.Stream(one); first == 1 || u.First != before || u.Messages != x.records()-before {
		t.Errorf("first index %d, %+v, %d messages from %d wanted", first, u, x.records()-before, before)
	}
	if err := x.log.Truncate(first); err == nil {
		t.Error("cut below the checkpoint")
	}
}

// Readers on other goroutines see every live message all the time, whether from memory or from files, and hold no removed file.
func TestReclaimBesideReaders(t *testing.T) {
	for _, tail := range []int64{rigSegment, 60 * rigSegment} {
		x := newThreaded(t, func(o *aof.Options, _ *aof.ThreadOptions) { o.TailBytes = tail })
		const frames = 400
		for range frames {
			x.append(x.batch(2000))
		}
		if !x.thread.WaitDurable(frames) {
			t.Fatal("not durable")
		}
		for i := range uint64(2) {
			if err := x.log.WriteCheckpoint(frames-1+i, nil); err != nil {
				t.Fatal(err)
			}
		}
		stop := make(chan struct{})
		var readers sync.WaitGroup
		for n := range 3 {
			readers.Go(func() { readLive(t, x, stop, frames, n == 0) })
		}
		end := time.Now().Add(time.Minute)
		for _, share := range []uint64{7, 5, 3, 2} {
			live := set(func(n uint64) bool { return n%32 < 2 || (n/4)%share == 0 })
			for { // the indexer may be behind
				if _, err := x.log.Reclaim(live, aof.ReclaimOptions{}); err != nil {
					t.Fatal(err)
				}
				if x.log.FirstIndex() >= frames/2 {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("first index %d", x.log.FirstIndex())
				}
				time.Sleep(time.Millisecond)
			}
		}
		close(stop)
		readers.Wait()
		x.close()
	}
}

// readLive reads everything, over and over, and misses no offset that is always alive.
func readLive(t *testing.T, x *threaded, stop chan struct{}, end uint64, byIndex bool) {
	r := x.log.NewReader()
	defer r.Close()
	for {
		select {
		case <-stop:
			return
		default:
		}
		if byIndex {
			for i := uint64(1); i <= end; i += 9 {
				if _, err := x.log.ReadFrame(i, nil); err != nil && !errors.Is(err, aof.ErrNotFound) {
					t.Errorf("frame %d: %v", i, err)
					return
				}
			}
			continue
		}
		next, seen := uint64(0), 0
		_, err := r.Read(one, 0, end, true, func(sec record.Section) bool {
			if sec.Base < next {
				t.Errorf("offset %d behind %d", sec.Base, next)
			}
			next = sec.Base + uint64(sec.Count)
			for n := sec.Base; n < next; n++ {
				if n%32 < 2 {
					seen++
				}
			}
			return true
		})
		if want := int(end/32*2 + min(end%32, 2)); err != nil || seen != want {
			t.Errorf("%d messages of %d: %v", seen, want, err)
			return
		}
	}
}

// A reader that is not asked again does not keep a removed file.
func TestReclaimClosesFilesOfReaders(t *testing.T) {
	const fds = "/proc/self/fd"
	if _, err := os.ReadDir(fds); err != nil {
		t.Skip("no", fds)
	}
	dir := t.TempDir()
	l := mustOpen(t, aof.Options{Dir: dir, SegmentBytes: rigSegment, FrameBytesMax: rigFrame, TailBytes: 2 * rigSegment})
	loop := newPoolLoop(t, l)
	loop.produce(t, one, 300, 2000)
	for i := range uint64(2) {
		if err := l.WriteCheckpoint(299+i, nil); err != nil {
			t.Fatal(err)
		}
	}
	r := l.NewReader()
	defer r.Close()
	if _, err := r.Read(one, 0, 2, true, func(record.Section) bool { return true }); err != nil {
		t.Fatal(err)
	}
	for { // the indexer may be behind
		done, err := l.Reclaim(aof.Floors(func(record.Stream) uint64 { return 290 }), aof.ReclaimOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if done.Dropped > 0 {
			break
		}
	}
	all, err := os.ReadDir(fds)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if to, _ := os.Readlink(fds + "/" + e.Name()); strings.HasPrefix(to, dir) && strings.HasSuffix(to, "(deleted)") {
			t.Error("still open:", to)
		}
	}
	loop.stop()
	mustCloseLog(t, l)
}

// A log may seal a segment before it is full.
func TestRoll(t *testing.T) {
	r := newRig(t)
	if r.log.Roll() {
		t.Error("an empty log rolls")
	}
	r.put(500)
	r.log.Step()
	if !r.log.Roll() || r.log.Roll() {
		t.Error("it does not roll once")
	}
	r.log.Step()
	r.log.Step()
	mustEqual(t, r.count(".idx"), 1)
	r.crash()
	r.mustOpen()
	r.put(600)
	r.put(700)
	if !r.log.Roll() {
		t.Error("it does not roll after a restart")
	}
	r.put(800)
	r.reopen()
	r.read(one, r.next[one])
	r.fs.SetSpace(0)
	for r.log.Roll() {
		r.put(500)
		r.log.Step()
	}
	for r.loops[0].w.Admit() == nil { // what was admitted still has its room
		r.put(rigFrame)
	}
	r.fs.SetSpace(-1)
	r.reopen()
	r.read(one, r.next[one])
}

// A log that nobody writes to keeps no more spares than its room needs, and has them again with the first frame.
func TestReclaimSlims(t *testing.T) {
	for fill := range 14 {
		r := newRig(t, func(o *aof.Options) { o.SegmentBytes = 2 * rigSegment })
		for range fill {
			r.put(5000)
		}
		r.log.Step()
		before := r.log.DiskBytes()
		for range 3 {
			if _, err := r.log.Reclaim(floors{}.live(), aof.ReclaimOptions{Slim: true}); err != nil {
				t.Fatal(err)
			}
			r.log.Step()
		}
		if r.log.DiskBytes() >= before {
			t.Errorf("after %d frames %d bytes of %d", fill, r.log.DiskBytes(), before)
		}
		for range 2 { // two open batches of the largest size, as ever
			if err := r.loops[0].w.Admit(); err != nil {
				t.Fatal(err)
			}
			r.unasked = true
			r.add(0, one, rigFrame)
			r.add(0, one, rigFrame)
			r.loops[0].sub.CompleteAll()
			r.unasked = false
			r.log.Step()
		}
		if r.log.DiskBytes() < before {
			t.Error("the spares are not back")
		}
		r.reopen()
		r.read(one, r.next[one])
	}
}

// count is how many files have this suffix.
func (r *rig) count(suffix string) (n int) {
	for _, p := range r.fs.Paths() {
		if strings.HasSuffix(p, suffix) {
			n++
		}
	}
	return n
}
