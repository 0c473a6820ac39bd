package api

import (
	"bytes"
	"strconv"

	"ayder/internal/timing"

	"ayder/internal/jsonscan"
)

// Rendering: status line, Date, length, Server-Timing, body, in one pass into the connection's output.
//
// The answer's stages are recorded where it is rendered, so that /admin/timing, Server-Timing and the client
// agree. Appending strings beats a template or net/http's header map by an order of magnitude.

// reply is what a handler returns besides an error: an answer, or the promise of a later one.
type reply struct {
	status      int
	contentType string // empty: application/json
	header      string // further lines, each with CRLF
	body        []byte // may alias the loop's scratch
	endless     bool   // the head of a stream (stream.go)
	later       bool   // a waiter, another goroutine or another loop will answer
}

// finish renders an answer, records its timings and sends it, or takes it to the loop that owns
// the connection. durable is when its batch became durable, 0 if it waited for none.
func (l *loop) finish(c *conn, m *meta, durable int64, r *reply) {
	if c.loop == l {
		if c.gone() {
			c.owed--
			return
		}
		if c.owed > 1 && m.appended == 0 { // answers before this one are still owed: keep it until they are out
			c.held = l.render(c.held, m, durable, r)
			c.hold(m.flags&wantsClose != 0)
			return
		}
		c.rouse()
		c.net.SetBuffer(l.render(c.net.Reserve(headBytesTypical+len(r.body)), m, durable, r))
		l.noteUnread(c, len(r.body))
		c.answered(m.flags&wantsClose != 0)
		return
	}
	out := l.render(nil, m, durable, r)
	closes := m.flags&wantsClose != 0
	home := c.loop
	home.net.Post(func() { c.deliver(out, closes) })
}

// finishWhole is finish for an answer with room for its head before its body, which nobody else uses any more: a large one is sent as it is, because
// copying megabytes would hold up the loop for as many milliseconds.
func (l *loop) finishWhole(c *conn, m *meta, answer []byte) {
	r := reply{status: 200, body: answer[headBytesMax:]}
	if len(r.body) < unreadPageBytes || c.gone() || c.owed > 1 || c.net.Queued() > 0 || m.flags&isHead != 0 {
		l.finish(c, m, 0, &r)
		return
	}
	head := l.renderHead(l.body[:0], m, 0, &r)
	l.body = head[:0]
	if at := headBytesMax - len(head); at >= 0 {
		answer = answer[at:]
		copy(answer, head)
	} else { // whoever configured such origins has time
		answer = append(bytes.Clone(head), r.body...)
	}
	c.rouse()
	c.net.SetBuffer(answer)
	l.noteUnread(c, len(r.body))
	c.answered(m.flags&wantsClose != 0)
}

// finishError is finish for an error.
func (l *loop) finishError(c *conn, m *meta, e *Error) {
	l.body = appendError(l.body[:0], e)
	r := reply{status: e.Status, header: e.Header, body: l.body}
	if e.RetryAfter > 0 {
		r.header += "Retry-After: " + strconv.Itoa(e.RetryAfter) + "\r\n"
	}
	l.finish(c, m, 0, &r)
}

// render appends the whole HTTP answer to dst.
func (l *loop) render(dst []byte, m *meta, durable int64, r *reply) []byte {
	dst = l.renderHead(dst, m, durable, r)
	if m.flags&isHead == 0 {
		dst = append(dst, r.body...)
	}
	return dst
}

// renderHead appends what stands before the body, and counts the answer.
func (l *loop) renderHead(dst []byte, m *meta, durable int64, r *reply) []byte {
	l.refreshDate()
	at := now()
	dst = append(dst, statusLine(r.status)...)
	dst = append(dst, l.date...)
	switch {
	case r.endless:
		dst = appendEndless(dst, m, r)
	case r.status != 204 && r.status != 304: // which have neither (RFC 9110 section 8.6)
		dst = appendContent(dst, r)
	}
	dst = l.appendTimings(dst, m, durable, at)
	dst = append(dst, l.server.cors.header(m.origin)...)
	dst = append(dst, r.header...)
	switch {
	case m.flags&wantsClose != 0:
		dst = append(dst, "Connection: close\r\n"...)
	case m.flags&isHTTP10 != 0:
		dst = append(dst, "Connection: keep-alive\r\n"...)
	}
	dst = append(dst, '\r', '\n')
	l.counters.CountRequest(int(m.route), r.status)
	return dst
}

