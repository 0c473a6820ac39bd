package aof_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"ayder/aof"
	"ayder/internal/record"
)

// BenchmarkCommitBesideReclaim is one producer's synced commits of 4 KiB, alone and while half of 1 GiB is written again without the other half.
// Compare p50-µs and p99-µs; MiB/s is the speed of the rewriting.
func BenchmarkCommitBesideReclaim(b *testing.B) {
	const segment, filled = 64 << 20, 1 << 30
	dir := b.TempDir()
	l, err := aof.Open(aof.Options{Dir: dir, TailBytes: 2 * segment}, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	c := &committer{l: l, posts: make(chan func(), 1024), next: map[record.Stream]uint64{}}
	sub := aof.NewPoolSubmitter(1, func(f func()) { c.posts <- f })
	defer sub.Close()
	c.w = l.NewWriter(sub, func() { c.posts <- func() {} })
	for at := 0; at < filled; at += 256 << 10 {
		c.commit(record.Stream{Topic: 1 + uint32(at>>18&1)}, 256<<10)
	}
	for range 2 {
		c.commit(record.Stream{Topic: 3}, 4096)
		if err := l.WriteCheckpoint(l.Durable(), nil); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("alone", func(b *testing.B) { c.measure(b, nil) })
	b.Run("reclaiming", func(b *testing.B) {
		c.measure(b, func() int64 {
			before := l.DiskBytes()
			if _, err := l.Reclaim(aof.Floors(func(s record.Stream) uint64 {
				if s.Topic == 1 {
					return math.MaxUint64
				}
				return 0
			}), aof.ReclaimOptions{}); err != nil {
				b.Error(err)
			}
			return before / 2
		})
	})
}

// committer commits one batch after the other.
type committer struct {
	l     *aof.Log
	w     *aof.Writer
	posts chan func()
	next  map[record.Stream]uint64

	took  []time.Duration // beside the rewriting, which there is once
	speed float64
}

func (c *committer) commit(s record.Stream, size int) time.Duration {
	for c.w.Admit() != nil {
		(<-c.posts)()
	}
	batch := record.NewBatch()
	batch.Done = func(*record.Batch, error) {}
	batch.AppendRecord(s, c.next[s], &record.Record{Value: make([]byte, size-200)})
	c.next[s]++
	began := time.Now()
	c.w.Append(batch)
	for c.w.InFlight() > 0 {
		(<-c.posts)()
	}
	return time.Since(began)
}

// measure commits as long as background runs, but at least b.N times, and reports what they took.
func (c *committer) measure(b *testing.B, background func() int64) {
	done := make(chan float64, 1)
	switch {
	case c.took != nil:
		c.report(b)
		return
	case background == nil:
		done <- 0
	default:
		go func() {
			began := time.Now()
			bytes := background()
			done <- float64(bytes) / (1 << 20) / time.Since(began).Seconds()
		}()
	}
	var all []time.Duration
	speed := -1.0
	for n := 0; n < max(b.N, 1000) || speed < 0; n++ {
		all = append(all, c.commit(record.Stream{Topic: 3}, 4096))
		select {
		case speed = <-done:
		default:
		}
	}
	slices.Sort(all)
	if c.took, c.speed = all, speed; background == nil {
		defer func() { c.took = nil }()
	}
	c.report(b)
}

func (c *committer) report(b *testing.B) {
	all, speed := c.took, c.speed
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(all[len(all)-1].Microseconds()), "max-µs")
	b.ReportMetric(speed, "MiB/s")
}
