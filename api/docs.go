package api

import (
	"fmt"

	"ayder/docs"
)

// The server's own documentation: package docs makes it, this serves it, to everybody. Making it takes longer than a loop
// may be held up, so the answer comes from a readers goroutine; errors are rendered here, from the table that they come
// from.

// pagePolicy lets a page show its own style and nothing else.
const pagePolicy = "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\nX-Content-Type-Options: nosniff\r\n"

// openAPI answers the OpenAPI document.
func openAPI(l *loop, x *exchange) (reply, error) {
	return l.document(x, "application/json", docs.OpenAPI)
}

// docsReference answers a page for people.
func docsReference(l *loop, x *exchange) (reply, error) {
	return l.document(x, "text/html; charset=utf-8", docs.Reference)
}

// document answers what make returns, which is called elsewhere.
func (l *loop) document(x *exchange, contentType string, make func() []byte) (reply, error) {
	l.exclude(x.conn)
	c, m := x.conn, x.meta
	job := func(Reader) {
		body := make()
		l.net.Post(func() {
			l.finish(c, &m, 0, &reply{status: 200, contentType: contentType, header: pagePolicy, body: body})
		})
	}
	if !l.server.readers.add(job) {
		return reply{}, errOverloaded
	}
	return reply{later: true}, nil
}

// docsErrors explains every error code: the "docs" of an error's body point here.
func docsErrors(l *loop, _ *exchange) (reply, error) {
	b := append(l.body[:0], "<!doctype html><html lang=en><meta charset=utf-8><title>Ayder: errors</title><h1>Errors</h1><dl>\n"...)
	for _, e := range errorTable() {
		b = fmt.Appendf(b, "<dt id=%q>%d %s</dt><dd>%s</dd>\n", e.Code, e.Status, e.Code, e.Message)
	}
	l.body = append(b, "</dl></html>\n"...)
	return reply{status: 200, contentType: "text/html; charset=utf-8", header: pagePolicy, body: l.body}, nil
}
