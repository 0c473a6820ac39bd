package schema

// Avro schemas. The library parses and checks them, and bounds how deep they nest; what the walk needs of them is a tree of types.
//
// In the tree a name is the type that it names, so that the tree of a recursive schema has cycles. Logical types that are not known,
// or not allowed where they stand, are what the specification makes of them: the type itself.

import (
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/twmb/avro"

	"ayder/internal/jsonscan"
)

// avroKind is a type of the specification; strings and bytes are read alike, and so on.
type avroKind uint8

const (
	avroNull avroKind = iota
	avroBoolean
	avroInt
	avroLong
	avroFloat
	avroDouble
	avroBytes
	avroString
	avroFixed
	avroEnum
	avroArray
	avroMap
	avroUnion
	avroRecord
)

var avroKinds = map[string]avroKind{
	"null": avroNull, "boolean": avroBoolean, "int": avroInt, "long": avroLong, "float": avroFloat, "double": avroDouble, "bytes": avroBytes,
	"string": avroString, "fixed": avroFixed, "enum": avroEnum, "array": avroArray, "map": avroMap, "union": avroUnion,
	"record": avroRecord, "error": avroRecord,
}

// avroLogical is what the bytes of a type mean beyond it.
type avroLogical uint8

const (
	plain avroLogical = iota
	timestamp
	date
	timeOfDay
	decimal
	uuid
	duration
)

// avroMeanings are the logical types that we know, by type. A unit is how many nanoseconds one is.
var avroMeanings = map[[2]string]struct {
	logical avroLogical
	unit    int64
}{
	{"long", "timestamp-millis"}:       {timestamp, 1e6},
	{"long", "timestamp-micros"}:       {timestamp, 1e3},
	{"long", "timestamp-nanos"}:        {timestamp, 1},
	{"long", "local-timestamp-millis"}: {timestamp, 1e6},
	{"long", "local-timestamp-micros"}: {timestamp, 1e3},
	{"long", "local-timestamp-nanos"}:  {timestamp, 1},
	{"int", "date"}:                    {date, 0},
	{"int", "time-millis"}:             {timeOfDay, 1e6},
	{"long", "time-micros"}:            {timeOfDay, 1e3},
	{"bytes", "decimal"}:               {decimal, 0},
	{"fixed", "decimal"}:               {decimal, 0},
	{"fixed", "uuid"}:                  {uuid, 0},
	{"fixed", "duration"}:              {duration, 0},
}

// avroType is a type of a schema.
type avroType struct {
	kind     avroKind
	logical  avroLogical
	unit     int64    // of a timestamp or time: nanoseconds
	scale    *big.Int // of a decimal: ten to the power of its scale
	digits   int      // of a decimal: its scale
	size     int      // of a fixed: bytes
	fields   []avroField
	items    *avroType // of an array or map
	branches []*avroType
	symbols  [][]byte
}

type avroField struct {
	name   string
	quoted []byte // the name as JSON has it, with the colon
	t      *avroType
}

// avroSchema is a schema that messages are written or read with.
type avroSchema struct {
	lib  *avro.Schema
	root *avroType
}

// parseAvro reads a schema.
func parseAvro(text []byte) (s *avroSchema, err error) {
	defer guard(&err)
	if len(text) > textBytesMax {
		return nil, fmt.Errorf("the Avro schema is over %d bytes", textBytesMax)
	}
	lib, err := avro.Parse(string(text), rawLogicals()...)
	if err != nil {
		return nil, fmt.Errorf("the Avro schema: %w", err)
	}
	types := avroTypes{named: map[string]*avroType{}}
	root, err := types.of(lib.Root(), "")
	if err != nil {
		return nil, err
	}
	return &avroSchema{lib: lib, root: root}, nil
}

// rawLogicals make the library pass on what is meant to be a time or decimal as the number or bytes that it is: the walk converts.
func rawLogicals() []avro.SchemaOpt {
	var opts []avro.SchemaOpt
	for _, name := range append(slices.Collect(logicalNames), "uuid", "big-decimal") {
		opts = append(opts, avro.WithCustomType(avro.CustomType{LogicalType: name}))
	}
	return opts
}

// logicalNames yields every name once or more.
func logicalNames(yield func(string) bool) {
	for key := range avroMeanings {
		if !yield(key[1]) {
			return
		}
	}
}

// avroTypes makes types of the library's nodes.
type avroTypes struct {
	named map[string]*avroType // by full name
}

// of returns the type of a node that is inside a namespace.
func (m avroTypes) of(n *avro.SchemaNode, namespace string) (*avroType, error) {
	kind, ok := avroKinds[n.Type]
	if !ok {
		return m.named[m.resolve(n.Type, namespace)], m.missing(n.Type, namespace)
	}
	t := &avroType{kind: kind, size: n.Size}
	meaning := avroMeanings[[2]string{n.Type, n.LogicalType}]
	t.logical, t.unit = meaning.logical, meaning.unit
	if t.logical == decimal && n.Scale > decimalScaleMax {
		t.logical = plain
	}
	if t.logical == decimal {
		t.digits = n.Scale
		t.scale = new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n.Scale)), nil)
	}
	for _, symbol := range n.Symbols {
		t.symbols = append(t.symbols, []byte(symbol))
	}
	if kind == avroRecord || kind == avroEnum || kind == avroFixed {
		full := fullName(n)
		namespace, _, _ = cutLast(full)
		m.named[full] = t
	}
	return t, m.inside(t, n, namespace)
}

// inside makes the types that t is made of.
func (m avroTypes) inside(t *avroType, n *avro.SchemaNode, namespace string) (err error) {
	switch t.kind {
	case avroArray:
		t.items, err = m.of(n.Items, namespace)
	case avroMap:
		t.items, err = m.of(n.Values, namespace)
	case avroUnion:
		t.branches = make([]*avroType, len(n.Branches))
		for i := range n.Branches {
			if t.branches[i], err = m.of(&n.Branches[i], namespace); err != nil {
				return err
			}
		}
	case avroRecord:
		t.fields = make([]avroField, len(n.Fields))
		for i := range n.Fields {
			f := &t.fields[i]
			f.name = n.Fields[i].Name
			f.quoted = append(jsonscan.AppendString(nil, []byte(f.name)), ':')
			if f.t, err = m.of(&n.Fields[i].Type, namespace); err != nil {
				return err
			}
		}
	}
	return err
}

// resolve finds the full name that is meant by a name inside a namespace.
func (m avroTypes) resolve(name, namespace string) string {
	if namespace != "" && !strings.Contains(name, ".") {
		if full := namespace + "." + name; m.named[full] != nil {
			return full
		}
	}
	return strings.TrimPrefix(name, ".")
}

func (m avroTypes) missing(name, namespace string) error {
	if m.named[m.resolve(name, namespace)] == nil {
		return fmt.Errorf("the Avro schema: %q is named before it is defined", name)
	}
	return nil
}

func fullName(n *avro.SchemaNode) string {
	if n.Namespace == "" || strings.Contains(n.Name, ".") {
		return strings.TrimPrefix(n.Name, ".")
	}
	return n.Namespace + "." + n.Name
}

// cutLast cuts around the last dot; without one, all is behind.
func cutLast(name string) (before, behind string, found bool) {
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return "", name, false
	}
	return name[:i], name[i+1:], true
}
