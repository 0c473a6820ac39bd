package schema

// How Protobuf messages are decoded: which message type it is, and whether the walk finds what is wanted or the library has to make a
// tree.
//
// Messages are read by the schema that a request gives, fields being known by their numbers; Confluent's header says which message of
// which schema was written, so that others are not taken for it.

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"ayder/internal/query"
)

type protoFormat struct {
	encoding string
	defaults bool
	lookup   Lookup
	wanted   string       // the message that a request named
	reader   *protoSchema // nil: messages are read with the schemas that they were written with
	given    *protoType   // the message of the reader that is meant; nil if only messages say that
	strict   bool         // only messages of registered schemas are taken
}

// compileProto makes a format. Defaults are applied unless that is declined.
func compileProto(d *query.Decode, s schemas, lookup Lookup) (_ query.Format, err error) {
	f := &protoFormat{
		encoding: d.Encoding, defaults: d.ApplyDefaults == nil || *d.ApplyDefaults, lookup: lookup, wanted: d.Message, strict: s.registered != nil,
	}
	given := s.inline
	if given == nil {
		given = s.registered
	}
	if given == nil {
		return f, nil
	}
	if f.reader, err = parseProto(*given); err != nil {
		return nil, err
	}
	if f.reader.message != nil {
		f.given = newProtoType(f.reader, f.reader.message)
	} else if d.Encoding != "confluent" {
		return nil, fmt.Errorf("decode.message: the Protobuf schema has several messages, as %q: which?", f.reader.main.Messages().Get(0).FullName())
	}
	return f, nil
}

// protoType is a message type with all that it has inside. It does not change.
type protoType struct {
	table  *protoMessage
	tables protoTables
	types  *dynamicpb.Types
}

func newProtoType(s *protoSchema, desc protoreflect.MessageDescriptor) *protoType {
	t := &protoType{tables: protoTables{}, types: s.types}
	t.table = t.tables.of(desc)
	return t
}

// NewDecoder implements query.Format.
func (f *protoFormat) NewDecoder(paths []query.Path) query.Decoder {
	d := &protoDecoder{protoFormat: f, paths: query.NewPathTree(paths), programs: map[protoKey]protoProgram{}, writers: map[uint32]*protoSchema{}, tables: map[*protoSchema]protoTables{}}
	d.walk.defaults = f.defaults
	if f.given != nil {
		d.usual = d.program(f.given)
	}
	return d
}

// protoProgram is what is done with messages of one type.
type protoProgram struct {
	*protoType
	plan *protoPlan // nil if the library has to make a tree
}

// protoKey is what Confluent's header says.
type protoKey struct {
	id   uint32
	name protoreflect.FullName
}

type protoDecoder struct {
	*protoFormat
	paths       *query.PathTree
	usual       protoProgram
	programs    map[protoKey]protoProgram
	writers     map[uint32]*protoSchema // registered ones, also those of which no message is wanted: compiling takes long
	writerBytes int                     // of those
	tables      map[*protoSchema]protoTables
	walk        protoWalk
	tree        protoTree
	taken       protoProgram
	message     []byte               // that was decoded last,
	made        protoreflect.Message // and what the library made of it, if it was asked to
}

// program belongs to the decoder, because plans remember where walks were.
func (d *protoDecoder) program(t *protoType) protoProgram {
	plan, _ := newProtoPlan(t.table, d.paths)
	return protoProgram{t, plan}
}

// Decode implements query.Decoder.
func (d *protoDecoder) Decode(b []byte, dst []query.Value) (err error) {
	clear(dst)
	p := d.usual
	if d.encoding == "confluent" {
		if p, b, err = d.confluent(b); err != nil {
			return err
		}
	}
	d.taken, d.message, d.made = p, b, nil
	d.tree = protoTree{tables: p.tables, defaults: d.defaults, dst: dst}
	if d.encoding == "json" {
		if d.made, err = fromProtoJSON(p, b); err == nil {
			err = d.pick()
		}
		return err
	}
	if !d.walk.run(p.table, p.plan, b, dst) {
		return undecodable("not a Protobuf message %s", p.table.desc.FullName())
	}
	if d.walk.values > treeValuesMax {
		return undecodable("over %d values", treeValuesMax)
	}
	if len(d.paths.Below) == 0 || p.plan != nil && !d.walk.unusual {
		return nil
	}
	clear(dst)
	if d.made, err = d.make(); err == nil {
		err = d.pick()
	}
	return err
}

// pick finds in the tree what is wanted.
func (d *protoDecoder) pick() (err error) {
	defer guard(&err)
	d.tree.message(d.made, d.paths)
	return nil
}

// AppendJSON implements query.Decoder.
func (d *protoDecoder) AppendJSON(dst []byte) []byte {
	if d.made == nil {
		made, err := d.make()
		if err != nil {
			return append(dst, "null"...) // the library does not take what the walk took, which no fuzzing has found
		}
		d.made = made
	}
	return d.tree.show(dst, d.made)
}

