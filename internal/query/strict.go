package query

// Requests are read strictly. encoding/json takes "Field" for "field", the last of two members, null for anything, and says of a member
// inside of arrays only roughly where it is; somebody who misspells "measures" must not get an answer to another question. So the
// bytes are walked along the Go type that they are for: every member has to be one of the struct's, spelled so and once, and what is
// wrong is named by its path, like filter[1].any[0].op.
//
// null stands for a member that is not there, except in types that read their own text.

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"unicode/utf8"

	"ayder/internal/jsonscan"
)

// ownReader is a type that reads its own JSON text, which is valid.
type ownReader interface {
	readStrict(text []byte, path string) error
}

// decodeStrict reads body, one JSON object, into what v points to. Its error is a *RequestError.
func decodeStrict(body []byte, v any) error {
	var d strictDecoder
	switch {
	case len(body) == 0:
		return &RequestError{"bad_json", "the request body is empty"}
	case !utf8.Valid(body):
		return &RequestError{"bad_json", "the request body is not UTF-8"}
	case !d.scan.Valid(body):
		var whole json.RawMessage
		return &RequestError{"bad_json", fmt.Sprintf("the request body is not JSON: %v", json.Unmarshal(body, &whole))}
	}
	i := jsonscan.SkipSpace(body, 0)
	if body[i] != '{' {
		return &RequestError{"bad_json", "the request body has to be a JSON object, not " + natureOf(body[i])}
	}
	return d.value(body[i:d.scan.Skip(body, i)], reflect.ValueOf(v).Elem(), "", 0)
}

type strictDecoder struct {
	scan  jsonscan.Scanner
	items int // of arrays and maps so far: each takes more memory than text
}

// another counts an item of the array or map at path.
func (d *strictDecoder) another(path string) error {
	if d.items++; d.items > requestItemsMax {
		return badQuery(path, "brings the request to more than %d items", requestItemsMax)
	}
	return nil
}

// value reads text, which is valid JSON without white space around it.
func (d *strictDecoder) value(text []byte, v reflect.Value, path string, depth int) error {
	if depth > requestDepthMax {
		return badQuery(path, "is nested too deep")
	}
	if own, ok := v.Addr().Interface().(ownReader); ok {
		return own.readStrict(text, path)
	}
	if text[0] == 'n' {
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return d.value(text, v.Elem(), path, depth)
	case reflect.Struct:
		return d.object(text, v, path, depth)
	case reflect.Map:
		return d.table(text, v, path, depth)
	case reflect.Slice:
		return d.array(text, v, path, depth)
	}
	return scalar(text, v, path)
}

// object reads the members of a struct.
func (d *strictDecoder) object(text []byte, v reflect.Value, path string, depth int) error {
	if text[0] != '{' {
		return badQuery(path, "has to be an object, not "+natureOf(text[0]))
	}
	seen := make([]bool, v.NumField())
	return d.members(text, path, func(name string, value []byte) error {
		inner := memberPath(path, name)
		i := fieldNamed(v.Type(), name)
		switch {
		case i < 0:
			return &RequestError{"unknown_field", fmt.Sprintf("unknown field %q", inner)}
		case seen[i]:
			return &RequestError{"bad_json", fmt.Sprintf("the field %q occurs twice", inner)}
		}
		seen[i] = true
		return d.value(value, v.Field(i), inner, depth+1)
	})
}

// table reads the members of a map, whose names are free.
func (d *strictDecoder) table(text []byte, v reflect.Value, path string, depth int) error {
	if text[0] != '{' {
		return badQuery(path, "has to be an object, not "+natureOf(text[0]))
	}
	v.Set(reflect.MakeMap(v.Type()))
	return d.members(text, path, func(name string, value []byte) error {
		inner, key := memberPath(path, name), reflect.ValueOf(name)
		if err := d.another(path); err != nil {
			return err
		}
		if v.MapIndex(key).IsValid() {
			return &RequestError{"bad_json", fmt.Sprintf("the field %q occurs twice", inner)}
		}
		element := reflect.New(v.Type().Elem()).Elem()
		if err := d.value(value, element, inner, depth+1); err != nil {
			return err
		}
		v.SetMapIndex(key, element)
		return nil
	})
}

// array reads a slice; an empty one is not nil.
func (d *strictDecoder) array(text []byte, v reflect.Value, path string, depth int) error {
	if text[0] != '[' {
		return badQuery(path, "has to be an array, not "+natureOf(text[0]))
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	for i := 0; ; {
		var value []byte
		if value, i = element(&d.scan, text, i); value == nil {
			return nil
		}
		if err := d.another(path); err != nil {
			return err
		}
		inner := fmt.Sprintf("%s[%d]", path, v.Len())
		if value[0] == 'n' && v.Type().Elem().Kind() != reflect.Struct {
			return badQuery(inner, "cannot be null")
		}
		e := reflect.New(v.Type().Elem()).Elem()
		if err := d.value(value, e, inner, depth+1); err != nil {
			return err
		}
		v.Set(reflect.Append(v, e))
	}
}

// members calls each with every member of an object.
func (d *strictDecoder) members(text []byte, path string, each func(name string, value []byte) error) error {
	for i := 0; ; {
		var name, value []byte
		if name, i = element(&d.scan, text, i); name == nil {
			return nil
		}
		value, i = element(&d.scan, text, i) // behind the colon as behind a comma
		var s string
		if err := json.Unmarshal(name, &s); err != nil {
			return &RequestError{"bad_json", fmt.Sprintf("a name in %q: %v", path, err)}
		}
		if err := each(s, value); err != nil {
			return err
		}
	}
}

// element returns the value behind the bracket, brace, comma or colon at i, nil if there is none, and the index of what follows it.
// The text is valid.
func element(s *jsonscan.Scanner, text []byte, i int) (value []byte, next int) {
	if text[i] == ']' || text[i] == '}' {
		return nil, i
	}
	i = jsonscan.SkipSpace(text, i+1)
	if text[i] == ']' || text[i] == '}' {
		return nil, i
	}
	end := s.Skip(text, i)
	return text[i:end], jsonscan.SkipSpace(text, end)
}

// scalar reads a string, truth value or whole number.
func scalar(text []byte, v reflect.Value, path string) error {
	switch v.Kind() {
	case reflect.String:
		if text[0] != '"' {
			return badQuery(path, "has to be a string, not "+natureOf(text[0]))
		}
		var s string
		if err := json.Unmarshal(text, &s); err != nil {
			return badQuery(path, err.Error())
		}
		v.SetString(s)
	case reflect.Bool:
		if text[0] != 't' && text[0] != 'f' {
			return badQuery(path, "has to be true or false, not "+natureOf(text[0]))
		}
		v.SetBool(text[0] == 't')
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil || v.OverflowInt(n) {
			return badQuery(path, "has to be a whole number of 64 bits")
		}
		v.SetInt(n)
	case reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(string(text), 10, 64)
		if err != nil || v.OverflowUint(n) {
			return badQuery(path, fmt.Sprintf("has to be a whole number of %d bits that is not negative", v.Type().Bits()))
		}
		v.SetUint(n)
	default:
		panic("bug: requests have no member of type " + v.Type().String())
	}
	return nil
}

// fieldNamed returns the index of the field that JSON calls so, -1 if there is none.
func fieldNamed(t reflect.Type, name string) int {
	for i := range t.NumField() {
		if tag := t.Field(i).Tag.Get("json"); tag == name && tag != "" {
			return i
		}
	}
	return -1
}

func memberPath(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// natureOf names the kind of value that begins with c.
func natureOf(c byte) string {
	switch c {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "null"
	}
	return "a number"
}
