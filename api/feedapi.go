package api

import (
	"bytes"
	"strconv"
	"unicode/utf8"

	"ayder/engine"
	"ayder/internal/jsonscan"
	"ayder/internal/record"
)

// Feeds: topics as a FeedAPI client reads them (vippsas/feedapi-spec), which keeps its own place and needs no group.
//
//	GET /feed/{topic}                                      discovery: {"token":…,"partitions":[{"id":"0"},…],…}
//	GET /feed/{topic}?token=&partition=&cursor=            {"data":…} per event, then {"cursor":…}
//	GET /feed/{topic}?token=&partition=&cursor=&stream=    the same without an end, a cursor behind every piece
//	GET /feed/{topic}?n=&cursorN=                          version 1, ZeroEventHub: lines have "partition" as well
//
// The token says which topic it is, by its number in the log, and how many partitions it has. It is the same on every node and
// after every restart, and another one when the topic grows or is deleted and made anew; whoever comes with that is told to
// discover again (409), and a stream of it ends. A cursor says topic, partition and offset: one of another partition, or of a topic that had
// the name before, is refused and never read as something that it is not. What is older than the partition's floor is 410, with
// the cursor where the feed begins now.
//
// The specification has one path, its Go client asks for events at /events below that; both are served. A value that is a
// JSON object is embedded; any other is a string of the message's bytes, in base64 if they are no text, and then the line
// has "encoding":"base64": so what a message was can be told from what is read.
//
// Rejected: one cursor per event (a third more bytes, and pages are read whole); an error line at the end of a stream (clients
// take any line without a cursor for an event; the next request says what is wrong).

const (
	firstCursor   = "_first"
	lastCursor    = "_last"
	allHeaders    = "_all"
	feedV1Type    = "application/zeh-v1"
	streamEndless = -1 // of args.streamMs
)

// feedStream is what a stream of a feed has besides.
type feedStream struct {
	alarm  alarm    // the end that was asked for
	lastMs int64    // until then; streamEndless: without
	token  []byte   // that it was asked for with
	wanted [][]byte // names of headers
}

// feedAPI answers what a feed has, or its events.
func feedAPI(l *loop, x *exchange) (reply, error) {
	a := &x.args
	if a.set&(feedParams&^pConsistency) == 0 {
		return l.discover(x)
	}
	return feedEvents(l, x)
}

// discover describes the feed.
func (l *loop) discover(x *exchange) (reply, error) {
	t := l.server.options.Engine.Topic(x.args.topic)
	if t == nil {
		return reply{}, errUnknownTopic.with("topic %q does not exist", x.args.topic)
	}
	b := append(l.body[:0], `{"token":"`...)
	b = append(appendToken(b, t), `","partitions":[`...)
	for n := range t.Partitions() {
		if n > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"id":"`...)
		b = append(strconv.AppendUint(b, uint64(n), 10), '"', '}')
	}
	b = append(b, `],"stream":true,"exactlyOnce":`...)
	b = strconv.AppendBool(b, t.Mode() != engine.Rocket) // whose messages may be gone before anybody read them
	l.body = append(b, '}')
	return reply{status: 200, body: l.body}, nil
}

// appendToken appends the token of a topic as it is now.
func appendToken(b []byte, t *engine.Topic) []byte {
	b = append(strconv.AppendUint(b, uint64(t.ID()), 10), '-')
	return strconv.AppendUint(b, uint64(t.Partitions()), 10)
}

// feedEvents answers a page of a partition's events, or begins a stream of them.
func feedEvents(l *loop, x *exchange) (reply, error) {
	a := &x.args
	if err := a.checkFeed(); err != nil {
		return reply{}, err
	}
	t := l.server.options.Engine.Topic(a.topic)
	if t == nil {
		return reply{}, errUnknownTopic.with("topic %q does not exist", a.topic)
	}
	if err := checkFeedOf(a, t); err != nil {
		return reply{}, err
	}
	p, owner, err := l.partition(a)
	if err != nil {
		return reply{}, err
	}
	if p.Rocket() {
		if x.follower {
			return reply{}, ErrNotLeader
		}
		a.set |= pConsistency
	}
	if owner != l.index {
		return l.forward(owner, x)
	}
	pg, err := l.feedPage(x, p)
	if err != nil {
		return reply{}, err
	}
	return l.feedAnswer(x, p, pg)
}

