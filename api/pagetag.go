package api

import (
	"bytes"
	"strconv"
)

// Entity tags of pages (RFC 9110 section 8.8.3). The messages at an offset never change, so the bytes of a page follow from the
// request's target and a few numbers: which topic (a deleted one's name may be used again), where the page begins and ends,
// what the group has committed, whether more was there. The tag is those numbers, and strong. A page at the partition's end has
// one, too: when it grows its end moves, and so does its tag; that lets a client ask "anything new?" for the price of a head.
// An empty page has none.
//
// The page is made before the tag can be compared: what limit and max_bytes hold is known only then. A 304 saves the bytes on the
// wire. What is below the floor is gone, whatever the client has: 410 comes first.

// pageTagVersion changes whenever pages are rendered differently.
const pageTagVersion = 'a'

// tag is the page's entity tag, in quotes; nil: it has none.
func (pg *page) tag() []byte {
	if pg.count == 0 {
		return nil
	}
	b := append(make([]byte, 0, 96), '"', pageTagVersion)
	for _, n := range [...]uint64{uint64(pg.stream.Topic), uint64(pg.stream.Partition), pg.first, pg.next, pg.committed, uint64(pg.count)} {
		b = append(strconv.AppendUint(b, n, 36), '.')
	}
	if pg.next < pg.end {
		b = append(b, 't')
	}
	if pg.follower {
		b = append(b, 'f')
	}
	return append(b, '"')
}

// pageReply is the page, or 304 if the client has it already.
func (l *loop) pageReply(pg *page) reply {
	if pg.dialect != dialectPlain {
		l.consumed(pg)
		return pg.dialectReply()
	}
	tag := pg.tag()
	if tag == nil {
		return reply{status: 200, body: pg.finish()}
	}
	header := "ETag: " + string(tag) + "\r\n"
	if tagMatches(pg.known, tag) {
		return reply{status: 304, header: header}
	}
	l.consumed(pg)
	return reply{status: 200, header: header, body: pg.finish()}
}

// tagMatches tells whether a field If-None-Match names tag (RFC 9110 section 13.1.2). Our tags have no commas in them.
func tagMatches(field, tag []byte) bool {
	for one := range bytes.SplitSeq(field, []byte(",")) {
		one = bytes.TrimPrefix(bytes.TrimSpace(one), []byte("W/"))
		if bytes.Equal(one, tag) || string(one) == "*" {
			return true
		}
	}
	return false
}
