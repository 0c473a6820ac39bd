package config

// The table. A row reads: flag, environment variable, default, type with bounds, help. The order
// and the groups are those of --help. Defaults are texts, parsed like any other value, so that
// there is one notation; a test parses every one of them.

// setting is one row of the table.
type setting struct {
	flag    string // without the dashes; empty: environment only
	env     string // canonical name; the other prefix is read too
	initial string // the default, as a user would write it
	to      value  // where the value goes and what it may be
	help    string // one line, without a full stop
}

// group is a titled run of rows.
type group struct {
	title    string
	settings []setting
}

// clusterTitle is the group of the settings that mean nothing on a single node.
const clusterTitle = "Cluster"

// haSwitch is the one among them that decides whether the others count.
const haSwitch = "ha-enabled"

// table binds every setting to its field of c.
func table(c *Config) []group {
	return []group{
		{"Listening", listening(c)},
		{"Access", access(c)},
		{"Storage", storage(c)},
		{"Topics", topics(c)},
		{clusterTitle, cluster(c)},
		{"Limits", limits(c)},
		{"Operation", operation(c)},
	}
}

func listening(c *Config) []setting {
	return []setting{
		{"listen", "AYDER_LISTEN", "", text(&c.Listen), "host:port of HTTP; without one :1109, or 127.0.0.1:1109 in dev mode"},
		{"port", "AYDER_PORT", "0", number(&c.Port, 0, 65535), "port of HTTP, in place of the one in --listen; 0: as listen says"},
		{"tls-listen", "AYDER_TLS_LISTEN", "", text(&c.TLSListen), "host:port of HTTPS; without one :1443 if there is a certificate"},
		{"tls-cert", "RF_TLS_CERT", "", text(&c.TLSCert), "file with the PEM certificate chain"},
		{"tls-key", "RF_TLS_KEY", "", text(&c.TLSKey), "file with the PEM private key"},
		{"backend", "AYDER_BACKEND", "auto", choice(&c.Backend, "auto", "uring", "evio"), "how sockets are served; auto: io_uring where the kernel allows it"},
		{"loops", "AYDER_LOOPS", "0", number(&c.Loops, 0, 1024), "event loops; 0: one less than the cores, at least one"},
		{"cors-origin", "AYDER_CORS_ORIGIN", "", text(&c.CORSOrigin), "origins that web pages may call from, joined by commas, or *; without one no CORS"},
	}
}

func access(c *Config) []setting {
	return []setting{
		{"dev", "AYDER_DEV", "false", boolean(&c.Dev), "without tokens, allow addresses other than loopback (token: dev)"},
		{"", "RF_BEARER_TOKENS", "", secret(&c.BearerTokens), "tokens, t1@role[+role…][/prefix]:t2:…; roles read, write, admin"},
		{"bearer-tokens-file", "RF_BEARER_TOKENS_FILE", "", text(&c.BearerTokensFile), "file with one token per line, read again on SIGHUP"},
	}
}

func storage(c *Config) []setting {
	return []setting{
		{"data-dir", "AYDER_DATA_DIR", "./data", text(&c.DataDir), "directory of the log, made if it is missing"},
		{"segment-bytes", "AYDER_SEGMENT_BYTES", "64MiB", size(&c.SegmentBytes, 4*mib, 4*gib), "size of one log segment, zero-filled ahead of use"},
		{"tail-bytes", "AYDER_TAIL_BYTES", "256MiB", size(&c.TailBytes, mib, 1024*gib), "newest part of the log that is kept in memory"},
		{"commits-in-flight", "AYDER_COMMITS_IN_FLIGHT", "2", number(&c.CommitsInFlight, 1, 64), "commits that one loop has at the disk at once"},
		{"commit-timeout", "RF_COMMIT_TIMEOUT_MS", "5000", duration(&c.CommitTimeout, millisecond, hour), "longest wait for a commit before 504"},
	}
}

func topics(c *Config) []setting {
	return []setting{
		{"auto-create", "AYDER_AUTO_CREATE", "true", boolean(&c.AutoCreate), "producing to an unknown topic creates it"},
		{"partitions", "AYDER_PARTITIONS", "8", number(&c.PartitionsDefault, 1, 1024), "partitions of a topic created without a number"},
		{"rocket", "RF_ROCKET", "false", boolean(&c.Rocket), "topics created without a mode keep their messages in memory only"},
		{"rocket-bytes", "AYDER_ROCKET_BYTES", "4GiB", size(&c.RocketBytes, mib, 1024*gib), "memory of all such topics together; the oldest messages go first"},
		{"idempotency-window", "AYDER_IDEMPOTENCY_WINDOW_MS", "1h", duration(&c.IdempotencyWindow, 0, 30*24*hour), "how long an idempotency key is remembered"},
		{"idempotency-keys", "AYDER_IDEMPOTENCY_KEYS", "1000000", number(&c.IdempotencyKeys, 0, 100_000_000), "idempotency keys remembered per partition"},
		{"commit-is", "RF_COMMIT_IS", "next", choice(&c.CommitIs, "next", "last"), "a commit's offset is the next to read, or the last that was processed"},
	}
}

