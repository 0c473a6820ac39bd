package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Judging answers by the OpenAPI document, strictly: a member that is not documented is a fault, and so, in the end, is one
// that is documented and was never seen. It knows the words of JSON Schema that the document uses and stumbles over any other.

// apiDocument is the document, and what answers have shown of it.
type apiDocument struct {
	root     map[string]any
	expected map[string]bool // members that a schema that was met has, as "Schema.member"
	seen     map[string]bool // those that were in an answer
}

func parseDocument(text []byte) (*apiDocument, error) {
	d := &apiDocument{expected: map[string]bool{}, seen: map[string]bool{}}
	return d, json.Unmarshal(text, &d.root)
}

// unseen lists the members that no answer had.
func (d *apiDocument) unseen() (names []string) {
	for name := range d.expected {
		if !d.seen[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// at follows a path of members.
func (d *apiDocument) at(names ...string) map[string]any {
	m := d.root
	for _, name := range names {
		m, _ = m[name].(map[string]any)
	}
	return m
}

// resolve follows a $ref and says what it led to.
func (d *apiDocument) resolve(m map[string]any, where string) (map[string]any, string) {
	ref, ok := m["$ref"].(string)
	if !ok {
		return m, where
	}
	names := strings.Split(strings.TrimPrefix(ref, "#/"), "/")
	return d.at(names...), names[len(names)-1]
}

// check returns what is wrong with a value.
func (d *apiDocument) check(schema map[string]any, value any, where string) (faults []string) {
	schema, where = d.resolve(schema, where)
	schema = d.together(schema)
	fault := func(format string, args ...any) { faults = append(faults, where+": "+fmt.Sprintf(format, args...)) }
	for _, word := range slices.Sorted(maps.Keys(schema)) {
		arg := schema[word]
		switch word {
		case "type":
			if !hasType(arg, value) {
				fault("%v is no %v", value, arg)
			}
		case "const":
			if !reflect.DeepEqual(arg, value) {
				fault("%v is not %v", value, arg)
			}
		case "enum":
			if !slices.ContainsFunc(arg.([]any), func(v any) bool { return reflect.DeepEqual(v, value) }) {
				fault("%v is none of %v", value, arg)
			}
		case "required":
			for _, name := range arg.([]any) {
				if _, ok := value.(map[string]any)[name.(string)]; !ok {
					fault("%s is missing", name)
				}
			}
		case "minimum":
			if n, ok := value.(float64); ok && n < arg.(float64) {
				fault("%v is less than %v", value, arg)
			}
		case "maximum":
			if n, ok := value.(float64); ok && n > arg.(float64) {
				fault("%v is more than %v", value, arg)
			}
		case "pattern":
			if s, ok := value.(string); ok && !regexp.MustCompile(arg.(string)).MatchString(s) {
				fault("%q does not match %s", s, arg)
			}
		case "items":
			list, _ := value.([]any)
			for _, v := range list {
				faults = append(faults, d.check(arg.(map[string]any), v, where+"[]")...)
			}
		case "oneOf":
			faults = append(faults, d.checkOneOf(arg.([]any), value, where)...)
		case "properties", "additionalProperties", "description", "default", "minLength", "maxLength", "contentEncoding":
		default:
			fault("the test does not know %q", word)
		}
	}
	if object, ok := value.(map[string]any); ok && admits(schema, "object") {
		faults = append(faults, d.checkMembers(schema, object, where)...)
	}
	return faults
}

// together is a schema with what its allOf names put into one.
func (d *apiDocument) together(schema map[string]any) map[string]any {
	all, ok := schema["allOf"].([]any)
	if !ok {
		return schema
	}
	properties, required := map[string]any{}, []any{}
	for _, s := range all {
		part, _ := d.resolve(s.(map[string]any), "")
		members, _ := part["properties"].(map[string]any)
		maps.Copy(properties, members)
		names, _ := part["required"].([]any)
		required = append(required, names...)
	}
	return map[string]any{"type": "object", "properties": properties, "required": required}
}

// checkMembers judges an object's members; one that is not documented is a fault unless the schema is open.
func (d *apiDocument) checkMembers(schema, object map[string]any, where string) (faults []string) {
	properties, _ := schema["properties"].(map[string]any)
	for name := range properties {
		d.expected[where+"."+name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if p, ok := properties[name].(map[string]any); ok {
			d.seen[where+"."+name] = true
			faults = append(faults, d.check(p, object[name], where+"."+name)...)
			continue
		}
		switch more := schema["additionalProperties"].(type) {
		case map[string]any:
			faults = append(faults, d.check(more, object[name], where+".*")...)
		case bool:
			if !more {
				faults = append(faults, fmt.Sprintf("%s: the member %q is not documented", where, name))
			}
		default:
			faults = append(faults, fmt.Sprintf("%s: the member %q is not documented", where, name))
		}
	}
	return faults
}

// checkOneOf wants one of the schemas to fit.
func (d *apiDocument) checkOneOf(schemas []any, value any, where string) (faults []string) {
	for _, s := range schemas {
		these := d.check(s.(map[string]any), value, where)
		if len(these) == 0 {
			return nil
		}
		faults = append(faults, these...)
	}
	return faults
}

// admits tells whether a schema lets a value be of a type.
func admits(schema map[string]any, name string) bool {
	switch t := schema["type"].(type) {
	case string:
		return t == name
	case []any:
		return slices.Contains(t, any(name))
	}
	return schema["properties"] != nil
}

// hasType tells whether a value is of one of the types that "type" names.
func hasType(arg, value any) bool {
	names, ok := arg.([]any)
	if !ok {
		names = []any{arg}
	}
	for _, name := range names {
		var is bool
		switch v := value.(type) {
		case nil:
			is = name == "null"
		case bool:
			is = name == "boolean"
		case string:
			is = name == "string"
		case float64:
			is = name == "number" || name == "integer" && v == float64(int64(v))
		case []any:
			is = name == "array"
		case map[string]any:
			is = name == "object"
		}
		if is {
			return true
		}
	}
	return false
}
