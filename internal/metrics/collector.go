package metrics

// The metrics themselves: one table, a row per family. A collector holds one Sample and turns it
// into constant metrics; it is made for a scrape and dropped after it. To add a metric, add a row: the
// tests render every row and let promlint judge its name.

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"ayder/internal/timing"
)

// family is one metric family: its description, and how its series are read from a sample.
type family struct {
	desc    *prometheus.Desc
	collect func(d *prometheus.Desc, s *Sample, ch chan<- prometheus.Metric)
}

// families lists every ayder_ metric but ayder_build_info, which needs no sample.
var families = []family{
	gauge("ready", "Whether the server is ready to serve (1) or not (0).",
		func(s *Sample) float64 { return flag(s.Ready) }),
	labelled("backend_info", "How sockets are served and why; always 1.", collectBackend, "backend", "reason"),

	labelled("http_requests_total", "Answers by route and status.", collectRequests, "route", "status"),
	labelled("http_stage_duration_seconds", "Time that requests spent in each stage of their life.", collectStages, "route", "stage"),
	counter("http_received_bytes_total", "Bytes received from clients.",
		func(s *Sample) float64 { return float64(s.Network.BytesReceived) }),
	counter("http_sent_bytes_total", "Bytes sent to clients.",
		func(s *Sample) float64 { return float64(s.Network.BytesSent) }),
	gauge("http_connections", "Open connections.",
		func(s *Sample) float64 { return float64(s.Network.Conns) }),
	counter("http_connections_accepted_total", "Connections accepted.",
		func(s *Sample) float64 { return float64(s.Network.ConnsAccepted) }),
	counter("http_connections_refused_total", "Connections refused because of the limit.",
		func(s *Sample) float64 { return float64(s.Network.ConnsRefused) }),
	counter("auth_failures_total", "Requests without the token or the role that they need.",
		sum(func(c *Counters) uint64 { return c.AuthFailures.Load() })),
	counter("rate_limited_total", "Requests refused because their token's limits were used up.",
		sum(func(c *Counters) uint64 { return c.RateLimited.Load() })),

	counter("messages_appended_total", "Messages accepted.",
		sum(func(c *Counters) uint64 { return c.MessagesAppended.Load() })),
	counter("appended_bytes_total", "Bytes of values and keys accepted.",
		sum(func(c *Counters) uint64 { return c.BytesAppended.Load() })),
	counter("messages_consumed_total", "Messages handed to consumers.",
		sum(func(c *Counters) uint64 { return c.MessagesConsumed.Load() })),
	counter("consumed_bytes_total", "Bytes of values and keys handed to consumers.",
		sum(func(c *Counters) uint64 { return c.BytesConsumed.Load() })),
	counter("duplicates_total", "Produces answered from the idempotency window.",
		sum(func(c *Counters) uint64 { return c.Duplicates.Load() })),
	counter("forwarded_total", "Requests handed to the loop that owns their partition.",
		sum(func(c *Counters) uint64 { return c.ForwardedOut.Load() })),
	counter("group_members_expired_total", "Members of groups that were taken out because they were not heard of.",
		sum(func(c *Counters) uint64 { return c.MembersExpired.Load() })),

	counter("commits_total", "Batches made durable.",
		sumCommits(func(c *CommitStats) uint64 { return c.Commits.Load() })),
	counter("commit_failures_total", "Batches that could not be made durable, or of which nobody knows whether they were.",
		sumCommits(func(c *CommitStats) uint64 { return c.Failures.Load() })),
	counter("commit_timeouts_total", "Requests that gave up waiting for their commit.",
		sum(func(c *Counters) uint64 { return c.CommitTimeouts.Load() })),
	histogram("commit_sync_duration_seconds", "Time from submitting a batch to its being durable.", 1e9,
		func(c *CommitStats) *Histogram { return c.SyncNs }),
	histogram("commit_batch_messages", "Messages per batch.", 1,
		func(c *CommitStats) *Histogram { return c.BatchMessages }),
	histogram("commit_batch_bytes", "Bytes written per batch.", 1,
		func(c *CommitStats) *Histogram { return c.BatchBytes }),
	gauge("streams_open", "Answers without an end that are being sent: SSE and NDJSON.",
		gaugeOf(func(c *Counters) int64 { return c.Streams.Load() })),
	gauge("long_polls_waiting", "Long-polls that wait for messages.",
		gaugeOf(func(c *Counters) int64 { return c.Waiting.Load() })),
	labelled("queue_depth", "Entries of a bounded queue.", collectQueues, "queue", "loop"),

	gauge("queries_running", "Queries and joins that are being evaluated.",
		func(s *Sample) float64 { return float64(s.Queries.Running) }),
	gauge("queries_waiting", "Queries and joins that wait for a thread.",
		func(s *Sample) float64 { return float64(s.Queries.Waiting) }),
	counter("queries_total", "Queries and joins that were evaluated, to whatever end.",
		func(s *Sample) float64 { return float64(s.Queries.Ended) }),
	counter("queries_refused_total", "Queries and joins that found no thread, or not in time.",
		func(s *Sample) float64 { return float64(s.Queries.Refused) }),
	counter("query_messages_scanned_total", "Messages that queries and joins have looked at.",
		func(s *Sample) float64 { return float64(s.Queries.Scanned) }),
	counter("query_seconds_total", "Time that evaluations took, of all threads together.",
		func(s *Sample) float64 { return float64(s.Queries.WorkedNs) / 1e9 }),

	perPipeline("pipeline_lag_messages", "Messages that the pipeline has not read yet.", func(p *Pipeline) float64 { return float64(p.Lag) }),
	perPipeline("pipeline_rows", "Rows that the pipeline has written.", func(p *Pipeline) float64 { return float64(p.Rows) }),
	perPipeline("pipeline_failed", "Whether the pipeline has failed (1) or not (0).", func(p *Pipeline) float64 { return flag(p.State == "failed") }),

	gauge("log_last_index", "Index of the last frame handed to the log.",
		func(s *Sample) float64 { return float64(s.Log.LastIndex) }),
	gauge("log_durable_index", "Index up to which the log is durable.",
		func(s *Sample) float64 { return float64(s.Log.DurableIndex) }),
	gauge("log_disk_bytes", "Size of the log's segments.",
		func(s *Sample) float64 { return float64(s.Log.DiskBytes) }),
	gauge("log_quarantine_bytes", "Size of damaged files that were moved aside; nothing reads or removes them.",
		func(s *Sample) float64 { return float64(s.Log.AsideBytes) }),
	{describe("disk_free_bytes", "Space that the file system has left for the log."), collectDisk(func(l *Log) uint64 { return l.FreeBytes })},
	{describe("disk_size_bytes", "Size of the file system that the log is on."), collectDisk(func(l *Log) uint64 { return l.SizeBytes })},
	gauge("storage_failed", "Whether the log has stopped after a failed sync (1) or not (0).",
		func(s *Sample) float64 { return flag(s.Log.Failed) }),

	gauge("topics", "Topics.", func(s *Sample) float64 { return float64(s.Topics) }),
	gauge("kv_keys", "Keys of the key-value store.", func(s *Sample) float64 { return float64(s.Keys) }),
	gauge("rocket_memory_bytes", "Memory that the messages of rocket topics take.", func(s *Sample) float64 { return float64(s.RocketBytes) }),
	gauge("partitions", "Partitions.", func(s *Sample) float64 { return float64(s.partitions()) }),
	gauge("partitions_omitted", "Partitions that have no series of their own because there are too many.",
		func(s *Sample) float64 { return float64(s.partitions() - len(shown(s.Partitions))) }),
	perPartition("partition_earliest_offset", "First offset that can be read.",
		func(p *Partition) uint64 { return p.EarliestOffset }),
	perPartition("partition_next_offset", "Offset that the next message will get.",
		func(p *Partition) uint64 { return p.NextOffset }),
	perPartition("partition_bytes", "Bytes retained.",
		func(p *Partition) uint64 { return p.Bytes }),
	labelled("group_lag_messages", "Messages that a group has not committed yet.", collectGroupLags, "group", "topic", "partition"),
	gauge("group_lags_omitted", "Partitions of groups that have no series of their own because there are too many.",
		func(s *Sample) float64 {
			return float64(max(s.GroupLagsTotal, len(s.GroupLags)) - min(len(s.GroupLags), GroupLagsMax))
		}),
}

