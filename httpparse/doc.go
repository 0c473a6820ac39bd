// Package httpparse reads HTTP/1.1 requests out of bytes that somebody else received.
//
// It has no connection, no goroutine and no buffer of its own. The owner of a connection
// shows it every byte that has arrived and is not yet used up, and gets one of three answers
// (the contract of picohttpparser):
//
//	n > 0              the head is complete and n bytes long; Parser.Request describes it
//	n == 0, err == nil nothing wrong so far, show the same bytes again with what follows
//	err != nil         the client broke a rule; err is a *Error with the status to answer
//
// The body comes after the head: Request.ContentLength bytes as they are, or a chunked
// stream for a Chunked decoder, or nothing.
//
// What is accepted is the grammar of RFC 9110 and RFC 9112 with every "MAY be lenient"
// declined: lines end in CRLF, a field line is not folded, there is one Host, one
// Content-Length of digits, and the only transfer coding is chunked, once. Leniency here
// has no user and is what request smuggling is made of. Four things that look odd are kept
// because real clients send them: blank lines before a request, octets above 0x7f in field
// values, characters like `"` and `|` in a target, and leading zeros in a length.
//
// Errors come in byte order: the first offending byte decides, so the verdict does not
// depend on how the network cut the request up, and it is given as soon as that byte is
// visible. Whatever needs a whole line (is this a valid Host?) is judged at its CRLF, and
// whatever needs the whole head (is there a Host?) at the blank line. After an error the
// framing of the connection is lost: answer once, then close.
//
// Everything in a Request points into the bytes shown, so nothing is copied or allocated,
// and nothing may be used after those bytes move or change.
package httpparse
