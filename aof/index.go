package aof

import (
	"slices"
	"sort"
	"sync"

	"ayder/internal/record"
)

// The index answers: where are the records of this stream from this offset on? Two steps, both sorted by offset:
//
//	stream ──► runs, one per segment that has records of it ──► entries, one per section
//	           (first, next, messages, bytes)                   (base offset, frame position, section position)
//
// Runs of every segment stay on the heap: a few dozen bytes each, read from the sidecars' stream tables at Open.
// Entries are on the heap as long as the segment has its image, so that a loop finds hot records without touching a
// file or a mapping; older ones are in the sidecar (sidecar.go).
//
// Entries come in Append, before the batch is durable. That is sound because readers never ask beyond what the caller
// knows to be visible. One stream is appended to by one loop at a time, so its offsets grow; the stream's lock is
// for the readers.

// entry is one section of records.
type entry struct {
	base    uint64 // first offset
	frame   uint32 // where the frame starts, bytes from the start of the segment
	section uint32 // where the section starts, bytes from the start of the frame: a multiple of 8, and aheadBit
}

// aheadBit tells that the section is flagged: it may hold records that are younger than their frame (since.go).
const aheadBit = 1

// pos is where the section starts, bytes from the start of the frame.
func (e entry) pos() int { return int(e.section &^ aheadBit) }

func (e entry) ahead() bool { return e.section&aheadBit != 0 }

func newEntry(sec *record.Section, frame int64) entry {
	e := entry{sec.Base, uint32(frame), uint32(sec.Pos)}
	if sec.Flags&record.FlagSectionAhead != 0 {
		e.section |= aheadBit
	}
	return e
}

// run is a stream's share of one segment.
type run struct {
	stream   record.Stream
	first    uint64 // first offset
	next     uint64 // one behind the last offset
	messages uint64
	bytes    uint64 // of sections, headers and padding included

	heap         *entryList // nil when only the sidecar has the entries
	start, count uint32     // entries in the sidecar
}

// add accounts for one section.
func (r *run) add(sec *record.Section, frame int64) {
	if r.messages == 0 {
		r.first = sec.Base
	}
	r.next = sec.Base + uint64(sec.Count)
	r.messages += uint64(sec.Count)
	r.bytes += sectionBytes(sec)
	r.heap.add(newEntry(sec, frame))
}

func sectionBytes(sec *record.Section) uint64 {
	return uint64(record.AlignedSize(record.SectionHeaderBytes + len(sec.Body)))
}

// entryList is a list that grows without moving what it has: a run of a busy partition has hundreds of thousands
// of entries, and copying them would stop the loop for milliseconds.
type entryList struct {
	chunks [][]entry
	n      int
}

func (l *entryList) add(e entry) {
	last := len(l.chunks) - 1
	if last < 0 || len(l.chunks[last]) == cap(l.chunks[last]) {
		l.chunks = append(l.chunks, make([]entry, 0, min(max(entryChunkMin, l.n), entryChunkMax)))
		last++
	}
	l.chunks[last] = append(l.chunks[last], e)
	l.n++
}

// from copies the entries from the one that may hold offset on, as many as fit dst.
func (l *entryList) from(offset uint64, dst []entry) []entry {
	dst = dst[:0]
	c := sort.Search(len(l.chunks), func(i int) bool { return l.chunks[i][0].base > offset })
	c = max(c-1, 0)
	for skip := true; c < len(l.chunks) && len(dst) < cap(dst); c++ {
		part := l.chunks[c]
		if skip {
			i := sort.Search(len(part), func(i int) bool { return part[i].base > offset })
			part, skip = part[max(i-1, 0):], false
		}
		dst = append(dst, part[:min(len(part), cap(dst)-len(dst))]...)
	}
	return dst
}

// span is a run and where it is.
type span struct {
	seg *segment
	run *run
}

// stream is all that the log has of one partition.
type stream struct {
	mu       sync.Mutex
	spans    []span // in offset order, and in log order
	messages uint64
	bytes    uint64
}

// find returns the span that holds offset, or the first one behind it.
func (st *stream) find(offset uint64) (span, bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	i := sort.Search(len(st.spans), func(i int) bool { return st.spans[i].run.next > offset })
	if i == len(st.spans) {
		return span{}, false
	}
	return st.spans[i], true
}

// hotEntries copies entries of r from offset on, as many as fit dst; ok is false when they are not on the heap.
func (st *stream) hotEntries(r *run, offset uint64, dst []entry) (_ []entry, ok bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if r.heap == nil {
		return nil, false
	}
	return r.heap.from(offset, dst), true
}

// add puts a section of the frame at pos of seg into the index. It reports offsets that do not grow.
func (st *stream) add(seg *segment, sec *record.Section, pos int64) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	n := len(st.spans)
	if n > 0 && sec.Base < st.spans[n-1].run.next {
		return false
	}
	if n == 0 || st.spans[n-1].seg != seg {
		r := &run{stream: sec.Stream, heap: new(entryList)}
		st.spans = append(st.spans, span{seg, r})
		seg.addRun(r)
		n++
	}
	st.spans[n-1].run.add(sec, pos)
	st.messages += uint64(sec.Count)
	st.bytes += sectionBytes(sec)
	return true
}

