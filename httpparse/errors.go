package httpparse

// Error is a rule that a client broke. The values below are all there are, so they can be
// compared by identity, and returning one allocates nothing.
type Error struct {
	Status  int    // the status to answer
	Code    string // a stable word for the answer's "error" member
	Message string // a sentence for a human
}

// Error is the sentence for a human.
func (e *Error) Error() string { return e.Message }

// What Parser.Head and Parser.Resume find. After any of these the position in the byte
// stream is unknown: answer and close.
var (
	ErrBlankLines       = &Error{400, "bad_request_line", "too many empty lines before the request"}
	ErrRequestLine      = &Error{400, "bad_request_line", "the request line is not METHOD target HTTP/1.1"}
	ErrMethod           = &Error{400, "bad_method", "the method is not a token"}
	ErrMethodTooLong    = &Error{501, "method_too_long", "the method is longer than any known one"}
	ErrTargetByte       = &Error{400, "bad_target", "the request target contains a byte that must be percent-encoded"}
	ErrFragment         = &Error{400, "bad_target", "the request target contains a fragment"}
	ErrTargetForm       = &Error{400, "bad_target", "the request target is neither a path nor an http URI"}
	ErrTargetTooLong    = &Error{414, "uri_too_long", "the request line is too long"}
	ErrVersion          = &Error{505, "unsupported_version", "only HTTP/1.0 and HTTP/1.1 are spoken here"}
	ErrLineEnd          = &Error{400, "bad_line_end", "a line does not end in CRLF"}
	ErrFieldName        = &Error{400, "bad_header", "a header name is not a token directly followed by a colon"}
	ErrFieldFold        = &Error{400, "bad_header", "a header line starts with white space (line folding is obsolete)"}
	ErrFieldValue       = &Error{400, "bad_header", "a header value contains a control byte"}
	ErrFieldRepeated    = &Error{400, "repeated_header", "a header that may occur once occurs again"}
	ErrHeadTooLarge     = &Error{431, "headers_too_large", "the request's headers are too large"}
	ErrFieldsTooMany    = &Error{431, "too_many_headers", "the request has too many header lines"}
	ErrHostMissing      = &Error{400, "bad_host", "an HTTP/1.1 request needs a Host header"}
	ErrHostRepeated     = &Error{400, "bad_host", "there is more than one Host header"}
	ErrHost             = &Error{400, "bad_host", "the Host header is not host[:port]"}
	ErrContentLength    = &Error{400, "bad_content_length", "Content-Length is not one number of decimal digits"}
	ErrLengthRepeated   = &Error{400, "bad_content_length", "there is more than one Content-Length header"}
	ErrTransferEncoding = &Error{501, "unsupported_transfer_encoding", "the only supported Transfer-Encoding is chunked"}
	ErrTransferRepeated = &Error{400, "bad_transfer_encoding", "there is more than one Transfer-Encoding header"}
	ErrTransferVersion  = &Error{400, "bad_transfer_encoding", "Transfer-Encoding does not exist in HTTP/1.0"}
	ErrTwoLengths       = &Error{400, "bad_framing", "both Content-Length and Transfer-Encoding are present"}
	ErrBodyTooLarge     = &Error{413, "body_too_large", "the request body is too large"}
	ErrExpectation      = &Error{417, "expectation_failed", "the only supported expectation is 100-continue"}
)

// What Chunked.Decode finds besides ErrBodyTooLarge; the same rule holds: answer and close.
var (
	ErrChunkSize        = &Error{400, "bad_chunk", "a chunk size is not a hexadecimal number"}
	ErrChunkExtension   = &Error{400, "bad_chunk", "a chunk extension is malformed"}
	ErrChunkExtensions  = &Error{400, "bad_chunk", "the chunk extensions are too large"}
	ErrChunkEnd         = &Error{400, "bad_chunk", "a chunk is not followed by CRLF"}
	ErrTrailer          = &Error{400, "bad_trailer", "a trailer line is malformed"}
	ErrTrailersTooLarge = &Error{431, "trailers_too_large", "the trailer section is too large"}
)

// ErrEscape is what UnescapePath and UnescapeQuery find. It concerns one request only: the
// connection can go on.
var ErrEscape = &Error{400, "bad_escape", "a percent sign is not followed by two hexadecimal digits"}

// errMore is the leaves' way to say that the bytes shown end too early. It never leaves the package.
var errMore = &Error{Message: "bug: errMore returned to a caller"}

// Errors lists every error of this package, for the table of error codes that clients see.
func Errors() []*Error {
	return []*Error{
		ErrBlankLines, ErrRequestLine, ErrMethod, ErrMethodTooLong, ErrTargetByte, ErrFragment,
		ErrTargetForm, ErrTargetTooLong, ErrVersion, ErrLineEnd, ErrFieldName, ErrFieldFold,
		ErrFieldValue, ErrFieldRepeated, ErrHeadTooLarge, ErrFieldsTooMany, ErrHostMissing,
		ErrHostRepeated, ErrHost, ErrContentLength, ErrLengthRepeated, ErrTransferEncoding,
		ErrTransferRepeated, ErrTransferVersion, ErrTwoLengths, ErrBodyTooLarge, ErrExpectation,
		ErrChunkSize, ErrChunkExtension, ErrChunkExtensions, ErrChunkEnd, ErrTrailer,
		ErrTrailersTooLarge, ErrEscape,
	}
}
