package api

import (
	"time"

	"ayder/engine"
)

// Limits that no setting changes; the others are in Options.
//
// What they bound is a request, a connection or a loop. A full queue is an answer to the client, never growth.
const (
	batchBytesSoft    = 1 << 20          // an open batch takes no further request beyond this, unless it is empty
	batchBytesKept    = 4 << 20          // memory that a batch may keep between uses
	batchOverheadMax  = 64 << 10         // what a frame holds besides one request's body: headers, key, record headers
	waitersMax        = 16 << 10         // answers owed by one batch
	owedPerConnMax    = 256              // pipelined answers that one connection may be owed
	retriesMax        = 4096             // requests held back per loop until a batch can be opened
	consumeLimit      = 100              // messages in a page unless asked otherwise
	consumeLimitMax   = 1000             // messages in a page at most
	pieceNameMax      = 128              // bytes of the name and id of a file of the log
	consumeBytes      = 1 << 20          // bytes of a page unless asked otherwise
	consumeBytesMax   = 16 << 20         // bytes of a page at most
	readersMax        = 4                // goroutines that read old messages from disk
	unreadPageBytes   = 256 << 10        // an answer from this size on counts as unread until the kernel has taken it
	unreadBytesMax    = 256 << 20        // large answers that one loop keeps for slow readers and in the making
	readQueueMax      = 256              // pages that wait for them
	keyBytesMax       = 64 << 10         // a message's key
	idemBytesMax      = 512              // an idempotency key
	headersMax        = 32               // X-Ayder-H- headers of one message
	inlineLinesBytes  = 32 << 10         // a larger NDJSON body is checked off the loop
	ndjsonLinesMax    = 1_000_000        // messages in one NDJSON request
	jsonBodyMax       = 64 << 10         // a JSON command
	timeoutMsMax      = 600_000          // timeout_ms
	bodyRateMin       = 16 << 10         // bytes a second: a body that comes slower is given up
	closeIdleEvery    = time.Second      // while draining
	readyLagMax       = 10_000           // entries behind the leader from which on a node is not ready
	nodeIDBytesMax    = 128              // a node's id
	nodeAddrBytesMax  = 261              // host:port
	unappliedBytesMax = 32 << 20         // other nodes' frames that the loops may be behind with
	changesMax        = 16               // changes of the cluster under way
	changeTimeout     = 30 * time.Second // for a change of the cluster
	successorWait     = 5 * time.Second  // for a leader's successor to be heard of
	successorPoll     = 5 * time.Millisecond
	retentionEvery    = 2 * time.Second       // between looks for what may go by age or size
	retentionStep     = 20 * time.Millisecond // where there are so many topics that a look is taken in steps
	retentionCommands = 1000                  // floors that one step moves, besides those of one more topic
	dateEvery         = int64(250 * time.Millisecond)
	waitMsMax         = 30_000                 // wait_ms
	earsPerTurn       = 64                     // listeners that are told of news in one turn
	watchEvery        = time.Second            // looks for feeds of partitions that are gone
	streamPieceBytes  = 64 << 10               // of a stream, rendered and written at once, unless one message is larger
	streamQueuedMax   = 64 << 10               // queued on a stream's connection before its source pauses
	heartbeatEvery    = 15 * time.Second       // of a stream of events that sends nothing else
	streamStallMin    = heartbeatEvery         // a client that takes nothing is given this long at least
	streamRetryEvery  = 500 * time.Millisecond // when there was no room to make a piece of a stream
	streamMsMax       = 1 << 40                // how long a stream of a feed may be asked to last: 35 years
	feedPage          = 1000                   // events in a page of a feed unless asked otherwise
	feedPageMax       = 10_000                 // events in a page of a feed at most
	cursorBytesMax    = 128                    // a feed's token or cursor
	headerListMax     = 1 << 10                // bytes of names of the headers that a feed's client wants
	cloudEventsMax    = 100_000                // events in a batch
	tailsKept         = 8                      // buffers of shared pieces that a loop keeps for reuse
	headBytesTypical  = 384                    // room for an answer's head; a longer one grows the buffer
	headBytesMax      = 1 << 10                // room that is left for the head of a large answer
	answerBytesKept   = 1 << 20                // scratch memory a loop keeps
	ttlMsMax          = 1 << 45                // a key's time to live: more than a thousand years
	kvRecordsBytes    = 4 << 10                // what two records of a key without its value take at most, in bytes
	kvScanMax         = 20_000                 // keys that a page of a list looks at
	kvExpireTurn      = 200                    // keys that a loop has expired at a time
	kvFindTries       = 10                     // how often a value is looked for that should be there
	kvExpireIdle      = 100 * time.Millisecond // looks for keys in flight that may expire
	kvExpireEvery     = 5 * time.Millisecond
)

