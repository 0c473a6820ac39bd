package aof

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"ayder/internal/record"
)

// Scanning walks the frames of a segment in log order. Behind a frame the next one is at its end or, where the
// writer found the tail block in flight, at the next block boundary (place.go, rule 2); nowhere else. It ends where
// neither holds a frame with the right checksum and the next index. Whether that is the end of the log or
// damage is not for the scan to say: a witness is searched for, that is a frame behind the end, with a good checksum,
// whose Durable mark says that the missing index had been on disk when the witness was made.

// frameAt is a verified frame and its place.
type frameAt struct {
	record.Frame
	pos int64
}

// end is where the next frame may start.
func (f *frameAt) end() int64 { return f.pos + int64(record.AlignedSize(int(f.Size))) }

// stop is where a scan ended and why.
type stop struct {
	pos    int64  // behind the last frame
	expect uint64 // the index that was looked for
	reason error
}

// scanner walks one segment.
type scanner struct {
	w      window
	seed   uint64
	pos    int64
	expect uint64
	reason error
}

// next returns the next frame, ok false at the end. err is a failure to read.
func (s *scanner) next() (f frameAt, ok bool, err error) {
	for _, pos := range [...]int64{s.pos, blockUp(s.pos)} {
		frame, bad, err := s.w.frame(pos, s.seed)
		if err != nil {
			return f, false, err
		}
		if bad == nil && frame.Index != s.expect {
			bad = fmt.Errorf("index %d where %d was expected", frame.Index, s.expect)
		}
		if bad == nil {
			f = frameAt{frame, pos}
			s.pos, s.expect = f.end(), s.expect+1
			return f, true, nil
		}
		s.reason = firstReason(s.reason, bad)
		if pos == blockUp(pos) {
			break
		}
	}
	return f, false, nil
}

// firstReason prefers what was wrong in the first place over the second, and anything over zeros.
func firstReason(first, second error) error {
	if first == nil || errors.Is(first, record.ErrEmpty) {
		return second
	}
	return first
}

// scanFile visits every frame of a segment's file, starting with s.first.
func scanFile(file File, s *segment, visit func(*frameAt) error) (stop, error) {
	if s.rewritten() {
		s.last = 0 // for note, which visit may call
		err := scanRewritten(window{file: file, size: s.size, ahead: scanAheadBytes}, s, visit)
		s.last, s.end = s.extent.last, s.extent.end
		return stop{pos: s.end, expect: s.last + 1}, err
	}
	return scanFrames(window{file: file, size: s.size, ahead: scanAheadBytes}, s, visit)
}

// scanFrames is scanFile for any view of a segment.
func scanFrames(w window, s *segment, visit func(*frameAt) error) (stop, error) {
	sc := scanner{w: w, seed: s.seed, pos: BlockBytes, expect: s.first}
	for {
		sc.reason = nil
		f, ok, err := sc.next()
		if err != nil {
			return stop{}, fmt.Errorf("%s: %w", s.name(), err)
		}
		if !ok {
			return stop{sc.pos, sc.expect, sc.reason}, nil
		}
		if err := visit(&f); err != nil {
			return stop{}, fmt.Errorf("%s: index %d at byte %d: %w", s.name(), f.Index, f.pos, err)
		}
	}
}

// scanRewritten visits every frame of a rewritten segment. All of it had been durable before the file got its name, so anything that is
// not as the header says is damage.
func scanRewritten(w window, s *segment, visit func(*frameAt) error) error {
	x := s.extent
	pos, before, frames := int64(BlockBytes), x.first-1, uint64(0)
	damage := func(reason string) error {
		return &Damage{File: s.name(), Pos: pos, Index: before + 1, Lost: x.last, Reason: reason}
	}
	for ; pos < x.end; frames++ {
		frame, bad, err := w.frame(pos, s.seed)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name(), err)
		}
		if bad == nil && (frame.Index <= before || frame.Index > x.last) {
			bad = fmt.Errorf("index %d behind %d", frame.Index, before)
		}
		if bad != nil {
			return damage(bad.Error())
		}
		f := frameAt{frame, pos}
		if err := visit(&f); err != nil {
			return fmt.Errorf("%s: index %d at byte %d: %w", s.name(), f.Index, f.pos, err)
		}
		pos, before = f.end(), f.Index
	}
	if pos != x.end || frames != x.frames {
		return damage(fmt.Sprintf("%d frames up to byte %d, the header says %d up to %d", frames, pos, x.frames, x.end))
	}
	return nil
}

