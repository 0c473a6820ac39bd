package aof_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"ayder/aof"
	"ayder/internal/record"
)

// timed appends a batch with this time that holds records of stream one and two with these times.
func (r *rig) timed(batchMs uint64, ones, twos []uint64) {
	r.t.Helper()
	l := r.loops[0]
	if err := l.w.Admit(); err != nil {
		r.log.Step()
		if err = l.w.Admit(); err != nil {
			r.t.Fatal(err)
		}
	}
	b := record.NewBatch()
	b.TimeMs = batchMs
	value := make([]byte, 300)
	for s, times := range map[record.Stream][]uint64{one: ones, two: twos} {
		for _, ms := range times {
			b.AppendRecord(s, r.next[s], &record.Record{TimeMs: ms, Value: value})
			r.next[s]++
		}
	}
	b.Done = func(*record.Batch, error) {}
	l.w.Append(b)
	r.values[b.Index] = value
	l.sub.CompleteAll()
}

// since is the first record of s in [offset, end) that is no older than ms, as ReadSince and its caller find it; end if there is none.
func (r *rig) since(reader *aof.Reader, s record.Stream, offset, end, ms uint64) (found uint64, shown int) {
	r.t.Helper()
	found = end
	_, err := reader.ReadSince(s, offset, end, ms, func(sec record.Section) bool {
		shown++
		at := sec.Base
		it := sec.Records()
		for rec, ok := it.Next(); ok; rec, ok = it.Next() {
			if at >= offset && at < end && rec.TimeMs >= ms {
				found = at
				return false
			}
			at++
		}
		return true
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return found, shown
}

// TestReadSinceFindsTheFirst compares with a search record by record, whatever times clients set, hot and cold, after a
// restart, and with the sidecars made anew.
func TestReadSinceFindsTheFirst(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			tail := []int64{1, 100 * rigSegment}[seed%2]
			r := newRig(t, func(o *aof.Options) { o.TailBytes = tail })
			times := map[record.Stream][]uint64{}
			clock := uint64(1000)
			draw := func() (all []uint64) {
				for range rng.IntN(4) {
					ms := clock
					switch rng.IntN(12) {
					case 0:
						ms = rng.Uint64N(clock)
					case 1:
						ms = clock + rng.Uint64N(50)
					case 2:
						ms = clock + rng.Uint64N(5000)
					}
					all = append(all, ms)
				}
				return all
			}
			for r.log.Stats().Segments.Load() < 8 {
				clock += rng.Uint64N(3)
				if rng.IntN(40) == 0 {
					clock += 500
				}
				ones, twos := draw(), draw()
				if len(ones)+len(twos) == 0 {
					continue
				}
				r.timed(clock-min(rng.Uint64N(3), 2), ones, twos) // clocks of two loops differ a little
				times[one], times[two] = append(times[one], ones...), append(times[two], twos...)
				if rng.IntN(10) == 0 {
					r.log.Step()
				}
			}
			r.log.Step()
			check := func() {
				t.Helper()
				reader := r.log.NewReader()
				defer reader.Close()
				for range 200 {
					s := []record.Stream{one, two}[rng.IntN(2)]
					end := rng.Uint64N(r.next[s] + 1)
					offset, ms := rng.Uint64N(end+1), 900+rng.Uint64N(clock-900+6000)
					want := end
					for at := offset; at < end; at++ {
						if times[s][at] >= ms {
							want = at
							break
						}
					}
					if got, _ := r.since(reader, s, offset, end, ms); got != want {
						t.Fatalf("%v from %d to %d since %d: found %d, want %d", s, offset, end, ms, got, want)
					}
				}
			}
			check()
			r.reopen()
			check()
		})
	}
}

// TestReadSincePassesOver: where nobody sets times, one section is shown, and few frames are read.
func TestReadSincePassesOver(t *testing.T) {
	r := newRig(t, func(o *aof.Options) { o.TailBytes = 1 })
	clock := uint64(1000)
	for r.log.Stats().Segments.Load() < 12 {
		clock++
		r.timed(clock, []uint64{clock}, nil)
		r.log.Step()
	}
	reader := r.log.NewReader()
	defer reader.Close()
	for _, ms := range []uint64{0, 1001, 1002, (1000 + clock) / 2, clock, clock + 1} {
		before := r.log.Stats().FramesRead.Load()
		found, shown := r.since(reader, one, 0, r.next[one], ms)
		want := max(ms, 1001) - 1001
		if found != want || shown > 1 {
			t.Errorf("since %d: found %d, want %d; %d sections shown", ms, found, want, shown)
		}
		if read := r.log.Stats().FramesRead.Load() - before; read > 12 {
			t.Errorf("since %d: %d frames read of %d", ms, read, clock-1000)
		}
	}
}
