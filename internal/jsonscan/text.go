package jsonscan

// What a string stands for. Most strings have no escapes, so that the bytes between their quotes are their text and nothing
// has to be copied: String says so while it looks for the end. AppendText decodes the others, after they were checked, so that it
// need not look out for anything.

import (
	"unicode/utf16"
	"unicode/utf8"
)

// String reads the string whose quote is at i, and returns the index behind its closing quote: -1 if it is malformed, or none is
// there. It is plain if it has no escapes.
func String(b []byte, i int) (end int, plain bool) {
	if i < 0 || i >= len(b) || b[i] != '"' {
		return -1, false
	}
	end = Plain(b, i+1)
	if end < len(b) && b[end] == '"' {
		return end + 1, true
	}
	return skipString(b, end), false
}

// AppendText appends what the content of a string, without its quotes, stands for. The string is known to be well-formed. Half of
// a surrogate pair becomes U+FFFD, as in encoding/json; bytes that are no UTF-8 stay as they are.
func AppendText(b, s []byte) []byte {
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			from := i
			for i++; i < len(s) && s[i] != '\\'; {
				i++
			}
			b = append(b, s[from:i]...)
			i--
			continue
		}
		switch i++; s[i] {
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'u':
			r := codeUnit(s, i+1)
			i += 4
			if utf16.IsSurrogate(r) {
				var used int
				r, used = surrogates(r, s, i+1)
				i += used
			}
			b = utf8.AppendRune(b, r)
		default: // a quote, a backslash, a slash
			b = append(b, s[i])
		}
	}
	return b
}

// surrogates completes a pair whose second half, if it is one, is the escape at i; used is that escape's length.
func surrogates(first rune, s []byte, i int) (r rune, used int) {
	if len(s)-i < 6 || s[i] != '\\' || s[i+1] != 'u' {
		return utf8.RuneError, 0
	}
	if r = utf16.DecodeRune(first, codeUnit(s, i+2)); r == utf8.RuneError {
		return r, 0
	}
	return r, 6
}

// codeUnit reads four hexadecimal digits.
func codeUnit(s []byte, i int) rune {
	var r rune
	for _, c := range s[i : i+4] {
		switch {
		case c <= '9':
			c -= '0'
		default:
			c = c | 0x20 - 'a' + 10
		}
		r = r<<4 | rune(c)
	}
	return r
}
