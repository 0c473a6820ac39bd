package main

import (
	"errors"
	"time"

	"ayder/aof"
	"ayder/engine"
	"ayder/internal/record"
)

// Giving disk space back: the engine knows what is dead, the log where it lies. A goroutine has the log look every few seconds,
// and at once when floors moved or a topic went. The log touches only what both checkpoints cover; where that holds much back, a single node makes one
// (its loops write their part of the state, which is work: not often). A node of a cluster makes them at the ends of segments
// only, for they are what it gives to a node that is too far behind, and it keeps its newest segments as they are for nodes that lag a little.
//
// Of keys and values, what is alive is their present values: a list that is made of snapshots of the loops' trees, which takes a second for ten
// million keys, so it is not made at every pass. A node of a cluster uses such a list only when a checkpoint is behind it: a restarted follower
// begins with what the checkpoint says, and for a moment, until it has heard what is committed, that is what its readers see.
//
// A pass is slow on purpose, see aof.Reclaim, and what it could not do is done by one of the next.

const (
	reclaimLook       = time.Second      // between looks at what the engine has freed
	reclaimEvery      = 10 * time.Second // between passes without a reason
	reclaimCheckpoint = 20 * time.Second // between checkpoints made for the sake of space
	reclaimKeys       = 30 * time.Second // between lists of the keys' values
	reclaimKeysWait   = time.Minute      // for the loops' snapshots
	reclaimLagging    = 2                // segments that a cluster's node keeps for nodes that lag
)

// reclaimer is the goroutine's own.
type reclaimer struct {
	st     *store
	freed  uint64    // engine.Freed at the last pass
	passed time.Time // the end of the last pass
	marked time.Time // the last checkpoint for the sake of space
	failed string    // the error that was logged last

	snapshots func(done func([]engine.KVSnapshot))
	keys      *engine.KVAlive // nil: none is at hand
	keysAt    uint64          // index of the last frame that may be in keys
	keysEnd   uint64          // the ends of all buckets' streams when the last list was made, added up
	keysMade  time.Time
}

// startReclaiming starts the goroutine; close waits for its end.
func (st *store) startReclaiming(snapshots func(done func([]engine.KVSnapshot))) {
	st.tasks.Go(func() {
		r := &reclaimer{st: st, passed: time.Now(), snapshots: snapshots}
		ticker := time.NewTicker(reclaimLook)
		defer ticker.Stop()
		for {
			select {
			case <-st.closing:
				return
			case <-ticker.C:
				r.look()
			}
		}
	})
}

// look makes a pass if there is a reason for one.
func (r *reclaimer) look() {
	freed := r.st.engine.Freed()
	if (freed == r.freed && time.Since(r.passed) < reclaimEvery) || r.held() {
		return
	}
	r.freed = freed
	r.listKeys()
	waiting, err := r.pass()
	if err == nil && waiting >= max(r.st.segmentBytes/2, r.st.weight.Load()) && r.checkpoint() {
		_, err = r.pass()
	}
	r.passed = time.Now()
	if r.keysUsable() {
		r.keys = nil
	}
	r.report(err)
}

// listKeys makes a new list of the keys' values, if there is none at hand, something has happened since the last one and that is long enough ago.
func (r *reclaimer) listKeys() {
	if r.keys != nil || time.Since(r.keysMade) < reclaimKeys {
		return
	}
	taken := make(chan []engine.KVSnapshot, 1)
	r.snapshots(func(all []engine.KVSnapshot) { taken <- all })
	select {
	case all := <-taken:
		r.keysMade = time.Now()
		end := uint64(0)
		for i := range all {
			end += all[i].Next()
		}
		if end != r.keysEnd {
			r.keys, r.keysEnd, r.keysAt = engine.NewKVAlive(all), end, r.applied()
		}
	case <-r.st.closing:
	case <-time.After(reclaimKeysWait):
	}
}

// applied is an index behind which nothing has been applied yet.
func (r *reclaimer) applied() uint64 {
	if r.st.cluster != nil {
		return r.st.cluster.node.Applied()
	}
	return r.st.log.Durable()
}

// keysUsable tells whether the list may be used.
func (r *reclaimer) keysUsable() bool {
	return r.keys != nil && (r.st.cluster == nil || r.st.marked.Load() >= r.keysAt)
}

// pass has the log give back what it can; waiting is what a newer checkpoint would add.
func (r *reclaimer) pass() (waiting int64, err error) {
	o := aof.ReclaimOptions{Hold: r.held, Slim: r.st.cluster == nil}
	if r.st.cluster != nil {
		o.KeepBytes = reclaimLagging * r.st.segmentBytes
	}
	live := aliveNow{Floors: floorsOf(r.st.engine)}
	if r.keysUsable() {
		live.keys = r.keys
	}
	done, err := r.st.log.Reclaim(live, o)
	return done.Waiting, err
}

// held tells that files must stay as they are, because another node fetches them, or that it is the end.
func (r *reclaimer) held() bool {
	select {
	case <-r.st.closing:
		return true
	default:
		return r.st.cluster != nil && r.st.cluster.node.Offering()
	}
}

// checkpoint makes one if that is allowed and not too soon.
func (r *reclaimer) checkpoint() bool {
	if r.st.cluster != nil || time.Since(r.marked) < reclaimCheckpoint {
		return false
	}
	r.marked = time.Now()
	before := r.st.marked.Load()
	r.st.mark(r.st.log.Durable())
	return r.st.marked.Load() > before
}

// report logs an error, once for as long as it is the same.
func (r *reclaimer) report(err error) {
	text := ""
	if err != nil && !errors.Is(err, aof.ErrClosed) && !errors.Is(err, aof.ErrFailed) {
		text = err.Error()
	}
	if text != "" && text != r.failed {
		r.st.logger.Warn("disk space is not given back", "error", err)
	}
	r.failed = text
}

// aliveNow is what the engine still wants of the log.
type aliveNow struct {
	aof.Floors
	keys *engine.KVAlive // nil: all of them
}

// Count implements aof.Liveness.
func (a aliveNow) Count(s record.Stream, first, next uint64) uint64 {
	if a.keys != nil && engine.IsKVStream(s) {
		return a.keys.Count(s, first, next)
	}
	return a.Floors.Count(s, first, next)
}

// Alive implements aof.Liveness.
func (a aliveNow) Alive(dst []aof.Range, s record.Stream, first, next uint64) []aof.Range {
	if a.keys == nil || !engine.IsKVStream(s) {
		return a.Floors.Alive(dst, s, first, next)
	}
	a.keys.Each(s, first, next, func(first, next uint64) { dst = append(dst, aof.Range{First: first, Next: next}) })
	return dst
}

// floorsOf is what is alive of partitions. It reads atomics.
func floorsOf(e *engine.Engine) aof.Floors {
	return aof.Floors(func(s record.Stream) uint64 {
		floor, kept := e.FloorOf(s)
		if !kept {
			return aof.AllDead
		}
		return floor
	})
}
