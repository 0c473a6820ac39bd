package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"

	"ayder/engine"
	"ayder/internal/cloudevent"
	"ayder/internal/jsonscan"
	"ayder/internal/record"
)

// CloudEvents: POST /cloudevents/{topic} stores events, in each of the three modes of the HTTP binding; cloudread.go gives them back.
//
// The mode is what Content-Type says: application/cloudevents-batch+json, application/cloudevents+json, or anything else, and then the
// attributes are ce- headers. An event becomes a message (package cloudevent), its attribute time the message's time. A batch is one
// commit of one partition, all or nothing.
//
// The partition is that of partition=, else of key=, else of the attribute partitionkey, else of source and id. For an event is stored once:
// source and id are its idempotency key, and the window of those is a partition's, so what comes again must come to the same one.
// dedupe=0 turns that off; a keyless event then goes where a keyless message goes. Events of a batch whose keys lead to different partitions
// are refused unless the request says where to: two partitions would be two commits, or an order that is not the keys'.
//
// Rejected: one idempotency key for a whole batch (a sender whose batches are cut differently the second time would store all again).

// cloudCall is what a request with events remembers.
type cloudCall struct {
	batch   bool
	events  []cloudevent.Event
	offsets []uint64 // where the events are, if some were there before
	known   int      // how many of them
}

const (
	cloudType      = "application/cloudevents+json"
	cloudBatchType = "application/cloudevents-batch+json"
	cloudPrefix    = "application/cloudevents"
)

// produceCloudEvents appends the request's events.
func produceCloudEvents(l *loop, x *exchange) (reply, error) {
	if x.cloud == nil {
		if len(x.body) > inlineLinesBytes && cloudMode(x.req.ContentType) != 0 {
			return l.readEventsElsewhere(x)
		}
		if l.events == nil {
			l.events = new(cloudevent.Reader)
		}
		l.events.Reset()
		call, err := readEvents(l.events, x)
		if err != nil {
			return reply{}, err
		}
		defer func() { x.cloud = nil }() // it is the loop's memory, and the next request's
		x.cloud = call
	}
	call := x.cloud
	if len(call.events) == 0 {
		l.body = append(l.body[:0], `{"ok":true,"count":0}`...)
		return reply{status: 200, body: l.body}, nil
	}
	size, err := l.placeEvents(x, call)
	if err != nil {
		return reply{}, err
	}
	p, c, r, err := l.target(x, len(call.events), max(0, size-len(x.body)))
	if p == nil {
		return r, err
	}
	return l.appendEvents(x, call, p, c)
}

// cloudMode is how a body of this media type is read: 0 as data, 1 as an event, 2 as a batch, -1 not at all.
func cloudMode(media []byte) int {
	media, _, _ = bytes.Cut(media, []byte(";"))
	media = bytes.ToLower(bytes.TrimSpace(media))
	switch {
	case !bytes.HasPrefix(media, []byte(cloudPrefix)):
		return 0
	case string(media) == cloudType:
		return 1
	case string(media) == cloudBatchType:
		return 2
	}
	return -1
}

// readEvents reads what the request has.
func readEvents(r *cloudevent.Reader, x *exchange) (*cloudCall, error) {
	switch mode := cloudMode(x.req.ContentType); {
	case mode < 0:
		return nil, errMedia.with("events come as %s, %s, or with ce- headers and any other type, not as %q", cloudType, cloudBatchType, x.req.ContentType)
	case mode > 0:
		return readBody(r, mode, x.body)
	}
	e, bad := readBinary(r, x)
	return called(false, bad, e)
}

// readBody reads the events that a body is.
func readBody(r *cloudevent.Reader, mode int, body []byte) (*cloudCall, error) {
	if mode == 1 {
		e, bad := r.Structured(body)
		return called(false, bad, e)
	}
	events, bad := r.Batch(body, cloudEventsMax)
	return called(true, bad, events...)
}