// appendContent appends the fields that describe the body.
func appendContent(dst []byte, r *reply) []byte {
	if r.contentType == "" {
		dst = append(dst, "Content-Type: application/json\r\nContent-Length: "...)
	} else {
		dst = append(dst, "Content-Type: "...)
		dst = append(dst, r.contentType...)
		dst = append(dst, "\r\nContent-Length: "...)
	}
	dst = strconv.AppendInt(dst, int64(len(r.body)), 10)
	return append(dst, '\r', '\n')
}

// appendEndless is appendContent for a stream. What stands between may neither keep it nor gather it.
func appendEndless(dst []byte, m *meta, r *reply) []byte {
	dst = append(dst, "Content-Type: "...)
	dst = append(dst, r.contentType...)
	dst = append(dst, "\r\nCache-Control: no-store\r\nX-Accel-Buffering: no\r\n"...)
	if m.flags&isHTTP10 == 0 {
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	return dst
}

// appendTimings records how long each stage took and appends the Server-Timing field.
func (l *loop) appendTimings(dst []byte, m *meta, durable, at int64) []byte {
	recv, queue := m.complete-m.first, m.started-m.complete
	server, commit := at-m.started, timing.Skip
	if durable != 0 && m.appended != 0 {
		commit = durable - m.appended
		server -= commit
		l.recorder.Record(int(m.route), timing.Commit, commit)
	}
	route := int(m.route)
	l.recorder.Record(route, timing.RecvParse, recv)
	l.recorder.Record(route, timing.Queue, queue)
	l.recorder.Record(route, timing.Server, server)
	l.recorder.Record(route, timing.Total, at-m.first)
	if !l.server.options.ServerTiming {
		return dst
	}
	dst = timing.AppendServerTiming(dst, recv, queue, commit, server)
	return append(dst, '\r', '\n')
}

// appendError renders the error shape that every failed call has.
func appendError(b []byte, e *Error) []byte {
	b = append(b, `{"ok":false,"error":"`...)
	b = append(b, e.Code...)
	b = append(b, `","message":`...)
	b = jsonscan.AppendString(b, []byte(e.Message))
	b = append(b, e.Fields...)
	b = append(b, `,"docs":"/docs/errors#`...)
	b = append(b, e.Code...)
	return append(b, '"', '}')
}

// statusLine is the first line of an answer, with its CRLF.
func statusLine(status int) string {
	switch status {
	case 200:
		return "HTTP/1.1 200 OK\r\n"
	case 201:
		return "HTTP/1.1 201 Created\r\n"
	case 204:
		return "HTTP/1.1 204 No Content\r\n"
	case 304:
		return "HTTP/1.1 304 Not Modified\r\n"
	}
	if text, ok := statusTexts[status]; ok {
		return text
	}
	return statusTexts[500]
}

var statusTexts = map[int]string{
	307: "HTTP/1.1 307 Temporary Redirect\r\n",
	400: "HTTP/1.1 400 Bad Request\r\n",
	401: "HTTP/1.1 401 Unauthorized\r\n",
	403: "HTTP/1.1 403 Forbidden\r\n",
	404: "HTTP/1.1 404 Not Found\r\n",
	405: "HTTP/1.1 405 Method Not Allowed\r\n",
	408: "HTTP/1.1 408 Request Timeout\r\n",
	409: "HTTP/1.1 409 Conflict\r\n",
	410: "HTTP/1.1 410 Gone\r\n",
	412: "HTTP/1.1 412 Precondition Failed\r\n",
	413: "HTTP/1.1 413 Content Too Large\r\n",
	414: "HTTP/1.1 414 URI Too Long\r\n",
	415: "HTTP/1.1 415 Unsupported Media Type\r\n",
	416: "HTTP/1.1 416 Range Not Satisfiable\r\n",
	417: "HTTP/1.1 417 Expectation Failed\r\n",
	422: "HTTP/1.1 422 Unprocessable Content\r\n",
	429: "HTTP/1.1 429 Too Many Requests\r\n",
	431: "HTTP/1.1 431 Request Header Fields Too Large\r\n",
	500: "HTTP/1.1 500 Internal Server Error\r\n",
	501: "HTTP/1.1 501 Not Implemented\r\n",
	503: "HTTP/1.1 503 Service Unavailable\r\n",
	504: "HTTP/1.1 504 Gateway Timeout\r\n",
	505: "HTTP/1.1 505 HTTP Version Not Supported\r\n",
	507: "HTTP/1.1 507 Insufficient Storage\r\n",
}
