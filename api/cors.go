package api

import (
	"bytes"
	"slices"
	"strings"

	"ayder/httpparse"
)

// CORS: which web pages may call this server (the Fetch standard, section 3.3). Off unless origins are configured.
//
// The header lines of every answer are made once, at start, one set per origin; a request remembers by a number which of them
// it gets. With one origin, or *, there is nothing to look at. A token is sent by the page's own code, never by the browser by
// itself, so credentials are not allowed.

// corsLines are the header lines of answers: those of the origin n at n, of any other at 0.
type corsLines struct {
	origins []string // configured; compared as they are
	lines   []string
}

// corsExposed are the answer's fields that a page may read besides the harmless ones.
const corsExposed = "Access-Control-Expose-Headers: ETag, Location, Retry-After, Server-Timing\r\n"

// corsRequest are the request's fields that a page may set; X-Ayder-H-anything besides.
var corsRequest = []string{"Accept", "Authorization", "Content-Encoding", "Content-Type", "If-None-Match", "Last-Event-ID"}

// newCORS reads a list of origins, joined by commas. An empty one means no CORS.
func newCORS(list string) (c corsLines) {
	for origin := range strings.SplitSeq(list, ",") {
		if origin = strings.TrimSpace(origin); origin != "" {
			c.origins = append(c.origins, origin)
		}
	}
	switch {
	case len(c.origins) == 0:
		return corsLines{}
	case slices.Contains(c.origins, "*"):
		c.origins = []string{"*"}
		c.lines = []string{"Access-Control-Allow-Origin: *\r\n" + corsExposed}
		return c
	case len(c.origins) > corsOriginsMax:
		panic("bug: more origins than a request can tell apart")
	}
	c.lines = []string{"Vary: Origin\r\n"}
	for _, origin := range c.origins {
		c.lines = append(c.lines, "Access-Control-Allow-Origin: "+origin+"\r\nVary: Origin\r\n"+corsExposed)
	}
	if len(c.origins) == 1 { // the browser compares as well as we could
		c.lines = c.lines[1:]
	}
	return c
}

// of is the number of a request's origin.
func (c *corsLines) of(req *httpparse.Request) uint8 {
	if len(c.lines) < 2 || len(req.Origin) == 0 {
		return 0
	}
	for i, origin := range c.origins {
		if string(req.Origin) == origin {
			return uint8(i + 1)
		}
	}
	return 0
}

// header are the lines of an answer.
func (c *corsLines) header(origin uint8) string {
	if int(origin) >= len(c.lines) {
		return ""
	}
	return c.lines[origin]
}

// preflight is what OPTIONS answers besides Allow and the lines of every answer.
func (c *corsLines) preflight(n *node, req *httpparse.Request) string {
	if len(c.lines) == 0 || len(c.lines) > 1 && c.of(req) == 0 {
		return ""
	}
	return "Access-Control-Allow-Methods: " + n.allow +
		"\r\nAccess-Control-Allow-Headers: " + strings.Join(corsRequest, ", ") + messageFields(req.Lookup("access-control-request-headers")) +
		"\r\nAccess-Control-Max-Age: 600\r\n"
}

// messageFields are those of the fields asked for that carry a message's headers: they cannot be named in advance.
func messageFields(asked []byte) string {
	var b strings.Builder
	for name := range bytes.SplitSeq(asked, []byte(",")) {
		name = bytes.TrimSpace(name)
		if len(name) > len(headerPrefix) && httpparse.HasPrefixFold(name, headerPrefix) && isToken(name) {
			b.WriteString(", ")
			b.Write(name)
		}
	}
	return b.String()
}

// isToken tells whether name can be a field's name (RFC 9110 section 5.6.2).
func isToken(name []byte) bool {
	for _, c := range name {
		if c <= ' ' || c > '~' || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return true
}
