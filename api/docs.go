package api

import (
	"bytes"
	"fmt"
	"strings"
	"sync"

	"ayder/docs"
)

// The server's own documentation: package docs makes it, this serves it, to everybody. Making a page takes longer than a loop
// may be held up, so the answer comes from a readers goroutine; the page of errors is made here, from the table that they
// come from. A client that has a page (If-None-Match) is told so, one that takes gzip gets that.

// pagePolicy lets a page show its own style and nothing else.
var pagePolicy = "Content-Security-Policy: " + docs.Policy + "\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nVary: Accept-Encoding\r\nCache-Control: no-cache\r\n"

// openAPI answers the OpenAPI document.
func openAPI(l *loop, x *exchange) (reply, error) { return l.document(x, docs.OpenAPI) }

// docsPage answers a page for people, by its name.
func docsPage(l *loop, x *exchange) (reply, error) {
	name := string(x.args.page)
	if x.args.page != nil && name == "" || !docs.Has(name) {
		return reply{}, errNotFound
	}
	return l.document(x, func() *docs.Article { return docs.Page(name) })
}

// docsErrors explains every error code: the "docs" of an error's body point here.
func docsErrors(l *loop, x *exchange) (reply, error) { return l.document(x, errorArticle) }

var errorArticle = sync.OnceValue(func() *docs.Article {
	var b strings.Builder
	b.WriteString("<h1>Error codes</h1>\n<p>Every answer that is an error is JSON with <code>ok</code> false, the code in <code>error</code>, " +
		"what is wrong in <code>message</code>, and in <code>docs</code> the path of its line here.</p>\n<dl>\n")
	for _, e := range errorTable() {
		fmt.Fprintf(&b, "<dt id=%q><code>%d %s</code></dt><dd>%s</dd>\n", e.Code, e.Status, e.Code, docs.Escape(e.Message))
	}
	b.WriteString("</dl>\n")
	return docs.Framed("errors", "Error codes", b.String())
})

// document answers what make returns, which is called elsewhere.
func (l *loop) document(x *exchange, make func() *docs.Article) (reply, error) {
	l.exclude(x.conn)
	c, m := x.conn, x.meta
	known, zip := bytes.Clone(x.req.IfNoneMatch), acceptsGzip(x.req.Lookup("accept-encoding"))
	job := func(Reader) {
		r := articleReply(make(), known, zip)
		l.net.Post(func() { l.finish(c, &m, 0, &r) })
	}
	if !l.server.readers.add(job) {
		return reply{}, errOverloaded
	}
	return reply{later: true}, nil
}

// articleReply is the form of an article that the client takes, or 304 if it has that.
func articleReply(a *docs.Article, known []byte, zip bool) reply {
	tag, body, coding := `"`+a.Tag+`"`, a.Body, ""
	if zip {
		tag, body, coding = `"`+a.Tag+`-z"`, a.Gzip, "Content-Encoding: gzip\r\n"
	}
	header := "ETag: " + tag + "\r\n" + pagePolicy
	if tagMatches(known, []byte(tag)) {
		return reply{status: 304, header: header}
	}
	return reply{status: 200, contentType: a.ContentType, header: header + coding, body: body}
}
