package aof

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"

	"ayder/internal/record"
)

// The log as a backup takes it, while it is in use: a list of pieces that belong together, and ranges of their bytes.
//
// A piece is a checkpoint, or a segment up to behind the last frame that counts. All but the last are whole files that do not change any
// more; the last one is that which is being appended to, and its bytes up to there do not change either. So nobody is
// held up, and nothing is pinned: whoever copies holds on to a list for as long as he likes, and is told when a piece has gone since,
// because it was rewritten or dropped; then he asks for a list again, in which most pieces are those that he has.
//
// A list is a whole log: checkpoints, every segment behind the oldest of them up to the index that it names, and of what is in front
// all that was alive when it was made. Contents.WholeFrom is how far back that can be said: of states before it
// messages may be missing that were alive then.
//
// What is read is not verified here. Every frame, header and checkpoint has its checksum, which whoever copies needs to look at anyway
// (ScanPiece).

// Contents is a list of pieces that belong together.
type Contents struct {
	Log       string  `json:"log"`        // the log's id; its copies have others
	Index     uint64  `json:"index"`      // of the last frame
	TimeMs    uint64  `json:"time_ms"`    // of that frame
	WholeFrom uint64  `json:"whole_from"` // the first state of which nothing is missing that was alive
	Pieces    []Piece `json:"pieces"`     // checkpoints, then segments, by index
}

// Piece is one of them.
type Piece struct {
	Name      string `json:"name"` // of the file in a log's directory
	ID        string `json:"id"`   // what no other file of that name has
	Size      int64  `json:"size"` // bytes that count
	First     uint64 `json:"first"`
	Last      uint64 `json:"last"`  // indexes; of a checkpoint both its own
	Reach     uint64 `json:"reach"` // of a checkpoint: nothing in it is of a later index; of a segment 0
	Rewritten bool   `json:"rewritten"`
}

// IsCheckpoint tells a checkpoint from a segment.
func (p *Piece) IsCheckpoint() bool { return p.Reach != 0 }

// contentsTries is how often a list is made again because files changed meanwhile.
const contentsTries = 20

// Contents lists what belongs together up to what is durable and, by committed, nil for a single node, more than that. ErrBusy: files
// changed all the time. It reads headers; any goroutine that may wait for the disk.
func (l *Log) Contents(committed func() uint64) (*Contents, error) {
	if committed == nil {
		committed = func() uint64 { return math.MaxUint64 }
	}
	for range contentsTries {
		checkpoints, err := l.checkpointPieces()
		if err != nil {
			return nil, fmt.Errorf("aof: %w", err)
		}
		c, at := l.segmentPieces(committed) // not before the checkpoints: nothing in them is of a later index
		if !c.follows(checkpoints) {
			continue
		}
		switch err := l.finishContents(c, at); {
		case errors.Is(err, ErrNotFound) || errors.Is(err, errGone):
			continue // the segment with the last frame was rewritten
		case err != nil:
			return nil, err
		}
		for i := range checkpoints { // what is in them was applied before, and so is not behind the list's index
			checkpoints[i].Reach = min(checkpoints[i].Reach, c.Index)
		}
		c.Pieces = append(checkpoints, c.Pieces...)
		return c, nil
	}
	return nil, fmt.Errorf("%w: the log's files changed while they were listed", ErrBusy)
}

// checkpointPieces lists the checkpoints that have a good header.
func (l *Log) checkpointPieces() ([]Piece, error) {
	all := []Piece{} // not nil: it is shown as a list
	indexes, err := listCheckpoints(l.fs, l.dir)
	if err != nil {
		return nil, err
	}
	for _, index := range indexes {
		p, err := l.checkpointPiece(index)
		switch {
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrDamaged): // replaced meanwhile, or of no use
			continue
		case err != nil:
			return nil, err
		}
		if p.Reach == 0 { // written by a version that did not say
			p.Reach = max(p.Last, l.Durable())
		}
		all = append(all, p)
	}
	return all, nil
}

func (l *Log) checkpointPiece(index uint64) (p Piece, err error) {
	path := checkpointPath(l.dir, index)
	f, err := l.fs.Open(path, ReadOnly)
	if err != nil {
		return p, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return p, err
	}
	b := make([]byte, min(size, checkpointHeader))
	if _, err := f.ReadAt(b, 0); err != nil {
		return p, err
	}
	if err := verifyCheckpointHeader(b); err != nil {
		return p, err
	}
	le := binary.LittleEndian
	return Piece{
		Name: filepath.Base(path), ID: checkpointID(le.Uint32(b[12:])), Size: size, First: index, Last: index, Reach: le.Uint64(b[56:]),
	}, nil
}

