package proc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A disk is a file with an ext4 on it, mounted through a loop device. Its owner can take it away
// from a running server with FS_IOC_SHUTDOWN (through xfs_io, which works on ext4 too): from that
// moment on every write and sync fails with EIO, and what was not written yet stays unwritten for
// ever, as when a machine loses power. Unmounting and mounting replays the journal.
//
// What it does not show is a device that lies about its cache: the loop device's file is in this
// machine's page cache and survives. Losing that too is the in-memory file system's part.

// Disk is a mounted file system of the test's own.
type Disk struct {
	Mount string // where it is mounted
	image string // the file; empty for one in memory
}

// NewMemoryDisk mounts a file system of the given size that lives in memory (tmpfs) below dir. It
// needs root.
func NewMemoryDisk(dir string, bytes int64) (*Disk, error) {
	d := &Disk{Mount: filepath.Join(dir, "mount")}
	if err := os.Mkdir(d.Mount, 0o755); err != nil {
		return nil, err
	}
	return d, command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", bytes), "ayder-test", d.Mount)
}

// NewDisk makes a file of the given size in dir, with an ext4 on it, and mounts it. It needs root;
// see DiskTools.
func NewDisk(dir string, bytes int64) (*Disk, error) {
	d := &Disk{Mount: filepath.Join(dir, "mount"), image: filepath.Join(dir, "disk.img")}
	if err := os.Mkdir(d.Mount, 0o755); err != nil {
		return nil, err
	}
	f, err := os.Create(d.image)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Truncate(bytes), f.Close()); err != nil {
		return nil, err
	}
	if err := command("mkfs.ext4", "-q", "-F", d.image); err != nil {
		return nil, err
	}
	return d, d.mount()
}

// DiskTools tells why disks cannot be made here, nil if they can.
func DiskTools(tools ...string) error {
	if os.Geteuid() != 0 {
		return errors.New("mounting needs root")
	}
	for _, t := range append([]string{"mkfs.ext4", "mount", "umount"}, tools...) {
		if _, err := exec.LookPath(t); err != nil {
			return err
		}
	}
	return nil
}

func (d *Disk) mount() error { return command("mount", "-o", "loop", d.image, d.Mount) }

// Shutdown stops the file system under whatever uses it. With flushLog the journal is written out
// first (FSOP_GOING_FLAGS_LOGFLUSH), else it is cut off as it stands (FSOP_GOING_FLAGS_NOLOGFLUSH).
func (d *Disk) Shutdown(flushLog bool) error {
	how := "shutdown"
	if flushLog {
		how = "shutdown -f"
	}
	return command("xfs_io", "-x", "-c", how, d.Mount)
}

// Unmount detaches the disk. A process that was killed may hold files for a moment longer: io_uring
// ends in the background.
func (d *Disk) Unmount() (err error) {
	for range umountTries {
		if err = command("umount", d.Mount); err == nil {
			return nil
		}
		time.Sleep(10 * pollEvery)
	}
	return err
}

// Remount detaches the disk and attaches it again, as a machine that comes back would.
func (d *Disk) Remount() error {
	if err := d.Unmount(); err != nil {
		return err
	}
	return d.mount()
}

// Remove unmounts the disk and deletes its file.
func (d *Disk) Remove() error {
	err := d.Unmount()
	if d.image != "" {
		err = errors.Join(err, os.Remove(d.image))
	}
	return err
}

func command(words ...string) error {
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
