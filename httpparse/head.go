package httpparse

// The head: blank lines, request line, field lines, blank line, in one pass from left to
// right. Parser.Head is the parent that walks; the leaves (requestLine, fieldLine) each take
// the bytes and an index and return the index after what they read, or an error, or errMore.
//
// A limit is not counted, it is cut: the leaves see the bytes only up to the limit, and if
// they then ask for more, the head is too large. So an error in front of the limit is found
// first, whatever the reads were.
//
// A head that arrives in pieces. Head starts anew each time, which is right for heads that
// come in one or two segments (nearly all) and quadratic for one that comes byte by byte.
// Resume therefore remembers, in 12 bytes of the connection's, in which part of which line
// the bytes ended. While what has come since stays harmless within that part, it only looks
// at the new bytes; at the first byte that might mean something it leaves the judgement to
// Head. A line has five such bytes at most, so the cost of a head is bounded by its number
// of lines times its size, 100 × 32 KiB, instead of by the square of its size. The rejected
// alternative, a parser whose whole state survives between calls, would have to keep offsets
// for every field in every connection and was slower for heads that come whole.

// Parser reads request heads. One per loop is meant: between two calls it holds nothing but
// the last Request, whose backing array for fields (48 bytes × fields) it uses again.
// The zero value is ready. It must not be used by two goroutines at once.
type Parser struct {
	Request Request

	stop Progress // where the last Head ran out of bytes
}

// Progress is how far an incomplete head has been looked at: 12 bytes to keep with the
// connection while its head is incomplete. The zero value means "from the start".
type Progress struct {
	next int32 // the first byte not looked at
	end  int32 // with this many bytes in the buffer a limit must be checked
	part part
}

// part is a run of bytes of one class.
type part uint8

const (
	partUnknown part = iota // look at everything again
	partToken               // in a field name
	partTarget
	partValue
)

// Head reads one request head from the start of buf and describes it in p.Request. It
// returns its size; or 0 if buf ends before the head does and nothing is wrong so far; or a
// *Error. lim may be nil for DefaultLimits. It never blocks, allocates or keeps state: show
// the whole buf again when more has come (or use Resume).
//
// After an error p.Request holds what came before the offending byte. Of use is Method: the
// answer to a HEAD has no body, even if it is a refusal.
func (p *Parser) Head(buf []byte, lim *Limits) (n int, err error) {
	if lim == nil {
		lim = &defaultLimits
	}
	p.stop = Progress{}
	n, e := p.head(buf, lim)
	if e == nil {
		return n, nil
	}
	if e == errMore {
		return 0, nil
	}
	return 0, e
}

var defaultLimits = DefaultLimits()

// Resume is Head for a connection whose head may come in many pieces: at belongs to the
// connection and must be zero before a head's first byte is shown; Resume leaves it zero
// when the head is complete. buf must hold the same bytes as last time, and more.
func (p *Parser) Resume(buf []byte, at *Progress, lim *Limits) (n int, err error) {
	if at.harmless(buf) {
		return 0, nil
	}
	n, err = p.Head(buf, lim)
	*at = p.stop
	return n, err
}

// harmless tells whether everything from at.next on continues the part that was cut, and
// notes that it has been looked at.
func (at *Progress) harmless(buf []byte) bool {
	if at.part == partUnknown || len(buf) >= int(at.end) || len(buf) < int(at.next) {
		return false
	}
	i := int(at.next)
	switch at.part {
	case partToken:
		i = scanToken(buf, i)
	case partTarget:
		i = scanTarget(buf, i)
	case partValue:
		i = scanValue(buf, i)
	}
	at.next = int32(i)
	return i == len(buf)
}

// more records that the bytes ended inside a part, all of b being looked at.
func (p *Parser) more(b []byte, in part) *Error {
	p.stop.next, p.stop.part = int32(len(b)), in
	return errMore
}

// limit passes a leaf's error on, except that errMore becomes tooLarge where the leaf was
// shown all that it may be shown, which is the first end bytes of size.
func (p *Parser) limit(err *Error, size, end int, tooLarge *Error) *Error {
	if err != errMore {
		return err
	}
	if size >= end {
		p.stop = Progress{}
		return tooLarge
	}
	p.stop.end = int32(end)
	return errMore
}

func (p *Parser) head(buf []byte, lim *Limits) (int, *Error) {
	r := &p.Request
	*r = Request{ContentLength: -1, Fields: r.Fields[:0]}

	start, err := skipBlankLines(buf)
	if err != nil {
		return 0, err
	}
	lineMax := min(lim.RequestLineMax, lim.HeadMax)
	i, err := p.requestLine(cut(buf, start+lineMax), start)
	if err != nil {
		return 0, p.limit(err, len(buf), start+lineMax, ErrTargetTooLong)
	}
	var s seen
	i, err = p.fieldLines(cut(buf, start+lim.HeadMax), i, lim.FieldsMax, &s)
	if err != nil {
		return 0, p.limit(err, len(buf), start+lim.HeadMax, ErrHeadTooLarge)
	}
	r.HeadSize = i
	return i, r.finish(&s, lim.BodyMax)
}

// cut returns b without what lies beyond max bytes.
func cut(b []byte, max int) []byte {
	if len(b) > max {
		return b[:max]
	}
	return b
}

// skipBlankLines returns the index of the first byte that is not part of an empty line.
func skipBlankLines(b []byte) (int, *Error) {
	i := 0
	for i < len(b) && (b[i] == '\r' || b[i] == '\n') {
		if i == 2*blankLinesMax {
			return 0, ErrBlankLines
		}
		if err := lineEnd(b, i); err != nil {
			return 0, err
		}
		i += 2
	}
	if i == len(b) {
		return 0, errMore
	}
	return i, nil
}

// lineEnd wants CRLF at i.
func lineEnd(b []byte, i int) *Error {
	switch {
	case i == len(b):
		return errMore
	case b[i] != '\r':
		return ErrLineEnd
	case i+1 == len(b):
		return errMore
	case b[i+1] != '\n':
		return ErrLineEnd
	}
	return nil
}

// fieldLines reads field lines up to and including the blank line after them.
func (p *Parser) fieldLines(b []byte, i, fieldsMax int, s *seen) (int, *Error) {
	for i < len(b) && b[i] != '\r' {
		if len(p.Request.Fields) == fieldsMax {
			return 0, ErrFieldsTooMany
		}
		next, err := p.fieldLine(b, i, s)
		if err != nil {
			return 0, err
		}
		i = next
	}
	if err := lineEnd(b, i); err != nil {
		return 0, err
	}
	return i + 2, nil
}