// attach adds a run that was read from a sidecar.
func (st *stream) attach(seg *segment, r *run) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if n := len(st.spans); n > 0 && r.first < st.spans[n-1].run.next {
		return false
	}
	st.spans = append(st.spans, span{seg, r})
	st.messages += r.messages
	st.bytes += r.bytes
	return true
}

// replace puts a segment's new share of the stream, none if its run is nil, in the place of the old one.
func (st *stream) replace(old *run, now span) {
	st.mu.Lock()
	defer st.mu.Unlock()
	i := slices.IndexFunc(st.spans, func(sp span) bool { return sp.run == old })
	st.messages -= old.messages
	st.bytes -= old.bytes
	if now.run == nil {
		st.spans = slices.Delete(st.spans, i, i+1)
		return
	}
	st.spans[i] = now
	st.messages += now.run.messages
	st.bytes += now.run.bytes
}

// exchange puts a stream's share of a new segment, none if its run is nil, in the place of its shares of neighbouring ones.
func (st *stream) exchange(olds []*run, now span) {
	st.mu.Lock()
	defer st.mu.Unlock()
	i := slices.IndexFunc(st.spans, func(sp span) bool { return sp.run == olds[0] })
	for _, r := range olds {
		st.messages -= r.messages
		st.bytes -= r.bytes
	}
	var with []span
	if now.run != nil {
		with = []span{now}
		st.messages += now.run.messages
		st.bytes += now.run.bytes
	}
	st.spans = slices.Replace(st.spans, i, i+len(olds), with...)
}

func (s *segment) addRun(r *run) {
	s.mu.Lock()
	s.runs = append(s.runs, r)
	s.mu.Unlock()
}

// sortedRuns is the segment's stream table.
func (s *segment) sortedRuns() []*run {
	s.mu.Lock()
	runs := slices.Clone(s.runs)
	s.mu.Unlock()
	slices.SortFunc(runs, func(a, b *run) int { return compareStreams(a.stream, b.stream) })
	return runs
}

func compareStreams(a, b record.Stream) int {
	switch {
	case a.Topic != b.Topic && a.Topic < b.Topic, a.Topic == b.Topic && a.Partition < b.Partition:
		return -1
	case a == b:
		return 0
	}
	return 1
}

// index is the map of streams.
type index struct {
	mu      sync.RWMutex
	streams map[record.Stream]*stream
}

func newIndex() *index { return &index{streams: make(map[record.Stream]*stream)} }

// get returns the stream, or nil.
func (x *index) get(s record.Stream) *stream {
	x.mu.RLock()
	st := x.streams[s]
	x.mu.RUnlock()
	return st
}

// make returns the stream, a new one if need be.
func (x *index) make(s record.Stream) *stream {
	if st := x.get(s); st != nil {
		return st
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	st := x.streams[s]
	if st == nil {
		st = new(stream)
		x.streams[s] = st
	}
	return st
}

// addFrame puts every records section of a frame into the index. The sections were checked by whoever made or
// verified the frame; offsets that do not grow are reported as the offending section.
func (x *index) addFrame(seg *segment, f *record.Frame, pos int64) (bad record.Section, ok bool) {
	it := f.Iter()
	for sec, more := it.Next(); more; sec, more = it.Next() {
		if sec.Type == record.SectionRecords && !x.make(sec.Stream).add(seg, &sec, pos) {
			return sec, false
		}
	}
	return bad, true
}

// cool gives up the heap entries of a segment whose sidecar has them.
func (x *index) cool(seg *segment) {
	seg.mu.Lock()
	runs := seg.runs
	seg.mu.Unlock()
	for _, r := range runs {
		st := x.get(r.stream)
		st.mu.Lock()
		r.heap = nil
		st.mu.Unlock()
	}
}

// drop forgets what it knows of a segment, or, if twin is not nil, puts what twin has of it in its place.
func (x *index) drop(seg, twin *segment) {
	kept := make(map[record.Stream]*run)
	if twin != nil {
		for _, r := range twin.sortedRuns() {
			kept[r.stream] = r
		}
	}
	for _, r := range seg.sortedRuns() {
		x.get(r.stream).replace(r, span{twin, kept[r.stream]})
	}
}

// exchange puts what a new segment has in the place of what neighbouring ones had.
func (x *index) exchange(olds []*segment, now *segment) {
	had := make(map[record.Stream][]*run)
	for _, s := range olds {
		for _, r := range s.sortedRuns() {
			had[r.stream] = append(had[r.stream], r)
		}
	}
	has := make(map[record.Stream]*run)
	for _, r := range now.sortedRuns() {
		has[r.stream] = r
	}
	for s, runs := range had {
		x.get(s).exchange(runs, span{now, has[s]})
	}
}
