package main

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"ayder/aof"
	"ayder/api"
	"ayder/engine"
	"ayder/internal/backup"
	"ayder/internal/config"
	"ayder/internal/metrics"
	"ayder/internal/record"
	"ayder/netpoll"
	"ayder/raftlog"
)

// The store: engine and log, and the checkpoints that join them. Opening is newest checkpoint + tail of the log;
// a checkpoint is made when a segment is complete and at a clean stop. A failed checkpoint costs time
// at the next start and nothing else, so it is logged and not an error.

// store is the engine and its log: opened together, because the log's tail completes the state
// that the checkpoint holds.
type store struct {
	engine *engine.Engine
	log    *aof.Log
	logger *slog.Logger

	dir          string
	segmentBytes int64

	cluster *cluster          // nil: a single node
	replay  *raftlog.Recovery // what of the log is known to be committed; nil: a single node

	// checkpointer has every loop encode its part of the state; nil until there are loops. The log's
	// goroutine reads it.
	checkpointer atomic.Pointer[func(done func(payload []byte))]
	marked       atomic.Uint64 // index of the newest checkpoint
	writing      sync.Mutex    // one checkpoint after the other
	weight       atomic.Int64  // bytes of the newest checkpoint
	since        int64         // bytes of segments completed since sealed made one; the log's goroutine's
	closing      chan struct{} // closed when no loop will answer any more
	tasks        sync.WaitGroup
}

// openStore opens the store. A node of a cluster whose log is damaged puts aside what it must, at the worst everything, and
// gets it again from the others.
func openStore(c *config.Config, logger *slog.Logger) (*store, error) {
	st, err := openOnce(c, logger)
	for _, all := range []bool{false, true} {
		if c.HA == nil || !errors.Is(err, aof.ErrDamaged) {
			break
		}
		if err := raftlog.PutAside(aof.OS(), c.DataDir, c.HA.NodeID, err, all, logger); err != nil {
			return nil, err
		}
		st, err = openOnce(c, logger)
	}
	return st, err
}

func openOnce(c *config.Config, logger *slog.Logger) (*store, error) {
	began := time.Now()
	st := &store{logger: logger, dir: c.DataDir, segmentBytes: c.SegmentBytes, closing: make(chan struct{}), engine: engine.New(engine.Config{
		Shards: c.Loops, IdemWindowMs: uint64(c.IdempotencyWindow.Milliseconds()), IdemKeysMax: c.IdempotencyKeys,
		RocketBytesMax: c.RocketBytes, Memory: &blocks{},
	})}
	if err := st.prepare(c); err != nil {
		return nil, err
	}
	index, payload, err := aof.LoadCheckpoint(aof.OS(), c.DataDir, logger)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	if payload != nil {
		if err := st.engine.Restore(payload); err != nil {
			return nil, fmt.Errorf("checkpoint at index %d: %w", index, err)
		}
	}
	st.marked.Store(index)
	st.weight.Store(int64(len(payload)))
	o := aof.Options{
		Dir: c.DataDir, SegmentBytes: c.SegmentBytes, TailBytes: c.TailBytes, Logger: logger, ReplayAfter: index,
		WritersMax: c.Loops, InFlightMax: c.CommitsInFlight, FrameBytesMax: frameBytesMax(c), OnSealed: st.sealed,
	}
	replay := st.engine.ApplyReplay
	if c.HA != nil {
		st.replay = raftlog.NewRecovery(index, replay)
		replay = st.replay.Frame
		st.cluster = &cluster{concern: c.HA.WriteConcern, logger: logger}
		o.Committed, o.OnDamage = st.replay.Committed, st.replay.Damaged
	}
	st.log, err = aof.Open(o, replay)
	if err != nil {
		return nil, err
	}
	logger.Info("log opened", "checkpoint", index, "last_index", st.log.LastIndex(), "took", time.Since(began).Round(time.Millisecond))
	return st, nil
}

// prepare looks at what the directory was used for. A node of a cluster may have begun to replace its log.
func (st *store) prepare(c *config.Config) error {
	if backup.Unfinished(c.DataDir) {
		return fmt.Errorf("%s: a restore into it has not come to its end: empty it and restore again", c.DataDir)
	}
	if c.HA != nil {
		installed, err := raftlog.FinishInstall(c.DataDir)
		if installed {
			st.logger.Info("the log was replaced by the leader's", "dir", c.DataDir)
		}
		return err
	}
	member, err := raftlog.HasState(aof.OS(), c.DataDir)
	if err == nil && member {
		err = fmt.Errorf("%s belongs to a node of a cluster: its newest entries may not be committed; start it with RF_HA_ENABLED=1", c.DataDir)
	}
	return err
}

