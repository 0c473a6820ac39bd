package httpparse

import (
	"encoding/binary"
	"math/bits"
)

// Scanning. A head is a few runs of harmless bytes between delimiters, so parsing is mostly
// the question "where is the first byte that is not of this class?". Names are short and
// their class is ragged: a table answers byte by byte. Targets and values are long and their
// class is nearly a range: eight bytes are judged at once by arithmetic on a word, in the
// manner of Hacker's Delight (section 6-1). In each byte of a word
//
//	x - n     borrows into the top bit where x < n         (for n <= x < 0x80 it stays clear)
//	x + 1     carries into the top bit where x = 0x7f      (DEL)
//	x         has the top bit where x is not ASCII
//
// A borrow or carry that leaves a byte can mark the byte above it falsely, never unmark one.
// So every mark is looked up in the table before it is believed.
//
// No load goes beyond the slice: the last seven bytes are looked at one by one. A test puts
// the input right before an unreadable page.

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// Byte classes, as bits of class[b].
const (
	isToken  = 1 << iota // tchar of RFC 9110 section 5.6.2
	isTarget             // a visible ASCII character but '#'
	isValue              // field-content: HTAB, SP, VCHAR, obs-text
	isHost               // unreserved or sub-delims of RFC 3986; '%' and brackets apart
)

var class = makeClasses()

var toLower = makeToLower()

func makeToLower() (t [256]byte) {
	for c := range 256 {
		t[c] = byte(c)
		if c >= 'A' && c <= 'Z' {
			t[c] |= 0x20
		}
	}
	return t
}

func makeClasses() (t [256]uint8) {
	mark := func(set string, bit uint8) {
		for i := range len(set) {
			t[set[i]] |= bit
		}
	}
	for c := range 256 {
		if c > ' ' && c < 0x7f && c != '#' {
			t[c] |= isTarget
		}
		if c >= ' ' && c != 0x7f || c == '\t' {
			t[c] |= isValue
		}
		if c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' && c < 0x80 {
			t[c] |= isToken | isHost
		}
	}
	mark("!#$%&'*+-.^_`|~", isToken)
	mark("-._~!$&'()*+,;=", isHost)
	return t
}

// scanToken returns the index of the first byte of b[i:] that is not a tchar, or len(b). It
// takes four bytes at a time for one branch instead of four.
func scanToken(b []byte, i int) int {
	for i+4 <= len(b) {
		w := b[i : i+4 : i+4]
		if class[w[0]]&class[w[1]]&class[w[2]]&class[w[3]]&isToken == 0 {
			break
		}
		i += 4
	}
	for i < len(b) && class[b[i]]&isToken != 0 {
		i++
	}
	return i
}

// scanTarget returns the index of the first byte of b[i:] that cannot stand in a request
// target, or len(b).
func scanTarget(b []byte, i int) int {
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		sharp := x ^ ones*'#'
		marks := ((x - ones*'!') | (x + ones) | x | (sharp-ones)&^sharp) & highs
		if j := firstOutside(b, i, marks, isTarget); j >= 0 {
			return j
		}
	}
	for i < len(b) && class[b[i]]&isTarget != 0 {
		i++
	}
	return i
}

// scanValue returns the index of the first byte of b[i:] that cannot stand in a field value
// (so also of the CR that ends it), or len(b).
func scanValue(b []byte, i int) int {
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		marks := ((x - ones*' ') | (x + ones)) &^ x & highs
		if j := firstOutside(b, i, marks, isValue); j >= 0 {
			return j
		}
	}
	for i < len(b) && class[b[i]]&isValue != 0 {
		i++
	}
	return i
}

// firstOutside returns the index of the first marked byte of b[i:i+8] that is not of the
// class, or -1. The lowest mark belongs to the first byte, since the load is little-endian.
func firstOutside(b []byte, i int, marks uint64, bit uint8) int {
	for ; marks != 0; marks &= marks - 1 {
		if j := i + bits.TrailingZeros64(marks)>>3; class[b[j]]&bit == 0 {
			return j
		}
	}
	return -1
}

// isBlank tells whether c is white space that may stand around a field value.
func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// trim takes the white space off both ends of a value.
func trim(b []byte) []byte {
	for len(b) > 0 && isBlank(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isBlank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

// EqualFold tells whether name is lower, disregarding the case of ASCII letters in name.
// lower must be in lower case.
func EqualFold(name []byte, lower string) bool {
	return len(name) == len(lower) && HasPrefixFold(name, lower)
}

// isName is EqualFold for names of the same length that are known to be tokens: with the
// bit 0x20 set, a tchar equals a letter or '-' only if it is that letter or '-'. The
// conversion of lower does not copy, since nothing writes to its result.
func isName(name []byte, lower string) bool {
	const blanks = ones * 0x20
	i := 0
	for ; i+8 <= len(lower) && i+8 <= len(name); i += 8 {
		if binary.LittleEndian.Uint64(name[i:])|blanks != binary.LittleEndian.Uint64([]byte(lower)[i:]) {
			return false
		}
	}
	for ; i < len(lower) && i < len(name); i++ {
		if name[i]|0x20 != lower[i] {
			return false
		}
	}
	return true
}

// HasPrefixFold tells whether name starts with lower, disregarding the case of ASCII letters
// in name. lower must be in lower case.
func HasPrefixFold(name []byte, lower string) bool {
	if len(name) < len(lower) {
		return false
	}
	for i := range len(lower) {
		if toLower[name[i]] != lower[i] {
			return false
		}
	}
	return true
}

// hexDigit returns the value of a hexadecimal digit, or 255.
func hexDigit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 255
}
