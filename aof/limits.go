package aof

import "time"

// Units of the disk format. Changing one needs a new formatVersion.
const (
	BlockBytes    = 4096     // what one durable write is made of; the header of a segment is one block
	sparseBytes   = 64 << 10 // distance, in bytes of segment, of two index → position marks
	formatVersion = 1

	rewrittenVersion = 2 // of segments that were rewritten
)

// Defaults and bounds of Options.
const (
	SegmentBytesDefault = 64 << 20
	SegmentBytesMin     = 4 * BlockBytes
	SegmentBytesMax     = 1 << 30 // positions are 32 bits in the sidecars
	TailBytesDefault    = 256 << 20
	FrameBytesDefault   = 4 << 20
	WritersMaxDefault   = 16
	WritersMaxLimit     = 64 // one bit each in a word
	InFlightMaxDefault  = 8
	InFlightMaxLimit    = 1024
)

// Inner limits.
const (
	openBatchesMax   = 2               // batches that a writer may have open on the strength of one Admit
	threadOpenMax    = 8               // largest frames on their way to a Thread on the strength of one Room, if not told otherwise
	threadReserve    = 1               // room, in largest frames, that Room keeps for Raft's own entries
	groupBytesMax    = 1 << 20         // frames that a Thread merges into one write
	hintSlots        = 64              // frames of which the log remembers where the one behind begins
	keeperRetry      = time.Second     // between attempts to make a spare while the disk is full
	zeroChunkBytes   = 128 << 10       // one write of zeros into a spare: longer ones make commits wait behind them
	readAheadMin     = 64 << 10        // first read of a cold reader, bytes
	readAheadMax     = 1 << 20         // its reads while it goes on in sequence
	scanAheadBytes   = 1 << 20         // reads of recovery, Check and Dump
	searchSegments   = 8               // segment sizes of checksums that a search for frames may compute in vain
	entriesPerLock   = 32              // index entries a reader copies out at once
	entryChunkMin    = 8               // entries in a run's first chunk
	entryChunkMax    = 512             // entries in a run's later chunks: 8 KiB
	imagesKept       = 1               // images kept mapped for the next spare
	checkpointsKept  = 2               // checkpoint files kept
	checkpointMax    = 1 << 30         // bytes of a checkpoint's payload
	checkpointWrite  = 1 << 20         // bytes per write of a checkpoint
	sidecarHeadBytes = 16 << 10        // first read of a sidecar at Open: header and, mostly, the stream table
	closeWait        = 5 * time.Second // Close waits that long for writes in flight
	poolQueueLength  = InFlightMaxLimit
	deadShare        = 4                      // a segment is rewritten when one part of so many is dead
	smallFilesMax    = 4                      // neighbouring small segments: so many become one
	gainBytesMin     = 64 << 10               // that rewriting must free
	restShare        = 3                      // times as long as it works, rewriting rests
	restMax          = 100 * time.Millisecond // of one rest while segments are rewritten
	dumpValueBytes   = 64                     // of a value, in a dump
)