// called is what was read, if there is nothing wrong with it.
func called(batch bool, bad *cloudevent.Error, events ...cloudevent.Event) (*cloudCall, error) {
	if bad != nil {
		return nil, badEvent(bad)
	}
	for i := range events {
		if len(events[i].Key) > keyBytesMax {
			return nil, errBadKey.with("the partitionkey of event %d has more than %d bytes", i, keyBytesMax)
		}
	}
	return &cloudCall{batch: batch, events: events}, nil
}

// readBinary reads an event whose attributes are headers.
func readBinary(r *cloudevent.Reader, x *exchange) (cloudevent.Event, *cloudevent.Error) {
	r.Begin()
	for i := range x.req.Fields {
		f := &x.req.Fields[i]
		if err := r.Header(f.Name, f.Value); err != nil {
			return cloudevent.Event{}, err
		}
	}
	return r.Body(x.req.ContentType, x.body)
}

// badEvent is the answer to an event that is none.
func badEvent(bad *cloudevent.Error) *Error {
	e := errBadEvent.with("%v; nothing was appended", bad)
	if bad.Attribute != "" {
		e.Fields = `,"attribute":` + string(jsonscan.AppendString(nil, bytes.ToValidUTF8([]byte(bad.Attribute), nil)))
	}
	if bad.Index >= 0 {
		e.Fields += `,"index":` + strconv.Itoa(bad.Index)
	}
	return e
}

// readEventsElsewhere has the body read by a readers goroutine; the request goes on here when that is done.
func (l *loop) readEventsElsewhere(x *exchange) (reply, error) {
	l.exclude(x.conn)
	mode, c := cloudMode(x.req.ContentType), x.cloned()
	ok := l.server.readers.add(func(Reader) {
		call, err := readBody(new(cloudevent.Reader), mode, c.body)
		c.cloud = call
		l.goOn(c, err)
	})
	if !ok {
		return reply{}, errOverloaded
	}
	return reply{later: true}, nil
}

// placeEvents decides where the events go, as far as the request says, and how much room they take.
func (l *loop) placeEvents(x *exchange, call *cloudCall) (size int, err error) {
	a := &x.args
	for i := range call.events {
		e := &call.events[i]
		size += record.RecordHeaderBytes + len(e.Headers) + len(e.Value) + len(e.Key) + len(a.key)
		if a.dedupes() {
			size += eventKeyMore + len(e.Source) + len(e.ID)
		}
	}
	if a.has(pPartition|pKey) || x.pinned {
		return size, nil
	}
	if a.dedupes() {
		a.spread = appendEventKey(nil, &call.events[0])
	}
	return size, l.placeByKeys(a, call.events)
}

// placeByKeys has the events go where the key of the first that has one leads, if those of all lead there.
func (l *loop) placeByKeys(a *args, events []cloudevent.Event) error {
	partitions := l.server.options.DefaultPartitions
	if t := l.server.options.Engine.Topic(a.topic); t != nil {
		partitions = t.Partitions()
	}
	first := -1
	for i := range events {
		e := &events[i]
		if !e.HasKey {
			continue
		}
		if first < 0 {
			first, a.spread = i, e.Key
		}
		if here, there := hashKey(a.spread)%partitions, hashKey(e.Key)%partitions; here != there {
			return badEvent(&cloudevent.Error{Attribute: "partitionkey", Index: i, Message: fmt.Sprintf("it leads to partition %d and that of event %d to partition %d: "+
				"a batch is one commit of one partition, so send them apart, or say where to by partition or key", there, first, here)})
		}
	}
	return nil
}

// dedupes tells whether events that were there before are not to be stored again.
func (a *args) dedupes() bool { return !a.has(pIdem) && (!a.has(pDedupe) || a.dedupe) }

// eventKeyMore is what the idempotency key of an event has besides its source and id.
const eventKeyMore = len("ce\x00\x00")

