package aof

import (
	"errors"
	"fmt"
)

// Scrubbing: a start believes the sidecars of segments that a checkpoint covers and does not read them, and nobody reads an
// old segment for months. Whoever has other copies wants to know early that this one has changed: with every day it is more
// likely that the next one changes, too.

// Verify reads the oldest sealed segment that begins at or behind index from, and returns where the one after it begins, 0
// if there is none. The error wraps ErrDamaged if what was acknowledged is unreadable. It blocks; any goroutine.
func (l *Log) Verify(from uint64) (next uint64, err error) {
	s, next, cuts := l.sealedFrom(from)
	if s == nil {
		return 0, nil
	}
	f, err := l.fs.Open(s.name(), ReadOnly)
	if err == nil {
		err = verifySegment(f, s)
		forget(f)
		err = errors.Join(err, f.Close())
	}
	if err != nil && l.changed(s, cuts) {
		return next, nil // cut or dropped meanwhile
	}
	if err != nil {
		return next, fmt.Errorf("aof: %w", err)
	}
	return next, nil
}

func verifySegment(f File, s *segment) error {
	twin := &segment{segmentHeader: s.segmentHeader, first: s.first}
	twin.setName(s.name())
	end, err := scanFile(f, twin, func(f *frameAt) error { return checkSections(&f.Frame) })
	if err != nil || end.expect > s.last {
		return err
	}
	reason := "its frames end here"
	if end.reason != nil {
		reason = end.reason.Error()
	}
	return &Damage{File: s.name(), Pos: end.pos, Index: end.expect, Lost: s.last, Reason: reason}
}

// sealedFrom finds the segment, where the next one begins, and how often the end was cut until now.
func (l *Log) sealedFrom(from uint64) (s *segment, next, cuts uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segs {
		if s.first >= from && s != l.active && s.indexed {
			return s, s.last + 1, l.truncations
		}
	}
	return nil, 0, 0
}

// changed tells whether s is not what it was when the end had been cut so many times.
func (l *Log) changed(s *segment, cuts uint64) bool {
	l.upkeep.Lock() // a cut that is going on has counted itself afterwards
	defer l.upkeep.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	return s.gone.Load() || l.truncations != cuts
}

// Distrust removes the sidecar of the segment that holds index, so that the next Open reads that segment, and finds what is wrong
// with it. The log goes on as it is.
func (l *Log) Distrust(index uint64) error {
	l.mu.Lock()
	s := l.segmentOf(index)
	known := s != nil && index <= s.last
	l.mu.Unlock()
	if !known {
		return fmt.Errorf("%w: index %d", ErrNotFound, index)
	}
	l.upkeep.Lock()
	defer l.upkeep.Unlock()
	err := l.fs.Remove(sidecarPath(l.dir, s.first))
	if err == nil || sidecarMissing(err) {
		err = l.fs.SyncDir(l.dir)
	}
	if err != nil {
		return fmt.Errorf("aof: %w", err)
	}
	return nil
}

// noticed passes on that somebody met damage.
func (l *Log) noticed(err error) error {
	if err != nil && l.o.OnDamage != nil && errors.Is(err, ErrDamaged) {
		l.o.OnDamage(err)
	}
	return err
}
