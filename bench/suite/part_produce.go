package main

import (
	"fmt"
	"strconv"
	"strings"

	"ayder/bench/result"
)

// The main comparison: one message per request, durable before the answer, against
// servers that promise the same. NATS goes last in every round: it leaves the disk
// the busiest.

// produceConnections are the loads that the targets name.
var produceConnections = []int{1, 64, 400}

var produceServers = []string{uring, evio, redis, floor, nats}

const diskLoad = "4 KiB write"

func connectionsLoad(n int) string { return strconv.Itoa(n) }

func runProduce(l *lab) error {
	if err := l.start(produceServers...); err != nil {
		return err
	}
	cells := []cell{{server: disk, load: diskLoad}}
	for _, n := range produceConnections {
		for _, server := range produceServers {
			cells = append(cells, cell{server, connectionsLoad(n), []string{"-c", strconv.Itoa(n)}})
		}
	}
	return l.interleave("produce", cells)
}

func reportProduce(l *lab, b *strings.Builder) {
	heading := []string{"requests/s at connections"}
	for _, n := range produceConnections {
		heading = append(heading, connectionsLoad(n), "p50", "p99", "CPU s/M (client)")
	}
	var rows [][]string
	for _, server := range produceServers {
		row := []string{server}
		for _, n := range produceConnections {
			row = append(row, produceColumns(l.find("produce", server, connectionsLoad(n)))...)
		}
		rows = append(rows, row)
	}
	table(b, heading, rows)
	reportDisk(l, b)
	l.errorsNote(b, "produce")
	targets(b, l.produceTargets())
}

// produceColumns are the four figures of a server under one load.
func produceColumns(s summary) []string {
	if s.rounds == 0 {
		return []string{missing, missing, missing, missing}
	}
	return []string{
		perSecond(s.requestsPerS), result.FormatMicros(s.latency.P50), result.FormatMicros(s.latency.P99),
		cpuText(s),
	}
}

// cpuText is processor time per million requests.
func cpuText(s summary) string {
	if s.followerCPU > 0 {
		return fmt.Sprintf("%.1f + %.1f (%.1f)", s.serverCPU, s.followerCPU, s.clientCPU)
	}
	return fmt.Sprintf("%.1f (%.1f)", s.serverCPU, s.clientCPU)
}

// reportDisk puts the yardstick below the table.
func reportDisk(l *lab, b *strings.Builder) {
	if s := l.find("produce", disk, diskLoad); s.rounds > 0 {
		fmt.Fprintf(b, "One synced 4 KiB write (O_DIRECT, RWF_DSYNC) into a file of zeros: p50 %s, p99 %s.\n\n",
			result.FormatMicros(s.latency.P50), result.FormatMicros(s.latency.P99))
	}
}

// produceRatios are the promises against each peer at 1, 64 and 400 connections; 0
// is no promise.
var produceRatios = []struct {
	peer string
	want [3]float64
}{
	{redis, [3]float64{1.3, 1.5, 1.2}},
	{nats, [3]float64{0, 5, 5}},
	{floor, [3]float64{0.8, 0.75, 0.7}},
}

// produceTargets compares the io_uring backend with the promises.
func (l *lab) produceTargets() []target {
	var list []target
	for _, r := range produceRatios {
		for i, n := range produceConnections {
			if r.want[i] == 0 {
				continue
			}
			ours, theirs := l.find("produce", uring, connectionsLoad(n)), l.find("produce", r.peer, connectionsLoad(n))
			list = append(list, target{
				text: fmt.Sprintf("requests/s ÷ %s, %d connections", r.peer, n), limit: r.want[i], unit: " ×", decimal: 2,
				value: ratio(ours.requestsPerS, theirs.requestsPerS),
			})
		}
	}
	one, write := l.find("produce", uring, connectionsLoad(1)), l.find("produce", disk, diskLoad)
	return append(list, target{
		text: "p50 at 1 connection ÷ one synced 4 KiB write", limit: 1.3, atMost: true, unit: " ×", decimal: 2,
		value: ratio(one.latency.P50, write.latency.P50),
	}, target{
		text: "server CPU per million, 64 connections", limit: 6, atMost: true, unit: " s", decimal: 1,
		value: l.find("produce", uring, connectionsLoad(64)).serverCPU,
	})
}
