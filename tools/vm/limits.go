package main

import "time"

const (
	diskBytes       = 1 << 30 // of the guest's file system; the file is sparse
	memoryMiB       = 1024    // of the guest
	processors      = 2       // of the guest
	powerAcked      = 600     // messages that the host has seen acknowledged before it takes the power away
	patience        = 30 * time.Minute
	cpioBufferBytes = 1 << 20
	consoleBytesMax = 1 << 20 // of one line of the guest's console
)
