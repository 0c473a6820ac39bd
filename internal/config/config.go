package config

import "time"

// Config is every setting of the server, parsed and checked. It is plain data: nothing in it is open or running,
// and whoever needs a part of it is given that part by cmd/ayder. Each field has one row in the table, but for HA,
// which is made from others.
type Config struct {
	// Listening.

	Listen     string // host:port of the plain HTTP listener; Resolve fills in what an empty one means
	Port       int    // 1…65535 replaces Listen's port; 0: not given. Resolve moves it into Listen
	TLSListen  string // host:port of the TLS listener; empty: none, unless TLSCert is set (Resolve)
	TLSCert    string // file with the PEM certificate chain
	TLSKey     string // file with the PEM key
	Backend    string // "auto", "uring" or "evio"
	Loops      int    // event loops; 0: one less than the cores, at least one (Resolve fills it in)
	CORSOrigin string // origins joined by commas, or *; empty: no CORS

	// Access.

	Dev              bool   // without tokens, listening on other addresses than loopback is meant
	BearerTokens     Secret // tokens as package auth parses them
	BearerTokensFile string // file with one token per line, read again on SIGHUP

	// Storage.

	DataDir         string        // directory of the log, made if it is missing
	SegmentBytes    int64         // size of one log segment, bytes
	TailBytes       int64         // newest part of the log kept in memory, bytes
	CommitsInFlight int           // commits that one loop has at the disk at the same time
	CommitTimeout   time.Duration // longest wait for a commit before 504

	// Topics.

	AutoCreate        bool          // producing to an unknown topic creates it
	PartitionsDefault int           // partitions of a topic created without a number
	Rocket            bool          // topics created without a mode keep their messages in memory only
	RocketBytes       int64         // memory of all such topics together, bytes
	IdempotencyWindow time.Duration // how long an idempotency key is remembered
	IdempotencyKeys   int           // how many are remembered per partition
	CommitIs          string        // "next" or "last": what a client's commit offset means

	// Cluster, as given. HA is what they mean together.

	HAEnabled         bool          // this node is part of a cluster
	HANodeID          string        // which of HANodes this node is
	HANodes           string        // id:host:raft_port:priority[:http_port[:https_port]],…
	HABootstrapLeader bool          // this node founds the cluster if there is none yet
	HAWriteConcern    string        // on how many disks a write is before it is answered; empty: the majority
	HADedicatedWorker bool          // replication has a thread of its own
	HATLS             bool          // mutual TLS between the nodes
	HATLSCA           string        // file with the PEM certificate of the cluster's authority
	HATLSCert         string        // file with the PEM certificate chain of this node
	HATLSKey          string        // file with its PEM key
	RaftLeaderSync    string        // "parallel" or "serial": the leader's own sync beside replication, or before it
	RaftHeartbeat     time.Duration // silence of the leader after which a follower stands for election
	RaftElection      time.Duration // longest time of one election
	RaftLease         time.Duration // a leader without a majority for this long steps down
	RaftCommitTimeout time.Duration // longest time until followers learn of a commit when nothing else is sent
	RaftPriorityHold  time.Duration // a better node must be healthy for this long before it is given the lead
	HA                *HA           // set by Resolve; nil: a single node

	// Limits.

	RequestLineBytesMax int           // longest request line, bytes (414)
	HeadBytesMax        int           // longest head, request line included, bytes (431)
	HeadFieldsMax       int           // most header fields (431)
	BodyBytesMax        int64         // longest body, bytes (413)
	HeadTimeout         time.Duration // from a request's first byte to the end of its head (408)
	IdleTimeout         time.Duration // between two requests of a connection
	ConnsMax            int           // connections at the same time, TLS included
	OutputBytesMax      int           // replies queued on a connection before it is no longer read, bytes

	// Operation.

	ServerTiming    bool          // every answer carries Server-Timing
	LogLevel        string        // "debug", "info", "warn" or "error"
	LogFormat       string        // "text" or "json"
	ShutdownTimeout time.Duration // longest wait for open requests at shutdown
	GCPercent       int           // debug.SetGCPercent
	MemoryLimit     int64         // debug.SetMemoryLimit, bytes; 0: none

	clusterGiven string // the flags and variables of the cluster group but its switch that were given, joined by ", "
}

// Secret is a text that must not be shown: every way of printing it gives a placeholder. Convert it
// to string to use it.
type Secret string

const redacted = "(redacted)"

// String returns a placeholder, "" for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString returns what String does, for %#v.
func (s Secret) GoString() string { return `"` + s.String() + `"` }

// MarshalText returns what String does, for JSON and structured logs.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
