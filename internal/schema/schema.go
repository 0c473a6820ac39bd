package schema

// Which schema is meant, and is it one? A request gives it as text or descriptor set, by the id of a registered schema, or leaves it to
// the ids that messages have. With both a schema of its own and registered ones the latter are what messages were written with
// and the former is what they are read with.

import (
	"errors"
	"fmt"

	"ayder/internal/query"
)

// The types of schemas, as requests and registrations name them.
const (
	Avro  = "avro"
	Proto = "proto"
)

// Schema is a registered schema.
type Schema struct {
	ID            uint32
	Type          string // Avro or Proto
	Text          []byte
	DescriptorSet []byte // of Proto: a FileDescriptorSet, in place of the text
	Message       string // of Proto: the message meant, if there are several
}

// Lookup finds registered schemas. Decoders call it on their goroutines, for ids that messages have.
type Lookup func(id uint32) (Schema, bool)

// Check tells what is wrong with a schema, nil if nothing is. It takes tenths of a second for the largest, and up to a few seconds
// for one made for that (36,000 options of one field).
func Check(s Schema) error {
	switch s.Type {
	case Avro:
		if len(s.DescriptorSet) > 0 || s.Message != "" {
			return errors.New("an Avro schema is a text, without descriptor_set_b64 and message")
		}
		_, err := parseAvro(s.Text)
		return err
	case Proto:
		_, err := parseProto(s)
		return err
	}
	return fmt.Errorf("type %q: want avro or proto", s.Type)
}

// Compile makes the format that d asks for; nil is JSON. Errors are for whoever wrote d.
func Compile(d *query.Decode, lookup Lookup) (query.Format, error) {
	if d == nil {
		return query.JSONFormat(), nil
	}
	switch d.Type {
	case "", "json":
		return compileJSON(d)
	case Avro, Proto:
	default:
		return nil, fmt.Errorf("decode.type %q: want json, avro or proto", d.Type)
	}
	switch d.Encoding {
	case "", "binary", "json", "confluent":
	default:
		return nil, fmt.Errorf("decode.encoding %q: want binary, json or confluent", d.Encoding)
	}
	w, err := wanted(d, lookup)
	if err != nil {
		return nil, err
	}
	if d.Type == Avro {
		return compileAvro(d, w, lookup)
	}
	return compileProto(d, w, lookup)
}

func compileJSON(d *query.Decode) (query.Format, error) {
	if d.Encoding != "" && d.Encoding != "json" {
		return nil, fmt.Errorf("decode.encoding %q: JSON has the encoding json", d.Encoding)
	}
	if d.SchemaText != "" || d.DescriptorSetB64 != "" || d.SchemaID != nil || d.Message != "" {
		return nil, errors.New("decode: JSON has no schema")
	}
	return query.JSONFormat(), nil
}

// schemas are those that a request names.
type schemas struct {
	inline     *Schema // by text or descriptor set
	registered *Schema // by id
}

// wanted finds the schemas that d names.
func wanted(d *query.Decode, lookup Lookup) (w schemas, err error) {
	if d.SchemaText != "" && d.DescriptorSetB64 != "" {
		return w, errors.New("decode: schema_text and descriptor_set_b64 exclude each other")
	}
	if d.SchemaText != "" || d.DescriptorSetB64 != "" {
		set, err := decodeBase64(d.DescriptorSetB64)
		if err != nil {
			return w, fmt.Errorf("decode.descriptor_set_b64: %w", err)
		}
		w.inline = &Schema{Type: d.Type, Text: []byte(d.SchemaText), DescriptorSet: set, Message: d.Message}
	}
	if d.SchemaID != nil {
		s, ok := lookup(*d.SchemaID)
		switch {
		case !ok:
			return w, fmt.Errorf("decode.schema_id: there is no schema %d", *d.SchemaID)
		case s.Type != d.Type:
			return w, fmt.Errorf("decode.schema_id: schema %d is of type %s", s.ID, s.Type)
		}
		if d.Message != "" {
			s.Message = d.Message
		}
		w.registered = &s
	}
	if w.inline == nil && w.registered == nil && d.Encoding != "confluent" {
		return w, errors.New("decode: want schema_text, descriptor_set_b64 or schema_id")
	}
	return w, nil
}

// guard turns a panic of a library into an error: schemas and messages come from anybody.
func guard(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: the library gave up: %v", query.ErrUndecodable, p)
	}
}
