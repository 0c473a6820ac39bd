package httpparse

// Field lines: field-name ":" OWS field-value OWS CRLF (RFC 9112 section 5), and what the
// headers that decide about framing mean. The name selects by its length first, so a header
// that nobody looks at costs one switch.

// seen is what the field lines said that only the end of the head can judge.
type seen struct {
	expectation bool // one that is not 100-continue
	close       bool // Connection: close
	keepAlive   bool // Connection: keep-alive
	host        bool // a Host line; Request.Host may be the target's
}

// fieldLine reads the line at i and returns the index after its CRLF.
func (p *Parser) fieldLine(b []byte, i int, s *seen) (int, *Error) {
	start := i
	i = scanToken(b, start)
	if i == len(b) {
		return 0, p.more(b, partToken)
	}
	if b[i] != ':' || i == start {
		return 0, nameError(b[i], i == start)
	}
	name := b[start:i:i]

	start = i + 1
	i = scanValue(b, start)
	if i == len(b) {
		return 0, p.more(b, partValue)
	}
	if err := lineEnd(b, i); err != nil {
		if b[i] != '\r' && b[i] != '\n' {
			err = ErrFieldValue
		}
		return 0, err
	}
	value := trim(b[start:i:i])
	r := &p.Request
	r.Fields = append(r.Fields, Field{name, value})
	return i + 2, r.known(name, value, s)
}

// nameError says what is wrong with the byte that ended a field name.
func nameError(c byte, first bool) *Error {
	if first && isBlank(c) {
		return ErrFieldFold
	}
	return ErrFieldName
}

// known looks at the fields that the server itself understands.
func (r *Request) known(name, value []byte, s *seen) *Error {
	switch len(name) {
	case 4:
		if isName(name, "host") {
			return r.hostField(value, s)
		}
	case 6:
		return r.knownOf6(name, value, s)
	case 10:
		if isName(name, "connection") {
			s.connection(value)
		}
	case 12:
		if isName(name, "content-type") {
			return once(&r.ContentType, value)
		}
	case 13:
		return r.knownOf13(name, value)
	case 14:
		if isName(name, "content-length") {
			return r.lengthField(value)
		}
	case 16:
		if isName(name, "content-encoding") {
			return once(&r.ContentEncoding, value)
		}
	case 17:
		if isName(name, "transfer-encoding") {
			return r.transferField(value)
		}
	}
	return nil
}

func (r *Request) knownOf6(name, value []byte, s *seen) *Error {
	switch {
	case isName(name, "accept"):
		first(&r.Accept, value)
	case isName(name, "origin"):
		return once(&r.Origin, value)
	case isName(name, "expect"):
		r.expectField(value, s)
	}
	return nil
}

func (r *Request) knownOf13(name, value []byte) *Error {
	switch {
	case isName(name, "authorization"):
		return once(&r.Authorization, value)
	case isName(name, "if-none-match"):
		first(&r.IfNoneMatch, value)
	case isName(name, "last-event-id"):
		return once(&r.LastEventID, value)
	}
	return nil
}

// once stores the value of a field that may occur once. Two different credentials or types
// in one request would be judged by one component and used by another.
func once(at *[]byte, value []byte) *Error {
	if *at != nil {
		return ErrFieldRepeated
	}
	*at = value
	return nil
}

// first stores the value of a list field's first line.
func first(at *[]byte, value []byte) {
	if *at == nil {
		*at = value
	}
}

func (r *Request) hostField(value []byte, s *seen) *Error {
	if s.host {
		return ErrHostRepeated
	}
	if !validHost(value) {
		return ErrHost
	}
	s.host = true
	first(&r.Host, value)
	return nil
}

// lengthField accepts 1*DIGIT. Digits beyond 63 bits are a well-formed length that no limit
// allows, hence 413.
func (r *Request) lengthField(value []byte) *Error {
	if r.ContentLength >= 0 {
		return ErrLengthRepeated
	}
	if len(value) == 0 || !allDigits(value) {
		return ErrContentLength
	}
	if r.Chunked {
		return ErrTwoLengths
	}
	n := int64(0)
	for _, c := range value {
		if n > (1<<63-1-9)/10 {
			return ErrBodyTooLarge
		}
		n = n*10 + int64(c-'0')
	}
	r.ContentLength = n
	return nil
}

// transferField accepts "chunked", once. A list that ends in chunked is legal and would need
// the codings before it (RFC 9112 section 6.1 asks for 501); one that does not is an attack.
func (r *Request) transferField(value []byte) *Error {
	switch {
	case r.Minor == 0:
		return ErrTransferVersion
	case r.ContentLength >= 0:
		return ErrTwoLengths
	case r.Chunked:
		return ErrTransferRepeated
	case !EqualFold(value, "chunked"):
		return ErrTransferEncoding
	}
	r.Chunked = true
	return nil
}

// expectField is ignored in HTTP/1.0, whose clients cannot mean it (RFC 9110 section 10.1.1).
func (r *Request) expectField(value []byte, s *seen) {
	switch {
	case r.Minor == 0:
	case EqualFold(value, "100-continue"):
		r.Expect100 = true
	default:
		s.expectation = true
	}
}

// connection looks for the two options that matter in a comma-separated list of tokens.
func (s *seen) connection(list []byte) {
	for len(list) > 0 {
		i := 0
		for i < len(list) && list[i] != ',' {
			i++
		}
		option := trim(list[:i])
		s.close = s.close || EqualFold(option, "close")
		s.keepAlive = s.keepAlive || EqualFold(option, "keep-alive")
		list = list[min(i+1, len(list)):]
	}
}

// finish judges what needs the whole head.
func (r *Request) finish(s *seen, bodyMax int64) *Error {
	r.KeepAlive = !s.close && (r.Minor == 1 || s.keepAlive)
	switch {
	case r.Minor == 1 && !s.host:
		return ErrHostMissing
	case r.ContentLength > bodyMax:
		return ErrBodyTooLarge
	case s.expectation:
		return ErrExpectation
	}
	return nil
}
