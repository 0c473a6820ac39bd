package api

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strconv"
	"unicode/utf8"

	"ayder/engine"
	"ayder/internal/jsonscan"
	"ayder/internal/record"
)

// Reading: one page of a partition's messages.
//
// A page is made on the loop when everything it needs is in memory, which is where consumers that keep up
// read. Otherwise it is self-contained (struct page) and made by a readers goroutine that may wait for the
// disk. Rejected: encoding/json with a struct per message, five to ten times slower and an allocation each.

// consume answers one page of a partition's messages, for a group, or begins a stream of them.
func consume(l *loop, x *exchange) (reply, error) {
	fm, err := x.form()
	if err != nil {
		return reply{}, err
	}
	return l.consume(x, fm, dialectPlain)
}

// consume answers in a form and a dialect.
func (l *loop) consume(x *exchange, fm form, d dialect) (reply, error) {
	p, owner, err := l.partition(&x.args)
	if err != nil {
		return reply{}, err
	}
	if p.Rocket() {
		if x.follower {
			return reply{}, ErrNotLeader // who has the messages
		}
		x.args.set |= pConsistency // a stream of them ends when this node ceases to lead
	}
	if owner != l.index {
		return l.forward(owner, x)
	}
	pg, err := l.page(x, p, fm)
	if err != nil {
		return reply{}, err
	}
	if pg.dialect = d; d != dialectPlain {
		pg.topic = string(x.args.topic)
	}
	until, mayWait := l.mayWait(x)
	switch ahead := x.follower && (fm != formPage || mayWait); { // of this node, not of its leader
	case pg.first < p.Floor():
		return reply{}, errBelowFloor.offsets(p.Floor(), pg.end)
	case pg.first > pg.end && !ahead:
		return reply{}, errAboveEnd.offsets(p.Floor(), pg.end)
	case fm != formPage:
		return l.follow(x, pg)
	case pg.first >= pg.end && mayWait:
		return l.sleep(x, pg.stream, pg.first, until), nil
	}
	return l.makePage(x, pg)
}

// makePage makes a page here, or elsewhere if this loop cannot.
func (l *loop) makePage(x *exchange, pg *page) (reply, error) {
	if !l.mayMake() {
		return reply{}, errOverloaded.with("too many large answers wait for slow readers")
	}
	if pg.large() {
		return l.readElsewhere(x, pg)
	}
	pg.out = l.body[:0]
	err := pg.read(l.reader, false)
	if errors.Is(err, ErrCold) || err == nil && pg.missing() {
		return l.readElsewhere(x, pg)
	}
	if err != nil {
		return reply{}, errDamaged.with("%v", err)
	}
	pg.known = x.req.IfNoneMatch
	r := l.pageReply(pg)
	if l.body = pg.out[:0]; r.body != nil {
		l.body = r.body
	}
	return r, nil
}

// missing tells that a page was read and lacks a message that should be there.
func (pg *page) missing() bool { return pg.count == 0 && pg.next < pg.end }

// gone says why the message at offset, which was there, is not: the floor has moved, or the topic was deleted.
func (l *loop) gone(s record.Stream, offset uint64) *Error {
	e := l.server.options.Engine
	t := e.TopicByID(s.Topic)
	if t == nil {
		return errUnknownTopic.with("the topic was deleted")
	}
	st := t.Partition(s.Partition).Stats()
	if st.Floor <= offset {
		return errDamaged.with("the message at offset %d is not there", offset)
	}
	return errBelowFloor.offsets(st.Floor, st.Next)
}

// consumed counts a page that was made.
func (l *loop) consumed(pg *page) {
	l.counters.MessagesConsumed.Add(uint64(pg.count))
	l.counters.BytesConsumed.Add(uint64(pg.payload))
}

// partition finds a request's partition and the loop that owns it.
func (l *loop) partition(a *args) (*engine.Partition, int, error) {
	e := l.server.options.Engine
	t := e.Topic(a.topic)
	if t == nil {
		return nil, 0, errUnknownTopic.with("topic %q does not exist", a.topic)
	}
	p := t.Partition(a.partition)
	if p == nil {
		return nil, 0, errPartition.with("topic %q has %d partitions", a.topic, t.Partitions())
	}
	return p, e.ShardOf(p.Stream()), nil
}

// page is one answer to a consumer while it is being made. It is self-contained, so that it can
// be made by another goroutine when the messages are not in memory.
type page struct {
	stream    record.Stream
	first     uint64 // offset of the first message asked for
	end       uint64 // what is visible ends here
	committed uint64 // the group's, as the client counts
	since     uint64 // the first message must be no older, in milliseconds; 0: it is any, or was found
	limit     int
	bytes     int
	form      form
	dialect   dialect
	topic     string // its name, for dialects that say it
	b64       bool
	follower  bool   // it is a follower's
	known     []byte // entity tags of the pages that the client has
	marked    bool   // what is in out is without gaps, and ends says where each message ends

	partitionText []byte   // `,"partition":N,`
	timeMs        uint64   // what timeText says
	timeText      []byte   // `,"ts_ms":N`
	wanted        [][]byte // names of headers that a feed's client wants
	scanner       *jsonscan.Scanner
	message       record.Record // the one being rendered

	next    uint64 // behind the last message in out
	count   int
	payload int // bytes of their values and keys
	out     []byte
	ends    []mark
}

