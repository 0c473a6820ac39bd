package main

import "time"

// Everything this program holds has a bound; a run which needs more is refused
// when its flags are read.
const (
	connectionsMax = 60_000 // below the usual range of local ports
	pipelineMax    = 4096   // requests outstanding on one connection
	bodyBytesMax   = 64 << 20
	nodesMax       = 16   // of a cluster
	templatesMax   = 4096 // preformatted requests of one operation

	recvBytes     = 256 << 10 // epoll: the buffer shared by all connections
	replyBytesMax = 64 << 20  // a larger answer is an error
	eventsMax     = 512       // epoll: connections handled per wait
	expectBytes   = 512       // of an answer's end that are searched for the expected text

	// io_uring: queue lengths, and the buffers that answers come in, all powers of
	// two. More buffers than connections usually have input at once; a lack of them
	// costs a new receive, nothing is lost.
	ringSubmissions = 1024
	ringCompletions = 8192
	ringBuffers     = 512
	ringBufferBytes = 32 << 10

	handshakeMax  = 5 * time.Second  // connecting and greeting
	drainMax      = 10 * time.Second // for answers still due when a phase ends
	setupMax      = 30 * time.Second // one call to create a topic or stream; a cluster without a leader
	electionStep  = 20 * time.Millisecond
	reconnectsMax = 1000 // per phase; a server that is gone ends the run

	// Latencies are kept in ns with three significant digits up to 100 s.
	latencyNsMax  = int64(100 * time.Second)
	latencyDigits = 3
)
