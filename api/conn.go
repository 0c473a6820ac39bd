package api

import (
	"ayder/httpparse"
	"ayder/internal/auth"
	"ayder/netpoll"
)

// conn is the HTTP side of a connection: how far the next request has come in, and which answers
// are owed for the ones before it. It belongs to one loop.
//
// Answers go out in request order. Produces may be pipelined: their answers are parked in batches,
// and batches become durable in order, so the order holds by itself (concern.go says what writes do that want
// less or more than that). Every other request is
// executed only when nothing is owed before it. An answer that is ready at once although earlier
// ones are owed (a duplicate, a refused produce) is held until they are out, and nothing more is
// executed until then.
type conn struct {
	net  *netpoll.Conn
	loop *loop

	owed      int    // answers not yet given to net
	scan      uint64 // the last scan that saw an owed answer of this connection and kept it
	trailing  int    // owed answers whose writes are committed
	held      []byte // an answer that waits for those before it
	holding   bool
	exclusive bool // the request being executed must be answered before the next one is looked at
	closing   bool // nothing more is read: the answer to the last request closes the connection
	paused    bool // net shows no input
	continued bool // the interim answer to Expect has been sent for the request coming in

	needed   int                // size of the request coming in, once its head has told it
	firstAt  int64              // when the first byte of the request coming in was read; 0: none yet
	progress httpparse.Progress // of its head
	chunked  *chunkedBody
	deadline int64

	task   *task   // the evaluation that is under way, nil mostly
	stream *stream // the answer without an end that is being sent, nil mostly
	drowsy bool    // the answer owed waits for news: whoever ends the connection meanwhile ends the wait
	away   int     // the loop that waits for news for this connection, from 1; 0: none did

	// Of the loop that executes the request.
	sleeper  *sleeper // what waits for news there
	forsaken bool     // the connection has ended

	tokens        *auth.Tokens // what the last check was made against,
	authorization []byte       // of this field,
	scope         *auth.Scope  // and its outcome
	preflight     string       // header lines of the OPTIONS answer being made
}

// chunkedBody is a request whose body comes in chunks. Its head is kept, because the
// connection's buffer holds only what is not decoded yet.
type chunkedBody struct {
	decoder httpparse.Chunked
	isHead  bool // a HEAD with a body: strange, but allowed
	head    []byte
	body    []byte
}

func (c *conn) gone() bool { return c.net.Closed() }

// idle tells that no request is coming in and none is owed an answer.
func (c *conn) idle() bool { return c.owed == 0 && c.firstAt == 0 && c.chunked == nil }

// data is shown everything that came in and is not used yet.
func (c *conn) data(buf []byte) (used int) {
	for !c.closing && used < len(buf) {
		if c.net.Full() {
			break
		}
		if c.exclusive || c.holding || c.owed >= owedPerConnMax {
			c.pause()
			break
		}
		n := c.next(buf[used:])
		if n == 0 {
			break
		}
		used += n
	}
	if c.closing {
		used = len(buf)
	}
	c.setDeadline()
	return used
}

// next executes the request at the start of buf and returns its size, 0 if it is not complete or
// may not be executed yet.
func (c *conn) next(buf []byte) int {
	l := c.loop
	if c.firstAt == 0 {
		c.firstAt = l.net.Now()
	}
	if c.chunked != nil {
		return c.nextChunk(buf)
	}
	n, err := l.parser.Resume(buf, &c.progress, &l.server.options.HTTP)
	if err != nil {
		return c.refuse(err, l.parser.Request.Method == httpparse.HEAD, len(buf))
	}
	if n == 0 {
		return 0
	}
	req := &l.parser.Request
	if req.Chunked {
		return c.beginChunked(req, buf[:n], len(buf))
	}
	size := n + int(max(req.ContentLength, 0))
	if len(buf) < size {
		return c.await(req, buf[:n], size, len(buf))
	}
	return c.dispatch(req, buf[:n], buf[n:size], size, len(buf))
}