// Limits of groups.
const (
	sessionMsDefault   = 10_000                 // how long a member may stay silent, unless it says otherwise
	heartbeatMovingMs  = 100                    // until a member is to ask again while partitions move
	sessionsEvery      = 250 * time.Millisecond // between looks at who was not heard of
	sessionsLate       = time.Second            // a look so late means that this node stood still
	walkSteps          = 8192                   // partitions and groups that a walk visits in one turn
	groupsListedMax    = 100_000                // groups that a list is made of
	groupTopicsListed  = 64                     // topics that a list names per group
	groupPartitionsMax = 10_000                 // partitions in a group's description
)

// Limits of queries and joins.
const (
	queriesQueuedMax   = 32                     // queries that wait for a worker
	queryBodyMax       = 1 << 20                // the body of a request, with its schemas, in bytes
	queryInlineBytes   = 4 << 10                // a larger body is read by a worker
	queryTimeMax       = 30 * time.Second       // from the request's arrival to its answer
	queryPatience      = time.Second            // after which whoever has ended its sending side is taken to have gone
	queryStateBytesMax = 64 << 20               // what an evaluation remembers
	queryOutputMax     = 16 << 20               // bytes of rows, and of aggregates, in an answer
	paceEvery          = 500 * time.Microsecond // of work, after which an evaluation rests if producers are at work
	queryRest          = 12                     // times as long as it has worked,
	pipeRest           = 3                      // or a pipeline, which has to keep up with them,
	paceRestMax        = 50 * time.Millisecond  // at most
	scanPageMessages   = 1024                   // messages that a scan copies at a time
	scanTurnMessages   = 256                    // the same where several partitions are read in turns
	scanTurns          = 8                      // turns that each of them has at least, of the messages that are asked for
	scanPageBytes      = 512 << 10              // after which it copies no further one
	scanKeptBytes      = 4 << 20                // memory that a page keeps
	mergeAheadMessages = 16                     // messages of a partition whose times say where its next one belongs among the others'
	mergePageMessages  = 64                     // messages that a merge copies at a time, at least
	mergePagesBytes    = 4 << 20                // bytes of messages after which a merge copies no more, over all partitions
)

// Limits of pipelines.
const (
	pipersQueuedMax  = engine.PipelinesMax + 64 // pipelines, and requests for some, that wait for a worker
	pipeStepMessages = 2048                     // messages that a step takes
	pipeStepBytes    = 1 << 20                  // of messages after which it takes no further one
	pipeRowsBytes    = 1 << 20                  // of rows, likewise
	pipeStepRows     = 4 * pipeStepMessages     // rows, likewise
	pipeMessageRows  = 8 << 20                  // bytes of rows that may come of one message
	pipeArenaKept    = 4 << 20                  // memory for rows that a pipeline at work keeps
	pipeHeldBytes    = 8 << 20                  // of messages at hand after which no further partition is looked at in a step
	pipePageMin      = 16                       // messages of a partition that are read at a time, however many partitions there are
	pipePageBytesMin = 16 << 10                 // the same in bytes, unless one message is larger
	pipePageEncoded  = 24                       // bytes of a page in a step
	pipeStateSmall   = 4 << 10                  // what a query remembers is logged with every step up to this size
	pipeFlightMax    = 2                        // steps of a pipeline that are made durable at the same time
	pipeTendEvery    = time.Second              // between looks at what should run
	pipeLeadEvery    = 20 * time.Millisecond    // the same, of a node that is about to lead
)

// Limits of what stands before the handlers.
const (
	inlineInflateBytes = 64 << 10 // a gzip body that is, or becomes, larger is inflated off the loop
	corsOriginsMax     = 255      // origins that web pages may call from
)

// FrameBytesMax is the largest frame that a request within these limits may become. The one that
// opens a batch may be as large as this, the others only fill up to batchBytesSoft. Every line of an
// NDJSON body costs a record header besides: a body near the limit whose lines are shorter than
// such a header is refused and must be split.
func FrameBytesMax(bodyMax int64, headMax int) int { return 2*int(bodyMax) + headMax + batchBytesSoft }
