package aof

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Giving space back. Floors move and topics go at once, as far as anybody can see; the bytes follow here, a segment at a time:
//
//	oldest segments in which nothing is alive    removed (drop.go)
//	segments of which a good part is dead        rewritten without it (rewrite.go), neighbours into one file
//	neighbours that became small                 put together, so that the number of files stays in proportion to what is alive
//
// A segment is left alone while a restart may need its frames: those at or behind the index of the older checkpoint. So space
// comes back only as checkpoints advance; Reclaimed.Waiting says how much a newer one would free. A replicated log
// leaves its newest segments alone besides (KeepBytes), because a rewritten frame is no entry that a peer could be sent.
//
// When is a segment rewritten? Writing live bytes again costs what it costs, so a file waits until a quarter of it is dead. Were all files
// just below that, the disk would hold 4/3 of what is alive. (With half, which costs a third of the writing when messages
// die at random, it would be twice as much.) Messages mostly die from the front, and then only one segment of each topic is ever in between.

// ReclaimOptions of one Reclaim.
type ReclaimOptions struct {
	// Before, if not 0, and all indexes behind it stay as they are.
	Before uint64
	// KeepBytes of the newest sealed segments stay as they are.
	KeepBytes int64
	// Slim gives up spares of a log that nothing was appended to since the last Reclaim, as far as there is room without them: a log of
	// single nodes' Writers, of which others decide how much it should occupy. The next frame brings them back.
	Slim bool
	// Hold is asked before every step; true ends the pass: somebody needs the files as they are. Nil: never.
	Hold func() bool
}

// Reclaimed is what a pass did.
type Reclaimed struct {
	Dropped   int   // segments removed from the front
	Rewritten int   // segments that went into new files
	Files     int   // new files
	Freed     int64 // bytes of disk
	Waiting   int64 // bytes, about, that could be freed if both checkpoints were behind the newest sealed segment
}

// candidate is a segment and what rewriting it would come to.
type candidate struct {
	s    *segment
	live int64 // bytes of frames that would stay, about
}

// gain is what rewriting frees, in bytes.
func (c *candidate) gain() int64 { return c.s.size - blockUp(BlockBytes+c.live) }

// Reclaim gives space back, as far as live lets it, and returns when nothing more is to be gained now. It is slow on purpose: mostly it
// rests. One at a time; any goroutine. A log that has failed, or is being closed, ends it with an error; damage that is
// met in a segment is logged, and that segment left as it is.
func (l *Log) Reclaim(live Liveness, o ReclaimOptions) (done Reclaimed, err error) {
	l.reclaiming.Lock()
	defer l.reclaiming.Unlock()
	began, before := time.Now(), l.DiskBytes()
	cs, waiting, err := l.candidates(live, &o)
	if err == nil {
		cs, err = l.dropDead(cs, &done)
	}
	for _, group := range worthwhile(cs, l.o.SegmentBytes) {
		if err != nil || (o.Hold != nil && o.Hold()) {
			break
		}
		err = l.rewrite(group, live, &done)
	}
	done.Freed, done.Waiting = before-l.DiskBytes(), waiting
	if err == nil && o.Slim {
		err = l.slim()
	}
	if done.Dropped+done.Rewritten > 0 {
		l.o.Logger.Info("space given back", "dir", l.dir, "bytes", done.Freed, "dropped", done.Dropped, "rewritten", done.Rewritten, "files", done.Files,
			"first", l.FirstIndex(), "took", time.Since(began).Round(time.Millisecond))
	}
	if diskFailed(err) {
		l.fail("give space back", err)
		err = l.Err()
	}
	if err != nil {
		return done, fmt.Errorf("aof: give space back: %w", err)
	}
	return done, nil
}

// candidates weighs the segments that may be touched, oldest first; waiting is what could be freed of sealed segments that may not, for want of a checkpoint.
func (l *Log) candidates(live Liveness, o *ReclaimOptions) (cs []candidate, waiting int64, err error) {
	limit, err := l.coveredBefore(math.MaxUint64)
	if err != nil {
		return nil, 0, err
	}
	if o.Before > 0 {
		limit = min(limit, o.Before)
	}
	if l.o.rewriteAll {
		limit = math.MaxUint64
	}
	segs, covered := l.settled(limit, o.KeepBytes)
	for i, s := range segs {
		if err := l.Err(); err != nil || l.stopping.Load() {
			return nil, 0, errors.Join(err, ErrClosed)
		}
		c := candidate{s, liveBytes(s, live)}
		switch {
		case i < covered:
			cs = append(cs, c)
		case c.live == 0 || c.gain() >= s.size/deadShare:
			waiting += c.gain()
		}
	}
	return cs, waiting, nil
}

