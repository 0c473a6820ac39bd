package api

import (
	"errors"
	"fmt"

	"ayder/httpparse"
)

// Every error that a client can see, in one table: status, stable code, sentence. Handlers return these values,
// with a more precise message or further members where that helps; nothing else decides a status.
// errStall and the sentinels at the end are between this package and its log and never reach a client.

// Error is an answer that is not a success. Every error a client can see is in the table
// below or in httpparse's, and nowhere else; docs/openapi.yaml lists the same codes.
type Error struct {
	Status     int    // HTTP status
	Code       string // the stable word in "error"
	Message    string // a sentence for a human
	RetryAfter int    // seconds, 0: no Retry-After header
	Header     string // further header lines, each with CRLF
	Fields     string // further JSON members, each with its leading comma
}

// Error is for logs and tests; clients get appendError.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// with is e with a more precise message.
func (e *Error) with(format string, args ...any) *Error {
	c := *e
	c.Message = fmt.Sprintf(format, args...)
	return &c
}

// offsets is e with the two offsets between which a client may read.
func (e *Error) offsets(earliest, next uint64) *Error {
	c := *e
	c.Fields = fmt.Sprintf(`,"earliest_offset":%d,"next_offset":%d`, earliest, next)
	return &c
}

// The table of errors.
var (
	errBadParameter   = &Error{Status: 400, Code: "bad_parameter", Message: "A query parameter has a wrong value"}
	errUnknownParam   = &Error{Status: 400, Code: "unknown_parameter", Message: "A query parameter is not known here"}
	errRepeatedParam  = &Error{Status: 400, Code: "repeated_parameter", Message: "A query parameter occurs twice"}
	errBadPath        = &Error{Status: 400, Code: "bad_path", Message: "The path has a broken percent escape"}
	errBadJSON        = &Error{Status: 400, Code: "bad_json", Message: "The request body is not the JSON that this call takes"}
	errUnknownField   = &Error{Status: 400, Code: "unknown_field", Message: "The request body has an unknown field"}
	errBadNDJSON      = &Error{Status: 400, Code: "bad_ndjson", Message: "A line is not one JSON value; nothing was appended"}
	errEmptyNDJSON    = &Error{Status: 400, Code: "empty_ndjson", Message: "The body holds no line"}
	errMissingTopic   = &Error{Status: 400, Code: "missing_topic", Message: "Topic name is required"}
	errBadTopic       = &Error{Status: 400, Code: "bad_topic", Message: "A topic name is 1 to 249 of A-Z a-z 0-9 . _ -"}
	errBadPartitions  = &Error{Status: 400, Code: "bad_partitions", Message: "A topic has 1 to 1024 partitions"}
	errBadGroup       = &Error{Status: 400, Code: "bad_group", Message: "A group name is 1 to 249 of A-Z a-z 0-9 . _ -"}
	errBadKey         = &Error{Status: 400, Code: "bad_key", Message: "The key is too long"}
	errBadNamespace   = &Error{Status: 400, Code: "bad_namespace", Message: "A namespace is 1 to 249 of A-Z a-z 0-9 . _ -"}
	errBadHeader      = &Error{Status: 400, Code: "bad_message_header", Message: "A message header is too long or there are too many"}
	errBadMember      = &Error{Status: 400, Code: "bad_member", Message: "The node is not described well enough"}
	errBadSchema      = &Error{Status: 400, Code: "bad_schema", Message: "The schema is not one"}
	errUnknownSchema  = &Error{Status: 404, Code: "unknown_schema", Message: "There is no schema of that id"}
	errSchemaLimit    = &Error{Status: 409, Code: "schema_limit", Message: "No more schemas can be registered"}
	errBadPipeline    = &Error{Status: 400, Code: "bad_pipeline", Message: "A pipeline's name is 1 to 249 of A-Z a-z 0-9 . _ -"}
	errNoPipeline     = &Error{Status: 404, Code: "unknown_pipeline", Message: "There is no pipeline of that name"}
	errPipelineExists = &Error{Status: 409, Code: "pipeline_exists", Message: "The pipeline exists and does something else"}
	errPipelineLimit  = &Error{Status: 409, Code: "pipeline_limit", Message: "No more pipelines can be created"}
	errBadQuery       = &Error{Status: 400, Code: "bad_query", Message: "The query or join is not one that can be evaluated"}
	errSumOverflow    = &Error{Status: 422, Code: "sum_overflow", Message: "A sum does not fit 64 bits, or not a float64"}
	errTooMuchOutput  = &Error{Status: 422, Code: "output_too_large", Message: "A row alone is larger than an answer may be"}
	errBadGzip        = &Error{Status: 400, Code: "bad_gzip", Message: "The request body is not what its Content-Encoding says"}
	errNeedsSealed    = &Error{Status: 400, Code: "needs_sealed", Message: "A rocket topic keeps its messages in memory only and cannot promise that"}
	errBadMemberID    = &Error{Status: 400, Code: "bad_member_id", Message: "A member's id is 1 to 249 of A-Z a-z 0-9 . _ -"}
	errUnauthorized   = &Error{Status: 401, Code: "unauthorized", Message: "A valid token is required", Header: "WWW-Authenticate: Bearer realm=\"ayder\"\r\n"}
	errForbidden      = &Error{Status: 403, Code: "forbidden", Message: "The token does not allow this"}
	errNotFound       = &Error{Status: 404, Code: "not_found", Message: "There is nothing at this path"}
	errUnknownTopic   = &Error{Status: 404, Code: "unknown_topic", Message: "The topic does not exist"}
	errPartition      = &Error{Status: 404, Code: "unknown_partition", Message: "The topic has no such partition"}
	errUnknownKey     = &Error{Status: 404, Code: "unknown_key", Message: "The key does not exist"}
	errUnknownGroup   = &Error{Status: 404, Code: "unknown_group", Message: "The group has committed nothing and has no members"}
	errUnknownNode    = &Error{Status: 404, Code: "unknown_node", Message: "The cluster has no such node"}
	errMethod         = &Error{Status: 405, Code: "method_not_allowed", Message: "The path exists, but not with this method"}
	errHeadTimeout    = &Error{Status: 408, Code: "request_timeout", Message: "The request took too long to arrive"}
	errRedirect       = &Error{Status: 307, Code: "redirect_to_leader", Message: "Writes go to the leader; repeat the request at Location"}
	errTopicExists    = &Error{Status: 409, Code: "topic_exists", Message: "The topic exists with other settings"}
	errCAS            = &Error{Status: 409, Code: "cas_mismatch", Message: "The key has another cas than the request names"}
	errUnknownMember  = &Error{Status: 409, Code: "unknown_member", Message: "The group has no such member (any more): stop handling its partitions and join again", Fields: `,"rejoin":true`}
	errFenced         = &Error{Status: 409, Code: "fenced", Message: "The partition is not this member's in that generation"}
	errGroupActive    = &Error{Status: 409, Code: "group_active", Message: "The group has live members"}
	errShrink         = &Error{Status: 409, Code: "fewer_partitions", Message: "A topic cannot have fewer partitions than it has"}
	errNotClustered   = &Error{Status: 409, Code: "not_clustered", Message: "This is a single node: there is nobody to add, remove or hand over to"}
	errNodeConflict   = &Error{Status: 409, Code: "node_conflict", Message: "The cluster's present state does not allow that change"}
	errBadEvent       = &Error{Status: 400, Code: "bad_cloudevent", Message: "An event is not a CloudEvent; nothing was appended"}
	errMedia          = &Error{Status: 415, Code: "unsupported_media_type", Message: "The request body's Content-Type is not one that is read here"}
	errStaleToken     = &Error{Status: 409, Code: "stale_token", Message: "The feed's partitions are not those that the token stands for: ask without parameters for the present ones"}
	errBadCursor      = &Error{Status: 400, Code: "bad_cursor", Message: "The cursor is not one of this partition of this feed"}
	errCursorGone     = &Error{Status: 410, Code: "cursor_gone", Message: "What the cursor points to is not there any more"}
	errBelowFloor     = &Error{Status: 410, Code: "offset_gone", Message: "The offset is below the partition's floor"}
	errPieceGone      = &Error{Status: 410, Code: "file_gone", Message: "The log has another file by now: ask for the list again"}
	errExpected       = &Error{Status: 412, Code: "unexpected_offset", Message: "expected_offset is not the partition's next offset"}
	errTooLarge       = &Error{Status: 413, Code: "body_too_large", Message: "The request body is too large"}
	errAboveEnd       = &Error{Status: 416, Code: "offset_out_of_range", Message: "The offset is above the partition's end"}
	errEncoding       = &Error{Status: 415, Code: "unsupported_encoding", Message: "The request body has a content coding that is not supported here"}
	errRateLimited    = &Error{Status: 429, Code: "rate_limited", Message: "The token's limit is used up; try again after Retry-After", RetryAfter: 1}
	errStorage        = &Error{Status: 500, Code: "storage_failed", Message: "The log stopped after a failed write or sync; reads go on, writes need a restart"}
	errDamaged        = &Error{Status: 500, Code: "storage_damaged", Message: "Stored messages failed their checksum; run ayder check"}
	errInternal       = &Error{Status: 500, Code: "internal", Message: "A bug in the server"}
	errOverloaded     = &Error{Status: 503, Code: "overloaded", Message: "The server has too much to do; try again", RetryAfter: 1}
	errStarting       = &Error{Status: 503, Code: "starting", Message: "The server is not ready yet", RetryAfter: 1}
	errNoLeader       = &Error{Status: 503, Code: "no_leader", Message: "The cluster has no leader that this node knows of; try again", RetryAfter: 1}
	errNoHTTPS        = &Error{Status: 503, Code: "leader_without_tls", Message: "The request came over TLS and the leader's HTTPS port is not known", RetryAfter: 1}
	errLeadershipLost = &Error{Status: 503, Code: "leadership_lost", Message: "This node stopped leading before the commit was known: the write may or may not have been committed; retry with the same idempotency_key", RetryAfter: 1}
	errChange         = &Error{Status: 503, Code: "change_failed", Message: "The cluster could not be changed; try again", RetryAfter: 1}
	errCommitTimeout  = &Error{Status: 504, Code: "commit_timeout", Message: "The commit did not finish in time; it may still take effect"}
	errNoSpace        = &Error{Status: 507, Code: "disk_full", Message: "There is no space for another segment; writes resume when there is", RetryAfter: 5}
)

