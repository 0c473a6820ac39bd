//go:build !leaseblind

package raftlog

const leaseBlind = false
