package aof

import (
	"math"

	"ayder/internal/record"
)

// What is alive is known to the log's owner alone: the log has bytes of streams, and nothing in them says that nobody wants them any
// more. So it asks, off the loops, before it gives space back.

// Range is the offsets of a stream from First up to but not including Next.
type Range struct{ First, Next uint64 }

// Liveness tells which messages are still wanted. It is asked by Reclaim, on the goroutine that called that, with no lock of the log held:
// it may block, for instance to have a loop answer. Answers may be out of date in one direction only: what was called dead
// must stay dead, and no state that a restart can come to (the newest checkpoint, and whatever is in the log behind it) may need
// it. Commands need no answer: what a checkpoint covers is in it.
type Liveness interface {
	// Count is how many offsets in [first, next) of s are alive. It is asked of every stream of every segment each time, so it has to be cheap.
	Count(s record.Stream, first, next uint64) uint64
	// Alive appends those offsets to dst, as ranges that grow and do not touch. It is asked of segments that are about to be rewritten.
	Alive(dst []Range, s record.Stream, first, next uint64) []Range
}

// Floors is the Liveness of streams that are cut at the front: it gives the first offset of a stream that is kept, and AllDead if nothing is.
type Floors func(s record.Stream) uint64

// AllDead is the floor of a stream of which nothing is wanted.
const AllDead = math.MaxUint64

// Count implements Liveness.
func (f Floors) Count(s record.Stream, first, next uint64) uint64 {
	return next - min(max(f(s), first), next)
}

// Alive implements Liveness.
func (f Floors) Alive(dst []Range, s record.Stream, first, next uint64) []Range {
	if first = max(f(s), first); first < next {
		dst = append(dst, Range{first, next})
	}
	return dst
}
