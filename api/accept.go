package api

import (
	"bytes"

	"ayder/httpparse"
)

// Which form of the messages a consumer wants, from its Accept field (RFC 9110 section 12.5.1).
//
// A stream is answered only to who names its type: EventSource does, "*/*" and "text/*" do not, for whoever sends them
// wants an answer that ends. What is accepted but not offered gets a page, which every client can read: 406 helps nobody.

// form is how messages are put into an answer.
type form uint8

const (
	formPage   form = iota // one JSON object
	formEvents             // a stream of server-sent events
	formLines              // a stream of JSON lines
	forms
)

// formCount is the number of forms in which bytes can be shared: streams, with base64 and without, and one per dialect.
const formCount = 2*int(forms-1) + int(dialects-1)

var formTypes = [forms][2]string{
	formPage: {"application", "json"}, formEvents: {"text", "event-stream"}, formLines: {"application", "x-ndjson"},
}

// form is the form that x asks for, and whether its parameters fit.
func (x *exchange) form() (form, error) {
	fm := acceptedForm(x.req.Accept)
	if fm == formPage {
		return fm, nil
	}
	if x.args.has(pWait) || x.args.has(pMaxBytes) {
		return fm, errBadParameter.with("wait_ms and max_bytes are for pages; Accept asks for a stream, which waits for as long as it is read")
	}
	return fm, nil
}

// acceptedForm is the form with the highest quality, the one named first among equals. A page wins by being named, or
// where no stream is.
func acceptedForm(accept []byte) form {
	best, quality := formPage, 0
	for part := range bytes.SplitSeq(accept, []byte(",")) {
		kind, parameters, _ := bytes.Cut(part, []byte(";"))
		kind = bytes.TrimSpace(kind)
		q := qualityOf(parameters)
		for fm, names := range formTypes {
			if q > quality && isType(kind, names[0], names[1]) {
				best, quality = form(fm), q
			}
		}
	}
	return best
}

func isType(kind []byte, main, sub string) bool {
	at := len(main)
	return len(kind) == at+1+len(sub) && kind[at] == '/' && httpparse.EqualFold(kind[:at], main) && httpparse.EqualFold(kind[at+1:], sub)
}

// qualityOf reads the parameter q, in thousandths; 1000 without one that makes sense.
func qualityOf(parameters []byte) int {
	for p := range bytes.SplitSeq(parameters, []byte(";")) {
		name, value, _ := bytes.Cut(bytes.TrimSpace(p), []byte("="))
		if len(name) != 1 || name[0]|0x20 != 'q' {
			continue
		}
		if n, ok := thousandths(value); ok {
			return n
		}
	}
	return 1000
}

// thousandths reads 0, 1, 0.5, 0.123, 1.000 and the like.
func thousandths(v []byte) (int, bool) {
	if len(v) == 0 || len(v) > 5 || v[0] > '1' || v[0] < '0' || len(v) > 1 && v[1] != '.' {
		return 0, false
	}
	n := int(v[0]-'0') * 1000
	for i, weight := 2, 100; i < len(v); i, weight = i+1, weight/10 {
		if v[i] < '0' || v[i] > '9' {
			return 0, false
		}
		n += int(v[i]-'0') * weight
	}
	return n, n <= 1000
}
