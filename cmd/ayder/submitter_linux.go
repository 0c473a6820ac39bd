package main

import (
	"ayder/aof"
	"ayder/netpoll"
)

// submitter puts a loop's commits on its own ring: no thread is woken on the way to the disk.
func submitter(l *netpoll.Loop) (aof.Submitter, error) {
	if l.Ring() == nil {
		return poolSubmitter(l), nil
	}
	return aof.NewRingSubmitter(l.Ring()), nil
}
