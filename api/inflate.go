package api

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"ayder/httpparse"

	"github.com/klauspost/compress/gzip"
)

// Bodies in gzip (RFC 9110 section 8.4.1.3): inflated before the handler sees them, so that no handler knows.
//
// A few bytes can stand for gigabytes. So a body is inflated piece by piece and given up as soon as it is larger than a body
// may be; memory grows with what has come out, not with what might. Small ones are inflated on the loop. One that turns out to
// be large after all, or is large as it came, is left to a readers goroutine: inflating a megabyte takes ten milliseconds.
//
// A body that is not compressed costs one look at a length. The library was chosen by measurement: two to three times as fast as
// the standard one for bodies up to 64 KiB, and it allocates nothing when a reader is used again.

// inflater inflates one body at a time. The zero value is ready.
type inflater struct {
	gzip   gzip.Reader
	source bytes.Reader
}

// errInflated says that more than was allowed would come out.
var errInflated = errors.New("inflates to more than allowed")

// inflate appends what z stands for to dst: at most `most` bytes, else errInflated. Any other error means that z is not gzip.
func (f *inflater) inflate(dst, z []byte, most int) ([]byte, error) {
	f.source.Reset(z)
	defer f.source.Reset(nil)
	if err := f.gzip.Reset(&f.source); err != nil {
		return dst, err
	}
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := f.gzip.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		switch {
		case len(dst) > most:
			return dst, errInflated
		case err == io.EOF:
			return dst, nil
		case err != nil:
			return dst, err
		}
	}
}

// inflaters are those that no readers goroutine uses.
var inflaters = sync.Pool{New: func() any { return new(inflater) }}

// checkEncoding refuses codings that the route's bodies cannot have.
func (x *exchange) checkEncoding() error {
	coding := x.req.ContentEncoding
	switch {
	case len(coding) == 0 || httpparse.EqualFold(coding, "identity") || !x.req.HasBody() && !x.route.gzip:
		return nil
	case !x.route.gzip:
		return errEncoding.with("the content coding %q is not supported here", coding)
	case httpparse.EqualFold(coding, "gzip") || httpparse.EqualFold(coding, "x-gzip"):
		return nil
	}
	e := errEncoding.with("the content coding %q is not supported; gzip is", coding)
	e.Header = "Accept-Encoding: gzip\r\n"
	return e
}

// inflate makes x.body what the client meant. waits: it is done elsewhere, and x executed again then.
func (l *loop) inflate(x *exchange) (waits bool, err error) {
	if len(x.req.ContentEncoding) == 0 || x.inflated {
		return false, nil
	}
	if err := x.checkEncoding(); err != nil {
		return false, err
	}
	if !x.route.gzip || httpparse.EqualFold(x.req.ContentEncoding, "identity") {
		return false, nil
	}
	if len(x.body) > inlineInflateBytes {
		return true, l.inflateElsewhere(x)
	}
	if l.inflater == nil {
		l.inflater = new(inflater)
	}
	l.inflated, err = l.inflater.inflate(l.inflated[:0], x.body, inlineInflateBytes)
	switch {
	case err == errInflated:
		return true, l.inflateElsewhere(x)
	case err != nil:
		return false, errBadGzip.with("the body is not gzip: %v", err)
	}
	x.body, x.inflated = l.inflated, true
	return false, nil
}

// inflateElsewhere has a readers goroutine inflate the body; the request goes on here after that.
func (l *loop) inflateElsewhere(x *exchange) error {
	l.exclude(x.conn)
	most := int(l.server.options.HTTP.BodyMax)
	c := x.cloned()
	ok := l.server.readers.add(func(Reader) {
		f := inflaters.Get().(*inflater)
		body, err := f.inflate(nil, c.body, most)
		inflaters.Put(f)
		c.body, c.inflated = body, true
		l.net.Post(func() { l.resumeInflated(c, err) })
	})
	if !ok {
		return errOverloaded
	}
	return nil
}

func (l *loop) resumeInflated(x *exchange, err error) {
	switch {
	case err == errInflated:
		l.finishError(x.conn, &x.meta, errTooLarge.with("the body inflates to more than %d bytes", l.server.options.HTTP.BodyMax))
	case err != nil:
		l.finishError(x.conn, &x.meta, errBadGzip.with("the body is not gzip: %v", err))
	default:
		l.resume(x)
	}
}
