package query

// A compiled query: every field has its place in the slice of values that a decoder fills, every name its text as JSON, and nothing is left
// to be looked up by name while messages come in. It does not change, so that any number of runs may share it; what a run needs for
// itself is in evaluator and aggregation.

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"ayder/internal/jsonscan"
)

// Query is what Compile makes of a request.
type Query struct {
	format Format
	fields *fieldSet
	filter []condition
	window window

	groups   []named
	measures []measure

	project  []named // empty: whole messages
	emitRows int
	limit    int // messages
}

// named is a field in the output: where its value is, and the text `"name":` before it.
type named struct {
	place int
	name  string
	label []byte
}

// reservedNames are members of an aggregate that measures must not be called.
var reservedNames = []string{"key", "group", "window_start_ms", "window_end_ms"}

// Compile makes a query for messages of a format. The error is a *RequestError.
func (r *QueryRequest) Compile(f Format) (*Query, error) {
	q, err := r.compile()
	if err != nil {
		return nil, err
	}
	q.format = f
	return q, nil
}

// compile checks everything that does not depend on the format.
func (r *QueryRequest) compile() (*Query, error) {
	fields, err := newFieldSet(r.Source.Decode, "source.decode")
	if err != nil {
		return nil, err
	}
	q := &Query{fields: fields, limit: *r.Source.Limit}
	if q.window, err = r.Window.compile(fields); err != nil {
		return nil, err
	}
	c := filterCompiler{fields: fields, tsField: q.window.tsField}
	if q.filter, err = c.compile(r.Filter, "filter"); err != nil {
		return nil, err
	}
	if q.groups, err = nameFields(fields, "aggregate.group_by", r.Aggregate.GroupBy, groupFieldsMax); err != nil {
		return nil, err
	}
	if q.measures, err = r.Aggregate.compile(fields); err != nil {
		return nil, err
	}
	if q.project, err = nameFields(fields, "transform.left_fields", r.Transform.LeftFields, projectedMax); err != nil {
		return nil, err
	}
	if err := inRange("transform.emit_rows", r.Transform.EmitRows, 0, rowsMax); err != nil {
		return nil, err
	}
	if r.Transform.EmitRows != nil {
		q.emitRows = *r.Transform.EmitRows
	}
	return q, nil
}

// nameFields takes the fields of a list in which each occurs once.
func nameFields(fields *fieldSet, path string, list []string, most int) ([]named, error) {
	if len(list) > most {
		return nil, badQuery(path, "has more than %d fields", most)
	}
	var all []named
	for i, name := range list {
		where := fmt.Sprintf("%s[%d]", path, i)
		if slices.Contains(list[:i], name) {
			return nil, badQuery(where, "is %q once more", name)
		}
		place, err := fields.add(where, name)
		if err != nil {
			return nil, err
		}
		all = append(all, named{place, name, memberLabel(name)})
	}
	return all, nil
}

// memberLabel is how a member begins.
func memberLabel(name string) []byte { return append(jsonscan.AppendString(nil, []byte(name)), ':') }

// compile checks the measures.
func (a *Aggregate) compile(fields *fieldSet) ([]measure, error) {
	switch {
	case len(a.Measures) > measuresMax:
		return nil, badQuery("aggregate.measures", "has more than %d measures", measuresMax)
	case len(a.GroupBy) > 0 && len(a.Measures) == 0:
		return nil, badQuery("aggregate.measures", "is empty: say what is to be computed of each group")
	}
	var all []measure
	for i := range a.Measures {
		path := fmt.Sprintf("aggregate.measures[%d]", i)
		m, err := a.Measures[i].compile(fields, path)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(all, func(other measure) bool { return other.name == m.name }) {
			return nil, badQuery(path+".as", "is needed: another measure is called %q", m.name)
		}
		all = append(all, m)
	}
	return all, nil
}

func (m *Measure) compile(fields *fieldSet, path string) (c measure, err error) {
	var known bool
	switch c.op, known = measureNames[m.Op]; {
	case m.Op == "":
		return c, badQuery(path+".op", "is missing")
	case !known:
		return c, badQuery(path+".op", "is %q: it can be count, sum, avg, min or max", m.Op)
	case m.Field == nil && c.op != measureCount:
		return c, badQuery(path+".field", "is missing")
	}
	c.name, c.place = m.Op, -1
	if m.Field != nil {
		c.name = m.Op + "_" + *m.Field
		if c.place, err = fields.add(path+".field", *m.Field); err != nil {
			return c, err
		}
	}
	if m.As != nil {
		c.name = *m.As
	}
	switch {
	case c.name == "" || len(c.name) > nameBytesMax+len("count_"):
		return c, badQuery(path+".as", "has to be 1 to %d bytes", nameBytesMax)
	case slices.Contains(reservedNames, c.name):
		return c, badQuery(path+".as", "is %q, which each aggregate has already", c.name)
	}
	c.label = memberLabel(c.name)
	return c, nil
}

// fingerprint tells queries apart whose state has another shape or meaning.
func (q *Query) fingerprint() uint64 {
	var plan strings.Builder
	fmt.Fprintf(&plan, "%d %d %d", q.window.size, q.window.advance, q.window.lateness)
	for _, g := range q.groups {
		fmt.Fprintf(&plan, " by %q", g.name)
	}
	for _, m := range q.measures {
		field := ""
		if m.place >= 0 {
			field = pathKey(q.fields.paths[m.place])
		}
		fmt.Fprintf(&plan, " %d %q", m.op, field)
	}
	h := fnv.New64a()
	h.Write([]byte(plan.String()))
	return h.Sum64()
}