// collector is a prometheus.Collector over one sample.
type collector struct{ sample *Sample }

// Describe sends every description, so that the registry can check names and labels.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range families {
		ch <- f.desc
	}
}

// Collect sends every series.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	for _, f := range families {
		f.collect(f.desc, c.sample, ch)
	}
}

// The rest are the kinds of rows and the readers with labels.

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("ayder_"+name, help, labels, nil)
}

func gauge(name, help string, read func(*Sample) float64) family {
	return single(name, help, prometheus.GaugeValue, read)
}

func counter(name, help string, read func(*Sample) float64) family {
	return single(name, help, prometheus.CounterValue, read)
}

func single(name, help string, kind prometheus.ValueType, read func(*Sample) float64) family {
	return family{describe(name, help), func(d *prometheus.Desc, s *Sample, ch chan<- prometheus.Metric) {
		ch <- prometheus.MustNewConstMetric(d, kind, read(s))
	}}
}

func labelled(name, help string, collect func(*prometheus.Desc, *Sample, chan<- prometheus.Metric), labels ...string) family {
	return family{describe(name, help, labels...), collect}
}

// histogram is a family that adds up one histogram of every loop; perUnit of its values are one of
// the metric's unit.
func histogram(name, help string, perUnit float64, of func(*CommitStats) *Histogram) family {
	return family{describe(name, help), func(d *prometheus.Desc, s *Sample, ch chan<- prometheus.Metric) {
		var total HistogramSnapshot
		for _, c := range s.Commits {
			total.add(of(c).Snapshot())
		}
		count, buckets := total.cumulative(perUnit)
		ch <- prometheus.MustNewConstHistogram(d, count, float64(total.Sum)/perUnit, buckets)
	}}
}

