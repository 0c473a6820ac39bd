package aof

// A log that nobody writes to needs no spares beyond the room that Admit promises: with segments of 64 MiB they would be a fifth of what a
// small log occupies. So they go when the active segment has the room, or else one that is just large enough takes their place. The first frame that
// is placed ends this state, and the keeper makes what is usual.
//
// No batch is refused, or left without its place, for that: whatever was admitted fits into the room that stays, as before a segment is
// sealed early (Roll).

// slim gives up spares if nothing was appended since it was called last.
func (l *Log) slim() error {
	size, wanted := l.slimWanted()
	if !wanted {
		return nil
	}
	var small *segment
	if size > 0 {
		var err error
		if small, err = l.makeSpareOf(size); noSpace(err) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return l.removeSpares(l.exchangeSpares(small))
}

// slimWanted tells whether there are spares to give up, and what size the one that stays must have: 0, none has to.
func (l *Log) slimWanted() (size int64, wanted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	quiet := l.last == l.slimLast && l.thread == nil && l.failure.Load() == nil
	l.slimLast = l.last
	if !quiet || l.slimmed || len(l.ready) == 0 {
		return 0, false
	}
	if l.activeRoom() >= l.need.Load() {
		return 0, true
	}
	size = BlockBytes + l.need.Load()*blockUp(int64(l.o.FrameBytesMax))
	return size, size >= SegmentBytesMin && size <= l.o.SegmentBytes*3/4
}

// activeRoom is how many of the largest frames the active segment has room for. Under mu.
func (l *Log) activeRoom() int64 {
	if l.active == nil {
		return 0
	}
	return l.active.rest(l.pos) / blockUp(int64(l.o.FrameBytesMax))
}

// exchangeSpares puts a spare, or none, in the place of all others, and returns those, unless something was appended meanwhile.
func (l *Log) exchangeSpares(small *segment) (gone []*segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slimmed = l.last == l.slimLast && (small != nil || l.activeRoom() >= l.need.Load())
	if l.slimmed {
		gone, l.ready = l.ready, nil
	}
	if small != nil {
		l.ready = append(l.ready, small)
	}
	l.countRoom()
	l.stats.SparesReady.Store(int64(len(l.ready)))
	return gone
}

// removeSpares removes spares that nobody can take into use any more.
func (l *Log) removeSpares(gone []*segment) error {
	for _, s := range gone {
		s.dropImage()
		if err := s.file.Close(); err != nil {
			return err
		}
		if err := l.fs.Remove(s.name()); err != nil {
			return err
		}
	}
	if len(gone) == 0 {
		return nil
	}
	l.keeper.kick() // unmaps the images
	return l.fs.SyncDir(l.dir)
}

// fatten ends the state without spares, with the first frame. Under mu.
func (l *Log) fatten() {
	l.slimmed = false
	l.keeper.kick()
}
