//go:build ackearly

package raftlog

const ackEarly = true
