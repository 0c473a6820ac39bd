package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Clusters of three, beside a single node: synced produce again, where a write is answered when a majority has it on
// disk. In every round each cluster is started anew, measured under all loads, and ended before the next one starts:
// leaders go on talking to their followers when nobody asks them for anything, and ten idle processes would be a
// load of their own on a small machine. So what is interleaved here is clusters and not single loads.

// clusterServers are in the order of a round: what is compared closest runs one after the other.
var clusterServers = []string{uring, threePlain, threeTLS, etcdThree, natsR3}

// Loads that only ayder knows, at 64 connections.
const (
	asyncConcern = "async"
	allConcern   = "sync-all"
	concernConns = 64
)

func runCluster(l *lab) error {
	var faults []error
	for round := range l.rounds {
		for _, server := range clusterServers {
			if err := l.clusterRound(server, round); err != nil {
				faults = append(faults, fmt.Errorf("round %d, %s: %w", round+1, server, err))
				fmt.Fprintln(l.log, "suite:", faults[len(faults)-1])
			}
			if l.ctx.Err() != nil {
				return errors.Join(faults...)
			}
		}
	}
	return errors.Join(faults...)
}

// clusterRound measures one server under all its loads, on fresh data.
func (l *lab) clusterRound(server string, round int) (err error) {
	err = l.start(server)
	dir := l.dirs[server]
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err != nil || !l.has(server) {
		return err
	}
	defer func() { err = errors.Join(err, l.stop(server)) }()
	for _, c := range clusterLoads(server) {
		if err := l.settle(dir); err != nil {
			return err
		}
		if err := l.once("cluster", c, round); err != nil {
			return err
		}
	}
	return nil
}

// clusterLoads are what a server is asked for. From a cluster of ours an answer must say that a majority has the
// message, or all have it.
func clusterLoads(server string) []cell {
	var cells []cell
	for _, n := range produceConnections {
		args := []string{"-c", strconv.Itoa(n)}
		if server == threePlain || server == threeTLS {
			args = append(args, "-expect", `"durable":true,"mode":"sealed","synced":true`)
		}
		cells = append(cells, cell{server, connectionsLoad(n), args})
	}
	if server == threePlain {
		conns := strconv.Itoa(concernConns)
		cells = append(
			cells,
			cell{server, asyncConcern, []string{"-c", conns, "-query", "concern=async"}},
			cell{server, allConcern, []string{"-c", conns, "-query", "concern=sync-all", "-expect", fmt.Sprintf(`"acked_nodes":%d`, clusterNodes)}},
		)
	}
	return cells
}

func reportCluster(l *lab, b *strings.Builder) {
	heading := []string{"requests/s at connections"}
	for _, n := range produceConnections {
		heading = append(heading, connectionsLoad(n), "p50", "p99", "CPU s/M leader + follower (client)")
	}
	var rows [][]string
	for _, server := range clusterServers {
		row := []string{server}
		for _, n := range produceConnections {
			row = append(row, produceColumns(l.find("cluster", server, connectionsLoad(n)))...)
		}
		rows = append(rows, row)
	}
	table(b, heading, rows)
	l.concernTable(b)
	l.errorsNote(b, "cluster")
	targets(b, l.clusterTargets())
}

// concernTable compares what a write may wait for.
func (l *lab) concernTable(b *strings.Builder) {
	var rows [][]string
	for _, c := range []struct{ load, about string }{
		{asyncConcern, "async: the leader's disk"},
		{connectionsLoad(concernConns), "sync-majority: two disks of three"},
		{allConcern, "sync-all: every disk"},
	} {
		if s := l.find("cluster", threePlain, c.load); s.rounds > 0 {
			rows = append(rows, append([]string{c.about}, produceColumns(s)...))
		}
	}
	table(b, []string{fmt.Sprintf("%s, %d connections", threePlain, concernConns), "requests/s", "p50", "p99", "CPU s/M leader + follower (client)"}, rows)
}

// clusterRatios are the promises against other clusters at 1, 64 and 400 connections; 0 is no promise.
var clusterRatios = []struct {
	peer string
	want [3]float64
}{
	{natsR3, [3]float64{2, 2, 2}},
	{etcdThree, [3]float64{0, 4, 4}},
}

// clusterTargets compares the plain cluster with the promises.
func (l *lab) clusterTargets() []target {
	var list []target
	for _, r := range clusterRatios {
		for i, n := range produceConnections {
			if r.want[i] == 0 {
				continue
			}
			ours, theirs := l.find("cluster", threePlain, connectionsLoad(n)), l.find("cluster", r.peer, connectionsLoad(n))
			list = append(list, target{
				text: fmt.Sprintf("requests/s ÷ %s, %d connections", r.peer, n), limit: r.want[i], unit: " ×", decimal: 2,
				value: ratio(ours.requestsPerS, theirs.requestsPerS),
			})
		}
	}
	p50 := func(server string) float64 { return l.find("cluster", server, connectionsLoad(1)).latency.P50 }
	return append(list, target{
		text: "p50 at 1 connection ÷ single node's", limit: 3, atMost: true, unit: " ×", decimal: 2, value: ratio(p50(threePlain), p50(uring)),
	}, target{
		text: "p50 at 1 connection ÷ " + natsR3 + "'s", limit: 1, atMost: true, unit: " ×", decimal: 2, value: ratio(p50(threePlain), p50(natsR3)),
	})
}
