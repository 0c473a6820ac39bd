package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"ayder/aof"
	"ayder/engine"
	"ayder/internal/record"
	"ayder/raftlog"
)

// Restoring: what is needed is verified first, then a log is made of it in a directory that has none, and that log is opened and replayed, which
// is what the next start will do. Until that has gone well a file in the directory says that it is not a whole log, and a server
// does not start from it.
//
// The log is a single node's, whatever it was: terms are 1, and entries in which a cluster wrote down its members say nothing any more. Who is
// whom, and who voted for whom, is in no segment and no checkpoint.

// Marker is the name of the file that a directory has while something is being restored into it.
const Marker = "RESTORING"

// Target says what is to be restored; nothing: the newest point.
type Target struct {
	Index *uint64
	Time  *time.Time // the last frame that is not later
}

// Restored is what came of it.
type Restored struct {
	Index    uint64
	TimeMs   uint64
	Topics   int
	Messages uint64
	Keys     int64
}

// Restore makes a data directory of the backup in from.
func Restore(from, dir string, t Target) (*Restored, error) {
	l, err := Load(from)
	if err != nil {
		return nil, err
	}
	w, err := l.planTo(from, t)
	if err != nil {
		return nil, err
	}
	for _, f := range w.files() {
		if err := f.verify(from); err != nil {
			return nil, err
		}
	}
	if err := mustBeEmpty(dir); err != nil {
		return nil, err
	}
	marker := filepath.Join(dir, Marker)
	if err := aof.WriteSynced(marker, []byte("A log is being restored into this directory. If that was interrupted, empty it and begin again.\n")); err != nil {
		return nil, err
	}
	r, err := w.make(from, dir)
	if err != nil {
		return nil, fmt.Errorf("restore into %s: %w", dir, err)
	}
	if err := os.Remove(marker); err != nil {
		return nil, err
	}
	return r, aof.OS().SyncDir(dir)
}

// Unfinished tells whether a restore into dir has not come to its end.
func Unfinished(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, Marker))
	return err == nil
}

// planTo finds what is to be restored.
func (l *List) planTo(from string, t Target) (*plan, error) {
	newest := l.newest()
	switch {
	case newest == nil:
		return nil, fmt.Errorf("%s: %w: it is empty", from, ErrNoPoint)
	case t.Index != nil:
		return l.planFor(*t.Index)
	case t.Time != nil:
		index, err := l.at(from, uint64(max(t.Time.UnixMilli(), 0)))
		if err != nil {
			return nil, err
		}
		return l.planFor(index)
	}
	if newest.Index == 0 {
		return &plan{}, nil
	}
	return l.planFor(newest.Index)
}

// path is where the file is.
func (f *File) path(dir string) string { return filepath.Join(dir, name(&f.Piece)) }

// files lists what the plan needs.
func (w *plan) files() []*File {
	if w.checkpoint == nil {
		return w.segments
	}
	return append([]*File{w.checkpoint}, w.segments...)
}

// mustBeEmpty makes dir if it is missing, and refuses one that has anything in it.
func mustBeEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return os.MkdirAll(dir, 0o755)
	}
	for _, e := range entries {
		if e.Name() != "lost+found" {
			return fmt.Errorf("%s is not empty: there is %s", dir, e.Name())
		}
	}
	return err
}

// make writes the log and opens it.
func (w *plan) make(from, dir string) (*Restored, error) {
	c := aof.NewCopier(nil, dir, forget)
	for _, f := range w.segments {
		last, err := c.Segment(f.path(from), f.Size, w.index)
		if err != nil {
			return nil, err
		}
		if last != min(f.Last, w.index) {
			return nil, fmt.Errorf("%w: %s ends with index %d", ErrDamaged, f.path(from), last)
		}
	}
	var state []byte
	if w.checkpoint != nil {
		index, payload, err := aof.ReadCheckpoint(nil, w.checkpoint.path(from))
		if err == nil {
			err = c.Checkpoint(index, payload)
		}
		if err != nil {
			return nil, err
		}
		state = payload
	}
	if err := aof.OS().SyncDir(dir); err != nil {
		return nil, err
	}
	return w.open(dir, state)
}

// forget makes a frame one of a single node's.
func forget(f *record.Frame) {
	f.Term = 1
	raftlog.Forget(f)
}

// open replays the log and tells what is in it.
func (w *plan) open(dir string, state []byte) (*Restored, error) {
	e, l, err := openLog(dir, w.checkpoint, state)
	if err != nil {
		return nil, err
	}
	r := &Restored{Index: l.LastIndex(), TimeMs: l.LastTimeMs(), Keys: e.KVKeys()}
	if r.Index != w.index {
		err = fmt.Errorf("%w: the log ends with index %d, not %d", ErrDamaged, r.Index, w.index)
	}
	for _, t := range e.Topics() {
		r.Topics++
		for n := range t.Partitions() {
			err = errors.Join(err, r.count(t, n, l))
		}
	}
	return r, errors.Join(err, l.Close())
}

// openLog opens a log that nobody writes to.
func openLog(dir string, checkpoint *File, state []byte) (*engine.Engine, *aof.Log, error) {
	e := engine.New(engine.Config{Shards: 1, IdemKeysMax: 1})
	after := uint64(0)
	if checkpoint != nil {
		after = checkpoint.Last
		if err := e.Restore(state); err != nil {
			return nil, nil, fmt.Errorf("%w: the checkpoint at index %d: %w", ErrDamaged, after, err)
		}
	}
	l, err := aof.OpenQuiet(aof.Options{Dir: dir, ReplayAfter: after}, e.ApplyReplay)
	return e, l, err
}

// count adds a partition's messages, all of which must be there.
func (r *Restored) count(t *engine.Topic, n uint32, l *aof.Log) error {
	p := t.Partition(n)
	floor, next := p.Floor(), p.Next()
	if t.Mode() == engine.Rocket || floor == next {
		return nil
	}
	r.Messages += next - floor
	u, ok := l.Stream(p.Stream())
	if !ok || u.First > floor || u.Next < next {
		return fmt.Errorf("%w: of %s partition %d messages %d to %d are wanted, %d to %d are there", ErrDamaged, t.Name(), n, floor, next-1, u.First, u.Next)
	}
	return nil
}
