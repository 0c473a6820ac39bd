package query

// Filters: a tree of conditions, compiled so that a message is judged without allocation.
//
// A field that is missing matches nothing but exists:false; what `not` is given decides first, so {"not":{…}} of a missing field
// matches. Values of two natures are not equal and have no order. Two natures meet all the same: text stands for an instant where
// the field is a time (the ts_field, or by its format), and for bytes as it shows them, in base64.

import (
	"bytes"
	"fmt"
	"slices"

	"ayder/internal/jsonscan"
)

// op is what a condition or measure does.
type op uint8

const (
	opAll op = iota
	opAny
	opNot
	opEq
	opNe
	opLt
	opLe
	opGt
	opGe
	opIn
	opContains
	opExists
)

var opNames = map[string]op{
	"eq": opEq, "ne": opNe, "lt": opLt, "le": opLe, "gt": opGt, "ge": opGe, "in": opIn, "contains": opContains, "exists": opExists,
}

// condition is compiled. Any and all have inner conditions, not has one.
type condition struct {
	op     op
	place  int  // of the field's value
	isTime bool // the field is the ts_field
	value  constant
	items  []constant // of in, sorted by Order
	exists bool
	inner  []condition
}

// filterCompiler knows what a whole filter shares.
type filterCompiler struct {
	fields  *fieldSet
	tsField int // place, -1 if there is none
	count   int // conditions so far
	items   int // values of lists so far
}

// compile makes conditions of what stands at path, an array.
func (c *filterCompiler) compile(list []Condition, path string) ([]condition, error) {
	compiled := make([]condition, len(list))
	for i := range list {
		var err error
		if compiled[i], err = c.one(&list[i], fmt.Sprintf("%s[%d]", path, i)); err != nil {
			return nil, err
		}
	}
	return compiled, nil
}

func (c *filterCompiler) one(from *Condition, path string) (condition, error) {
	if c.count++; c.count > conditionsMax {
		return condition{}, badQuery(path, "is one of more than %d conditions", conditionsMax)
	}
	forms := 0
	for _, given := range []bool{from.Field != nil, from.Any != nil, from.All != nil, from.Not != nil} {
		if given {
			forms++
		}
	}
	switch {
	case forms != 1:
		return condition{}, badQuery(path, "has to have one of field, any, all and not")
	case from.Field != nil:
		return c.leaf(from, path)
	case from.Op != "":
		return condition{}, badQuery(path+".op", "needs a field beside it")
	case from.Value.given:
		return condition{}, badQuery(path+".value", "needs a field beside it")
	}
	return c.composite(from, path)
}

func (c *filterCompiler) composite(from *Condition, path string) (node condition, err error) {
	switch {
	case from.Any != nil:
		node.op = opAny
		node.inner, err = c.compile(from.Any, path+".any")
	case from.All != nil:
		node.op = opAll
		node.inner, err = c.compile(from.All, path+".all")
	default:
		node.op = opNot
		node.inner = make([]condition, 1)
		node.inner[0], err = c.one(from.Not, path+".not")
	}
	return node, err
}

// leaf is a condition on a field.
func (c *filterCompiler) leaf(from *Condition, path string) (node condition, err error) {
	var known bool
	switch node.op, known = opNames[from.Op]; {
	case from.Op == "":
		return node, badQuery(path+".op", "is missing")
	case !known:
		return node, badQuery(path+".op", "is %q: it can be eq, ne, lt, le, gt, ge, in, contains or exists", from.Op)
	}
	if node.place, err = c.fields.add(path+".field", *from.Field); err != nil {
		return node, err
	}
	node.isTime = node.place == c.tsField
	return node, c.operand(&node, &from.Value, path+".value")
}

