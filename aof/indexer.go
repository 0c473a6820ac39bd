package aof

import (
	"fmt"
	"time"
)

// The indexer is the log's own goroutine for what follows a segment that is full: when its last frame is durable it
// writes the sidecar, closes the segment's file and tells the owner (OnSealed), who makes a checkpoint. It is apart
// from the keeper because the owner may take its time, and spares must not wait for that.

// indexSealed is one step of the indexer.
func (l *Log) indexSealed() time.Duration {
	for {
		s := l.indexNext()
		if s == nil {
			return 0
		}
		l.keeper.kick()
		if l.o.OnSealed != nil {
			l.o.OnSealed(s.last)
		}
	}
}

// indexNext makes the sidecar of the oldest full segment and closes its file; nil if there is none that is ready for it.
func (l *Log) indexNext() *segment {
	l.upkeep.Lock()
	defer l.upkeep.Unlock()
	s := l.nextSealed()
	if s == nil {
		return nil
	}
	if err := l.writeSidecar(s); err != nil {
		// The sidecar is derived: until the next Open makes it again it lives in memory.
		l.o.Logger.Warn("sidecar not written", "segment", s.name(), "err", err)
	}
	if err := l.retire(s); err != nil {
		l.o.Logger.Warn("sealed segment not closed well", "segment", s.name(), "err", err)
	}
	return s
}

// nextSealed returns the oldest full segment if it is durable and named, else nil. Named, because with its sidecar it may lose
// its image, and then readers open it by a name that must not change under them.
func (l *Log) nextSealed() *segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.sealed) == 0 || l.failure.Load() != nil {
		return nil
	}
	if s := l.sealed[0]; s.named && s.last <= l.durable.Load() {
		return s
	}
	return nil
}

// writeSidecar makes the segment's sidecar and leaves it in s.side: mapped, or in memory if it could not be written.
func (l *Log) writeSidecar(s *segment) error {
	c := encodeSidecar(s)
	path := sidecarPath(l.dir, s.first)
	err := writeFile(l.fs, l.dir, path, c.data)
	if err == nil {
		var mapped *sidecar
		if mapped, err = readSidecar(l.fs, path); err == nil {
			c = mapped
		}
	}
	s.side.Store(c)
	return err
}

// retire takes a segment that has its sidecar off the list of those that need one.
func (l *Log) retire(s *segment) error {
	l.mu.Lock()
	l.sealed = append(l.sealed[:0], l.sealed[1:]...)
	s.indexed = true
	f := s.file
	s.file = nil
	l.mu.Unlock()
	return f.Close()
}

// sidecar returns the sidecar of a sealed segment, loaded on first use; one that turns out to be damaged is made again
// from the segment. Blocks.
func (l *Log) sidecar(s *segment) (*sidecar, error) {
	if c := s.side.Load(); c != nil {
		return c, nil
	}
	l.swaps.RLock()
	defer l.swaps.RUnlock()
	s.loading.Lock()
	defer s.loading.Unlock()
	if c := s.side.Load(); c != nil {
		return c, nil
	}
	if s.gone.Load() {
		return nil, errGone
	}
	c, err := readSidecar(l.fs, sidecarPath(l.dir, s.first))
	if err == nil {
		err = c.belongs(s)
	}
	if err != nil {
		l.o.Logger.Warn("sidecar made again from its segment", "segment", s.name(), "err", err)
		if c, err = l.rebuildSidecar(s); err != nil {
			return nil, err
		}
	}
	s.side.Store(c)
	return c, nil
}

// rebuildSidecar reads the segment and makes its sidecar, in memory and, best effort, on disk.
func (l *Log) rebuildSidecar(s *segment) (*sidecar, error) {
	file, err := l.fs.Open(s.name(), ReadOnly)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	twin := &segment{segmentHeader: s.segmentHeader, first: s.first}
	twin.setName(s.name())
	x := newIndex()
	end, err := scanFile(file, twin, func(f *frameAt) error {
		twin.note(f.Index, f.pos, f.end(), f.TimeMs)
		if _, ok := x.addFrame(twin, &f.Frame, f.pos); !ok {
			return fmt.Errorf("offsets of a stream do not grow")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if twin.last != s.last {
		return nil, &Damage{File: s.name(), Pos: end.pos, Index: twin.last + 1, Lost: s.last, Reason: end.reason.Error()}
	}
	c := encodeSidecar(twin)
	if err := writeFile(l.fs, l.dir, sidecarPath(l.dir, s.first), c.data); err != nil {
		l.o.Logger.Warn("sidecar not written", "segment", s.name(), "err", err)
	}
	return c, nil
}
