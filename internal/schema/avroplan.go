package schema

// A plan is what a decoder wants of a type: the places for the value itself, and the plans of what is inside. Names were looked up when
// the plan was made; a message is walked by the schema's own order.
//
// Plans are remembered by type and path node, so that a schema whose unions lead on and on has no more plans than that.

import (
	"slices"

	"ayder/internal/query"
)

// avroPlan says what is wanted of a value.
type avroPlan struct {
	paths  *query.PathTree
	inside []*avroPlan       // by field of a record or branch of a union; nil: nothing is wanted
	items  []avroElementPlan // of an array or map
}

// avroElementPlan is for one element of an array, or one key of a map.
type avroElementPlan struct {
	index int
	key   string
	plan  *avroPlan
}

type avroPlanKey struct {
	t     *avroType
	paths *query.PathTree
}

type avroPlans map[avroPlanKey]*avroPlan

// of returns the plan for paths that begin at a value of type t.
func (m avroPlans) of(t *avroType, paths *query.PathTree) *avroPlan {
	if paths == nil {
		return nil
	}
	key := avroPlanKey{t, paths}
	if p := m[key]; p != nil {
		return p
	}
	p := &avroPlan{paths: paths}
	m[key] = p
	switch t.kind {
	case avroUnion:
		for _, branch := range t.branches {
			p.inside = append(p.inside, m.of(branch, paths))
		}
	case avroRecord:
		for i := range t.fields {
			p.inside = append(p.inside, m.of(t.fields[i].t, paths.Member([]byte(t.fields[i].name))))
		}
	case avroArray, avroMap:
		for _, child := range paths.Children {
			if t.kind == avroMap || child.Index >= 0 {
				p.items = append(p.items, avroElementPlan{child.Index, child.Name, m.of(t.items, child)})
			}
		}
	}
	return p
}

func (p *avroPlan) field(i int) *avroPlan {
	if p == nil {
		return nil
	}
	return p.inside[i]
}

func (p *avroPlan) element(index int) *avroPlan {
	if p == nil {
		return nil
	}
	if i := slices.IndexFunc(p.items, func(e avroElementPlan) bool { return e.index == index }); i >= 0 {
		return p.items[i].plan
	}
	return nil
}

func (p *avroPlan) key(key []byte) *avroPlan {
	if p == nil {
		return nil
	}
	for i := range p.items {
		if p.items[i].key == string(key) {
			return p.items[i].plan
		}
	}
	return nil
}
