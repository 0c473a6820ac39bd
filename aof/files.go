package aof

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"
)

// The log as files, for another node that is to begin with a copy. Sealed segments do not change any more, and neither does a
// checkpoint; together they are a whole log that ends where the last of the segments does. One that was rewritten is
// another file of the same name, and says so by its id.

// FileInfo is one file of a log.
type FileInfo struct {
	Name string // in the log's directory
	Size int64  // bytes
	ID   string // what no other file of that name has: another may have taken its place since, and every node has its own
}

// Files lists the segments up to index, oldest first, and the checkpoint at index. ErrNotFound: index is not the last one
// of a sealed segment, or no checkpoint was made there.
func (l *Log) Files(index uint64) ([]FileInfo, error) {
	files, last := l.sealedUpTo(index)
	if last != index {
		return nil, fmt.Errorf("%w: no sealed segment ends at index %d", ErrNotFound, index)
	}
	path := checkpointPath(l.dir, index)
	f, err := l.fs.Open(path, ReadOnly)
	if err != nil {
		return nil, fmt.Errorf("%w: checkpoint at index %d: %w", ErrNotFound, index, err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("aof: %w", err)
	}
	id, err := FileID(f)
	if err != nil {
		return nil, fmt.Errorf("aof: %s: %w", path, err)
	}
	return append(files, FileInfo{filepath.Base(path), size, id}), nil
}

// Sealed is the last index of the newest sealed segment that is durable and has its name; 0: there is none.
func (l *Log) Sealed() uint64 {
	_, last := l.sealedUpTo(math.MaxUint64)
	return last
}

// FileID is the ID of a segment or a checkpoint: a segment's seed, or the checksum in a checkpoint's header.
func FileID(r io.ReaderAt) (string, error) {
	var b [40]byte
	if _, err := r.ReadAt(b[:], 0); err != nil {
		return "", err
	}
	switch le := binary.LittleEndian; string(b[:8]) {
	case segmentMagic:
		return seedID(le.Uint64(b[24:])), nil
	case checkpointMagic:
		return checkpointID(le.Uint32(b[12:])), nil
	}
	return "", fmt.Errorf("%w: no header of a segment or a checkpoint", ErrDamaged)
}

func checkpointID(crc uint32) string { return fmt.Sprintf("%08x", crc) }

func seedID(seed uint64) string { return fmt.Sprintf("%016x", seed) }

// sealedUpTo lists named segments that end at or before index, and where they end.
func (l *Log) sealedUpTo(index uint64) (files []FileInfo, last uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segs {
		if s == l.active || !s.named || s.last > index || s.last > l.durable.Load() {
			break
		}
		files, last = append(files, FileInfo{filepath.Base(s.name()), s.size, seedID(s.seed)}), s.last
	}
	return files, last
}

// Owns tells whether a name in a log's directory is one that this package gives: segments, spares, sidecars, checkpoints.
func Owns(name string) bool {
	name = strings.TrimSuffix(name, tmpSuffix)
	for _, n := range [...]struct{ prefix, suffix string }{
		{"", segmentSuffix}, {"", sidecarSuffix}, {"", segmentSuffix + sidecarSuffix}, {sparePrefix, readySuffix}, {sparePrefix, ""}, {checkpointPrefix, checkpointSuffix},
	} {
		if _, ok := numberIn(name, n.prefix, n.suffix); ok {
			return true
		}
	}
	return false
}
