package main

import "time"

const (
	nodesMax     = 9
	pollEvery    = 250 * time.Millisecond // between two looks at who leads
	askTimeout   = 2 * time.Second        // one node's answer
	stopTimeout  = 30 * time.Second       // from SIGTERM to SIGKILL
	lastLines    = 12                     // shown of what a node that ended has said
	lastBytes    = 8 << 10                // read of its log for that
	metricsBytes = 1 << 20                // longest answer of /metrics_ha
	priorityStep = 10                     // between two nodes
)
