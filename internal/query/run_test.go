package query

import (
	"iter"
	"strings"
	"testing"
)

// stream is messages of partition 0 with offsets and log times from 0 on.
func stream(values ...string) iter.Seq[*Message] {
	return func(yield func(*Message) bool) {
		for i, v := range values {
			if !yield(&Message{Offset: uint64(i), TimeMs: uint64(i), Value: []byte(v)}) {
				return
			}
		}
	}
}

// compiled is the query of a request whose source does not matter.
func compiled(t testing.TB, request string) *Query {
	t.Helper()
	if !strings.Contains(request, `"source"`) {
		request = `{` + base + `,` + request + `}`
	}
	r, err := ParseQuery([]byte(request))
	if err != nil {
		t.Fatalf("%s: %v", request, err)
	}
	q, err := r.Compile(JSONFormat())
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func run1(t testing.TB, request string, messages iter.Seq[*Message]) *Result {
	t.Helper()
	r, err := compiled(t, request).Run(Limits{}, messages)
	if err != nil {
		t.Fatalf("%s: %v", request, err)
	}
	return r
}

// The example of the contract.
func TestTheExample(t *testing.T) {
	r := run1(t, `{"source":{"topic":"orders","partition":0,"group":"g1","offset":0,"limit":2000},
		"filter":[{"field":"amount","op":"gt","value":10}],
		"window":{"type":"tumbling","size_ms":60000,"ts_field":"ts"},
		"aggregate":{"group_by":["country"],"measures":[{"op":"count"},{"op":"sum","field":"amount","as":"total"}]},
		"transform":{"left_fields":["id","amount"],"emit_rows":10}}`, stream(
		`{"id":1,"amount":11.5,"country":"DE","ts":1000}`,
		`{"id":2,"amount":30,"country":"DE","ts":59999}`,
		`{"id":3,"amount":10,"country":"DE","ts":1000}`,
		`{"id":4,"amount":12,"ts":"1970-01-01T00:01:00Z"}`,
		`{"id":5,"amount":12,"country":"AT","ts":-1}`,
		`{"id":6,"amount":12,"country":"AT"}`,
		`{"id":7,`,
	))
	got := string(r.AppendJSON(nil))
	want := `"rows":[{"id":1,"amount":11.5},{"id":2,"amount":30},{"id":4,"amount":12},{"id":5,"amount":12}],"aggregates":[` +
		`{"key":"country=AT","group":{"country":"AT"},"window_start_ms":-60000,"window_end_ms":0,"count":1,"total":12},` +
		`{"key":"country=DE","group":{"country":"DE"},"window_start_ms":0,"window_end_ms":60000,"count":2,"total":41.5},` +
		`{"key":"country=null","group":{"country":null},"window_start_ms":60000,"window_end_ms":120000,"count":1,"total":12}]`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if r.Scanned != 7 || r.Matched != 4 || r.Skipped != 2 || r.Truncated || r.Next[0] != 7 {
		t.Errorf("%+v", r)
	}
}
