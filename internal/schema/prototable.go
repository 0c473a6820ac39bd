package schema

// Tables of fields: what the walk needs to know of a message, found by field number.
//
// Tables of messages that have each other, or themselves, refer to each other. They are made once per format, with all that the message
// has inside, and do not change, so that any number of decoders share them.

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"ayder/internal/jsonscan"
	"ayder/internal/query"
)

// protoWellKnown is a message that means something else than its fields.
type protoWellKnown uint8

const (
	ordinary protoWellKnown = iota
	protoTimestamp
	protoDuration
	protoWrapper
	protoStruct
	protoValue
	protoList
)

var protoWellKnowns = map[protoreflect.FullName]protoWellKnown{
	"google.protobuf.Timestamp": protoTimestamp, "google.protobuf.Duration": protoDuration,
	"google.protobuf.Struct": protoStruct, "google.protobuf.Value": protoValue, "google.protobuf.ListValue": protoList,
	"google.protobuf.DoubleValue": protoWrapper, "google.protobuf.FloatValue": protoWrapper, "google.protobuf.Int64Value": protoWrapper,
	"google.protobuf.UInt64Value": protoWrapper, "google.protobuf.Int32Value": protoWrapper, "google.protobuf.UInt32Value": protoWrapper,
	"google.protobuf.BoolValue": protoWrapper, "google.protobuf.StringValue": protoWrapper, "google.protobuf.BytesValue": protoWrapper,
}

// protoMessage is a message type.
type protoMessage struct {
	desc   protoreflect.MessageDescriptor
	known  protoWellKnown
	pair   bool                              // a key and a value of a map
	fields []protoField                      // as declared
	low    [lowNumbers]*protoField           // by number, of most messages all
	high   map[protowire.Number]*protoField  // the others
	named  map[string]*protoField            // by its name and its JSON name
	byDesc map[protoreflect.Name]*protoField // by its name alone
}

const lowNumbers = 32

// wellKnown tells what a message means. Others may have such a name, but not in such a file.
func wellKnown(desc protoreflect.MessageDescriptor) protoWellKnown {
	known := protoWellKnowns[desc.FullName()]
	if known == ordinary {
		return ordinary
	}
	bundled, err := protoregistry.GlobalFiles.FindDescriptorByName(desc.FullName())
	if err != nil || bundled.ParentFile().Path() != desc.ParentFile().Path() {
		return ordinary
	}
	return known
}

// protoField is a field.
type protoField struct {
	desc    protoreflect.FieldDescriptor
	index   int // in fields
	kind    protoreflect.Kind
	list    bool
	wire    protowire.Type // of one value
	text    bool           // must be UTF-8
	zero    bool           // its zero is the same as nothing
	oneof   int            // index of the oneof that it is in, -1 if it is in none
	message *protoMessage
	quoted  []byte // the name as JSON has it, with the colon
	// unset is what a query sees where a message does not have the field, if defaults are applied.
	unset query.Value
}

// protoTables are the tables of one schema, by full name.
type protoTables map[protoreflect.FullName]*protoMessage

func (t protoTables) of(desc protoreflect.MessageDescriptor) *protoMessage {
	if m := t[desc.FullName()]; m != nil {
		return m
	}
	m := &protoMessage{
		desc: desc, known: wellKnown(desc), pair: desc.IsMapEntry(), fields: make([]protoField, desc.Fields().Len()),
		high: map[protowire.Number]*protoField{}, named: map[string]*protoField{}, byDesc: map[protoreflect.Name]*protoField{},
	}
	t[desc.FullName()] = m
	for i := range m.fields {
		f := &m.fields[i]
		t.field(f, desc.Fields().Get(i))
		f.index = i
		if f.desc.Number() < lowNumbers {
			m.low[f.desc.Number()] = f
		} else {
			m.high[f.desc.Number()] = f
		}
		m.named[f.desc.JSONName()] = f
		m.byDesc[f.desc.Name()] = f
	}
	for name, f := range m.byDesc { // a name is stronger than another's JSON name
		m.named[string(name)] = f
	}
	return m
}

func (t protoTables) field(f *protoField, desc protoreflect.FieldDescriptor) {
	f.desc, f.kind, f.list, f.oneof = desc, desc.Kind(), desc.Cardinality() == protoreflect.Repeated, -1
	f.wire = protoWires[f.kind]
	f.quoted = append(jsonscan.AppendString(nil, []byte(desc.Name())), ':')
	if strict, ok := desc.(interface{ EnforceUTF8() bool }); ok {
		f.text = f.kind == protoreflect.StringKind && strict.EnforceUTF8()
	}
	if o := desc.ContainingOneof(); o != nil && !o.IsSynthetic() {
		f.oneof = o.Index()
	}
	if desc.Message() != nil {
		f.message = t.of(desc.Message())
	}
	switch {
	case desc.IsMap():
		f.unset = query.JSONValue([]byte("{}"))
	case f.list:
		f.unset = query.JSONValue([]byte("[]"))
	case !desc.HasPresence():
		f.zero = true
		f.unset = protoScalar(desc, desc.Default())
	case f.message == nil && f.oneof < 0 && desc.HasDefault():
		f.unset = protoScalar(desc, desc.Default())
	}
}

var protoWires = map[protoreflect.Kind]protowire.Type{
	protoreflect.BoolKind: protowire.VarintType, protoreflect.EnumKind: protowire.VarintType,
	protoreflect.Int32Kind: protowire.VarintType, protoreflect.Sint32Kind: protowire.VarintType, protoreflect.Uint32Kind: protowire.VarintType,
	protoreflect.Int64Kind: protowire.VarintType, protoreflect.Sint64Kind: protowire.VarintType, protoreflect.Uint64Kind: protowire.VarintType,
	protoreflect.Sfixed32Kind: protowire.Fixed32Type, protoreflect.Fixed32Kind: protowire.Fixed32Type, protoreflect.FloatKind: protowire.Fixed32Type,
	protoreflect.Sfixed64Kind: protowire.Fixed64Type, protoreflect.Fixed64Kind: protowire.Fixed64Type, protoreflect.DoubleKind: protowire.Fixed64Type,
	protoreflect.StringKind: protowire.BytesType, protoreflect.BytesKind: protowire.BytesType, protoreflect.MessageKind: protowire.BytesType,
	protoreflect.GroupKind: protowire.StartGroupType,
}

// field finds a field by its number.
func (m *protoMessage) field(number protowire.Number) *protoField {
	if number < lowNumbers {
		return m.low[number]
	}
	return m.high[number]
}
