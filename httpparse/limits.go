package httpparse

// Limits bounds one request. Every field must be set; start from DefaultLimits.
type Limits struct {
	RequestLineMax int   // bytes of the request line with its CRLF; more is 414
	HeadMax        int   // bytes of the whole head, request line and blank line included; more is 431
	FieldsMax      int   // field lines; more is 431
	BodyMax        int64 // bytes of content, decoded; a larger Content-Length is 413
}

// DefaultLimits returns what the server promises when nothing else is configured.
func DefaultLimits() Limits {
	return Limits{
		RequestLineMax: 8 << 10,
		HeadMax:        32 << 10,
		FieldsMax:      100,
		BodyMax:        8 << 20,
	}
}

// Limits that nobody needs to configure.
const (
	// blankLinesMax is how many empty lines may precede a request. RFC 9112 section 2.2 asks
	// for one; a few more cost nothing, an unbounded number would be a free idle connection.
	blankLinesMax = 8

	// methodSizeMax is in bytes; the longest registered method has 17 (UPDATEREDIRECTREF).
	methodSizeMax = 32

	// chunkSizeDigitsMax holds every 64-bit size; leading zeros count.
	chunkSizeDigitsMax = 16

	// chunkExtensionBytesMax bounds all extensions of one body together, so that a client
	// cannot send a stream of extensions around a few bytes of content.
	chunkExtensionBytesMax = 4 << 10

	// trailerBytesMax bounds the trailer section of one body, its CRLFs included.
	trailerBytesMax = 8 << 10
)
