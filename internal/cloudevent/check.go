package cloudevent

import (
	"bytes"
	"time"
	"unicode/utf8"
)

// What attributes may be: their names, the characters of strings, and the types of those that the specification names. Values are
// looked at as the canonical strings that they are stored as, so that all ways in are held to the same. Rejected: net/url and mime, which
// take much that is neither a URI-reference nor a media type.

// check tells whether an attribute may have that name and value.
func check(name, value []byte) *Error {
	if !validName(name) {
		return wrong(name, "a name is 1 to %d of a-z 0-9, and not data", NameBytesMax)
	}
	if !validText(value) {
		return wrong(name, "the value is not UTF-8 without control characters")
	}
	switch string(name) {
	case "specversion":
		if string(value) != version {
			return wrong(name, "the version %q is not known here, %s is", value, version)
		}
	case "id", "type", "subject":
		if len(value) == 0 {
			return wrong(name, "the value is empty")
		}
	case "source":
		if len(value) == 0 || !validReference(value) {
			return wrong(name, "%q is not a URI-reference (RFC 3986)", value)
		}
	case "dataschema":
		if !validReference(value) || !hasScheme(value) {
			return wrong(name, "%q is not an absolute URI (RFC 3986)", value)
		}
	case dataTypeName:
		if !validMedia(value) {
			return wrong(name, "%q is not a media type (RFC 2046)", value)
		}
	case "time":
		if _, err := parseTime(value); err != nil {
			return wrong(name, "%q is not a time (RFC 3339)", value)
		}
	}
	return nil
}

func validName(name []byte) bool {
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return len(name) > 0 && len(name) <= NameBytesMax && string(name) != dataName
}

// validText tells whether a string has none of the characters that the type String leaves out.
func validText(v []byte) bool {
	for len(v) > 0 {
		r, n := utf8.DecodeRune(v)
		switch {
		case r == utf8.RuneError && n == 1, r < 0x20, r >= 0x7f && r <= 0x9f, r >= 0xfdd0 && r <= 0xfdef, r&0xfffe == 0xfffe:
			return false
		}
		v = v[n:]
	}
	return true
}

// referenceMarks are the characters of a URI-reference besides letters and digits.
const referenceMarks = "-._~:/?#[]@!$&'()*+,;="

func validReference(v []byte) bool {
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case isAlnum(c) || bytes.IndexByte([]byte(referenceMarks), c) >= 0:
		case c == '%' && len(v)-i > 2 && unhex(v[i+1]) >= 0 && unhex(v[i+2]) >= 0:
			i += 2
		default:
			return false
		}
	}
	return true
}

// hasScheme tells whether a URI-reference is absolute.
func hasScheme(v []byte) bool {
	for i, c := range v {
		switch {
		case c == ':':
			return i > 0
		case isAlnum(c) && (i > 0 || c > '9'), i > 0 && (c == '+' || c == '-' || c == '.'):
		default:
			return false
		}
	}
	return false
}

// validMedia looks at type and subtype; parameters are whatever follows a semicolon.
func validMedia(v []byte) bool {
	v, _, _ = bytes.Cut(v, []byte(";"))
	main, sub, ok := bytes.Cut(bytes.TrimRight(v, " \t"), []byte("/"))
	return ok && isToken(main) && isToken(sub)
}

func isToken(v []byte) bool {
	for _, c := range v {
		if !isAlnum(c) && bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) < 0 {
			return false
		}
	}
	return len(v) > 0
}

func isAlnum(c byte) bool { return c-'0' < 10 || c|0x20-'a' < 26 }

// unhex is the value of a hexadecimal digit, -1 if it is none.
func unhex(c byte) int {
	switch {
	case c-'0' < 10:
		return int(c - '0')
	case c|0x20-'a' < 6:
		return int(c|0x20-'a') + 10
	}
	return -1
}

// parseTime reads a time as RFC 3339 has it, whose letters may be small ones.
func parseTime(v []byte) (t time.Time, err error) {
	err = t.UnmarshalText(bytes.ToUpper(v))
	return t, err
}

// isJSONMedia tells whether a media type declares JSON: */json or */*+json.
func isJSONMedia(v []byte) bool {
	v, _, _ = bytes.Cut(v, []byte(";"))
	_, sub, _ := bytes.Cut(bytes.TrimSpace(v), []byte("/"))
	return bytes.EqualFold(sub, []byte("json")) || len(sub) > 5 && bytes.EqualFold(sub[len(sub)-5:], []byte("+json"))
}

// isTextMedia tells whether a media type declares text, which in UTF-8 may stand in a JSON string.
func isTextMedia(v []byte) bool {
	v, _, _ = bytes.Cut(v, []byte(";"))
	main, sub, _ := bytes.Cut(bytes.ToLower(bytes.TrimSpace(v)), []byte("/"))
	switch string(sub) {
	case "xml", "yaml", "javascript", "x-www-form-urlencoded":
		return true
	}
	return string(main) == "text" || bytes.HasSuffix(sub, []byte("+xml")) || bytes.HasSuffix(sub, []byte("+yaml"))
}
