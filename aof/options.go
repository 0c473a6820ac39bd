package aof

import (
	"fmt"
	"log/slog"

	"ayder/internal/record"
)

// What a log is told once, when it is opened. Sizes may differ from one start to the next: every segment says its own. The
// fields at the end are for tests: some are bugs that a test switches on, to prove that the crash tests would
// notice them.

// Options of a log. The zero value of a field means its default.
type Options struct {
	Dir           string
	SegmentBytes  int64        // size of new segments, a multiple of BlockBytes
	TailBytes     int64        // bound of the memory that mirrors the newest segments
	FS            FS           // nil: the operating system's
	Logger        *slog.Logger // nil: silent
	ReplayAfter   uint64       // the index of the checkpoint that the caller has loaded
	WritersMax    int
	InFlightMax   int // commits of one writer that were appended and not yet delivered
	FrameBytesMax int // the largest frame that will be appended, header included

	// Committed is the highest index known to be committed by a majority: every frame carries it as it was when the frame
	// was placed (Header.Staged). Any goroutine; must not block. Nil: there is no majority, what is durable is committed.
	Committed func() uint64

	// OnSealed is called from a goroutine of the log when a full segment is durable and has its
	// sidecar: the moment for a checkpoint. lastIndex is the segment's last. It may block.
	OnSealed func(lastIndex uint64)
	// OnCommit is called on the writer's loop, or the Thread's goroutine, when one of its writes completed well.
	OnCommit func(ns int64, bytes int)

	// OnDamage is called when a reader, or the log itself, meets a frame that was acknowledged and cannot be read. The error
	// wraps ErrDamaged. Any goroutine; must not block. Nil: nobody asks.
	OnDamage func(err error)

	// For tests.
	manual       bool          // no goroutines: the test runs their steps
	ackEarly     bool          // acknowledge before the write completes, to prove that the crash tests notice
	looseRewrite bool          // a rewritten segment gets its name before it is durable, to prove the same
	removeFirst  bool          // the segments that a rewritten one stands for go before it has its name, to prove the same
	rewriteAll   bool          // segments are rewritten that a restart needs, to prove the same
	keepStale    bool          // recovery does not zero stale bytes, to prove the same
	newSeed      func() uint64 // segment seeds
}

// withDefaults fills in what was left zero.
func (o Options) withDefaults() Options {
	o.SegmentBytes = orDefault(o.SegmentBytes, SegmentBytesDefault)
	o.TailBytes = orDefault(o.TailBytes, TailBytesDefault)
	o.WritersMax = orDefault(o.WritersMax, WritersMaxDefault)
	o.InFlightMax = orDefault(o.InFlightMax, InFlightMaxDefault)
	o.FrameBytesMax = orDefault(o.FrameBytesMax, min(FrameBytesDefault, int(o.SegmentBytes-BlockBytes)))
	if o.FS == nil {
		o.FS = OS()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.newSeed == nil {
		o.newSeed = randomSeed
	}
	return o
}

func orDefault[T int | int64](v, d T) T {
	if v == 0 {
		return d
	}
	return v
}

// validate names the first setting that cannot work.
func (o *Options) validate() error {
	switch {
	case o.Dir == "":
		return fmt.Errorf("aof: no directory given")
	case o.SegmentBytes%BlockBytes != 0 || o.SegmentBytes < SegmentBytesMin || o.SegmentBytes > SegmentBytesMax:
		return fmt.Errorf("aof: segment size %d: want a multiple of %d from %d to %d", o.SegmentBytes, BlockBytes, SegmentBytesMin, SegmentBytesMax)
	case o.FrameBytesMax < record.FrameHeaderBytes || int64(o.FrameBytesMax) > o.SegmentBytes-BlockBytes || o.FrameBytesMax > record.FrameBytesMax:
		return fmt.Errorf("aof: frame size %d does not fit a segment of %d", o.FrameBytesMax, o.SegmentBytes)
	case o.WritersMax < 1 || o.WritersMax > WritersMaxLimit:
		return fmt.Errorf("aof: %d writers: want 1 to %d", o.WritersMax, WritersMaxLimit)
	case o.InFlightMax < 1 || o.InFlightMax > InFlightMaxLimit:
		return fmt.Errorf("aof: %d commits in flight: want 1 to %d", o.InFlightMax, InFlightMaxLimit)
	}
	return nil
}
