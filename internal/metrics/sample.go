package metrics

import "ayder/internal/timing"

// What a scrape shows, as plain data: the loops fill in what they own, the program what only it knows.
//
// It is a struct and not a list of series, so that what a value means stands beside it and names of metrics stand in one place.

// Build tells which program is running. It never changes.
type Build struct {
	Version  string // release, "devel" without one
	Revision string // commit
	Ring     string // uring.Implementation()
}

// Sample is the state of the server at the moment of a scrape, as plain data. Whoever fills it must
// not change it before Render has returned. What is left out is reported as zero, or not at all
// where it has labels.
type Sample struct {
	Routes []string // names by route number; those of Counters and Timing

	// Totals per loop, read while the loops go on.
	Counters []*Counters
	Commits  []*CommitStats

	// Copies made on the loops.
	Timing     *timing.Snapshot // merged over the loops
	Queues     []Queue
	Partitions []Partition // in any order; more than PartitionsMax are not shown and need not be given
	GroupLags  []GroupLag  // in any order; more than GroupLagsMax are not shown and need not be given
	Topics     int
	Keys       int64 // of the key-value store, that live

	RocketBytes int64 // memory that the messages of rocket topics take

	// GroupLagsTotal is how many of them there are, if that is more than GroupLags holds.
	GroupLagsTotal int

	// PartitionsTotal is how many partitions there are, if that is more than Partitions holds.
	PartitionsTotal int

	Network Network
	Log     Log
	Queries Queries

	Pipelines []Pipeline // those that are shown

	Backend       string // netpoll.Server.Backend()
	BackendReason string // netpoll.Server.Reason()
	Ready         bool   // what GET /ready says
}

func (s *Sample) partitions() int { return max(s.PartitionsTotal, len(s.Partitions)) }

// Network is the sum over all loops of what netpoll counts.
type Network struct {
	Conns         uint64 // open now
	ConnsAccepted uint64
	ConnsRefused  uint64 // over the limit
	BytesReceived uint64
	BytesSent     uint64
}

// Log is the state of the write-ahead log.
type Log struct {
	LastIndex    uint64 // last frame handed to the log
	DurableIndex uint64 // Invariant: DurableIndex <= LastIndex
	DiskBytes    uint64 // size of all segments
	FreeBytes    uint64 // what the file system has left for it
	SizeBytes    uint64 // the file system's size; 0: not known
	AsideBytes   uint64 // size of the files in quarantine
	Failed       bool   // a sync failed: the log has stopped for good
}

// Queries are the evaluations of queries and joins.
type Queries struct {
	Running  int64
	Waiting  int
	Ended    uint64
	Refused  uint64 // no place, or not in time
	Scanned  uint64 // messages
	WorkedNs uint64
}

// Pipeline is how far a query that runs for good has come.
type Pipeline struct {
	Name  string
	State string // waiting, running or failed
	Lag   uint64 // messages that it has not read
	Rows  uint64 // that it has written
}

// Queue is the depth of one bounded queue of one loop, "mailbox" for example.
type Queue struct {
	Name  string
	Loop  int
	Depth int
}

// Partition is the extent of one partition.
type Partition struct {
	Topic          string
	Partition      uint32
	EarliestOffset uint64 // the floor
	NextOffset     uint64
	Bytes          uint64 // retained
}

// GroupLag is how far a group is behind in a partition.
type GroupLag struct {
	Group, Topic string
	Partition    uint32
	Messages     uint64 // that it has not committed
}
