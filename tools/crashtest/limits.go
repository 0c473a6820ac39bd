package main

import "time"

const (
	partitions     = 4
	loadMin        = 30 * time.Millisecond // shortest time between the first produce and the blow
	burstMax       = 8                     // requests that a connection sends before it reads the answers
	linesMax       = 20                    // messages in one NDJSON request
	smallBytes     = 200                   // most payloads are shorter,
	mediumBytes    = 8 << 10               // one in mediumEvery may be up to this
	mediumEvery    = 64
	largeBytes     = 100 << 10 // and one in largeEvery up to this, longer than any buffer of a connection
	largeEvery     = 2000
	ndjsonEvery    = 4 // one request in so many is NDJSON
	repeatEvery    = 8 // with keys, one request in so many is sent twice in a row
	faultsMax      = 20
	fullAuditEvery = 5       // rounds
	diskBytes      = 3 << 30 // of the file system in mode fs; the file is sparse
	replyWait      = 60 * time.Second
)
