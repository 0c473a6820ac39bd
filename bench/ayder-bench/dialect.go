package main

import (
	"errors"
	"io"
	"strconv"
)

// A dialect is one wire protocol as the event loop needs it. This server and the
// floor program speak HTTP, the peers RESP and NATS; all of them are driven by the
// same loop, so that a comparison compares servers and not client libraries.
//
// All methods run on the loop's thread and must not allocate per request.
type dialect interface {
	// greet does the handshake on a fresh connection; s is blocking, with a
	// deadline.
	greet(s io.ReadWriter, connection int) error
	// request appends the next request to dst, and says which operation it is.
	request(dst []byte, connection int) (out []byte, op int)
	// reply looks at the unread input. buf is valid during the call only; op is
	// the operation of the oldest request without an answer. An error means
	// that the connection cannot be used any more.
	reply(buf []byte, op int) (reply, error)
	// operations lists the names that op is an index into, and how many
	// messages one request of it carries.
	operations() []operation
}

// operation is one kind of request.
type operation struct {
	name     string
	messages int
}

// reply is what the head of the input turned out to be.
type reply struct {
	used    int    // bytes of it; 0: not all there yet
	need    int    // with used 0: do not look again before so many bytes are there
	failure string // not empty: the answer is not the expected one
	aside   bool   // not an answer (a greeting, a ping)
	answer  []byte // with aside: to be sent back
}

// errUnanswered ends a phase whose last answers never came.
var errUnanswered = errors.New("answers are missing")

// Failures of the connection itself. The texts are what the report shows.
var (
	errNotHTTP   = errors.New("not an HTTP/1.1 answer")
	errNoLength  = errors.New("answer without Content-Length")
	errBadLength = errors.New("bad Content-Length")
	errTooLarge  = errors.New("answer too large")
	errNotRESP   = errors.New("not a RESP answer")
	errNotNATS   = errors.New("not a NATS protocol line")
)

// statusName turns an HTTP status into the name it is counted by, without
// allocating.
func statusName(status int) string {
	if status < 0 || status >= len(statusNames) {
		return "status out of range"
	}
	return statusNames[status]
}

var statusNames = func() (names [1000]string) {
	for i := range names {
		names[i] = strconv.Itoa(i)
	}
	return names
}()
