package schema

// The walk over Protobuf binary: it checks all of a message as the library would, counts its values, and picks up what is wanted, where
// that are scalars and timestamps in messages inside messages.
//
// A message may be unusual: one message in it is there in two pieces, which have to be put together. Then, and where more is
// wanted (elements, maps, whole messages), the library makes a tree of it.

import (
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"ayder/internal/query"
)

// protoPlan is what is wanted of a message.
type protoPlan struct {
	fields []*protoFieldPlan // by index; nil: nothing
	below  []int
	seen   uint64 // number of the walk that came here last
}

// protoFieldPlan is what is wanted of a field: itself, or what is inside.
type protoFieldPlan struct {
	field  *protoField
	paths  *query.PathTree
	inside *protoPlan
	seen   uint64
}

// newProtoPlan makes a plan. ok is false where the walk cannot find what is wanted.
func newProtoPlan(m *protoMessage, paths *query.PathTree) (p *protoPlan, ok bool) {
	p = &protoPlan{fields: make([]*protoFieldPlan, len(m.fields)), below: paths.Below}
	if m.known != ordinary || len(paths.Here) > 0 {
		return nil, false
	}
	for _, child := range paths.Children {
		f := m.named[child.Name]
		if f == nil {
			continue
		}
		if f.list || p.fields[f.index] != nil { // by its name and its JSON name
			return nil, false
		}
		plan := &protoFieldPlan{field: f, paths: child}
		switch {
		case f.message == nil:
		case f.message.known == protoTimestamp && f.kind == protoreflect.MessageKind && len(child.Children) == 0:
		default:
			if plan.inside, ok = newProtoPlan(f.message, child); !ok {
				return nil, false
			}
		}
		p.fields[f.index] = plan
	}
	return p, true
}

func (p *protoPlan) field(f *protoField) *protoFieldPlan {
	if p == nil {
		return nil
	}
	return p.fields[f.index]
}

// protoWalk reads one message.
type protoWalk struct {
	dst      []query.Value
	defaults bool   // they are applied
	number   uint64 // of this walk
	values   int    // that were read
	depth    int
	unusual  bool // what is in dst is not all
	foreign  bool // a key or value of a map has another wire type than the schema says
}

// run reads all of b. It reports whether that is a message of type m.
func (w *protoWalk) run(m *protoMessage, p *protoPlan, b []byte, dst []query.Value) bool {
	w.dst, w.values, w.depth, w.unusual, w.foreign = dst, 0, 0, false, false
	w.number++
	n, ok := w.message(m, p, b, 0)
	return ok && n == len(b)
}

// message reads the fields of a message up to the end of b or, if group is not 0, the end of that group. It returns how many bytes they were.
func (w *protoWalk) message(m *protoMessage, p *protoPlan, b []byte, group protowire.Number) (int, bool) {
	if w.depth++; w.depth > depthMax {
		return 0, false
	}
	w.begin(m, p)
	pos := 0
	for pos < len(b) {
		number, wire, n := protowire.ConsumeTag(b[pos:])
		if n < 0 || number > protowire.MaxValidNumber {
			return 0, false
		}
		if pos += n; wire == protowire.EndGroupType {
			w.depth--
			return pos, number == group
		}
		if n = w.field(m, p, number, wire, b[pos:]); n < 0 {
			return 0, false
		}
		pos += n
	}
	w.depth--
	return pos, group == 0
}

// begin sets what is wanted of a message to what it is before any field was read.
func (w *protoWalk) begin(m *protoMessage, p *protoPlan) {
	if p == nil {
		return
	}
	w.unusual = w.unusual || p.seen == w.number
	p.seen = w.number
	for i, plan := range p.fields {
		if plan != nil && w.defaults {
			w.set(plan, m.fields[i].unset)
		}
	}
}

func (w *protoWalk) set(plan *protoFieldPlan, v query.Value) {
	for _, place := range plan.paths.Here {
		w.dst[place] = v
	}
}

// found sets what is wanted of a field to what the message has.
func (w *protoWalk) found(plan *protoFieldPlan, v query.Value, zero bool) {
	if zero && plan.field.zero && !w.defaults {
		v = query.Value{}
	}
	w.set(plan, v)
}

// field reads the value of a field and returns its length, negative if it is malformed.
func (w *protoWalk) field(m *protoMessage, p *protoPlan, number protowire.Number, wire protowire.Type, b []byte) int {
	w.values++
	f := m.field(number)
	switch {
	case f != nil && f.wire == wire:
		if f.oneof >= 0 && p != nil {
			w.others(p, f)
		}
		return w.value(f, p.field(f), b)
	case f != nil && f.list && wire == protowire.BytesType && f.wire != protowire.StartGroupType:
		return w.packed(f, b)
	case f != nil && m.pair:
		w.foreign = true // the library takes some of these, and panics on others
		return -1
	}
	return protowire.ConsumeFieldValue(number, wire, b) // nobody knows it
}

