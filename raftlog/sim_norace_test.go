//go:build !race

package raftlog

const simRace = false
