package record

import "errors"

// What decoding can find wrong. Callers wrap them with file and position.
var (
	ErrEmpty     = errors.New("no frame: zero bytes")               // where a zero-filled segment has not been written yet
	ErrMagic     = errors.New("no frame: wrong magic")              // something that never was a frame
	ErrSize      = errors.New("bad frame: size out of range")       // smaller than a header, or beyond the bytes at hand
	ErrChecksum  = errors.New("bad frame: checksum mismatch")       // damaged, torn, or of another segment
	ErrMalformed = errors.New("bad frame: payload does not decode") // correct checksum, impossible content: a bug or a newer version
	ErrTooLarge  = errors.New("record too large for one frame")     // the batch cannot take it, whole or not
)
