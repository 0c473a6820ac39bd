package testkit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"syscall"
	"unsafe"

	"ayder/aof"
)

// A file has its content twice: as programs see it, and as the disk has it. Buffered writes change the first and mark
// sectors dirty; Sync copies those to the second. A durable write has a beginning and an end, so that several can be
// in flight: only its end changes anything, and a crash before that keeps any of its sectors.

// ErrCrashed is what a file of an earlier life answers.
var ErrCrashed = errors.New("file of a life before the crash")

// memFile is an open file of a MemFS.
type memFile struct {
	m    *MemFS
	n    *inode
	path string
	mode aof.Mode
	life int
}

// lock takes the file system's lock, or refuses because the file is dead. The caller unlocks if the error is nil.
func (f *memFile) lock() error {
	f.m.mu.Lock()
	if f.life != f.m.life {
		f.m.mu.Unlock()
		return ErrCrashed
	}
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.lock(); err != nil {
		return 0, err
	}
	defer f.m.mu.Unlock()
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.n.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	if f.mode == aof.WriteThrough {
		w, err := f.Begin(p, off)
		if err != nil {
			return 0, err
		}
		f.m.wait(len(p))
		return w.Finish()
	}
	if err := f.lock(); err != nil {
		return 0, err
	}
	defer f.m.mu.Unlock()
	if err := f.writable(p, off); err != nil {
		return 0, err
	}
	f.n.data = grown(f.n.data, off+int64(len(p)))
	copy(f.n.data[off:], p)
	for s := off / SectorBytes; s*SectorBytes < off+int64(len(p)); s++ {
		f.n.dirty[s] = true
	}
	return len(p), nil
}

// writable checks mode, alignment and space, and takes the space. Under the lock.
func (f *memFile) writable(p []byte, off int64) error {
	if f.mode == aof.ReadOnly {
		return &fs.PathError{Op: "write", Path: f.path, Err: syscall.EBADF}
	}
	if f.mode != aof.Create && !aligned(p, off) {
		return &fs.PathError{Op: "write", Path: f.path, Err: syscall.EINVAL}
	}
	more := max(off+int64(len(p))-int64(len(f.n.data)), 0)
	if more > f.m.space {
		return &fs.PathError{Op: "write", Path: f.path, Err: syscall.ENOSPC}
	}
	if f.m.space < unlimited {
		f.m.space -= more
	}
	return nil
}

// aligned tells whether a direct write would be taken by a disk with 4 KiB blocks.
func aligned(p []byte, off int64) bool {
	return off%aof.BlockBytes == 0 && len(p)%aof.BlockBytes == 0 && uintptr(unsafe.Pointer(unsafe.SliceData(p)))%aof.BlockBytes == 0
}

func (f *memFile) Sync() error {
	f.m.wait(0)
	if err := f.lock(); err != nil {
		return err
	}
	defer f.m.mu.Unlock()
	fails := f.m.syncFails()
	for s := range f.n.dirty {
		if !fails {
			f.n.disk = putSector(f.n.disk, f.n.data, s*SectorBytes, 0)
		}
	}
	f.n.dirty = map[int64]bool{} // after a failure the kernel forgets, too
	if fails {
		return &fs.PathError{Op: "sync", Path: f.path, Err: syscall.EIO}
	}
	return nil
}

func (f *memFile) Size() (int64, error) {
	if err := f.lock(); err != nil {
		return 0, err
	}
	defer f.m.mu.Unlock()
	return int64(len(f.n.data)), nil
}

func (f *memFile) Close() error { return nil }

// Pending is a durable write in flight: begun, not finished. A crash keeps any of its sectors.
type Pending struct {
	f    *memFile
	p    []byte // the caller's memory
	shot []byte // what it held at the start
	off  int64
}

// Begin starts a durable write. Two in flight must not overlap: a disk may do them in either order.
func (f *memFile) Begin(p []byte, off int64) (*Pending, error) {
	if err := f.lock(); err != nil {
		return nil, err
	}
	defer f.m.mu.Unlock()
	if err := f.writable(p, off); err != nil {
		return nil, err
	}
	for _, o := range f.n.pending {
		if off < o.off+int64(len(o.shot)) && o.off < off+int64(len(p)) {
			panic(fmt.Sprintf("bug: write of %d bytes at %d overlaps one of %d at %d in flight", len(p), off, len(o.shot), o.off))
		}
	}
	w := &Pending{f: f, p: p, shot: slices.Clone(p), off: off}
	f.n.pending = append(f.n.pending, w)
	return w, nil
}

// Finish completes the write: durable, short, or failed. The memory must not have changed meanwhile, because
// the disk may have read it at any moment.
func (w *Pending) Finish() (int, error) {
	f := w.f
	if err := f.lock(); err != nil {
		return 0, err
	}
	defer f.m.mu.Unlock()
	if !bytes.Equal(w.p, w.shot) {
		panic(fmt.Sprintf("bug: memory of the write at %d changed in flight", w.off))
	}
	f.n.pending = slices.DeleteFunc(f.n.pending, func(o *Pending) bool { return o == w })
	n, err := f.m.outcome(len(w.shot))
	for at := 0; at < len(w.shot); at += SectorBytes {
		if at < n || (err != nil && f.m.rng.IntN(2) == 0) {
			f.n.disk = putSector(f.n.disk, w.shot, int64(at), w.off)
			f.n.data = putSector(f.n.data, w.shot, int64(at), w.off)
		}
	}
	if err != nil {
		return 0, &fs.PathError{Op: "write", Path: f.path, Err: err}
	}
	f.m.writes++
	return n, nil
}

// outcome decides how a durable write of n bytes ends. Under the lock.
func (m *MemFS) outcome(n int) (int, error) {
	if m.failWrite > 0 {
		m.failWrite--
		if m.failWrite == 0 {
			return 0, syscall.EIO
		}
	}
	if blocks := n / aof.BlockBytes; m.shortOneIn > 0 && blocks > 1 && m.rng.IntN(m.shortOneIn) == 0 {
		return (1 + m.rng.IntN(blocks-1)) * aof.BlockBytes, nil
	}
	return n, nil
}
