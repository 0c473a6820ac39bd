// Package jsonscan reads JSON in place: it validates, and finds its way.
package jsonscan

// A JSON validator for NDJSON: every line of every batch goes through it on the loop, so it is as hot as
// the copy of the body. It accepts exactly what encoding/json.Valid accepts, nesting limit included (a
// fuzz test compares the two), at about five times the speed:
//
//   - no state function per byte: the text is walked by index, one leaf per kind of token;
//   - strings, which are most of any body, are looked at eight bytes at a time (SWAR: "a byte below
//     0x20, a quote or a backslash" is three subtractions and some masks on one word);
//   - nesting is one bit per level, object or array, in a fixed array: no recursion, so that
//     no depth of brackets costs more than its bytes.
//
// Rejected: simdjson and its Go ports (assembly, and they build an index we do not need), validators
// that recurse, and those that are lenient about numbers and escapes. Like json.Valid it does not ask
// for UTF-8: a message's bytes are kept as they are.

import (
	"encoding/binary"
	"math/bits"
)

// DepthMax is how many levels of nesting are taken, as in encoding/json.
const DepthMax = 10_000

// Scanner is the memory of the validator. It may be used again and again, by one goroutine.
type Scanner struct {
	depth int
	kinds [DepthMax/64 + 1]uint64 // bit n: level n+1 is an object
}

// Valid reports whether b is one JSON value with nothing but white space around it.
func (s *Scanner) Valid(b []byte) bool {
	i := s.Skip(b, SkipSpace(b, 0))
	return i >= 0 && SkipSpace(b, i) == len(b)
}

// Skip reads the whole value at i and returns the index behind it, -1 if it is malformed.
func (s *Scanner) Skip(b []byte, i int) int { return s.SkipInside(b, i, 0) }

// SkipInside is Skip for a value that already is inside so many arrays and objects.
func (s *Scanner) SkipInside(b []byte, i, depth int) int {
	s.depth = depth
	i = s.value(b, i)
	for i >= 0 && s.depth > depth {
		i = s.next(b, SkipSpace(b, i))
	}
	return i
}

// Member reads one member of an object that is known to be valid: i is where the object starts or, for the
// members after the first, what was returned as rest. The name comes with its quotes, nil when there
// is none left or b is no object.
func (s *Scanner) Member(b []byte, i int) (name []byte, rest int) {
	if i < 0 || i >= len(b) || b[i] != '{' && b[i] != ',' {
		return nil, -1
	}
	if i = SkipSpace(b, i+1); b[i] != '"' {
		return nil, -1
	}
	name = b[i:skipString(b, i+1)]
	return name, SkipSpace(b, s.Skip(b, skipName(b, i)))
}

// value reads the value at i and returns the index behind it, -1 if it is malformed. Of an array or
// object that is not empty it reads up to the first value inside that is a scalar or empty.
func (s *Scanner) value(b []byte, i int) int {
	for i >= 0 && i < len(b) {
		switch c := b[i]; {
		case c == '"':
			return skipString(b, i+1)
		case c == '{' || c == '[':
			i = SkipSpace(b, i+1)
			if i < len(b) && b[i] == c+2 { // '}' is '{'+2, ']' is '['+2
				return s.empty(i + 1)
			}
			if i = s.push(c == '{', i); c == '{' {
				i = skipName(b, i)
			}
		case c == '-' || c-'0' < 10:
			return skipNumber(b, i)
		default:
			return skipWord(b, i)
		}
	}
	return -1
}

// next reads what follows a value inside an array or object: its end, or a comma and a value.
func (s *Scanner) next(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	level := s.depth - 1
	object := s.kinds[level>>6]>>(level&63)&1 == 1
	switch c := b[i]; {
	case c == ',' && object:
		return s.value(b, skipName(b, SkipSpace(b, i+1)))
	case c == ',':
		return s.value(b, SkipSpace(b, i+1))
	case c == '}' && object || c == ']' && !object:
		s.depth--
		return i + 1
	}
	return -1
}

// push enters an array or object; i is returned, or -1 where that is one level too many.
func (s *Scanner) push(object bool, i int) int {
	if s.depth == DepthMax {
		return -1
	}
	bit := uint64(1) << (s.depth & 63)
	if s.kinds[s.depth>>6] &^= bit; object {
		s.kinds[s.depth>>6] |= bit
	}
	s.depth++
	return i
}

// empty is push and its end in one.
func (s *Scanner) empty(i int) int {
	if s.depth == DepthMax {
		return -1
	}
	return i
}

// SkipSpace returns the index of the first byte from i on that is no white space. -1 stays -1.
func SkipSpace(b []byte, i int) int {
	if i < 0 {
		return i
	}
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// skipName reads a member's name, its colon and the white space around that.
func skipName(b []byte, i int) int {
	if i < 0 || i >= len(b) || b[i] != '"' {
		return -1
	}
	i = SkipSpace(b, skipString(b, i+1))
	if i < 0 || i >= len(b) || b[i] != ':' {
		return -1
	}
	return SkipSpace(b, i+1)
}

const (
	everyByte = 0x0101010101010101
	highBits  = 0x80 * everyByte
)

// Plain returns the index of the first byte from i on that cannot stand for itself in a string, or len(b).
func Plain(b []byte, i int) int {
	for ; len(b)-i >= 8; i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote, slash := w^'"'*everyByte, w^'\\'*everyByte
		// The high bit of each byte that is special. A borrow may set more of them, but only above the first.
		special := ((w-' '*everyByte)&^w | (quote-everyByte)&^quote | (slash-everyByte)&^slash) & highBits
		if special != 0 {
			return i + bits.TrailingZeros64(special)/8
		}
	}
	for i < len(b) && b[i] >= ' ' && b[i] != '"' && b[i] != '\\' {
		i++
	}
	return i
}

// skipString returns the index behind the quote that ends the string whose first byte is at i.
func skipString(b []byte, i int) int {
	for i >= 0 {
		if i = Plain(b, i); i == len(b) {
			return -1
		}
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			i = skipEscape(b, i+1)
		default:
			return -1
		}
	}
	return -1
}

// skipEscape reads what follows a backslash.
func skipEscape(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		if len(b)-i < 5 || !isHex(b[i+1]) || !isHex(b[i+2]) || !isHex(b[i+3]) || !isHex(b[i+4]) {
			return -1
		}
		return i + 5
	}
	return -1
}

func isHex(c byte) bool { return c-'0' < 10 || c|0x20-'a' < 6 }

// skipNumber reads -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?
func skipNumber(b []byte, i int) int {
	if b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if i = skipDigits(b, i); i < 0 {
		return -1
	}
	if i < len(b) && b[i] == '.' {
		if i = skipDigits(b, i+1); i < 0 {
			return -1
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return skipDigits(b, i)
	}
	return i
}

// skipDigits reads at least one digit.
func skipDigits(b []byte, i int) int {
	from := i
	for i < len(b) && b[i]-'0' < 10 {
		i++
	}
	if i == from {
		return -1
	}
	return i
}

// skipWord reads true, false or null.
func skipWord(b []byte, i int) int {
	for _, word := range [...]string{"true", "false", "null"} {
		if len(b)-i >= len(word) && string(b[i:i+len(word)]) == word {
			return i + len(word)
		}
	}
	return -1
}
