package cli

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
)

// Lines of input, read ahead by a goroutine and handed out in batches. A batch is what there is, so that a slow input
// (somebody who types) is sent line by line and a fast one in full batches; reading and sending overlap. A last line
// without a newline counts; an empty line is an empty message.

// lineSource reads lines and hands them out. It has one reader and one taker.
type lineSource struct {
	ctx    context.Context
	stop   context.CancelFunc
	lines  chan []byte
	count  int   // lines handed out
	failed error // set before lines is closed
	kept   []byte
}

func newLineSource(ctx context.Context) *lineSource {
	s := &lineSource{lines: make(chan []byte, batchesAhead*batchLines)}
	s.ctx, s.stop = context.WithCancel(ctx)
	return s
}

// read reads all inputs and ends.
func (s *lineSource) read(inputs func(use func(name string, r io.Reader) error) error) {
	s.failed = inputs(s.readOne)
	close(s.lines)
}

func (s *lineSource) readOne(name string, r io.Reader) error {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(make([]byte, 64<<10), lineBytesMax)
	for scanner.Scan() {
		select {
		case s.lines <- bytes.Clone(scanner.Bytes()):
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// err is why reading ended before the end of the input; valid after an empty batch.
func (s *lineSource) err() error { return s.failed }

// batch returns up to most lines and the number of the first, from 1. It waits for one, and for the others only if
// full. No line means that the input is over.
func (s *lineSource) batch(most int, full bool) (lines [][]byte, first int) {
	first = s.count + 1
	size := 0
	for len(lines) < most {
		line, ok := s.next(full || len(lines) == 0)
		if !ok {
			break
		}
		if size += len(line); size > batchBytes && len(lines) > 0 {
			s.kept = line
			break
		}
		lines = append(lines, line)
	}
	s.count += len(lines)
	return lines, first
}

// next is the next line; without wait only if it is there.
func (s *lineSource) next(wait bool) ([]byte, bool) {
	if line := s.kept; line != nil {
		s.kept = nil
		return line, true
	}
	if wait {
		line, ok := <-s.lines
		return line, ok
	}
	select {
	case line, ok := <-s.lines:
		return line, ok
	default:
		return nil, false
	}
}
