package api

import (
	"bytes"
	"errors"
	"strconv"
	"time"

	"ayder/engine"
	"ayder/internal/record"
)

// Watching a namespace: GET /kv/{ns}?watch=1 is a stream of events, one per change, in the order of the changes.
//
//	id: 17                     the change's offset in its bucket's stream; Last-Event-ID resumes behind it
//	event: put                 or delete, expire
//	data: {"key":"a","cas":3,"expiry_ms":null,"value":"…"}        a delete or expiry has key and cas alone
//
// A watch begins with what changes from now on, or behind Last-Event-ID: of an event, or the last_event_id of a list, which
// so goes over into a watch without a gap. Values that were overwritten are given back with time. A watch
// that would have to show one gets the present state instead and goes on from there:
//
//	event: reset               what was known of the keys is void; data: {"reason":"compacted"}
//	event: put                 … every key that there is, without an id
//	id: 90
//	event: synced              that was all, as of this id; data: {}
//
// A client that is cut off within resumes from before the reset and gets the whole again. A hole is found by the
// offsets, which count the changes of all namespaces of the bucket, so there may be a reset that was not needed, and never one too few.
//
// Pieces are made on the loop of the connection as long as what they need is in memory, else by a readers goroutine,
// and the state always there, from a snapshot of the bucket's tree.

// kvWatcher is one watch.
type kvWatcher struct {
	stream *stream
	ear    ear
	bucket uint32
	ns     []byte
	prefix []byte // with the namespace, as the stream has keys
	next   uint64 // offset of the change to look at next
	busy   bool   // another goroutine or loop works for it
	state  *kvState
}

// kvState is the state that a watcher is sent, as far as it got.
type kvState struct {
	snapshot engine.KVSnapshot
	from     []byte // the key to go on with
}

// kvWatch begins a stream of changes.
func (l *loop) kvWatch(x *exchange) (reply, error) {
	a := &x.args
	if a.has(pLimit) || a.has(pAfter) {
		return reply{}, errBadParameter.with("limit and after are not for watch=1")
	}
	w := &kvWatcher{bucket: engine.KVBucketOf(a.namespace), ns: bytes.Clone(a.namespace)}
	w.prefix = engine.AppendKVKey(nil, a.namespace, a.prefix)
	w.next = l.server.options.Engine.KVEnd(w.bucket)
	if id := x.req.LastEventID; len(id) > 0 && string(id) != "-1" {
		last, ok := parseUint(id, 1<<63-1)
		if !ok {
			return reply{}, errBadParameter.with("Last-Event-ID %q is not a number that an event had", id)
		}
		w.next = last + 1
	} else if len(id) > 0 {
		w.next = 0
	}
	return l.stream(x, true, w)
}

// more sends what there is.
func (w *kvWatcher) more(l *loop, s *stream) {
	if w.stream == nil {
		w.stream = s
		l.listen(&w.ear, engine.KVStream(w.bucket), w)
	}
	for !w.busy && !s.full() {
		end := l.server.options.Engine.KVEnd(w.bucket)
		if w.state == nil && w.next >= end {
			return
		}
		if !l.mayMake() || !w.piece(l, end) {
			s.retryLater()
			return
		}
	}
}

// heard sends what is new.
func (w *kvWatcher) heard(l *loop, _ *feed) {
	if !w.stream.full() {
		w.more(l, w.stream)
	}
}

// gone forgets the stream.
func (w *kvWatcher) gone(l *loop) { l.unlisten(&w.ear) }

// piece sends a piece if what it needs is in memory, or has it made elsewhere; false: there is no room for that.
func (w *kvWatcher) piece(l *loop, end uint64) bool {
	if w.state != nil {
		return w.elsewhere(l, w.state.piece(w))
	}
	p := kvPiece{w: w, next: w.next, end: end, out: l.body[:0]}
	err := p.read(l.reader, false)
	l.body = p.out[:0]
	if errors.Is(err, ErrCold) && p.next == w.next {
		return w.elsewhere(l, func(r Reader) (kvPiece, error) {
			cold := kvPiece{w: w, next: p.next, end: end}
			err := cold.read(r, true)
			return cold, err
		})
	}
	w.take(l, &p, err)
	return true
}

// elsewhere has a piece made by a goroutine that may wait for the disk.
func (w *kvWatcher) elsewhere(l *loop, work func(Reader) (kvPiece, error)) bool {
	job := func(r Reader) {
		p, err := work(r)
		l.net.Post(func() {
			w.busy = false
			l.making -= streamPieceBytes
			if !w.stream.over {
				w.take(l, &p, err)
				w.more(l, w.stream)
			}
		})
	}
	if !l.server.readers.add(job) {
		return false
	}
	w.busy = true
	l.making += streamPieceBytes
	return true
}

// take sends a piece.
func (w *kvWatcher) take(l *loop, p *kvPiece, err error) {
	switch {
	case err != nil && !errors.Is(err, ErrCold):
		w.stream.fail(errDamaged.with("%v", err))
		return
	case p.state != nil:
		if w.state = p.state; p.done {
			w.state, w.next = nil, p.next
		}
	case p.hole && p.next == w.next:
		w.reset(l)
		return
	default:
		w.next = p.next
	}
	w.stream.write(p.out)
}

