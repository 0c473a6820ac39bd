package main

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"ayder/aof"
	"ayder/api"
	"ayder/engine"
	"ayder/internal/config"
	"ayder/internal/metrics"
	"ayder/internal/record"
	"ayder/netpoll"
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

	segmentBytes int64

	// checkpointer has every loop encode its part of the state; nil until there are loops. The log's
	// goroutine reads it.
	checkpointer atomic.Pointer[func(done func(payload []byte))]
	marked       atomic.Uint64 // index of the newest checkpoint
	closing      chan struct{} // closed when no loop will answer any more
}

func openStore(c *config.Config, logger *slog.Logger) (*store, error) {
	began := time.Now()
	st := &store{logger: logger, segmentBytes: c.SegmentBytes, closing: make(chan struct{}), engine: engine.New(engine.Config{
		Shards: c.Loops, IdemWindowMs: uint64(c.IdempotencyWindow.Milliseconds()), IdemKeysMax: c.IdempotencyKeys,
	})}
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
	st.log, err = aof.Open(aof.Options{
		Dir: c.DataDir, SegmentBytes: c.SegmentBytes, TailBytes: c.TailBytes, Logger: logger, ReplayAfter: index,
		WritersMax: c.Loops, InFlightMax: c.CommitsInFlight, FrameBytesMax: frameBytesMax(c), OnSealed: st.sealed,
	}, st.engine.ApplyReplay)
	if err != nil {
		return nil, err
	}
	logger.Info("log opened", "checkpoint", index, "last_index", st.log.LastIndex(), "took", time.Since(began).Round(time.Millisecond))
	return st, nil
}

// frameBytesMax is the largest frame that the HTTP face may make: one request's body in records of
// its own, in a batch that held just less than it may take otherwise.
func frameBytesMax(c *config.Config) int { return api.FrameBytesMax(c.BodyBytesMax, c.HeadBytesMax) }

// openLog gives a loop its writer: on the loop's own ring where it has one, else on threads.
func (st *store) openLog(l *netpoll.Loop, wake func()) (api.Log, error) {
	sub, err := submitter(l)
	if err != nil {
		return nil, err
	}
	return writer{st.log.NewWriter(sub, wake)}, nil
}

// newReader returns a reader of the log for one goroutine.
func (st *store) newReader() api.Reader { return reader{st.log.NewReader()} }

// sealed is called by the log when a segment is complete: the moment for a checkpoint.
func (st *store) sealed(uint64) {
	checkpoint := st.checkpointer.Load()
	if checkpoint == nil {
		return
	}
	index := st.log.Durable() // read before the shards are asked: what they encode includes all of it
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
	if index <= st.marked.Load() {
		return
	}
	if err := st.log.WriteCheckpoint(index, payload); err != nil {
		st.logger.Warn("no checkpoint was made", "index", index, "error", err)
		return
	}
	st.marked.Store(index)
}

// close makes a last checkpoint and closes the log. The loops have ended.
func (st *store) close() error {
	close(st.closing)
	if st.log.Err() == nil {
		parts := make([][]byte, st.engine.Config().Shards)
		for i := range parts {
			parts[i] = st.engine.Shard(i).AppendCheckpoint(nil)
		}
		st.write(st.log.Durable(), engine.EncodeCheckpoint(parts))
	}
	return st.log.Close()
}

func (st *store) observe(s *metrics.Sample) {
	s.Log = metrics.Log{
		LastIndex: st.log.LastIndex(), DurableIndex: st.log.Durable(), DiskBytes: uint64(st.log.Stats().Segments.Load()) * uint64(st.segmentBytes), Failed: st.log.Err() != nil,
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
