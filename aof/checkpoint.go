package aof

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
)

// A checkpoint is the owner's state after some index, opaque to the log: one file, written under a temporary name,
// synced, renamed, the directory synced. The two newest are kept; a damaged newest one falls back to the one before,
// at the price of a longer replay.
//
//	 0 magic "AYDERCKP" | 8 version u32 | 12 crc32c of bytes 16 … 63 | 16 index u64 | 24 payload size u64
//	32 crc32c of the payload u32 | 36 zero u32 | 40 log id [16] | 56 reach u64 | 64 payload
//
// The owner may have gone on while it encoded its state, so parts of it may be as of later indexes; reach is one behind
// which nothing of it is. Who replays all of the log need not know; a backup that is cut must.

const (
	checkpointMagic  = "AYDERCKP"
	checkpointPrefix = "checkpoint-"
	checkpointSuffix = ".ckp"
	checkpointHeader = 64
)

func checkpointPath(dir string, index uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%s%020d%s", checkpointPrefix, index, checkpointSuffix))
}

// WriteCheckpoint makes payload the state after index, durably, and removes all but the newest checkpoints. It blocks:
// never on a loop. index must be durable.
func (l *Log) WriteCheckpoint(index uint64, payload []byte) error {
	if index > l.Durable() {
		return fmt.Errorf("aof: checkpoint at index %d: only %d is durable", index, l.Durable())
	}
	if len(payload) > checkpointMax {
		return fmt.Errorf("aof: checkpoint of %d bytes: the most is %d", len(payload), checkpointMax)
	}
	l.checkpointing.Lock()
	defer l.checkpointing.Unlock()
	path := checkpointPath(l.dir, index)
	if err := writeFile(l.fs, l.dir, path, encodeCheckpointHeader(index, l.Durable(), payload, l.id), payload); err != nil {
		return fmt.Errorf("aof: checkpoint: %w", err)
	}
	l.checkpoint.Store(max(index, l.checkpoint.Load()))
	return l.dropCheckpoints()
}

func encodeCheckpointHeader(index, reach uint64, payload []byte, id logID) []byte {
	b := make([]byte, checkpointHeader)
	le := binary.LittleEndian
	copy(b, checkpointMagic)
	le.PutUint32(b[8:], formatVersion)
	le.PutUint64(b[16:], index)
	le.PutUint64(b[24:], uint64(len(payload)))
	le.PutUint32(b[32:], crc32.Checksum(payload, castagnoli))
	copy(b[40:], id[:])
	le.PutUint64(b[56:], reach)
	le.PutUint32(b[12:], crc32.Checksum(b[16:], castagnoli))
	return b
}

// decodeCheckpoint verifies a whole checkpoint file.
func decodeCheckpoint(b []byte) (index uint64, payload []byte, err error) {
	le := binary.LittleEndian
	if err := verifyCheckpointHeader(b); err != nil {
		return 0, nil, err
	}
	payload = b[checkpointHeader:]
	if le.Uint64(b[24:]) != uint64(len(payload)) || le.Uint32(b[32:]) != crc32.Checksum(payload, castagnoli) {
		return 0, nil, fmt.Errorf("%w: checksum mismatch in the checkpoint's payload", ErrDamaged)
	}
	return le.Uint64(b[16:]), payload, nil
}

// verifyCheckpointHeader verifies the header at the start of b.
func verifyCheckpointHeader(b []byte) error {
	le := binary.LittleEndian
	switch {
	case len(b) < checkpointHeader || !bytes.HasPrefix(b, []byte(checkpointMagic)):
		return fmt.Errorf("%w: no checkpoint header", ErrDamaged)
	case le.Uint32(b[12:]) != crc32.Checksum(b[16:checkpointHeader], castagnoli):
		return fmt.Errorf("%w: checksum mismatch in the checkpoint's header", ErrDamaged)
	case le.Uint32(b[8:]) != formatVersion:
		return fmt.Errorf("%w: checkpoint format %d", ErrVersion, le.Uint32(b[8:]))
	}
	return nil
}

// dropCheckpoints removes all but the newest ones.
func (l *Log) dropCheckpoints() error {
	all, err := listCheckpoints(l.fs, l.dir)
	if err != nil || len(all) <= checkpointsKept {
		return err
	}
	for _, index := range all[:len(all)-checkpointsKept] {
		if err := l.fs.Remove(checkpointPath(l.dir, index)); err != nil {
			return fmt.Errorf("aof: %w", err)
		}
	}
	return l.fs.SyncDir(l.dir)
}

// listCheckpoints returns the indexes of dir's checkpoints, growing.
func listCheckpoints(fsys FS, dir string) ([]uint64, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return nil, fmt.Errorf("aof: %w", err)
	}
	var all []uint64
	for _, name := range names {
		if index, ok := numberIn(name, checkpointPrefix, checkpointSuffix); ok {
			all = append(all, index)
		}
	}
	slices.Sort(all)
	return all, nil
}

// LoadCheckpoint returns the newest valid checkpoint in dir, or index 0 and no payload if there is none; what
// is damaged is logged and passed over. Open then decides whether the log still has all that must be replayed.
// fsys and logger may be nil. Only an error to read, or a newer version, is returned.
func LoadCheckpoint(fsys FS, dir string, logger *slog.Logger) (index uint64, payload []byte, err error) {
	o := Options{FS: fsys, Logger: logger}.withDefaults()
	all, err := listCheckpoints(o.FS, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, err
	}
	for _, index := range slices.Backward(all) {
		path := checkpointPath(dir, index)
		payload, err := readCheckpoint(o.FS, path, index)
		if err == nil {
			return index, payload, nil
		}
		if !errors.Is(err, ErrDamaged) {
			return 0, nil, fmt.Errorf("aof: %s: %w", path, err)
		}
		o.Logger.Warn("checkpoint passed over", "file", path, "err", err)
	}
	return 0, nil, nil
}

func readCheckpoint(fsys FS, path string, index uint64) ([]byte, error) {
	f, err := fsys.Open(path, ReadOnly)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := readWhole(f)
	if err != nil {
		return nil, err
	}
	at, payload, err := decodeCheckpoint(b)
	if err == nil && at != index {
		err = fmt.Errorf("%w: named %d, made at index %d", ErrDamaged, index, at)
	}
	return payload, err
}
