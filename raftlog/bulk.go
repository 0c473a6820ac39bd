package raftlog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"
)

// Streams: bytes too many for one message. A stream is chunks, each with its crc like any message, and an empty chunk at
// the end, so that a stream that was cut is never taken for a whole one. A sender that fails in the middle says why.
// There is no window: TCP's is enough, because a stream has its connection for itself.
//
// Two things are streams: raft's InstallSnapshot, and bulk pulls, by which a node fetches files of another (a checkpoint,
// segments) by name, from any offset, so that a broken pull goes on where it stopped. A pull is a conversation of its own:
//
//	pull:    | offset 8 | name text                     answer: | error text | size of the whole 8 |, then the stream

// sendStream sends size bytes of r. buf is memory for a chunk, given back. Every chunk has timeout to be taken.
func sendStream(w *wire, buf []byte, r io.Reader, size int64, timeout time.Duration) ([]byte, error) {
	for size > 0 {
		n := int(min(size, chunkBytes))
		buf = begin(buf, kindChunk)
		if cap(buf) < wireHeadBytes+n {
			buf = append(make([]byte, 0, wireHeadBytes+chunkBytes), buf...)
		}
		buf = buf[:wireHeadBytes+n]
		if _, err := io.ReadFull(r, buf[wireHeadBytes:]); err != nil {
			err = fmt.Errorf("stream of which %d bytes were missing: %w", size, err)
			return buf, errors.Join(err, w.send(appendError(begin(buf, kindBroken), err), time.Now().Add(timeout)))
		}
		if err := w.send(buf, time.Now().Add(timeout)); err != nil {
			return buf, err
		}
		size -= int64(n)
	}
	return buf, w.send(begin(buf, kindChunk), time.Now().Add(timeout))
}

// stream reads what sendStream sends: exactly left bytes, then io.EOF. Each chunk has timeout to arrive.
type stream struct {
	w       *wire
	left    int64
	timeout time.Duration
	chunk   []byte
	err     error // io.EOF: the end was seen
}

func (s *stream) Read(p []byte) (int, error) {
	for len(s.chunk) == 0 {
		if s.err == nil {
			s.err = s.next()
		}
		if s.err != nil {
			return 0, s.err
		}
	}
	n := copy(p, s.chunk)
	s.chunk = s.chunk[n:]
	return n, nil
}

// next receives a chunk that is not empty, or says why there is none.
func (s *stream) next() error {
	k, body, err := s.w.receiveBy(time.Now().Add(s.timeout), anyBody)
	switch {
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	case err != nil:
		return err
	case k == kindBroken:
		f := fields{b: body}
		return remoteError(f.text())
	case k != kindChunk || int64(len(body)) > s.left:
		return fmt.Errorf("%w: kind %d with %d bytes in a stream that lacks %d", errMalformed, k, len(body), s.left)
	case len(body) > 0:
		s.chunk, s.left = body, s.left-int64(len(body))
		return nil
	case s.left > 0:
		return io.ErrUnexpectedEOF
	}
	return io.EOF
}

// drain reads to the end, so that the next message can be read. An error that the stream itself brought is none.
func (s *stream) drain() error {
	for s.err == nil {
		s.chunk = nil
		s.err = s.next()
	}
	var remote remoteError
	if errors.Is(s.err, io.EOF) || errors.As(s.err, &remote) {
		return nil
	}
	return s.err
}

// pulled is a bulk pull under way. Close ends it, at any time.
type pulled struct {
	stream
	c      *outbound
	t      *transport
	forget func() bool // takes the context's hand off the connection
}

func (p *pulled) Close() error {
	p.forget()
	p.t.hangUp(p.c)
	return nil
}

// pull opens the named thing of another node at an offset. size is that of the whole; the reader gives what follows
// offset and then io.EOF, or an error if that is not all. The end of ctx ends the pull.
func (t *transport) pull(ctx context.Context, addr, name string, offset int64) (io.ReadCloser, int64, error) {
	if len(name) > textBytesMax {
		return nil, 0, fmt.Errorf("raftlog: pull: a name of %d bytes, the limit is %d", len(name), textBytesMax)
	}
	c, err := t.dial(ctx, "", raft.ServerAddress(addr), time.Now().Add(t.o.Timeout))
	if err != nil {
		return nil, 0, fmt.Errorf("raftlog: pull %s: %w", name, err)
	}
	forget := context.AfterFunc(ctx, func() { t.hangUp(c) })
	size, err := askPull(c.wire, name, offset, time.Now().Add(t.o.Timeout))
	if err != nil {
		forget()
		t.hangUp(c)
		return nil, 0, fmt.Errorf("raftlog: pull %s from %s: %w", name, addr, err)
	}
	return &pulled{stream{w: c.wire, left: size - offset, timeout: t.o.Timeout}, c, t, forget}, size, nil
}

func askPull(w *wire, name string, offset int64, deadline time.Time) (size int64, err error) {
	b := binary.LittleEndian.AppendUint64(begin(nil, kindPull), uint64(offset))
	if err := w.send(appendText(b, name), deadline); err != nil {
		return 0, err
	}
	k, body, err := w.receiveBy(deadline, smallBodyMax)
	if err != nil {
		return 0, err
	}
	err = decodeAnswer(k, kindPulled, body, func(f *fields) {
		size = int64(f.u64())
		f.short = f.short || size < offset
	})
	return size, err
}

// servePull answers a pull, on the goroutine that answers this connection.
func (c *inbound) servePull(name string, offset int64) error {
	t := c.t
	select {
	case t.streams <- struct{}{}:
		defer func() { <-t.streams }()
	default:
		return c.answerPull(0, fmt.Errorf("%d pulls are under way, no more", bulkStreamsMax))
	}
	if t.o.Bulk == nil {
		return c.answerPull(0, errors.New("nothing to pull here"))
	}
	r, size, err := t.o.Bulk(c.peer, name, offset)
	if err != nil {
		return c.answerPull(0, err)
	}
	defer func() { _ = r.Close() }() // it was read, not written
	if size < offset {
		return c.answerPull(0, fmt.Errorf("offset %d is beyond the end, %d", offset, size))
	}
	if err := c.answerPull(size, nil); err != nil {
		return err
	}
	c.out, err = sendStream(c.wire, c.out, r, size-offset, t.o.Timeout)
	return err
}

func (c *inbound) answerPull(size int64, failed error) error {
	c.out = appendError(begin(c.out, kindPulled), failed)
	if failed == nil {
		c.out = binary.LittleEndian.AppendUint64(c.out, uint64(size))
	}
	return c.wire.send(c.out, time.Now().Add(c.t.o.Timeout))
}