// frameBytesMax is the largest frame that the HTTP face may make: one request's body in records of
// its own, in a batch that held just less than it may take otherwise.
func frameBytesMax(c *config.Config) int { return api.FrameBytesMax(c.BodyBytesMax, c.HeadBytesMax) }

// openLog gives a loop its writer: on the loop's own ring where it has one, else on threads.
func (st *store) openLog(l *netpoll.Loop, wake func()) (api.Log, error) {
	if st.cluster != nil {
		return proposer{st.cluster.node.NewProposer(wake)}, nil
	}
	sub, err := submitter(l)
	if err != nil {
		return nil, err
	}
	return writer{st.log.NewWriter(sub, wake)}, nil
}

// newReader returns a reader of the log for one goroutine.
func (st *store) newReader() api.Reader { return reader{st.log.NewReader()} }

// sealed is called by the log when a segment is complete: the moment for a checkpoint, unless that is more than twice as large as
// what was written since the last one. So a store of ten million keys, 200 MB, does not write all of them for every 64 MiB,
// and a start after a crash replays half of what it loads, which takes about as long.
func (st *store) sealed(last uint64) {
	if st.since += st.segmentBytes; 2*st.since < st.weight.Load() {
		return
	}
	st.since = 0
	st.markSealed(last)
}

// markSealed makes a checkpoint at the end of a sealed segment, or, on a single node, behind it. Any goroutine.
func (st *store) markSealed(last uint64) {
	index := st.log.Durable() // read before the shards are asked: what they encode includes all of it
	if st.cluster != nil {
		if !st.cluster.node.AwaitApplied(last, st.closing) {
			return
		}
		index = last // so that the sealed segments and the checkpoint make a whole for a node that is far behind
	}
	st.mark(index)
}

// mark makes a checkpoint at index, which the loops have applied.
func (st *store) mark(index uint64) {
	checkpoint := st.checkpointer.Load()
	if checkpoint == nil {
		return
	}
	written := make(chan struct{})
	(*checkpoint)(func(payload []byte) {
		st.write(index, payload)
		close(written)
	})
	select {
	case <-written:
	case <-st.closing:
	case <-time.After(checkpointTimeout):
		st.logger.Warn("no checkpoint was made: the loops did not answer", "index", index)
	}
}

// write stores a checkpoint. A failure costs time at the next start, nothing else.
func (st *store) write(index uint64, payload []byte) {
	st.writing.Lock()
	defer st.writing.Unlock()
	if index <= st.marked.Load() {
		return
	}
	if err := st.log.WriteCheckpoint(index, payload); err != nil {
		st.logger.Warn("no checkpoint was made", "index", index, "error", err)
		return
	}
	st.marked.Store(index)
	st.weight.Store(int64(len(payload)))
	if st.cluster != nil {
		st.cluster.node.Checkpointed(index)
	}
}

// close makes a last checkpoint and closes the log. The loops have ended. A node of a cluster has made its checkpoint
// before (leave), because loops that have ended may have missed what was committed last.
func (st *store) close() error {
	close(st.closing)
	st.tasks.Wait()
	if st.log.Err() == nil && st.cluster == nil {
		captures := make([]*engine.Capture, st.engine.Config().Shards)
		for i := range captures {
			captures[i] = st.engine.Shard(i).Capture()
		}
		st.write(st.log.Durable(), engine.EncodeCaptures(captures))
	}
	return st.log.Close()
}

// leave ends this node's part in its cluster, while its loops still run.
func (st *store) leave(timeout time.Duration) {
	st.cluster.stop(timeout)
	st.mark(st.cluster.node.Applied())
}

func (st *store) observe(s *metrics.Sample) {
	s.Log = metrics.Log{
		LastIndex: st.log.LastIndex(), DurableIndex: st.log.Durable(), DiskBytes: uint64(st.log.DiskBytes()), Failed: st.log.Err() != nil,
	}
	s.Log.FreeBytes, s.Log.SizeBytes = diskSpace(st.dir)
	if _, bytes, err := aof.Aside(aof.OS(), st.dir); err == nil { // else what is known is less
		s.Log.AsideBytes = uint64(bytes)
	}
}

// writer and reader translate between the log's errors and those that the HTTP face knows.
type writer struct{ *aof.Writer }

// Admit is aof.Writer's.
func (w writer) Admit() error {
	err := w.Writer.Admit()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, aof.ErrNoSpace):
		return api.ErrNoSpace
	case errors.Is(err, aof.ErrBusy):
		return api.ErrBusy
	}
	return err
}

type reader struct{ *aof.Reader }

// Read is aof.Reader's.
func (r reader) Read(s record.Stream, offset, end uint64, block bool, visit func(record.Section) bool) (uint64, error) {
	next, err := r.Reader.Read(s, offset, end, block, visit)
	if errors.Is(err, aof.ErrCold) {
		return next, api.ErrCold
	}
	return next, err
}
