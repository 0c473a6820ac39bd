package aof

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"ayder/internal/record"
)

// A Thread appends for a replicated log: one goroutine (Raft's) gives it frames, one of its own makes them durable.
//
//	Append: place all under one lock ─► seal, copy, index ─► publish: into the queue, Entry sees them
//	                                                             │
//	WaitDurable, OnDurable ◄── durable ◄── one write per group ◄──┘
//
// While a write is under way, what is appended gathers behind it, and all of it becomes the next write: the disk sets the
// pace of the grouping, as with a Writer, but frames of a group lie one behind the other and share blocks. Only
// the blocks of the write under way must not be touched.
//
// A group is cut from the queue under the lock, at a moment when no Append is copying: by the goroutine when its
// write is done, or, if an Append is copying just then or nothing was queued, by that Append when it publishes. So the memory of a
// write never changes under it, and neither side ever waits for the other's copying.
//
// A caller that has nothing better to do than to wait may lend its own goroutine to a write that would start at once
// (AppendHere): handing it over costs two wake-ups, a fifth of the whole when the log is quiet.
//
// Rejected: one Writer per group with several writes in flight. Raft's appends are in order anyway, and two small writes side by
// side cost a skipped block each, where one merged write costs none.

// ThreadOptions of a Thread. Each function may be nil.
type ThreadOptions struct {
	// OnDurable is called on the thread's goroutine, between two writes, every time the durable prefix grew: it must be short,
	// and must not wait for what waits for the thread (Close, Truncate).
	OnDurable func(index uint64)
	// OnFail is called once, on the thread's goroutine and as the last thing there, when the log has stopped: it may call Close.
	OnFail func(err error)
	// OnRoom is called from any goroutine when Room may have become true; it must not block.
	OnRoom func()
	// OpenMax is how many of the largest frames may be on their way to Append on the strength of one Room; 0: 8.
	OpenMax int
}

// Thread is a replicated log's access to the log, instead of Writers.
type Thread struct {
	log  *Log
	o    ThreadOptions
	done chan struct{} // closed when the goroutine has done its last write

	places []place // of the Append under way, its caller's

	// Guarded by Log.mu.
	work    sync.Cond // the goroutine: a group is cut, or it is the end
	grown   sync.Cond // everybody else: durable, room, idle or closed
	queue   []group   // waits to be written, oldest first
	current group     // is being written; seg nil: nothing is
	lent    bool      // by the Append that cut it
	copying bool      // an Append is between placing and publishing
	closing bool
	closed  bool // the goroutine writes no more
}

// group is frames that lie one behind the other in a segment: one write.
type group struct {
	seg      *segment
	from, to int64  // whole blocks
	last     uint64 // index of its last frame
}

// NewThread makes the log's Thread and starts its goroutine. A log has either one Thread or Writers.
func (l *Log) NewThread(o ThreadOptions) *Thread {
	if o.OpenMax == 0 {
		o.OpenMax = threadOpenMax
	}
	t := &Thread{log: l, o: o, done: make(chan struct{})}
	t.work.L, t.grown.L = &l.mu, &l.mu
	l.mu.Lock()
	if l.writerCount > 0 || l.thread != nil {
		panic("bug: a Thread beside a Writer or another Thread")
	}
	l.thread = t
	l.need.Store(int64(o.OpenMax + threadReserve))
	l.mu.Unlock()
	l.keeper.kick()
	if !l.o.manual {
		go t.run()
	}
	return t
}

// Append places, seals, copies and indexes the batches' frames, in order, and queues them; it sets every batch's Index. When it
// returns, LastIndex and Entry see them and the batches may be used again; durable they are later (WaitDurable), and
// Done is not called. It is for one goroutine at a time. Where there is no room it says so in the log and waits
// until there is. The error wraps ErrClosed or ErrFailed; some of the batches may have been appended then.
func (t *Thread) Append(bs []*record.Batch) error { return t.append(bs, false) }

// AppendHere is Append, but a write that can start at once is made on the caller's goroutine: what it appended is durable on
// return then, unless something else was being written. For callers whom nobody waits for meanwhile.
func (t *Thread) AppendHere(bs []*record.Batch) error { return t.append(bs, true) }

