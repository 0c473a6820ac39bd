package main

import (
	"fmt"
	"strconv"
	"strings"

	"ayder/bench/result"
)

// The other closed-loop parts: produce without waiting, NDJSON batches, and pages.
// Each is a list of loads on one or both backends, beside what the targets compare
// them with.

var backends = []string{uring, evio}

const (
	healthLoad = "GET /health"
	asyncLoad  = "timeout_ms=0"
	pageLoad   = "pages"
)

func runAsync(l *lab) error {
	if err := l.start(backends...); err != nil {
		return err
	}
	var cells []cell
	for _, server := range backends {
		cells = append(
			cells,
			cell{server, healthLoad, []string{"-workload", "health"}},
			cell{server, asyncLoad, []string{"-query", "timeout_ms=0"}},
		)
	}
	return l.interleave("async", cells)
}

func reportAsync(l *lab, b *strings.Builder) {
	l.flowTable(b, "async", backends, []string{healthLoad, asyncLoad}, false)
	health, async := l.find("async", uring, healthLoad), l.find("async", uring, asyncLoad)
	targets(b, []target{{
		text: "timeout_ms=0 ÷ GET /health", limit: 0.7, unit: " ×", decimal: 2, value: ratio(async.requestsPerS, health.requestsPerS),
	}})
}

// ndjsonLines are the batch sizes.
var ndjsonLines = []int{10, 100, 1000}

func linesLoad(n int) string { return fmt.Sprintf("%d lines", n) }

func runNDJSON(l *lab) error {
	if err := l.start(backends...); err != nil {
		return err
	}
	var cells []cell
	for _, n := range ndjsonLines {
		for _, server := range backends {
			cells = append(cells, cell{server, linesLoad(n), []string{"-workload", "ndjson", "-c", "16", "-lines", strconv.Itoa(n)}})
		}
	}
	return l.interleave("ndjson", cells)
}

func reportNDJSON(l *lab, b *strings.Builder) {
	var loads []string
	for _, n := range ndjsonLines {
		loads = append(loads, linesLoad(n))
	}
	l.flowTable(b, "ndjson", backends, loads, true)
}

var pageServers = []string{uring, evio, netHTTP}

// pagePrefill is how many messages the pages are spread over.
const pagePrefill = 100_000

func runConsume(l *lab) error {
	if err := l.start(pageServers...); err != nil {
		return err
	}
	var cells []cell
	for _, server := range pageServers {
		cells = append(cells, cell{server, pageLoad, []string{"-workload", "consume", "-prefill", strconv.Itoa(pagePrefill)}})
	}
	return l.interleave("consume", cells)
}

func reportConsume(l *lab, b *strings.Builder) {
	l.flowTable(b, "consume", pageServers, []string{pageLoad}, true)
	ours, theirs := l.find("consume", uring, pageLoad), l.find("consume", netHTTP, pageLoad)
	targets(b, []target{{text: "pages/s ÷ nethttp", limit: 5, unit: " ×", decimal: 2, value: ratio(ours.requestsPerS, theirs.requestsPerS)}})
}

// flowTable has one row per server and load.
func (l *lab) flowTable(b *strings.Builder, partName string, servers, loads []string, messages bool) {
	heading := []string{"server", "load", "requests/s"}
	if messages {
		heading = append(heading, "messages/s")
	}
	heading = append(heading, "p50", "p99", "p99.9", "CPU s/M (client)", "RSS MiB")
	var rows [][]string
	for _, load := range loads {
		for _, server := range servers {
			if s := l.find(partName, server, load); s.rounds > 0 {
				rows = append(rows, flowRow(server, load, s, messages))
			}
		}
	}
	table(b, heading, rows)
	l.errorsNote(b, partName)
}

func flowRow(server, load string, s summary, messages bool) []string {
	row := []string{server, load, perSecond(s.requestsPerS)}
	if messages {
		row = append(row, perSecond(s.messagesPerS))
	}
	return append(
		row, result.FormatMicros(s.latency.P50), result.FormatMicros(s.latency.P99), result.FormatMicros(s.latency.P999),
		fmt.Sprintf("%.1f (%.1f)", s.serverCPU, s.clientCPU), fmt.Sprintf("%.0f", s.rssMiB),
	)
}
