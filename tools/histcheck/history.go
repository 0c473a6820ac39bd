package main

import (
	"cmp"
	"slices"
)

// The history: what every client asked for, when, and what it was told when. Times are nanoseconds of this
// process's monotonic clock, taken before the first byte goes out and after the last one came in.
//
// An operation whose outcome is unknown (a broken connection, a timeout, 504, leadership_lost) may have taken
// effect at any time after its call, or never. Most such operations leave a trace: a message has unique bytes,
// so the log at the end of the run tells whether it is there, and at which offset. resolve uses that:
//
//	found in the final log      it returns "for ever later", with the offset at which it was found
//	not found                   it never took effect: messages are not removed, so it is left out
//
// That is exact, not an approximation, and it keeps the search short. An acknowledged operation is never
// changed by it. Commits leave no such trace and stay open.

// kind is what an operation does.
type kind uint8

const (
	kindAppend    kind = iota // produce
	kindKeyed                 // produce with an idempotency key, tried again until it is answered
	kindSwap                  // produce with expected_offset: compare and set
	kindRead                  // consume, linearizable
	kindCommit                // commit a group's offset
	kindCommitted             // read it, linearizable
	kindFollower              // consume on a follower: a prefix, of any age
	kindCount
)

var kindNames = [kindCount]string{"append", "keyed append", "compare-and-set", "read", "commit", "committed", "follower read"}

func (k kind) String() string { return kindNames[k] }

// writes tells that an operation appends a message.
func (k kind) writes() bool { return k <= kindSwap }

// outcome is what a client knows at the end.
type outcome uint8

const (
	outcomeOK      outcome = iota
	outcomeFailed          // judged and declined: 412, with the state that it was judged by
	outcomeRefused         // certainly without effect: no leader, connection refused, overloaded
	outcomeUnknown         // may take effect at any time, or never
	outcomeCount
)

var outcomeNames = [outcomeCount]string{"ok", "declined", "refused", "unknown"}

func (o outcome) String() string { return outcomeNames[o] }

// op is one operation.
type op struct {
	client    int
	node      int // that was asked first
	partition int
	kind      kind
	outcome   outcome
	call, ret int64

	id     uint64 // of a write: names its message
	offset uint64 // of a write: where it is; of a commit and committed: the group's offset
	expect uint64 // of a swap: what the next offset must be
	next   uint64 // of a failed swap and of a read: the next offset that was told
	from   uint64 // of a read: the first offset asked for
	ids    []uint64
	more   bool // of a read: there was more than fitted
}

// history is all operations. Each client appends to its own list; they are joined when all have ended.
type history []op

// join merges the clients' lists in the order of their calls.
func join(lists [][]op) history {
	h := slices.Concat(lists...)
	slices.SortStableFunc(h, func(a, b op) int { return cmp.Compare(a.call, b.call) })
	return h
}

// partitions groups a history by partition.
func (h history) partitions() map[int]history {
	m := make(map[int]history)
	for _, o := range h {
		m[o.partition] = append(m[o.partition], o)
	}
	return m
}

// place says where the final log holds a message.
type place struct {
	partition int
	offset    uint64
}

// resolve settles the writes of unknown outcome by the final log, and leaves out what had no effect and told
// nothing.
func (h history) resolve(final map[uint64]place) history {
	settled := make(history, 0, len(h))
	for _, o := range h {
		switch {
		case o.outcome == outcomeRefused:
			continue
		case o.outcome != outcomeUnknown:
		case o.kind == kindCommit:
			o.ret = forever
		case o.kind.writes():
			p, found := final[o.id]
			if !found || p.partition != o.partition {
				continue
			}
			o.outcome, o.offset, o.ret = outcomeOK, p.offset, forever
		default:
			continue // a read that nobody saw
		}
		settled = append(settled, o)
	}
	return settled
}

// tally counts operations by kind and outcome.
func (h history) tally() (t [kindCount][outcomeCount]int) {
	for _, o := range h {
		t[o.kind][o.outcome]++
	}
	return t
}

// writeGap is the longest time without an acknowledged write between the first and the last.
func (h history) writeGap() (gap, at int64) {
	var acked []int64
	for _, o := range h {
		if o.kind.writes() && o.outcome == outcomeOK {
			acked = append(acked, o.ret)
		}
	}
	slices.Sort(acked)
	for i := 1; i < len(acked); i++ {
		if d := acked[i] - acked[i-1]; d > gap {
			gap, at = d, acked[i-1]
		}
	}
	return gap, at
}
