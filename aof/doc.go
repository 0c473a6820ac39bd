// Package aof is the log: a directory of segments that batches are appended to in groups, made durable by one
// write each, recovered after a crash, and read back. It knows streams and offsets, not topics.
//
//	writer.go      a loop's access: Admit, Append, completion, Deliver
//	thread.go      the same for a replicated log: one goroutine appends, what waits shares a write
//	place.go       where each frame goes, and the durable prefix
//	truncate.go    cutting the end, as Raft's followers must; drop.go: removing old segments
//	segment.go     a file; image.go: its copy in memory; keeper.go: spares made ahead of need
//	index.go       stream → segment → section; sidecar.go and indexer.go: the same for sealed segments, on disk
//	reader.go      reading by offset, from memory or files; frames.go: by index
//	open.go        recovery, with survey.go, scan.go, recover.go; check.go and dump.go: looking without changing
//	checkpoint.go  the owner's state, so that recovery replays only the tail
//	fs.go          the seam to files; submit*.go: who does the durable writes
//
// docs/FORMAT.md draws every byte and numbers the steps of recovery.
//
// Ownership: a Writer and its batches belong to one loop, a Thread's Append to one goroutine at a time. Placement and the durable prefix are under Log.mu, held for
// a few dozen instructions. Files are made, named and retired by two goroutines of the log, the keeper and the indexer.
// Readers are anybody's.
//
// What is never done: no sync is tried twice, no acknowledged byte is written over except by the same byte
// (Truncate is asked for what nobody was told is committed), no frame is acknowledged before every frame with a lower index is durable.
package aof
