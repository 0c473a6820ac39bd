package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	"ayder/bench/result"
)

// How soon those who wait have a message: a thousand followers, and one long-poll. The load is not ayder-bench's, whose
// loop is made for requests and their answers, but bench/live's. Every percentile of every run is kept as a fact; the report
// has their medians.

const (
	liveFollowers = 1000
	liveAbout     = "One producer, 1000 messages/s by the clock, 64 bytes, synced, and 1000 followers of the one partition over server-sent events: from the " +
		"moment a message was due until each has it, and until the producer has its answer. The client's one thread that reads all streams and the server " +
		"share the machine. Below, one message at a time: from sending it until its producer has the answer, and until a consumer has it that waits with " +
		"`wait_ms`. Medians of the rounds; every follower got every offset once and in order."
)

var (
	liveLoads = []string{"load", "delivery", "produce", "wake-up"}
	liveTexts = map[string]string{
		"load": "produce, with 1000 followers", "delivery": "delivery to 1000 followers", "produce": "produce, alone", "wake-up": "wake-up of a long-poll",
	}
)

func runLive(l *lab) error {
	if l.live == "" {
		fmt.Fprintln(l.log, "no -live program: left out")
		return nil
	}
	for range l.rounds {
		for _, server := range backends {
			if err := l.start(server); err != nil {
				return err
			}
			if err := l.follow(server); err != nil {
				return err
			}
			if err := l.stop(server); err != nil {
				return err
			}
		}
	}
	return nil
}

// follow measures one server once.
func (l *lab) follow(server string) error {
	addr, seconds := l.servers[server].Addr, strconv.Itoa(max(int(l.duration.Seconds()), 1))
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(l.ctx, l.live, "-addr", addr, "-followers", strconv.Itoa(liveFollowers), "-seconds", seconds, "-json")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("live: %w: %s", err, stderr.Bytes())
	}
	got := map[string]result.Percentiles{}
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
		return fmt.Errorf("live: %w", err)
	}
	for _, load := range liveLoads {
		p := got[load]
		for i, v := range p.Row() {
			l.fact(liveFact(load, server, result.Columns[i]), v)
		}
		fmt.Fprintf(l.log, "%-12s %-9s p50 %.0f µs, p99 %.0f µs\n", server, load, p.P50, p.P99)
	}
	return nil
}

func liveFact(load, server, column string) string {
	return "live " + load + " " + server + " " + column
}

func reportLive(l *lab, b *strings.Builder) {
	var rows [][]string
	for _, server := range backends {
		for _, load := range liveLoads {
			if len(l.facts[liveFact(load, server, "p50")]) == 0 {
				continue
			}
			row := []string{server, liveTexts[load]}
			for _, column := range []string{"p50", "p90", "p99", "p99.9", "max"} {
				row = append(row, fmt.Sprintf("%.2f", l.median(liveFact(load, server, column))/1e3))
			}
			rows = append(rows, row)
		}
	}
	table(b, []string{"server", "ms", "p50", "p90", "p99", "p99.9", "max"}, rows)
}