// settled lists the sealed segments that have their sidecar, but for the newest ones of keep bytes; the first covered of them lie before limit.
func (l *Log) settled(limit uint64, keep int64) (segs []*segment, covered int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.segs)
	for n > 0 && (!l.segs[n-1].indexed || keep >= l.segs[n-1].size) {
		if n--; l.segs[n].indexed {
			keep -= l.segs[n].size
		}
	}
	segs = append(segs, l.segs[:n]...)
	for covered < n && segs[covered].last < limit {
		covered++
	}
	return segs, covered
}

// liveBytes is about what the frames of s would occupy without what is dead. What is not in sections (headers of frames, commands) is shared out among them.
func liveBytes(s *segment, live Liveness) int64 {
	all, alive := uint64(0), 0.0
	for _, r := range s.sortedRuns() {
		all += r.bytes
		n := live.Count(r.stream, r.first, r.next)
		alive += float64(r.bytes) * min(1, float64(n)/float64(r.messages))
	}
	if alive == 0 {
		return 0
	}
	return int64(alive * max(1, float64(s.end-BlockBytes)/float64(all)))
}

// dropDead removes the oldest segments if nothing in them is alive.
func (l *Log) dropDead(cs []candidate, done *Reclaimed) ([]candidate, error) {
	n := 0
	for n < len(cs) && cs[n].live == 0 {
		n++
	}
	if n == 0 {
		return cs, nil
	}
	done.Dropped = n
	return cs[n:], l.DropBefore(cs[n-1].s.last + 1)
}

// worthwhile groups neighbours that should become one file.
func worthwhile(cs []candidate, segmentBytes int64) (groups [][]candidate) {
	var group []candidate
	sum, wasteful := int64(0), false
	end := func() {
		if wasteful || len(group) >= smallFilesMax {
			groups = append(groups, group)
		}
		group, sum, wasteful = nil, 0, false
	}
	for _, c := range cs {
		waste := c.gain() >= max(c.s.size/deadShare, min(gainBytesMin, segmentBytes/8))
		if c.s.stuck || (!waste && c.s.size > segmentBytes/4) {
			end()
			continue
		}
		if sum+c.live > segmentBytes-BlockBytes {
			end()
		}
		group, sum, wasteful = append(group, c), sum+c.live, wasteful || waste
	}
	end()
	return groups
}

// Roll seals the active segment although it is not full: its owner wants a checkpoint at the end of a sealed one. What is left of
// it stays zero until it is rewritten. False: there is nothing in it, or not enough room behind it. Any goroutine.
func (l *Log) Roll() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure.Load() != nil || l.active == nil || l.active.last == 0 {
		return false
	}
	room := int64(0)
	for _, s := range l.ready {
		room += s.rest(BlockBytes) / blockUp(int64(l.o.FrameBytesMax))
	}
	if room < max(1, l.need.Load()) {
		return false
	}
	l.roll()
	l.pos = BlockBytes
	l.countRoom()
	l.indexer.kick()
	return true
}

// pacer makes background work rest several times as long as it works, so that disk and cores are left to others: half of 1 GiB written anew, at
// 50 MiB a second, raised the p99 of a producer's synced commits from 0.5 to 0.9 ms and left the median where it was; resting just as
// long it was 1.2 ms at twice the speed (BenchmarkCommitBesideReclaim).
type pacer struct {
	l     *Log
	began time.Time
}

// rest is called between two pieces of work. The error is the end of the log.
func (p *pacer) rest() error {
	if err := p.l.Err(); err != nil {
		return err
	}
	if p.l.stopping.Load() {
		return ErrClosed
	}
	if !p.l.o.manual {
		time.Sleep(min(restShare*time.Since(p.began), restMax))
	}
	p.began = time.Now()
	return nil
}
