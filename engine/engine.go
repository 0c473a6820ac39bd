package engine

// The engine joins the parts: the catalogue of topics that all loops read, a shard for each of them, and what belongs to
// none of these. Its counters beside the state are for those outside who want to know that something has happened; nothing
// in the state depends on them.

import (
	"sync/atomic"

	"ayder/internal/record"
)

// CatalogueShard is the shard that accepts commands about topics.
const CatalogueShard = 0

// Config is what an engine is made with; a zero field means its default.
//
// IdemWindowMs and IdemKeysMax decide which keys are remembered, so replicas that are to hold
// the same state must agree on them. The other fields only bound what is accepted.
type Config struct {
	Shards        int    // parts that one loop each owns, 1 if zero, at most ShardsMax
	IdemWindowMs  uint64 // how long an idempotency key is remembered
	IdemKeysMax   int    // idempotency keys remembered per partition, the newest ones
	TopicsMax     int    // topics
	PartitionsMax int    // partitions of all topics together

	RocketBytesMax int64  // memory of all rocket topics together, beyond which they keep one chunk per partition; 4 GiB if zero
	Memory         Memory // where that comes from; the Go heap if nil
}

func (c *Config) setDefaults() {
	if c.IdemWindowMs == 0 {
		c.IdemWindowMs = idemWindowDefaultMs
	}
	c.Shards = orDefault(c.Shards, 1, ShardsMax)
	c.IdemKeysMax = orDefault(c.IdemKeysMax, idemKeysDefault, IdemKeysTotalMax)
	c.TopicsMax = orDefault(c.TopicsMax, topicsDefault, TopicsTotalMax)
	if c.RocketBytesMax <= 0 {
		c.RocketBytesMax = rocketTotalDefault
	}
	if c.Memory == nil {
		c.Memory = heap{}
	}
	c.PartitionsMax = orDefault(c.PartitionsMax, partitionsDefault, PartitionsTotalMax)
}

func orDefault(n, def, most int) int {
	if n <= 0 {
		return def
	}
	return min(n, most)
}

// Engine is the whole state of a node. Its catalogue may be read from any goroutine; everything
// else is reached through a Shard and belongs to that shard's loop.
type Engine struct {
	config      Config
	catalogue   catalogue
	shards      []*Shard
	memory      memory      // of rocket topics
	replayed    uint64      // index of the last frame given to ApplyReplay
	memberships memberships // coordinated groups; the catalogue's shard's
	schemas     schemas
	pipelines   pipelines

	deletions atomic.Uint64 // topics deleted since the start; the shards see that they have something to give up
	freed     atomic.Uint64 // bytes of messages that ceased to be kept since the start
	kv        [KVBuckets]kvBucket
}

// New returns an empty engine.
func New(c Config) *Engine {
	c.setDefaults()
	e := &Engine{config: c}
	e.memory.from, e.memory.most = c.Memory, c.RocketBytesMax
	for i := range c.Shards {
		e.shards = append(e.shards, newShard(e, i))
	}
	for i := range e.kv {
		k := &e.kv[i]
		k.stream = KVStream(uint32(i))
		k.owner = e.shards[e.ShardOf(k.stream)]
	}
	return e
}

// Config returns the settings in force, defaults filled in.
func (e *Engine) Config() Config { return e.config }

// Shard returns part i, 0 <= i < Config.Shards.
func (e *Engine) Shard(i int) *Shard { return e.shards[i] }

// ShardOf returns the number of the shard that owns a partition. Neighbouring partitions, and
// the first partitions of neighbouring topics, fall on different shards.
func (e *Engine) ShardOf(s record.Stream) int {
	return int((uint64(s.Topic) + uint64(s.Partition)) % uint64(len(e.shards)))
}