// checkFeed tells whether the parameters make a request, of either version.
func (a *args) checkFeed() error {
	switch v1 := a.has(pCount | pCursorOf); {
	case v1 && a.set&(pToken|pPartition|pCursor|pStream) != 0:
		return errBadParameter.with("n and cursorN are of version 1 of the protocol, token, partition, cursor and stream of version 2: they do not go together")
	case v1 && !a.has(pCount):
		return errBadParameter.with("n, the number of partitions, is needed")
	case v1 && !a.has(pCursorOf):
		return errBadParameter.with("cursorN, with the number of a partition for N, is needed")
	case v1:
		return nil
	case !a.has(pToken):
		return errBadParameter.with("token is needed; the discovery, which is this path without parameters, has it")
	case !a.has(pPartition):
		return errBadParameter.with("partition is needed")
	case !a.has(pCursor):
		return errBadParameter.with("cursor is needed: %s, %s or one that was in an answer", firstCursor, lastCursor)
	case a.has(pStream) && a.set&(pPageSize|pWait) != 0:
		return errBadParameter.with("pageSizeHint and wait_ms are for pages; a stream waits for as long as it is read")
	}
	return nil
}

// checkFeedOf tells whether the request is for the topic as it is now.
func checkFeedOf(a *args, t *engine.Topic) error {
	if a.has(pCount) {
		if a.count != t.Partitions() {
			return errBadParameter.with("the feed has %d partitions, not n=%d", t.Partitions(), a.count)
		}
		return nil
	}
	var space [32]byte
	if !bytes.Equal(a.token, appendToken(space[:0], t)) {
		return errStaleToken
	}
	return nil
}

// feedPage is an empty page at the request's cursor.
func (l *loop) feedPage(x *exchange, p *engine.Partition) (*page, error) {
	a := &x.args
	pg := newPage(p.Stream(), p.Next(), formLines, false)
	pg.dialect, pg.bytes, pg.limit, pg.follower = dialectFeed, consumeBytes, feedPage, x.follower
	if a.has(pCount) {
		pg.dialect = dialectFeedV1
	}
	if a.pageSize > 0 {
		pg.limit = min(a.pageSize, feedPageMax)
	}
	if a.has(pHeaders) {
		pg.wanted = bytes.Split(bytes.Clone(a.headers), []byte(","))
	}
	var err error
	switch string(a.cursor) {
	case firstCursor:
		pg.first = p.Floor()
	case lastCursor:
		pg.first = pg.end
	default:
		pg.first, err = readCursor(a.cursor, p.Stream())
	}
	if x.waited.until != 0 {
		pg.first = x.waited.first
	}
	pg.next = pg.first
	return pg, err
}

// feedAnswer answers the page pg, or begins a stream with it.
func (l *loop) feedAnswer(x *exchange, p *engine.Partition, pg *page) (reply, error) {
	until, mayWait := l.mayWait(x)
	switch {
	case pg.first < p.Floor():
		return reply{}, cursorGone(p, "retention has overtaken the cursor")
	case pg.first > pg.end && !x.follower: // of this node, not of its leader
		return reply{}, cursorGone(p, "the cursor points behind the partition's end: what was there is lost")
	case x.args.has(pStream):
		return l.follow(x, pg)
	case pg.first >= pg.end && mayWait:
		return l.sleep(x, pg.stream, pg.first, until), nil
	case pg.first >= pg.end:
		return l.pageReply(pg), nil
	}
	return l.makePage(x, pg)
}

// cursorGone says that a cursor's events are not there, and where the feed begins.
func cursorGone(p *engine.Partition, why string) *Error {
	st := p.Stats()
	e := errCursorGone.with("%s; earliest_cursor is where the feed begins now", why).offsets(st.Floor, st.Next)
	e.Fields += `,"earliest_cursor":"` + string(appendCursor(nil, p.Stream(), st.Floor)) + `"`
	return e
}

// appendCursor appends the cursor of an offset.
func appendCursor(b []byte, s record.Stream, offset uint64) []byte {
	for _, n := range [...]uint64{uint64(s.Topic), uint64(s.Partition)} {
		b = append(strconv.AppendUint(b, n, 10), '-')
	}
	return strconv.AppendUint(b, offset, 10)
}

