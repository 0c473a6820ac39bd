package aof

import (
	"errors"
	"slices"
	"syscall"
)

// Blocks that a disk does not give back any more: reading them fails with EIO. That is damage like any other (a File says so by a
// *Damage), so a node that can get its frames again puts the file aside. Whoever looks for what is left of a log reads around
// such blocks: they are taken for zeros, and remembered, because what they held may have been the newest there was.

// readError makes a failure to read a block one that wraps ErrDamaged.
func readError(err error, file string, pos int64) error {
	if errors.Is(err, syscall.EIO) {
		return &Damage{File: file, Pos: pos, Reason: "it cannot be read: " + err.Error()}
	}
	return err
}

// sparing is an FS whose files read as zeros where they cannot be read.
type sparing struct {
	FS
	blocks []*Damage // those that were met
}

// Open implements FS.
func (s *sparing) Open(path string, mode Mode) (File, error) {
	f, err := s.FS.Open(path, mode)
	if err != nil || mode != ReadOnly {
		return f, err
	}
	return &sparingFile{f, s}, nil
}

// Settle implements settler.
func (s *sparing) Settle(path string) error { return settle(s.FS, path) }

// behind tells whether a block at or behind pos was met.
func (s *sparing) behind(pos int64) bool {
	return slices.ContainsFunc(s.blocks, func(d *Damage) bool { return d.Pos+BlockBytes > pos })
}

// note remembers a block, once.
func (s *sparing) note(d *Damage, pos int64) {
	if !slices.ContainsFunc(s.blocks, func(o *Damage) bool { return o.File == d.File && o.Pos == pos }) {
		s.blocks = append(s.blocks, &Damage{File: d.File, Pos: pos, Reason: d.Reason})
	}
}

type sparingFile struct {
	File
	s *sparing
}

// ReadAt implements File.
func (f *sparingFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	if !errors.Is(err, ErrDamaged) {
		return n, err
	}
	for at := 0; at < len(p); {
		pos := off + int64(at)
		part := p[at:min(at+int(blockDown(pos)+BlockBytes-pos), len(p))]
		n, err := f.File.ReadAt(part, pos)
		var d *Damage
		switch {
		case errors.As(err, &d):
			clear(part)
			f.s.note(d, blockDown(pos))
		case n < len(part):
			return at + n, err
		}
		at += len(part)
	}
	return len(p), nil
}