// reset begins to send the state: the loop that owns the bucket takes a snapshot.
func (w *kvWatcher) reset(l *loop) {
	w.stream.write([]byte("event: reset\ndata: {\"reason\":\"compacted\"}\n\n"))
	w.busy = true
	owner := l.server.loops[l.server.options.Engine.ShardOf(engine.KVStream(w.bucket))]
	owner.net.Post(func() {
		state := &kvState{snapshot: owner.shard.KVSnapshotOf(w.bucket), from: w.prefix}
		l.net.Post(func() {
			w.busy = false
			if !w.stream.over {
				w.state = state
				w.more(l, w.stream)
			}
		})
	})
}

// kvPiece is a piece of a watch while it is being made, by any goroutine.
type kvPiece struct {
	w    *kvWatcher // its bucket and prefix alone are looked at
	out  []byte
	next uint64 // behind the last change looked at
	end  uint64
	hole bool // the change at next is not there any more

	state *kvState // of the state, not of changes: where it goes on,
	done  bool     // or it is complete, as of next
}

// read renders changes until the piece is large enough, or the end or a hole is reached.
func (p *kvPiece) read(r Reader, block bool) error {
	full := false
	_, err := r.Read(engine.KVStream(p.w.bucket), p.next, p.end, block, func(s record.Section) bool {
		if s.Base > p.next {
			p.hole = true
			return false
		}
		p.section(&s)
		full = len(p.out) >= streamPieceBytes
		return !full
	})
	if err == nil && !full && p.next < p.end {
		p.hole = true
	}
	return err
}

func (p *kvPiece) section(s *record.Section) {
	it := s.Records()
	offset := s.Base
	if offset < p.next {
		it.Skip(int(p.next - offset))
		offset = p.next
	}
	var m record.Record
	for offset < p.end && it.Read(&m) {
		if c, ok := engine.ReadKVChange(&m); ok && bytes.HasPrefix(m.Key, p.w.prefix) {
			p.out = append(p.out, "id: "...)
			p.out = strconv.AppendUint(p.out, offset, 10)
			p.out = append(p.out, '\n')
			p.out = appendKVEvent(p.out, &c)
		}
		offset++
		p.next = offset
	}
}

// appendKVEvent renders a change, but for its id.
func appendKVEvent(b []byte, c *engine.KVChange) []byte {
	switch {
	case c.Put:
		b = append(b, "event: put\ndata: {"...)
	case c.Expired:
		b = append(b, "event: expire\ndata: {"...)
	default:
		b = append(b, "event: delete\ndata: {"...)
	}
	b = appendMember(appendKey(b, "key", c.Key), "cas", c.CAS)
	if c.Put {
		if c.Expiry == 0 {
			b = append(b, `,"expiry_ms":null`...)
		} else {
			b = appendMember(b, "expiry_ms", c.Expiry)
		}
		b = append(b, `,"value":"`...)
		b = appendBase64(b, c.Value)
		b = append(b, '"')
	}
	return append(b, '}', '\n', '\n')
}

// piece returns the work of making the next piece of the state. It does not change the state, but makes the next one.
func (s *kvState) piece(w *kvWatcher) func(Reader) (kvPiece, error) {
	return func(r Reader) (p kvPiece, err error) {
		p = kvPiece{w: w, state: &kvState{snapshot: s.snapshot}, done: true, next: s.snapshot.Next()}
		now := uint64(time.Now().UnixMilli())
		s.snapshot.Ascend(s.from, func(full []byte, e engine.KVEntry) bool {
			switch {
			case !bytes.HasPrefix(full, w.prefix):
				return false
			case len(p.out) >= streamPieceBytes:
				p.state.from, p.done = bytes.Clone(full), false
				return false
			case e.Expiry != 0 && e.Expiry <= now:
				return true // its record comes, or has come
			}
			err = p.present(r, full, e)
			return err == nil
		})
		if p.done && err == nil {
			p.out = append(p.out, "id: "...)
			p.out = strconv.AppendInt(p.out, int64(p.next)-1, 10)
			p.out = append(p.out, "\nevent: synced\ndata: {}\n\n"...)
		}
		return p, err
	}
}

// present renders a key of the state. A value that is gone was overwritten since, which the changes behind will show.
func (p *kvPiece) present(r Reader, full []byte, e engine.KVEntry) error {
	_, err := r.Read(engine.KVStream(p.w.bucket), e.Offset, e.Offset+1, true, func(s record.Section) bool {
		it := s.Records()
		var m record.Record
		if s.Base > e.Offset {
			return false
		}
		it.Skip(int(e.Offset - s.Base))
		if !it.Read(&m) || !bytes.Equal(m.Key, full) {
			return false
		}
		if c, ok := engine.ReadKVChange(&m); ok {
			p.out = appendKVEvent(p.out, &c)
		}
		return false
	})
	return err
}
