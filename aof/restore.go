package aof

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"ayder/internal/record"
)

// Making a log of a backup's pieces. The new log is another one: it has an id of its own and its segments have seeds of their own, because it
// will go on differently from the one that it was copied from, and files of the two must never be taken for each other's. So every
// frame is verified, and sealed anew in the place that it had; positions, indexes and times stay, and what was not appended when the last
// frame was is not there.
//
// Every frame says that all before it had been durable and committed, which is so, and makes any later damage provable.

// Copier writes the files of a new log.
type Copier struct {
	fs     FS
	dir    string
	id     logID
	change func(f *record.Frame)
}

// NewCopier begins a log in dir, which has none. change, if not nil, may change the header and bytes of every frame but neither its size, index nor time.
func NewCopier(fsys FS, dir string, change func(f *record.Frame)) *Copier {
	if fsys == nil {
		fsys = OS()
	}
	c := &Copier{fs: fsys, dir: dir, change: change}
	rand.Read(c.id[:])
	return c
}

// Segment copies the first size bytes of a segment's copy at from, up to the frame with index upTo, and syncs. last is the index of the last frame;
// what is missing or damaged before upTo is an error.
func (c *Copier) Segment(from string, size int64, upTo uint64) (last uint64, err error) {
	in, err := c.fs.Open(from, ReadOnly)
	if err != nil {
		return 0, err
	}
	h, err := headerOf(in, from)
	if err = errors.Join(err, in.Close()); err != nil {
		return 0, err
	}
	first := h.extent.first
	if !h.rewritten() {
		if first, err = firstIndexOf(c.fs, from, size); err != nil {
			return 0, err
		}
	}
	h.log, h.seed = c.id, randomSeed()
	out := &zeroFiller{at: BlockBytes}
	if out.file, err = c.fs.Open(segmentPath(c.dir, first), Create); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, out.file.Close()) }()
	info, err := c.frames(out, &h, from, size, upTo)
	if err != nil {
		return 0, err
	}
	if err := out.zeros(h.size); err != nil {
		return 0, err
	}
	head := make([]byte, BlockBytes)
	h.put(head)
	if err := out.writeAt(head, 0); err != nil {
		return 0, err
	}
	return info.Last, out.file.Sync()
}

// frames copies the frames.
func (c *Copier) frames(out *zeroFiller, h *segmentHeader, from string, size int64, upTo uint64) (PieceInfo, error) {
	var failed error
	var b []byte
	info, err := ScanPiece(c.fs, from, size, func(f *record.Frame, pos int64) bool {
		if f.Index > upTo {
			return false
		}
		if failed = f.Validate(); failed != nil {
			return false
		}
		b = append(append(b[:0], zeroBlock[:record.FrameHeaderBytes]...), f.Payload...)
		copied := record.Frame{Header: f.Header, Payload: b[record.FrameHeaderBytes:]}
		if c.change != nil {
			c.change(&copied)
		}
		copied.Staged, copied.Durable = f.Index-1, f.Index-1
		record.PutHeader(b, &copied.Header, h.seed)
		if failed = out.zeros(pos); failed == nil {
			failed = out.write(b)
		}
		return failed == nil && f.Index < upTo
	})
	switch {
	case errors.Join(err, failed) != nil:
		return info, errors.Join(err, failed)
	case info.Last < upTo && (info.End != size || info.Frames == 0 && !h.rewritten()):
		return info, &Damage{File: from, Pos: info.End, Index: info.Last + 1, Reason: fmt.Sprint(info.Reason)}
	case h.rewritten() && info.Last > upTo:
		return info, fmt.Errorf("aof: %s was rewritten and cannot be cut at index %d", from, upTo)
	}
	return info, nil
}

// Checkpoint writes a checkpoint of the new log.
func (c *Copier) Checkpoint(index uint64, payload []byte) error {
	return writeFile(c.fs, c.dir, checkpointPath(c.dir, index), encodeCheckpointHeader(index, index, payload, c.id), payload)
}

// firstIndexOf is the index of the first frame in a copy.
func firstIndexOf(fsys FS, path string, size int64) (index uint64, err error) {
	i, err := ScanPiece(fsys, path, size, func(*record.Frame, int64) bool { return false })
	if err == nil && i.Frames == 0 {
		err = &Damage{File: path, Pos: BlockBytes, Reason: fmt.Sprintf("no frame: %v", i.Reason)}
	}
	return i.First, err
}

// zeroFiller writes a file from front to back, with zeros where nothing else is written.
type zeroFiller struct {
	file File
	at   int64
}

func (z *zeroFiller) zeros(to int64) error {
	for z.at < to {
		if err := z.write(zeroBlock[:min(to-z.at, BlockBytes)]); err != nil {
			return err
		}
	}
	return nil
}

func (z *zeroFiller) write(p []byte) error {
	err := z.writeAt(p, z.at)
	z.at += int64(len(p))
	return err
}

func (z *zeroFiller) writeAt(p []byte, at int64) error {
	switch n, err := z.file.WriteAt(p, at); {
	case err != nil:
		return err
	case n < len(p):
		return io.ErrShortWrite
	}
	return nil
}

// OpenQuiet is Open for a tool that only looks: without goroutines that prepare for writing. Segments of o's size need not be wanted: it
// takes that of the newest one in the directory.
func OpenQuiet(o Options, apply func(record.Frame) error) (*Log, error) {
	o = o.withDefaults()
	names, err := o.FS.List(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("aof: %w", err)
	}
	newest := uint64(0)
	for _, name := range names {
		first, ok := numberIn(name, "", segmentSuffix)
		if !ok || first < newest {
			continue
		}
		f, err := o.FS.Open(filepath.Join(o.Dir, name), ReadOnly)
		if err != nil {
			return nil, fmt.Errorf("aof: %w", err)
		}
		h, err := headerOf(f, name)
		if closed := f.Close(); err == nil && closed == nil && !h.rewritten() {
			newest, o.SegmentBytes = first, h.size
		}
	}
	o.FrameBytesMax = min(o.FrameBytesMax, int(o.SegmentBytes-BlockBytes))
	o.manual = true
	return Open(o, apply)
}
