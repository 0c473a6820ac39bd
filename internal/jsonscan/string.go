package jsonscan

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string. s must be valid UTF-8 where the answer has to be.
func AppendString(b, s []byte) []byte {
	b = append(b, '"')
	from := 0
	for i := Plain(s, 0); i < len(s); i = Plain(s, from) {
		b = appendEscape(append(b, s[from:i]...), s[i])
		from = i + 1
	}
	return append(append(b, s[from:]...), '"')
}

// appendEscape appends a byte that cannot stand for itself.
func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}