// mark is where a message's bytes in a page end.
type mark struct{ end, payload int }

// page decides where a consumer starts.
func (l *loop) page(x *exchange, p *engine.Partition, fm form) (*page, error) {
	a := &x.args
	committed, has := p.Committed(a.group)
	pg := newPage(p.Stream(), p.Next(), fm, a.b64)
	pg.limit, pg.bytes, pg.follower, pg.since = a.limit, a.maxBytes, x.follower, a.sinceMs
	switch {
	case x.waited.until != 0:
		pg.first = x.waited.first
	case fm != formPage && len(x.req.LastEventID) > 0:
		last, ok := parseUint(x.req.LastEventID, 1<<63-2)
		if !ok {
			return nil, errBadParameter.with("Last-Event-ID %q is not an offset", x.req.LastEventID)
		}
		pg.first, pg.since = last+1, 0
	case a.start == startOffset:
		pg.first = a.offset
	case a.start == startLatest:
		pg.first = pg.end
	case a.start == startCommitted && has && committed > p.Floor() && !a.has(pSince):
		pg.first = committed
	default:
		pg.first = p.Floor()
	}
	if has {
		pg.committed = l.server.options.commitOut(committed)
	}
	pg.next = pg.first
	return pg, nil
}

// newPage is an empty page of a partition's messages below end.
func newPage(s record.Stream, end uint64, fm form, b64 bool) *page {
	pg := &page{stream: s, end: end, form: fm, b64: b64}
	pg.partitionText = append(appendMember(nil, "partition", uint64(pg.stream.Partition)), ',')
	return pg
}

// large tells that making the page would hold up its loop.
func (pg *page) large() bool {
	return pg.bytes > consumeBytes && pg.end-pg.first > uint64(consumeLimit)
}

// read appends messages until the page is full or the visible end is reached.
func (pg *page) read(r Reader, block bool) error {
	if pg.count == 0 && pg.form == formPage {
		pg.out = append(pg.out, pg.beginning()...)
	}
	if pg.since != 0 {
		if !block {
			return ErrCold
		}
		if err := pg.seek(r); err != nil || pg.since != 0 {
			return err
		}
	}
	_, err := r.Read(pg.stream, pg.next, pg.end, block, pg.section)
	return err
}

// seek moves next to the first message that is not older than since, which is 0 then, or to the end.
func (pg *page) seek(r Reader) error {
	_, err := r.ReadSince(pg.stream, pg.next, pg.end, pg.since, func(s record.Section) bool {
		it := s.Records()
		offset := s.Base
		for m := &pg.message; offset < pg.end && it.Read(m); offset++ {
			if offset >= pg.next && m.TimeMs >= pg.since {
				pg.next, pg.since = offset, 0
				return false
			}
		}
		return true
	})
	if err == nil && pg.since != 0 {
		pg.next = pg.end
	}
	return err
}

// section appends the section's messages from pg.next on; false when the page is full.
func (pg *page) section(s record.Section) bool {
	it := s.Records()
	offset := s.Base
	if offset < pg.next {
		it.Skip(int(pg.next - offset))
		offset = pg.next
	}
	if offset != pg.next { // the floor has overtaken this reader: what it asks for is gone
		return false
	}
	for m := &pg.message; it.Read(m); {
		if offset >= pg.end || pg.count >= pg.limit || !pg.append(offset, m) {
			return false
		}
		offset++
		pg.next = offset
	}
	return true
}

// append renders a message; false when it makes the page too large. The first one never does.
func (pg *page) append(offset uint64, m *record.Record) bool {
	if pg.count > 0 && pg.bytes < len(pg.out)+len(m.Key)+len(m.Value)+pageEndBytes {
		return false // in any encoding; whether it fits in this one is known once it is rendered
	}
	b := pg.appendOne(pg.open(pg.out, offset), offset, m)
	if b = pg.close(b); pg.count > 0 && pg.bytes < len(b)+pageEndBytes {
		return false
	}
	pg.out = b
	pg.count++
	pg.payload += len(m.Value) + len(m.Key)
	if pg.marked {
		pg.ends = append(pg.ends, mark{len(b), pg.payload})
	}
	return true
}

// open appends what stands before a message.
func (pg *page) open(b []byte, offset uint64) []byte {
	switch {
	case pg.form == formEvents:
		b = append(b, "id: "...)
		b = strconv.AppendUint(b, offset, 10)
		return append(b, "\ndata: "...)
	case pg.form == formPage && pg.count > 0:
		return append(b, ',')
	}
	return b
}

// close appends what stands behind a message.
func (pg *page) close(b []byte) []byte {
	switch pg.form {
	case formEvents:
		return append(b, '\n', '\n')
	case formLines:
		return append(b, '\n')
	}
	return b
}