// readCursor is the offset that a cursor of partition s stands for.
func readCursor(cursor []byte, s record.Stream) (offset uint64, err error) {
	topic, rest, _ := bytes.Cut(cursor, []byte("-"))
	partition, last, _ := bytes.Cut(rest, []byte("-"))
	t, ok1 := parseUint(topic, 1<<32-1)
	n, ok2 := parseUint(partition, 1<<32-1)
	offset, ok3 := parseUint(last, 1<<63-1)
	switch {
	case !ok1 || !ok2 || !ok3:
		return 0, errBadCursor.with("%q is no cursor: take %s, %s or one that was in an answer", cursor, firstCursor, lastCursor)
	case uint32(t) != s.Topic:
		return 0, errCursorGone.with("the cursor %q is of a topic that is not this one; it may have had the same name and was deleted", cursor)
	case uint32(n) != s.Partition:
		return 0, errBadCursor.with("the cursor %q is of partition %d, not %d", cursor, n, s.Partition)
	}
	return offset, nil
}

// appendFeedEvent renders a message as an event.
func (pg *page) appendFeedEvent(b []byte, m *record.Record) []byte {
	b = append(b, '{')
	if pg.dialect == dialectFeedV1 {
		b = append(b, pg.partitionText[1:]...)
	}
	if b = append(b, `"data":`...); pg.isObject(m.Value) {
		b = jsonscan.AppendOnOneLine(b, m.Value)
	} else {
		b = appendFeedString(b, m.Value)
	}
	if pg.wanted != nil {
		b = pg.appendWanted(b, m.Headers)
	}
	return append(b, '}')
}

// appendWanted appends the headers that the client has asked for.
func (pg *page) appendWanted(b, headers []byte) []byte {
	b = append(b, `,"headers":{`...)
	more := false
	for name, value, rest, ok := record.NextHeader(headers); ok; name, value, rest, ok = record.NextHeader(rest) {
		if !pg.wants(name) {
			continue
		}
		if more {
			b = append(b, ',')
		}
		b, more = appendHeader(b, name, value), true
	}
	return append(b, '}')
}

func (pg *page) wants(header []byte) bool {
	for _, name := range pg.wanted {
		if string(name) == allHeaders || bytes.EqualFold(name, header) {
			return true
		}
	}
	return false
}

// appendCheckpoint appends the line that says where the reader is.
func (pg *page) appendCheckpoint(b []byte, offset uint64) []byte {
	b = append(b, '{')
	if pg.dialect == dialectFeedV1 {
		b = append(b, pg.partitionText[1:]...)
	}
	b = append(b, `"cursor":"`...)
	return append(appendCursor(b, pg.stream, offset), "\"}\n"...)
}

// feedReply is the answer that a page of events is.
func (pg *page) feedReply() reply {
	r := reply{status: 200, contentType: linesType, body: pg.appendCheckpoint(pg.out, pg.next)}
	if pg.dialect == dialectFeedV1 {
		r.contentType = feedV1Type
	}
	return r
}

// followFeed prepares f to stream a feed.
func followFeed(f *follower, x *exchange, pg *page) {
	f.feed.lastMs, f.feed.wanted, f.feed.token = x.args.streamMs, pg.wanted, bytes.Clone(x.args.token)
}

// begun is called when f's stream has begun.
func (f *follower) begun(l *loop) {
	if f.dialect != dialectFeed {
		return
	}
	f.checkpoint(l) // for who began with a word
	if f.feed.lastMs == streamEndless {
		return
	}
	f.feed.alarm.who = f
	at := l.net.Now() + f.feed.lastMs*1e6
	l.alarms.set(&f.feed.alarm, at)
	l.net.WakeAt(l.alarms.next())
}

// due ends a stream that has lasted for as long as it was to.
func (f *follower) due(*loop, int64) { f.stream.end() }

// stale tells that f streams a feed whose token is another one now.
func (f *follower) stale(l *loop) bool {
	if f.dialect != dialectFeed {
		return false
	}
	var space [32]byte
	t := l.server.options.Engine.TopicByID(f.at.Topic)
	return t == nil || !bytes.Equal(appendToken(space[:0], t), f.feed.token)
}

// checkpoint tells a feed's client where it is.
func (f *follower) checkpoint(l *loop) {
	if f.dialect != dialectFeed {
		return
	}
	pg := page{stream: f.at, dialect: dialectFeed}
	l.body = pg.appendCheckpoint(l.body[:0], f.next)
	f.stream.write(l.body)
}

// fail ends the stream with an error, where the client would know it for one.
func (f *follower) fail(e *Error) {
	if f.dialect == dialectFeed {
		f.stream.end()
		return
	}
	f.stream.fail(e)
}

// appendFeedString appends a message that is no JSON object as a string.
func appendFeedString(b, v []byte) []byte {
	if utf8.Valid(v) {
		return jsonscan.AppendString(b, v)
	}
	b = appendBase64(append(b, '"'), v)
	return append(b, `","encoding":"base64"`...)
}
