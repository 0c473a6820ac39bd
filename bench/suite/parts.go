package main

import "strings"

// part is one chapter of the report.
type part struct {
	name   string
	title  string
	about  string // what was done, in the report's words
	run    func(l *lab) error
	report func(l *lab, b *strings.Builder)
}

// parts lists all of them in the report's order.
func parts() []part {
	return []part{
		{
			"produce", "Synced produce",
			"64-byte messages, one per request, answered after they are synced; every connection has one request outstanding. " +
				"Median of the rounds, servers interleaved. CPU is seconds of the server per million requests, of the client in brackets.",
			runProduce, reportProduce,
		},
		{
			"async", "Produce without waiting",
			"`timeout_ms=0` answers before the sync; `GET /health` is what the same loop can do at most. 64 connections.",
			runAsync, reportAsync,
		},
		{
			"open", "Latency at a fixed rate",
			"Open loop: requests are scheduled by the clock whatever the server does, on 64 connections, and latency counts from the scheduled moment " +
				"(no coordinated omission). 64-byte messages, synced. A server whose queue grows for the whole run cannot keep the rate.",
			runOpen, reportOpen,
		},
		{
			"ndjson", "NDJSON",
			"Lines of 64 bytes, one request = one atomic batch, synced; 16 connections.",
			runNDJSON, reportNDJSON,
		},
		{
			"consume", "Consume",
			"Pages of 100 messages of 64 bytes, values in base64, 64 connections, 64 different pages. `nethttp` is the same page served from memory " +
				"by net/http and encoding/json.",
			runConsume, reportConsume,
		},
		{
			"idle", "Idle server",
			"Processor time of a server with nothing to do, over ten seconds, fresh and with 64 idle connections after a load.",
			runIdle, reportIdle,
		},
		{
			"restart", "Restart",
			"A log of 64-byte messages in 8 partitions; SIGKILL, start, time until `GET /ready` says so. Then every message is read.",
			runRestart, reportRestart,
		},
	}
}

// findPart looks a part up by name.
func findPart(name string) (part, bool) {
	for _, p := range parts() {
		if p.name == name {
			return p, true
		}
	}
	return part{}, false
}

func partNames() []string {
	var names []string
	for _, p := range parts() {
		names = append(names, p.name)
	}
	return names
}
