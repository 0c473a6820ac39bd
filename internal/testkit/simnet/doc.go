// Package simnet is a network in memory, for tests that run several nodes in one process on virtual time
// (testing/synctest).
//
// It offers what a node sees of TCP: listeners and connections with deadlines, bytes that arrive in order after a
// delay, writers that block behind a slow reader, dials that are refused by a live machine and go unanswered to a dead
// one. And what operators see of networks: partitions in one or both directions, processes that are killed or stopped,
// machines without power. Delays follow from the seed; the order in which goroutines run does not.
//
//	network.go  the machines, and who can reach whom
//	host.go     one life of one process: listen, dial, die
//	conn.go     one end of a connection
//	pipe.go     the bytes on their way in one direction
//
// Everything is guarded by one mutex that is never held while anything waits, because a goroutine that is blocked
// on a mutex keeps virtual time from moving. Waiting is done on condition variables.
package simnet
