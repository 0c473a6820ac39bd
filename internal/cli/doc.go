// Package cli is the command line client: ayder topic, produce, consume, group, kv and health.
//
// It speaks plain HTTP to any server of a cluster, as curl would, and adds what is tedious by hand: it follows redirects
// to the leader with the token and the body, tries again where that is safe, batches lines, reads all partitions, and
// turns answers into exit codes. The commands are one table (commands), from which help is printed.
//
// The package reads neither the environment nor the process's arguments; both are given to Run by the program.
//
// # Trying again
//
// What has certainly not happened is tried again: a connection that was refused, an answer that says so (429, 503).
// What may have happened is tried again only where a second time changes nothing: reads, writes with an
// idempotency key (produce makes one for every batch), writes with a condition excepted.
//
// # Exit codes
//
//	0 done | 1 failed | 2 wrong usage | 4 there is no such thing (404, 410) | 5 conflict (409, 412) | 6 not allowed (401, 403)
//
// 3 is left to ayder check.
package cli
