package api

import "strconv"

// Answers without an end: the seam between a connection that is sent things for as long as it lasts and what they are.
//
// Contract, for whoever has something to stream (struct follower in follow.go is the model):
//
//   - Make a value that embeds nothing of the connection, implement streamSource, and return l.stream(x, …) from the
//     handler, on the loop of the connection (x.conn.loop): if the decision was made on another loop, post it home first.
//     Everything that can be refused must have been refused before, because the status line is sent at once.
//   - From then on all is on that loop, without locks. more is called once at the beginning and whenever the connection
//     has room again. When there is news (a feed's heard, a posted function), call more yourself unless s.full().
//   - more writes pieces until s.full() or there is nothing left to write now. A piece is whole (one or several events or
//     lines) and should be about streamPieceBytes: full is judged between pieces, so a connection keeps
//     streamQueuedMax and one piece at most. The bytes are copied: they may be shared by all streams that want the same.
//   - A source that must wait for the disk sets a job on l.server.readers and comes back by a post; meanwhile it writes
//     nothing. If it finds no room there, or l.mayMake() is false, it calls s.retryLater.
//   - end ends the answer in good order, fail after telling the client why. Both call gone, as does a client that goes, or
//     takes nothing for as long as a connection may be idle. After gone the source is not called again and must forget the
//     stream: cancel its ears; posts that still come must look at s.over.
//
// What the client sees: a chunked answer (HTTP/1.0: one that ends with the connection), Connection: close, the last
// answer on its connection; what it sends meanwhile is thrown away. When it closes its sending side it is taken for
// gone. A stream of events (sse) opens with a retry: field and has a comment every 15 s in which nothing else was sent.
// A server that stops ends all of them. With consistency=leader one ends when this node's leadership does.
//
// One costs a few hundred bytes and no goroutine, and no buffer while nothing is queued.

// streamSource is what is streamed. Its methods are called on the loop of the connection and must not block.
type streamSource interface {
	// more writes what there is, until s.full().
	more(l *loop, s *stream)
	// gone says that the stream is over, for whatever reason. It is called once.
	gone(l *loop)
}

// stream is one answer without an end. It belongs to the loop of its connection.
type stream struct {
	alarm   alarm // heartbeat, and a look at whether the client takes what it is sent
	conn    *conn
	source  streamSource
	sse     bool // events; else lines
	chunked bool
	leader  bool // the client reads only from the leader
	starved bool // retryLater was called
	over    bool

	wroteAt int64  // when something was last written
	given   uint64 // bytes written in all
	taken   uint64 // how many of them the kernel had taken
	takenAt int64  // when that was last seen to grow
}

const (
	eventsType = "text/event-stream"
	linesType  = "application/x-ndjson"
)

// stream begins an answer without an end to x: events if sse, else lines. The source's more is called before it returns.
func (l *loop) stream(x *exchange, sse bool, source streamSource) (reply, error) {
	r := reply{status: 200, contentType: linesType, endless: true}
	if sse {
		r.contentType = eventsType
	}
	c := x.conn
	if c.loop != l || c.stream != nil || !c.gone() && c.owed != 1 {
		panic("bug: a stream on another loop's connection, or beside other answers")
	}
	if x.flags&isHead != 0 || c.gone() {
		source.gone(l)
		return r, nil // the head alone; or nobody sees it
	}
	s := &stream{conn: c, source: source, sse: sse, chunked: x.flags&isHTTP10 == 0}
	s.leader = l.server.options.Cluster != nil && x.args.has(pConsistency)
	l.openStream(s, x, &r)
	return reply{later: true}, nil
}

// openStream takes the connection over and sends the head.
func (l *loop) openStream(s *stream, x *exchange, r *reply) {
	c, m := s.conn, x.meta
	m.flags |= wantsClose
	c.stream, c.closing = s, true // what the client still sends is thrown away
	c.rouse()
	c.net.LimitOutput(streamQueuedMax)
	c.net.SetBuffer(l.render(c.net.Reserve(headBytesTypical), &m, 0, r))
	c.net.Hold(-1) // the client's end of stream is the end of this one
	if c.paused {
		c.paused = false
		c.net.Resume()
	}
	c.setDeadline()
	l.counters.Streams.Add(1)
	s.alarm.who = s
	s.takenAt = l.net.Now()
	if s.sse {
		s.write(retryField)
	}
	l.setHeartbeat(s)
	s.source.more(l, s)
	if l.draining {
		s.end()
	}
}