// await is called while a body is incomplete. What can be refused already is refused now.
func (c *conn) await(req *httpparse.Request, head []byte, size, have int) int {
	if c.owed > 0 && req.Expect100 {
		c.pause()
		return 0
	}
	if c.early(req, head, have) {
		return have
	}
	c.needed = size
	c.net.Need(size)
	return 0
}

// early answers a request whose body has not come, if the head alone shows that it must be
// refused, and sends the interim answer if the client waits for one. have is how many bytes came.
func (c *conn) early(req *httpparse.Request, head []byte, have int) (refused bool) {
	l := c.loop
	x := c.exchange(req, head, nil)
	l.unescaped = l.unescaped[:0]
	err := l.resolve(x)
	if err == nil && x.route != nil {
		err = x.checkEncoding()
	}
	if err == nil && req.Expect100 && x.route != nil && x.route.where == leaderOnly && !l.leading() {
		err = l.redirect(x)
	}
	if err != nil && x.req.Method != httpparse.OPTIONS {
		x.flags |= wantsClose
		c.owe()
		c.closing = true
		l.finishError(c, &x.meta, asError(err))
		return true
	}
	if req.Expect100 && !c.continued && have == len(head) {
		c.continued = true
		c.net.Write(continueLine)
	}
	return false
}

var continueLine = []byte("HTTP/1.1 100 Continue\r\n\r\n")

func (c *conn) beginChunked(req *httpparse.Request, head []byte, have int) int {
	if c.owed > 0 {
		c.pause()
		return 0
	}
	if req.Expect100 && have == len(head) && c.early(req, head, have) {
		return have // otherwise the chunks are read first: what follows them may be good requests
	}
	c.chunked = &chunkedBody{isHead: req.Method == httpparse.HEAD, head: append([]byte(nil), head...)}
	return len(head)
}

// nextChunk decodes what came of a chunked body; when it is complete the request is executed.
func (c *conn) nextChunk(buf []byte) int {
	l, ch := c.loop, c.chunked
	out, used, done, err := ch.decoder.Decode(ch.body, buf, l.server.options.HTTP.BodyMax)
	ch.body = out
	if err != nil {
		c.chunked = nil
		return c.refuse(err, ch.isHead, len(buf))
	}
	if !done {
		return used
	}
	n, err := l.parser.Head(ch.head, &l.server.options.HTTP)
	if err != nil || n != len(ch.head) {
		panic("bug: a head that was parsed before does not parse again")
	}
	c.chunked = nil
	c.dispatch(&l.parser.Request, ch.head, ch.body, used, len(buf))
	return used
}

// dispatch executes a complete request of size bytes, of have that came, unless it has to wait for the answers before it.
// While draining, the last of those that came closes the connection; the others have not deserved to be dropped.
func (c *conn) dispatch(req *httpparse.Request, head, body []byte, size, have int) int {
	l := c.loop
	if c.owed > 0 && !mayPipeline(req) {
		c.pause()
		return 0
	}
	x := c.exchange(req, head, body)
	c.firstAt, c.needed, c.continued = 0, 0, false
	if l.draining && (have == size || l.net.Now() >= l.lastCall) {
		x.flags |= wantsClose
	}
	if x.flags&wantsClose != 0 {
		c.closing = true
	}
	l.execute(x)
	return size
}

// mayPipeline tells whether req may be executed while answers before it are owed.
func mayPipeline(req *httpparse.Request) bool {
	var vars [pathVarsMax][]byte
	if len(req.Path) == 0 || req.Path[0] != '/' {
		return false
	}
	n, _ := find(req.Path, &vars)
	if n == nil {
		return false
	}
	r := n.byMethod[req.Method]
	return r != nil && r.pipelines
}

// exchange fills the loop's exchange for a request of this connection.
func (c *conn) exchange(req *httpparse.Request, head, body []byte) *exchange {
	l := c.loop
	x := &l.x
	at := now()
	*x = exchange{
		meta: meta{first: c.firstAt, complete: at, started: at, origin: l.server.cors.of(req)},
		conn: c, head: head, body: body, req: req,
	}
	if req.Method == httpparse.HEAD {
		x.flags |= isHead
	}
	if req.Minor == 0 {
		x.flags |= isHTTP10
	}
	if !req.KeepAlive {
		x.flags |= wantsClose
	}
	return x
}

