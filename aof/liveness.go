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

// UsageOf is what the log has of the offsets [first, next) of s. Messages and Bytes are exact for segments that lie within; of one that does
// not, Bytes is its share by the number of offsets. It reads no file. Any goroutine.
func (l *Log) UsageOf(s record.Stream, first, next uint64) (u Usage) {
	u.First, u.Next = next, first
	st := l.index.get(s)
	if st == nil {
		return u
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, sp := range st.spans {
		r := sp.run
		from, to := max(first, r.first), min(next, r.next)
		if from >= to {
			continue
		}
		u.First, u.Next = min(u.First, from), to
		if from == r.first && to == r.next {
			u.Messages += r.messages
			u.Bytes += r.bytes
			continue
		}
		share := float64(to-from) / float64(r.next-r.first)
		u.Messages += uint64(share * float64(r.messages))
		u.Bytes += uint64(share * float64(r.bytes))
	}
	return u
}
