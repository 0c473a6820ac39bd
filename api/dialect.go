package api

import (
	"unicode/utf8"

	"ayder/internal/cloudevent"
	"ayder/internal/jsonscan"
	"ayder/internal/record"
)

// Dialects: pages and streams that show messages as another protocol wants them.
//
// Which messages go into a page, from where they are read, and who waits for them, is the same for all (consume.go, follow.go);
// a dialect says how one message looks, what stands around them, and how the answer ends. One set of code reads, and whatever
// holds for pages and streams (limits, slow readers, the end of a server) holds for every protocol.

// dialect is the protocol that a page speaks.
type dialect uint8

const (
	dialectPlain  dialect = iota // our own
	dialectFeed                  // FeedAPI, version 2
	dialectFeedV1                // and version 1, ZeroEventHub
	dialectEvents                // CloudEvents
	dialects
)

// beginning is what stands before the messages of a page.
func (pg *page) beginning() string {
	if pg.dialect == dialectEvents {
		return "["
	}
	return `{"messages":[`
}

// appendOne renders a message.
func (pg *page) appendOne(b []byte, offset uint64, m *record.Record) []byte {
	switch pg.dialect {
	case dialectFeed, dialectFeedV1:
		return pg.appendFeedEvent(b, m)
	case dialectEvents:
		return cloudevent.Append(b, m, cloudevent.Place{Topic: pg.topic, Partition: pg.stream.Partition, Offset: offset}, pg.scan())
	}
	return pg.appendMessage(b, offset, m)
}

// dialectReply is the answer that a page is, in any dialect but our own.
func (pg *page) dialectReply() reply {
	if pg.dialect == dialectEvents {
		return pg.eventsReply()
	}
	return pg.feedReply()
}

// isObject tells whether v is a JSON object in UTF-8, which can be put into another JSON text as it is.
func (pg *page) isObject(v []byte) bool {
	i := jsonscan.SkipSpace(v, 0)
	return i < len(v) && v[i] == '{' && pg.isJSON(v)
}

// isJSON tells whether v is a JSON value in UTF-8.
func (pg *page) isJSON(v []byte) bool { return pg.scan().Valid(v) && utf8.Valid(v) }

// scan is the page's scanner, which only dialects need.
func (pg *page) scan() *jsonscan.Scanner {
	if pg.scanner == nil {
		pg.scanner = new(jsonscan.Scanner)
	}
	return pg.scanner
}
