package httpparse

import (
	"bytes"
	"encoding/binary"
)

// The request line: method SP request-target SP HTTP-version CRLF (RFC 9112 section 3).
// Exactly one SP between the parts: the "any white space" that the RFC lets a server accept
// is one more way for two servers to disagree about what a request says.

// requestLine reads the line at i and returns the index after its CRLF.
func (p *Parser) requestLine(b []byte, i int) (int, *Error) {
	r := &p.Request
	start := i
	i = scanToken(b, start)
	switch {
	case i-start > methodSizeMax:
		return 0, ErrMethodTooLong
	case i == len(b):
		return 0, errMore
	case i == start || b[i] != ' ':
		return 0, ErrMethod
	}
	r.MethodText = b[start:i]
	r.Method = methodOf(r.MethodText)

	start = i + 1
	i = scanTarget(b, start)
	if i == len(b) {
		return 0, p.more(b, partTarget)
	}
	if b[i] != ' ' || i == start {
		return 0, targetError(b[i])
	}
	r.Target = b[start:i]

	i, err := r.version(b, i+1)
	if err != nil {
		return 0, err
	}
	return i, r.splitTarget()
}

// targetError says what is wrong with the byte that ended the target.
func targetError(c byte) *Error {
	switch c {
	case '#':
		return ErrFragment
	case ' ', '\r', '\n':
		return ErrRequestLine
	}
	return ErrTargetByte
}

// versionLE is "HTTP/1." and then the minor digit, as a little-endian load sees it.
const versionLE = 'H' | 'T'<<8 | 'T'<<16 | 'P'<<24 | '/'<<32 | '1'<<40 | '.'<<48

// version reads HTTP-version and CRLF at i and returns the index after them. The usual case
// is one comparison of eight bytes.
func (r *Request) version(b []byte, i int) (int, *Error) {
	if i+10 <= len(b) {
		minor := binary.LittleEndian.Uint64(b[i:]) ^ versionLE
		if (minor == '1'<<56 || minor == '0'<<56) && b[i+8] == '\r' && b[i+9] == '\n' {
			r.Minor = uint8(minor>>56) - '0'
			return i + 10, nil
		}
	}
	return r.oddVersion(b, i)
}

// oddVersion is version for lines that are incomplete, wrong, or of another version.
func (r *Request) oddVersion(b []byte, i int) (int, *Error) {
	const form = "HTTP/0.0"
	for k := range len(form) {
		if i+k == len(b) {
			return 0, errMore
		}
		c := b[i+k]
		if form[k] == '0' && (c < '0' || c > '9') || form[k] != '0' && c != form[k] {
			return 0, ErrRequestLine
		}
	}
	if b[i+5] != '1' {
		return 0, ErrVersion
	}
	r.Minor = min(b[i+7]-'0', 1)
	i += len(form)
	return i + 2, lineEnd(b, i)
}

// splitTarget recognises the four forms of RFC 9112 section 3.2.
func (r *Request) splitTarget() *Error {
	t := r.Target
	switch {
	case r.Method == CONNECT:
		return r.authorityForm(t)
	case t[0] == '/':
		r.splitPath(t)
		return nil
	case t[0] == '*' && len(t) == 1 && r.Method == OPTIONS:
		r.Path = t
		return nil
	}
	return r.absoluteForm(t)
}

// splitPath cuts a path and its query apart.
func (r *Request) splitPath(t []byte) {
	r.Path = t
	if i := bytes.IndexByte(t, '?'); i >= 0 {
		r.Path, r.Query = t[:i:i], t[i+1:]
	}
}

// authorityForm is host:port, of CONNECT only; the port must be there.
func (r *Request) authorityForm(t []byte) *Error {
	i := bytes.LastIndexByte(t, ':')
	if i <= 0 || i == len(t)-1 || !validHost(t) {
		return ErrTargetForm
	}
	r.Host = t
	return nil
}

// absoluteForm is a whole URI, which a server must accept although only proxies send it
// (RFC 9112 section 3.2.2). Its authority takes the place of the Host header. User names in
// it are refused: RFC 9110 section 4.2.4 calls them a phishing device.
func (r *Request) absoluteForm(t []byte) *Error {
	switch {
	case HasPrefixFold(t, "http://"):
		t = t[len("http://"):]
	case HasPrefixFold(t, "https://"):
		t = t[len("https://"):]
	default:
		return ErrTargetForm
	}
	i := bytes.IndexAny(t, "/?")
	if i < 0 {
		i = len(t)
	}
	host := t[:i:i]
	if len(host) == 0 || host[0] == ':' || !validHost(host) {
		return ErrTargetForm
	}
	r.Host = host
	r.splitPath(t[i:])
	if len(r.Path) == 0 {
		r.Path = r.emptyPath()
	}
	return nil
}

var rootPath, serverPath = []byte("/"), []byte("*")

// emptyPath is what a URI without a path asks for (RFC 9112 sections 3.2.1 and 3.2.4).
func (r *Request) emptyPath() []byte {
	if r.Method == OPTIONS && r.Query == nil {
		return serverPath
	}
	return rootPath
}
