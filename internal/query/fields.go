package query

// Fields: which paths a decoder has to look for.
//
// Every field that a request names gets a place in the slice of values; asking twice gives the same place. A field with
// aliases has further places, one per other name, and is what the first of them holds that is not missing. That is settled once per
// message, behind the decoder, so that everything after it just takes the value at a place.

import (
	"fmt"
	"maps"
	"slices"
)

// fieldSet collects the fields of one source.
type fieldSet struct {
	paths    []Path
	places   map[string]int // of a path, by pathKey
	aliases  []alias        // longer names first
	resolved []alternatives
}

// alias is another name of a field, or of what leads to one.
type alias struct {
	of    Path
	other []Path
}

// alternatives are places that are looked at in turn when the first is missing.
type alternatives struct {
	place  int
	others []int
}

// newFieldSet takes the aliases of d, which may be nil; path is where in the request d is. The error is a *RequestError.
func newFieldSet(d *Decode, path string) (*fieldSet, error) {
	f := &fieldSet{places: make(map[string]int)}
	if d == nil {
		return f, nil
	}
	count := 0
	for _, name := range sortedNames(d.FieldAliases) {
		others := d.FieldAliases[name]
		if count += len(others); count > aliasesMax {
			return nil, badQuery(path+".field_aliases", "has more than %d names", aliasesMax)
		}
		a := alias{}
		var err error
		where := memberPath(path+".field_aliases", name)
		if a.of, err = parseField(where, name); err != nil {
			return nil, err
		}
		for i, other := range others {
			p, err := parseField(fmt.Sprintf("%s[%d]", where, i), other)
			if err != nil {
				return nil, err
			}
			a.other = append(a.other, p)
		}
		f.aliases = append(f.aliases, a)
	}
	slices.SortStableFunc(f.aliases, func(a, b alias) int { return len(b.of) - len(a.of) })
	return f, nil
}

// add returns the place where the field's value will be; path is where in the request it is named.
func (f *fieldSet) add(path, name string) (int, error) {
	p, err := parseField(path, name)
	if err != nil {
		return 0, err
	}
	place := f.place(p)
	if slices.ContainsFunc(f.resolved, func(a alternatives) bool { return a.place == place }) {
		return place, nil
	}
	var others []int
	for _, a := range f.aliases {
		if !hasPrefix(p, a.of) {
			continue
		}
		for _, other := range a.other {
			others = append(others, f.place(slices.Concat(other, p[len(a.of):])))
		}
	}
	if len(others) > 0 {
		f.resolved = append(f.resolved, alternatives{place, others})
	}
	return place, nil
}

// place is where the value at exactly this path will be.
func (f *fieldSet) place(p Path) int {
	key := pathKey(p)
	place, ok := f.places[key]
	if !ok {
		place = len(f.paths)
		f.places[key] = place
		f.paths = append(f.paths, p)
	}
	return place
}

// resolve gives fields that are missing the value of their other names. values are what a decoder found at paths.
func (f *fieldSet) resolve(values []Value) {
	for _, a := range f.resolved {
		for _, other := range a.others {
			if values[a.place].kind != Missing {
				break
			}
			values[a.place] = values[other]
		}
	}
}

// parseField is ParsePath for a member of a request.
func parseField(where, name string) (Path, error) {
	if len(name) > nameBytesMax {
		return nil, badQuery(where, "is longer than %d bytes", nameBytesMax)
	}
	p, err := ParsePath(name)
	if err != nil {
		return nil, badQuery(where, "is %q: %v", name, err)
	}
	return p, nil
}

// pathKey is one string per path.
func pathKey(p Path) string { return fmt.Sprintf("%q", []string(p)) }

func hasPrefix(p, prefix Path) bool {
	return len(p) >= len(prefix) && slices.Equal(p[:len(prefix)], prefix)
}

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
