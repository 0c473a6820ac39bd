package aof

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"ayder/internal/record"
)

// Open recovers the log in o.Dir, or begins one, and calls apply for every frame behind o.ReplayAfter, in order. The
// frame is valid during the call; apply's error ends Open. See docs/FORMAT.md for the numbered steps of recovery, which
// recover.go follows. An error that wraps ErrDamaged means that acknowledged data is unreadable: nothing was changed.
func Open(o Options, apply func(record.Frame) error) (*Log, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	lock, err := o.FS.Lock(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("aof: %w", err)
	}
	l := &Log{
		o: o, fs: o.FS, dir: o.Dir, lock: lock, index: newIndex(), readers: make(map[*Reader]struct{}),
		slots:   make([]slot, o.WritersMax*o.InFlightMax),
		writers: make([]*Writer, o.WritersMax),
		keeper:  worker{kicks: make(chan struct{}, 1)},
		indexer: worker{kicks: make(chan struct{}, 1)},
	}
	l.frames.l = l
	if err := l.recover(apply); err != nil {
		return nil, errors.Join(fmt.Errorf("aof: open %s: %w", o.Dir, err), l.Close())
	}
	if !o.manual {
		l.keeper.start(l.keep)
		l.indexer.start(l.indexSealed)
	}
	return l, nil
}

// recover is recovery as FORMAT.md numbers it.
func (l *Log) recover(apply func(record.Frame) error) error {
	started := time.Now()
	v, err := take(l.fs, l.dir, func(err error) error { return err }) // 2
	if err != nil {
		return err
	}
	l.adopt(v)
	r := &recovery{l: l, v: v, apply: apply}
	if err := r.walk(); err != nil { // 3, 4
		return err
	}
	if err := r.searchWitness(); err != nil { // 5
		return err
	}
	if err := r.cut(); err != nil { // 6, 7
		return err
	}
	if err := r.index(); err != nil { // 8
		return err
	}
	if err := r.resume(); err != nil { // 9
		return err
	}
	l.o.Logger.Info("log open", "dir", l.dir, "segments", len(l.segs), "scanned", r.scanned, "first", l.FirstIndex(), "last", l.last,
		"replayed", r.replayed, "took", time.Since(started))
	return nil
}

// adopt takes over identity and counters.
func (l *Log) adopt(v *survey) {
	l.id, l.sequence = v.id, v.sequence
	if l.id == (logID{}) {
		rand.Read(l.id[:])
	}
}
