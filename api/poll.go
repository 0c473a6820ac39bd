package api

import (
	"bytes"
	"errors"
	"strconv"

	"ayder/engine"
	"ayder/internal/record"
)

// Polling: a member's heartbeat that brings messages of whatever it is to handle.
//
// The catalogue's loop answers. It asks the loops that own the partitions how far the group has committed there, because
// that is theirs alone, and reads the messages itself, or has a readers goroutine do it. What is polled and not committed
// comes again: the server remembers no position but the committed one.
//
// Fair means: the page is shared out among the partitions that have something, and the one that begins, which may take what
// a whole message needs, is another each time.
//
// A member that knows what it is to handle and finds nothing may wait: with an ear at each of its partitions and one at the
// commands about members, so that a rebalance ends the wait. It waits for a third of its session at most, because it
// is not heard of meanwhile.

// membersStream is where commands about members are logged.
var membersStream = record.Stream{}

// position is one partition of a poll.
type position struct {
	topic     string
	stream    record.Stream
	first     uint64 // offset of the first message for the member
	end       uint64 // what is visible ends here
	committed uint64
	has       bool // the group has committed something
	next      uint64
}

// positions are those of one member in one generation.
type positions struct {
	generation uint64
	list       []position
}

// poll brings a member messages of its partitions.
func poll(l *loop, x *exchange) (reply, error) {
	a := &x.args
	if !a.has(pMember) {
		return reply{}, errBadParameter.with("member is required")
	}
	if l.index != engine.CatalogueShard {
		return l.forward(engine.CatalogueShard, x)
	}
	if x.waited.until == 0 { // what wakes a poll that has slept is no sign of its client's life
		l.heardOf(a.group, a.member)
	}
	if wait, err := l.acknowledge(a.group, a.member, a.generation); err != nil || wait != nil {
		return l.after(wait, x, err)
	}
	if err := l.reaches(x, a.member); err != nil {
		return reply{}, err
	}
	m := l.shard.Membership(a.group)
	i, member := m.Member(a.member)
	if x.positions == nil || x.positions.generation != m.Generation() {
		x.positions = l.positionsOf(m, i)
		if l.locate(x) {
			return reply{later: true}, nil
		}
	}
	a.waitMs = min(a.waitMs, int64(member.SessionMs)/3)
	until, mayWait := l.mayWait(x)
	if mayWait && a.generation == m.Generation() && !x.positions.refresh(l) {
		return l.sleepIn(x, m, until), nil
	}
	x.positions.refresh(l)
	return l.makePoll(x, m, i)
}

// positionsOf are the partitions that member i of m is to handle.
func (l *loop) positionsOf(m *engine.Membership, i int) *positions {
	ps := &positions{generation: m.Generation()}
	m.Assigned(i, func(topic string, s record.Stream, kept bool) {
		if kept {
			ps.list = append(ps.list, position{topic: topic, stream: s})
		}
	})
	return ps
}

// locate finds out what the group has committed. True: other loops have to be asked, and x is executed again then.
func (l *loop) locate(x *exchange) (later bool) {
	group := bytes.Clone(x.args.group)
	shares := make([][]*position, len(l.server.loops))
	for i := range x.positions.list {
		p := &x.positions.list[i]
		if owner := l.server.options.Engine.ShardOf(p.stream); owner == l.index {
			p.locate(l, group)
		} else {
			shares[owner] = append(shares[owner], p)
		}
	}
	asked := 0
	for _, share := range shares {
		if len(share) > 0 {
			asked++
		}
	}
	if asked == 0 {
		return false
	}
	l.exclude(x.conn)
	c := x.cloned()
	c.positions = x.positions
	for owner, share := range shares {
		if len(share) == 0 {
			continue
		}
		there := l.server.loops[owner]
		there.net.Post(func() {
			for _, p := range share {
				p.locate(there, group)
			}
			l.net.Post(func() {
				if asked--; asked == 0 {
					l.resume(c)
				}
			})
		})
	}
	return true
}

// locate is called on the loop that owns the partition.
func (p *position) locate(l *loop, group []byte) {
	if at := l.server.lookup(p.stream); at != nil {
		p.committed, p.has = at.Committed(group)
	}
}

// refresh looks where messages are now, and tells whether there are any. A partition that is gone has none.
func (ps *positions) refresh(l *loop) (some bool) {
	for i := range ps.list {
		p := &ps.list[i]
		at := l.server.lookup(p.stream)
		if p.first, p.end, p.next = 0, 0, 0; at == nil {
			continue
		}
		floor := at.Floor()
		if p.first, p.end = floor, at.Next(); p.has && p.committed > floor {
			p.first = p.committed
		}
		p.next = p.first
		some = some || p.first < p.end
	}
	return some
}

// sleepIn parks a poll until there is a message for the member, or its group has changed.
func (l *loop) sleepIn(x *exchange, m *engine.Membership, until int64) reply {
	x.waited.group = &groupWait{group: m.Name(), generation: m.Generation(), positions: x.positions.list}
	return l.sleep(x, membersStream, 0, until)
}

// groupWait is what a poll that sleeps waits for.
type groupWait struct {
	group      string
	generation uint64
	positions  []position
	ears       []ear // one for each position, and one for the group
}

// listen opens the ears of s.
func (w *groupWait) listen(l *loop, s *sleeper) {
	w.ears = make([]ear, len(w.positions)+1)
	for i := range w.positions {
		l.listen(&w.ears[i], w.positions[i].stream, s)
	}
	l.listen(&w.ears[len(w.positions)], membersStream, s)
}

