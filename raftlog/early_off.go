//go:build !ackearly

package raftlog

const ackEarly = false
