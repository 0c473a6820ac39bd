package api

import (
	"errors"

	"ayder/internal/record"
)

// Following a partition: the streams of GET …/consume/….
//
// A follower is an offset. When there is news, or its connection has room again, it takes the next piece and moves on:
//
//	a shared piece   of the feed's tail, if its offset is in it: rendered once for everybody at this feed who wants the same
//	                 form. The last of them to hear of the news throws it away
//	its own piece    rendered for it alone, when it is behind the tail (its client was slow, or came late)
//	a piece made by a readers goroutine   when the messages are not in memory
//
// So what a message costs with a thousand followers is one rendering and a thousand copies into output buffers, and with a
// slow one among them the others do not wait. One that falls below the partition's floor is told so, and ends.

// follower streams one partition to one client.
type follower struct {
	stream  *stream
	ear     ear
	at      record.Stream // the partition
	next    uint64        // offset of the next message
	since   uint64        // the first message must be no older, in milliseconds; 0: it is any
	left    int           // messages until the stream ends, -1: it does not
	form    form
	dialect dialect
	topic   string
	b64     bool
	reading bool // a readers goroutine makes a piece

	feed feedStream // of a stream of a feed
}

// follow begins the stream that x asks for, from the offset at which pg would begin, on the loop of the connection.
func (l *loop) follow(x *exchange, pg *page) (reply, error) {
	f := &follower{at: pg.stream, next: pg.first, since: pg.since, left: -1, form: pg.form, dialect: pg.dialect, topic: pg.topic, b64: pg.b64}
	if pg.dialect == dialectFeed {
		followFeed(f, x, pg)
	}
	if x.args.has(pLimit) {
		f.left = x.args.limit
	}
	home := x.conn.loop
	if home == l {
		return l.stream(x, f.form == formEvents, f)
	}
	c := x.cloned()
	home.net.Post(func() {
		if r, err := home.stream(c, f.form == formEvents, f); err != nil || !r.later {
			home.finish(c.conn, &c.meta, 0, &r)
		}
	})
	return reply{later: true}, nil
}

// more sends what there is.
func (f *follower) more(l *loop, s *stream) {
	if f.stream == nil {
		f.stream = s
		l.listen(&f.ear, f.at, f)
		f.begun(l)
	}
	if f.stale(l) {
		s.end()
		return
	}
	for !f.reading && !s.full() && f.left != 0 {
		p := l.server.lookup(f.at)
		if p == nil || f.next < p.Floor() {
			f.fail(f.lost(l))
			return
		}
		switch end := p.Next(); {
		case f.next >= end:
			return
		default:
			if !f.shared(l, end) && !f.own(l, end) {
				return
			}
		}
	}
	if f.left == 0 {
		s.end()
	}
}

// lost says why the message at f's offset, which is visible or was, is not there.
func (f *follower) lost(l *loop) *Error {
	p := l.server.lookup(f.at)
	if p == nil {
		return errUnknownTopic.with("the topic was deleted")
	}
	if st := p.Stats(); f.next < st.Floor {
		return errBelowFloor.offsets(st.Floor, st.Next)
	}
	return errDamaged.with("the message at offset %d is not there", f.next)
}

// heard sends what is new.
func (f *follower) heard(l *loop, _ *feed) {
	if !f.stream.full() {
		f.more(l, f.stream)
	}
}

// gone forgets the stream.
func (f *follower) gone(l *loop) {
	l.unlisten(&f.ear)
	l.alarms.cancel(&f.feed.alarm)
}

// own renders a piece for f alone; false: it comes later.
func (f *follower) own(l *loop, end uint64) bool {
	if !l.mayMake() {
		f.stream.retryLater()
		return false
	}
	pg := f.page(end)
	pg.out = l.body[:0]
	err := pg.read(l.reader, false)
	l.body = pg.out[:0]
	if pg.next == f.next && (err == nil || errors.Is(err, ErrCold)) {
		f.readElsewhere(l, end)
		return false
	}
	return f.take(l, pg, err)
}

// page is an empty piece for f.
func (f *follower) page(end uint64) *page {
	pg := newPage(f.at, end, f.form, f.b64)
	pg.first, pg.next, pg.since, pg.bytes = f.next, f.next, f.since, streamPieceBytes
	pg.dialect, pg.topic, pg.wanted = f.dialect, f.topic, f.feed.wanted
	if pg.limit = f.left; f.left < 0 {
		pg.limit = streamPieceBytes
	}
	return pg
}

