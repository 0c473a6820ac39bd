package main

import (
	"ayder/aof"
	"ayder/netpoll"
)

// poolSubmitter writes on as many threads as commits may be in flight.
func poolSubmitter(l *netpoll.Loop) aof.Submitter { return aof.NewPoolSubmitter(writeThreads, l.Post) }

// writeThreads is how many blocking writes one loop may have under way without a ring.
const writeThreads = 4
