package api

import (
	"strconv"
	"unicode/utf8"

	"ayder/engine"
	"ayder/internal/jsonscan"
)

// Listing a namespace, a page at a time, in the order of the keys' bytes. A page is what the shard has at one moment; between
// two pages keys may come and go. A page ends when it has limit keys or has looked at kvScanMax, those included that
// have expired and await their record, so that none holds up the loop.

// kvList names the keys of a namespace, or watches them.
func kvList(l *loop, x *exchange) (reply, error) {
	if x.args.watch {
		return l.kvWatch(x)
	}
	at := l.kvPlace(&x.args)
	if at.owner != l.index {
		return l.forward(at.owner, x)
	}
	if !l.mayMake() {
		return reply{}, errOverloaded.with("too many large answers wait for slow readers")
	}
	a := &x.args
	after := a.after
	if !a.has(pAfter) {
		after = nil
	}
	pg := kvPage{loop: l, x: x, out: append(l.body[:0], `{"keys":[`...)}
	l.shard.KVList(a.namespace, a.prefix, after, x.kvNow(), pg.add)
	l.body = pg.finish(int64(l.server.options.Engine.KVEnd(at.bucket)) - 1)
	return reply{status: 200, body: l.body}, nil
}

// kvPage is a page of keys while it is being made.
type kvPage struct {
	loop  *loop
	x     *exchange
	out   []byte
	count int
	seen  int
	last  []byte // the last key looked at
	more  bool
}

// add renders a key; false when the page is full.
func (pg *kvPage) add(key []byte, e engine.KVEntry, live bool) bool {
	if pg.count >= pg.x.args.limit || pg.seen >= kvScanMax {
		pg.more = true
		return false
	}
	pg.seen++
	pg.last = append(pg.last[:0], key...)
	if !live {
		return true
	}
	if pg.count++; pg.count > 1 {
		pg.out = append(pg.out, ',')
	}
	b := appendKey(append(pg.out, '{'), "key", key)
	b = appendMember(b, "cas", e.CAS)
	b = pg.loop.appendTTL(b, pg.x, e.Expiry)
	pg.out = append(appendMember(b, "size", uint64(e.Size)), '}')
	return true
}

// finish closes the page; last is the number of the last change that it knows of.
func (pg *kvPage) finish(last int64) []byte {
	b := appendMember(append(pg.out, ']'), "count", uint64(pg.count))
	b = append(b, `,"last_event_id":"`...)
	b = append(strconv.AppendInt(b, last, 10), '"')
	if !pg.more {
		b = append(b, `,"truncated":false`...)
		return append(appendFollower(b, pg.x.follower), '}')
	}
	b = append(b, `,"truncated":true,`...)
	b = appendKey(b, "next_after", pg.last)
	return append(appendFollower(b, pg.x.follower), '}')
}

// appendKey renders a key, which need not be text.
func appendKey(b []byte, name string, key []byte) []byte {
	b = append(b, '"')
	b = append(b, name...)
	if utf8.Valid(key) {
		b = append(b, '"', ':')
		return jsonscan.AppendString(b, key)
	}
	b = append(b, `_b64":"`...)
	return append(appendBase64(b, key), '"')
}