// others forgets the other fields of f's oneof.
func (w *protoWalk) others(p *protoPlan, f *protoField) {
	for _, plan := range p.fields {
		if plan == nil || plan.field == f || plan.field.oneof != f.oneof {
			continue
		}
		for _, place := range plan.paths.Below {
			w.dst[place] = query.Value{}
		}
	}
}

// value reads one value of the wire type that the field has.
func (w *protoWalk) value(f *protoField, plan *protoFieldPlan, b []byte) int {
	switch f.kind {
	case protoreflect.GroupKind:
		n, ok := w.message(f.message, inside(plan), b, f.desc.Number())
		if !ok {
			return -1
		}
		return n
	case protoreflect.MessageKind, protoreflect.StringKind, protoreflect.BytesKind:
		content, n := protowire.ConsumeBytes(b)
		if n < 0 || !w.content(f, plan, content) {
			return -1
		}
		return n
	}
	bits, n := consumeNumber(f.wire, b)
	if n >= 0 && plan != nil {
		w.found(plan, protoNumber(f.desc, bits), bits == 0)
	}
	return n
}

func inside(plan *protoFieldPlan) *protoPlan {
	if plan == nil {
		return nil
	}
	return plan.inside
}

// content reads what is behind a length.
func (w *protoWalk) content(f *protoField, plan *protoFieldPlan, b []byte) bool {
	switch {
	case f.message != nil:
		if _, ok := w.message(f.message, inside(plan), b, 0); !ok {
			return false
		}
		if plan != nil && plan.inside == nil {
			w.unusual = w.unusual || plan.seen == w.number
			plan.seen = w.number
			w.set(plan, timestampOf(b))
		}
	case f.text && !utf8.Valid(b):
		return false
	case plan != nil && f.kind == protoreflect.StringKind:
		w.found(plan, query.StringValue(b), len(b) == 0)
	case plan != nil:
		w.found(plan, query.BytesValue(b), len(b) == 0)
	}
	return true
}

// packed reads numbers that are packed together. No path leads to one of them.
func (w *protoWalk) packed(f *protoField, b []byte) int {
	content, n := protowire.ConsumeBytes(b)
	if n < 0 {
		return n
	}
	for len(content) > 0 {
		_, used := consumeNumber(f.wire, content)
		if used < 0 {
			return -1
		}
		w.values++
		content = content[used:]
	}
	return n
}

// consumeNumber reads a number's bits.
func consumeNumber(wire protowire.Type, b []byte) (bits uint64, n int) {
	switch wire {
	case protowire.VarintType:
		return protowire.ConsumeVarint(b)
	case protowire.Fixed32Type:
		v, n := protowire.ConsumeFixed32(b)
		return uint64(v), n
	}
	return protowire.ConsumeFixed64(b)
}

// protoNumber is what the bits of a number say.
func protoNumber(desc protoreflect.FieldDescriptor, bits uint64) query.Value {
	switch desc.Kind() {
	case protoreflect.BoolKind:
		return query.BoolValue(bits != 0)
	case protoreflect.EnumKind:
		return protoEnum(desc, protoreflect.EnumNumber(int32(bits)))
	case protoreflect.Int32Kind, protoreflect.Sfixed32Kind:
		return query.IntValue(int64(int32(bits)))
	case protoreflect.Sint32Kind:
		return query.IntValue(int64(int32(protowire.DecodeZigZag(bits & math.MaxUint32))))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return query.IntValue(int64(uint32(bits)))
	case protoreflect.Int64Kind, protoreflect.Sfixed64Kind:
		return query.IntValue(int64(bits))
	case protoreflect.Sint64Kind:
		return query.IntValue(protowire.DecodeZigZag(bits))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return query.UintValue(bits)
	case protoreflect.FloatKind:
		return query.FloatValue(float64(math.Float32frombits(uint32(bits))))
	}
	return query.FloatValue(math.Float64frombits(bits))
}

// protoEnum is a name, or the number where the schema has none for it.
func protoEnum(desc protoreflect.FieldDescriptor, number protoreflect.EnumNumber) query.Value {
	if v := desc.Enum().Values().ByNumber(number); v != nil {
		return query.StringValue([]byte(v.Name()))
	}
	return query.IntValue(int64(number))
}

// timestampOf reads a google.protobuf.Timestamp that was checked.
func timestampOf(b []byte) query.Value {
	var seconds, nanos uint64
	for len(b) > 0 {
		number, wire, n := protowire.ConsumeTag(b)
		b = b[n:]
		switch {
		case number == 1 && wire == protowire.VarintType:
			seconds, n = protowire.ConsumeVarint(b)
		case number == 2 && wire == protowire.VarintType:
			nanos, n = protowire.ConsumeVarint(b)
		default:
			n = protowire.ConsumeFieldValue(number, wire, b)
		}
		b = b[n:]
	}
	return instant(int64(seconds), int32(nanos))
}