// appendEventKey appends the idempotency key that an event has by its source and id.
func appendEventKey(b []byte, e *cloudevent.Event) []byte {
	from := len(b)
	b = append(append(b, "ce\x00"...), e.Source...)
	b = append(append(b, 0), e.ID...)
	if len(b)-from <= idemBytesMax {
		return b
	}
	sum := sha256.Sum256(b[from:])
	return hex.AppendEncode(append(b[:from], "ce\x00#"...), sum[:])
}

// appendEvents appends the events to a partition; there is room for them in c.
func (l *loop) appendEvents(x *exchange, call *cloudCall, p *engine.Partition, c *commit) (reply, error) {
	a := &x.args
	kind := owedProduce
	if call.batch {
		kind = owedNDJSON
	}
	if c != nil && a.dedupes() {
		return l.appendNewEvents(x, call, p, c, kind)
	}
	if c == nil && a.has(pDedupe) && a.dedupe {
		return reply{}, errNeedsSealed.with("dedupe needs a sealed topic: a rocket topic keeps its messages in memory only, and would forget the key with them")
	}
	many, dup, err := l.begin(x, p, c, uint32(len(call.events)))
	if err != nil {
		return reply{}, produceError(err, p)
	}
	if dup.Duplicate {
		return l.appended(x, p, c, dup, kind)
	}
	for i := range call.events {
		many.Add(l.eventRecord(x, c, &call.events[i]))
	}
	if c == nil {
		return l.launched(x, p, many.End(), kind), nil
	}
	return l.appended(x, p, c, many.End(), kind)
}

// eventRecord is an event as a message; it is valid until the next call.
func (l *loop) eventRecord(x *exchange, c *commit, e *cloudevent.Event) *record.Record {
	m := &l.message
	*m = record.Record{Headers: e.Headers, Value: e.Value, HasKey: e.HasKey, Key: e.Key}
	if x.args.has(pKey) {
		m.HasKey, m.Key = true, x.args.key
	}
	if m.TimeMs = e.TimeMs; !e.HasTime {
		m.TimeMs = l.eventTime(x, c)
	}
	return m
}

// appendNewEvents appends those events that the partition does not know yet.
func (l *loop) appendNewEvents(x *exchange, call *cloudCall, p *engine.Partition, c *commit, k kind) (reply, error) {
	call.offsets, call.known = make([]uint64, 0, len(call.events)), 0
	got := engine.Append{Duplicate: true}
	for i := range call.events {
		e := &call.events[i]
		m := l.eventRecord(x, c, e)
		l.eventKey = appendEventKey(l.eventKey[:0], e)
		m.HasIdem, m.Idem = true, l.eventKey
		one, err := l.shard.Produce(c.batch, p, m, engine.ProduceOptions{})
		switch {
		case err != nil:
			panic("bug: an event that was checked cannot be appended: " + err.Error()) // and others of its batch were
		case one.Duplicate:
			call.known++
			if one.Pending != nil {
				got.Pending = one.Pending
			}
		default:
			got.Duplicate = false
		}
		call.offsets = append(call.offsets, one.Offset)
	}
	got.Offset, got.Count = call.offsets[0], uint32(len(call.offsets))
	if call.batch && got.Pending != nil {
		got.Pending = l.newest() // behind all of those
	}
	if call.batch && call.known > 0 {
		k = owedEvents
	}
	return l.appended(x, p, c, got, k)
}

// appendPlaces renders where the events of a batch are of which some were there before.
func (call *cloudCall) appendPlaces(b []byte) []byte {
	b = appendMember(b, "duplicates", uint64(call.known))
	b = append(b, `,"offsets":[`...)
	for i, n := range call.offsets {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, n, 10)
	}
	return append(b, ']')
}

// newest is the last batch that there is, of at least one.
func (l *loop) newest() *record.Batch {
	if l.open != nil && !l.open.batch.Empty() {
		return l.open.batch
	}
	return l.flight[len(l.flight)-1].batch
}
