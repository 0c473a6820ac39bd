package aof

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"sort"
	"sync"

	"ayder/internal/record"
)

// A sidecar, <first index>.idx, is the index of one sealed segment. It is derived: missing or damaged, it is made
// again from the segment. Two checksums, because Open wants only the head (1,600 segments in well under a second) and
// the body is looked at when somebody reads there.
//
//	head   0 magic "AYDERIDX" | 8 version u32 | 12 crc32c of the head from 16 on, stream table included
//	      16 seed u64 | 24 first index u64 | 32 last index u64 | 40 end u64 | 48 min time u64 | 56 max time u64
//	      64 streams u32 | 68 entries u32 | 72 marks u32 | 76 crc32c of the body | 80 log id [16]
//	stream 0 topic u32 | 4 partition u32 | 8 first u64 | 16 next u64 | 24 messages u64 | 32 bytes u64
//	      40 start u32 | 44 count u32                      its entries; streams are sorted
//	body: mark  0 index u64 | 8 position u64               sorted, about one per 64 KiB
//	      entry 0 base u64 | 8 frame u32 | 12 section u32  sorted by offset within a stream

const (
	sidecarMagic       = "AYDERIDX"
	sidecarSuffix      = ".idx"
	sidecarHeaderBytes = 96
	streamBytes        = 48
	markBytes          = 16
	entryBytes         = 16
	headCRCFrom        = 16
)

var errSidecar = errors.New("bad sidecar")

// sidecarHeader is the fixed part.
type sidecarHeader struct {
	seed, first, last       uint64
	end                     int64
	minTime, maxTime        uint64
	streams, entries, marks uint32
	bodyCRC                 uint32
	log                     logID
}

func (h *sidecarHeader) headBytes() int64 { return sidecarHeaderBytes + int64(h.streams)*streamBytes }

func (h *sidecarHeader) fileBytes() int64 {
	return h.headBytes() + int64(h.marks)*markBytes + int64(h.entries)*entryBytes
}

// sidecar is a whole one, in memory or mapped; immutable until it is closed.
type sidecar struct {
	sidecarHeader
	unmap func([]byte) error // nil when data is ordinary memory

	mu   sync.RWMutex // readers against close
	data []byte       // nil when closed
}

func (c *sidecar) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unmap != nil && c.data != nil {
		_ = c.unmap(c.data)
	}
	c.data = nil
}

func sidecarPath(dir string, first uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%020d%s", first, sidecarSuffix))
}

// encodeSidecar writes the index of a sealed segment whose entries are on the heap. It sets where each run's entries are.
func encodeSidecar(s *segment) *sidecar {
	runs := s.sortedRuns()
	h := sidecarHeader{
		seed: s.seed, first: s.first, last: s.last, end: s.end, minTime: s.minTime, maxTime: s.maxTime,
		streams: uint32(len(runs)), marks: uint32(len(s.sparse)), log: s.log,
	}
	for _, r := range runs {
		r.start, r.count = h.entries, uint32(r.heap.n)
		h.entries += r.count
	}
	b := make([]byte, sidecarHeaderBytes, h.fileBytes())
	for _, r := range runs {
		b = appendStream(b, r)
	}
	b = appendBody(b, s.sparse, runs)
	h.bodyCRC = crc32.Checksum(b[h.headBytes():], castagnoli)
	h.put(b)
	return &sidecar{sidecarHeader: h, data: b}
}

func appendStream(b []byte, r *run) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, r.stream.Topic)
	b = le.AppendUint32(b, r.stream.Partition)
	for _, v := range [...]uint64{r.first, r.next, r.messages, r.bytes} {
		b = le.AppendUint64(b, v)
	}
	b = le.AppendUint32(b, r.start)
	return le.AppendUint32(b, r.count)
}

func appendBody(b []byte, marks []mark, runs []*run) []byte {
	le := binary.LittleEndian
	for _, m := range marks {
		b = le.AppendUint64(b, m.index)
		b = le.AppendUint64(b, uint64(m.pos))
	}
	for _, r := range runs {
		for _, chunk := range r.heap.chunks {
			for _, e := range chunk {
				b = le.AppendUint64(b, e.base)
				b = le.AppendUint32(b, e.frame)
				b = le.AppendUint32(b, e.section)
			}
		}
	}
	return b
}

