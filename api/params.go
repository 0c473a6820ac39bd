package api

import (
	"bytes"
	"strconv"

	"ayder/engine"
	"ayder/httpparse"
)

// Query parameters: one bit, one name and one case of put each. A route says which it takes; anything else, and
// anything twice, is refused by name, because a misspelt "idempotency_key" that is ignored would lose the
// very promise it asks for. Nothing allocates: values alias the request, or the loop's scratch once decoded.

// param is a set of query parameters, one bit each; a route says which it takes.
type param uint64

const (
	pPartition param = 1 << iota
	pKey
	pIdem
	pTimeout
	pTiming
	pTime
	pConcern
	pExpected
	pEnvelope
	pOffset
	pLimit
	pMaxBytes
	pEncoding
	pReset
	pConsistency
	pWait
	pSince
	pCAS
	pTTL
	pRaw
	pPrefix
	pAfter
	pWatch
	pMember
	pGeneration
	pToken
	pCursor
	pCursorOf // cursor0, cursor1 and so on: the number is the partition's
	pPageSize
	pStream
	pCount
	pHeaders
	pDedupe

	kvWriteParams = pCAS | pTimeout | pTiming | pConcern
	pollParams    = pMember | pGeneration | pLimit | pMaxBytes | pEncoding | pWait
	produceParams = pPartition | pKey | pIdem | pTimeout | pTiming | pTime | pConcern | pExpected
	feedParams    = pToken | pPartition | pCursor | pCursorOf | pPageSize | pStream | pCount | pHeaders | pWait | pConsistency
	cloudParams   = pPartition | pKey | pIdem | pTimeout | pTiming | pConcern | pDedupe
	cloudReading  = pPartition | pOffset | pLimit | pMaxBytes | pConsistency | pWait | pSince
	consumeParams = pOffset | pLimit | pMaxBytes | pEncoding | pConsistency | pWait | pSince
)

// start says where a consumer begins.
type start uint8

const (
	startCommitted start = iota // no offset given
	startOffset
	startEarliest
	startLatest
)

// args are a request's decoded path and query. Slices alias the request or the loop's scratch.
type args struct {
	set       param
	start     start
	b64       bool
	timing    bool
	envelope  bool
	reset     bool
	concern   Concern
	partition uint32
	limit     int
	maxBytes  int
	timeoutMs int64
	waitMs    int64
	sinceMs   uint64
	timeMs    uint64
	expected  uint64
	offset    uint64
	topic     []byte
	group     []byte
	key       []byte
	idem      []byte
	namespace []byte
	kvKey     []byte
	prefix    []byte
	after     []byte
	cas       uint64
	ttlMs     uint64
	raw       bool
	watch     bool
	schema    uint32
	pipeline  []byte
	file      []byte
	piece     []byte // a file of the log, and its id
	pieceID   []byte
	page      []byte
	groupArgs
	feedArgs
}

// feedArgs are those of feeds and events.
type feedArgs struct {
	dedupe   bool
	spread   []byte // what decides on the partition where there is no key
	token    []byte
	cursor   []byte
	pageSize int
	streamMs int64 // streamEndless: until somebody ends it
	count    uint32
	headers  []byte
}

// groupArgs are those of calls about groups.
type groupArgs struct {
	member     []byte
	generation uint64
}

func (a *args) has(p param) bool { return a.set&p != 0 }

// paramOf maps a name to its bit; 0 is unknown.
func paramOf(name []byte) param {
	switch string(name) {
	case "partition":
		return pPartition
	case "key":
		return pKey
	case "idempotency_key":
		return pIdem
	case "timeout_ms":
		return pTimeout
	case "timing":
		return pTiming
	case "ts_ms":
		return pTime
	case "concern":
		return pConcern
	case "expected_offset":
		return pExpected
	case "envelope":
		return pEnvelope
	case "offset":
		return pOffset
	case "limit":
		return pLimit
	case "max_bytes":
		return pMaxBytes
	case "encoding":
		return pEncoding
	case "reset":
		return pReset
	case "consistency":
		return pConsistency
	case "wait_ms":
		return pWait
	case "from_ts_ms":
		return pSince
	case "cas":
		return pCAS
	case "ttl_ms":
		return pTTL
	case "raw":
		return pRaw
	case "prefix":
		return pPrefix
	case "after":
		return pAfter
	case "watch":
		return pWatch
	case "member":
		return pMember
	case "generation":
		return pGeneration
	}
	return paramOfFeed(name)
}

// paramOfFeed is paramOf for the parameters of feeds and events.
func paramOfFeed(name []byte) param {
	switch string(name) {
	case "token":
		return pToken
	case "cursor":
		return pCursor
	case "pageSizeHint", "pagesizehint":
		return pPageSize
	case "stream":
		return pStream
	case "n":
		return pCount
	case "headers":
		return pHeaders
	case "dedupe":
		return pDedupe
	}
	if _, ok := cursorOf(name); ok {
		return pCursorOf
	}
	return 0
}

// cursorOf is the partition that a parameter cursor0, cursor1 and so on speaks of.
func cursorOf(name []byte) (partition uint32, ok bool) {
	number, ok := bytes.CutPrefix(name, []byte("cursor"))
	if !ok {
		return 0, false
	}
	n, ok := parseUint(number, 1<<32-1)
	return uint32(n), ok
}

// parseQuery decodes the query into a; only parameters in allowed may occur, each once.
func (l *loop) parseQuery(a *args, query []byte, allowed param) error {
	it := httpparse.Query(query)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		name, err := l.unescapeQuery(k)
		if err != nil {
			return err
		}
		p := paramOf(name)
		if p&allowed == 0 {
			return errUnknownParam.with("unknown query parameter %q", name)
		}
		if a.has(p) {
			return errRepeatedParam.with("query parameter %q occurs twice", name)
		}
		if a.set |= p; p == pCursorOf {
			a.partition, _ = cursorOf(name)
		}
		if v, err = l.unescapeQuery(v); err != nil {
			return err
		}
		if !a.put(p, v) {
			return errBadParameter.with("query parameter %s has the bad value %q", name, v)
		}
	}
	return nil
}

