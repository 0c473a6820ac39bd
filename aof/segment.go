package aof

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// A segment is one file of the log: a header block, then frames. It lives through these stages; the name
// changes behind the commit path's back, what is in the file decides:
//
//	spare-<seq>.tmp    being filled with zeros; worthless after a crash
//	spare-<seq>.ready  header and zeros are durable; may hold frames already if the crash was early
//	<first index>.aof  taken into use, renamed by the keeper
//
// The header block, written once with the zeros and never again:
//
//	 0 magic "AYDERSEG" | 8 version u32 | 12 header size u32 | 16 segment size u64 | 24 seed u64
//	32 sequence u64 | 40 created ms u64 | 48 log id [16] | 64 zero … | 4092 crc32c of bytes 0 … 4091
//
// A segment that was rewritten (rewrite.go) has version 2 and says besides what it stands for:
//
//	64 first index u64 | 72 last index u64 | 80 end u64 | 88 frames u64
//
// The first index is not in the header: it is not known when the spare is made, and the first frame carries it. The
// seed is what each frame's checksum starts from; it is random, so that no bytes of another life of the disk's
// blocks, and nothing that a client can send, pass as a frame of this segment.

const (
	segmentMagic  = "AYDERSEG"
	segmentSuffix = ".aof"
	sparePrefix   = "spare-"
	readySuffix   = ".ready"
	tmpSuffix     = ".tmp"
	crcAt         = BlockBytes - 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// logID tells the files of one log from those of another.
type logID [16]byte

// segmentHeader is a decoded header block.
type segmentHeader struct {
	size      int64  // bytes, header block included
	seed      uint64 // start of the frames' checksums
	sequence  uint64 // number of the spare, growing
	createdMs uint64
	log       logID
	extent    extent // of a rewritten segment
}

// extent says which part of the log a rewritten segment stands for, and what it holds of it. All zero in any other.
type extent struct {
	first, last uint64 // indexes, both inclusive
	end         int64  // bytes: behind the last frame
	frames      uint64
}

// rewritten tells that what was dead in this part of the log may be missing: its frames are no entries of a replicated log any more.
func (h *segmentHeader) rewritten() bool { return h.extent.last != 0 }

// put writes the header into one block.
func (h *segmentHeader) put(b []byte) {
	clear(b[:BlockBytes])
	le := binary.LittleEndian
	copy(b, segmentMagic)
	le.PutUint32(b[8:], h.version())
	le.PutUint32(b[12:], BlockBytes)
	le.PutUint64(b[16:], uint64(h.size))
	le.PutUint64(b[24:], h.seed)
	le.PutUint64(b[32:], h.sequence)
	le.PutUint64(b[40:], h.createdMs)
	copy(b[48:], h.log[:])
	for i, v := range [...]uint64{h.extent.first, h.extent.last, uint64(h.extent.end), h.extent.frames} {
		le.PutUint64(b[64+8*i:], v)
	}
	le.PutUint32(b[crcAt:], crc32.Checksum(b[:crcAt], castagnoli))
}

func (h *segmentHeader) version() uint32 {
	if h.rewritten() {
		return rewrittenVersion
	}
	return formatVersion
}

// readSegmentHeader decodes a header block. The error wraps ErrVersion, or is one of what is wrong.
func readSegmentHeader(b []byte) (segmentHeader, error) {
	var h segmentHeader
	le := binary.LittleEndian
	if len(b) < BlockBytes || !bytes.HasPrefix(b, []byte(segmentMagic)) {
		return h, fmt.Errorf("no segment header")
	}
	if le.Uint32(b[crcAt:]) != crc32.Checksum(b[:crcAt], castagnoli) {
		return h, fmt.Errorf("checksum mismatch in the segment header")
	}
	version := le.Uint32(b[8:])
	if version != formatVersion && version != rewrittenVersion {
		return h, fmt.Errorf("%w: segment format %d, this program reads %d and %d", ErrVersion, version, formatVersion, rewrittenVersion)
	}
	h = segmentHeader{
		size: int64(le.Uint64(b[16:])), seed: le.Uint64(b[24:]), sequence: le.Uint64(b[32:]),
		createdMs: le.Uint64(b[40:]), log: logID(b[48:64]),
	}
	smallest := int64(SegmentBytesMin)
	if version == rewrittenVersion {
		smallest = BlockBytes
		h.extent = extent{le.Uint64(b[64:]), le.Uint64(b[72:]), int64(le.Uint64(b[80:])), le.Uint64(b[88:])}
	}
	if h.size%BlockBytes != 0 || h.size < smallest || h.size > SegmentBytesMax {
		return h, fmt.Errorf("segment size %d in the header", h.size)
	}
	if x := h.extent; version == rewrittenVersion && (x.first == 0 || x.last < x.first || blockUp(x.end) != h.size || (x.end == BlockBytes) != (x.frames == 0)) {
		return h, fmt.Errorf("a rewritten segment of indexes %d to %d with %d frames up to byte %d in the header", x.first, x.last, x.frames, x.end)
	}
	return h, nil
}

// randomSeed makes a segment's seed.
func randomSeed() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:])
}

