package record

import "encoding/binary"

// Batch is one group commit while it is being filled. It belongs to one goroutine until it is
// given to a log, then to the log until Done was called; after that it may be Reset and used again.
//
// The bytes are kept in ordinary memory that grows as needed and is reused: the log copies a
// sealed frame once, to its place in the segment's image. (Filling the image directly would save
// that copy, about 0.3 µs for 8 KiB, and cost the freedom to fill several batches side by side.)
type Batch struct {
	// Index, set by the log in Append, is the frame's place in the log: the batch_id that clients see.
	Index uint64
	// TimeMs is the batch's time; set by the owner before the first record. The log keeps it monotone: what the frame
	// gets is never earlier.
	TimeMs uint64
	// Done is called once by the log, in log order, on the owner's loop: err is nil when the batch is durable.
	Done func(b *Batch, err error)
	// Synced, where a replicated log knows it, is called at most once, before Done and on the same loop, when
	// the batch is on this node's own disk. Nil: not wanted.
	Synced func(b *Batch)
	// Tag is the owner's own.
	Tag any
	// Term and Kind, set by a replicated log before Append, are the frame's; 0 are those of a single node and of KindBatch.
	Term uint64
	Kind Kind

	flags    uint8  // of a loaded frame
	group    uint16 // of a loaded frame
	buf      []byte // frame header space, then sections
	sections uint32
	open     int // where the open records section starts, 0 if none
	stream   Stream
	next     uint64 // the offset that would continue the open section
}

// batchBytesInitial is what a new batch can hold before it grows.
const batchBytesInitial = 64 << 10

// NewBatch returns an empty batch.
func NewBatch() *Batch {
	b := &Batch{buf: make([]byte, FrameHeaderBytes, batchBytesInitial)}
	return b
}

// Reset empties the batch and keeps its memory, unless that grew beyond keepBytes.
func (b *Batch) Reset(keepBytes int) {
	if cap(b.buf) > keepBytes {
		b.buf = make([]byte, FrameHeaderBytes, batchBytesInitial)
	}
	b.buf = b.buf[:FrameHeaderBytes]
	b.Index, b.TimeMs, b.sections, b.open = 0, 0, 0, 0
	b.Term, b.Kind, b.flags, b.group, b.Synced = 0, 0, 0, 0, nil
}

// Load makes the batch hold the frame with this header and payload (copied), as another node sealed it. Seal
// keeps its kind, flags, group, sections and time, and writes the place that it is given.
func (b *Batch) Load(h *Header, payload []byte) {
	b.buf = append(b.buf[:FrameHeaderBytes], payload...)
	b.Index, b.TimeMs, b.Term, b.Kind = 0, h.TimeMs, h.Term, h.Kind
	b.sections, b.flags, b.group, b.open = h.Sections, h.Flags, h.Group, 0
}

// Size is the size of the frame so far, in bytes, without padding.
func (b *Batch) Size() int { return len(b.buf) }

// Empty tells that nothing was appended or loaded since Reset.
func (b *Batch) Empty() bool { return b.sections == 0 && b.Kind == 0 }

// Bytes is the frame as Seal left it: header and payload.
func (b *Batch) Bytes() []byte { return b.buf }

// Fits tells whether extra more bytes of records or body keep the frame within max bytes.
func (b *Batch) Fits(extra, max int) bool {
	return len(b.buf)+extra+SectionHeaderBytes+2*align <= max
}

// AppendRecord adds r as the message at offset of s. It continues the section before it when
// that is the same partition's and the offset follows, else it opens a new one.
func (b *Batch) AppendRecord(s Stream, offset uint64, r *Record) {
	if b.open == 0 || b.stream != s || b.next != offset {
		b.open = b.beginSection(SectionRecords, s, offset, 0)
		b.stream = s
	}
	b.buf = r.appendTo(b.buf)
	b.next = offset + 1
	h := b.buf[b.open:]
	if r.HasIdem {
		h[5] |= FlagSectionIdem
	}
	if r.TimeMs > b.TimeMs {
		h[5] |= FlagSectionAhead
	}
	le := binary.LittleEndian
	le.PutUint32(h[24:], le.Uint32(h[24:])+1)
	le.PutUint32(h, uint32(len(b.buf)-b.open))
}

// EndSection has the next record begin a section of its own.
func (b *Batch) EndSection() { b.open = 0 }

// AppendCommand adds a command section with the given body (copied).
func (b *Batch) AppendCommand(t SectionType, s Stream, base uint64, body []byte) {
	at := b.beginSection(t, s, base, 1)
	b.buf = append(b.buf, body...)
	binary.LittleEndian.PutUint32(b.buf[at:], uint32(len(b.buf)-at))
	b.open = 0
}

// beginSection aligns the end of the batch and appends a section header; it returns where that starts.
func (b *Batch) beginSection(t SectionType, s Stream, base uint64, count uint32) int {
	var zero [align]byte
	b.buf = append(b.buf, zero[:AlignedSize(len(b.buf))-len(b.buf)]...)
	at := len(b.buf)
	var h [SectionHeaderBytes]byte
	le := binary.LittleEndian
	le.PutUint32(h[0:], SectionHeaderBytes)
	h[4] = byte(t)
	le.PutUint32(h[8:], s.Topic)
	le.PutUint32(h[12:], s.Partition)
	le.PutUint64(h[16:], base)
	le.PutUint32(h[24:], count)
	b.buf = append(b.buf, h[:]...)
	b.sections++
	return at
}

// Seal writes the frame header for the given place and returns the finished frame, which aliases
// the batch. h's Size, Sections, Flags, Group, and where they are zero Kind and TimeMs, are filled in from the batch.
func (b *Batch) Seal(h Header, segment uint64) []byte {
	h.Size, h.Sections, h.Flags, h.Group = uint32(len(b.buf)), b.sections, b.flags, b.group
	if h.Kind == 0 {
		h.Kind = b.Kind
	}
	if h.Kind == 0 {
		h.Kind = KindBatch
	}
	if h.TimeMs == 0 {
		h.TimeMs = b.TimeMs
	}
	b.Index, b.TimeMs = h.Index, h.TimeMs
	PutHeader(b.buf, &h, segment)
	return b.buf
}

// Frame is the view of a sealed batch.
func (b *Batch) Frame() Frame {
	h, err := ReadHeader(b.buf)
	if err != nil {
		panic("bug: frame of a batch that was not sealed")
	}
	return Frame{Header: h, Payload: b.buf[FrameHeaderBytes:]}
}