// magicBytes is how a frame starts in the file.
var magicBytes = binary.LittleEndian.AppendUint32(nil, record.Magic)

// remains is what a file holds behind the end of the log.
type remains struct {
	from, to int64  // first and last byte that is not zero; to is exclusive, both 0 if all is zero
	witness  int64  // where a frame is that proves the missing index to have been durable, 0 if there is none
	acked    uint64 // the highest index that a frame here says was durable
	highest  uint64 // the highest index of a valid frame
}

// searchRemains looks at everything from pos on for bytes that are not zero, for valid frames, and for a witness that missing was durable.
func searchRemains(file File, s *segmentHeader, pos int64, missing uint64) (r remains, err error) {
	w := window{file: file, size: s.size, ahead: scanAheadBytes}
	budget := searchSegments * s.size
	if r.from, r.to, err = nonZero(&w, pos); err != nil || r.to == 0 {
		return r, err
	}
	for at := (r.from + 7) &^ 7; at < r.to; {
		at, err = nextMagic(&w, at)
		if err != nil || at < 0 {
			return r, err
		}
		f, ok, err := plausible(&w, at, s.seed, missing, &budget)
		if err != nil {
			return r, err
		}
		if !ok {
			at += 8
			continue
		}
		r.highest, r.acked = max(r.highest, f.Index), max(r.acked, f.Durable)
		if f.Durable >= missing && r.witness == 0 {
			r.witness = at
		}
		at = f.end()
	}
	return r, nil
}

// plausible reads the frame at pos if it can be one that was written behind missing. Looks are cheap, checksums over
// what a header claims are not, and a client may have filled a torn frame with headers, each claiming megabytes: what is
// computed in vain comes out of a budget, and when that is spent nothing is plausible any more. (Only a damaged disk and such a
// client together could then hide a witness.)
func plausible(w *window, pos int64, seed, missing uint64, budget *int64) (f frameAt, ok bool, err error) {
	b, err := w.view(pos, record.FrameHeaderBytes)
	if err != nil {
		return f, false, err
	}
	h, bad := record.ReadHeader(b)
	if bad != nil || h.Index < missing || h.Durable >= h.Index || h.Term == 0 || h.Kind == 0 || h.Kind > record.KindPad ||
		pos+int64(h.Size) > w.size || int64(h.Size) > *budget {
		return f, false, nil
	}
	frame, bad, err := w.frame(pos, seed)
	if bad != nil {
		*budget -= int64(h.Size)
	}
	return frameAt{frame, pos}, bad == nil && err == nil, err
}

// nonZero returns the range from the first to behind the last byte from pos on that is not zero, 0 and 0 if there is none.
func nonZero(w *window, pos int64) (from, to int64, err error) {
	for pos < w.size {
		n := int(min(blockDown(pos)+BlockBytes, w.size) - pos)
		b, err := w.view(pos, n)
		if err != nil {
			return 0, 0, err
		}
		if !bytes.Equal(b, zeroBlock[:n]) {
			if to == 0 {
				from = pos + int64(n-len(bytes.TrimLeft(b, "\x00")))
			}
			to = pos + int64(len(bytes.TrimRight(b, "\x00")))
		}
		pos += int64(n)
	}
	return from, to, nil
}

// zeroBlock is compared with; comparing is ten times as fast as looking for a byte that is not zero.
var zeroBlock [BlockBytes]byte

// nextMagic returns the first 8-byte aligned place from pos on where a frame may start, -1 if there is none.
func nextMagic(w *window, pos int64) (int64, error) {
	for pos < w.size {
		b, err := w.view(pos, len(magicBytes))
		if err != nil {
			return 0, err
		}
		if len(b) < len(magicBytes) {
			return -1, nil
		}
		b = w.rest(pos)
		i := bytes.Index(b, magicBytes)
		switch {
		case i < 0:
			pos = (pos + int64(len(b)) - int64(len(magicBytes)) + 1 + 7) &^ 7
		case (pos+int64(i))%8 == 0:
			return pos + int64(i), nil
		default:
			pos = (pos + int64(i) + 7) &^ 7
		}
	}
	return -1, nil
}
