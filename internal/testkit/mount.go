package testkit

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"syscall"

	"ayder/aof"
)

// Tests that cut the power of one machine of several, while its goroutines run on, need two things of its disk: that it
// takes time, so that the power can fail in the middle of a write, and that those goroutines do no harm to the next
// life. Files know the life they were opened in; a mount gives that knowledge to names, too. A MemFS used
// as an aof.FS itself is a mount of whatever life it is in.

// Pace makes every durable write, Sync and SyncDir take as long as the function blocks; it is called without locks
// held, between a durable write's beginning and its end, and before a Sync does anything. bytes is the size of the
// write, 0 for the others. Nil: no time.
func (m *MemFS) Pace(pace func(bytes int)) { m.pace.Store(&pace) }

func (m *MemFS) wait(bytes int) {
	if pace := m.pace.Load(); pace != nil && *pace != nil {
		(*pace)(bytes)
	}
}

// Mount returns the file system as a machine sees it until its next crash or kill: from then on every call answers ErrCrashed.
func (m *MemFS) Mount() aof.FS {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &mount{m, m.life}
}

// everyLife is the life of a mount that survives crashes.
const everyLife = -1

// mount is a MemFS during one life. It implements aof.FS, and Settle.
type mount struct {
	m    *MemFS
	life int
}

// lock takes the file system's lock, or refuses because the machine is gone. The caller unlocks if the error is nil.
func (o *mount) lock() error {
	o.m.mu.Lock()
	if o.life != everyLife && o.life != o.m.life {
		o.m.mu.Unlock()
		return ErrCrashed
	}
	return nil
}

func (o *mount) Lock(dir string) (io.Closer, error) {
	if err := o.lock(); err != nil {
		return nil, err
	}
	m := o.m
	defer m.mu.Unlock()
	if m.locks[dir] {
		return nil, fmt.Errorf("%s: %w", dir, aof.ErrLocked)
	}
	m.locks[dir] = true
	return &memLock{m, dir, m.life}, nil
}

type memLock struct {
	m    *MemFS
	dir  string
	life int
}

func (k *memLock) Close() error {
	k.m.mu.Lock()
	defer k.m.mu.Unlock()
	if k.life == k.m.life {
		delete(k.m.locks, k.dir)
	}
	return nil
}

func (o *mount) List(dir string) (names []string, err error) {
	if err := o.lock(); err != nil {
		return nil, err
	}
	defer o.m.mu.Unlock()
	for _, path := range slices.Sorted(maps.Keys(o.m.names)) {
		if filepath.Dir(path) == filepath.Clean(dir) {
			names = append(names, filepath.Base(path))
		}
	}
	return names, nil
}

func (o *mount) Open(path string, mode aof.Mode) (aof.File, error) {
	if err := o.lock(); err != nil {
		return nil, err
	}
	m := o.m
	defer m.mu.Unlock()
	n := m.names[path]
	create := mode == aof.Create || mode == aof.CreateBlocks
	switch {
	case m.failOpen != nil:
		return nil, &fs.PathError{Op: "open", Path: path, Err: m.failOpen}
	case n == nil && !create:
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	case n == nil:
		n = &inode{dirty: map[int64]bool{}}
		m.change(nameChange{to: path, node: n})
	case create:
		m.free(n)
		n.data, n.disk, n.dirty = nil, nil, map[int64]bool{}
	case mode == aof.WriteThrough:
		m.land(n)
	}
	return &memFile{m: m, n: n, path: path, mode: mode, life: m.life}, nil
}

func (o *mount) Rename(from, to string) error {
	if err := o.lock(); err != nil {
		return err
	}
	m := o.m
	defer m.mu.Unlock()
	n := m.names[from]
	if n == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	if old := m.names[to]; old != nil {
		m.free(old)
	}
	m.change(nameChange{from, to, n})
	return nil
}

func (o *mount) Remove(path string) error {
	if err := o.lock(); err != nil {
		return err
	}
	m := o.m
	defer m.mu.Unlock()
	n := m.names[path]
	if n == nil {
		return &fs.PathError{Op: "remove", Path: path, Err: fs.ErrNotExist}
	}
	m.free(n)
	m.change(nameChange{from: path})
	return nil
}

func (o *mount) SyncDir(string) error {
	o.m.wait(0)
	if err := o.lock(); err != nil {
		return err
	}
	m := o.m
	defer m.mu.Unlock()
	if m.syncFails() {
		return &fs.PathError{Op: "sync", Path: "directory", Err: syscall.EIO}
	}
	for _, c := range m.changes {
		c.apply(m.durable)
	}
	m.changes = nil
	return nil
}

// Settle waits until no write of an earlier life is in flight to the file.
func (o *mount) Settle(path string) error {
	if err := o.lock(); err != nil {
		return err
	}
	defer o.m.mu.Unlock()
	if n := o.m.names[path]; n != nil {
		o.m.land(n)
	}
	return nil
}

// The methods of a MemFS as an aof.FS.

func (m *MemFS) always() *mount { return &mount{m, everyLife} }

// Lock implements aof.FS.
func (m *MemFS) Lock(dir string) (io.Closer, error) { return m.always().Lock(dir) }

// List implements aof.FS.
func (m *MemFS) List(dir string) ([]string, error) { return m.always().List(dir) }

// Open implements aof.FS.
func (m *MemFS) Open(path string, mode aof.Mode) (aof.File, error) {
	return m.always().Open(path, mode)
}

// Rename implements aof.FS.
func (m *MemFS) Rename(from, to string) error { return m.always().Rename(from, to) }

// Remove implements aof.FS.
func (m *MemFS) Remove(path string) error { return m.always().Remove(path) }

// SyncDir implements aof.FS.
func (m *MemFS) SyncDir(dir string) error { return m.always().SyncDir(dir) }

// Settle waits until no write of an earlier life is in flight to the file.
func (m *MemFS) Settle(path string) error { return m.always().Settle(path) }
