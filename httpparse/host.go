package httpparse

import "bytes"

// validHost tells whether b is uri-host [ ":" port ] (RFC 9110 section 7.2). An empty host
// is valid: a client whose target has no authority must send "Host:" (RFC 9112 section 3.2).
// An IP literal is checked for its characters only; nothing here connects to it.
func validHost(b []byte) bool {
	var rest []byte
	if len(b) > 0 && b[0] == '[' {
		end := bytes.IndexByte(b, ']')
		if end < 2 || !validLiteral(b[1:end]) {
			return false
		}
		rest = b[end+1:]
	} else {
		i := 0
		for i < len(b) && class[b[i]]&isHost != 0 {
			i++
		}
		if i < len(b) && b[i] == '%' {
			i = scanEscapedName(b, i)
		}
		rest = b[i:]
	}
	return len(rest) == 0 || rest[0] == ':' && allDigits(rest[1:])
}

// scanEscapedName returns the index of the first byte of b[i:] that is neither a reg-name
// character nor part of a percent-encoded octet.
func scanEscapedName(b []byte, i int) int {
	for i < len(b) {
		switch {
		case class[b[i]]&isHost != 0:
			i++
		case b[i] == '%' && i+2 < len(b) && hexDigit(b[i+1]) < 16 && hexDigit(b[i+2]) < 16:
			i += 3
		default:
			return i
		}
	}
	return i
}

// validLiteral is for what stands between brackets: IPv6address or IPvFuture.
func validLiteral(b []byte) bool {
	for _, c := range b {
		if c != ':' && class[c]&isHost == 0 {
			return false
		}
	}
	return true
}

func allDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
