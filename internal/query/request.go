package query

// What a client may ask: the JSON of POST /broker/query. Here the request is read and everything is checked that can be without knowing the
// data; Compile makes of it what is run.
//
// An error names the member by its path, because a request may hold dozens of conditions.

import (
	"fmt"
	"slices"
	"strconv"
)

// RequestError is what is wrong with a request. Codes: "bad_json", "unknown_field", "bad_query"; of a run "sum_overflow" and "output_too_large".
type RequestError struct{ Code, Message string }

func (e *RequestError) Error() string { return e.Message }

// badQuery says of a member what is wrong with it.
func badQuery(path, format string, args ...any) *RequestError {
	if len(args) > 0 {
		format = fmt.Sprintf(format, args...)
	}
	return &RequestError{"bad_query", path + " " + format}
}

// Source says which messages are read: those of a query, or of one side of a join.
type Source struct {
	Topic     string            `json:"topic"`
	Partition *uint32           `json:"partition"` // nil: all
	Group     string            `json:"group"`     // whose commit is where reading begins
	Offset    *uint64           `json:"offset"`    // the first that is read
	Offsets   map[string]uint64 `json:"offsets"`   // the same per partition; checked to be decimal numbers
	Limit     *int              `json:"limit"`     // messages; not nil once parsed
	Decode    *Decode           `json:"decode"`    // nil: JSON
}

// Decode says what the messages' bytes are.
type Decode struct {
	Type             string              `json:"type"`     // "json" (also ""), "avro", "proto"
	Encoding         string              `json:"encoding"` // "json", "binary", "confluent"; "" as the type has it
	SchemaText       string              `json:"schema_text"`
	DescriptorSetB64 string              `json:"descriptor_set_b64"`
	SchemaID         *uint32             `json:"schema_id"`
	Message          string              `json:"message"`
	ApplyDefaults    *bool               `json:"apply_defaults"`
	FieldAliases     map[string][]string `json:"field_aliases"` // name -> other names under which messages have it
}

// QueryRequest is the body of POST /broker/query.
type QueryRequest struct {
	Source    Source      `json:"source"`
	Filter    []Condition `json:"filter"`
	Window    *Window     `json:"window"`
	Aggregate Aggregate   `json:"aggregate"`
	Transform Transform   `json:"transform"`
}

// Condition is one element of a filter: a field's, or any, all, not.
type Condition struct {
	Field *string     `json:"field"`
	Op    string      `json:"op"`
	Value literal     `json:"value"`
	Any   []Condition `json:"any"`
	All   []Condition `json:"all"`
	Not   *Condition  `json:"not"`
}

// Window says how time is cut.
type Window struct {
	Type              string  `json:"type"` // "tumbling", "hopping", "session"
	SizeMs            *int64  `json:"size_ms"`
	AdvanceMs         *int64  `json:"advance_ms"`
	GapMs             *int64  `json:"gap_ms"`
	TsField           *string `json:"ts_field"` // nil: the log's time
	AllowedLatenessMs *int64  `json:"allowed_lateness_ms"`
}

// Aggregate says what is computed.
type Aggregate struct {
	GroupBy  []string  `json:"group_by"`
	Measures []Measure `json:"measures"`
}

// Measure is one number per group.
type Measure struct {
	Op    string  `json:"op"`
	Field *string `json:"field"`
	As    *string `json:"as"`
}

// Transform says what is shown of the messages themselves.
type Transform struct {
	LeftFields []string `json:"left_fields"` // empty: the whole message
	EmitRows   *int     `json:"emit_rows"`
}

// ParseQuery reads a request. The error is a *RequestError.
func ParseQuery(body []byte) (*QueryRequest, error) {
	r := new(QueryRequest)
	if err := decodeStrict(body, r); err != nil {
		return nil, err
	}
	if err := r.Source.check("source", scanDefault); err != nil {
		return nil, err
	}
	if _, err := r.compile(); err != nil { // everything but the format
		return nil, err
	}
	return r, nil
}

// check is for sources of queries and joins; path is where in the request it stands. Afterwards Limit is not nil.
func (s *Source) check(path string, limitDefault int) error {
	switch {
	case s.Topic == "":
		return badQuery(path+".topic", "is missing")
	case s.Offset != nil && s.Offsets != nil:
		return badQuery(path+".offsets", "cannot be given besides offset")
	case s.Partition != nil && s.Offsets != nil:
		return badQuery(path+".offsets", "is for all partitions: leave partition out, or give offset")
	case len(s.Offsets) > offsetsMax:
		return badQuery(path+".offsets", "names more than %d partitions", offsetsMax)
	}
	for _, name := range sortedNames(s.Offsets) {
		n, err := strconv.ParseUint(name, 10, 32)
		if err != nil || strconv.FormatUint(n, 10) != name {
			return badQuery(path+".offsets", "has the member %q, which is no partition", name)
		}
	}
	if s.Limit == nil {
		s.Limit = &limitDefault
	}
	if err := inRange(path+".limit", s.Limit, 1, scanMax); err != nil {
		return err
	}
	return s.Decode.check(path + ".decode")
}

// check knows the names that there are; what a schema is made of is the formats' business.
func (d *Decode) check(path string) error {
	if d == nil {
		return nil
	}
	if !slices.Contains([]string{"", "json", "avro", "proto"}, d.Type) {
		return badQuery(path+".type", "is %q: it can be json, avro or proto", d.Type)
	}
	if !slices.Contains([]string{"", "json", "binary", "confluent"}, d.Encoding) {
		return badQuery(path+".encoding", "is %q: it can be json, binary or confluent", d.Encoding)
	}
	_, err := newFieldSet(d, path)
	return err
}

// inRange wants n, where it is given, to be between least and most.
func inRange[T int | int64](path string, n *T, least, most T) error {
	if n != nil && (*n < least || *n > most) {
		return badQuery(path, "is %d: it can be %d to %d", *n, least, most)
	}
	return nil
}