// put stores one value; false means that it is not acceptable.
func (a *args) put(p param, v []byte) (ok bool) {
	var n uint64
	switch p {
	case pPartition:
		n, ok = parseUint(v, 1<<32-1)
		a.partition = uint32(n)
	case pKey:
		a.key, ok = v, len(v) <= keyBytesMax
	case pIdem:
		a.idem, ok = v, len(v) > 0 && len(v) <= idemBytesMax
	case pTimeout:
		n, ok = parseUint(v, timeoutMsMax)
		a.timeoutMs = int64(n)
	case pMember:
		a.member, ok = v, engine.ValidName(v)
	case pGeneration:
		a.generation, ok = parseUint(v, 1<<63-1)
	case pWait:
		n, ok = parseUint(v, waitMsMax)
		a.waitMs = int64(n)
	case pSince:
		a.sinceMs, ok = parseUint(v, 1<<63-1)
	case pTiming:
		a.timing, ok = parseBool(v)
	case pTime:
		a.timeMs, ok = parseUint(v, 1<<63-1)
	case pConcern:
		a.concern, ok = parseConcern(v)
	case pConsistency:
		ok = string(v) == "leader"
	case pExpected:
		a.expected, ok = parseUint(v, 1<<63-1)
	case pEnvelope:
		a.envelope, ok = parseBool(v)
	case pOffset:
		ok = a.putOffset(v)
	case pLimit:
		n, ok = parseUint(v, consumeLimitMax)
		a.limit, ok = int(n), ok && n > 0
	case pMaxBytes:
		n, ok = parseUint(v, consumeBytesMax)
		a.maxBytes, ok = int(n), ok && n > 0
	case pEncoding:
		a.b64, ok = true, string(v) == "b64"
	case pReset:
		a.reset, ok = parseBool(v)
	case pWatch:
		a.watch, ok = parseBool(v)
	case pCAS:
		a.cas, ok = parseUint(v, 1<<63-1)
	case pTTL:
		a.ttlMs, ok = parseUint(v, ttlMsMax)
	case pRaw:
		a.raw, ok = parseBool(v)
	case pPrefix:
		a.prefix, ok = v, len(v) <= engine.KVKeyBytesMax
	case pAfter:
		a.after, ok = v, len(v) <= engine.KVKeyBytesMax
	default:
		return a.putFeed(p, v)
	}
	return ok
}

// putFeed is put for the parameters of feeds and events.
func (a *args) putFeed(p param, v []byte) (ok bool) {
	n := uint64(0)
	switch p {
	case pToken:
		a.token, ok = v, len(v) > 0 && len(v) <= cursorBytesMax
	case pCursor, pCursorOf:
		a.cursor, ok = v, len(v) > 0 && len(v) <= cursorBytesMax
	case pPageSize:
		n, ok = parseUint(v, 1<<31)
		a.pageSize = int(n)
	case pStream:
		ok = a.putStream(v)
	case pCount:
		n, ok = parseUint(v, 1<<32-1)
		a.count = uint32(n)
	case pDedupe:
		a.dedupe, ok = parseBool(v)
	case pHeaders:
		a.headers, ok = v, len(v) > 0 && len(v) <= headerListMax
	}
	return ok
}

// putStream takes a duration in milliseconds, or y for a stream without an end.
func (a *args) putStream(v []byte) bool {
	if string(v) == "y" {
		a.streamMs = streamEndless
		return true
	}
	n, ok := parseUint(v, streamMsMax)
	a.streamMs = int64(n)
	return ok
}

func (a *args) putOffset(v []byte) (ok bool) {
	switch string(v) {
	case "earliest":
		a.start, ok = startEarliest, true
	case "latest":
		a.start, ok = startLatest, true
	default:
		a.start = startOffset
		a.offset, ok = parseUint(v, 1<<63-1)
	}
	return ok
}

// unescapeQuery decodes v, into the loop's scratch if it has anything to decode.
func (l *loop) unescapeQuery(v []byte) ([]byte, error) {
	if bytes.IndexByte(v, '%') < 0 && bytes.IndexByte(v, '+') < 0 {
		return v, nil
	}
	n := len(l.unescaped)
	out, err := httpparse.UnescapeQuery(l.unescaped, v)
	if err != nil {
		return nil, errBadParameter.with("a query parameter has a broken percent escape")
	}
	l.unescaped = out
	return out[n:], nil
}

// unescapePath is the same for a path segment.
func (l *loop) unescapePath(v []byte) ([]byte, error) {
	if bytes.IndexByte(v, '%') < 0 {
		return v, nil
	}
	n := len(l.unescaped)
	out, err := httpparse.UnescapePath(l.unescaped, v)
	if err != nil {
		return nil, errBadPath
	}
	l.unescaped = out
	return out[n:], nil
}

// parseUint reads plain decimal digits, at most max.
func parseUint(v []byte, max uint64) (uint64, bool) {
	if len(v) == 0 || len(v) > 19 {
		return 0, false
	}
	var n uint64
	for _, c := range v {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, n <= max
}

func parseBool(v []byte) (value, ok bool) {
	switch string(v) {
	case "1", "true":
		return true, true
	case "0", "false":
		return false, true
	}
	return false, false
}

// appendMember appends `,"name":n`.
func appendMember(b []byte, name string, n uint64) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return strconv.AppendUint(b, n, 10)
}