// refuse answers a request that breaks the rules of HTTP, after those before it, and closes: where
// the next request would start is unknown.
func (c *conn) refuse(err error, head bool, have int) int {
	at := now()
	first := c.firstAt
	if first == 0 {
		first = at
	}
	m := meta{first: first, complete: at, started: at, route: uint16(routeOther), flags: wantsClose}
	if head {
		m.flags |= isHead
	}
	c.closing = true
	c.owe()
	c.loop.finishError(c, &m, asError(err))
	return have
}

// owe counts one more answer that must be sent before the connection may be closed.
func (c *conn) owe() {
	c.owed++
	if c.owed == 1 {
		c.net.Hold(1)
	}
}

// answered is called when the oldest owed answer was given to net.
func (c *conn) answered(closes bool) {
	c.owed--
	if c.holding && c.owed == 1 {
		c.holding = false
		c.owed = 0
		c.net.Write(c.held)
		c.held = c.held[:0]
		closes = c.closing
	}
	if c.owed == 0 {
		c.exclusive = false
		c.net.Hold(-1)
	}
	if closes {
		c.closing = true
		c.net.CloseWhenSent()
		return
	}
	if c.paused && !c.exclusive && c.owed <= owedPerConnMax/2 {
		c.paused = false
		c.net.Resume()
	}
	if c.owed == 0 {
		c.setDeadline()
	}
}

// hold keeps what is in held until the answers before it are out; nothing more is executed until then.
func (c *conn) hold(closes bool) {
	c.holding = true
	c.closing = c.closing || closes
}

// deliver sends an answer that another goroutine or loop has rendered.
func (c *conn) deliver(answer []byte, closes bool) {
	if c.gone() {
		c.owed--
		return
	}
	if c.owed > 1 {
		c.held = append(c.held, answer...)
		c.hold(closes)
		return
	}
	c.rouse()
	c.net.Write(answer)
	c.loop.noteUnread(c, len(answer))
	c.answered(closes)
}

// drowse says that the answer owed may be a long time in coming. What the client would hear otherwise, although it has
// ended its side, it does not any more: it is gone, and nobody need wait for it.
func (c *conn) drowse() {
	if !c.gone() && !c.drowsy {
		c.drowsy = true
		c.net.Hold(-1)
	}
}

// rouse ends drowse: the answer is being sent.
func (c *conn) rouse() {
	if c.drowsy {
		c.drowsy = false
		c.net.Hold(1)
	}
}

func (c *conn) pause() {
	if !c.paused {
		c.paused = true
		c.net.Pause()
	}
}

// setDeadline arms the timeout that fits what the connection waits for.
func (c *conn) setDeadline() {
	o := &c.loop.server.options
	var d int64
	switch t := c.loop.net.Now(); {
	case c.owed > 0 || c.closing:
		d = 0 // the commit timeout governs
	case c.firstAt == 0:
		d = t + o.IdleNs
	default:
		d = c.firstAt + o.HeaderNs + bodyGraceNs(c)
	}
	if d != c.deadline {
		c.deadline = d
		c.net.SetDeadline(d)
	}
}

// bodyGraceNs is how much longer than a head a request with a body may take, by the lowest rate
// at which bodies are accepted.
func bodyGraceNs(c *conn) int64 {
	size := c.needed
	if c.chunked != nil {
		size = len(c.chunked.body) // what came so far: how much is to come is not known
	}
	return int64(size) * 1e9 / bodyRateMin
}

// timeout is called when the deadline has passed.
func (c *conn) timeout() {
	if c.owed > 0 || c.closing {
		return
	}
	if c.firstAt == 0 {
		c.closing = true
		c.net.CloseWhenSent()
		return
	}
	head := c.chunked != nil && c.chunked.isHead
	c.chunked = nil
	c.refuse(errHeadTimeout, head, 0)
}
