package raftlog

import (
	"github.com/hashicorp/raft"

	"ayder/internal/record"
)

// Forget makes of a frame that says who is in the cluster one that says nothing, of the same size: for a copy of the log that is to begin
// a life of its own. Other frames stay as they are.
func Forget(f *record.Frame) {
	if f.Kind == record.KindRaft && len(f.Payload) > 0 && raft.LogType(f.Payload[0]) != raft.LogNoop {
		clear(f.Payload)
		f.Payload[0] = byte(raft.LogNoop)
	}
}