func (t *Thread) append(bs []*record.Batch, here bool) error {
	for len(bs) > 0 {
		n, err := t.place(bs)
		if err != nil {
			return err
		}
		for i, b := range bs[:n] {
			t.fill(b, &t.places[i])
		}
		bs = bs[n:]
		if g, lent := t.publish(here && len(bs) == 0); lent {
			t.write(&g)
		}
	}
	return nil
}

// place reserves places for as many of the batches as there is room for, but at least one.
func (t *Thread) place(bs []*record.Batch) (n int, err error) {
	l := t.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := t.awaitRoom(t.frameBytes(bs[0])); err != nil {
		return 0, err
	}
	t.places = t.places[:0]
	for _, b := range bs {
		size := t.frameBytes(b)
		if !t.fits(size) {
			break
		}
		t.places = append(t.places, l.reserve(size, b.TimeMs, t.tailIdle()))
	}
	t.copying = true
	return len(t.places), nil
}

// frameBytes is what the batch's frame occupies.
func (t *Thread) frameBytes(b *record.Batch) int64 {
	n := int64(record.AlignedSize(b.Size()))
	if b.Empty() || n > t.log.o.SegmentBytes-BlockBytes {
		panic(fmt.Sprintf("bug: batch of %d bytes appended to segments of %d", b.Size(), t.log.o.SegmentBytes))
	}
	return n
}

// fits tells whether a frame of n bytes can be placed now.
func (t *Thread) fits(n int64) bool {
	l := t.log
	if len(l.ready) > 0 {
		return true
	}
	pos := l.pos
	if !t.tailIdle() {
		pos = blockUp(pos)
	}
	return l.active != nil && pos+n <= l.active.size
}

// awaitRoom waits, under the lock, until a frame of n bytes fits.
func (t *Thread) awaitRoom(n int64) error {
	l := t.log
	for told := false; ; {
		switch err := l.Err(); {
		case err != nil:
			return err
		case t.closing:
			return ErrClosed
		case t.fits(n):
			return nil
		}
		if told {
			t.grown.Wait()
			continue
		}
		told = true
		full := l.full
		l.mu.Unlock()
		l.o.Logger.Warn("append waits for the next segment", "dir", l.dir, "disk_full", full)
		l.keeper.kick()
		l.mu.Lock()
	}
}

// tailIdle tells that the block that Log.pos is in is not being written.
func (t *Thread) tailIdle() bool {
	c := &t.current
	return c.seg != t.log.active || blockDown(t.log.pos) >= c.to
}

// fill seals a frame, copies it to its place in the image and indexes it.
func (t *Thread) fill(b *record.Batch, p *place) {
	l := t.log
	frame := b.Seal(l.header(p, b), p.seg.seed)
	p.seg.fill(frame, p.pos)
	view := b.Frame()
	l.mustIndex(p.seg, &view, p.pos)
	l.stats.AppendedBytes.Add(uint64(record.AlignedSize(len(frame))))
	l.stats.PaddingBytes.Add(uint64(p.skipped))
}

// publish queues what was placed and has it written if nothing is: by the goroutine, or, where here says so, by the caller,
// who is given the group then.
func (t *Thread) publish(here bool) (g group, lent bool) {
	l := t.log
	l.mu.Lock()
	defer l.mu.Unlock()
	t.copying = false
	for i := range t.places {
		t.enqueue(&t.places[i])
	}
	l.copied = l.last
	if t.current.seg == nil {
		t.lent = here && l.failure.Load() == nil
		t.cut()
		return t.current, t.lent
	}
	return group{}, false
}

// enqueue adds a frame to the last group that waits, or makes it a new one.
func (t *Thread) enqueue(p *place) {
	from, to := blockDown(p.pos), blockUp(p.end)
	if n := len(t.queue); n > 0 {
		if g := &t.queue[n-1]; g.seg == p.seg && to-g.from <= groupBytesMax {
			g.to, g.last = to, p.index
			return
		}
	}
	t.queue = append(t.queue, group{p.seg, from, to, p.index})
}

// cut makes the oldest group the one that is being written.
func (t *Thread) cut() {
	if len(t.queue) == 0 {
		return
	}
	t.current = t.queue[0]
	t.queue = append(t.queue[:0], t.queue[1:]...)
	if !t.lent {
		t.work.Signal()
	}
}

