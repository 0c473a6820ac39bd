package httpparse

import "bytes"

// validHost tells whether b is uri-host [ ":" port ] (RFC 9110 section 7.2). An empty host
// is valid: a client whose target has no authority must send "Host:" (RFC 9112 section 3.2).
func validHost(b []byte) bool {
	rest := b[hostSize(b):]
	return len(rest) == 0 || rest[0] == ':' && allDigits(rest[1:])
}

// hostSize returns the length of the uri-host that b starts with, 0 if it is empty or wrong.
func hostSize(b []byte) int {
	if len(b) > 0 && b[0] == '[' {
		return literalSize(b)
	}
	i := 0
	for i < len(b) {
		if b[i] == '%' {
			if _, ok := escapedByte(b[i:]); !ok {
				break
			}
			i += 3
			continue
		}
		if class[b[i]]&isHost == 0 {
			break
		}
		i++
	}
	return i
}

// literalSize returns the length of the bracketed IPv6 address that b starts with, or 0. Its
// characters are checked, not its sense: nothing here connects to it. IPvFuture, which no
// version ever used, is refused.
func literalSize(b []byte) int {
	end := bytes.IndexByte(b, ']')
	if end < 0 || bytes.IndexByte(b[:end], ':') < 0 {
		return 0
	}
	for _, c := range b[1:end] {
		if c != ':' && c != '.' && hexDigit(c) > 15 {
			return 0
		}
	}
	return end + 1
}

// allDigits tells whether b holds nothing but decimal digits; it may be empty.
func allDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