var (
	retryField = []byte("retry: 1000\n\n")
	comment    = []byte(":\n\n")
	lastChunk  = []byte("0\r\n\r\n")
)

// full tells that no more should be written now. When that is over, more is called.
func (s *stream) full() bool { return s.over || s.conn.net.Full() }

// write sends p, whole events or lines, as one chunk.
func (s *stream) write(p []byte) {
	if s.over || len(p) == 0 {
		return
	}
	b := s.conn.net.Reserve(len(p) + chunkBytesMax)
	before := len(b)
	if s.chunked {
		b = strconv.AppendUint(b, uint64(len(p)), 16)
		b = append(b, '\r', '\n')
	}
	b = append(b, p...)
	if s.chunked {
		b = append(b, '\r', '\n')
	}
	s.given += uint64(len(b) - before)
	s.wroteAt = s.conn.loop.net.Now()
	s.conn.net.SetBuffer(b)
	s.conn.loop.noteUnread(s.conn, len(p))
}

// chunkBytesMax is what a chunk has besides its data.
const chunkBytesMax = len("ffffffff\r\n\r\n")

// retryLater has more called in a while: there was no room for what it needs.
func (s *stream) retryLater() {
	s.starved = true
	l := s.conn.loop
	l.alarms.set(&s.alarm, l.net.Now()+int64(streamRetryEvery))
	l.net.WakeAt(l.alarms.next())
}

// end ends the answer in good order.
func (s *stream) end() {
	if s.over {
		return
	}
	l := s.conn.loop
	if s.chunked {
		s.conn.net.Write(lastChunk)
	}
	s.close(l)
	s.conn.net.CloseWhenSent()
}

// fail is end after an event, or a line, that says why.
func (s *stream) fail(e *Error) {
	var b []byte
	if s.sse {
		b = append(b, "event: error\ndata: "...)
	}
	b = append(appendError(b, e), '\n')
	if s.sse {
		b = append(b, '\n')
	}
	s.write(b)
	s.end()
}

// close is the end, on our side of the connection.
func (s *stream) close(l *loop) {
	if s.over {
		return
	}
	s.over = true
	l.alarms.cancel(&s.alarm)
	l.counters.Streams.Add(-1)
	s.conn.stream = nil
	s.source.gone(l)
}

// due is the heartbeat. A client that has taken nothing for as long as a connection may be idle, although there was something
// to take, is cut off.
func (s *stream) due(l *loop, at int64) {
	if taken := s.given - min(s.given, uint64(s.conn.net.Queued())); taken != s.taken || taken == s.given {
		s.taken, s.takenAt = taken, at
	}
	if at-s.takenAt >= max(l.server.options.IdleNs, int64(streamStallMin)) {
		s.conn.net.Abort()
		return
	}
	if s.starved {
		s.starved = false
		s.source.more(l, s)
	}
	if s.over || s.starved {
		return
	}
	if s.sse && at-s.wroteAt >= int64(heartbeatEvery) && !s.full() {
		s.write(comment)
	}
	l.setHeartbeat(s)
}

// setHeartbeat sets the alarm for the time when a comment is needed, or the client's progress is to be looked at.
func (l *loop) setHeartbeat(s *stream) {
	at := l.net.Now() + int64(heartbeatEvery)
	if s.sse && !s.conn.net.Full() {
		at = s.wroteAt + int64(heartbeatEvery)
	}
	l.alarms.set(&s.alarm, at)
	l.net.WakeAt(at)
}

// endStreams ends all streams of this loop that leader is true of, or all.
func (l *loop) endStreams(leaderOnly bool) {
	l.eachAlarmed(func(who alarmed) {
		if s, ok := who.(*stream); ok && (s.leader || !leaderOnly) {
			s.end()
		}
	})
}