// take sends a piece that was made for f; false if there was none, and the stream has ended.
func (f *follower) take(l *loop, pg *page, err error) bool {
	if err != nil && !errors.Is(err, ErrCold) {
		f.fail(errDamaged.with("%v", err))
		return false
	}
	if pg.next == f.next {
		f.fail(f.lost(l)) // while a goroutine was on its way there
		return false
	}
	l.consumed(pg)
	f.stream.write(pg.out)
	f.since = pg.since
	f.advance(pg.next, pg.count)
	f.checkpoint(l)
	return true
}

func (f *follower) advance(next uint64, count int) {
	f.next = next
	if f.left > 0 {
		f.left -= count
	}
}

// readElsewhere has a goroutine make the next piece, which may wait for the disk.
func (f *follower) readElsewhere(l *loop, end uint64) {
	pg := f.page(end)
	job := func(r Reader) {
		err := pg.read(r, true)
		l.net.Post(func() { f.read(l, pg, err) })
	}
	if !l.server.readers.add(job) {
		f.stream.retryLater()
		return
	}
	f.reading = true
	l.making += pg.bytes
}

// read takes a piece from a goroutine.
func (f *follower) read(l *loop, pg *page, err error) {
	f.reading = false
	l.making -= pg.bytes
	if f.stream.over {
		return
	}
	if f.take(l, pg, err) {
		f.more(l, f.stream)
	}
}

// tail is a piece that all followers of a feed with the same form share: the messages from first to page.next.
type tail struct {
	page  *page
	first uint64
}

// shared sends f what the feed's tail has for it, after adding what is new; false if that is nothing.
func (f *follower) shared(l *loop, end uint64) bool {
	if f.left >= 0 || f.since != 0 || f.feed.wanted != nil {
		return false
	}
	t := f.ear.feed.tail(l, f)
	if t == nil || t.page.next < end && !t.extend(l, f, end) || f.next >= t.page.next {
		return false
	}
	if len(t.page.out) >= unreadPageBytes && !l.mayMake() {
		return false
	}
	from := mark{}
	if n := f.next - t.first; n > 0 {
		from = t.page.ends[n-1]
	}
	l.counters.MessagesConsumed.Add(t.page.next - f.next)
	l.counters.BytesConsumed.Add(uint64(t.page.payload - from.payload))
	f.stream.write(t.page.out[from.end:])
	f.next = t.page.next
	f.checkpoint(l)
	return true
}

// tail is the feed's tail for f, begun at its offset if nobody else needs it; nil if f is behind it.
func (fd *feed) tail(l *loop, f *follower) *tail {
	at := &fd.tails[f.kind()]
	t := *at
	switch {
	case t == nil:
		t = l.newTail(f)
		*at = t
		l.freshen(fd) // so that it is dropped when everybody has heard
	case f.next < t.first:
		return nil
	case f.next > t.page.next || f.next == t.page.next && len(t.page.out) >= streamPieceBytes/2:
		t.begin(f)
	}
	return t
}

// kind is the number of f's form, with or without base64, or of its dialect.
func (f *follower) kind() int {
	if f.dialect != dialectPlain {
		return formCount - int(f.dialect)
	}
	n := 2 * int(f.form-1)
	if f.b64 {
		n++
	}
	return n
}

// begin makes t empty, at f's offset.
func (t *tail) begin(f *follower) {
	out, ends := t.page.out[:0], t.page.ends[:0]
	t.page, t.first = f.page(f.next), f.next
	t.page.out, t.page.ends, t.page.marked = out, ends, true
}

// extend adds what is new, as long as it fits; false if it cannot be had here and now and there is nothing for f.
func (t *tail) extend(l *loop, f *follower, end uint64) bool {
	t.page.end = end
	if err := t.page.read(l.reader, false); err != nil && f.next >= t.page.next {
		return false
	}
	return true
}

// newTail is an empty tail at f's offset.
func (l *loop) newTail(f *follower) *tail {
	t := &tail{page: &page{}}
	if n := len(l.tails); n > 0 {
		t = l.tails[n-1]
		l.tails = l.tails[:n-1]
	}
	t.begin(f)
	return t
}

// dropTails takes the tails from a feed whose listeners have all heard.
func (l *loop) dropTails(fd *feed) {
	for i, t := range fd.tails {
		if t == nil {
			continue
		}
		fd.tails[i] = nil
		if len(l.tails) < tailsKept && cap(t.page.out) <= 2*streamPieceBytes {
			l.tails = append(l.tails, t)
		}
	}
}
