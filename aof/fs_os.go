//go:build unix

package aof

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// This is the part of the operating system's FS that all Unix systems share; how a file is opened
// for durable writes differs (fs_linux.go, fs_other.go). Names, locks and small files go through package os; what
// the log itself writes goes through descriptors that need page-aligned memory and whole blocks.

const (
	lockName = "LOCK"
	dirMode  = 0o755
	fileMode = 0o644
)

type osFS struct{}

// OS is the operating system's file system.
func OS() FS { return osFS{} }

// Lock holds an exclusive flock(2) on dir/LOCK: the kernel gives it up when the process ends, however it ends.
func (osFS) Lock(dir string) (io.Closer, error) {
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", dir, ErrLocked)
		}
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}

func (osFS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// MakeDir makes a directory where there is none.
func (osFS) MakeDir(path string) error {
	if err := os.Mkdir(path, dirMode); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }

func (osFS) Remove(path string) error { return os.Remove(path) }

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// WriteSynced writes a small file that is no part of a log, and syncs it. Its directory is the caller's to sync.
func WriteSynced(path string, b []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func (osFS) Open(path string, mode Mode) (File, error) {
	switch mode {
	case Create:
		return openFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	case CreateBlocks:
		return openBlocks(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, false)
	case WriteThrough:
		return openBlocks(path, os.O_RDWR, true)
	}
	return openFile(path, os.O_RDONLY)
}

// osFile is an *os.File with what the log needs beyond it.
type osFile struct {
	*os.File
	syncEach bool // every write must be followed by a sync: the descriptor does not do it
}

func openFile(path string, flags int) (File, error) {
	f, err := os.OpenFile(path, flags, fileMode)
	if err != nil {
		return nil, err
	}
	return &osFile{File: f}, nil
}

func (f *osFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	if err != nil {
		err = readError(err, f.Name(), off)
	}
	return n, err
}

func (f *osFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(p, off)
	if err == nil && f.syncEach {
		err = f.Sync()
	}
	return n, err
}

func (f *osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// Map maps the whole file, read-only. The mapping outlives Close.
func (f *osFile) Map() ([]byte, error) {
	size, err := f.Size()
	if err != nil || size == 0 {
		return nil, err
	}
	return unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
}

// Unmap gives back what Map returned.
func (f *osFile) Unmap(b []byte) error { return unix.Munmap(b) }
