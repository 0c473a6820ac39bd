package api

import (
	"bytes"

	"ayder/httpparse"
	"ayder/internal/console"
)

// The web console: package console has the files, this sends them, to everybody. They are compressed once, when the first is
// asked for, which a readers goroutine does. A browser asks again each time whether a file has changed and is told by its
// ETag that it has not: a new version of the server has a new console at once.

// consolePage answers the page itself.
func consolePage(l *loop, x *exchange) (reply, error) { return l.consoleFile(x, console.Index) }

// consoleFile answers what the page needs.
func consoleFile(l *loop, x *exchange) (reply, error) { return l.consoleFile(x, string(x.args.file)) }

func (l *loop) consoleFile(x *exchange, name string) (reply, error) {
	zipped := acceptsGzip(x.req.Lookup("accept-encoding"))
	known := bytes.Clone(x.req.IfNoneMatch)
	l.exclude(x.conn)
	c, m := x.conn, x.meta
	job := func(Reader) {
		f := console.Find(name)
		l.net.Post(func() {
			if f == nil {
				l.finishError(c, &m, errNotFound)
				return
			}
			l.finish(c, &m, 0, fileReply(f, known, zipped))
		})
	}
	if !l.server.readers.add(job) {
		return reply{}, errOverloaded
	}
	return reply{later: true}, nil
}

// fileReply is the answer with a file, or that the client has it.
func fileReply(f *console.File, known []byte, zipped bool) *reply {
	header := "ETag: " + f.ETag + "\r\nCache-Control: no-cache\r\nVary: Accept-Encoding\r\n" + console.Policy
	tag := bytes.TrimPrefix([]byte(f.ETag), []byte("W/"))
	switch {
	case len(known) > 0 && tagMatches(known, tag):
		return &reply{status: 304, header: header}
	case zipped:
		return &reply{status: 200, contentType: f.ContentType, header: header + "Content-Encoding: gzip\r\n", body: f.Gzip}
	}
	return &reply{status: 200, contentType: f.ContentType, header: header, body: f.Body}
}

// acceptsGzip tells whether an Accept-Encoding field names gzip, or everything, without forbidding it (RFC 9110 section 12.5.3).
func acceptsGzip(field []byte) bool {
	all := false
	for part := range bytes.SplitSeq(field, []byte(",")) {
		coding, parameters, _ := bytes.Cut(part, []byte(";"))
		weight, has := bytes.CutPrefix(bytes.TrimSpace(parameters), []byte("q="))
		wanted := !has || len(bytes.Trim(weight, "0.")) > 0
		switch coding = bytes.TrimSpace(coding); {
		case httpparse.EqualFold(coding, "gzip"), httpparse.EqualFold(coding, "x-gzip"):
			return wanted
		case string(coding) == "*":
			all = wanted
		}
	}
	return all
}
