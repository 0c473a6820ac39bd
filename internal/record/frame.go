package record

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// Frames: the header, its checksum, and the view of a decoded one. ReadFrame is the only way from bytes to a Frame
// and verifies all of it; Validate walks the payload too, for whoever reads bytes that another program
// or version may have written.

// Magic opens every frame ("AYF1" in the file).
const Magic uint32 = 'A' | 'Y'<<8 | 'F'<<16 | '1'<<24

// Kind says what a frame is for.
type Kind uint8

// The kinds of frames.
const (
	KindBatch      Kind = 1 // sections, applied to the engine
	KindRaft       Kind = 2 // raft's own entry: no-op, configuration
	KindCheckpoint Kind = 3 // a mark that a checkpoint up to its index exists
	KindPad        Kind = 4 // fills a block; carries no index of its own and is skipped
)

// Header is a frame's fixed part without magic and checksum.
type Header struct {
	Size     uint32
	Sections uint32
	Index    uint64
	Term     uint64
	TimeMs   uint64
	Staged   uint64
	Durable  uint64
	Kind     Kind
	Flags    uint8
	Group    uint16
}

// Frame is a decoded view; it aliases the bytes that it was read from.
type Frame struct {
	Header
	Payload []byte
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AlignedSize is what a frame or section of n bytes occupies.
func AlignedSize(n int) int { return (n + align - 1) &^ (align - 1) }

// seed is the CRC's starting state for a segment: its random seed, spread by Fibonacci hashing.
func seed(segment uint64) uint32 { return uint32(segment * 0x9E3779B97F4A7C15 >> 32) }

// PutHeader writes h into frame[:FrameHeaderBytes] and seals it with the checksum over
// frame[8:h.Size], seeded with the segment's seed.
func PutHeader(frame []byte, h *Header, segment uint64) {
	le := binary.LittleEndian
	_ = frame[FrameHeaderBytes-1]
	le.PutUint32(frame[0:], Magic)
	le.PutUint32(frame[8:], h.Size)
	le.PutUint32(frame[12:], h.Sections)
	le.PutUint64(frame[16:], h.Index)
	le.PutUint64(frame[24:], h.Term)
	le.PutUint64(frame[32:], h.TimeMs)
	le.PutUint64(frame[40:], h.Staged)
	le.PutUint64(frame[48:], h.Durable)
	frame[56], frame[57] = byte(h.Kind), h.Flags
	le.PutUint16(frame[58:], h.Group)
	le.PutUint32(frame[60:], 0)
	le.PutUint32(frame[4:], crc32.Update(seed(segment), castagnoli, frame[8:h.Size]))
}

// PutPad writes a pad frame that occupies exactly len(b) bytes, which must be a multiple of 8
// and at least a header long. index is the index of the frame that follows.
func PutPad(b []byte, index, segment uint64) {
	clear(b)
	PutHeader(b, &Header{Size: uint32(len(b)), Index: index, Kind: KindPad}, segment)
}

// ReadHeader decodes the fixed part and checks magic and size against what is at hand, not the checksum.
func ReadHeader(b []byte) (Header, error) {
	var h Header
	if len(b) < FrameHeaderBytes {
		return h, ErrSize
	}
	le := binary.LittleEndian
	if m := le.Uint32(b); m != Magic {
		if m == 0 {
			return h, ErrEmpty
		}
		return h, ErrMagic
	}
	h = Header{
		Size: le.Uint32(b[8:]), Sections: le.Uint32(b[12:]), Index: le.Uint64(b[16:]), Term: le.Uint64(b[24:]),
		TimeMs: le.Uint64(b[32:]), Staged: le.Uint64(b[40:]), Durable: le.Uint64(b[48:]),
		Kind: Kind(b[56]), Flags: b[57], Group: le.Uint16(b[58:]),
	}
	if h.Size < FrameHeaderBytes || h.Size > FrameBytesMax {
		return h, ErrSize
	}
	return h, nil
}

// ReadFrame decodes and verifies the frame at the start of b. The next one starts AlignedSize(Size) later.
func ReadFrame(b []byte, segment uint64) (Frame, error) {
	h, err := ReadHeader(b)
	if err != nil {
		return Frame{}, err
	}
	if int(h.Size) > len(b) {
		return Frame{Header: h}, ErrSize
	}
	want := binary.LittleEndian.Uint32(b[4:])
	if crc32.Update(seed(segment), castagnoli, b[8:h.Size]) != want {
		return Frame{Header: h}, ErrChecksum
	}
	return Frame{Header: h, Payload: b[FrameHeaderBytes:h.Size]}, nil
}

// Validate walks every section and record, so that a frame that passes can be iterated without
// meeting an error. The error wraps ErrMalformed.
func (f *Frame) Validate() error {
	if f.Kind != KindBatch {
		return nil
	}
	n := uint32(0)
	it := f.Iter()
	for s, ok := it.Next(); ok; s, ok = it.Next() {
		n++
		if err := s.validate(); err != nil {
			return fmt.Errorf("index %d section %d: %w", f.Index, n, err)
		}
	}
	if it.err != nil || n != f.Sections {
		return fmt.Errorf("index %d: %d of %d sections: %w", f.Index, n, f.Sections, ErrMalformed)
	}
	return nil
}
