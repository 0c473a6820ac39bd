// Package metrics renders the Prometheus text of GET /metrics.
//
// # Who counts, who reads
//
// Every loop has a [Counters] and a [CommitStats] of its own: it alone writes them, with
// uncontended atomic additions, and any scraper may read them at any time. Latency histograms are
// not atomics but belong to their loop (package timing), so a scrape first posts to the loops for
// copies of those, and of what else only they know (partitions, queues). The HTTP face puts
// everything into one [Sample] and gives it to [Exposition.Render].
//
//	loop 0:  Counters, CommitStats ---atomics---------------+
//	loop 1:  Counters, CommitStats ---atomics---------------+--> Sample --> Render --> text
//	each:    timing.Snapshot, partitions ---posted copy-----+
//
// Rejected: client_golang's own counters and histograms on the hot path. They are shared by all
// threads, and a labelled one costs a hash and a lock per request. They are used where they are at
// home: the registry checks names, types and duplicates, the encoder writes the format, the
// standard collectors report runtime and process.
//
// Rendering takes milliseconds and allocates: it must run on a goroutine, never on a loop.
//
// # Names
//
// All names start with ayder_; units are seconds and bytes; counters end in _total. Only what the
// operator names (topics) and a fixed set (routes, statuses, stages, queues) become labels, and the
// series per partition end at PartitionsMax, with ayder_partitions_omitted telling how many are
// missing.
package metrics
