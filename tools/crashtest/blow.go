package main

import (
	"path/filepath"

	"ayder/internal/testkit/proc"
)

// A blow ends a server in the middle of its work. When strike returns, the server's process is gone
// and its data directory can be used by the next one.
type blow interface {
	name() string
	dataDir() string
	strike(s *proc.Server, round int) error
	close() error // frees what is not in the working directory
}

func newBlow(o *options, work string) (blow, error) {
	if o.mode == modeFS {
		return newPowerLoss(work)
	}
	return killing{dir: filepath.Join(work, "data")}, nil
}

// killing is kill -9. The kernel keeps what was written, synced or not: this tests the order of
// things, not the disk.
type killing struct{ dir string }

func (killing) name() string                           { return "killed" }
func (k killing) dataDir() string                      { return k.dir }
func (killing) strike(s *proc.Server, round int) error { return s.Kill() }
func (killing) close() error                           { return nil }
