package aof

import (
	"errors"
	"fmt"
	"io"
	"syscall"
)

// The log reaches files through FS and File only. Two implementations exist: the operating system's
// (fs_os.go with fs_linux.go or fs_other.go) and testkit.MemFS, which loses what was not synced.
// Paths are the caller's, joined with the log's directory. All calls block; all may be used from
// several goroutines.

// FS is a file system as the log needs it.
type FS interface {
	// Lock makes dir where it is missing and takes it for this process until the Closer is closed;
	// the error wraps ErrLocked when another process has it.
	Lock(dir string) (io.Closer, error)
	// List returns the names in dir, in any order.
	List(dir string) ([]string, error)
	// Open opens a file; the error wraps fs.ErrNotExist when a mode that does not create finds none.
	Open(path string, mode Mode) (File, error)
	// Rename gives a file another name, replacing what was there. Durable after SyncDir.
	Rename(from, to string) error
	// Remove deletes a file. Durable after SyncDir.
	Remove(path string) error
	// SyncDir makes the names in dir durable.
	SyncDir(dir string) error
}

// Mode says how a file is to be used.
type Mode uint8

// The ways to open a file.
const (
	// ReadOnly reads through the system's cache.
	ReadOnly Mode = iota
	// Create makes an empty file or empties an old one; data is durable after Sync.
	Create
	// CreateBlocks is Create for files written in whole blocks from page-aligned memory only, so
	// that they may bypass the cache.
	CreateBlocks
	// WriteThrough writes an existing file in whole blocks from page-aligned memory; each write is
	// durable when it returns.
	WriteThrough
)

// File is an open file. The caller keeps the slices; they are free again when the call returns.
type File interface {
	// ReadAt fills p from off; a short count comes with an error, io.EOF at the end of the file, a *Damage where the disk does not give
	// back what was written.
	ReadAt(p []byte, off int64) (int, error)
	// WriteAt writes p at off. A short count without an error is possible.
	WriteAt(p []byte, off int64) (int, error)
	// Sync makes everything written durable. After an error nothing is known of what was written.
	Sync() error
	// Size is the file's length in bytes.
	Size() (int64, error)
	// Close gives the file back. It syncs nothing.
	Close() error
}

// mapper is a File that can be mapped into memory, read-only.
type mapper interface {
	Map() ([]byte, error)
	Unmap([]byte) error
}

// forgetter is a File whose pages in the system's cache can be given up.
type forgetter interface{ Forget() }

// settler is an FS under which writes of a process that was killed may still be on their way to a file. Settle waits for
// them.
type settler interface{ Settle(path string) error }

// settle makes sure that what is read from the file now stays true. An io_uring write that was in flight when its process
// was killed completes on its own, after the process is gone and its lock with it: read too early, the log would end before
// a frame that then appears.
func settle(fsys FS, path string) error {
	s, ok := fsys.(settler)
	if !ok {
		return nil
	}
	if err := s.Settle(path); err != nil {
		return fmt.Errorf("settle %s: %w", path, err)
	}
	return nil
}

// openSettled opens a file to be read, with everything in it durable: what such a write brought is in the file
// before it is synced, and recovery is about to count it as part of the log.
func openSettled(fsys FS, path string) (File, error) {
	if err := settle(fsys, path); err != nil {
		return nil, err
	}
	f, err := fsys.Open(path, ReadOnly)
	if err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// forget gives up what the system's cache holds of f, where that is possible.
func forget(f File) {
	if c, ok := f.(forgetter); ok {
		c.Forget()
	}
}

// noSpace tells whether an error means that the disk, or our share of it, is full.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// diskFailed tells whether an error is the device's or the file system's own, after which nothing there can be relied on.
// Anything else (no descriptor or memory left, say) may go away.
func diskFailed(err error) bool {
	for _, e := range [...]error{syscall.EIO, syscall.EROFS, syscall.ENXIO, syscall.ENODEV, syscall.ESTALE, errShort} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// reserver is a File that can take the space for its size in one go, so that a disk without room says so before
// megabytes were written in vain.
type reserver interface{ Reserve(size int64) error }

// reserve takes the space for f, where that can be done ahead.
func reserve(f File, size int64) error {
	if r, ok := f.(reserver); ok {
		return r.Reserve(size)
	}
	return nil
}

// writeAll writes p at off, going on after short writes that moved forward by whole blocks.
func writeAll(f File, p []byte, off int64) error {
	for len(p) > 0 {
		n, err := f.WriteAt(p, off)
		if err != nil {
			return err
		}
		if n <= 0 || (n < len(p) && n%BlockBytes != 0) {
			return errShort
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}
