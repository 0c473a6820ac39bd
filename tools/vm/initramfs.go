package main

import (
	"bufio"
	"fmt"
	"io"
	"path"
)

// The first file system of a guest is a cpio archive, format "newc" of the kernel's
// Documentation/driver-api/early-userspace/buffer-format.rst: for each file a header of 110 characters, its name with a zero
// byte, and its bytes, each padded to four:
//
//	"070701" ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check     13 fields of 8 hex digits
//
// It ends with a file TRAILER!!!. It is written here so that making one needs no other program and no root, which mknod
// would need for /dev/console: without that the first process has nobody to talk to.

// Modes of files besides permissions, as in stat(2).
const (
	modeDirectory = 0o040000
	modeRegular   = 0o100000
	modeCharacter = 0o020000
	modeType      = 0o170000
)

// file is one file of an archive.
type file struct {
	name         string
	mode         uint32
	major, minor uint32 // of a device
	data         []byte
}

// writeCPIO writes an archive of files, and of the directories that they are in.
func writeCPIO(out io.Writer, files []file) error {
	w := &cpio{out: bufio.NewWriterSize(out, cpioBufferBytes), dirs: map[string]bool{".": true, "/": true}}
	for _, f := range files {
		w.parents(path.Dir(f.name))
		if f.mode&modeType == modeDirectory {
			w.parents(f.name)
			continue
		}
		w.entry(f)
	}
	w.entry(file{name: "TRAILER!!!"})
	if w.err != nil {
		return fmt.Errorf("cpio: %w", w.err)
	}
	if err := w.out.Flush(); err != nil {
		return fmt.Errorf("cpio: %w", err)
	}
	return nil
}

type cpio struct {
	out  *bufio.Writer
	at   int // bytes written
	ino  int
	dirs map[string]bool // those that are written
	err  error
}

// parents writes a directory and those above it, once.
func (w *cpio) parents(dir string) {
	if w.dirs[dir] {
		return
	}
	w.parents(path.Dir(dir))
	w.dirs[dir] = true
	w.entry(file{name: dir, mode: modeDirectory | 0o755})
}

func (w *cpio) entry(f file) {
	w.ino++
	w.write(fmt.Appendf(nil, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		w.ino, f.mode, 0, 0, 1, 0, len(f.data), 0, 0, f.major, f.minor, len(f.name)+1, 0))
	w.write([]byte(f.name + "\x00"))
	w.pad()
	w.write(f.data)
	w.pad()
}

func (w *cpio) pad() { w.write(make([]byte, -w.at&3)) }

func (w *cpio) write(p []byte) {
	if w.err != nil {
		return
	}
	n, err := w.out.Write(p)
	w.at += n
	w.err = err
}
