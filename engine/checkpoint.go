package engine

import (
	"encoding/binary"
	"slices"
	"sort"

	"ayder/internal/record"
)

// Checkpoints: the state, encoded shard by shard while the others go on.
//
// Shards are captured at different moments, so the whole is fuzzy; it becomes exact in replay, because every
// partition says up to which frame it was captured and replay leaves that much out. The number of shards
// does not show in what is restored.
//
// A capture is cheap: numbers are copied, keys are only referred to (entries in a window's chunks never
// change once they are there). Encoding a million keys takes long, and may run on another goroutine.
// Collecting everything on the loop was simpler and stopped it for 20 ms.
//
//	checkpoint   magic u32 | version u32 | parts u32 | parts × ( size u64 | part )
//	part         time_ms u64 | topics u32 | partitions u32 | topics × topic | partitions × partition | extensions u32 | extensions
//	topic        created u64 | size u32 | settings (as in the command that creates a topic)
//	             or, where topics were deleted: how many ids in a row u64 | 0 u32
//	partition    topic u32 | partition u32 | as_of u64 | floor u64 | next u64 | bytes u64
//	             groups u32 | keys u32 | groups × group | keys × key
//	group        offset u64 | size u16 | name; sorted by name
//	key          hash 16 | varint first, less the key's before | varint count | varint time_ms, less the key's before
//	extension    tag u32 | size u64 | what extension.go says of the tag
//
// Version 1 had parts of size u32 and no extensions.
//
// Topics are in the order of their ids, which start at 1; each part lists all that were there when it was made. A topic that
// one part knows to be deleted is, and of its partitions the highest number counts. Partitions that nothing has happened to are left out. What the file around it looks like, its
// checksum above all, is up to the log.

const (
	checkpointMagic   uint32 = 'A' | 'Y'<<8 | 'C'<<16 | 'P'<<24
	checkpointVersion uint32 = 2
	keyBytesMin              = 19 // a key as encoded, three varints of one byte
)

// Capture is a shard's state at one moment. It may be encoded on any goroutine.
type Capture struct {
	engine     *Engine
	timeMs     uint64
	windowMs   uint64
	topics     *topicList
	partitions []captured
	extensions []capturedExtension
}

// captured is a partition's state at one moment.
type captured struct {
	stream                  record.Stream
	asOf, floor, next, size uint64
	groups                  []capturedGroup
	keys                    queue
}

type capturedGroup struct {
	name   string
	offset uint64
}

// Capture notes the shard's state. The log may be read from the frame after index i on if every frame up to i
// that belongs to this shard was applied to it, and the same holds for every other shard's capture.
func (s *Shard) Capture() *Capture {
	c := s.engine.capture(s.timeMs)
	c.collect(s)
	return c
}

func (e *Engine) capture(timeMs uint64) *Capture {
	return &Capture{engine: e, timeMs: timeMs, windowMs: e.config.IdemWindowMs, topics: e.catalogue.topics()}
}

// collect notes the partitions of owner, or of everybody where that is nil.
func (c *Capture) collect(owner *Shard) {
	for t := range c.topics.all {
		for _, p := range t.partitions {
			if (owner == nil || p.owner == owner) && p.asOf != t.created {
				c.partitions = append(c.partitions, p.capture())
			}
		}
	}
	c.extend(owner)
}

func (p *Partition) capture() captured {
	c := captured{stream: p.stream, asOf: p.asOf, floor: p.floor.Load(), next: p.next.Load(), size: p.bytes.Load()}
	if p.rocket != nil { // what is in memory is no part of the state
		c.floor, c.next, c.size = p.rocket.ranges<<rangeBits, p.rocket.ranges<<rangeBits, 0
	}
	for name, g := range p.groups {
		if g.applied {
			c.groups = append(c.groups, capturedGroup{name, g.committed})
		}
	}
	if p.window != nil {
		c.keys = p.window.queue.capture()
	}
	return c
}

// capture returns a queue of the same entries that stays as it is.
func (q *queue) capture() queue {
	q.shared = q.tail
	return queue{head: q.head, tail: q.tail, chunks: slices.Clone(q.chunks)}
}

// AppendCheckpoint encodes the shard's state: Capture and AppendTo in one.
func (s *Shard) AppendCheckpoint(dst []byte) []byte { return s.Capture().AppendTo(dst) }

// AppendState encodes the whole state, so that equal logs give equal bytes, with any number of shards
// and wherever checkpoints were taken. Only when no loop runs.
func (e *Engine) AppendState(dst []byte) []byte {
	timeMs := uint64(0)
	for _, s := range e.shards {
		timeMs = max(timeMs, s.timeMs)
	}
	c := e.capture(timeMs)
	c.collect(nil)
	return c.AppendTo(dst)
}

