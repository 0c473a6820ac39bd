package api

import (
	"errors"
	"strconv"
	"time"

	"ayder/engine"
	"ayder/internal/record"
)

// The key-value store: put, delete, get, meta, list. Keys live in memory, in the engine's shard that owns the namespace;
// values in the log, found by the offset that the shard knows.
//
// A write is decided on the owner's loop and parked like a produce; one that builds on a write in flight need not wait for
// it. A read sees what is applied. Where it finds a key that has expired by the clock but not yet in the log, it has the
// expiry logged first and is executed again (kvDue): so what one reader has seen gone no other sees again, whoever leads.
//
// A value that is not in memory is read by a readers goroutine. Meanwhile the key may change, and its former value be
// given back: then the request is executed again, too.

// kvPlace is where a request's key lives.
type kvPlace struct {
	bucket uint32
	full   []byte // namespace and key as the engine has them; valid until the loop's next request
	owner  int
}

func (l *loop) kvPlace(a *args) kvPlace {
	n := engine.KVBucketOf(a.namespace)
	l.kvFull = engine.AppendKVKey(l.kvFull[:0], a.namespace, a.kvKey)
	return kvPlace{n, l.kvFull, l.server.options.Engine.ShardOf(engine.KVStream(n))}
}

// kvPut gives a key a value.
func kvPut(l *loop, x *exchange) (reply, error) {
	if len(x.body) > engine.KVValueBytesMax {
		return reply{}, errTooLarge.with("a value has at most %d bytes", engine.KVValueBytesMax)
	}
	at := l.kvPlace(&x.args)
	if at.owner != l.index {
		return l.forward(at.owner, x)
	}
	c, err := l.batch(len(x.body) + len(x.head) + kvRecordsBytes)
	if err != nil {
		return reply{}, err
	}
	opt := x.args.kvOptions()
	if opt.TTLMs > 0 {
		opt.NowMs = uint64(time.Now().UnixMilli())
	}
	got, err := l.shard.KVPut(c.batch, at.bucket, at.full, x.body, opt)
	if err != nil {
		return reply{}, kvError(err, got.CAS)
	}
	if ttl := x.args.ttlMs; ttl > 0 {
		l.checkKeysBy(l.net.Now() + int64(min(ttl, 1000))*1e6)
	}
	l.counters.BytesAppended.Add(uint64(len(x.body)))
	return l.kvChanged(x, c, got, owedKV)
}

// kvDelete takes a key away; one that is not there is no error.
func kvDelete(l *loop, x *exchange) (reply, error) {
	at := l.kvPlace(&x.args)
	if at.owner != l.index {
		return l.forward(at.owner, x)
	}
	c, err := l.batch(len(x.head) + kvRecordsBytes)
	if err != nil {
		return reply{}, err
	}
	got, err := l.shard.KVDelete(c.batch, at.bucket, at.full, x.args.kvOptions())
	switch {
	case err != nil:
		return reply{}, kvError(err, got.CAS)
	case !got.Changed:
		return l.kvNothing(x)
	}
	return l.kvChanged(x, c, got, owedKVDelete)
}

func (a *args) kvOptions() engine.KVOptions {
	return engine.KVOptions{CAS: a.cas, HasCAS: a.has(pCAS), TTLMs: a.ttlMs}
}

func kvError(err error, current uint64) error {
	switch {
	case errors.Is(err, engine.ErrCAS):
		return errCAS.current(current)
	case errors.Is(err, engine.ErrKVLimit):
		return errOverloaded.with("%v", err)
	}
	return err
}

// current is e with the key's cas, 0 where there is no such key.
func (e *Error) current(cas uint64) *Error {
	c := *e
	c.Fields = string(appendMember(nil, "current", cas))
	return &c
}

// kvChanged parks the answer to a change. Its concern is the client's, but a condition is no use on a write that may be
// taken back.
func (l *loop) kvChanged(x *exchange, c *commit, got engine.KVResult, k kind) (reply, error) {
	c.messages++
	w := waiter{kind: k, offset: got.CAS, concern: l.writeConcern(x)}
	if w.concern == ConcernAsync && x.args.has(pCAS) {
		w.concern = ConcernMajority
	}
	if x.args.has(pTimeout) && x.args.timeoutMs == 0 {
		return l.atOnce(x, &w, false), nil
	}
	return l.park(c.batch, x, w), nil
}

