package record

import "encoding/binary"

// Records, the messages themselves, and their headers. They are encoded back to back: a reader that wants the
// n-th one of a section skips by sizes, which touches one cache line a record. Positions inside a
// section would cost four bytes a message to save that.

// Flags of a record.
const (
	FlagKey  uint8 = 1 << 0 // has a key, perhaps an empty one
	FlagIdem uint8 = 1 << 1 // has an idempotency key
)

// Record is one message. Decoded, its slices alias the frame; to be encoded, they may alias anything.
type Record struct {
	TimeMs  uint64 // event time, Unix milliseconds
	HasKey  bool
	HasIdem bool
	Key     []byte
	Idem    []byte
	Headers []byte // encoded by AppendHeader
	Value   []byte
}

// Size is what the record occupies in a section, in bytes.
func (r *Record) Size() int {
	return RecordHeaderBytes + len(r.Key) + len(r.Idem) + len(r.Headers) + len(r.Value)
}

// AppendTo encodes r at the end of b, as a batch has it.
func (r *Record) AppendTo(b []byte) []byte { return r.appendTo(b) }

// appendTo encodes r at the end of b.
func (r *Record) appendTo(b []byte) []byte {
	var h [RecordHeaderBytes]byte
	le := binary.LittleEndian
	le.PutUint32(h[0:], uint32(r.Size()))
	if r.HasKey {
		h[4] |= FlagKey
	}
	if r.HasIdem {
		h[4] |= FlagIdem
	}
	le.PutUint16(h[6:], uint16(len(r.Idem)))
	le.PutUint64(h[8:], r.TimeMs)
	le.PutUint32(h[16:], uint32(len(r.Key)))
	le.PutUint32(h[20:], uint32(len(r.Headers)))
	b = append(b, h[:]...)
	b = append(b, r.Key...)
	b = append(b, r.Idem...)
	b = append(b, r.Headers...)
	return append(b, r.Value...)
}

// RecordIter walks a section's records. The zero value is empty.
type RecordIter struct {
	body []byte
	err  error
}

// Records starts at the section's first record; a command has none.
func (s *Section) Records() RecordIter {
	if s.Type != SectionRecords {
		return RecordIter{}
	}
	return RecordIter{body: s.Body}
}

// Err tells, after Next returned false, whether the section ended where it should: nil or ErrMalformed.
func (it *RecordIter) Err() error { return it.err }

// Next returns the next record, or false at the end or at something that does not decode.
func (it *RecordIter) Next() (r Record, ok bool) {
	ok = it.Read(&r)
	return r, ok
}

// Read is Next into a record of the caller's: a Record is 120 bytes, and a page reads hundreds.
func (it *RecordIter) Read(r *Record) bool {
	if it.err != nil || len(it.body) == 0 {
		return false
	}
	size, ok := r.decode(it.body)
	if !ok {
		it.err = ErrMalformed
		return false
	}
	it.body = it.body[size:]
	return true
}

// Skip passes over n records by their sizes alone.
func (it *RecordIter) Skip(n int) {
	for ; n > 0 && len(it.body) >= RecordHeaderBytes; n-- {
		size := int(binary.LittleEndian.Uint32(it.body))
		if size < RecordHeaderBytes || size > len(it.body) {
			it.err = ErrMalformed
			return
		}
		it.body = it.body[size:]
	}
}

// decode fills r from the start of b.
func (r *Record) decode(b []byte) (size int, ok bool) {
	if len(b) < RecordHeaderBytes {
		return 0, false
	}
	le := binary.LittleEndian
	size = int(le.Uint32(b))
	idem, key, headers := int(le.Uint16(b[6:])), int(le.Uint32(b[16:])), int(le.Uint32(b[20:]))
	if size > len(b) || key > size || headers > size || RecordHeaderBytes+idem+key+headers > size {
		return 0, false
	}
	r.TimeMs = le.Uint64(b[8:])
	r.HasKey, r.HasIdem = b[4]&FlagKey != 0, b[4]&FlagIdem != 0
	b = b[RecordHeaderBytes:size]
	r.Key, b = b[:key:key], b[key:]
	r.Idem, b = b[:idem:idem], b[idem:]
	r.Headers, r.Value = b[:headers:headers], b[headers:]
	return size, true
}

// AppendHeader encodes one header of a record at the end of b.
func AppendHeader(b, name, value []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(len(name)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(value)))
	b = append(b, name...)
	return append(b, value...)
}

// NextHeader splits the first header off an encoded list; ok is false at its end or where it is malformed.
func NextHeader(b []byte) (name, value, rest []byte, ok bool) {
	if len(b) < headerPrefixBytes {
		return nil, nil, nil, false
	}
	n, v := int(binary.LittleEndian.Uint16(b)), int(binary.LittleEndian.Uint32(b[2:]))
	b = b[headerPrefixBytes:]
	if n > len(b) || v > len(b)-n {
		return nil, nil, nil, false
	}
	return b[:n:n], b[n : n+v : n+v], b[n+v:], true
}
