// Package api is the HTTP face of the broker.
//
// A request's way, all on one thread:
//
//	netpoll ── bytes ──> conn.data ── httpparse ──> exchange ── routes ──> handler
//	handler: engine.Shard encodes into the open batch; the answer is parked as a waiter
//	BeforeWait: the open batch goes to the Log          (one group commit per turn)
//	done: the batch is durable ── Apply ──> waiters are rendered into their connections
//	netpoll ── one send per connection
//
// A handler returns (reply, error). It never blocks: what needs the disk is done by a readers
// goroutine, what belongs to another loop's shard is forwarded there, and both answer later
// through a posted function. What cannot be done in this turn because no batch can be opened is
// held back as a clone and tried again after the next commit.
//
// In a cluster (cluster.go) the Log replicates. Batches are opened only in a term of this node's leadership (term.go),
// other nodes' frames come through ApplyCommitted (committed.go), requests that are not for this node are redirected or
// wait until it is certain to lead (leader.go), and a write may ask for less or more than a majority (concern.go).
//
// To add a call: one line in the table of routes.go, a handler, its errors in errors.go, and its
// description in docs/openapi.yaml (a test compares the two).
package api
