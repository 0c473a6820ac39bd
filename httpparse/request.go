package httpparse

// What a parsed head looks like. Everything is a slice of the bytes shown, so a Request costs no memory but
// its field array, and lives no longer than those bytes. The fields that the server acts on are picked out
// while the lines are walked; nothing is looked up by name afterwards except message headers.

// Method is a request method that routes can switch on.
type Method uint8

// The methods of RFC 9110 and RFC 5789. Every other token is Other, its text in
// Request.MethodText: an unknown method is well-formed, what to answer is the router's affair.
const (
	Other Method = iota
	GET
	HEAD
	POST
	PUT
	DELETE
	OPTIONS
	PATCH
	CONNECT
	TRACE
)

var methodNames = [...]string{"OTHER", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE"}

// String is the name in the request line, "OTHER" for an unknown one.
func (m Method) String() string {
	if int(m) < len(methodNames) {
		return methodNames[m]
	}
	return methodNames[Other]
}

// methodOf compares case-sensitively, as RFC 9110 section 9.1 demands: "get" is Other.
func methodOf(text []byte) Method {
	switch string(text) {
	case "GET":
		return GET
	case "POST":
		return POST
	case "HEAD":
		return HEAD
	case "PUT":
		return PUT
	case "DELETE":
		return DELETE
	case "OPTIONS":
		return OPTIONS
	case "PATCH":
		return PATCH
	case "CONNECT":
		return CONNECT
	case "TRACE":
		return TRACE
	}
	return Other
}

// Field is one header line. Both slices point into the bytes shown to the parser; Value has
// no white space around it and is empty, not nil, where the line has none.
type Field struct {
	Name, Value []byte
}

// Request is the head of one request. Every slice points into the bytes shown to the parser,
// except a Path that the target does not spell out ("http://host" has the path "/").
type Request struct {
	Method     Method
	MethodText []byte
	Target     []byte // as it stands in the request line
	Path       []byte // still percent-encoded; "*" for OPTIONS of the whole server, nil for CONNECT
	Query      []byte // what follows the '?'; nil without one, empty where nothing follows it

	Minor         uint8 // HTTP/1.Minor: 0 or 1, a higher one is taken for 1 (RFC 9110 section 2.5)
	Chunked       bool  // the body is in chunked coding
	KeepAlive     bool  // what the version and the Connection header ask for
	Expect100     bool  // the client waits for "100 Continue" before it sends the body
	ContentLength int64 // bytes; -1 without the header

	// Header values that the server looks at, nil where absent. Host is the target's authority
	// where the target is a whole URI (RFC 9112 section 3.2.2). Accept and IfNoneMatch are the
	// first line's value should there be several; of the others a second line is an error.
	Host, Authorization, Accept, ContentType, ContentEncoding, Origin, IfNoneMatch, LastEventID []byte

	Fields   []Field // every header line in order; the array is used again by the next head
	HeadSize int     // bytes, leading blank lines included: what Head returned
}

// HasBody tells whether any content follows the head.
func (r *Request) HasBody() bool { return r.Chunked || r.ContentLength > 0 }

// Lookup returns the value of the first field called name, which must be in lower case, or nil.
func (r *Request) Lookup(name string) []byte {
	for i := range r.Fields {
		if f := &r.Fields[i]; EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return nil
}
