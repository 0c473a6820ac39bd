package aof

import (
	"errors"
	"fmt"
)

// What can go wrong. Everything the package returns wraps one of these or an error of the file system.
var (
	ErrFailed   = errors.New("the log has stopped after a failed write or sync") // for good: nothing is retried
	ErrNoSpace  = errors.New("no space left for new batches")                    // goes away by itself when space returns
	ErrBusy     = errors.New("the next segment is still being prepared")         // the writer's wake is called when it is
	ErrDamaged  = errors.New("damaged log")                                      // acknowledged data is unreadable
	ErrCold     = errors.New("not in memory")                                    // ask again with block=true, off the loop
	ErrLocked   = errors.New("log directory is in use by another process")
	ErrVersion  = errors.New("log written by a newer version")
	ErrForeign  = errors.New("file belongs to another log")
	ErrNotFound = errors.New("no such frame in the log")
	ErrClosed   = errors.New("log is closed")
	errShort    = errors.New("short write")
	errGone     = errors.New("segment was cut off while it was read")
)

// Damage says what is unreadable and where. It wraps ErrDamaged.
type Damage struct {
	File   string // path
	Pos    int64  // bytes from the start of the file
	Index  uint64 // first index that is unreadable, 0 if not known
	Lost   uint64 // highest acknowledged index known to lie at or behind it, 0 if not known
	Reason string
}

// Error names file, position and index, and where to read on.
func (d *Damage) Error() string {
	s := fmt.Sprintf("%v: %s at byte %d", ErrDamaged, d.File, d.Pos)
	if d.Index != 0 {
		s += fmt.Sprintf(", index %d", d.Index)
	}
	s += ": " + d.Reason
	if d.Lost != 0 {
		s += fmt.Sprintf("; indexes up to %d were acknowledged", d.Lost)
	}
	return s + " (`ayder check` reports all of it)"
}

// Unwrap makes errors.Is(err, ErrDamaged) true.
func (d *Damage) Unwrap() error { return ErrDamaged }
