package httpparse

import "math"

// The chunked transfer coding (RFC 9112 section 7.1):
//
//	1a;name=value CRLF        size in hex, extensions ignored
//	<26 bytes> CRLF
//	0 CRLF                    last chunk
//	Name: value CRLF          trailer fields, checked and dropped
//	CRLF
//
// The decoder is a state machine that takes the framing byte by byte and the content run by
// run, so it can stop and go on between any two bytes. Rejected: a decoder that waits for
// whole lines (it would need a buffer, or its caller would).
//
// Output is never longer than the input it came from, which is why dst may end where src
// begins: a body can be decoded in place.

// Chunked decodes one chunked body. The zero value is ready; Reset makes it ready again.
type Chunked struct {
	left   uint64 // of the current chunk: the size read so far, then the bytes still to come
	total  int64  // content bytes of the chunks begun so far
	extra  int32  // bytes of extensions, then of trailers
	digits uint8
	state  chunkState
	err    *Error // sticky
}

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkSizeLF
	chunkData
	chunkDataCR
	chunkDataLF
	trailerStart
	trailerName
	trailerValue
	trailerLF
	trailersLF // after the CR of the blank line at the end
	chunkDone
	chunkSizeBlank // white space after a size, a ';' must follow
	extStart       // after ';'
	extName
	extNameBlank
	extEquals // after '='
	extValue
	extQuoted
	extEscape   // after a backslash between quotes
	extValueEnd // after the closing quote
	extValueBlank

	firstExtension = chunkSizeBlank
)

// Reset prepares d for the next body.
func (d *Chunked) Reset() { *d = Chunked{} }

// Decode takes the next bytes of a chunked body, appends the content in them to dst, and
// returns the longer dst and how much of src is used up. done tells that the body is
// complete; what follows in src then belongs to the next request. Until then all of src is
// used, and the next call continues with the bytes after it. A body of more than bodyMax
// bytes is ErrBodyTooLarge as soon as a chunk's size says so.
//
// dst may be a slice of the same array whose end does not lie beyond the start of src, and
// whose capacity reaches over src: the body is then decoded in place.
func (d *Chunked) Decode(dst, src []byte, bodyMax int64) (out []byte, used int, done bool, err error) {
	if d.err != nil {
		return dst, 0, false, d.err
	}
	i := 0
	for i < len(src) && d.state != chunkDone {
		if d.state == chunkData {
			n := int(min(d.left, uint64(len(src)-i)))
			dst = append(dst, src[i:i+n]...)
			i += n
			d.consumed(n)
			continue
		}
		if d.err = d.step(src[i], bodyMax); d.err != nil {
			return dst, i, false, d.err
		}
		i++
	}
	return dst, i, d.state == chunkDone, nil
}

func (d *Chunked) consumed(n int) {
	if d.left -= uint64(n); d.left == 0 {
		d.state = chunkDataCR
	}
}

// step takes one byte of framing.
func (d *Chunked) step(c byte, bodyMax int64) *Error {
	switch d.state {
	case chunkSize:
		return d.size(c)
	case chunkSizeLF:
		if c != '\n' {
			return ErrLineEnd
		}
		return d.begin(bodyMax)
	case chunkDataCR:
		return d.expect(c, '\r', chunkDataLF)
	case chunkDataLF:
		d.left, d.digits = 0, 0
		return d.expect(c, '\n', chunkSize)
	case trailerStart, trailerName, trailerValue, trailerLF, trailersLF:
		return d.trailer(c)
	}
	return d.extension(c)
}

func (d *Chunked) expect(c, want byte, then chunkState) *Error {
	if c != want {
		return ErrChunkEnd
	}
	d.state = then
	return nil
}

// size takes a digit of a chunk's size or what ends it.
func (d *Chunked) size(c byte) *Error {
	if v := hexDigit(c); v < 16 {
		if d.digits++; d.digits > chunkSizeDigitsMax {
			return ErrChunkSize
		}
		d.left = d.left<<4 | uint64(v)
		return nil
	}
	switch {
	case d.digits == 0:
		return ErrChunkSize
	case c == '\r':
		d.state = chunkSizeLF
	case c == ';':
		d.state = extStart
	case isBlank(c):
		d.state = chunkSizeBlank
	default:
		return ErrChunkSize
	}
	return nil
}

