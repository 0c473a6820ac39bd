package schema

// Messages of which the library made a tree: what paths lead to in it, and all of it as JSON.
//
// JSON has the fields in the schema's order under the names that the .proto file gives them, keys of maps sorted; enums by name, bytes in base64, 64-bit
// numbers as numbers. The well-known types that mean something else are what they mean.

import (
	"math"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"ayder/internal/query"
)

// protoTree reads one tree.
type protoTree struct {
	tables   protoTables
	defaults bool
	dst      []query.Value
}

func (t *protoTree) set(paths *query.PathTree, v query.Value) {
	for _, place := range paths.Here {
		t.dst[place] = v
	}
}

// message sets what paths lead to that begin at m.
func (t *protoTree) message(m protoreflect.Message, paths *query.PathTree) {
	if len(paths.Here) > 0 {
		t.set(paths, t.valueOf(m))
	}
	table := t.tables.of(m.Descriptor())
	switch table.known {
	case protoStruct, protoValue, protoList:
		t.free(m, table.known, paths)
		return
	}
	for _, child := range paths.Children {
		if f := table.named[child.Name]; f != nil {
			t.field(m, f, child)
		}
	}
}

// field sets what paths lead to that begin at a field of m.
func (t *protoTree) field(m protoreflect.Message, f *protoField, paths *query.PathTree) {
	if !m.Has(f.desc) {
		if t.defaults {
			t.set(paths, f.unset)
		}
		return
	}
	v := m.Get(f.desc)
	switch {
	case f.desc.IsMap():
		t.setShown(paths, v, f)
		for _, child := range paths.Children {
			if key, ok := mapKey(f.desc.MapKey(), child.Name); ok && v.Map().Has(key) {
				t.item(f.desc.MapValue(), v.Map().Get(key), child)
			}
		}
	case f.list:
		t.setShown(paths, v, f)
		for _, child := range paths.Children {
			if child.Index >= 0 && child.Index < v.List().Len() {
				t.item(f.desc, v.List().Get(child.Index), child)
			}
		}
	default:
		t.item(f.desc, v, paths)
	}
}

func (t *protoTree) setShown(paths *query.PathTree, v protoreflect.Value, f *protoField) {
	if len(paths.Here) > 0 {
		t.set(paths, query.JSONValue(t.showField(nil, f, v)))
	}
}

// item is a field's only value, or an element.
func (t *protoTree) item(desc protoreflect.FieldDescriptor, v protoreflect.Value, paths *query.PathTree) {
	if desc.Message() != nil {
		t.message(v.Message(), paths)
		return
	}
	t.set(paths, protoScalar(desc, v))
}

// free sets what paths lead to inside a Struct, Value or ListValue.
func (t *protoTree) free(m protoreflect.Message, known protoWellKnown, paths *query.PathTree) {
	fields := m.Descriptor().Fields()
	switch known {
	case protoValue:
		if f := m.WhichOneof(m.Descriptor().Oneofs().Get(0)); f != nil && f.Message() != nil {
			inner := m.Get(f).Message()
			t.free(inner, t.tables.of(inner.Descriptor()).known, paths)
		}
		return
	case protoStruct:
		members := m.Get(fields.ByNumber(1)).Map()
		for _, child := range paths.Children {
			if key := protoreflect.ValueOfString(child.Name).MapKey(); members.Has(key) {
				t.message(members.Get(key).Message(), child)
			}
		}
	default:
		elements := m.Get(fields.ByNumber(1)).List()
		for _, child := range paths.Children {
			if child.Index >= 0 && child.Index < elements.Len() {
				t.message(elements.Get(child.Index).Message(), child)
			}
		}
	}
}

// mapKey is what a name says as the key of a map.
func mapKey(desc protoreflect.FieldDescriptor, name string) (protoreflect.MapKey, bool) {
	var v protoreflect.Value
	switch desc.Kind() {
	case protoreflect.StringKind:
		v = protoreflect.ValueOfString(name)
	case protoreflect.BoolKind:
		v = protoreflect.ValueOfBool(name == "true")
		return v.MapKey(), name == "true" || name == "false"
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		i, err := strconv.ParseInt(name, 10, 32)
		return protoreflect.ValueOfInt32(int32(i)).MapKey(), err == nil
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		i, err := strconv.ParseUint(name, 10, 32)
		return protoreflect.ValueOfUint32(uint32(i)).MapKey(), err == nil
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		i, err := strconv.ParseUint(name, 10, 64)
		return protoreflect.ValueOfUint64(i).MapKey(), err == nil
	default:
		i, err := strconv.ParseInt(name, 10, 64)
		return protoreflect.ValueOfInt64(i).MapKey(), err == nil
	}
	return v.MapKey(), true
}