// operand checks and takes what the field is compared with.
func (c *filterCompiler) operand(node *condition, l *literal, path string) error {
	kind := l.value.value.kind
	switch {
	case node.op == opExists && (!l.given || !l.list && kind == Bool):
		node.exists = !l.given || l.value.value.Bool()
		return nil
	case node.op == opExists:
		return badQuery(path, "has to be true or false")
	case !l.given:
		return badQuery(path, "is missing")
	case l.list != (node.op == opIn):
		if l.list {
			return badQuery(path, "can be an array with the op in only")
		}
		return badQuery(path, "has to be an array")
	case kind == Null && node.op >= opLt && node.op <= opGe:
		return badQuery(path, "is null, which has no order")
	}
	if c.items += len(l.items); c.items > listValuesMax {
		return badQuery(path, "brings the filter's lists to more than %d values", listValuesMax)
	}
	node.value = l.value
	node.items = slices.Clone(l.items)
	slices.SortFunc(node.items, func(a, b constant) int { return a.value.Order(b.value) })
	return nil
}

// matcher judges messages. It belongs to one goroutine.
type matcher struct {
	scan jsonscan.Scanner
}

// all tells whether every condition holds.
func (m *matcher) all(list []condition, values []Value) bool {
	for i := range list {
		if !m.holds(&list[i], values) {
			return false
		}
	}
	return true
}

func (m *matcher) holds(c *condition, values []Value) bool {
	switch c.op {
	case opAll:
		return m.all(c.inner, values)
	case opAny:
		for i := range c.inner {
			if m.holds(&c.inner[i], values) {
				return true
			}
		}
		return false
	case opNot:
		return !m.holds(&c.inner[0], values)
	case opExists:
		return c.exists == (values[c.place].kind != Missing)
	}
	v := values[c.place]
	return v.kind != Missing && m.compares(c, v)
}

// compares judges a field that is there.
func (m *matcher) compares(c *condition, v Value) bool {
	switch c.op {
	case opEq:
		return c.equal(v, &c.value)
	case opNe:
		return !c.equal(v, &c.value)
	case opIn:
		return c.in(v)
	case opContains:
		return m.contains(v, &c.value)
	}
	order, ok := c.compare(v, &c.value)
	if !ok {
		return false
	}
	switch c.op {
	case opLt:
		return order < 0
	case opLe:
		return order <= 0
	case opGt:
		return order > 0
	}
	return order >= 0
}

// compare is Value.Compare, and of times and bytes with the text that stands for them.
func (c *condition) compare(v Value, w *constant) (order int, ok bool) {
	switch {
	case w.isTime && (c.isTime || v.kind == Time):
		if t, ok := instantOf(v); ok {
			return t.compare(w.instant), true
		}
	case v.kind == Bytes && w.bytes != nil:
		return bytes.Compare(v.text, w.bytes), true
	}
	return v.Compare(w.value)
}

func (c *condition) equal(v Value, w *constant) bool {
	if v.kind == Null || w.value.kind == Null {
		return v.kind == w.value.kind
	}
	order, ok := c.compare(v, w)
	return ok && order == 0
}

func (c *condition) in(v Value) bool {
	if c.isTime || v.kind == Time || v.kind == Bytes { // which the list is not sorted by
		return slices.ContainsFunc(c.items, func(w constant) bool { return c.equal(v, &w) })
	}
	if v.kind == JSON {
		return false
	}
	_, found := slices.BinarySearchFunc(c.items, v, func(w constant, v Value) int { return w.value.Order(v) })
	return found
}

// contains looks for text in text, or for an element of an array.
func (m *matcher) contains(v Value, w *constant) bool {
	switch {
	case v.kind == String:
		return w.value.kind == String && bytes.Contains(v.text, w.value.text)
	case v.kind != JSON || v.text[0] != '[':
		return false
	}
	for i := 0; ; {
		var item []byte
		if item, i = element(&m.scan, v.text, i); item == nil {
			return false
		}
		if (&condition{}).equal(scalarValue(item), w) {
			return true
		}
	}
}