// put writes the fixed part over the start of b, which holds the rest of the head.
func (h *sidecarHeader) put(b []byte) {
	le := binary.LittleEndian
	copy(b, sidecarMagic)
	le.PutUint32(b[8:], formatVersion)
	for i, v := range [...]uint64{h.seed, h.first, h.last, uint64(h.end), h.minTime, h.maxTime} {
		le.PutUint64(b[16+8*i:], v)
	}
	for i, v := range [...]uint32{h.streams, h.entries, h.marks, h.bodyCRC} {
		le.PutUint32(b[64+4*i:], v)
	}
	copy(b[80:], h.log[:])
	le.PutUint32(b[12:], crc32.Checksum(b[headCRCFrom:h.headBytes()], castagnoli))
}

// readSidecarHeader decodes the fixed part; nothing is verified but that it is one, and of this version.
func readSidecarHeader(b []byte) (h sidecarHeader, err error) {
	le := binary.LittleEndian
	if len(b) < sidecarHeaderBytes || !bytes.HasPrefix(b, []byte(sidecarMagic)) {
		return h, fmt.Errorf("%w: no header", errSidecar)
	}
	if v := le.Uint32(b[8:]); v != formatVersion {
		return h, fmt.Errorf("%w: version %d", errSidecar, v)
	}
	return sidecarHeader{
		seed: le.Uint64(b[16:]), first: le.Uint64(b[24:]), last: le.Uint64(b[32:]), end: int64(le.Uint64(b[40:])),
		minTime: le.Uint64(b[48:]), maxTime: le.Uint64(b[56:]),
		streams: le.Uint32(b[64:]), entries: le.Uint32(b[68:]), marks: le.Uint32(b[72:]), bodyCRC: le.Uint32(b[76:]),
		log: logID(b[80:96]),
	}, nil
}

// decodeHead verifies a head, which b must hold whole, and returns its runs.
func decodeHead(b []byte) (h sidecarHeader, runs []run, err error) {
	h, err = readSidecarHeader(b)
	if err != nil {
		return h, nil, err
	}
	if h.headBytes() > int64(len(b)) {
		return h, nil, fmt.Errorf("%w: cut short", errSidecar)
	}
	if binary.LittleEndian.Uint32(b[12:]) != crc32.Checksum(b[headCRCFrom:h.headBytes()], castagnoli) {
		return h, nil, fmt.Errorf("%w: checksum mismatch in the head", errSidecar)
	}
	runs = make([]run, h.streams)
	for i := range runs {
		runs[i] = readStream(b[sidecarHeaderBytes+i*streamBytes:])
		r := &runs[i]
		if r.next < r.first || uint64(r.start)+uint64(r.count) > uint64(h.entries) || (i > 0 && compareStreams(runs[i-1].stream, r.stream) >= 0) {
			return h, nil, fmt.Errorf("%w: stream %d does not make sense", errSidecar, i)
		}
	}
	return h, runs, nil
}

func readStream(b []byte) run {
	le := binary.LittleEndian
	return run{
		stream: record.Stream{Topic: le.Uint32(b), Partition: le.Uint32(b[4:])},
		first:  le.Uint64(b[8:]), next: le.Uint64(b[16:]), messages: le.Uint64(b[24:]), bytes: le.Uint64(b[32:]),
		start: le.Uint32(b[40:]), count: le.Uint32(b[44:]),
	}
}

// decodeSidecar verifies a whole sidecar.
func decodeSidecar(b []byte) (*sidecar, error) {
	h, _, err := decodeHead(b)
	if err != nil {
		return nil, err
	}
	if h.fileBytes() != int64(len(b)) {
		return nil, fmt.Errorf("%w: %d bytes, want %d", errSidecar, len(b), h.fileBytes())
	}
	if crc32.Checksum(b[h.headBytes():], castagnoli) != h.bodyCRC {
		return nil, fmt.Errorf("%w: checksum mismatch in the body", errSidecar)
	}
	return &sidecar{sidecarHeader: h, data: b}, nil
}

