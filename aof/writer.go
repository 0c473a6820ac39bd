package aof

import (
	"fmt"
	"math/bits"
	"time"

	"ayder/internal/record"
)

// A Writer appends batches for one loop; all its methods belong to that loop. The life of a batch:
//
//	Admit ─► (the owner fills the batch) ─► Append: place, seal, copy into the image, index, submit
//	                                            │ the submitter's completion, on this loop
//	                                            ▼
//	       Done, in log order  ◄── Deliver ◄── committed: mark, extend the durable prefix
//
// A completion may make batches of other writers durable: those are woken and deliver on their own loops. Each writer
// keeps its batches in a ring in log order, so delivering is popping while the head is durable, and needs no lock.
// A place in the ring is also the token of the write.

// Submitter starts the durable writes of one writer. Two kinds exist: RingSubmitter and PoolSubmitter (and the tests').
type Submitter interface {
	// Start is called once, by NewWriter: complete must be called on the writer's loop, once per Write, never from
	// inside Write.
	Start(complete func(token uint64, n int, err error))
	// Write starts a durable write of p, whole blocks from page-aligned memory, at off of f, and returns at
	// once. p belongs to the submitter until the completion; n is how many bytes are durable.
	Write(token uint64, f File, p []byte, off int64)
}

// soloTerm is the term of every frame written without Raft.
const soloTerm = 1

// Writer is one loop's access to the log.
type Writer struct {
	log  *Log
	id   int
	sub  Submitter
	wake func() // any thread

	ring       []flight // by token: position modulo length
	head, tail uint64   // parked batches are [head, tail)
	delivering bool
	refused    bool // Admit said no; guarded by Log.mu
}

// flight is one batch from Append to Done.
type flight struct {
	batch   *record.Batch
	index   uint64 // 0: was never placed, the log had failed
	seg     *segment
	data    []byte // not yet durable
	off     int64
	written int
	started time.Time
}

// NewWriter registers a loop. wake is called from any thread when Deliver has work or when Admit, having refused, is
// worth asking again; it must not block.
func (l *Log) NewWriter(sub Submitter, wake func()) *Writer {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.writerCount == l.o.WritersMax {
		panic(fmt.Sprintf("bug: more than %d writers", l.o.WritersMax))
	}
	w := &Writer{log: l, id: l.writerCount, sub: sub, wake: wake, ring: make([]flight, l.o.InFlightMax)}
	l.writers[w.id] = w
	l.writerCount++
	l.need.Store(int64(l.writerCount * openBatchesMax))
	sub.Start(w.complete)
	l.keeper.kick()
	return w
}

// InFlight is how many batches were appended and not delivered.
func (w *Writer) InFlight() int { return int(w.tail - w.head) }

