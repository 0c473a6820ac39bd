package raftlog

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"time"
)

// The wire: what nodes say to each other. A connection carries messages both ways, little endian:
//
//	0        4        8      9
//	| length | crc32c | kind | body …
//
// length counts the kind and the body, crc32c (Castagnoli) covers the same bytes. Inside a body a text is its length in
// two bytes and itself, bytes have a length of four. Who opened the connection sends requests, the other answers them in
// the order in which they came; the first message each way is a hello (hello.go).
//
// Two nodes of one major version understand each other: a body may grow at its end, and whoever reads it ignores what
// follows the fields that it knows. A new kind is sent only to a peer whose hello says that it knows it.
//
// Every length is checked against a limit of its kind before memory is taken for it. Gob and msgpack were measured and
// dropped: they allocate per field, and their cost was a third of a follower's time.

// kind says what a message is. Values are part of the protocol.
type kind uint8

// Requests are below 64, their answers 64 above them.
const (
	kindHello      kind = 1
	kindRefused    kind = 2 // text: why there will be no conversation
	kindAppend     kind = 3 // AppendEntries with entries
	kindAnnounce   kind = 4 // AppendEntries without: the commit index moved
	kindHeartbeat  kind = 5 // AppendEntries that only says who leads; it overtakes what waits for the disk
	kindVote       kind = 6
	kindPreVote    kind = 7
	kindTimeoutNow kind = 8
	kindInstall    kind = 9 // a stream follows
	kindPull       kind = 10

	kindChunk  kind = 32 // bytes of a stream; none: the end
	kindBroken kind = 33 // text: why the stream ends early
	kindBusy   kind = 34 // an answer takes long and is still to come

	kindAppended  kind = 64 + kindAppend // answers all three
	kindVoted     kind = 64 + kindVote
	kindPreVoted  kind = 64 + kindPreVote
	kindTimedOut  kind = 64 + kindTimeoutNow
	kindInstalled kind = 64 + kindInstall
	kindPulled    kind = 64 + kindPull
)

const (
	wireHeadBytes = 9
	wireCovered   = 8 // where length and crc32c begin to count
	anyBody       = appendBodyMax
)

var messageTable = crc32.MakeTable(crc32.Castagnoli)

// errMalformed: the peer sent something that no node of ours sends. The connection is of no use any more.
var errMalformed = errors.New("malformed message")

// bodyMax is the longest body of a kind, -1 for a kind that does not exist.
func bodyMax(k kind) int {
	switch k {
	case kindAppend:
		return appendBodyMax
	case kindInstall:
		return installBodyMax
	case kindChunk:
		return chunkBytes
	case kindHello, kindRefused, kindAnnounce, kindHeartbeat, kindVote, kindPreVote, kindTimeoutNow, kindPull,
		kindBroken, kindBusy, kindAppended, kindVoted, kindPreVoted, kindTimedOut, kindInstalled, kindPulled:
		return smallBodyMax
	}
	return -1
}

// wire is a connection that messages are read from, by one goroutine. Others may send.
type wire struct {
	conn net.Conn
	r    *bufio.Reader
	in   []byte // the body of the last message, unless it was a kindAppend
}

func newWire(conn net.Conn) *wire {
	return &wire{conn: conn, r: bufio.NewReaderSize(conn, receiveBufferBytes)}
}