func cluster(c *Config) []setting {
	return []setting{
		{haSwitch, "RF_HA_ENABLED", "false", boolean(&c.HAEnabled), "this node is part of a cluster"},
		{"ha-node-id", "RF_HA_NODE_ID", "", text(&c.HANodeID), "which of the nodes this one is"},
		{"ha-nodes", "RF_HA_NODES", "", text(&c.HANodes), "id:host:raft_port:priority[:http_port[:https_port]],…; http_port: raft_port+1; [IPv6]"},
		{"ha-bootstrap-leader", "RF_HA_BOOTSTRAP_LEADER", "false", boolean(&c.HABootstrapLeader), "found the cluster if there is none yet; on one node only"},
		{"ha-write-concern", "RF_HA_WRITE_CONCERN", "", text(&c.HAWriteConcern), "answer a write when so many have it: 1 leader, N all; default the majority"},
		{"ha-dedicated-worker", "RF_HA_DEDICATED_WORKER", "false", boolean(&c.HADedicatedWorker), "replication has a thread of its own"},
		{"ha-tls", "RF_HA_TLS", "false", boolean(&c.HATLS), "mutual TLS between the nodes"},
		{"ha-tls-ca", "RF_HA_TLS_CA", "", text(&c.HATLSCA), "file with the PEM certificate of the cluster's authority"},
		{"ha-tls-cert", "RF_HA_TLS_CERT", "", text(&c.HATLSCert), "file with the PEM certificate chain of this node"},
		{"ha-tls-key", "RF_HA_TLS_KEY", "", text(&c.HATLSKey), "file with the PEM private key of this node"},
		{"raft-leader-sync", "AYDER_RAFT_LEADER_SYNC", "parallel", choice(&c.RaftLeaderSync, "parallel", "serial"), "the leader syncs while it replicates, or before"},
		{"raft-heartbeat-ms", "AYDER_RAFT_HEARTBEAT_MS", "300", duration(&c.RaftHeartbeat, raftTimeoutMin, hour), "silence of the leader after which a follower stands"},
		{"raft-election-ms", "AYDER_RAFT_ELECTION_MS", "300", duration(&c.RaftElection, raftTimeoutMin, hour), "longest time of one election"},
		{"raft-lease-ms", "AYDER_RAFT_LEASE_MS", "200", duration(&c.RaftLease, raftTimeoutMin, hour), "a leader without a majority for this long steps down"},
		{"raft-commit-timeout-ms", "AYDER_RAFT_COMMIT_TIMEOUT_MS", "5", duration(&c.RaftCommitTimeout, millisecond, hour), "longest time until idle followers learn of a commit"},
		{"raft-priority-hold-ms", "AYDER_RAFT_PRIORITY_HOLD_MS", "10000", duration(&c.RaftPriorityHold, 0, 24*hour), "a better node leads after it was healthy for this long"},
	}
}

func limits(c *Config) []setting {
	return []setting{
		{"request-line-bytes", "AYDER_REQUEST_LINE_BYTES", "8KiB", size(&c.RequestLineBytesMax, 512, mib), "longest request line (414)"},
		{"head-bytes", "AYDER_HEAD_BYTES", "32KiB", size(&c.HeadBytesMax, kib, mib), "longest request head (431)"},
		{"head-fields", "AYDER_HEAD_FIELDS", "100", number(&c.HeadFieldsMax, 8, 1000), "most header fields of a request (431)"},
		{"body-bytes", "AYDER_BODY_BYTES", "8MiB", size(&c.BodyBytesMax, 64*kib, gib), "longest request body (413)"},
		{"head-timeout", "AYDER_HEAD_TIMEOUT_MS", "10s", duration(&c.HeadTimeout, second, hour), "longest time for a request's head to arrive (408)"},
		{"idle-timeout", "AYDER_IDLE_TIMEOUT_MS", "120s", duration(&c.IdleTimeout, second, 24*hour), "longest silence of a connection between two requests"},
		{"conns", "AYDER_CONNS", "65536", number(&c.ConnsMax, 1, 10_000_000), "connections at the same time"},
		{"output-bytes", "AYDER_OUTPUT_BYTES", "1MiB", size(&c.OutputBytesMax, 64*kib, gib), "unsent replies of a connection before it is read no further"},
	}
}

func operation(c *Config) []setting {
	return []setting{
		{"server-timing", "AYDER_SERVER_TIMING", "true", boolean(&c.ServerTiming), "every answer carries a Server-Timing field"},
		{"log-level", "AYDER_LOG_LEVEL", "info", choice(&c.LogLevel, "debug", "info", "warn", "error"), "least level that is logged"},
		{"log-format", "AYDER_LOG_FORMAT", "text", choice(&c.LogFormat, "text", "json"), "form of the log lines"},
		{"shutdown-timeout", "AYDER_SHUTDOWN_TIMEOUT_MS", "10s", duration(&c.ShutdownTimeout, 0, hour), "longest wait for open requests at shutdown"},
		{"gc-percent", "AYDER_GC_PERCENT", "400", number(&c.GCPercent, 10, 10_000), "heap growth in percent that starts a garbage collection"},
		{"memory-limit", "AYDER_MEMORY_LIMIT", "0", size(&c.MemoryLimit, 0, 1024*gib), "soft limit of the Go heap; 0: none"},
	}
}