// kvNothing answers a delete that found no key. Like a refusal it speaks of the state, so it waits for what is in
// flight, and for certainty that this node leads (refusal.go).
func (l *loop) kvNothing(x *exchange) (reply, error) {
	w := waiter{kind: owedKVDelete, duplicate: true}
	if last := l.lastBatch(); last != nil {
		return l.park(last.batch, x, w), nil
	}
	if cluster := l.server.options.Cluster; cluster != nil && !x.confirmed && !cluster.Leased() {
		return reply{later: true}, l.awaitBarrier(x)
	}
	return l.atOnce(x, &w, true), nil
}

// appendKV renders the answer to a change of a key.
func (w *waiter) appendKV(b []byte, o outcome) []byte {
	switch {
	case w.kind == owedKVDelete && w.duplicate:
		return append(b, `{"ok":true,"deleted":false`...)
	case w.kind == owedKVDelete:
		b = append(b, `{"ok":true,"deleted":true,"cas":`...)
	default:
		b = append(b, `{"ok":true,"cas":`...)
	}
	b = strconv.AppendUint(b, w.offset, 10)
	b = append(b, durability(false, o)...)
	return appendMember(b, "batch_id", o.index)
}

// kvNow is the clock that a read goes by: the log's alone on a node that does not lead.
func (x *exchange) kvNow() uint64 {
	if x.follower {
		return 0
	}
	return uint64(time.Now().UnixMilli())
}

// kvFind looks the request's key up. Without an entry, reply and error are the handler's result.
func (l *loop) kvFind(x *exchange) (at kvPlace, e engine.KVEntry, found bool, r reply, err error) {
	at = l.kvPlace(&x.args)
	if at.owner != l.index {
		r, err = l.forward(at.owner, x)
		return at, e, false, r, err
	}
	e, state := l.shard.KVGet(at.full, at.bucket, x.kvNow())
	switch state {
	case engine.KVPresent:
		return at, e, true, r, nil
	case engine.KVDue:
		r, err = l.kvDue(x, &at)
		return at, e, false, r, err
	}
	return at, e, false, r, errUnknownKey
}

// kvDue has a key expired that x has found due, and x executed again when that is certain. Where nothing can be written
// the clock must do.
func (l *loop) kvDue(x *exchange, at *kvPlace) (reply, error) {
	if x.follower || l.failed != nil {
		return reply{}, errUnknownKey
	}
	c, err := l.batch(len(x.head) + kvRecordsBytes)
	switch {
	case err == errStall || err == ErrNotLeader:
		return reply{}, err
	case err != nil:
		return reply{}, errUnknownKey
	}
	b := l.shard.KVExpire(c.batch, at.bucket, at.full)
	l.exclude(x.conn)
	return l.park(l.behind(b, x), x, waiter{kind: owedExecute, again: x.cloned()}), nil
}

// kvMeta tells what is known of a key besides its value.
func kvMeta(l *loop, x *exchange) (reply, error) {
	_, e, found, r, err := l.kvFind(x)
	if !found {
		return r, err
	}
	b := append(l.body[:0], `{"cas":`...)
	b = strconv.AppendUint(b, e.CAS, 10)
	b = l.appendTTL(b, x, e.Expiry)
	b = appendMember(b, "size", uint64(e.Size))
	l.body = append(appendFollower(b, x.follower), '}')
	return reply{status: 200, body: l.body}, nil
}

// appendTTL renders the time that a key has left.
func (l *loop) appendTTL(b []byte, x *exchange, expiry uint64) []byte {
	if expiry == 0 {
		return append(b, `,"ttl_ms":null`...)
	}
	now := max(x.kvNow(), l.shard.KVTime())
	return appendMember(b, "ttl_ms", max(expiry, now)-now)
}

// kvGet answers with a key's value.
func kvGet(l *loop, x *exchange) (reply, error) {
	at, e, found, r, err := l.kvFind(x)
	if !found {
		return r, err
	}
	if x.args.raw && etagMatches(x.req.IfNoneMatch, e.CAS) {
		return reply{status: 304, header: etag(e.CAS)}, nil
	}
	if !l.mayMake() {
		return reply{}, errOverloaded.with("too many large answers wait for slow readers")
	}
	v := &l.kvValue
	v.begin(&at, e, x.args.raw)
	v.out = l.body[:0]
	err = v.read(l.reader, false)
	switch {
	case errors.Is(err, ErrCold):
		return l.kvReadElsewhere(x, &at, e)
	case err != nil:
		return reply{}, errDamaged.with("%v", err)
	case !v.found: // it may be on its way to another segment
		return l.kvReadElsewhere(x, &at, e)
	}
	l.body = v.finish(x.follower)
	return v.reply(l.body), nil
}

