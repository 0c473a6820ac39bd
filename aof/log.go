package aof

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"ayder/internal/record"
)

// The Log joins the parts: writers, or a thread, place frames and extend the durable prefix (place.go, writer.go, thread.go), the keeper and the
// indexer do what is slow (keeper.go, indexer.go), readers go by the index (reader.go). Its state is small: which segment is
// active and where it ends, which commits are in flight, which spares are ready. One mutex guards it; what readers
// and Admit need at every call is atomic beside it.

// Log is one directory of segments. Writers (one per loop) or a Thread append; any goroutine reads.
type Log struct {
	o     Options
	fs    FS
	dir   string
	id    logID
	lock  io.Closer
	stats Stats
	pool  imagePool
	index *index

	// durable is the end of the contiguous prefix of completed commits. Written under mu, read anywhere: it only grows,
	// but for Truncate.
	durable atomic.Uint64
	// failure is set once, under mu; from then on durable stands still.
	failure atomic.Pointer[error]
	// kernelWrites counts writes handed to submitters and not completed: while there are any, images stay mapped.
	kernelWrites atomic.Int64
	// room is how many frames of the largest size can still be placed. Written under mu; Admit reads it without.
	room atomic.Int64
	// need is the room that Admit keeps: every writer's open batches.
	need atomic.Int64

	mu          sync.Mutex
	segs        []*segment // in log order; the last one is active (if it is not sealed)
	active      *segment   // nil in an empty log
	pos         int64      // where the last frame of the active segment ends
	last        uint64     // index of the last frame placed
	copied      uint64     // a Thread's frames up to this index are in their images: Entry may read them
	timeMs      uint64     // its time
	slots       []slot     // commits in flight, by index modulo length
	ready       []*segment // spares
	lacking     bool       // the keeper could not do its work at its last attempt
	full        bool       // and that for want of space
	writers     []*Writer  // by id; the first writerCount are set, and constant from then on
	writerCount int
	truncations uint64          // how often the end was cut
	thread      *Thread         // instead of writers
	sequence    uint64          // of the last spare
	hints       [hintSlots]hint // of readers by index, by index modulo
	sealed      []*segment      // full segments that have no sidecar yet, oldest first
	unnamed     []*segment      // in use under a spare's name
	slimmed     bool            // there are fewer spares than usual, until the next frame
	slimLast    uint64          // last when slim was called last
	wholeFrom   uint64          // what was alive at this index, or at a later one, is here: nothing was taken out since. 0: nothing ever was

	checkpointing sync.Mutex    // one checkpoint at a time
	checkpoint    atomic.Uint64 // index of the newest: what it covers is never cut off the end

	// upkeep is held by whoever does something to a segment besides appending and reading: naming, sidecar, giving its
	// image up, cutting. Taken before mu, and before cuts.
	upkeep sync.Mutex
	// cuts is held by readers by index while they look, and by what takes frames away from under them.
	cuts sync.RWMutex
	// swaps is held by whoever opens a file of a segment by its name, and by the moment in which another file gets that name. Taken
	// before a segment's loading, after cuts.
	swaps sync.RWMutex
	// reclaiming is held by the one Reclaim that is at work.
	reclaiming sync.Mutex
	// stopping tells a Reclaim at work that the log is being closed.
	stopping atomic.Bool

	openReaders sync.Mutex
	readers     map[*Reader]struct{} // those that have a file open; under openReaders

	frames  frameReader // ReadFrame's and Entry's own
	keeper  worker
	indexer worker
}

// slot is one commit in flight.
type slot struct {
	writer *Writer
	done   bool
}

// Durable is the highest index for which it and all before it are on disk.
func (l *Log) Durable() uint64 { return l.durable.Load() }

// LastIndex is the index of the last batch appended, durable or not; 0 in an empty log.
func (l *Log) LastIndex() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// FirstIndex is the index from which on the log has every frame, 0 in an empty log. Messages may be in front of it: in segments that were
// rewritten, whose frames are not what they were.
func (l *Log) FirstIndex() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range slices.Backward(l.segs) {
		if s.rewritten() {
			return s.last + 1
		}
	}
	if len(l.segs) == 0 {
		return 0
	}
	return l.segs[0].first
}

// DiskBytes is what segments and spares occupy on the disk.
func (l *Log) DiskBytes() (total int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segs {
		total += s.size
	}
	for _, s := range l.ready {
		total += s.size
	}
	return total
}

