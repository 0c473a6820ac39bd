package main

import "strings"

// part is one chapter of the report. A part starts what it needs and leaves its figures in the lab; what is still
// running afterwards is ended for it. Its report is made later, from those figures alone, so that it is
// the same for a part that failed half way: what is missing is missing there.
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
		{"live", "Live reads", liveAbout, runLive, reportLive},
		{"query", "Queries", queryAbout, runQuery, reportQuery},
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
		{
			"cluster", "Clusters of three",
			"Three processes of each on this one machine and disk, 64-byte messages, one per request, sent to the leader, answered when a majority has " +
				"them on disk; every connection has one request outstanding. `" + natsR3 + "` is a JetStream stream with three replicas and `sync_interval: always`; `" +
				etcdThree + "` is gRPC puts by etcd's own client. Each round starts every cluster with fresh data, one at a time; medians. CPU is seconds of the leader and of a " +
				"follower (the mean of both) per million requests, of the client in brackets. The single node is measured in the same rounds.",
			runCluster, reportCluster,
		},
		{
			"leader", "A leader at a fixed rate",
			"Open loop, 5000 requests/s by the clock at the leader of three, 64 connections, 64-byte messages, answered when a majority has them on disk.",
			runLeader, reportLeader,
		},
		{
			"failover", "The leader is killed",
			"Eight clients write without pause, follow redirects and try the next node; the leader's process gets SIGKILL, and comes back when writes go on. In the end " +
				"every node is asked for everything that was acknowledged.",
			runFailover, reportFailover,
		},
		{
			"rejoin", "Nodes come back",
			"SIGKILL, and a start on the same data: of a follower that misses messages meanwhile, then of all three nodes at once.",
			runRejoin, reportRejoin,
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