// segment is one file in use, or a spare that will be.
type segment struct {
	segmentHeader
	path atomic.Pointer[string] // changes once, when the keeper names the segment

	// first is constant once the segment is in use.
	first uint64
	// Guarded by Log.mu while the segment is active; constant once it is sealed.
	last             uint64 // 0 while it holds nothing
	end              int64  // bytes: behind the last frame
	minTime, maxTime uint64 // ms
	sparse           []mark

	file    File                  // write-through, nil once sealed and durable; the owner of Log.mu, then the indexer
	named   bool                  // has its final name; under Log.mu
	indexed bool                  // has its sidecar; under Log.mu
	img     atomic.Pointer[image] // nil when only the file has the bytes: a pointer, readers race with the bound
	side    atomic.Pointer[sidecar]

	stuck bool // could not be rewritten, being damaged; under Log.reclaiming

	loading sync.Mutex  // one goroutine loads or rebuilds the sidecar, or makes the segment gone
	gone    atomic.Bool // not part of the log any more: a pointer to it is out of date. Set once, after the index has forgotten it

	mu   sync.Mutex
	runs []*run // one per stream that has records here
}

// mark is one place in the sparse index → position table.
type mark struct {
	index uint64
	pos   int64
}

// rest is what can still be appended from pos on, in whole blocks.
func (s *segment) rest(pos int64) int64 { return s.size - blockUp(pos) }

// name is the file's path now.
func (s *segment) name() string { return *s.path.Load() }

func (s *segment) setName(path string) { s.path.Store(&path) }

// note records that the frame with this index and time starts at pos and ends at end. Under Log.mu.
func (s *segment) note(index uint64, pos, end int64, timeMs uint64) {
	if n := len(s.sparse); n == 0 || pos-s.sparse[n-1].pos >= sparseBytes {
		s.sparse = append(s.sparse, mark{index, pos})
	}
	if s.last == 0 {
		s.minTime = timeMs
	}
	s.last, s.end, s.maxTime = index, end, timeMs
}

// acquireImage returns the segment's image with a reference, or nil.
func (s *segment) acquireImage() *image {
	m := s.img.Load()
	if m == nil || !m.acquire() {
		return nil
	}
	return m
}

// dropImage gives up the log's reference.
func (s *segment) dropImage() {
	if m := s.img.Swap(nil); m != nil {
		m.release()
	}
}

func segmentPath(dir string, first uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%020d%s", first, segmentSuffix))
}

func sparePath(dir string, sequence uint64, suffix string) string {
	return filepath.Join(dir, fmt.Sprintf("%s%020d%s", sparePrefix, sequence, suffix))
}

// numberIn parses the number of a name like prefix00…042suffix.
func numberIn(name, prefix, suffix string) (uint64, bool) {
	s, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return 0, false
	}
	s, ok = strings.CutSuffix(s, suffix)
	if !ok || len(s) != 20 {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil
}