// make has the library make a tree of the message, which the walk has checked.
func (d *protoDecoder) make() (_ protoreflect.Message, err error) {
	defer guard(&err)
	m := dynamicpb.NewMessage(d.taken.table.desc)
	options := proto.UnmarshalOptions{AllowPartial: true, DiscardUnknown: true, RecursionLimit: depthMax + 1, Resolver: (*protoregistry.Types)(nil)}
	if err := options.Unmarshal(d.message, m); err != nil {
		return nil, undecodable("%v", err)
	}
	return m, nil
}

// fromProtoJSON reads a text in Protobuf's JSON.
func fromProtoJSON(p protoProgram, b []byte) (_ protoreflect.Message, err error) {
	defer guard(&err)
	if bytes.Count(b, []byte{','})+bytes.Count(b, []byte{'['})+bytes.Count(b, []byte{'{'}) > treeValuesMax {
		return nil, undecodable("over %d values", treeValuesMax)
	}
	m := dynamicpb.NewMessage(p.table.desc)
	options := protojson.UnmarshalOptions{AllowPartial: true, DiscardUnknown: true, RecursionLimit: depthMax, Resolver: p.types}
	if err := options.Unmarshal(b, m); err != nil {
		return nil, undecodable("%v", err)
	}
	return m, nil
}

// confluent finds the message type that a message's header names.
func (d *protoDecoder) confluent(b []byte) (p protoProgram, rest []byte, err error) {
	id, rest, err := confluentID(b)
	if err != nil {
		return p, nil, err
	}
	indexes, n := messageIndexes(rest)
	if n < 0 {
		return p, nil, undecodable("no message indexes behind the schema id")
	}
	writer, err := d.writer(id)
	if err != nil {
		return p, nil, err
	}
	written, ok := writer.indexed(indexes)
	if !ok {
		return p, nil, undecodable("schema %d has no message %v", id, indexes)
	}
	key := protoKey{id, written.FullName()}
	if p, ok = d.programs[key]; !ok {
		if p, err = d.readAs(writer, written); err != nil {
			return p, nil, err
		}
		d.programs[key] = p
	}
	return p, rest[n:], nil
}

// typeOf is newProtoType with tables that the messages of a schema share in this decoder.
func (d *protoDecoder) typeOf(s *protoSchema, desc protoreflect.MessageDescriptor) *protoType {
	tables := d.tables[s]
	if tables == nil {
		tables = protoTables{}
		d.tables[s] = tables
	}
	return &protoType{table: tables.of(desc), tables: tables, types: s.types}
}

// writer is the schema with that id, or the reader's where messages of other registries are taken.
func (d *protoDecoder) writer(id uint32) (*protoSchema, error) {
	if w := d.writers[id]; w != nil {
		return w, nil
	}
	s, found := d.lookup(id)
	switch {
	case found && s.Type == Proto:
	case d.strict || d.reader == nil:
		return nil, undecodable("there is no Protobuf schema %d", id)
	default:
		return d.reader, nil
	}
	s.Message = ""
	w, err := parseProto(s)
	if err != nil {
		return nil, undecodable("schema %d: %v", id, err)
	}
	if d.writerBytes += len(s.Text) + len(s.DescriptorSet); d.writerBytes > writersBytesMax {
		clear(d.programs)
		clear(d.writers)
		clear(d.tables)
		d.writerBytes = len(s.Text) + len(s.DescriptorSet)
	}
	d.writers[id] = w
	return w, nil
}

// readAs makes the program for a message of a writer: by the reader's message of that name, or as it was written.
func (d *protoDecoder) readAs(writer *protoSchema, written protoreflect.MessageDescriptor) (p protoProgram, err error) {
	switch name := string(written.FullName()); {
	case d.wanted != "" && d.wanted != name && d.wanted != string(written.Name()),
		d.given != nil && string(d.given.table.desc.FullName()) != name:
		return p, undecodable("it is a message %s", name)
	case d.given != nil:
		return d.usual, nil
	case d.reader == nil:
		return d.program(d.typeOf(writer, written)), nil
	default:
		read, err := d.reader.choose(name)
		if err != nil {
			return p, undecodable("it is a message %s", name)
		}
		return d.program(d.typeOf(d.reader, read)), nil
	}
}

// messageIndexes reads Confluent's message indexes; n is how many bytes they take, negative if they are malformed.
func messageIndexes(b []byte) (indexes []int, n int) {
	count, n := binary.Varint(b)
	if n <= 0 || count < 0 || count > messageIndexesMax {
		return nil, -1
	}
	if count == 0 {
		return []int{0}, n
	}
	for range count {
		i, used := binary.Varint(b[n:])
		if used <= 0 || i < 0 || i > textBytesMax {
			return nil, -1
		}
		indexes = append(indexes, int(i))
		n += used
	}
	return indexes, n
}