// receive waits for a message whose body has at most limit bytes. The body belongs to the caller until the next receive;
// that of a kindAppend for ever, because raft keeps the entries that lie in it. Errors: io.EOF between two messages, wrapped
// errMalformed, the connection's.
func (w *wire) receive(limit int) (kind, []byte, error) {
	head, err := w.r.Peek(wireHeadBytes)
	if err != nil {
		if errors.Is(err, io.EOF) && len(head) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	k, length, want := kind(head[wireCovered]), binary.LittleEndian.Uint32(head), binary.LittleEndian.Uint32(head[4:])
	if most := min(limit, bodyMax(k)); most < 0 || length == 0 || length-1 > uint32(most) {
		return 0, nil, fmt.Errorf("%w: kind %d with %d bytes", errMalformed, k, length)
	}
	sum := crc32.Checksum(head[wireCovered:], messageTable)
	if _, err := w.r.Discard(wireHeadBytes); err != nil {
		return 0, nil, err
	}
	body := w.buffer(k, int(length-1))
	if _, err := io.ReadFull(w.r, body); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	if got := crc32.Update(sum, messageTable, body); got != want {
		return 0, nil, fmt.Errorf("%w: kind %d: crc32c is %08x, not %08x", errMalformed, k, got, want)
	}
	return k, body, nil
}

func (w *wire) buffer(k kind, n int) []byte {
	if k == kindAppend {
		return make([]byte, n)
	}
	if cap(w.in) < n {
		w.in = make([]byte, n)
	}
	return w.in[:n]
}

// receiveBy is receive with a deadline, which it removes.
func (w *wire) receiveBy(deadline time.Time, limit int) (kind, []byte, error) {
	if err := w.conn.SetReadDeadline(deadline); err != nil {
		return 0, nil, err
	}
	k, body, err := w.receive(limit)
	if err == nil {
		err = w.conn.SetReadDeadline(time.Time{})
	}
	return k, body, err
}

// send writes the message in b, made by begin and what appends to it, in one Write.
func (w *wire) send(b []byte, deadline time.Time) error {
	if err := w.conn.SetWriteDeadline(deadline); err != nil {
		return err
	}
	_, err := w.conn.Write(seal(b))
	return err
}

// begin starts a message in the memory of b.
func begin(b []byte, k kind) []byte {
	return append(b[:0], 0, 0, 0, 0, 0, 0, 0, 0, byte(k))
}

// seal fills in what can be known only at the end.
func seal(b []byte) []byte {
	if most := bodyMax(kind(b[wireCovered])); len(b)-wireHeadBytes > most {
		panic(fmt.Sprintf("bug: message of kind %d with %d bytes, limit %d", b[wireCovered], len(b)-wireHeadBytes, most))
	}
	binary.LittleEndian.PutUint32(b, uint32(len(b)-wireCovered))
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[wireCovered:], messageTable))
	return b
}

// kept is b as the memory of the next message, unless it grew too large to keep.
func kept(b []byte) []byte {
	if cap(b) > encodeBytesKept {
		return nil
	}
	return b[:0]
}

func appendText(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

// appendError appends a text that may have to be cut.
func appendError(b []byte, err error) []byte {
	if err == nil {
		return appendText(b, "")
	}
	s := err.Error()
	return appendText(b, s[:min(len(s), textBytesMax)])
}

// fields takes a body apart. Once something is missing or too long, short is set and all further fields are zero.
type fields struct {
	b     []byte
	short bool
}

func (f *fields) take(n int) []byte {
	if f.short || n > len(f.b) {
		f.short = true
		return nil
	}
	v := f.b[:n:n]
	f.b = f.b[n:]
	return v
}

func (f *fields) u8() uint8 {
	if v := f.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (f *fields) u16() uint16 {
	if v := f.take(2); v != nil {
		return binary.LittleEndian.Uint16(v)
	}
	return 0
}

func (f *fields) u32() uint32 {
	if v := f.take(4); v != nil {
		return binary.LittleEndian.Uint32(v)
	}
	return 0
}

func (f *fields) u64() uint64 {
	if v := f.take(8); v != nil {
		return binary.LittleEndian.Uint64(v)
	}
	return 0
}

// text aliases the body.
func (f *fields) text() []byte {
	n := int(f.u16())
	if n > textBytesMax {
		f.short = true
	}
	return f.take(n)
}

// bytes aliases the body.
func (f *fields) bytes() []byte {
	n := f.u32()
	if uint64(n) > uint64(len(f.b)) {
		f.short = true
		return nil
	}
	return f.take(int(n))
}

// err is nil or says that the body of a kind is not one.
func (f *fields) err(k kind) error {
	if f.short {
		return fmt.Errorf("%w: body of kind %d", errMalformed, k)
	}
	return nil
}
