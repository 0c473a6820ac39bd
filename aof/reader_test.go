package aof_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"ayder/aof"
	"ayder/internal/record"
)

// cooled is a rig whose tail is one segment: older ones are read from their files.
func cooled(t *testing.T) *rig {
	return newRig(t, func(o *aof.Options) { o.TailBytes = 1 })
}

func TestReadFromMemoryOnly(t *testing.T) {
	r := newRig(t)
	r.fill(3, 3000)
	mustEqual(t, r.read(one, r.next[one]), 0)
	mustEqual(t, r.log.Stats().FramesRead.Load(), 0)
}

func TestReadColdThenHot(t *testing.T) {
	r := cooled(t)
	r.fill(4, 3000)
	if cold := r.read(one, r.next[one]); cold == 0 {
		t.Error("nothing was cold")
	}
	if r.log.Stats().ColdBytes.Load() == 0 || r.log.Stats().FramesRead.Load() == 0 {
		t.Error("nothing was read from files")
	}
	reader := r.log.NewReader() // the newest is still in memory
	defer reader.Close()
	_, err := reader.Read(one, r.next[one]-1, r.next[one], false, func(record.Section) bool { return true })
	if err != nil {
		t.Error(err)
	}
}

func TestColdStopsWhereTheFileBegins(t *testing.T) {
	r := cooled(t)
	r.fill(4, 3000)
	reader := r.log.NewReader()
	defer reader.Close()
	next, err := reader.Read(one, 0, r.next[one], false, func(record.Section) bool {
		t.Error("visited something cold")
		return true
	})
	mustBe(t, err, aof.ErrCold)
	mustEqual(t, next, 0)
}

func TestImagesAreBounded(t *testing.T) {
	r := newRig(t, func(o *aof.Options) { o.TailBytes = 4 * rigSegment })
	r.fill(12, 3000)
	if got := r.log.ImageBytes(); got > 5*rigSegment {
		t.Errorf("%d bytes of images, the bound is %d and one kept", got, 4*rigSegment)
	}
	r.reopen()
	r.read(one, r.next[one])
}

func TestReadStopsWhenToldTo(t *testing.T) {
	r := newRig(t)
	for range 5 {
		r.put(300)
	}
	reader := r.log.NewReader()
	defer reader.Close()
	seen := 0
	next, err := reader.Read(one, 1, 5, false, func(record.Section) bool {
		seen++
		return seen < 2
	})
	mustEqual(t, []any{next, err, seen}, []any{3, nil, 2})
}

func TestReadNeverPassesTheEnd(t *testing.T) {
	r := newRig(t)
	for range 3 {
		r.put(300)
	}
	r.add(0, one, 300) // in flight
	reader := r.log.NewReader()
	defer reader.Close()
	last := uint64(0)
	next, err := reader.Read(one, 0, 3, false, func(sec record.Section) bool {
		last = sec.Base
		return true
	})
	mustEqual(t, []any{next, err, last}, []any{3, nil, 2})
}

func TestReadOfNothing(t *testing.T) {
	r := newRig(t)
	r.put(300)
	reader := r.log.NewReader()
	defer reader.Close()
	never := func(record.Section) bool { t.Error("visited"); return true }
	for _, c := range []struct {
		s           record.Stream
		offset, end uint64
	}{{two, 0, 10}, {one, 1, 1}, {one, 1, 10}, {one, 5, 10}, {one, 0, 0}} {
		next, err := reader.Read(c.s, c.offset, c.end, true, never)
		mustEqual(t, []any{next, err}, []any{c.offset, nil})
	}
}

// A section may begin below the offset and reach beyond the end: the reader gives it whole.
func TestReadInsideASection(t *testing.T) {
	r := newRig(t)
	b := record.NewBatch()
	for offset := range uint64(10) {
		b.AppendRecord(one, offset, &record.Record{Value: []byte{byte(offset)}})
	}
	b.Done = func(*record.Batch, error) {}
	r.loops[0].w.Append(b)
	r.loops[0].sub.CompleteAll()
	reader := r.log.NewReader()
	defer reader.Close()
	next, err := reader.Read(one, 4, 6, false, func(sec record.Section) bool {
		mustEqual(t, []any{sec.Base, sec.Count}, []any{0, 10})
		return true
	})
	mustEqual(t, []any{next, err}, []any{10, nil})
}

// Sections of several streams share frames, and offsets of a stream may have gaps.
func TestReadAmongOtherStreams(t *testing.T) {
	r := cooled(t)
	rng := rand.New(rand.NewPCG(3, 3))
	var offsets [3][]uint64
	var next [3]uint64
	for range 300 {
		b := record.NewBatch()
		for range 1 + rng.IntN(6) {
			s := rng.IntN(3)
			if rng.IntN(10) == 0 {
				next[s] += uint64(rng.IntN(100))
			}
			b.AppendRecord(record.Stream{Topic: 5, Partition: uint32(s)}, next[s], &record.Record{Value: []byte{byte(next[s])}})
			offsets[s] = append(offsets[s], next[s])
			next[s]++
		}
		b.Done = func(*record.Batch, error) {}
		if r.loops[0].w.Admit() != nil {
			r.log.Step()
		}
		r.loops[0].w.Append(b)
		r.loops[0].sub.CompleteAll()
	}
	r.log.Step()
	for _, reopen := range []bool{false, true} {
		if reopen {
			r.mustClose()
			var err error
			if r.log, err = aof.Open(r.o, nil); err != nil {
				t.Fatal(err)
			}
		}
		for s := range offsets {
			readOffsets(t, r.log, record.Stream{Topic: 5, Partition: uint32(s)}, offsets[s], next[s], rng)
		}
	}
}