func perPipeline(name, help string, read func(*Pipeline) float64) family {
	return family{describe(name, help, "pipeline"), func(d *prometheus.Desc, s *Sample, ch chan<- prometheus.Metric) {
		for i := range s.Pipelines {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, read(&s.Pipelines[i]), s.Pipelines[i].Name)
		}
	}}
}

func perPartition(name, help string, read func(*Partition) uint64) family {
	return family{describe(name, help, "topic", "partition"), func(d *prometheus.Desc, s *Sample, ch chan<- prometheus.Metric) {
		for i := range shown(s.Partitions) {
			p := &s.Partitions[i]
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(read(p)), p.Topic, strconv.Itoa(int(p.Partition)))
		}
	}}
}

func shown(partitions []Partition) []Partition {
	return partitions[:min(len(partitions), PartitionsMax)]
}

func collectGroupLags(d *prometheus.Desc, s *Sample, ch chan<- prometheus.Metric) {
	for _, g := range s.GroupLags[:min(len(s.GroupLags), GroupLagsMax)] {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(g.Messages), g.Group, g.Topic, strconv.Itoa(int(g.Partition)))
	}
}

// collectDisk reports nothing where the file system does not say.
func collectDisk(read func(*Log) uint64) func(*prometheus.Desc, *Sample, chan<- prometheus.Metric) {
	return func(d *prometheus.Desc, s *Sample, ch chan<- prometheus.Metric) {
		if s.Log.SizeBytes > 0 {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(read(&s.Log)))
		}
	}
}

func collectBackend(d *prometheus.Desc, s *Sample, ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, 1, s.Backend, s.BackendReason)
}

// collectRequests reports the statuses that occurred: the full product of routes and statuses would
// be a thousand series of zeros.
func collectRequests(d *prometheus.Desc, s *Sample, ch chan<- prometheus.Metric) {
	for route, name := range s.Routes {
		for kind := range statusKinds {
			total := uint64(0)
			for _, c := range s.Counters {
				total += c.requests[route*statusKinds+kind].Load()
			}
			if total > 0 {
				ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(total), name, statusLabel(kind))
			}
		}
	}
}

// stageBoundsNs are the buckets of the stage histograms: close around what a synced write takes,
// wide elsewhere.
var stageBoundsNs = []int64{
	10_000, 25_000, 50_000, 100_000, 200_000, 300_000, 400_000, 500_000, 750_000,
	1_000_000, 2_000_000, 5_000_000, 10_000_000, 20_000_000, 50_000_000, 100_000_000, 200_000_000, 500_000_000,
	1_000_000_000, 5_000_000_000, 30_000_000_000,
}

func collectStages(d *prometheus.Desc, s *Sample, ch chan<- prometheus.Metric) {
	if s.Timing == nil {
		return
	}
	for route := range min(s.Timing.Routes(), len(s.Routes)) {
		for stage := range timing.Stage(timing.StageCount) {
			st := s.Timing.Stats(route, stage)
			if st.Count == 0 {
				continue
			}
			buckets := make(map[float64]uint64, len(stageBoundsNs))
			for i, n := range s.Timing.Cumulative(route, stage, stageBoundsNs) {
				buckets[seconds(stageBoundsNs[i])] = n
			}
			ch <- prometheus.MustNewConstHistogram(d, uint64(st.Count), seconds(st.SumNs), buckets, s.Routes[route], stage.String())
		}
	}
}

func collectQueues(d *prometheus.Desc, s *Sample, ch chan<- prometheus.Metric) {
	for _, q := range s.Queues {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(q.Depth), q.Name, strconv.Itoa(q.Loop))
	}
}

func sum(read func(*Counters) uint64) func(*Sample) float64 {
	return func(s *Sample) float64 {
		total := uint64(0)
		for _, c := range s.Counters {
			total += read(c)
		}
		return float64(total)
	}
}

func gaugeOf(read func(*Counters) int64) func(*Sample) float64 {
	return func(s *Sample) float64 {
		total := int64(0)
		for _, c := range s.Counters {
			total += read(c)
		}
		return float64(total)
	}
}

func sumCommits(read func(*CommitStats) uint64) func(*Sample) float64 {
	return func(s *Sample) float64 {
		total := uint64(0)
		for _, c := range s.Commits {
			total += read(c)
		}
		return float64(total)
	}
}

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

func seconds(ns int64) float64 { return float64(ns) / 1e9 }
