package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"ayder/bench/proc"
	"ayder/bench/result"
)

// -target disk: one synced 4 KiB write at a time into a file that is already full
// of zeros, by pwritev2 with RWF_DSYNC on an O_DIRECT descriptor. Nothing that
// promises durability for each message can answer one client faster than that, so
// it is the yardstick for latencies at one connection.
//
// The file is written with zeros and synced first: into merely allocated blocks
// every write would also change the file system's metadata and cost twice as much.
const (
	diskBlockBytes = 4 << 10
	diskFileBytes  = 64 << 20 // the default size of a log segment
)

// measureDisk does the whole run for -target disk.
func measureDisk(c *config) (*measurement, error) {
	f, err := zeroFile(filepath.Join(c.dir, fmt.Sprintf("ayder-bench-disk-%d", os.Getpid())))
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	block, err := unix.Mmap(-1, 0, diskBlockBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("map a block: %w", err)
	}
	defer func() { _ = unix.Munmap(block) }()
	copy(block, payload(diskBlockBytes))
	if _, err := writeBlocks(f, block, c.warmup, 0); err != nil {
		return nil, err
	}
	cpu, err := proc.Begin()
	if err != nil {
		return nil, err
	}
	r, err := writeBlocks(f, block, c.duration, c.requests)
	if err != nil {
		return nil, err
	}
	m := &measurement{total: r.all(), result: &result.Result{Target: "disk", Workload: "write", Connections: 1, Pipeline: 1}}
	r.fill(m.result, 0)
	return m, cpu.End(m.result)
}

// zeroFile makes the file; O_DIRECT is left out where the file system refuses it
// (tmpfs), which makes the figure one of memory, not of a disk.
func zeroFile(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := fillZeros(f); err != nil {
		_ = f.Close()
		_ = os.Remove(name)
		return nil, fmt.Errorf("fill %s: %w", name, err)
	}
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_SETFL, flags|unix.O_DIRECT)
	}
	if err != nil && !errors.Is(err, unix.EINVAL) {
		_ = f.Close()
		_ = os.Remove(name)
		return nil, fmt.Errorf("set O_DIRECT on %s: %w", name, err)
	}
	return f, nil
}

func fillZeros(f *os.File) error {
	zeros := make([]byte, 1<<20)
	for range diskFileBytes / len(zeros) {
		if _, err := f.Write(zeros); err != nil {
			return err
		}
	}
	return f.Sync()
}

// writeBlocks writes for a time, or a number of writes, from the file's begin to
// its end and again.
func writeBlocks(f *os.File, block []byte, duration time.Duration, writes int64) (*recorder, error) {
	r := newRecorder([]string{"write"}, false)
	base := time.Now()
	p := newClosedPacer(0, duration, writes)
	position := int64(0)
	for {
		start, ok := p.take(int64(time.Since(base)))
		if !ok {
			return r, nil
		}
		n, err := unix.Pwritev2(int(f.Fd()), [][]byte{block}, position, unix.RWF_DSYNC)
		if err != nil || n != len(block) {
			return nil, fmt.Errorf("write %s at %d: %d bytes, %w", f.Name(), position, n, err)
		}
		r.answer(0, 1, start, int64(time.Since(base)))
		r.sent += int64(n)
		position = (position + diskBlockBytes) % diskFileBytes
	}
}
