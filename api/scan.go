package api

import (
	"iter"

	"ayder/engine"
	"ayder/internal/query"
	"ayder/internal/record"
)

// Scans: the messages of a topic's partitions, one after the other, for an evaluation.
//
// They are copied out of the log a page at a time, so that no piece of the log is kept in memory, and no lock is held,
// while somebody thinks about a message. Several partitions are read in turns whose lengths depend on nothing but the request and
// the messages: the same request over the same messages sees them in the same order, on every node and after every
// rewriting of segments. Where the order of times matters, as to a join, they are merged (scanmerge.go).

// extent is the part of a partition that is to be read.
type extent struct {
	stream record.Stream
	first  uint64 // the first offset wanted
	end    uint64 // what was visible when the request came ends here
	next   uint64 // the first that was not shown yet

	committed bool // first is the group's, if it has committed anything
}

// input is what a source of an evaluation stands for.
type input struct {
	source  *query.Source
	topic   *engine.Topic
	extents []extent // by partition
	turn    int      // messages of a partition until it is another's turn
}

// scan shows an input's messages.
type scan struct {
	*input
	engine *engine.Engine
	reader Reader
	page   *scanPage
	pause  func() // called before a page is read, may be nil
	err    error  // why the messages ended early
}

// all yields the messages. Each is valid until the next is asked for.
func (s *scan) all() iter.Seq[*query.Message] {
	return func(yield func(*query.Message) bool) {
		var m query.Message
		for more := true; more; {
			more = false
			for i := range s.extents {
				at := &s.extents[i]
				if at.next >= at.end {
					continue
				}
				if !s.show(at, &m, yield) {
					return
				}
				more = more || at.next < at.end
			}
		}
	}
}

// show yields a turn of one partition; false ends the scan.
func (s *scan) show(at *extent, m *query.Message, yield func(*query.Message) bool) bool {
	p := s.page
	p.reset()
	if s.err = s.fill(p, at, s.turn, scanPageBytes); s.err != nil {
		return false
	}
	m.Partition = at.stream.Partition
	for i := range p.messages {
		if p.get(i, m); !yield(m) {
			return false
		}
	}
	return true
}

// fill adds to a page until it has so many messages or bytes; nothing is added at the end of the extent only.
func (s *scan) fill(p *scanPage, at *extent, most, mostBytes int) error {
	if s.pause != nil {
		s.pause()
	}
	return p.fill(s.reader, at, most, mostBytes, func() error { return s.pass(at) })
}

// pass goes on where messages are, if those at next have gone since the request came.
func (s *scan) pass(at *extent) error {
	if s.engine.TopicByID(at.stream.Topic) == nil {
		return errUnknownTopic.with("topic %q was deleted", s.topic.Name())
	}
	floor := s.topic.Partition(at.stream.Partition).Stats().Floor
	if floor <= at.next {
		return errDamaged.with("the message at offset %d of partition %d is not there", at.next, at.stream.Partition)
	}
	at.next = min(floor, at.end)
	return nil
}

// scanPage is messages in memory of their own.
type scanPage struct {
	bytes    []byte
	messages []pageMessage
	record   record.Record
	large    int // bytes of key and value above which they are left out; 0: never
}

// pageMessage says where a message is in the page's bytes: its key, then its value.
type pageMessage struct {
	offset, timeMs  uint64
	key, value, end int
	hasKey          bool
	absent          bool // key and value were left out
}

// reset empties the page. Memory that a few large messages took is given back.
func (p *scanPage) reset() {
	if cap(p.bytes) > scanKeptBytes {
		p.bytes = nil
	}
	p.bytes, p.messages = p.bytes[:0], p.messages[:0]
}

// fill adds messages from at.next on until it has so many of them or bytes; none are added at the end of the extent only. pass moves at.next
// to where messages are, if those that come next have gone.
func (p *scanPage) fill(r Reader, at *extent, most, mostBytes int, pass func() error) error {
	for had := len(p.messages); len(p.messages) == had && at.next < at.end; {
		_, err := r.Read(at.stream, at.next, at.end, true, func(sec record.Section) bool { return p.add(at, &sec, most, mostBytes) })
		if err != nil {
			return errDamaged.with("%v", err)
		}
		if len(p.messages) == had {
			if err := pass(); err != nil {
				return err
			}
		}
	}
	return nil
}

// add copies a section's messages from at.next on; false when the page is full, or messages are missing before the section.
func (p *scanPage) add(at *extent, sec *record.Section, most, mostBytes int) bool {
	if sec.Base > at.next {
		return false
	}
	it := sec.Records()
	it.Skip(int(at.next - sec.Base))
	for at.next < at.end && it.Read(&p.record) {
		p.append(at.next, &p.record)
		at.next++
		if len(p.messages) >= most || len(p.bytes) >= mostBytes {
			return false
		}
	}
	return true
}

func (p *scanPage) append(offset uint64, r *record.Record) {
	m := pageMessage{offset: offset, timeMs: r.TimeMs, hasKey: r.HasKey, key: len(p.bytes), value: len(p.bytes), end: len(p.bytes)}
	if p.large > 0 && len(r.Key)+len(r.Value) > p.large {
		m.absent = true
		p.messages = append(p.messages, m)
		return
	}
	m.value = m.key + len(r.Key)
	m.end = m.value + len(r.Value)
	p.bytes = append(append(p.bytes, r.Key...), r.Value...)
	p.messages = append(p.messages, m)
}

// get sets m to the i-th message, but for its partition.
func (p *scanPage) get(i int, m *query.Message) {
	e := &p.messages[i]
	m.Offset, m.TimeMs, m.HasKey = e.offset, e.timeMs, e.hasKey
	m.Key, m.Value = p.bytes[e.key:e.value:e.value], p.bytes[e.value:e.end:e.end]
}

// bytesFrom is what the messages from the i-th on take.
func (p *scanPage) bytesFrom(i int) int {
	if i == len(p.messages) {
		return 0
	}
	return len(p.bytes) - p.messages[i].key
}

// drop takes the first n messages out.
func (p *scanPage) drop(n int) {
	from := len(p.bytes) - p.bytesFrom(n)
	p.messages = p.messages[:copy(p.messages, p.messages[n:])]
	p.bytes = p.bytes[:copy(p.bytes, p.bytes[from:])]
	for i := range p.messages {
		e := &p.messages[i]
		e.key, e.value, e.end = e.key-from, e.value-from, e.end-from
	}
}
