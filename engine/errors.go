package engine

import "errors"

// What a client's request can meet. The HTTP face gives each its status and text.
var (
	ErrTopicName   = errors.New("topic name must be 1 to 249 of A-Z a-z 0-9 . _ - and more than one or two dots")
	ErrPartitions  = errors.New("a topic has 1 to 1024 partitions")
	ErrMode        = errors.New("unknown topic mode")
	ErrTopicExists = errors.New("topic exists with other settings")
	ErrTopicLimit  = errors.New("no more topics or partitions allowed")
	ErrNoTopic     = errors.New("the topic does not exist")
	ErrNoPartition = errors.New("the topic has no such partition")
	ErrShrink      = errors.New("a topic cannot have fewer partitions than it has")
	ErrGroupName   = errors.New("group name must be 1 to 249 of A-Z a-z 0-9 . _ - and more than one or two dots")
	ErrGroupLimit  = errors.New("no more groups allowed in this partition")
	ErrIdemKey     = errors.New("idempotency key must be 1 to 1020 bytes")
	ErrCount       = errors.New("a batch has at least one record")
	ErrOffset      = errors.New("expected offset is not the partition's next one")
	ErrOffsetAbove = errors.New("offset is above the partition's end")
	ErrOffsetBelow = errors.New("offset is below the partition's floor")

	ErrMemberName      = errors.New("member id must be 1 to 249 of A-Z a-z 0-9 . _ - and more than one or two dots")
	ErrMemberTopics    = errors.New("a member handles 1 to 64 topics, each once")
	ErrMemberLimit     = errors.New("no more members, topics or groups with members allowed")
	ErrSession         = errors.New("a session lasts 1000 to 300000 milliseconds")
	ErrNoMember        = errors.New("no such member in the group")
	ErrFenced          = errors.New("the partition is another member's, or was given anew")
	ErrCAS             = errors.New("the key has another cas")
	ErrKVLimit         = errors.New("no more keys allowed in this part of the key-value store")
	ErrSchemaType      = errors.New("a schema's type is avro or proto")
	ErrSchemaSize      = errors.New("a schema has 1 byte to 256 KiB of text and descriptors, and a message's name of up to 1024 bytes")
	ErrPipelineName    = errors.New("pipeline name must be 1 to 249 of A-Z a-z 0-9 . _ - and more than one or two dots")
	ErrPipelineText    = errors.New("a pipeline's text has 1 byte to 1 MiB")
	ErrPipelineInputs  = errors.New("a pipeline reads one or two topics, and writes into another one")
	ErrPipelineExists  = errors.New("pipeline exists and does something else")
	ErrPipelineLimit   = errors.New("no more pipelines allowed: there are 1000, or 64 MiB of their texts")
	ErrPipelineState   = errors.New("the pipeline remembers too much: at most 4 MiB, and 512 MiB of all pipelines together")
	ErrPipelineJournal = errors.New("this step of the pipeline must say what it remembers")
	ErrNotSealed       = errors.New("a pipeline reads and writes sealed topics")
	ErrNoPipeline      = errors.New("the pipeline does not exist")
	ErrStale           = errors.New("the step does not follow from where the pipeline is")
	ErrSchemaLimit     = errors.New("no more schemas allowed: there are 10000, or 64 MiB of them")
)

// What stored bytes can be wrong about. Both mean that the engine which met them must not be used further.
var (
	ErrDiverged   = errors.New("log does not follow from the state before it")
	ErrCheckpoint = errors.New("checkpoint does not decode")
)