// readOffsets reads from every offset, also from inside gaps, a few at a time.
func readOffsets(t *testing.T, l *aof.Log, s record.Stream, want []uint64, end uint64, rng *rand.Rand) {
	t.Helper()
	reader := l.NewReader()
	defer reader.Close()
	for from := uint64(0); from < end; from += 1 + uint64(rng.IntN(5)) {
		var got []uint64
		_, err := reader.Read(s, from, end, true, func(sec record.Section) bool {
			for i := range uint64(sec.Count) {
				if o := sec.Base + i; o >= from {
					got = append(got, o)
				}
			}
			return len(got) < 8
		})
		if err != nil {
			t.Fatal(err)
		}
		i := 0
		for i < len(want) && want[i] < from {
			i++
		}
		if len(got) > len(want)-i || (len(got) < 8 && len(got) != len(want)-i) {
			t.Fatalf("%v from %d: %d offsets, there are %d", s, from, len(got), len(want)-i)
		}
		mustEqual(t, got, want[i:i+len(got)])
	}
}

func TestDamagedColdFrameIsAnError(t *testing.T) {
	r := cooled(t)
	r.fill(4, 3000)
	r.mustClose()
	path := r.path(".aof", 0)
	end := r.log.LastIndex()
	_ = end
	r.o.ReplayAfter = uint64(r.next[one]) - 1
	r.edit(path, func(b []byte) { b[4096+3000+500] ^= 1 })
	r.mustOpen()
	reader := r.log.NewReader()
	defer reader.Close()
	seen := 0
	next, err := reader.Read(one, 0, r.next[one], true, func(record.Section) bool { seen++; return true })
	mustBe(t, err, aof.ErrDamaged)
	mustEqual(t, []any{next, seen}, []any{1, 1})
	var d *aof.Damage
	if !errors.As(err, &d) || d.File != path || d.Pos != 4096+3000 {
		t.Errorf("damage %+v", d)
	}
	next, err = reader.Read(one, 2, r.next[one], true, func(record.Section) bool { return true })
	mustEqual(t, []any{next, err}, []any{r.next[one], nil})
}

func TestUsage(t *testing.T) {
	r := cooled(t)
	if _, ok := r.log.Earliest(one); ok {
		t.Error("an empty log has a first offset")
	}
	r.fill(4, 3000)
	r.add(0, two, 1000)
	r.loops[0].sub.CompleteAll()
	for range 2 {
		u, ok := r.log.Stream(one)
		n := r.next[one]
		mustEqual(t, []any{u, ok}, []any{aof.Usage{First: 0, Next: n, Messages: n, Bytes: n * (3000 - record.FrameHeaderBytes)}, true})
		mustEqual(t, r.log.StreamBytes(two), record.AlignedSize(1000-record.FrameHeaderBytes))
		r.reopen()
	}
}

func TestReadFrameByIndex(t *testing.T) {
	r := cooled(t)
	r.fill(4, 3000)
	last := r.log.LastIndex()
	r.add(0, one, 300) // not durable
	for _, index := range []uint64{0, last + 1, last + 2, 1 << 60} {
		_, err := r.log.ReadFrame(index, nil)
		mustBe(t, err, aof.ErrNotFound)
	}
	r.loops[0].sub.CompleteAll()
	for round := range 2 {
		buf := make([]byte, 0, 10)
		for _, index := range rand.Perm(int(last)) {
			f, err := r.log.ReadFrame(uint64(index+1), buf)
			if err != nil || f.Index != uint64(index+1) || string(valueOf(f)) != string(r.values[f.Index]) {
				t.Fatalf("round %d, index %d: %+v %v", round, index+1, f.Header, err)
			}
			buf = f.Payload
		}
		r.reopen()
	}
}

// Readers on other goroutines while a writer appends, segments roll and images go: run with -race.
func TestConcurrentReaders(t *testing.T) {
	r := cooled(t)
	r.put(300)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Add(1)
		go func() {
			defer readers.Done()
			reader := r.log.NewReader()
			defer reader.Close()
			for at := uint64(0); ; {
				select {
				case <-stop:
					return
				default:
				}
				end := r.log.Durable() // one record each: offset index-1
				next, err := reader.Read(one, at, end, at%2 == 0, func(sec record.Section) bool {
					it := sec.Records()
					_, ok := it.Next()
					return ok
				})
				if err != nil && !errors.Is(err, aof.ErrCold) {
					t.Error(err)
					return
				}
				if at = next; at >= end || err != nil {
					at = (at * 7) % end
				}
				if _, err := r.log.ReadFrame(1+at%end, nil); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	for range 600 {
		r.put(300 + int(r.next[one]%7)*800)
		r.log.Step()
	}
	close(stop)
	readers.Wait()
}