// Admit tells whether a batch may be opened: nil, or ErrNoSpace, ErrBusy (wake is called when it is worth asking
// again), or the log's failure. One nil covers at most openBatchesMax (2) batches that are open at a time.
func (w *Writer) Admit() error {
	l := w.log
	if err := l.Err(); err != nil {
		return err
	}
	if l.room.Load() >= l.need.Load() {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.room.Load() >= l.need.Load() {
		return nil
	}
	w.refused = true
	l.stats.Refused.Add(1)
	if l.full {
		return ErrNoSpace
	}
	return ErrBusy
}

// Append takes the batch; its Done is called later, once, in log order, on this loop. Append never blocks and, if Admit
// was asked before the batch was opened, never fails for space. More than InFlightMax undelivered batches are a bug.
func (w *Writer) Append(b *record.Batch) {
	l := w.log
	f := w.park(b)
	if l.Err() != nil {
		w.wake()
		return
	}
	if b.Empty() || b.Size() > l.o.FrameBytesMax {
		panic(fmt.Sprintf("bug: batch of %d bytes appended, the most is %d", b.Size(), l.o.FrameBytesMax))
	}
	n := int64(record.AlignedSize(b.Size()))
	p := l.place(w, n, b.TimeMs)
	frame := b.Seal(l.header(&p, b), p.seg.seed)
	f.index, f.seg, f.started = p.index, p.seg, time.Now()
	f.off, f.data, f.written = blockDown(p.pos), p.seg.fill(frame, p.pos), 0
	view := b.Frame()
	l.mustIndex(p.seg, &view, p.pos)
	l.stats.AppendedBytes.Add(uint64(n))
	l.stats.PaddingBytes.Add(uint64(p.skipped))
	w.submit(w.tail-1, f)
	if l.o.ackEarly {
		w.acknowledge(f.index)
	}
}

// mustIndex puts an appended frame into the index.
func (l *Log) mustIndex(s *segment, f *record.Frame, pos int64) {
	if sec, ok := l.index.addFrame(s, f, pos); !ok {
		panic(fmt.Sprintf("bug: offset %d of %v appended again", sec.Base, sec.Stream))
	}
}

// park puts the batch at the end of the ring.
func (w *Writer) park(b *record.Batch) *flight {
	if w.InFlight() == len(w.ring) {
		panic(fmt.Sprintf("bug: more than %d batches in flight", len(w.ring)))
	}
	f := w.at(w.tail)
	w.tail++
	*f = flight{batch: b}
	return f
}

func (w *Writer) at(token uint64) *flight { return &w.ring[token%uint64(len(w.ring))] }

// fill copies a frame to its place and clears the rest of its last block; it returns the blocks to write.
func (s *segment) fill(frame []byte, pos int64) []byte {
	mem := s.img.Load().mem
	end := pos + int64(copy(mem[pos:], frame))
	clear(mem[end:blockUp(end)])
	return mem[blockDown(pos):blockUp(end):blockUp(end)]
}

func (w *Writer) submit(token uint64, f *flight) {
	w.log.kernelWrites.Add(1)
	w.log.stats.WrittenBytes.Add(uint64(len(f.data)))
	w.sub.Write(token, f.seg.file, f.data, f.off)
}

// complete takes a completion. A write that moved forward by whole blocks is continued: nothing was claimed for it
// yet. Any other shortfall stops the log.
func (w *Writer) complete(token uint64, n int, err error) {
	l := w.log
	l.kernelWrites.Add(-1)
	if l.Err() != nil || l.o.ackEarly {
		w.Deliver()
		return
	}
	f := w.at(token)
	if err == nil && n > 0 && n < len(f.data) && n%BlockBytes == 0 {
		f.data, f.off, f.written = f.data[n:], f.off+int64(n), f.written+n
		w.submit(token, f)
		return
	}
	if err == nil && n != len(f.data) {
		err = fmt.Errorf("%w: %d of %d bytes", errShort, n, len(f.data))
	}
	if err != nil {
		l.fail(fmt.Sprintf("write index %d to %s at byte %d", f.index, f.seg.name(), f.off), err)
		w.Deliver()
		return
	}
	l.stats.Commits.Add(1)
	if l.o.OnCommit != nil {
		l.o.OnCommit(time.Since(f.started).Nanoseconds(), f.written+n)
	}
	w.acknowledge(f.index)
}

// acknowledge extends the durable prefix and has everybody deliver.
func (w *Writer) acknowledge(index uint64) {
	l := w.log
	others := l.committed(index) &^ (1 << w.id)
	for ; others != 0; others &= others - 1 {
		l.writers[bits.TrailingZeros64(others)].wake()
	}
	w.Deliver()
}

// Deliver runs Done for every batch whose outcome is known. Done may append again.
func (w *Writer) Deliver() {
	if w.delivering {
		return
	}
	w.delivering = true
	for w.head != w.tail {
		f := w.at(w.head)
		err, known := w.log.outcome(f.index)
		if !known {
			break
		}
		b := f.batch
		f.batch = nil
		w.head++
		b.Done(b, err)
	}
	w.delivering = false
}

// outcome tells whether index is durable (nil), lost (the failure), or not yet decided.
func (l *Log) outcome(index uint64) (err error, known bool) {
	if index != 0 && index <= l.durable.Load() {
		return nil, true
	}
	if err = l.Err(); err == nil {
		return nil, false
	}
	// durable may have moved between the two looks; behind a failure it stands still.
	if index != 0 && index <= l.durable.Load() {
		return nil, true
	}
	return err, true
}