// belongs tells whether the sidecar is the one of this segment.
func (h *sidecarHeader) belongs(s *segment) error {
	if h.seed != s.seed || h.first != s.first || h.log != s.log {
		return fmt.Errorf("%w: of another segment", errSidecar)
	}
	if h.last < h.first || (h.marks == 0 && !s.rewritten()) || h.end < BlockBytes || h.end > s.size {
		return fmt.Errorf("%w: does not fit its segment", errSidecar)
	}
	if x := s.extent; s.rewritten() && (h.last != x.last || h.end != x.end || (h.marks == 0) != (x.frames == 0)) {
		return fmt.Errorf("%w: does not fit its segment", errSidecar)
	}
	return nil
}

func (c *sidecar) entry(i int) entry {
	le := binary.LittleEndian
	b := c.data[c.headBytes()+int64(c.marks)*markBytes+int64(i)*entryBytes:]
	return entry{le.Uint64(b), le.Uint32(b[8:]), le.Uint32(b[12:])}
}

// from copies the entries of r from the one that may hold offset on, as many as fit dst. The error is errGone.
func (c *sidecar) from(r *run, offset uint64, dst []entry) ([]entry, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.data == nil {
		return nil, errGone
	}
	dst = dst[:0]
	start, count := int(r.start), int(r.count)
	i := sort.Search(count, func(i int) bool { return c.entry(start+i).base > offset })
	for i = max(i-1, 0); i < count && len(dst) < cap(dst); i++ {
		dst = append(dst, c.entry(start+i))
	}
	return dst, nil
}

// mark returns the last mark at or before index. The error is errGone.
func (c *sidecar) mark(index uint64) (mark, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.data == nil {
		return mark{}, errGone
	}
	le := binary.LittleEndian
	b := c.data[c.headBytes():]
	i := sort.Search(int(c.marks), func(i int) bool { return le.Uint64(b[i*markBytes:]) > index })
	i = max(i-1, 0)
	return mark{le.Uint64(b[i*markBytes:]), int64(le.Uint64(b[i*markBytes+8:]))}, nil
}

// readHead reads and verifies the head of a sidecar file.
func readHead(fsys FS, path string) (h sidecarHeader, runs []run, err error) {
	f, err := fsys.Open(path, ReadOnly)
	if err != nil {
		return h, nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return h, nil, err
	}
	b := make([]byte, min(size, sidecarHeadBytes))
	if _, err = f.ReadAt(b, 0); err != nil {
		return h, nil, err
	}
	if h, err = readSidecarHeader(b); err != nil {
		return h, nil, err
	}
	if h.fileBytes() != size {
		return h, nil, fmt.Errorf("%w: %d bytes, want %d", errSidecar, size, h.fileBytes())
	}
	if n := int64(len(b)); h.headBytes() > n {
		b = append(b, make([]byte, h.headBytes()-n)...)
		if _, err = f.ReadAt(b[n:], n); err != nil {
			return h, nil, err
		}
	}
	return decodeHead(b)
}

// readSidecar opens a whole sidecar, mapped where files can be.
func readSidecar(fsys FS, path string) (*sidecar, error) {
	f, err := fsys.Open(path, ReadOnly)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, ok := f.(mapper)
	if !ok {
		b, err := readWhole(f)
		if err != nil {
			return nil, err
		}
		return decodeSidecar(b)
	}
	b, err := m.Map()
	if err != nil {
		return nil, err
	}
	c, err := decodeSidecar(b)
	if err != nil {
		return nil, errors.Join(err, m.Unmap(b))
	}
	c.unmap = m.Unmap
	return c, nil
}

func readWhole(f File) ([]byte, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	if _, err = f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b, nil
}

// writeFile writes a small file durably under a temporary name and then gives it its own.
func writeFile(fsys FS, dir, path string, parts ...[]byte) error {
	tmp := path + tmpSuffix
	err := writeParts(fsys, tmp, parts)
	if err == nil {
		err = fsys.Rename(tmp, path)
	}
	if err != nil {
		_ = fsys.Remove(tmp)
		return fmt.Errorf("%s: %w", tmp, err)
	}
	return fsys.SyncDir(dir)
}

func writeParts(fsys FS, path string, parts [][]byte) (err error) {
	f, err := fsys.Open(path, Create)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	off := int64(0)
	for _, p := range parts {
		for len(p) > 0 {
			n, err := f.WriteAt(p[:min(len(p), checkpointWrite)], off)
			if err != nil {
				return err
			}
			if n == 0 {
				return errShort
			}
			p, off = p[n:], off+int64(n)
		}
	}
	return f.Sync()
}
