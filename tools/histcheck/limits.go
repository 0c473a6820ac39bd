package main

import (
	"math"
	"time"
)

// Of the load.
const (
	topic         = "hist"
	group         = "hist"
	partitionsAll = 1024 // of the topic
	partitionOps  = 300  // operations on a partition before the next takes its place, unless the run is long
	activeMax     = 4    // partitions that are worked on at the same time
	oldReadEvery  = 16   // one read in so many goes to a partition whose time may be over
	percentAsync  = 4    // of the plain appends have concern=async,
	percentAll    = 4    // and so many concern=sync-all
	nodesMax      = 9
	rateMax       = 10_000 // operations a second

	valueBytesMin = 24
	valueBytesMax = 400
	pageLimit     = 50 // messages of one read; the final read takes whole pages
	readBackMax   = 12 // a read begins less than this before what is known to be there
	redirectsMax  = 4  // of one request

	kvKeysAll = 4096
	kvActive  = 4   // keys that are worked on at the same time
	kvKeyOps  = 150 // operations on a key before the next takes its place
	kvStream  = 2000

	clientStream = 1000 // random streams of the clients begin here; below are those of the plan
	finalStream  = 999

	forever = math.MaxInt64 // return time of an operation whose outcome nobody was told
)

// Of the plan.
const (
	warmUp   = 1 * time.Second // without faults at the beginning
	quietMin = 300 * time.Millisecond
	quietMax = 2500 * time.Millisecond
	holdMin  = 400 * time.Millisecond
	holdMax  = 4 * time.Second
)

// slowWrites are how many writes a second slow disks take.
var slowWrites = []int{5, 20, 100}

// Waits. None decides whether a run passes, but those that a cluster which works does not come near.
const (
	requestWait   = 2 * time.Second        // for one answer; after it the outcome is unknown
	operationWait = 6 * time.Second        // for tries with one idempotency key
	pauseRefused  = 20 * time.Millisecond  // before the next try after a refusal, half to one and a half
	shunFor       = 500 * time.Millisecond // a node that did not answer
	leaderWait    = 500 * time.Millisecond // for a node to tell whether it leads
	commitTimeout = "1000"                 // RF_COMMIT_TIMEOUT_MS of the servers, so that 504 is met
	settleWait    = 120 * time.Second      // for the cluster to be whole again at the end
	stopWait      = 60 * time.Second       // for a node that was asked to stop
	searchWait    = 60 * time.Second       // for porcupine, per history; a search cut off is no pass
	pollEvery     = 20 * time.Millisecond
	restartGap    = 200 * time.Millisecond // between killing all nodes and starting them again
	retryWait     = 5 * time.Second        // for the kernel to let go of what a process held
)

// Of what is told.
const (
	faultsMax    = 20   // faults told in full
	logTailBytes = 3000 // of a node's log, in a message
)