// run is the goroutine.
func (t *Thread) run() {
	for {
		g, ok := t.next()
		if !ok {
			break
		}
		t.write(&g)
	}
	t.end()
}

// next waits for a group to write; false at the end: the log has failed, or Close was called and all is written.
func (t *Thread) next() (group, bool) {
	l := t.log
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.failure.Load() == nil {
		switch {
		case t.current.seg != nil && !t.lent:
			return t.current, true
		case t.current.seg == nil && t.closing && !t.copying:
			return group{}, false
		}
		t.work.Wait()
	}
	return group{}, false
}

// blocks is what a group's write writes.
func (g *group) blocks() []byte { return g.seg.img.Load().mem[g.from:g.to:g.to] }

// write makes a group durable.
func (t *Thread) write(g *group) {
	l := t.log
	started := time.Now()
	l.kernelWrites.Add(1)
	err := writeAll(g.seg.file, g.blocks(), g.from)
	l.kernelWrites.Add(-1)
	t.written(g, time.Since(started), err)
}

// written takes the outcome of a write.
func (t *Thread) written(g *group, took time.Duration, err error) {
	l := t.log
	if err != nil {
		l.fail(fmt.Sprintf("write up to index %d to %s at byte %d", g.last, g.seg.name(), g.from), err)
	} else {
		l.stats.Commits.Add(1)
		l.stats.WrittenBytes.Add(uint64(g.to - g.from))
		if l.o.OnCommit != nil {
			l.o.OnCommit(took.Nanoseconds(), int(g.to-g.from))
		}
	}
	if t.advance(g) && t.o.OnDurable != nil {
		t.o.OnDurable(g.last)
	}
}

// advance extends the durable prefix by a group that was written, unless the log has failed, and cuts the next one.
func (t *Thread) advance(g *group) bool {
	l := t.log
	l.mu.Lock()
	defer l.mu.Unlock()
	t.current, t.lent = group{}, false
	t.grown.Broadcast()
	if t.closing {
		t.work.Signal()
	}
	if l.failure.Load() != nil {
		return false
	}
	l.durable.Store(g.last)
	if len(l.sealed) > 0 && g.last >= l.sealed[0].last {
		l.indexer.kick()
	}
	if !t.copying {
		t.cut()
	}
	return true
}

// end tells everybody that nothing more will be written.
func (t *Thread) end() {
	l := t.log
	l.mu.Lock()
	t.closed = true
	t.grown.Broadcast()
	l.mu.Unlock()
	close(t.done)
	if err := l.Err(); err != nil && !errors.Is(err, ErrClosed) && t.o.OnFail != nil {
		t.o.OnFail(err)
	}
}

// wake has the goroutine and everybody who waits look again. Under Log.mu.
func (t *Thread) wake() {
	t.work.Broadcast()
	t.grown.Broadcast()
}

// WaitDurable waits until index is durable. False means that it will not be: the log has failed, the thread was closed, or the log has
// no such index, for instance because it was cut off. (If that happens meanwhile the answer is true: Truncate
// waits until everything is durable.) Any goroutine.
func (t *Thread) WaitDurable(index uint64) bool {
	l := t.log
	if index <= l.durable.Load() {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	known, cuts := index <= l.last, l.truncations
	for index > l.durable.Load() && cuts == l.truncations {
		if !known || t.closed || l.failure.Load() != nil {
			return false
		}
		t.grown.Wait()
	}
	return true
}

// Close has everything written that was appended and ends the goroutine. An Append that waits for room, and every later one, returns ErrClosed.
func (t *Thread) Close() {
	l := t.log
	l.mu.Lock()
	first := !t.closing
	t.closing = true
	t.wake()
	l.mu.Unlock()
	if l.o.manual && first {
		t.end()
	}
	<-t.done
	l.mu.Lock()
	if l.thread == t {
		l.thread = nil
	}
	l.mu.Unlock()
}

// Room tells whether one of the largest frames can be given to Append without making it wait. It keeps room for those that
// are on their way already, and for Raft's own. Any goroutine; cheap.
func (l *Log) Room() bool { return l.room.Load() >= l.need.Load() && l.failure.Load() == nil }

// Full tells whether the disk has no space for another segment: then Room will not become true before space is made.
func (l *Log) Full() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.full
}
