package proc

import "time"

const (
	// HangGuard ends a test that would wait for ever. No test may pass or fail by how fast something
	// is, so it is far beyond anything that works.
	HangGuard = 120 * time.Second

	pollEvery      = 10 * time.Millisecond // between two looks at something that has no event
	logBytesMax    = 1 << 20               // what a server said last, kept for a failing test
	readerBytes    = 64 << 10              // of a client's connection
	headBytesMax   = 64 << 10              // an answer's head
	answerBytesMax = 64 << 20              // an answer's body
	portMin        = 10_000                // ports below the range that the kernel gives to outgoing
	portMax        = 32_000                // connections: one of thousands of clients may sit on any other
	portBlock      = 200                   // of them are given to a process at once
	umountTries    = 50
	dumpWait       = 10 * time.Second // for the end of a server that was asked for its goroutines
)
