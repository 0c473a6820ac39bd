// Package timing answers "where did the time of this request go?", for one request in its
// Server-Timing field and for all of them in per-route, per-stage latency histograms.
//
// Every loop has a [Recorder] of its own. The loop's thread records into it with no lock, no atomic
// and, once a route has been seen, no allocation. Nobody else may touch it: a scrape posts a
// function to each loop, the function calls [Recorder.Snapshot] there and hands the copy out;
// [Merge] then adds the copies on the scraper's own goroutine. Rejected: one shared histogram of
// atomics (a cache line bouncing between cores on every request) and a double buffer swapped on
// scrape (the same copy, with a protocol to get wrong).
//
// # The stages of a request
//
//	first byte     complete     handler      reply ready        durable      reply queued
//	    |--recv_parse--|--queue----|--server------|--commit---------|--server----|
//	    |--total-------------------------------------------------------------------|
//
// Server is the handler's own work: appending before the commit and rendering the reply after it. A
// request that waits for no commit records none, so the counts of two stages of one route may
// differ.
//
// # Precision and memory
//
// The histograms are HdrHistograms over 0 … 60 s in steps of 64 ns, with two significant digits
// above that: every reported percentile is within 1 % of a value that was really measured. One
// takes 24 KiB; three digits would take 180 KiB, times stages, routes and loops, to tell 1.00 ms
// from 1.001 ms. They are made when their route and stage is first recorded, so a server that is
// only produced to pays for one route. The longest time and the sum are kept exactly, beside the
// histogram.
package timing