// EncodeCheckpoint makes a checkpoint of the parts that AppendCheckpoint or Capture.AppendTo gave, one of every shard.
func EncodeCheckpoint(parts [][]byte) []byte {
	le := binary.LittleEndian
	size := 12
	for _, p := range parts {
		size += 8 + len(p)
	}
	b := make([]byte, 0, size)
	b = le.AppendUint32(b, checkpointMagic)
	b = le.AppendUint32(b, checkpointVersion)
	b = le.AppendUint32(b, uint32(len(parts)))
	for _, p := range parts {
		b = le.AppendUint64(b, uint64(len(p)))
		b = append(b, p...)
	}
	return b
}

// EncodeCaptures makes a checkpoint of captures, one of every shard, in one piece of memory: ten million keys are 200 MB.
func EncodeCaptures(captures []*Capture) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, checkpointMagic)
	b = le.AppendUint32(b, checkpointVersion)
	b = le.AppendUint32(b, uint32(len(captures)))
	for _, c := range captures {
		b = le.AppendUint64(b, 0)
		start := len(b)
		b = c.AppendTo(b)
		le.PutUint64(b[start-8:], uint64(len(b)-start))
	}
	return b
}

// AppendTo encodes the capture as one part of a checkpoint.
func (c *Capture) AppendTo(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, c.timeMs)
	at := len(dst)
	dst = le.AppendUint32(dst, 0)
	dst = le.AppendUint32(dst, uint32(len(c.partitions)))
	dst, topics := c.topics.appendTo(dst)
	le.PutUint32(dst[at:], topics)
	for i := range c.partitions {
		dst = c.partitions[i].appendTo(dst, c.timeMs, c.windowMs)
	}
	return c.appendExtensions(dst)
}

// appendTo encodes the topics and says how many entries that took.
func (l *topicList) appendTo(dst []byte) (_ []byte, entries uint32) {
	le := binary.LittleEndian
	before := uint32(0)
	skip := func(id uint32) { // the ids between before and id, of topics that were deleted
		if id > before+1 {
			dst = le.AppendUint64(dst, uint64(id-before-1))
			dst = le.AppendUint32(dst, 0)
			entries++
		}
		before = id
	}
	for t := range l.all {
		skip(t.id)
		dst = le.AppendUint64(dst, t.created)
		dst = le.AppendUint32(dst, uint32(specBytes+len(t.spec.Name)))
		dst = appendSpec(dst, &t.spec)
		entries++
	}
	skip(l.last + 1)
	return dst, entries
}

func (c *captured) appendTo(dst []byte, timeMs, windowMs uint64) []byte {
	le := binary.LittleEndian
	first := c.keys.firstLive(timeMs, windowMs)
	dst = le.AppendUint32(dst, c.stream.Topic)
	dst = le.AppendUint32(dst, c.stream.Partition)
	dst = le.AppendUint64(dst, c.asOf)
	dst = le.AppendUint64(dst, c.floor)
	dst = le.AppendUint64(dst, c.next)
	dst = le.AppendUint64(dst, c.size)
	dst = le.AppendUint32(dst, uint32(len(c.groups)))
	dst = le.AppendUint32(dst, uint32(c.keys.tail-first))
	return c.appendKeys(c.appendGroups(dst), first)
}

func (c *captured) appendGroups(dst []byte) []byte {
	le := binary.LittleEndian
	slices.SortFunc(c.groups, func(a, b capturedGroup) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	for _, g := range c.groups {
		dst = le.AppendUint64(dst, g.offset)
		dst = le.AppendUint16(dst, uint16(len(g.name)))
		dst = append(dst, g.name...)
	}
	return dst
}

func (c *captured) appendKeys(dst []byte, first uint64) []byte {
	le := binary.LittleEndian
	offset, timeMs := uint64(0), uint64(0)
	for seq := first; seq < c.keys.tail; seq++ {
		k := c.keys.at(seq)
		dst = le.AppendUint64(dst, k.hash[0])
		dst = le.AppendUint64(dst, k.hash[1])
		dst = binary.AppendUvarint(dst, k.first-offset)
		dst = binary.AppendUvarint(dst, uint64(k.count))
		dst = binary.AppendUvarint(dst, k.timeMs-timeMs)
		offset, timeMs = k.first, k.timeMs
	}
	return dst
}

// firstLive returns the first entry that has not expired; times do not fall along the queue.
func (q *queue) firstLive(now, windowMs uint64) uint64 {
	return q.head + uint64(sort.Search(q.len(), func(i int) bool {
		return !expired(q.at(q.head+uint64(i)).timeMs, now, windowMs)
	}))
}
