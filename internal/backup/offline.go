package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"ayder/aof"
	"ayder/internal/record"
	"ayder/raftlog"
)

// Offline is the log of a server that does not run, as a Source. It is opened as a start opens it, so what a crash left at its end is cut. Of
// a node of a cluster what is known to be committed counts.
type Offline struct {
	log       *aof.Log
	committed func() uint64
}

// OpenOffline opens the log in dir; the error wraps aof.ErrLocked if a server has it.
func OpenOffline(dir string) (*Offline, error) {
	member, err := raftlog.HasState(aof.OS(), dir)
	if err != nil {
		return nil, err
	}
	if Unfinished(dir) {
		return nil, fmt.Errorf("%s: a restore into it has not come to its end", dir)
	}
	index, _, err := aof.LoadCheckpoint(nil, dir, nil)
	if err != nil {
		return nil, err
	}
	o := &Offline{}
	apply := func(record.Frame) error { return nil }
	if member {
		known := raftlog.NewRecovery(index, apply)
		apply, o.committed = known.Frame, known.Applied
	}
	o.log, err = aof.OpenQuiet(aof.Options{Dir: dir, ReplayAfter: index}, apply)
	return o, err
}

// Close closes the log.
func (o *Offline) Close() error { return o.log.Close() }

// Contents implements Source.
func (o *Offline) Contents(context.Context) (*aof.Contents, error) {
	return o.log.Contents(o.committed)
}

// Read implements Source.
func (o *Offline) Read(_ context.Context, p *aof.Piece, b []byte, off int64) (int, error) {
	n, err := o.log.ReadPiece(p.Name, p.ID, b, off, math.MaxUint64)
	if errors.Is(err, aof.ErrNotFound) {
		err = fmt.Errorf("%w: %w", ErrGone, err)
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
