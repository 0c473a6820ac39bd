//go:build !linux

package main

import (
	"ayder/aof"
	"ayder/netpoll"
)

// submitter writes on threads: there is no ring outside Linux.
func submitter(l *netpoll.Loop) (aof.Submitter, error) { return poolSubmitter(l), nil }
