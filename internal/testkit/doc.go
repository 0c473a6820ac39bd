// Package testkit holds what tests of several packages need in place of the real world.
//
// MemFS is a file system in memory that forgets what was not synced when it "crashes", tears writes at sectors, keeps
// any subset of what was in flight, and fails on demand. Submitter holds durable writes until the test lets them
// complete, in any order. With one seed and one order of calls everything happens the same way again.
package testkit
