package aof

import (
	"errors"
	"fmt"
	"io"

	"ayder/internal/record"
)

// window is a view of a file, or of a segment's image, that moves forward: view returns any range as one slice,
// reading ahead so that frame after frame costs a system call per megabyte, not per frame. Recovery, Check, Dump
// and cold reads all look at segments through one.
type window struct {
	file  File // nil: mem is the whole segment
	mem   []byte
	off   int64 // of mem[0] in the file
	size  int64 // of the file or segment
	ahead int   // bytes to read at least
	read  func(n int)
}

// view returns n bytes at pos, fewer only at the end of the file. They stay as they are until the next call.
func (w *window) view(pos int64, n int) ([]byte, error) {
	n = int(min(int64(n), w.size-pos))
	if n <= 0 {
		return nil, nil
	}
	if pos < w.off || pos+int64(n) > w.off+int64(len(w.mem)) {
		if err := w.refill(pos, n); err != nil {
			return nil, err
		}
	}
	at := pos - w.off
	return w.mem[at : at+int64(n) : at+int64(n)], nil
}

// rest is the bytes from pos on that are at hand without reading.
func (w *window) rest(pos int64) []byte {
	if pos < w.off || pos >= w.off+int64(len(w.mem)) {
		return nil
	}
	return w.mem[pos-w.off:]
}

func (w *window) refill(pos int64, n int) error {
	want := int(min(int64(max(n, w.ahead)), w.size-pos))
	if cap(w.mem) < want {
		w.mem = make([]byte, want)
	}
	w.mem, w.off = w.mem[:want], pos
	got, err := w.file.ReadAt(w.mem, pos)
	if w.read != nil {
		w.read(got)
	}
	if got < want {
		w.mem = w.mem[:0]
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("read %d bytes at %d: %w", want, pos, err)
	}
	return nil
}

// frame reads and verifies the frame at pos. The frame aliases the window. bad says why there is none; err is a failure to read.
func (w *window) frame(pos int64, seed uint64) (f record.Frame, bad, err error) {
	b, err := w.view(pos, record.FrameHeaderBytes)
	if err != nil {
		return f, nil, err
	}
	h, bad := record.ReadHeader(b)
	if bad != nil {
		return f, bad, nil
	}
	if b, err = w.view(pos, int(h.Size)); err != nil {
		return f, nil, err
	}
	f, bad = record.ReadFrame(b, seed)
	return f, bad, nil
}
