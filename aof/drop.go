package aof

import "fmt"

// DropBefore takes segments off the front: what is older than retention wants, or than any peer needs. Files are removed oldest first, each after
// its sidecar, so that a crash in between leaves a log that begins a little earlier. Readers that are in one of them when
// it goes look again and find what the log has next; bytes that they have in hand stay as they are, because an image is counted
// and an open file outlives its name.

// DropBefore removes every segment whose frames all have lower indexes than index, but never one that a restart could
// need: a segment stays if it is active or has no sidecar yet, or if it holds the frame that the older checkpoint was made at or a later
// one. (That frame itself, because Raft asks for its term.) FirstIndex and Earliest say what is left. It blocks; any goroutine.
func (l *Log) DropBefore(index uint64) error {
	limit, err := l.coveredBefore(index)
	if err != nil {
		return fmt.Errorf("aof: remove segments before index %d: %w", index, err)
	}
	l.upkeep.Lock()
	defer l.upkeep.Unlock()
	gone := l.unlinkBefore(limit)
	for _, s := range gone {
		if err = l.removeSegment(s); err != nil {
			break
		}
	}
	if err == nil && len(gone) > 0 {
		err = l.fs.SyncDir(l.dir)
	}
	if diskFailed(err) {
		l.fail("remove old segments", err)
	}
	if err != nil {
		return fmt.Errorf("aof: remove segments before index %d: %w", index, err)
	}
	return nil
}

// coveredBefore is index, or the oldest checkpoint's if that is less.
func (l *Log) coveredBefore(index uint64) (uint64, error) {
	all, err := listCheckpoints(l.fs, l.dir)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	return min(index, all[0]), nil
}

// unlinkBefore takes the segments that end before limit out of the log, in memory.
func (l *Log) unlinkBefore(limit uint64) (gone []*segment) {
	l.cuts.Lock()
	defer l.cuts.Unlock()
	l.mu.Lock()
	n := 0
	for n+1 < len(l.segs) && l.segs[n].indexed && l.segs[n].last < limit {
		n++
	}
	gone = append(gone, l.segs[:n]...)
	l.segs = append([]*segment(nil), l.segs[n:]...)
	clear(l.hints[:])
	if n > 0 {
		l.wholeFrom = l.durable.Load()
	}
	l.stats.Segments.Store(int64(len(l.segs)))
	l.mu.Unlock()
	for _, s := range gone {
		l.index.drop(s, nil)
		l.bury(s)
		s.dropImage()
	}
	if n > 0 {
		l.frames.close()
		l.closeReaders()
	}
	return gone
}
