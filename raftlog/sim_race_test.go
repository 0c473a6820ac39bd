//go:build race

package raftlog

// simRace: the race detector makes a simulation ten to fifty times slower; one short run is what it gets.
const simRace = true