// segmentPieces lists the segments up to the last frame that counts; at is the segment that it is in, nil if there is none.
func (l *Log) segmentPieces(committed func() uint64) (c *Contents, at *segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c = &Contents{Log: fmt.Sprintf("%x", l.id), Index: min(committed(), l.durable.Load())}
	c.WholeFrom = min(l.wholeFrom, c.Index)
	for _, s := range l.segs {
		if s.first > c.Index {
			break
		}
		at = s
		c.Pieces = append(c.Pieces, Piece{
			Name: filepath.Base(segmentPath(l.dir, s.first)), ID: seedID(s.seed), Size: s.end, First: s.first, Last: min(s.last, c.Index), Rewritten: s.rewritten(),
		})
	}
	return c, at
}

// follows tells whether the segments and these checkpoints belong together, and not to two moments.
func (c *Contents) follows(checkpoints []Piece) bool {
	newest := uint64(0)
	for i := range checkpoints {
		newest = max(newest, checkpoints[i].Last)
	}
	if newest > c.Index || len(c.Pieces) > 0 && c.Pieces[0].First > newest+1 {
		return false
	}
	for i := range c.Pieces {
		if c.Pieces[i].Rewritten && c.Pieces[i].Last > newest {
			return false
		}
	}
	return true
}

// finishContents finds where the last frame ends, and its time.
func (l *Log) finishContents(c *Contents, at *segment) error {
	if at == nil {
		return nil
	}
	last := &c.Pieces[len(c.Pieces)-1]
	if at.rewritten() { // nothing was appended since
		c.TimeMs = at.maxTime
		return nil
	}
	f, end, err := l.frame(c.Index, nil, false)
	if err != nil {
		return fmt.Errorf("aof: the last frame: %w", err)
	}
	c.TimeMs, last.Size = f.TimeMs, end
	return nil
}

// ReadPiece reads bytes of a piece of a list into p, as many as there are up to the last frame at or before limit, another list's
// Index. ErrNotFound: the file is not the log's any more; io.EOF: nothing is there. It may wait for the disk; any goroutine.
func (l *Log) ReadPiece(name, id string, p []byte, off int64, limit uint64) (int, error) {
	if index, ok := numberIn(name, checkpointPrefix, checkpointSuffix); ok {
		return l.readCheckpointPiece(index, id, p, off)
	}
	first, ok := numberIn(name, "", segmentSuffix)
	if !ok {
		return 0, fmt.Errorf("%w: %q is no file of a log", ErrNotFound, name)
	}
	s, end := l.pieceOf(first, id)
	if s == nil {
		return 0, fmt.Errorf("%w: %s@%s has gone", ErrNotFound, name, id)
	}
	if limit = min(limit, l.Durable()); !s.rewritten() && end.index > limit {
		_, pos, err := l.frame(limit, nil, false)
		if err != nil {
			return 0, fmt.Errorf("aof: frame %d: %w", limit, err)
		}
		end.pos = pos
	}
	if off < 0 || off >= end.pos {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), end.pos-off)]
	n, err := l.readSegmentAt(s, p, off)
	if errors.Is(err, errGone) || errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %s@%s has gone", ErrNotFound, name, id)
	}
	return n, err
}

