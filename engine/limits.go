package engine

import "ayder/internal/record"

// Limits of what the engine accepts. All are named here, with their units.
//
// Those that bound a request are checked where it is decided, before anything is logged. What was logged within them is
// applied by every later version, also where a limit has been lowered since.

// Limits of topics, partitions and what belongs to them.
const (
	NameBytesMax        = 249       // a topic's or a group's name
	TopicPartitionsMax  = 1024      // partitions of one topic
	IdemKeyBytesMax     = 1020      // an idempotency key; with its prefix it fills what a record may hold
	GroupsPerPartition  = 10_000    // groups with a committed offset in one partition
	ShardsMax           = 256       // loops
	retainTopicsMax     = 4096      // topics that one call of Retain looks at
	TopicIDMax          = 1 << 26   // topics that a log may ever have had
	TopicsTotalMax      = 1_000_000 // what Config.TopicsMax may at most allow
	PartitionsTotalMax  = 4_000_000 // what Config.PartitionsMax may at most allow
	IdemKeysTotalMax    = 1 << 28   // what Config.IdemKeysMax may at most allow
	topicsDefault       = 100_000   // topics
	partitionsDefault   = 1_000_000 // partitions of all topics together: 128 MiB of heap when all are empty
	idemKeysDefault     = 1_000_000 // idempotency keys remembered per partition: 57 MB of heap when full
	idemWindowDefaultMs = 3_600_000 // how long a key is remembered: one hour
	idemPrefixBytes     = 4         // the count before an idempotency key in a record
	sweepKeysMax        = 256       // expired keys taken out of one idle window per applied frame
	expireKeysMax       = 4         // expired keys taken out of a window per key put in
	chunkBits           = 10        // log2 of the keys in one chunk of a window
	chunkKeys           = 1 << chunkBits
	chunkKeysInitial    = 8         // keys in a window's first chunk before it grows
	RocketBytesDefault  = 256 << 20 // what a partition of a rocket topic without max_bytes holds
	rocketTotalDefault  = 4 << 30   // bytes of all rocket topics together
	chunkBytesMin       = 4 << 10   // a rocket partition's first block of memory
	chunkBytesMax       = 256 << 10 // and the largest, but for a message that is larger
	ladderMarksMax      = 512       // marks of one partition: 12 KiB
	ladderParts         = 64        // what lies between two marks is about this part of all that is kept
	ladderBytesMin      = 4096      // bytes between two marks, at least
	ladderTimeMinMs     = 1000      // or milliseconds, at least
	slotsMin            = 16        // slots in a window's smallest table
	migrateSlots        = 32        // slots moved to a resized table per operation
)

// Limits of coordinated groups.
const (
	GroupMembersMax      = 256       // members of one group
	GroupTopicsMax       = 64        // topics that a group handles
	SessionMsMin         = 1000      // how long a member may stay silent
	SessionMsMax         = 300_000   // the same, at most
	CoordinatedGroupsMax = 10_000    // groups with members
	MembersTotalMax      = 100_000   // members of all groups
	SharesTotalMax       = 1_000_000 // partitions that groups handle together, when somebody joins: 24 MB
)

// Limits of the schema registry.
const (
	SchemaBytesMax      = 256 << 10 // a schema's text and descriptors
	SchemaNameBytesMax  = 1024      // the name of the message that it is about
	SchemasMax          = 10_000    // schemas
	SchemasTotalBytes   = 64 << 20  // of all schemas together
	schemaListInitial   = 16        // places in the list to begin with
	schemaFlyingInitial = 4         // the same for those in flight
)

// Limits of pipelines.
const (
	PipelinesMax       = 1000
	PipelineIDMax      = 1 << 30                // pipelines that a log may ever have had
	PipelineInputsMax  = 2                      // what a join reads
	PipelineTextMax    = 1 << 20                // bytes of what one does
	PipelineTextsMax   = 64 << 20               // of all together
	PipelinePagesMax   = 2 * TopicPartitionsMax // that one step reads
	PipelineJournalMax = 64                     // steps whose pages are read again at most when one goes on elsewhere
	PipelineStateMax   = 4 << 20                // bytes that its query may remember
	PipelineStatesMax  = 512 << 20              // of all together
)

// The prefix and the longest key together are what the encoding allows, no more and no less.
const _ uint = record.IdemBytesMax - idemPrefixBytes - IdemKeyBytesMax

// Limits of the key-value store.
const (
	KVKeyBytesMax    = 1 << 10                          // a key of the key-value store
	KVValueBytesMax  = 1 << 20                          // a value
	kvFullKeyMax     = NameBytesMax + 1 + KVKeyBytesMax // a key with its namespace
	kvLeafItems      = 64                               // keys in a leaf of a key-value tree
	kvLeafBytes      = 16 << 10                         // bytes of its keys; two of these and a key must fit 16 bits
	kvLeafFill       = 56                               // keys in a leaf that a checkpoint is restored to
	kvItemsStep      = 8                                // by how many items a leaf grows
	kvKeysStep       = 64                               // by how many bytes of keys a leaf grows, at least
	kvKids           = 64                               // children of an inner node
	kvKidsFill       = 56                               // children of an inner node that a checkpoint is restored to
	kvKeysMax        = 1 << 28                          // keys that live in one bucket
	kvDeadMax        = 1 << 14                          // deleted keys whose cas one bucket remembers: 64 MB of heap in all 64 with short keys
	kvSectionRecords = 64                               // changes in one section: whoever reads one of them passes over those before it
	kvOrderMin       = 1024                             // changes that have landed before their list is shortened
	kvKeyBytesMin    = 5                                // a key in a checkpoint
	kvKeyTypical     = 32                               // bytes of a key in a checkpoint, to begin with
	kvKidsStep       = 8                                // children that a new inner node has room for
)

// Two leaves' keys and one more are counted in 16 bits.
const _ uint = 1<<16 - 1 - 2*kvLeafBytes - kvFullKeyMax
