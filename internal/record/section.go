package record

import "encoding/binary"

// Sections: what a frame's payload is made of, and the iterator over them. Iterators return values instead of
// calling back, so that a caller's loop stays a loop and nothing escapes; an error ends the walk
// and is asked for afterwards.

// SectionType says what a section holds. Values are part of the disk format.
type SectionType uint8

// The types of sections. The bodies of all but SectionRecords are defined by package engine.
const (
	SectionRecords     SectionType = 1  // records of one partition
	SectionTopicCreate SectionType = 2  // a topic comes into being
	SectionGroupCommit SectionType = 3  // a group's committed offset moves
	SectionTopicDelete SectionType = 4  // a topic ceases to be
	SectionTopicGrow   SectionType = 5  // a topic gets more partitions
	SectionFloor       SectionType = 6  // a partition's first offset moves
	SectionRetention   SectionType = 7  // how long messages stay, and how many
	SectionBoot        SectionType = 14 // a range of offsets of a rocket topic is taken

	SectionGroupReset   SectionType = 8  // a group's committed offset is set, backward too
	SectionGroupDelete  SectionType = 9  // a group's committed offset is gone
	SectionGroupMembers SectionType = 10 // members of a coordinated group come, go or learn of it

	SectionSchema SectionType = 15 // a schema is registered

	SectionPipelineCreate SectionType = 16 // a pipeline comes into being
	SectionPipelineDelete SectionType = 17 // a pipeline ceases to be
	SectionPipelineStep   SectionType = 18 // a pipeline has read some messages
)

// 11 to 13 KV are spoken for.

// FlagSectionIdem marks a records section in which at least one record has an idempotency key,
// so that applying the many sections without one need not look at their records.
const FlagSectionIdem uint8 = 1 << 0

// FlagSectionAhead marks a records section in which the time of at least one record is later than its batch's, and so
// perhaps than its frame's. Whoever looks for a time knows of all others that they are no later than their frame.
const FlagSectionAhead uint8 = 1 << 1

// Stream names a partition by numbers: the log knows no topic names.
type Stream struct{ Topic, Partition uint32 }

// Section is a decoded view of one section; Body aliases the frame.
type Section struct {
	Type   SectionType
	Flags  uint8
	Stream Stream
	Base   uint64 // first offset (records), else the command's own
	Count  uint32 // records in Body, 1 for a command
	Body   []byte
	Pos    int // where the section starts, in bytes from the start of the frame
}

// SectionIter walks a frame's sections. The zero value is empty.
type SectionIter struct {
	payload []byte
	pos     int
	err     error
}

// Iter starts at the frame's first section; a frame that is not a batch has none.
func (f *Frame) Iter() SectionIter {
	if f.Kind != KindBatch {
		return SectionIter{}
	}
	return SectionIter{payload: f.Payload}
}

// Err tells, after Next returned false, whether the payload ended where it should: nil or ErrMalformed.
func (it *SectionIter) Err() error { return it.err }

// Next returns the next section, or false at the end or at something that does not decode.
func (it *SectionIter) Next() (Section, bool) {
	if it.err != nil || it.pos == len(it.payload) {
		return Section{}, false
	}
	s, size, ok := readSection(it.payload[it.pos:])
	if !ok {
		it.err = ErrMalformed
		return Section{}, false
	}
	s.Pos = FrameHeaderBytes + it.pos
	it.pos = min(it.pos+AlignedSize(size), len(it.payload))
	return s, true
}

// ReadSection decodes the section at the start of b, as found at Section.Pos of a verified frame.
func ReadSection(b []byte) (Section, error) {
	s, _, ok := readSection(b)
	if !ok {
		return Section{}, ErrMalformed
	}
	return s, nil
}

func readSection(b []byte) (s Section, size int, ok bool) {
	if len(b) < SectionHeaderBytes {
		return s, 0, false
	}
	le := binary.LittleEndian
	size = int(le.Uint32(b))
	if size < SectionHeaderBytes || size > len(b) {
		return s, 0, false
	}
	return Section{
		Type: SectionType(b[4]), Flags: b[5],
		Stream: Stream{le.Uint32(b[8:]), le.Uint32(b[12:])},
		Base:   le.Uint64(b[16:]), Count: le.Uint32(b[24:]), Body: b[SectionHeaderBytes:size],
	}, size, true
}

// AppendTo appends the section, encoded and padded, to a frame that is being made; the length of b is a multiple of 8.
func (s *Section) AppendTo(b []byte) []byte {
	var h [SectionHeaderBytes]byte
	le := binary.LittleEndian
	size := SectionHeaderBytes + len(s.Body)
	le.PutUint32(h[0:], uint32(size))
	h[4], h[5] = byte(s.Type), s.Flags
	le.PutUint32(h[8:], s.Stream.Topic)
	le.PutUint32(h[12:], s.Stream.Partition)
	le.PutUint64(h[16:], s.Base)
	le.PutUint32(h[24:], s.Count)
	b = append(b, h[:]...)
	b = append(b, s.Body...)
	var zero [align]byte
	return append(b, zero[:AlignedSize(size)-size]...)
}

// SkipRecords is how many bytes the first n records of body occupy; ok is false if it does not have so many.
func SkipRecords(body []byte, n uint64) (pos int, ok bool) {
	for ; n > 0; n-- {
		if len(body)-pos < RecordHeaderBytes {
			return pos, false
		}
		size := int(binary.LittleEndian.Uint32(body[pos:]))
		if size < RecordHeaderBytes || size > len(body)-pos {
			return pos, false
		}
		pos += size
	}
	return pos, true
}

// validate checks that a records section holds exactly Count well-formed records.
func (s *Section) validate() error {
	if s.Type != SectionRecords {
		return nil
	}
	it := s.Records()
	n := uint32(0)
	for _, ok := it.Next(); ok; _, ok = it.Next() {
		n++
	}
	if it.err != nil || n != s.Count || s.Base+uint64(n) < s.Base {
		return ErrMalformed
	}
	return nil
}
