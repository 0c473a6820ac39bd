package aof

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// On Linux segments are written past the page cache (O_DIRECT) with the sync in the same call (O_DSYNC):
// one system call, or one io_uring entry, per commit. File systems that refuse O_DIRECT (tmpfs, some
// network and FUSE ones) get the same writes through the cache; O_DSYNC alone makes them durable. The
// open flag is used instead of pwritev2's RWF_DSYNC because every kernel has it and plain pwrite then does.

// openBlocks opens for whole-block writes, durable ones if dsync is set, direct ones where the file system allows it.
func openBlocks(path string, flags int, dsync bool) (File, error) {
	if dsync {
		flags |= unix.O_DSYNC
	}
	f, err := openFile(path, flags|unix.O_DIRECT)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return openFile(path, flags)
	}
	if err != nil {
		return nil, err
	}
	return takesDirect(f.(*osFile), path, flags)
}

// takesDirect opens the file again without O_DIRECT if it turns out that a direct access to one block is
// refused: some file systems accept the flag and fail later. The trial reads, or writes zeros into a new file.
func takesDirect(f *osFile, path string, flags int) (File, error) {
	block, free, err := anonBlocks(1)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	defer free()
	if flags&os.O_TRUNC != 0 {
		_, err = f.WriteAt(block, 0)
	} else {
		_, err = f.ReadAt(block, 0)
	}
	if errors.Is(err, unix.EINVAL) {
		f.Close()
		return openFile(path, flags)
	}
	return f, nil
}

// Forget drops the file's clean pages from the page cache.
func (f *osFile) Forget() { _ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }

// Settle waits for direct writes to the file that are in flight, whoever began them: fallocate(2) does so before it looks at the
// range, on ext4 and XFS alike, and there is nothing for it to do where every block exists. File systems
// without fallocate have no asynchronous direct writes either.
func (osFS) Settle(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return err
	}
	if err = allocate(f, st.Size()); noSpace(err) {
		return nil // the waiting is done
	}
	return err
}

// Reserve allocates the file's blocks. File systems that cannot allocate ahead do it while writing.
func (f *osFile) Reserve(size int64) error { return allocate(f.File, size) }

func allocate(f *os.File, size int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}
