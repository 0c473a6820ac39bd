package engine

import (
	"crypto/sha256"
	"encoding/binary"
)

// The idempotency window: which keys a partition has seen lately, and where they went.
//
// A key is remembered as 128 bits of its SHA-256. Whoever finds two keys with the same bits makes the
// engine answer "duplicate" to a message that it never stored, so a fast hash that collides on purpose or
// by the million will not do; with this one, a million keys collide by chance once in 10^26 windows and
// nobody can construct a pair. The keys themselves would cost more memory, and more time to compare.
//
// A million keys are 57 MB: 51 to 62 bytes each, 72 while the table is moving. They are in two parts without
// pointers, which the collector never walks:
//
//	chunks of entries, 40 bytes each, in the order of their application: a queue
//	┌───────────────┐ ┌───────────────┐ ┌───────┐
//	│ oldest …      │ │               │ │ … new │     entry: hash 16 | first 8 | time 8 | count 4
//	└───────────────┘ └───────────────┘ └───────┘
//	 ↑ head                                     ↑ tail
//	table of slots, 8 bytes each, open addressing: where in the queue a hash is (table.go)
//
// Neither grows in one go, so no produce ever waits for a copy of megabytes: the queue grows by a chunk,
// the table moves its slots to a larger one step by step.
//
// A key is forgotten when it is older than the window by the time of the frame at hand, or when it is not among
// the newest IdemKeysMax. Taking expired entries out is spread over later frames and lags behind; since
// every reader compares times, that shows nowhere, and the state as AppendState defines it depends on the log alone.

// keyHash is the first 128 bits of a key's SHA-256.
type keyHash [2]uint64

func hashKey(key []byte) keyHash {
	sum := sha256.Sum256(key)
	return keyHash{binary.LittleEndian.Uint64(sum[:]), binary.LittleEndian.Uint64(sum[8:])}
}

// entry is one remembered key. It contains no pointer.
type entry struct {
	hash   keyHash
	first  uint64 // offset of the first record
	timeMs uint64 // of the frame
	count  uint32 // records
}

// expired tells whether an entry of the given time is out of the window at now.
func expired(timeMs, now, windowMs uint64) bool { return now > timeMs && now-timeMs >= windowMs }

// window remembers the keys of one partition.
type window struct {
	queue queue
	table table
}

// lookup returns the entry of a key that has not expired at now, nil if there is none. It is valid
// until the window changes.
func (w *window) lookup(h keyHash, now, windowMs uint64) *entry {
	seq, ok := w.table.find(h, &w.queue)
	if !ok {
		return nil
	}
	k := w.queue.at(seq)
	if expired(k.timeMs, now, windowMs) {
		return nil
	}
	return k
}

// put adds a key, in place of an older entry of the same key, and takes out some that are too many or too old.
func (w *window) put(k entry, windowMs uint64, most int) {
	if n := w.queue.len(); n > 0 {
		k.timeMs = max(k.timeMs, w.queue.at(w.queue.tail-1).timeMs) // Invariant: times never fall along the queue
	}
	for w.queue.len() >= most {
		w.drop()
	}
	w.expire(k.timeMs, windowMs, expireKeysMax)
	seq := w.queue.push(k)
	w.table.put(k.hash, seq, &w.queue)
}

// expire drops up to n entries that have expired at now and returns how many did.
func (w *window) expire(now, windowMs uint64, n int) int {
	for i := range n {
		if w.queue.len() == 0 || !expired(w.queue.at(w.queue.head).timeMs, now, windowMs) {
			return i
		}
		w.drop()
	}
	return n
}

func (w *window) drop() {
	w.table.remove(w.queue.at(w.queue.head).hash, w.queue.head)
	w.queue.pop()
}

// queue is a first-in-first-out list of entries, addressed by sequence numbers that start at 0.
type queue struct {
	head, tail uint64    // oldest entry, one above the newest
	chunks     [][]entry // chunk n, with the entries n<<chunkBits …, is at n modulo the length, a power of two
	spare      []entry   // an emptied chunk, kept for the next one
	shared     uint64    // a Capture may be reading entries below; their chunks are not used again
}

func (q *queue) len() int { return int(q.tail - q.head) }

func (q *queue) chunk(seq uint64) *[]entry {
	return &q.chunks[(seq>>chunkBits)&uint64(len(q.chunks)-1)]
}

func (q *queue) at(seq uint64) *entry { return &(*q.chunk(seq))[seq&(chunkKeys-1)] }

// push appends k and returns its sequence number.
func (q *queue) push(k entry) uint64 {
	if q.tail&(chunkKeys-1) == 0 {
		q.openChunk()
	}
	c := q.chunk(q.tail)
	if len(*c) == cap(*c) {
		*c = append(make([]entry, 0, min(2*cap(*c), chunkKeys)), *c...)
	}
	*c = append(*c, k)
	q.tail++
	return q.tail - 1
}

// openChunk makes room for the entry at tail, the first of its chunk. The first chunk of a window
// starts small: most windows hold a handful of keys.
func (q *queue) openChunk() {
	if (q.tail-q.head+chunkKeys-1)>>chunkBits >= uint64(len(q.chunks)) {
		q.growChunks()
	}
	c := q.chunk(q.tail)
	switch {
	case q.spare != nil:
		*c, q.spare = q.spare[:0], nil
	case q.tail == 0:
		*c = make([]entry, 0, chunkKeysInitial)
	default:
		*c = make([]entry, 0, chunkKeys)
	}
}

func (q *queue) growChunks() {
	old := *q
	q.chunks = make([][]entry, max(1, 2*len(old.chunks)))
	if len(old.chunks) == 0 {
		return
	}
	for seq := q.head &^ (chunkKeys - 1); seq < q.tail; seq += chunkKeys {
		*q.chunk(seq) = *old.chunk(seq)
	}
}

// pop removes the oldest entry.
func (q *queue) pop() {
	q.head++
	if q.head&(chunkKeys-1) != 0 {
		return
	}
	c := q.chunk(q.head - 1)
	if q.head-chunkKeys >= q.shared && cap(*c) == chunkKeys {
		q.spare = *c
	}
	*c = nil
}
