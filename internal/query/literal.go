package query

// Literals: the values in a request, and single JSON values in general.
//
// Numbers are read as those of messages are: exactly if they are whole and fit 64 bits. What a literal may stand for besides (a time,
// bytes) is worked out once, not for each message.

import (
	"bytes"
	"encoding/base64"
	"strconv"

	"ayder/internal/jsonscan"
)

// literal is a value in a request: a scalar or, for "in", an array of them. What it means is the op's business.
type literal struct {
	given bool
	list  bool
	value constant
	items []constant
}

// constant is a scalar that values of messages are compared with.
type constant struct {
	value   Value
	instant instant // what it is as a time
	isTime  bool
	bytes   []byte // what it is as base64, nil if it is not
}

// readStrict takes scalars and arrays of scalars.
func (l *literal) readStrict(text []byte, path string) error {
	l.given = true
	if text[0] != '[' {
		var err error
		l.value, err = readConstant(text, path)
		return err
	}
	l.list = true
	var scan jsonscan.Scanner
	for i := 0; ; {
		var item []byte
		if item, i = element(&scan, text, i); item == nil {
			return nil
		}
		if len(l.items) == listValuesMax {
			return badQuery(path, "has more than %d values", listValuesMax)
		}
		c, err := readConstant(item, path+"["+strconv.Itoa(len(l.items))+"]")
		if err != nil {
			return err
		}
		l.items = append(l.items, c)
	}
}

func readConstant(text []byte, path string) (constant, error) {
	if text[0] == '{' || text[0] == '[' {
		return constant{}, badQuery(path, "has to be a string, a number, true, false or null, not "+natureOf(text[0]))
	}
	c := constant{value: scalarValue(text)}
	if c.value.kind == Null && text[0] != 'n' {
		return c, badQuery(path, "is a number that is too large")
	}
	c.instant, c.isTime = instantOf(c.value)
	if c.value.kind == String {
		if b, err := base64.StdEncoding.DecodeString(string(c.value.text)); err == nil {
			c.bytes = b
		}
	}
	return c, nil
}

// scalarValue reads one JSON value that is valid. Arrays and objects are taken as they are; strings are copied if they have escapes.
func scalarValue(text []byte) Value {
	if text[0] == '"' {
		return StringValue(unquoted(text))
	}
	return jsonValue(text)
}

// unquoted is what a JSON string says.
func unquoted(text []byte) []byte {
	inner := text[1 : len(text)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	return jsonscan.AppendText(nil, inner)
}