// valueOf is a message as a value.
func (t *protoTree) valueOf(m protoreflect.Message) query.Value {
	fields := m.Descriptor().Fields()
	switch t.tables.of(m.Descriptor()).known {
	case protoTimestamp:
		return instant(m.Get(fields.ByNumber(1)).Int(), int32(m.Get(fields.ByNumber(2)).Int()))
	case protoDuration:
		return query.StringValue(appendDuration(nil, m.Get(fields.ByNumber(1)).Int(), int32(m.Get(fields.ByNumber(2)).Int())))
	case protoWrapper:
		return protoScalar(fields.ByNumber(1), m.Get(fields.ByNumber(1)))
	case protoValue:
		f := m.WhichOneof(m.Descriptor().Oneofs().Get(0))
		switch {
		case f == nil || f.Kind() == protoreflect.EnumKind:
			return query.NullValue()
		case f.Message() == nil:
			return protoScalar(f, m.Get(f))
		}
		return t.valueOf(m.Get(f).Message())
	}
	return query.JSONValue(t.showMessage(nil, m))
}

// show appends a message.
func (t *protoTree) show(b []byte, m protoreflect.Message) []byte {
	return t.valueOf(m).AppendJSON(b)
}

// showMessage appends a message that is an array or object.
func (t *protoTree) showMessage(b []byte, m protoreflect.Message) []byte {
	table := t.tables.of(m.Descriptor())
	if table.known == protoStruct || table.known == protoList {
		return t.showField(b, &table.fields[0], m.Get(table.fields[0].desc))
	}
	b = append(b, '{')
	for i := range table.fields {
		f := &table.fields[i]
		has := m.Has(f.desc)
		if !has && (!t.defaults || f.unset.Kind() == query.Missing) {
			continue
		}
		if b = append(b, f.quoted...); has {
			b = t.showField(b, f, m.Get(f.desc))
		} else {
			b = f.unset.AppendJSON(b)
		}
		b = append(b, ',')
	}
	return closed(b, '}')
}

// showField appends a field: a value, an array, or an object of a map.
func (t *protoTree) showField(b []byte, f *protoField, v protoreflect.Value) []byte {
	switch {
	case f.desc.IsMap():
		return t.showMap(b, f.desc, v.Map())
	case f.list:
		b = append(b, '[')
		for i := range v.List().Len() {
			b = append(t.showItem(b, f.desc, v.List().Get(i)), ',')
		}
		return closed(b, ']')
	}
	return t.showItem(b, f.desc, v)
}

func (t *protoTree) showItem(b []byte, desc protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	if desc.Message() != nil {
		return t.show(b, v.Message())
	}
	return protoScalar(desc, v).AppendJSON(b)
}

func (t *protoTree) showMap(b []byte, desc protoreflect.FieldDescriptor, m protoreflect.Map) []byte {
	keys := make([]protoreflect.MapKey, 0, m.Len())
	m.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, k)
		return true
	})
	slices.SortFunc(keys, func(x, y protoreflect.MapKey) int {
		return protoScalar(desc.MapKey(), x.Value()).Order(protoScalar(desc.MapKey(), y.Value()))
	})
	b = append(b, '{')
	for _, k := range keys {
		b = append(query.StringValue([]byte(k.String())).AppendJSON(b), ':')
		b = append(t.showItem(b, desc.MapValue(), m.Get(k)), ',')
	}
	return closed(b, '}')
}

// protoScalar is a value that is no message.
func protoScalar(desc protoreflect.FieldDescriptor, v protoreflect.Value) query.Value {
	switch desc.Kind() {
	case protoreflect.BoolKind:
		return query.BoolValue(v.Bool())
	case protoreflect.EnumKind:
		return protoEnum(desc, v.Enum())
	case protoreflect.StringKind:
		return query.StringValue([]byte(v.String()))
	case protoreflect.BytesKind:
		return query.BytesValue(v.Bytes())
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return query.FloatValue(v.Float())
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return query.UintValue(v.Uint())
	}
	return query.IntValue(v.Int())
}

// instant is a time; one that does not fit is text.
func instant(seconds int64, nanos int32) query.Value {
	const secondsMax = math.MaxInt64/1_000_000_000 - 3
	if seconds > -secondsMax && seconds < secondsMax {
		return query.TimeValue(seconds*1e9 + int64(nanos))
	}
	return query.StringValue(time.Unix(seconds, int64(nanos)).UTC().AppendFormat(nil, time.RFC3339Nano))
}

// appendDuration appends seconds as Protobuf's JSON has them: "1.5s".
func appendDuration(b []byte, seconds int64, nanos int32) []byte {
	if seconds < 0 || nanos < 0 {
		b = append(b, '-')
		seconds, nanos = -seconds, -nanos
	}
	b = strconv.AppendUint(b, uint64(seconds), 10)
	if nanos != 0 {
		fraction := strconv.AppendUint(nil, 1e9+uint64(uint32(nanos)), 10)[1:]
		for fraction[len(fraction)-1] == '0' {
			fraction = fraction[:len(fraction)-1]
		}
		b = append(append(b, '.'), fraction...)
	}
	return append(b, 's')
}
