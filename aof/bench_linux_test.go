package aof_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ayder/aof"
	"ayder/internal/record"
	"ayder/internal/uring"
)

// BenchmarkCommit measures Append→Done through io_uring in a loop of its own, one commit in flight, for batches of 1, 64
// and 400 records of 64 bytes. BenchmarkDiskSync beside it is what the disk itself takes for one durable 4 KiB write.
// p50 is reported in microseconds; both need TMPDIR on a real disk.
func BenchmarkCommit(b *testing.B) {
	for _, records := range []int{1, 64, 400} {
		for _, flight := range []int{1, 2} {
			b.Run(fmt.Sprintf("records=%d/inflight=%d", records, flight), func(b *testing.B) { benchCommit(b, records, flight) })
		}
	}
}

func benchCommit(b *testing.B, records, flight int) {
	if err := uring.Probe(); err != nil {
		b.Skip(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ring, err := uring.New(uring.Config{Entries: 64})
	if err != nil {
		b.Fatal(err)
	}
	defer ring.Close()
	var took []int64
	l, err := aof.Open(aof.Options{Dir: b.TempDir(), OnCommit: func(ns int64, _ int) { took = append(took, ns) }}, nil)
	if err != nil {
		b.Fatal(err)
	}
	waker, err := ring.NewWaker(func() {})
	if err != nil {
		b.Fatal(err)
	}
	w := l.NewWriter(aof.NewRingSubmitter(ring), waker.Wake)
	value := make([]byte, 64)
	next := uint64(0)
	batches := make([]*record.Batch, flight)
	free := make([]*record.Batch, 0, flight)
	for i := range batches {
		batches[i] = record.NewBatch()
		batches[i].Done = func(batch *record.Batch, err error) {
			if err != nil {
				b.Error(err)
			}
			free = append(free, batch)
		}
		free = append(free, batches[i])
	}
	turn := func() {
		if err := ring.Wait(time.Second); err != nil {
			b.Fatal(err)
		}
		ring.Dispatch()
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		for len(free) == 0 || w.Admit() != nil {
			turn()
		}
		batch := free[len(free)-1]
		free = free[:len(free)-1]
		batch.Reset(1 << 20)
		for range records {
			batch.AppendRecord(record.Stream{Topic: 1}, next, &record.Record{Value: value})
			next++
		}
		w.Append(batch)
	}
	for len(free) < flight {
		turn()
	}
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2])/1e3, "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100])/1e3, "p99-µs")
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkDiskSync is one O_DIRECT, O_DSYNC write of 4 KiB into a file full of zeros.
func BenchmarkDiskSync(b *testing.B) {
	path := filepath.Join(b.TempDir(), "zeros")
	if err := os.WriteFile(path, make([]byte, 16<<20), 0o644); err != nil {
		b.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_DIRECT|unix.O_DSYNC, 0)
	if err != nil {
		b.Skip(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	block, err := uring.Anon(4096)
	if err != nil {
		b.Fatal(err)
	}
	var took []int64
	b.ResetTimer()
	for i := range b.N {
		started := time.Now()
		if _, err := f.WriteAt(block, int64(i%4096)*4096); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(started).Nanoseconds())
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2])/1e3, "p50-µs")
}
