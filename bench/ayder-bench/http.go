package main

import (
	"bytes"
	"io"
)

// The HTTP dialect sends requests that were formatted before the run and reads
// as little of an answer as framing needs: the status and Content-Length. Two
// things are left out on purpose. Chunked answers are refused, since no measured
// call sends one; and header fields are compared by their first letters before
// anything else, which is what keeps the client cheaper than the server.
//
// Framing alone would let a server that answers 200 to everything look fast, so
// an operation may name a text which every answer must contain near its end
// (`"synced":true` for a produce that waits, `"count":100` for a page).

// httpDialect implements dialect over a rotation of operations.
type httpDialect struct {
	ops   []httpOperation
	order []int // indexes into ops, walked round and round
	turn  int
}

// httpOperation is one kind of request with its preformatted variants, which
// take turns.
type httpOperation struct {
	operation
	templates []template
	expect    []byte // part of every good answer; empty: the status is enough
	turn      int
	rounds    uint64 // how often all templates have been sent
}

func (d *httpDialect) greet(io.ReadWriter, int) error { return nil }

func (d *httpDialect) operations() []operation {
	list := make([]operation, len(d.ops))
	for i := range d.ops {
		list[i] = d.ops[i].operation
	}
	return list
}

func (d *httpDialect) request(dst []byte, _ int) ([]byte, int) {
	index := d.order[d.turn]
	if d.turn++; d.turn == len(d.order) {
		d.turn = 0
	}
	op := &d.ops[index]
	t := &op.templates[op.turn]
	dst = t.append(dst, op.rounds)
	if op.turn++; op.turn == len(op.templates) {
		op.turn, op.rounds = 0, op.rounds+1
	}
	return dst, index
}

func (d *httpDialect) reply(buf []byte, op int) (reply, error) {
	h, err := parseHead(buf)
	if err != nil || h.size == 0 {
		return reply{}, err
	}
	if h.status < 200 {
		return reply{used: h.size, aside: true}, nil
	}
	total := h.size + h.body
	if total > len(buf) {
		return reply{need: total}, nil
	}
	return reply{used: total, failure: d.verdict(h.status, buf[h.size:total], op)}, nil
}

// verdict is empty for an answer as expected.
func (d *httpDialect) verdict(status int, body []byte, op int) string {
	if status > 299 {
		return statusName(status)
	}
	body = body[max(len(body)-expectBytes, 0):]
	if want := d.ops[op].expect; len(want) > 0 && !bytes.Contains(body, want) {
		return "unexpected body"
	}
	return ""
}

// head is what matters of an answer's first part.
type head struct {
	size   int // bytes up to and including the empty line; 0: not complete yet
	status int
	body   int // Content-Length
}

var headEnd = []byte("\r\n\r\n")

// parseHead reads the head at the beginning of buf (RFC 9112, sections 4 and 6).
func parseHead(buf []byte) (head, error) {
	size := bytes.Index(buf, headEnd)
	if size < 0 {
		if len(buf) > replyBytesMax {
			return head{}, errTooLarge
		}
		return head{}, nil
	}
	lines := buf[:size+2]
	status, ok := parseStatus(lines)
	if !ok {
		return head{}, errNotHTTP
	}
	h := head{size: size + len(headEnd), status: status}
	body, err := parseLength(lines)
	if err == errNoLength && bodiless(status) {
		return h, nil
	}
	h.body = body
	return h, err
}

// bodiless lists the answers that end with their head (RFC 9112, section 6.3).
func bodiless(status int) bool { return status < 200 || status == 204 || status == 304 }

// parseStatus reads "HTTP/1.x NNN".
func parseStatus(line []byte) (int, bool) {
	if len(line) < 14 || string(line[:7]) != "HTTP/1." || line[8] != ' ' {
		return 0, false
	}
	status, ok := decimal(line[9:12])
	return status, ok && status >= 100
}

// parseLength finds Content-Length among lines, each ended by CR LF, of which
// the first is the status line.
func parseLength(lines []byte) (int, error) {
	for {
		end := bytes.IndexByte(lines, '\n')
		if end < 0 || end+1 >= len(lines) {
			return 0, errNoLength
		}
		lines = lines[end+1:]
		if lines[0]|0x20 != 'c' || len(lines) < len(lengthField) || !bytes.EqualFold(lines[:len(lengthField)], lengthField) {
			continue
		}
		stop := bytes.IndexByte(lines, '\r')
		if stop < 0 {
			return 0, errBadLength
		}
		n, ok := decimal(bytes.TrimSpace(lines[len(lengthField):stop]))
		if !ok {
			return 0, errBadLength
		}
		if n > replyBytesMax {
			return 0, errTooLarge
		}
		return n, nil
	}
}

var lengthField = []byte("content-length:")

// decimal reads at most nine digits and nothing else.
func decimal(text []byte) (int, bool) {
	if len(text) == 0 || len(text) > 9 {
		return 0, false
	}
	n := 0
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}
