package record

// Sizes of the fixed parts, in bytes.
const (
	FrameHeaderBytes   = 64
	SectionHeaderBytes = 32
	RecordHeaderBytes  = 24
	headerPrefixBytes  = 6
	align              = 8
)

// Limits of the encoding. They bound what a decoder accepts; the HTTP face has smaller ones.
const (
	FrameBytesMax = 64 << 20 // a frame, header included
	KeyBytesMax   = 64 << 10 // a record's key
	IdemBytesMax  = 1 << 10  // an idempotency key
	HeadersMax    = 64       // headers of one record
	HeaderNameMax = 256      // bytes of a header's name
)
