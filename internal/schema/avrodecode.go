package schema

// How Avro messages are decoded: which schema a message was written with, which it is read with, and whether the walk can read it
// as it is.
//
// Two schemas are resolved by the library, which decodes by both and writes anew by the reader's; a text in Avro's JSON encoding goes
// the same way. Both cost memory for every value, so those are counted before.

import (
	"bytes"
	"fmt"

	"github.com/twmb/avro"

	"ayder/internal/query"
)

type avroFormat struct {
	encoding string
	lookup   Lookup
	strict   bool        // only messages of registered schemas are taken
	reader   *avroSchema // nil: messages are read with the schema that they were written with
	writer   *avroSchema // of messages whose id is not registered, or that have none; nil: there is none
}

// compileAvro makes a format. With two schemas the registered one is the writer's.
func compileAvro(d *query.Decode, s schemas, lookup Lookup) (query.Format, error) {
	if d.Message != "" || d.DescriptorSetB64 != "" {
		return nil, fmt.Errorf("decode: message and descriptor_set_b64 are for proto")
	}
	f := &avroFormat{encoding: d.Encoding, lookup: lookup, strict: s.registered != nil}
	for _, given := range []struct {
		schema *Schema
		to     **avroSchema
	}{{s.inline, &f.reader}, {s.registered, &f.writer}} {
		if given.schema == nil {
			continue
		}
		parsed, err := parseAvro(given.schema.Text)
		if err != nil {
			return nil, err
		}
		*given.to = parsed
	}
	switch {
	case f.reader == nil:
		f.reader = f.writer
	case f.writer == nil:
		f.writer = f.reader
	}
	if d.ApplyDefaults != nil && !*d.ApplyDefaults {
		f.reader = nil // messages are shown as they were written
	}
	if f.writer == nil {
		return f, nil
	}
	_, err := f.program(f.writer)
	return f, err
}

// avroProgram is what is done with the messages of one writer.
type avroProgram struct {
	writer   *avroSchema
	reader   *avroSchema  // what the walk reads
	resolved *avro.Schema // nil if that is what the writer wrote
}

func (f *avroFormat) program(writer *avroSchema) (p *avroProgram, err error) {
	defer guard(&err)
	p = &avroProgram{writer: writer, reader: writer}
	if f.reader == nil || f.reader == writer || f.reader.lib.String() == writer.lib.String() {
		return p, nil
	}
	p.reader = f.reader
	if p.resolved, err = avro.Resolve(writer.lib, f.reader.lib); err != nil {
		return nil, fmt.Errorf("the reader's schema cannot read the writer's: %w", err)
	}
	return p, nil
}

// NewDecoder implements query.Format.
func (f *avroFormat) NewDecoder(paths []query.Path) query.Decoder {
	d := &avroDecoder{avroFormat: f, paths: query.NewPathTree(paths), plans: avroPlans{}, writers: map[uint32]avroWriter{}}
	if f.writer != nil {
		d.given, _ = f.program(f.writer) // it was made before, without an error
	}
	return d
}

// avroWriter is what became of a registered schema.
type avroWriter struct {
	program *avroProgram
	err     error
}

type avroDecoder struct {
	*avroFormat
	paths       *query.PathTree
	plans       avroPlans
	given       *avroProgram
	writers     map[uint32]avroWriter
	writerBytes int // of the texts of those
	walk        avroWalk
	counter     avroWalk
	anew        []byte
	taken       *avroType // of the message that was decoded last
}

// Decode implements query.Decoder.
func (d *avroDecoder) Decode(b []byte, dst []query.Value) (err error) {
	clear(dst)
	p := d.given
	if d.encoding == "confluent" {
		if p, b, err = d.confluent(b); err != nil {
			return err
		}
	}
	switch {
	case d.encoding == "json":
		b, err = d.fromJSON(p, b)
	case p.resolved != nil:
		b, err = d.resolve(p, b)
	}
	if err != nil {
		return err
	}
	d.taken = p.reader.root
	if !d.walk.run(d.taken, d.plans.of(d.taken, d.paths), b, dst) {
		return undecodable("not one value of the Avro schema, of %d bytes, from byte %d on", len(b), d.walk.pos)
	}
	return nil
}

// AppendJSON implements query.Decoder.
func (d *avroDecoder) AppendJSON(dst []byte) []byte {
	d.walk.pos = 0
	return d.walk.show(dst, d.taken, 0)
}

// confluent finds the schema that a message's header names.
func (d *avroDecoder) confluent(b []byte) (*avroProgram, []byte, error) {
	id, rest, err := confluentID(b)
	if err != nil {
		return nil, nil, err
	}
	w, ok := d.writers[id]
	if !ok {
		s, found := d.lookup(id)
		if !found || s.Type != Avro {
			if d.strict || d.given == nil {
				return nil, nil, undecodable("there is no Avro schema %d", id)
			}
			return d.given, rest, nil
		}
		w = d.registered(s)
	}
	return w.program, rest, w.err
}

func (d *avroDecoder) registered(s Schema) (w avroWriter) {
	parsed, err := parseAvro(s.Text)
	if err == nil {
		w.program, err = d.program(parsed)
	}
	if err != nil {
		w.err = undecodable("schema %d: %v", s.ID, err)
	}
	if d.writerBytes += len(s.Text); d.writerBytes > writersBytesMax {
		clear(d.writers)
		clear(d.plans)
		d.writerBytes = len(s.Text)
	}
	d.writers[s.ID] = w
	return w
}

// resolve writes a message anew, by the reader's schema.
func (d *avroDecoder) resolve(p *avroProgram, b []byte) (anew []byte, err error) {
	defer guard(&err)
	if !d.counter.run(p.writer.root, nil, b, nil) {
		return nil, undecodable("not one value of the writer's Avro schema")
	}
	if visitsPerByte*len(b)+visitsMin-d.counter.visits > treeValuesMax {
		return nil, undecodable("over %d values", treeValuesMax)
	}
	var tree any
	if _, err = p.resolved.Decode(b, &tree, avro.TaggedUnions(), avro.AliasInput()); err != nil {
		return nil, undecodable("%v", err)
	}
	return d.write(p.reader, tree)
}

// fromJSON writes a text in Avro's JSON encoding as binary.
func (d *avroDecoder) fromJSON(p *avroProgram, b []byte) (anew []byte, err error) {
	defer guard(&err)
	if bytes.Count(b, []byte{','})+bytes.Count(b, []byte{'['})+bytes.Count(b, []byte{'{'}) > treeValuesMax {
		return nil, undecodable("over %d values", treeValuesMax)
	}
	lib := p.writer.lib
	if p.resolved != nil {
		lib = p.resolved
	}
	var tree any
	if err = lib.DecodeJSON(b, &tree, avro.TaggedUnions()); err != nil {
		return nil, undecodable("%v", err)
	}
	return d.write(p.reader, tree)
}

func (d *avroDecoder) write(s *avroSchema, tree any) ([]byte, error) {
	b, err := s.lib.AppendEncode(d.anew[:0], tree)
	if err != nil {
		return nil, undecodable("%v", err)
	}
	d.anew = b
	return b, nil
}