// errorList has the errors for /docs/errors and for the test that compares it with the documentation.
var errorList = []*Error{
	errBadParameter, errUnknownParam, errRepeatedParam, errBadPath, errBadJSON, errUnknownField, errBadNDJSON, errEmptyNDJSON, errMissingTopic,
	errBadTopic, errBadPartitions, errBadGroup, errBadKey, errBadHeader, errUnauthorized, errForbidden, errNotFound,
	errBadNamespace, errUnknownKey, errCAS,
	errUnknownTopic, errPartition, errMethod, errHeadTimeout, errTopicExists, errShrink, errBelowFloor, errExpected, errTooLarge, errAboveEnd,
	errEncoding, errStorage, errDamaged, errInternal, errOverloaded, errStarting, errNoLeader, errLeadershipLost, errCommitTimeout, errNoSpace,
	errRedirect, errNoHTTPS, errNotClustered, errNodeConflict, errBadMember, errUnknownNode, errChange, errRateLimited, errBadGzip, errNeedsSealed,
	errBadMemberID, errUnknownGroup, errUnknownMember, errFenced, errGroupActive, errBadQuery, errBadSchema, errUnknownSchema, errSchemaLimit, errSumOverflow, errTooMuchOutput,
	errStaleToken, errBadCursor, errCursorGone, errBadEvent, errMedia,
	errPieceGone, errBadPipeline, errNoPipeline, errPipelineExists, errPipelineLimit,
}

