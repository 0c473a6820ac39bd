package httpparse

import "bytes"

// Percent-encoding and query strings, without allocation where the caller brings the memory.

// UnescapePath appends src to dst with percent-encoded octets decoded. A '+' stays a '+'.
// dst may be src[:0]: the result is never longer. A decoded octet may be anything, also '/'
// or NUL; whether the name it is part of may contain it is for the caller to say.
func UnescapePath(dst, src []byte) ([]byte, error) { return unescape(dst, src, '+') }

// UnescapeQuery is UnescapePath for keys and values of a query, where '+' stands for a blank.
func UnescapeQuery(dst, src []byte) ([]byte, error) { return unescape(dst, src, ' ') }

func unescape(dst, src []byte, plus byte) ([]byte, error) {
	for {
		i := 0
		for i < len(src) && src[i] != '%' && src[i] != '+' {
			i++
		}
		dst = append(dst, src[:i]...)
		if i == len(src) {
			return dst, nil
		}
		if src[i] == '+' {
			dst, src = append(dst, plus), src[i+1:]
			continue
		}
		c, ok := escapedByte(src[i:])
		if !ok {
			return dst, ErrEscape
		}
		dst, src = append(dst, c), src[i+3:]
	}
}

// escapedByte decodes the "%XX" that b starts with.
func escapedByte(b []byte) (c byte, ok bool) {
	if len(b) < 3 {
		return 0, false
	}
	hi, lo := hexDigit(b[1]), hexDigit(b[2])
	return hi<<4 | lo, hi < 16 && lo < 16
}

// PathNeedsUnescape tells whether UnescapePath would change b.
func PathNeedsUnescape(b []byte) bool { return bytes.IndexByte(b, '%') >= 0 }

// QueryNeedsUnescape tells whether UnescapeQuery would change b.
func QueryNeedsUnescape(b []byte) bool {
	for _, c := range b {
		if c == '%' || c == '+' {
			return true
		}
	}
	return false
}

// QueryIter walks over the pairs of a query string.
type QueryIter struct {
	rest []byte
}

// Query returns an iterator over q, which is Request.Query.
func Query(q []byte) QueryIter { return QueryIter{q} }

// Next returns the next pair as it stands there, to be decoded with UnescapeQuery where
// QueryNeedsUnescape says so. value is nil for a key without '=' and empty for one with
// nothing after it. Empty pairs ("a=1&&b=2") are skipped; ';' separates nothing.
func (it *QueryIter) Next() (key, value []byte, ok bool) {
	for len(it.rest) > 0 {
		pair := it.rest
		if i := bytes.IndexByte(pair, '&'); i >= 0 {
			pair, it.rest = pair[:i:i], pair[i+1:]
		} else {
			it.rest = nil
		}
		if len(pair) == 0 {
			continue
		}
		if i := bytes.IndexByte(pair, '='); i >= 0 {
			return pair[:i:i], pair[i+1:], true
		}
		return pair, nil, true
	}
	return nil, nil, false
}