func (l *Log) readCheckpointPiece(index uint64, id string, p []byte, off int64) (int, error) {
	f, err := l.fs.Open(checkpointPath(l.dir, index), ReadOnly)
	if err != nil {
		return 0, fmt.Errorf("%w: checkpoint at index %d has gone", ErrNotFound, index)
	}
	defer f.Close()
	if is, err := FileID(f); err != nil || is != id {
		return 0, fmt.Errorf("%w: checkpoint at index %d is another one", ErrNotFound, index)
	}
	n, err := f.ReadAt(p, off)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// pieceOf returns the segment, and where it ends.
func (l *Log) pieceOf(first uint64, id string) (*segment, mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.segmentOf(first)
	if s == nil || s.first != first || seedID(s.seed) != id {
		return nil, mark{}
	}
	return s, mark{s.last, s.end}
}

// readSegmentAt reads from memory where the segment is there, else from its file. The image's first block is not the file's: it may never
// have been read or written.
func (l *Log) readSegmentAt(s *segment, p []byte, off int64) (int, error) {
	if off < BlockBytes {
		var head [BlockBytes]byte
		s.put(head[:])
		return copy(p, head[off:]), nil
	}
	if img := s.acquireImage(); img != nil {
		defer img.release()
		return copy(p, img.mem[off:]), nil
	}
	f, err := l.openSegment(s)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n, err := f.ReadAt(p, off)
	if n == len(p) {
		err = nil
	}
	return n, err
}

// PieceInfo is what a copy of a segment holds.
type PieceInfo struct {
	Log, ID        string
	Rewritten      bool
	First, Last    uint64 // indexes; Last 0: no frame
	End            int64  // bytes: behind the last good frame
	TimeMs, LastMs uint64 // of the first and the last frame
	Frames         uint64
	Reason         error // why nothing follows End, nil at the end of the copy
}

// ScanPiece verifies a copy of a segment's first size bytes, and visits its frames, if visit is not nil, until that is false. A copy
// may end anywhere: End is up to where it is good. An error is one of reading, or that of a header that cannot be read.
func ScanPiece(fsys FS, path string, size int64, visit func(f *record.Frame, pos int64) bool) (i PieceInfo, err error) {
	if fsys == nil {
		fsys = OS()
	}
	f, err := fsys.Open(path, ReadOnly)
	if err != nil {
		return i, err
	}
	defer f.Close()
	h, err := headerOf(f, path)
	if err != nil {
		return i, err
	}
	i = PieceInfo{Log: fmt.Sprintf("%x", h.log), ID: seedID(h.seed), Rewritten: h.rewritten(), First: h.extent.first, End: BlockBytes}
	size = min(size, h.size)
	w := window{file: f, size: size, ahead: scanAheadBytes}
	for i.End < size {
		f, ok, err := nextOf(&w, &h, &i)
		if err != nil {
			return i, fmt.Errorf("%s: %w", path, err)
		}
		if !ok {
			break
		}
		i.note(&f)
		if visit != nil && !visit(&f.Frame, f.pos) {
			break
		}
	}
	if h.rewritten() && i.End == h.extent.end && i.Frames == h.extent.frames {
		i.Last = h.extent.last
	}
	return i, nil
}

// headerOf reads the header block of a segment's copy.
func headerOf(f File, path string) (h segmentHeader, err error) {
	b := make([]byte, BlockBytes)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return h, fmt.Errorf("%s: %w", path, err)
	}
	if h, err = readSegmentHeader(b); err != nil {
		return h, fmt.Errorf("%w: %s: %w", ErrDamaged, path, err)
	}
	return h, nil
}

// nextOf returns the frame behind the last good one.
func nextOf(w *window, h *segmentHeader, i *PieceInfo) (f frameAt, ok bool, err error) {
	i.Reason = nil
	for _, pos := range [...]int64{i.End, blockUp(i.End)} {
		frame, bad, err := w.frame(pos, h.seed)
		if err != nil {
			return f, false, err
		}
		if bad == nil && i.Frames > 0 && (frame.Index <= i.Last || !h.rewritten() && frame.Index != i.Last+1) {
			bad = fmt.Errorf("index %d behind %d", frame.Index, i.Last)
		}
		if bad == nil {
			return frameAt{frame, pos}, true, nil
		}
		i.Reason = firstReason(i.Reason, bad)
	}
	return f, false, nil
}

func (i *PieceInfo) note(f *frameAt) {
	if i.Frames == 0 {
		i.TimeMs = f.TimeMs
		if !i.Rewritten {
			i.First = f.Index
		}
	}
	i.Frames++
	i.Last, i.LastMs, i.End = f.Index, f.TimeMs, f.end()
}

// ReadCheckpoint returns the payload of a checkpoint's copy, verified.
func ReadCheckpoint(fsys FS, path string) (index uint64, payload []byte, err error) {
	if fsys == nil {
		fsys = OS()
	}
	f, err := fsys.Open(path, ReadOnly)
	if err != nil {
		return 0, nil, err
	}
	defer f.Close()
	b, err := readWhole(f)
	if err != nil {
		return 0, nil, err
	}
	if index, payload, err = decodeCheckpoint(b); err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return index, payload, err
}