// What a Log, a Reader and a Cluster may answer; the program that wires them translates their errors into these.
var (
	ErrNoSpace = errors.New("no space for another segment")
	ErrBusy    = errors.New("the next segment is being prepared")
	ErrCold    = errors.New("not in memory")

	ErrNotLeader      = errors.New("this node does not lead")                                // nothing was proposed
	ErrLeadershipLost = errors.New("leadership was lost before the outcome was known")       // of a batch, or of a change of members
	ErrUnknownNode    = errors.New("no such node in the cluster")                            // promote, remove, transfer
	ErrNodeConflict   = errors.New("the cluster's present state does not allow that change") // exists differently, lags behind, the last voter
)

// errStall, returned by a handler, says that the request has to wait until a batch can be opened.
var errStall = errors.New("wait for a batch")

// asError turns whatever a handler returned into an answer.
func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	var p *httpparse.Error
	if errors.As(err, &p) {
		return &Error{Status: p.Status, Code: p.Code, Message: p.Message}
	}
	return errInternal.with("%v", err)
}

// errorTable is every error that a client can meet, httpparse's included.
func errorTable() []*Error {
	all := append([]*Error(nil), errorList...)
	seen := map[string]bool{}
	for _, e := range all {
		seen[e.Code] = true
	}
	for _, p := range httpparse.Errors() {
		if !seen[p.Code] {
			seen[p.Code] = true
			all = append(all, asError(p))
		}
	}
	return all
}
