// Package raftlog replicates the log with hashicorp/raft. One Raft group per cluster, one entry per group commit,
// and no second log: an entry is a frame of package aof, with the same index and term, written once per node.
//
//	node.go       a member of the cluster: start, stop, leadership
//	proposer.go   a loop's way in: batches become entries
//	store.go      raft.LogStore over the log; stable.go: term, vote and configuration
//	fsm.go        committed entries on their way to the engine
//	transport.go  entries, votes and heartbeats between nodes, with the gates that make a parallel sync safe
//
// The four gates (R1 to R4) are described in node.go. What is never done: no entry is acknowledged, applied or shown before
// it is on the disks of a majority; no node reads its own clock for anything that becomes state.
package raftlog
