package main

import (
	"bytes"
	"fmt"
	"io"
)

// The Redis dialect (RESP2) appends to a stream, one XADD per request. With
// `appendfsync always` the server answers after its append-only file is synced,
// once per turn of its loop: the same group commit as ours, which makes it the
// fair peer. XADD answers with the entry's id, a bulk string.
//
//	*5\r\n $4\r\nXADD\r\n $5\r\nbench\r\n $1\r\n*\r\n $1\r\nv\r\n $64\r\n…\r\n
//	$15\r\n1700000000000-0\r\n

// respDialect implements dialect for redis-server.
type respDialect struct {
	command []byte
	name    string
}

// newRESPDialect formats the one command that the workload repeats.
func newRESPDialect(c *config) (*respDialect, error) {
	switch c.workload {
	case "produce":
		return &respDialect{name: "XADD", command: respCommand("XADD", c.topic, "*", "v", string(payload(c.size)))}, nil
	case "health":
		return &respDialect{name: "PING", command: respCommand("PING")}, nil
	default:
		return nil, fmt.Errorf("workload %q: the redis target has produce (XADD) and health (PING)", c.workload)
	}
}

// respCommand is an array of bulk strings.
func respCommand(words ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(word), word)
	}
	return b.Bytes()
}

func (d *respDialect) greet(io.ReadWriter, int) error { return nil }
func (d *respDialect) operations() []operation        { return []operation{{d.name, 1}} }

func (d *respDialect) request(dst []byte, _ int) ([]byte, int) {
	return append(dst, d.command...), 0
}

// reply reads one simple string, error, integer or bulk string; the commands
// above answer with nothing else.
func (d *respDialect) reply(buf []byte, _ int) (reply, error) {
	end := bytes.IndexByte(buf, '\n')
	if end < 0 {
		return reply{}, nil
	}
	if end < 2 || buf[end-1] != '\r' {
		return reply{}, errNotRESP
	}
	line, used := buf[1:end-1], end+1
	switch buf[0] {
	case '+', ':':
		return reply{used: used}, nil
	case '-':
		word, _, _ := bytes.Cut(line, []byte(" "))
		return reply{used: used, failure: string(word)}, nil
	case '$':
		return respBulk(buf, line, used)
	default:
		return reply{}, errNotRESP
	}
}

// respBulk finishes a bulk string whose length line takes the first used bytes.
func respBulk(buf, length []byte, used int) (reply, error) {
	if string(length) == "-1" {
		return reply{used: used, failure: "null"}, nil
	}
	size, ok := decimal(length)
	if !ok {
		return reply{}, errNotRESP
	}
	total := used + size + 2
	switch {
	case total > replyBytesMax:
		return reply{}, errTooLarge
	case total > len(buf):
		return reply{need: total}, nil
	case buf[total-2] != '\r' || buf[total-1] != '\n':
		return reply{}, errNotRESP
	}
	return reply{used: total}, nil
}
