package raftlog

import (
	"time"

	"ayder/internal/record"
)

// Limits of a node and of its transport. What a client sees of them is in the HTTP face's own; what the log allows is in
// package aof. Every queue has one here, and every wait: a full queue is an answer, and a wait that ends
// says what it waited for.

// Limits and defaults of a node.
const (
	backlogEntriesMax    = 4096                   // entries placed and not yet on this disk
	backlogAdmitMax      = 256                    // at which no more are proposed here
	cacheEntries         = 8192                   // newest entries kept in memory as raft uses them
	cacheBytes           = 32 << 20               // and their bytes
	loadedBytesKept      = 512 << 10              // memory of a batch that held another node's frame
	quietTime            = 100 * time.Microsecond // between entries, from which on a follower writes without handing over
	proposalsMax         = 16                     // batches of one loop between Append and Done
	entriesPerMessageMax = 64                     // entries in one AppendEntries; raft's queue of proposals is as long
	appendsInFlight      = 4                      // AppendEntries to one peer that were sent and not answered
	configurationsKept   = 64                     // committed configurations in raft.state
	reserveBytes         = 64 << 10               // of disk, kept for raft.state: several times its size

	heartbeatDefault     = 300 * time.Millisecond
	electionDefault      = 300 * time.Millisecond
	leaseDefault         = 200 * time.Millisecond
	commitTimeoutDefault = 5 * time.Millisecond
	priorityHoldDefault  = 10 * time.Second
	rankShare            = 4 // the next in rank waits a fourth of the election timeout longer

	rpcTimeout        = 2 * time.Second
	barrierPause      = 10 * time.Millisecond // between attempts
	barrierTimeout    = 5 * time.Second
	changeTimeout     = 5 * time.Second // a membership change waits as long for its turn
	transferTimeout   = 3 * time.Second
	transferPoll      = time.Millisecond      // between looks at who leads
	transferDrain     = time.Second           // proposals under way are waited for
	transferLagMax    = 1000                  // entries that a successor may lack
	candidacyStagger  = 60 * time.Millisecond // between candidates when a leader's process died
	offerWait         = time.Minute           // for a checkpoint that another node needs
	offerPoll         = 20 * time.Millisecond //
	fetchTries        = 20                    // faults that fetching one file survives
	fetchPause        = time.Second           // after one
	fetchTimeout      = 10 * time.Minute      // of one file, from where it stopped
	offerPause        = 30 * time.Second      // for which files stay as they are after one was fetched
	logRepeat         = 10 * time.Second      // the same line about the same node is not repeated within
	logLinesMax       = 1000                  // lines that are remembered for that
	scrubEvery        = 24 * time.Hour        // all sealed segments are read again
	scrubRest         = 9                     // times as long as reading one took, before the next
	appliedPoll       = 20 * time.Millisecond
	tendEvery         = 50 * time.Millisecond
	priorityTicks     = 10               // looks at priorities every half second
	spareTime         = 5 * time.Minute  // for which a node that gave leadership away is not given it back
	refusedHolds      = 6                // times the hold, before a better node is tried again that did not take over
	fullDiskRetry     = 30 * time.Second // between attempts to give it away for want of space
	diskHangsTransfer = 2 * time.Second  // leadership is given away
	diskHangsExit     = 10 * time.Second // the process ends
)

// Limits of the transport.
const (
	appendBytesMax     = 4 << 20                       // entries of one AppendEntries; a larger entry travels alone
	appendBodyMax      = record.FrameBytesMax + 64<<10 // body of an AppendEntries
	smallBodyMax       = 16 << 10                      // body of a hello, a vote, an answer
	installBodyMax     = 1 << 20                       // body of an InstallSnapshot: it carries a configuration
	chunkBytes         = 256 << 10                     // of a stream, in one message
	textBytesMax       = 1 << 10                       // a node's id, an address, a name, an error
	encodeBytesKept    = appendBytesMax + 1<<20        // an encode buffer that grew beyond it is not kept
	receiveBufferBytes = 64 << 10                      // read ahead of one connection
	answersMax         = 128                           // requests of one connection that were taken and not answered
	inboundMax         = 256                           // connections that others opened
	idlePerPeer        = 3                             // connections to one address kept for the next call
	bulkStreamsMax     = 4                             // bulk pulls served at a time
	peersKept          = 64                            // nodes remembered
	refusalsKept       = 64                            // refusals remembered, so that one is logged once
	refusalLogEvery    = 10 * time.Second              // the same one again
	beatTimeoutMax     = time.Second                   // an answer to a heartbeat or a vote: later it is of no use
	acceptRetryMin     = 5 * time.Millisecond          // after a failed accept; doubled each time
	acceptRetryMax     = time.Second                   //
	closeWait          = 5 * time.Second               // Close waits as long for answers that wait for the disk
	helloTimeoutMax    = 5 * time.Second               // handshakes of a connection, its TLS included
	rpcTimeoutDefault  = 10 * time.Second
	inFlightDefault    = 4
)
