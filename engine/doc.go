// Package engine is the broker's state machine: which topics and partitions exist, which offset comes
// next, what groups have committed and which idempotency keys were seen. It does no input or output, reads no
// clock and starts no goroutine; the same log gives the same state, byte for byte, on every node.
//
// The state is split into shards, and each belongs to one loop. A request goes through two steps there:
//
//	Produce, CommitOffset, CreateTopic …  decide, give the offset, encode a section into the open batch
//	Apply                                 once that batch's frame is durable: make it visible
//
// What is between the two is in flight: it counts where offsets are given and duplicates are looked for, and
// nobody can read it. On a single node a batch that fails has stopped the log for good, so nothing is ever taken back.
//
// In a cluster leadership can be lost with batches in flight. Forget takes back all of them at once; whichever of
// them was committed after all comes back through ApplyCommitted, the way of every frame that another node made:
//
//	ApplyCommitted    of a frame from anywhere, apply the sections that are this shard's
//	Forget            leadership was lost or gained: nothing is in flight
//
// Recovery is Restore of a checkpoint, then ApplyReplay of the frames after it, on one goroutine.
//
// # Commands in the log
//
// Package record defines frames, sections and records; these bodies are defined here. Integers are little-endian.
//
//	SectionTopicCreate   stream: the new topic's id, partition 0; base 0
//	   0 version u8, 1 | 1 mode u8, 0 sealed, 1 rocket | 2 name_size u16 | 4 partitions u32 | 8 ttl_ms u64 | 16 max_bytes u64 | 24 name
//
//	SectionGroupCommit   stream: the partition; base: the committed offset, the next one to read
//	   0 name of the group
//
//	SectionBoot          stream: a partition of a rocket topic; base: the number of the range of offsets that is taken, from 0
//	   (empty)           rocket.go says what for
//
//	SectionGroupReset    stream: the partition; base: the committed offset from now on
//	SectionGroupDelete   stream: the partition; base 0
//	   0 name of the group
//
//	SectionGroupMembers  stream: none; base: the group's generation before, 0 where it had no members
//	   0 kind u8 | 1 group_size u8 | 2 members u16 | 4 topics u16 | 6 zero u16 | 8 session_ms u32 | 12 zero u32 | 16 acknowledged u64
//	   24 group | members × ( size u8 | id ) | topics × ( id u32 | partitions u32 | size u8 | name )
//
//	SectionSchema        stream: none; base: the schema's id
//	   0 type u8: 1 avro, 2 proto | 1 zero u8 | 2 message_size u16 | 4 text_size u32 | 8 message | text | descriptor set
//
//	SectionPipelineCreate  stream: none; base: the pipeline's id
//	   0 version u8, 1 | 1 inputs u8 | 2 name_size u8 | 3 zero u8 | 4 text_size u32 | 8 into: topic u32, partition u32
//	   16 name | inputs × ( topic u32 | partition u32 | all u8 | zero u8 | starts u16 | starts × offset u64 ) | text
//	SectionPipelineDelete  stream: none; base: the pipeline's id
//	   (empty)
//	SectionPipelineStep    stream: the partition that it writes to; base: how many steps were before
//	   0 pipeline u32 | 4 schemas u32 | 8 lost u64 | 16 rows u32 | 20 pages u16 | 22 has_state u8 | 23 zero u8
//	   24 pages × ( partition u32 | source u32 | from u64 | to u64 ) | state
//
//	SectionTopicDelete   stream: the topic's id, partition 0; base 0
//	   (empty)
//
//	SectionTopicGrow     stream: the topic's id, partition 0; base 0
//	   0 partitions u32, in all
//
//	SectionFloor         stream: the partition; base: the first offset that is kept
//	   0 bytes u64, of all messages below it that there ever were
//
//	SectionRetention     stream: the topic's id or 0, and the partition or 0; base 0
//	   0 version u8, 1 | 1 scope u8: 0 every topic, 1 a topic, 2 a partition | 2 set u8: 1 ttl_ms, 2 max_bytes, 3 both | 3 zero | 8 ttl_ms u64 | 16 max_bytes u64
//
//	SectionRecords       the idempotency key of a record, where it has one:
//	   0 count u32 | 4 the client's key
//	   It stands for the count records from this one on, which are in the same section: what one produce appended.
//
//	SectionRecords       stream: topic 0, a bucket of the key-value store
//	   each record is a change of one key; kv.go draws it
//
// Topic ids are dense, start at 1, are given in the order of the log and never again. A topic is created in an earlier frame than
// everything else about it, and what later frames than the one that deletes it say of it is left out. Floors and commits that would go backward, and kinds of frames other than batches, have no effect.
package engine
