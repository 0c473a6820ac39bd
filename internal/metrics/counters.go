package metrics

// What one loop counts. Every field is written by that loop's thread alone and read by whoever
// scrapes; an atomic addition to a cache line nobody else writes costs a few nanoseconds, and a
// scrape needs no word from the loop.

import (
	"strconv"
	"sync/atomic"
)

// Counters are the totals of one loop.
type Counters struct {
	_ [cacheLineBytes]byte

	MessagesAppended atomic.Uint64 // messages accepted into a batch
	MessagesPiped    atomic.Uint64 // those of them that pipelines wrote
	BytesAppended    atomic.Uint64 // their values and keys
	MessagesConsumed atomic.Uint64 // messages handed to consumers
	BytesConsumed    atomic.Uint64 // their values and keys
	Duplicates       atomic.Uint64 // produces answered from the idempotency window
	AuthFailures     atomic.Uint64 // requests answered 401 or 403
	RateLimited      atomic.Uint64 // requests answered 429
	CommitTimeouts   atomic.Uint64 // requests that gave up waiting for their commit
	ForwardedOut     atomic.Uint64 // requests handed to the loop that owns their partition
	MembersExpired   atomic.Uint64 // members of groups that were not heard of for too long

	Streams atomic.Int64 // answers without an end that are open
	Waiting atomic.Int64 // long-polls that wait for messages

	// requests counts answers, route-major: route*statusKinds + kind of status.
	requests []atomic.Uint64

	_ [cacheLineBytes]byte
}

// NewCounters returns the counters of a loop that serves routes numbered 0 … routes-1.
func NewCounters(routes int) *Counters {
	return &Counters{requests: make([]atomic.Uint64, routes*statusKinds)}
}

// CountRequest counts one answer. A status that this server does not use counts as "other".
func (c *Counters) CountRequest(route, status int) {
	c.requests[route*statusKinds+statusKind(status)].Add(1)
}

// statuses are the status codes that get a label of their own: those of the error table and of
// success.
var statuses = [...]int{
	200, 201, 202, 204, 206, 304, 307,
	400, 401, 403, 404, 405, 406, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 422, 426, 429, 431, 499,
	500, 501, 502, 503, 504, 505, 507,
}

// statusKinds is the number of columns of the requests table: every status, and one for all others.
const statusKinds = len(statuses) + 1

// statusMax is one more than the largest status code of HTTP that is looked up.
const statusMax = 600

// kindOfStatus maps a status code to its column, so that counting is an index and an addition.
var kindOfStatus = func() (kinds [statusMax]uint8) {
	for status := range kinds {
		kinds[status] = uint8(len(statuses))
	}
	for kind, status := range statuses {
		kinds[status] = uint8(kind)
	}
	return kinds
}()

func statusKind(status int) int {
	if uint(status) >= statusMax {
		return len(statuses)
	}
	return int(kindOfStatus[status])
}

// statusLabel is the label of a column.
func statusLabel(kind int) string {
	if kind == len(statuses) {
		return "other"
	}
	return strconv.Itoa(statuses[kind])
}

// CommitStats are the group commits of one loop.
type CommitStats struct {
	_ [cacheLineBytes]byte

	Commits  atomic.Uint64 // batches that became durable
	Failures atomic.Uint64 // batches that did not

	SyncNs        *Histogram // from submitting a batch to its being durable, nanoseconds
	BatchMessages *Histogram // messages per batch
	BatchBytes    *Histogram // bytes written per batch

	_ [cacheLineBytes]byte
}

// NewCommitStats returns the stats of one loop, with bounds that are the same for all.
func NewCommitStats() *CommitStats {
	const us, ms, kib, mib = 1_000, 1_000_000, 1 << 10, 1 << 20
	return &CommitStats{
		SyncNs: NewHistogram(50*us, 100*us, 150*us, 200*us, 250*us, 300*us, 400*us, 500*us, 750*us,
			1*ms, 2*ms, 5*ms, 10*ms, 20*ms, 50*ms, 100*ms, 200*ms, 500*ms, 1000*ms, 2000*ms, 5000*ms),
		BatchMessages: NewHistogram(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384, 65536, 262144),
		BatchBytes: NewHistogram(4*kib, 8*kib, 16*kib, 32*kib, 64*kib, 128*kib, 256*kib, 512*kib,
			1*mib, 2*mib, 4*mib, 8*mib, 16*mib, 32*mib),
	}
}

// Observe records a batch that became durable. It does not block or allocate.
func (s *CommitStats) Observe(syncNs int64, messages, bytes int) {
	s.Commits.Add(1)
	s.SyncNs.Observe(uint64(max(syncNs, 0)))
	s.BatchMessages.Observe(uint64(max(messages, 0)))
	s.BatchBytes.Observe(uint64(max(bytes, 0)))
}
