//go:build !previouswire

package raftlog

const protocolMinor = minorEnd - 1