// begin opens the chunk whose size line is complete.
func (d *Chunked) begin(bodyMax int64) *Error {
	if d.left == 0 {
		d.state, d.extra = trailerStart, 0
		return nil
	}
	if d.left > math.MaxInt64 || int64(d.left) > bodyMax-d.total {
		return ErrBodyTooLarge
	}
	d.total += int64(d.left)
	d.state = chunkData
	return nil
}

// extension takes a byte of *( BWS ";" BWS name [ BWS "=" BWS value ] ).
func (d *Chunked) extension(c byte) *Error {
	if d.extra++; d.extra > chunkExtensionBytesMax {
		return ErrChunkExtensions
	}
	next := extensionNext[d.state-firstExtension][symbolOf(c)]
	if next == 0 {
		return ErrChunkExtension
	}
	d.state = next
	return nil
}

// symbol is a class of bytes that the extension grammar does not tell apart.
type symbol uint8

const (
	symToken symbol = iota
	symBlank
	symSemicolon
	symEquals
	symQuote
	symBackslash
	symCR
	symOther // may stand between quotes
	symBad
	symbols
)

func symbolOf(c byte) symbol {
	switch {
	case class[c]&isToken != 0:
		return symToken
	case isBlank(c):
		return symBlank
	case c == ';':
		return symSemicolon
	case c == '=':
		return symEquals
	case c == '"':
		return symQuote
	case c == '\\':
		return symBackslash
	case c == '\r':
		return symCR
	case class[c]&isValue != 0:
		return symOther
	}
	return symBad
}

// extensionNext is the transition table of the extension grammar; 0 is an error. White space
// is allowed around ';' and '=' but not before CRLF.
var extensionNext = [...][symbols]chunkState{
	chunkSizeBlank - firstExtension: {symBlank: chunkSizeBlank, symSemicolon: extStart},
	extStart - firstExtension:       {symBlank: extStart, symToken: extName},
	extName - firstExtension: {
		symToken: extName, symEquals: extEquals, symSemicolon: extStart, symBlank: extNameBlank, symCR: chunkSizeLF,
	},
	extNameBlank - firstExtension: {symBlank: extNameBlank, symEquals: extEquals, symSemicolon: extStart},
	extEquals - firstExtension:    {symBlank: extEquals, symToken: extValue, symQuote: extQuoted},
	extValue - firstExtension:     {symToken: extValue, symSemicolon: extStart, symBlank: extValueBlank, symCR: chunkSizeLF},
	extQuoted - firstExtension: {
		symToken: extQuoted, symBlank: extQuoted, symSemicolon: extQuoted, symEquals: extQuoted, symOther: extQuoted,
		symQuote: extValueEnd, symBackslash: extEscape,
	},
	extEscape - firstExtension: {
		symToken: extQuoted, symBlank: extQuoted, symSemicolon: extQuoted, symEquals: extQuoted, symOther: extQuoted,
		symQuote: extQuoted, symBackslash: extQuoted,
	},
	extValueEnd - firstExtension:   {symSemicolon: extStart, symBlank: extValueBlank, symCR: chunkSizeLF},
	extValueBlank - firstExtension: {symBlank: extValueBlank, symSemicolon: extStart},
}

// trailer takes a byte of *( field-name ":" field-value CRLF ) CRLF.
func (d *Chunked) trailer(c byte) *Error {
	if d.extra++; d.extra > trailerBytesMax {
		return ErrTrailersTooLarge
	}
	token, value := class[c]&isToken != 0, class[c]&isValue != 0
	switch {
	case d.state == trailerStart && token:
		d.state = trailerName
	case d.state == trailerStart && c == '\r':
		d.state = trailersLF
	case d.state == trailerName && c == ':':
		d.state = trailerValue
	case d.state == trailerValue && c == '\r':
		d.state = trailerLF
	case d.state == trailerLF && c == '\n':
		d.state = trailerStart
	case d.state == trailersLF && c == '\n':
		d.state = chunkDone
	case d.state == trailerName && token, d.state == trailerValue && value:
	default:
		return ErrTrailer
	}
	return nil
}