// appendMessage renders a message as a JSON object, the same in pages and in streams.
func (pg *page) appendMessage(b []byte, offset uint64, m *record.Record) []byte {
	b = append(b, `{"offset":`...)
	b = strconv.AppendUint(b, offset, 10)
	b = append(b, pg.partitionText...)
	if pg.b64 {
		b = append(b, `"value_b64":"`...)
		b = appendBase64(b, m.Value)
	} else {
		b = appendBytes(b, "value", m.Value, false)
	}
	b = append(b, pg.keyPrefix(m.HasKey)...)
	if m.HasKey {
		b = appendBytes(b, "key", m.Key, pg.b64)
	}
	b = append(b, pg.timeMember(m.TimeMs)...)
	if len(m.Headers) > 0 {
		b = appendHeaders(b, m.Headers)
	}
	return append(b, '}')
}

// keyPrefix is what stands between value and key, or instead of the key. In base64 the value's
// closing quote is part of it.
func (pg *page) keyPrefix(hasKey bool) string {
	switch {
	case pg.b64 && hasKey:
		return `",`
	case pg.b64:
		return `","key_b64":null`
	case hasKey:
		return `,`
	}
	return `,"key":null`
}

// timeMember renders a message's time, once for all messages of the same millisecond: a page
// mostly holds few batches, and a batch has one time.
func (pg *page) timeMember(timeMs uint64) []byte {
	if pg.timeText == nil || pg.timeMs != timeMs {
		pg.timeMs = timeMs
		pg.timeText = appendMember(pg.timeText[:0], "ts_ms", timeMs)
	}
	return pg.timeText
}

// appendHeaders renders record headers. A value that is not UTF-8 comes as base64 under the name
// with _b64 behind it.
func appendHeaders(b, headers []byte) []byte {
	b = append(b, `,"headers":{`...)
	for i := 0; ; i++ {
		name, value, rest, ok := record.NextHeader(headers)
		if !ok {
			return append(b, '}')
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = appendHeader(b, name, value)
		headers = rest
	}
}

func appendHeader(b, name, value []byte) []byte {
	if utf8.Valid(value) {
		b = append(jsonscan.AppendString(b, name), ':')
		return jsonscan.AppendString(b, value)
	}
	b = jsonscan.AppendString(b, append(bytes.Clone(name), "_b64"...))
	b = append(b, ':', '"')
	b = base64.StdEncoding.AppendEncode(b, value)
	return append(b, '"')
}

// pageEndBytes is the most that finish appends.
const pageEndBytes = len(`],"count":1000,"next_offset":18446744073709551615,"committed_offset":18446744073709551615,"truncated":false` + followerMember + `}`)

// finish closes the page.
func (pg *page) finish() []byte {
	b := append(pg.out, `],"count":`...)
	b = strconv.AppendInt(b, int64(pg.count), 10)
	b = appendMember(b, "next_offset", pg.next)
	b = appendMember(b, "committed_offset", pg.committed)
	if pg.next < pg.end {
		b = append(b, `,"truncated":true`...)
	} else {
		b = append(b, `,"truncated":false`...)
	}
	return append(appendFollower(b, pg.follower), '}')
}

// followerMember says that an answer shows what this node has, which may be less than its leader has.
const followerMember = `,"role":"follower"`

func appendFollower(b []byte, follower bool) []byte {
	if follower {
		b = append(b, followerMember...)
	}
	return b
}

// noteUnread remembers a connection that was given a large answer.
func (l *loop) noteUnread(c *conn, size int) {
	if size >= unreadPageBytes {
		l.unread[c] = struct{}{}
	}
}

// mayMake tells whether another page may be made: memory for large answers is bounded over all
// connections of the loop, because a slow reader costs its client nothing.
func (l *loop) mayMake() bool {
	total := l.making
	for c := range l.unread {
		if n := c.net.Queued(); n >= unreadPageBytes {
			total += n
		} else {
			delete(l.unread, c)
		}
	}
	return total < unreadBytesMax
}

// readElsewhere makes the page on a goroutine that may wait for the disk.
func (l *loop) readElsewhere(x *exchange, pg *page) (reply, error) {
	l.exclude(x.conn)
	c, m := x.conn, x.meta
	pg.known = bytes.Clone(x.req.IfNoneMatch)
	pg.out, pg.count, pg.payload, pg.next = nil, 0, 0, pg.first // from the start, whatever was there already
	var again *exchange                                         // what may have to wait because nothing is as young as it wants
	if until, may := l.mayWait(x); may && pg.since != 0 {
		again = x.cloned()
		again.waited.until = until
	}
	job := func(r Reader) {
		err := pg.read(r, true)
		l.net.Post(func() {
			l.making -= pg.bytes
			if err != nil {
				l.finishError(c, &m, errDamaged.with("%v", err))
				return
			}
			if pg.missing() {
				l.finishError(c, &m, l.gone(pg.stream, pg.next))
				return
			}
			if again != nil && pg.count == 0 && l.sleepAgain(again, pg) {
				return
			}
			r := l.pageReply(pg)
			l.finish(c, &m, 0, &r)
		})
	}
	if !l.server.readers.add(job) {
		return reply{}, errOverloaded
	}
	l.making += pg.bytes
	return reply{later: true}, nil
}
