package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// A template is one request, formatted before the run. Requests that must differ
// every time carry a field of fixed width in which the copy is given a number, so
// lengths never change and nothing is formatted while the clock runs.
type template struct {
	bytes []byte
	at    int // where the number stands; −1: nowhere
	fill  func(field []byte, n uint64)
	limit uint64 // numbers above it are sent as limit; 0: no limit
}

// numberField marks the place of the number while a template is built. It holds
// no character that a URL or JSON would have to escape.
const numberField = "NNNNNNNNNNNNNNNN"

// append adds the request to dst with n in its field.
func (t *template) append(dst []byte, n uint64) []byte {
	start := len(dst)
	dst = append(dst, t.bytes...)
	if t.at >= 0 {
		if t.limit > 0 {
			n = min(n, t.limit)
		}
		field := dst[start+t.at:]
		t.fill(field[:len(numberField)], n)
	}
	return dst
}

// fillHex writes n with leading zeros: part of an idempotency key.
func fillHex(field []byte, n uint64) {
	for i := len(field) - 1; i >= 0; i-- {
		field[i] = "0123456789abcdef"[n&15]
		n >>= 4
	}
}

// fillScattered is fillHex of numbers that follow each other in no order, none twice (Fibonacci hashing).
func fillScattered(field []byte, n uint64) { fillHex(field, n*0x9e3779b97f4a7c15) }

// fillSpaced writes n in decimal behind blanks, which JSON allows before a number
// (it forbids leading zeros).
func fillSpaced(field []byte, n uint64) {
	for i := len(field) - 1; i >= 0; i-- {
		if n == 0 && i < len(field)-1 {
			field[i] = ' '
			continue
		}
		field[i] = '0' + byte(n%10)
		n /= 10
	}
}

// newTemplate formats a request. The field names are spelled as the floor
// program wants them; it reads "Content-Length: " and nothing else.
func newTemplate(c *config, method, target string, body []byte) template {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, target, c.addr)
	if c.token != "" {
		fmt.Fprintf(&b, "Authorization: Bearer %s\r\n", c.token)
	}
	if method != "GET" {
		fmt.Fprintf(&b, "Content-Length: %s\r\n", strconv.Itoa(len(body)))
	}
	b.WriteString("\r\n")
	b.Write(body)
	return template{bytes: b.Bytes(), at: bytes.Index(b.Bytes(), []byte(numberField)), fill: fillHex}
}

// payload is size printable bytes which are not all the same, so that a server
// that compressed them would gain little.
func payload(size int) []byte {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-_"
	p := make([]byte, size)
	x := uint32(2463534242) // Marsaglia's xorshift32 and its published seed
	for i := range p {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		p[i] = letters[x>>26]
	}
	return p
}

// ndjson is lines JSON strings of size bytes each, quotes included.
func ndjson(lines, size int) []byte {
	line := `"` + string(payload(size-2)) + "\"\n"
	return []byte(strings.Repeat(line, lines))
}