// LastTimeMs is the time of the last frame: no later one is earlier.
func (l *Log) LastTimeMs() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.timeMs
}

// Err is nil while the log works, else it wraps ErrFailed and the first failure.
func (l *Log) Err() error {
	if e := l.failure.Load(); e != nil {
		return *e
	}
	return nil
}

// fail stops the log for good. The first failure is kept; every writer is woken to answer its batches.
func (l *Log) fail(op string, err error) {
	l.mu.Lock()
	first := l.failure.Load() == nil
	if first {
		wrapped := fmt.Errorf("%w: %s: %w", ErrFailed, op, err)
		l.failure.Store(&wrapped)
		l.wakeThread()
	}
	writers := l.writers[:l.writerCount]
	l.mu.Unlock()
	if !first {
		return
	}
	l.o.Logger.Error("log stopped", "dir", l.dir, "op", op, "err", err)
	for _, w := range writers {
		w.wake()
	}
}

// wakeThread has the Thread, if there is one, look at what has changed. Under mu.
func (l *Log) wakeThread() {
	if l.thread != nil {
		l.thread.wake()
	}
}

// Stream tells what the log has of s: first and next offset, messages and bytes. ok is false if it has nothing.
func (l *Log) Stream(s record.Stream) (u Usage, ok bool) {
	st := l.index.get(s)
	if st == nil {
		return u, false
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if len(st.spans) == 0 {
		return u, false
	}
	return Usage{
		First: st.spans[0].run.first, Next: st.spans[len(st.spans)-1].run.next,
		Messages: st.messages, Bytes: st.bytes,
	}, true
}

// Usage is what the log has of one stream. Batches that are not durable yet are included.
type Usage struct {
	First, Next uint64 // offsets
	Messages    uint64
	Bytes       uint64 // in sections, their headers and padding included
}

// Earliest is the first offset of s that the log still has; ok is false if it has none.
func (l *Log) Earliest(s record.Stream) (offset uint64, ok bool) {
	u, ok := l.Stream(s)
	return u.First, ok
}

// StreamBytes is what the records of s occupy in the log.
func (l *Log) StreamBytes(s record.Stream) uint64 {
	u, _ := l.Stream(s)
	return u.Bytes
}

// segmentOf returns the segment that holds index, or nil.
func (l *Log) segmentOf(index uint64) *segment {
	i := sort.Search(len(l.segs), func(i int) bool { return l.segs[i].first > index })
	if i == 0 {
		return nil
	}
	return l.segs[i-1]
}

// Close stops the log's goroutines and gives up files, memory and the directory. The writers' loops must have
// delivered everything, a Thread is closed, and readers must be gone; writes still in flight are waited for a little, then their memory is
// left mapped and the error says so.
func (l *Log) Close() error {
	l.closeThread()
	l.stopping.Store(true)
	l.keeper.halt()
	l.indexer.halt()
	l.reclaiming.Lock()
	defer l.reclaiming.Unlock()
	var errs []error
	idle := l.waitIdle()
	if !idle {
		errs = append(errs, fmt.Errorf("aof: close %s: writes still in flight", l.dir))
	}
	l.mu.Lock()
	if l.failure.Load() == nil {
		err := error(ErrClosed)
		l.failure.Store(&err)
		l.wakeThread()
	}
	all := append(append([]*segment(nil), l.segs...), l.ready...)
	l.segs, l.ready, l.active, l.sealed, l.unnamed = nil, nil, nil, nil, nil
	l.mu.Unlock()
	l.frames.close()
	for _, s := range all {
		errs = append(errs, l.closeSegment(s, idle))
	}
	l.pool.trim(0)
	errs = append(errs, l.lock.Close())
	return errors.Join(errs...)
}

// closeThread ends a Thread that its owner left open.
func (l *Log) closeThread() {
	l.mu.Lock()
	t := l.thread
	l.mu.Unlock()
	if t != nil {
		t.Close()
	}
}

// waitIdle waits until no write is in flight; false after closeWait.
func (l *Log) waitIdle() bool {
	for until := time.Now().Add(closeWait); l.kernelWrites.Load() > 0; time.Sleep(time.Millisecond) {
		if l.o.manual || time.Now().After(until) {
			return false
		}
	}
	return true
}

func (l *Log) closeSegment(s *segment, idle bool) error {
	if idle {
		s.dropImage()
	}
	if side := s.side.Swap(nil); side != nil {
		side.close()
	}
	if s.file != nil {
		return s.file.Close()
	}
	return nil
}
