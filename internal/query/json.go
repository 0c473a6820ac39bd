package query

// JSON, the format of most messages, so that this is the hottest code of a query: one pass over the message, which checks all of it
// (by package jsonscan, so what is taken is what encoding/json takes, its nesting limit included) and picks up what the paths
// lead to.
//
// The paths are a tree of names. Where a member's name is in the tree, the walk goes inside with that node; any other value is skipped,
// which is to say checked. Nothing is built and, once the buffers have grown, nothing is allocated: strings without escapes are slices of the
// message, others are decoded into one buffer, numbers are read where they stand.
//
//	paths a.b, a.c, tags.0      (root) ── a ─┬─ b → 0
//	                                   │     └─ c → 1
//	                                   └─ tags ─ 0 → 2
//
// Of a member that is there twice the last one counts, as for encoding/json; so on the way into a value everything below its node is
// forgotten. Bytes that are not UTF-8 compare as they are stored, and are shown as U+FFFD.
//
// Rejected, by measurement (docs/decisions/0013-json-on-the-query-path.md): libraries that look for one path at a time, that
// build a tree first, or that do not check what they pass over.

import (
	"fmt"
	"math"
	"strconv"

	"ayder/internal/jsonscan"
)

// JSONFormat is the format of messages that are JSON texts.
func JSONFormat() Format { return jsonFormat{} }

type jsonFormat struct{}

func (jsonFormat) NewDecoder(paths []Path) Decoder {
	return &jsonDecoder{root: NewPathTree(paths)}
}

type jsonDecoder struct {
	root    *PathTree
	scan    jsonscan.Scanner
	message []byte
	dst     []Value
	text    []byte // strings that had escapes
}

// Decode implements Decoder.
func (d *jsonDecoder) Decode(b []byte, dst []Value) error {
	d.message, d.dst, d.text = b, dst, d.text[:0]
	d.forget(d.root)
	i := d.value(b, jsonscan.SkipSpace(b, 0), d.root, 0)
	if i = jsonscan.SkipSpace(b, i); i != len(b) {
		return fmt.Errorf("%w: not one JSON value", ErrUndecodable)
	}
	return nil
}

// AppendJSON implements Decoder.
func (d *jsonDecoder) AppendJSON(dst []byte) []byte { return appendText(dst, d.message) }

func (d *jsonDecoder) forget(n *PathTree) {
	for _, place := range n.Below {
		d.dst[place] = Value{}
	}
}

func (d *jsonDecoder) set(n *PathTree, v Value) {
	for _, place := range n.Here {
		d.dst[place] = v
	}
}

// value reads the value at i, inside of so many arrays and objects; n, if not nil, is what is wanted of it. It returns the index behind
// it, -1 if it is malformed. It calls itself no deeper than the paths are long.
func (d *jsonDecoder) value(b []byte, i int, n *PathTree, depth int) int {
	if n == nil || i < 0 || i >= len(b) {
		return d.scan.SkipInside(b, i, depth)
	}
	if n.Children != nil {
		d.forget(n)
	}
	end := -1
	switch c := b[i]; {
	case c == '"':
		return d.string(b, i, n)
	case c == '{' && n.Children != nil:
		end = d.object(b, i, n, depth+1)
	case c == '[' && n.Children != nil:
		end = d.array(b, i, n, depth+1)
	default:
		end = d.scan.SkipInside(b, i, depth)
	}
	if end > 0 && n.Here != nil {
		d.set(n, jsonValue(b[i:end]))
	}
	return end
}

// object reads an object; depth is that of what is inside.
func (d *jsonDecoder) object(b []byte, i int, n *PathTree, depth int) int {
	i = jsonscan.SkipSpace(b, i+1)
	if i < len(b) && b[i] == '}' {
		return i + 1
	}
	for {
		var member *PathTree
		if member, i = d.name(b, i, n); i < 0 {
			return -1
		}
		i = jsonscan.SkipSpace(b, d.value(b, i, member, depth))
		switch {
		case i < 0 || i >= len(b) || b[i] != ',' && b[i] != '}':
			return -1
		case b[i] == '}':
			return i + 1
		}
		i = jsonscan.SkipSpace(b, i+1)
	}
}

// array reads an array; depth is that of what is inside.
func (d *jsonDecoder) array(b []byte, i int, n *PathTree, depth int) int {
	i = jsonscan.SkipSpace(b, i+1)
	if i < len(b) && b[i] == ']' {
		return i + 1
	}
	for index := 0; ; index++ {
		i = jsonscan.SkipSpace(b, d.value(b, i, n.Element(index), depth))
		switch {
		case i < 0 || i >= len(b) || b[i] != ',' && b[i] != ']':
			return -1
		case b[i] == ']':
			return i + 1
		}
		i = jsonscan.SkipSpace(b, i+1)
	}
}

// name reads a member's name and colon; i is where its value starts, -1 if something is malformed.
func (d *jsonDecoder) name(b []byte, i int, n *PathTree) (*PathTree, int) {
	end, plain := jsonscan.String(b, i)
	if end < 0 {
		return nil, -1
	}
	name := b[i+1 : end-1]
	if !plain {
		start := len(d.text)
		d.text = jsonscan.AppendText(d.text, name)
		name, d.text = d.text[start:], d.text[:start]
	}
	i = jsonscan.SkipSpace(b, end)
	if i >= len(b) || b[i] != ':' {
		return nil, -1
	}
	return n.Member(name), jsonscan.SkipSpace(b, i+1)
}

// string reads a string that is wanted, or from which a path would lead on in vain.
func (d *jsonDecoder) string(b []byte, i int, n *PathTree) int {
	end, plain := jsonscan.String(b, i)
	if end < 0 || n.Here == nil {
		return end
	}
	text := b[i+1 : end-1]
	if !plain {
		start := len(d.text)
		d.text = jsonscan.AppendText(d.text, text)
		text = d.text[start:]
	}
	d.set(n, StringValue(text))
	return end
}

// jsonValue is what a well-formed value other than a string says.
func jsonValue(b []byte) Value {
	switch b[0] {
	case '{', '[':
		return JSONValue(b)
	case 't', 'f':
		return BoolValue(b[0] == 't')
	case 'n':
		return NullValue()
	}
	return jsonNumber(b)
}

// jsonNumber is what a well-formed number says: exact if it is written as a whole number and fits 64 bits, else the nearest float64. One
// too large for that is null.
func jsonNumber(b []byte) Value {
	digits := b
	if b[0] == '-' {
		digits = b[1:]
	}
	var whole uint64
	for i, c := range digits {
		c -= '0'
		if c > 9 || i == wholeDigitsMax {
			return jsonFloat(b)
		}
		if i == wholeDigitsMax-1 && (whole > math.MaxUint64/10 || whole == math.MaxUint64/10 && c > math.MaxUint64%10) {
			return jsonFloat(b)
		}
		whole = whole*10 + uint64(c)
	}
	switch {
	case len(digits) == len(b):
		return UintValue(whole)
	case whole <= 1<<63:
		return IntValue(-int64(whole))
	}
	return jsonFloat(b)
}

func jsonFloat(b []byte) Value {
	f, _ := strconv.ParseFloat(string(b), 64) // the error is that of a number too large, which is infinite
	return FloatValue(f)
}