func (w *groupWait) unlisten(l *loop) {
	for i := range w.ears {
		l.unlisten(&w.ears[i])
	}
}

// over tells whether there is something for the sleeper.
func (w *groupWait) over(l *loop) bool {
	if m := l.shard.Membership([]byte(w.group)); m == nil || m.Generation() != w.generation {
		return true
	}
	for i := range w.positions {
		p := &w.positions[i]
		if at := l.server.lookup(p.stream); at != nil && at.Next() > p.first {
			return true
		}
	}
	return false
}

// makePoll makes a page of several partitions' messages, here or elsewhere.
func (l *loop) makePoll(x *exchange, m *engine.Membership, member int) (reply, error) {
	if !l.mayMake() {
		return reply{}, errOverloaded.with("too many large answers wait for slow readers")
	}
	pp := l.pollPage(x, m, member)
	pp.page.out = l.body[:0]
	err := pp.read(l.reader, false)
	if errors.Is(err, ErrCold) {
		return l.pollElsewhere(x, pp)
	}
	if err != nil {
		return reply{}, errDamaged.with("%v", err)
	}
	l.consumed(pp.page)
	l.body = pp.finish()
	return reply{status: 200, body: l.body}, nil
}

// pollPage is an answer to a poll while it is being made. It is self-contained, as page is.
type pollPage struct {
	page   *page
	list   []position // in the order in which they are read
	limit  int
	bytes  int
	ending []byte // what the answer ends with, the positions apart
	last   bool   // clients commit the last offset processed
}

func (l *loop) pollPage(x *exchange, m *engine.Membership, member int) *pollPage {
	a := &x.args
	pp := &pollPage{page: &page{b64: a.b64}, limit: a.limit, bytes: a.maxBytes, last: l.server.options.CommitIsLast}
	list := x.positions.list
	if n := uint32(len(list)); n > 0 {
		s := l.sessions.of(m.Name(), m.Members()[member].ID, l.net.Now())
		start := s.polls % n
		s.polls++
		pp.list = append(append(pp.list, list[start:]...), list[:start]...)
	}
	b := appendMember(nil, "heartbeat_ms", heartbeatMs(m, &m.Members()[member]))
	pp.ending = append(appendAssignment(b, m, member), '}')
	return pp
}

// read appends messages until the page is full or the visible end of all partitions is reached.
func (pp *pollPage) read(r Reader, block bool) error {
	pg := pp.page
	pg.out = append(pg.out, `{"messages":[`...)
	left := 0
	for i := range pp.list {
		if pp.list[i].first < pp.list[i].end {
			left++
		}
	}
	for i := range pp.list {
		p := &pp.list[i]
		if p.first >= p.end || pg.count >= pp.limit {
			continue
		}
		pg.stream, pg.next, pg.end = p.stream, p.first, p.end
		pg.limit = pg.count + (pp.limit-pg.count+left-1)/left
		pg.bytes = len(pg.out) + (pp.bytes-len(pg.out)+left-1)/left
		left--
		pg.partitionText = append(appendPlace(append(pg.partitionText[:0], ','), p.topic, p.stream.Partition), ',')
		if _, err := r.Read(pg.stream, pg.next, pg.end, block, pg.section); err != nil {
			return err
		}
		p.next = pg.next
	}
	return nil
}

// finish closes the page: for each partition where the member stands, and what it is to handle.
func (pp *pollPage) finish() []byte {
	b := append(pp.page.out, `],"count":`...)
	b = strconv.AppendInt(b, int64(pp.page.count), 10)
	b = append(b, `,"partitions":[`...)
	truncated := false
	for i := range pp.list {
		p := &pp.list[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = appendPlace(append(b, '{'), p.topic, p.stream.Partition)
		b = appendMember(b, "next_offset", p.next)
		b = append(appendCommitted(b, p.committed, p.has, pp.last), '}')
		truncated = truncated || p.next < p.end
	}
	b = append(b, `],"truncated":`...)
	b = strconv.AppendBool(b, truncated)
	return append(b, pp.ending...)
}

// appendCommitted renders a committed offset as the client counts, null where there is none.
func appendCommitted(b []byte, committed uint64, has, last bool) []byte {
	switch {
	case !has:
		return append(b, `,"committed_offset":null`...)
	case last && committed > 0:
		committed--
	}
	return appendMember(b, "committed_offset", committed)
}

// pollElsewhere makes the page on a goroutine that may wait for the disk.
func (l *loop) pollElsewhere(x *exchange, pp *pollPage) (reply, error) {
	l.exclude(x.conn)
	c, m := x.conn, x.meta
	pp.page.out, pp.page.count, pp.page.payload = nil, 0, 0
	for i := range pp.list {
		pp.list[i].next = pp.list[i].first
	}
	job := func(r Reader) {
		err := pp.read(r, true)
		l.net.Post(func() {
			l.making -= pp.bytes
			if err != nil {
				l.finishError(c, &m, errDamaged.with("%v", err))
				return
			}
			l.consumed(pp.page)
			l.finish(c, &m, 0, &reply{status: 200, body: pp.finish()})
		})
	}
	if !l.server.readers.add(job) {
		return reply{}, errOverloaded
	}
	l.making += pp.bytes
	return reply{later: true}, nil
}