// kvReadElsewhere has the value read by a goroutine that may wait for the disk.
func (l *loop) kvReadElsewhere(x *exchange, at *kvPlace, e engine.KVEntry) (reply, error) {
	l.exclude(x.conn)
	follower := x.follower
	v := &kvValue{}
	v.begin(at, e, x.args.raw)
	x = x.cloned()
	v.full = append([]byte(nil), at.full...)
	bucket := at.bucket
	job := func(r Reader) {
		err := v.find(r)
		l.net.Post(func() {
			l.making -= int(e.Size)
			switch again, _ := l.shard.KVGet(v.full, bucket, 0); {
			case err == nil && v.found:
				r := v.reply(v.finish(follower))
				l.finish(x.conn, &x.meta, 0, &r)
			case again.Offset != e.Offset:
				l.resume(x)
			case err != nil:
				l.finishError(x.conn, &x.meta, errDamaged.with("%v", err))
			case follower: // it restarted, and has yet to hear of the changes that made this value useless
				l.finishError(x.conn, &x.meta, errStarting)
			default:
				l.finishError(x.conn, &x.meta, errDamaged.with("the value of the key is not in the log"))
			}
		})
	}
	if !l.server.readers.add(job) {
		return reply{}, errOverloaded
	}
	l.making += int(e.Size)
	return reply{later: true}, nil
}

// kvValue is the answer with one value while it is being made.
type kvValue struct {
	stream record.Stream
	full   []byte
	entry  engine.KVEntry
	raw    bool
	found  bool
	out    []byte
	record record.Record
	visit  func(record.Section) bool // section, made once
}

func (v *kvValue) begin(at *kvPlace, e engine.KVEntry, raw bool) {
	v.stream, v.full, v.entry, v.raw, v.found = engine.KVStream(at.bucket), at.full, e, raw, false
	if v.visit == nil {
		v.visit = v.section
	}
}

func (v *kvValue) read(r Reader, block bool) error {
	_, err := r.Read(v.stream, v.entry.Offset, v.entry.Offset+1, block, v.visit)
	return err
}

// find is read on a goroutine that may wait, where the value may just be on its way to another segment.
func (v *kvValue) find(r Reader) (err error) {
	for try := range kvFindTries {
		if err = v.read(r, true); v.found || err != nil {
			return err
		}
		time.Sleep(time.Duration(try) * time.Millisecond)
	}
	return nil
}

// section renders the value where the section has it; there is nothing to be seen behind it.
func (v *kvValue) section(s record.Section) bool {
	it := s.Records()
	if s.Base > v.entry.Offset {
		return false
	}
	it.Skip(int(v.entry.Offset - s.Base))
	m := &v.record
	if !it.Read(m) || string(m.Key) != string(v.full) {
		return false
	}
	v.found = true
	if v.raw {
		v.out = append(v.out, m.Value...)
		return false
	}
	v.out = append(v.out, `{"value":"`...)
	v.out = appendBase64(v.out, m.Value)
	v.out = append(v.out, `","cas":`...)
	v.out = strconv.AppendUint(v.out, v.entry.CAS, 10)
	return false
}

func (v *kvValue) finish(follower bool) []byte {
	if v.raw {
		return v.out
	}
	return append(appendFollower(v.out, follower), '}')
}

func (v *kvValue) reply(body []byte) reply {
	if !v.raw {
		return reply{status: 200, body: body}
	}
	return reply{status: 200, contentType: "application/octet-stream", header: etag(v.entry.CAS), body: body}
}

// etag is the header line that names a value's version.
func etag(cas uint64) string { return `ETag: "` + strconv.FormatUint(cas, 10) + "\"\r\n" }

// etagMatches tells whether a field If-None-Match names the cas (RFC 9110 section 13.1.2; weak comparison).
func etagMatches(field []byte, cas uint64) bool {
	want := strconv.FormatUint(cas, 10)
	for len(field) > 0 {
		var tag []byte
		tag, field = cutList(field)
		if string(tag) == "*" {
			return true
		}
		if len(tag) > 2 && tag[0] == 'W' && tag[1] == '/' {
			tag = tag[2:]
		}
		if len(tag) == len(want)+2 && tag[0] == '"' && tag[len(tag)-1] == '"' && string(tag[1:len(tag)-1]) == want {
			return true
		}
	}
	return false
}

// cutList splits the first element off a comma-separated list.
func cutList(b []byte) (first, rest []byte) {
	end := len(b)
	for i, c := range b {
		if c == ',' {
			end = i
			rest = b[i+1:]
			break
		}
	}
	first = b[:end]
	for len(first) > 0 && (first[0] == ' ' || first[0] == '\t') {
		first = first[1:]
	}
	for len(first) > 0 && (first[len(first)-1] == ' ' || first[len(first)-1] == '\t') {
		first = first[:len(first)-1]
	}
	return first, rest
}
