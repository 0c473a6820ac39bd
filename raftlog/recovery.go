package raftlog

import (
	"bytes"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"ayder/internal/record"
)

// Recovery takes the frames that aof.Open shows and passes on those that are known to be committed. A frame says how
// far the commit had come when it was written, so the last few frames of a log are held back: they may be the end of
// a deposed leader's log and be cut later. Raft brings them again when they are committed.
//
// Frames that a single node wrote say the same of its durable prefix, so its directory is read like any other.
type Recovery struct {
	apply     func(record.Frame) error
	held      []record.Frame // not known to be committed; their payloads are copies
	last      uint64         // index of the last frame passed on, or where the state began
	known     atomic.Uint64  // Committed
	rotten    chan struct{}  // somebody met damage (heal.go)
	committed uint64
	configs   []foundConfiguration
}

// foundConfiguration is a configuration entry that was met.
type foundConfiguration struct {
	index         uint64
	configuration raft.Configuration
}

// NewRecovery passes committed frames behind index after to apply.
func NewRecovery(after uint64, apply func(record.Frame) error) *Recovery {
	r := &Recovery{apply: apply, last: after, committed: after, rotten: make(chan struct{}, 1)}
	r.known.Store(after)
	return r
}

// Frame is for aof.Open.
func (r *Recovery) Frame(f record.Frame) error {
	r.committed = max(r.committed, min(f.Staged, f.Index-1))
	f.Payload = bytes.Clone(f.Payload)
	r.held = append(r.held, f)
	n := 0
	for ; n < len(r.held) && r.held[n].Index <= r.committed; n++ {
		if err := r.pass(&r.held[n]); err != nil {
			return err
		}
	}
	r.held = append(r.held[:0], r.held[n:]...)
	return nil
}

func (r *Recovery) pass(f *record.Frame) error {
	if f.Kind == record.KindRaft && len(f.Payload) > 0 && raft.LogType(f.Payload[0]) == raft.LogConfiguration {
		r.configs = append(r.configs, foundConfiguration{f.Index, raft.DecodeConfiguration(f.Payload[1:])})
	}
	r.last = f.Index
	r.known.Store(f.Index)
	return r.apply(*f)
}

// Applied is the index up to which frames were passed on.
func (r *Recovery) Applied() uint64 { return r.last }

// Committed is for aof.Options: how far the commit has come, as every frame notes it. The node moves it on.
func (r *Recovery) Committed() uint64 { return r.known.Load() }
