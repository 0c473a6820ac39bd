package main

import (
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The garbage that may pile up is bounded in bytes, not in percent of what lives. A broker's heap is small, and with 400
// percent the collector hardly ever runs; ten million keys are half a gigabyte, nearly without pointers, and four times
// that in garbage would be the greater part of the process. So the percentage falls as the live heap grows.

const (
	heapSpareBytes = 256 << 20 // garbage at most
	heapPercentMin = 25        // of the live heap, all the same
	heapLookEvery  = time.Second
)

// paceCollector adapts the collector's percentage to the live heap, at most to percent, for as long as the process lives.
func paceCollector(percent int) {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	inForce := percent
	for range time.Tick(heapLookEvery) {
		metrics.Read(live)
		want := heapPercent(live[0].Value.Uint64(), percent)
		if d := want - inForce; d > inForce/8 || -d > inForce/8 { // setting it stops the world for a moment
			debug.SetGCPercent(want)
			inForce = want
		}
	}
}

// heapPercent is the percentage for a live heap of so many bytes.
func heapPercent(live uint64, most int) int {
	n := uint64(heapSpareBytes) * 100 / max(live, 1)
	return min(max(int(min(n, 1<<30)), heapPercentMin), most)
}
