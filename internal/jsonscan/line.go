package jsonscan

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// AppendOnOneLine appends a JSON text without the line breaks between its tokens. There are none within.
func AppendOnOneLine(b, v []byte) []byte {
	for {
		i := bytes.IndexAny(v, "\n\r")
		if i < 0 {
			return append(b, v...)
		}
		b, v = append(b, v[:i]...), v[i+1:]
	}
}

// HasHalfPair finds a \uXXXX that is one half of a surrogate pair without the other: no text has that.
func HasHalfPair(b []byte) bool {
	for {
		i := bytes.IndexByte(b, '\\')
		if i < 0 || i+1 >= len(b) {
			return false
		}
		first, ok := escapedUnit(b[i:])
		if b = b[i+2:]; !ok || !utf16.IsSurrogate(first) {
			continue
		}
		second, ok := escapedUnit(b[4:])
		if !ok || utf16.DecodeRune(first, second) == utf8.RuneError {
			return true
		}
		b = b[4+6:]
	}
}

// escapedUnit reads the \uXXXX that b begins with.
func escapedUnit(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return rune(n), err == nil
}
