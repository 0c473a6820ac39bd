package aof

import "sync/atomic"

// Stats are the log's counters. They are read while the log runs; each is exact, together they are not one moment.
type Stats struct {
	Commits       atomic.Uint64 // writes completed well
	AppendedBytes atomic.Uint64 // frames, padding to 8 bytes included
	PaddingBytes  atomic.Uint64 // left zero before frames that start in a new block or segment
	WrittenBytes  atomic.Uint64 // whole blocks handed to the disk
	Rolls         atomic.Uint64 // segments begun
	Refused       atomic.Uint64 // Admit answered ErrBusy or ErrNoSpace
	SparesReady   atomic.Int64
	Segments      atomic.Int64
	FramesRead    atomic.Uint64 // verified by cold readers
	ColdBytes     atomic.Uint64 // read from files by cold readers
}

// Stats gives the log's counters.
func (l *Log) Stats() *Stats { return &l.stats }

// ImageBytes is the memory, off the heap, that mirrors the newest segments and the spare.
func (l *Log) ImageBytes() int64 { return l.pool.mapped.Load() }
