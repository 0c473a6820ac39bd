package raftlog

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"

	"ayder/internal/record"
)

// Where raft delivers committed entries, on one goroutine, in batches. Gate R3 is here: an entry goes on only when a
// majority of disks is known to hold it (on a follower: its own), because raft counts the leader's copy before it is synced.
//
// A command becomes a Committed: with the batch that this node proposed it in, if the proposal is still waited for, else with
// the frame alone. Configurations are remembered in raft.state. Raft's own entries (no-op, barrier) do not come here.

// fsm implements raft.BatchingFSM.
type fsm struct{ node *Node }

// Committed is one committed frame on its way to the engine. Its memory stays valid.
type Committed struct {
	Frame record.Frame
	// Own is the batch that this node proposed, nil for other frames. The receiver calls its Done on its loop.
	Own *record.Batch
}

// ApplyBatch implements raft.BatchingFSM.
func (f *fsm) ApplyBatch(logs []*raft.Log) []any {
	results := make([]any, len(logs))
	for rest := logs; len(rest) > 0; {
		n := f.ready(rest)
		if n == 0 {
			return results // the node is stopping
		}
		f.deliver(rest[:n])
		rest = rest[n:]
	}
	return results
}

// ready waits until the first entry may be shown, and returns how many may.
func (f *fsm) ready(logs []*raft.Log) int {
	if f.node.o.unsafe.noR3 {
		return len(logs)
	}
	if !f.node.transport.waitSafe(logs[0].Index) {
		return 0
	}
	safe, n := f.node.transport.safe(), 1
	for n < len(logs) && logs[n].Index <= safe {
		n++
	}
	return n
}

func (f *fsm) deliver(logs []*raft.Log) {
	n := f.node
	frames := make([]Committed, 0, len(logs))
	for _, l := range logs {
		switch l.Type {
		case raft.LogCommand:
			if ackEarly && n.early.took(l) {
				continue
			}
			frames = append(frames, committed(l, n.proposals.commit(l.Index)))
		case raft.LogConfiguration:
			if err := n.stable.configured(l.Index, raft.DecodeConfiguration(l.Data)); err != nil {
				n.fatal(err)
			}
		}
	}
	if len(frames) > 0 {
		n.o.Apply(frames)
	}
	last := logs[len(logs)-1].Index
	n.applied.Store(last)
	n.o.Recovery.known.Store(last)
}

func committed(l *raft.Log, own *record.Batch) Committed {
	if own != nil {
		return Committed{own.Frame(), own}
	}
	h, err := record.ReadHeader(l.Data)
	if err != nil {
		panic(fmt.Sprintf("bug: committed entry %d is not a frame: %v", l.Index, err))
	}
	h.Index, h.Term = l.Index, l.Term
	return Committed{Frame: record.Frame{Header: h, Payload: l.Data[record.FrameHeaderBytes:]}}
}

// appliedOf is how much of what is committed up to index was given to Apply: index itself if all that is missing are raft's
// own entries, which never come here.
func (n *Node) appliedOf(index uint64) uint64 {
	applied := n.Applied()
	for i := index; i > applied; i-- {
		var l raft.Log
		if err := n.store.GetLog(i, &l); err != nil || l.Type == raft.LogCommand || l.Type == raft.LogConfiguration {
			return applied
		}
	}
	return max(index, applied)
}

// AwaitApplied waits until everything up to index was given to Apply; false: stop was closed or the node stops.
func (n *Node) AwaitApplied(index uint64, stop <-chan struct{}) bool {
	for n.appliedOf(min(index, n.raft.CommitIndex())) < index {
		select {
		case <-stop:
			return false
		case <-n.stop:
			return false
		case <-time.After(appliedPoll):
		}
	}
	return true
}

// Apply implements raft.FSM; raft calls ApplyBatch instead.
func (f *fsm) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// Snapshot implements raft.FSM. Checkpoints are the program's own.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	return nil, errors.New("raftlog: checkpoints are not taken through raft")
}

// Restore implements raft.FSM. A snapshot is installed by starting over, so raft never comes here.
func (f *fsm) Restore(r io.ReadCloser) error {
	return errors.Join(errors.New("raftlog: a snapshot is not restored into a running node"), r.Close())
}
