package query

import (
	"errors"
	"strings"
	"testing"
)

// base is a request that is good, into which the cases put a member.
const base = `"source":{"topic":"t"}`

func TestRequestsAreReadStrictly(t *testing.T) {
	for _, c := range []struct{ body, code, message string }{
		{``, "bad_json", "empty"},
		{`{`, "bad_json", "not JSON"},
		{`[]`, "bad_json", "an array"},
		{"{\"source\":{\"topic\":\"\xff\"}}", "bad_json", "UTF-8"},
		{`{}`, "bad_query", "source.topic is missing"},
		{`{"source":{"topic":"t"},"source":{}}`, "bad_json", `"source" occurs twice`},
		{`{"Source":{"topic":"t"}}`, "unknown_field", `"Source"`},
		{`{"source":{"topic":"t","x":1}}`, "unknown_field", `"source.x"`},
		{`{"source":{"topic":"t","topic":"u"}}`, "bad_json", `"source.topic" occurs twice`},
		{`{"source":[]}`, "bad_query", "source has to be an object, not an array"},
		{`{"source":{"topic":7}}`, "bad_query", "source.topic has to be a string, not a number"},
		{`{"source":{"topic":"t","partition":-1}}`, "bad_query", "source.partition"},
		{`{"source":{"topic":"t","partition":4294967296}}`, "bad_query", "source.partition"},
		{`{"source":{"topic":"t","offset":1.5}}`, "bad_query", "source.offset"},
		{`{"source":{"topic":"t","offset":18446744073709551616}}`, "bad_query", "source.offset"},
		{`{"source":{"topic":"t","limit":0}}`, "bad_query", "source.limit is 0"},
		{`{"source":{"topic":"t","limit":100001}}`, "bad_query", "source.limit"},
		{`{"source":{"topic":"t","offsets":{"x":1}}}`, "bad_query", "source.offsets"},
		{`{"source":{"topic":"t","offsets":{"0":1,"0":2}}}`, "bad_json", `"source.offsets.0" occurs twice`},
		{`{"source":{"topic":"t","offsets":{"0":1},"offset":2}}`, "bad_query", "source.offsets"},
		{`{"source":{"topic":"t","offsets":{"0":1},"partition":2}}`, "bad_query", "source.offsets"},
		{`{"source":{"topic":"t","decode":{"type":"xml"}}}`, "bad_query", "source.decode.type"},
		{`{"source":{"topic":"t","decode":{"encoding":"xml"}}}`, "bad_query", "source.decode.encoding"},
		{`{"source":{"topic":"t","decode":{"field_aliases":{"a":["b..c"]}}}}`, "bad_query", "source.decode.field_aliases.a[0]"},
		{`{` + base + `,"filter":{}}`, "bad_query", "filter has to be an array"},
		{`{` + base + `,"filter":[null]}`, "bad_query", "filter[0] has to have one of"},
		{`{` + base + `,"filter":[{}]}`, "bad_query", "filter[0] has to have one of"},
		{`{` + base + `,"filter":[{"any":[],"not":{"any":[]}}]}`, "bad_query", "filter[0] has to have one of"},
		{`{` + base + `,"filter":[{"any":[],"op":"eq"}]}`, "bad_query", "filter[0].op needs a field"},
		{`{` + base + `,"filter":[{"any":[],"value":1}]}`, "bad_query", "filter[0].value needs a field"},
		{`{` + base + `,"filter":[{"field":"a"}]}`, "bad_query", "filter[0].op is missing"},
		{`{` + base + `,"filter":[{"field":"a","op":"eq"}]}`, "bad_query", "filter[0].value is missing"},
		{`{` + base + `,"filter":[{"field":"","op":"eq","value":1}]}`, "bad_query", "filter[0].field"},
		{`{` + base + `,"filter":[{"field":"a","op":"like","value":1}]}`, "bad_query", `filter[0].op is "like"`},
		{`{` + base + `,"filter":[{"field":"a","op":"eq","value":{}}]}`, "bad_query", "filter[0].value"},
		{`{` + base + `,"filter":[{"field":"a","op":"eq","value":[1]}]}`, "bad_query", "filter[0].value can be an array"},
		{`{` + base + `,"filter":[{"field":"a","op":"eq","value":1e999}]}`, "bad_query", "filter[0].value"},
		{`{` + base + `,"filter":[{"field":"a","op":"lt","value":null}]}`, "bad_query", "filter[0].value is null"},
		{`{` + base + `,"filter":[{"field":"a","op":"in","value":1}]}`, "bad_query", "filter[0].value has to be an array"},
		{`{` + base + `,"filter":[{"field":"a","op":"in","value":[1,[2]]}]}`, "bad_query", "filter[0].value[1]"},
		{`{` + base + `,"filter":[{"field":"a","op":"exists","value":1}]}`, "bad_query", "filter[0].value"},
		{`{` + base + `,"filter":[{"any":[{"not":{"all":[{"field":"a","op":"eq","vlaue":1}]}}]}]}`, "unknown_field", `"filter[0].any[0].not.all[0].vlaue"`},
		{`{` + base + `,"window":{}}`, "bad_query", "window.size_ms is missing"},
		{`{` + base + `,"window":{"type":"sliding","size_ms":1}}`, "bad_query", `window.type is "sliding"`},
		{`{` + base + `,"window":{"type":"tumbling"}}`, "bad_query", "window.size_ms is missing"},
		{`{` + base + `,"window":{"size_ms":0}}`, "bad_query", "window.size_ms is 0"},
		{`{` + base + `,"window":{"size_ms":1,"gap_ms":1}}`, "bad_query", "window.gap_ms has no meaning"},
		{`{` + base + `,"window":{"type":"hopping","size_ms":1}}`, "bad_query", "window.advance_ms is missing"},
		{`{` + base + `,"window":{"type":"hopping","size_ms":1001,"advance_ms":1}}`, "bad_query", "window.advance_ms is so small"},
		{`{` + base + `,"window":{"type":"session","size_ms":1,"gap_ms":1}}`, "bad_query", "window.size_ms has no meaning"},
		{`{` + base + `,"window":{"size_ms":1,"allowed_lateness_ms":-1}}`, "bad_query", "window.allowed_lateness_ms"},
		{`{` + base + `,"window":{"size_ms":1,"ts_field":"a..b"}}`, "bad_query", "window.ts_field"},
		{`{` + base + `,"aggregate":{"group_by":["a"]}}`, "bad_query", "aggregate.measures is empty"},
		{`{` + base + `,"aggregate":{"group_by":[null]}}`, "bad_query", "aggregate.group_by[0] cannot be null"},
		{`{` + base + `,"aggregate":{"group_by":["a","a"],"measures":[{"op":"count"}]}}`, "bad_query", "aggregate.group_by[1]"},
		{`{` + base + `,"aggregate":{"measures":[{}]}}`, "bad_query", "aggregate.measures[0].op is missing"},
		{`{` + base + `,"aggregate":{"measures":[{"op":"median","field":"a"}]}}`, "bad_query", `aggregate.measures[0].op is "median"`},
		{`{` + base + `,"aggregate":{"measures":[{"op":"sum"}]}}`, "bad_query", "aggregate.measures[0].field is missing"},
		{`{` + base + `,"aggregate":{"measures":[{"op":"count"},{"op":"count"}]}}`, "bad_query", "aggregate.measures[1].as is needed"},
		{`{` + base + `,"aggregate":{"measures":[{"op":"count","as":"key"}]}}`, "bad_query", `aggregate.measures[0].as is "key"`},
		{`{` + base + `,"aggregate":{"measures":[{"op":"count","as":""}]}}`, "bad_query", "aggregate.measures[0].as"},
		{`{` + base + `,"transform":{"emit_rows":-1}}`, "bad_query", "transform.emit_rows"},
		{`{` + base + `,"transform":{"left_fields":["a","a"]}}`, "bad_query", "transform.left_fields[1]"},
		{`{` + base + `,"transform":{"left_fields":"a"}}`, "bad_query", "transform.left_fields has to be an array"},
		{`{` + base + `,"filter":[` + strings.Repeat(`{},`, 30_000) + `{}]}`, "bad_query", "filter brings the request to more than"},
		{`{` + base + `,"filter":[` + strings.Repeat(`{"any":[]},`, 1000) + `{"any":[]}]}`, "bad_query", "filter[1000] is one of more than 1000"},
		{`{` + base + `,"filter":[{"field":"a","op":"in","value":[` + strings.Repeat(`1,`, 10_000) + `1]}]}`, "bad_query", "filter[0].value has more than"},
		{`{` + base + `,"filter":[` + strings.Repeat(`{"field":"a","op":"in","value":[`+strings.Repeat(`1,`, 4_000)+`1]},`, 2) + `{"field":"a","op":"in","value":[` + strings.Repeat(`1,`, 4_000) + `1]}]}`, "bad_query", "filter[2].value brings"},
		{`{` + base + `,"aggregate":{"measures":[` + strings.Repeat(`{"op":"count"},`, 64) + `{"op":"count"}]}}`, "bad_query", "aggregate.measures has more than 64"},
		{`{"source":{"topic":"t","decode":{"field_aliases":{"a":[` + strings.Repeat(`"b",`, 256) + `"c"]}}}}`, "bad_query", "source.decode.field_aliases has more than"},
		{`{` + base + `,"filter":[{"field":"` + strings.Repeat("x", 257) + `","op":"exists"}]}`, "bad_query", "filter[0].field is longer"},
		{`{` + base + `,"filter":` + strings.Repeat(`[{"any":`, 70) + `[]` + strings.Repeat(`}]`, 70) + `}`, "bad_query", "nested too deep"},
	} {
		_, err := ParseQuery([]byte(c.body))
		var bad *RequestError
		if !errors.As(err, &bad) || bad.Code != c.code || !strings.Contains(bad.Message, c.message) {
			t.Errorf("%s:\n got %+v\nwant %s: …%s…", c.body, err, c.code, c.message)
		}
	}
}

func TestRequestsThatAreGood(t *testing.T) {
	for _, body := range []string{
		`{"source":{"topic":"orders","partition":0,"group":"g1","offset":0,"limit":2000},
		 "filter":[{"field":"amount","op":"gt","value":10}],
		 "window":{"type":"tumbling","size_ms":60000,"ts_field":"ts"},
		 "aggregate":{"group_by":["country"],"measures":[{"op":"count"},{"op":"sum","field":"amount","as":"total"}]},
		 "transform":{"left_fields":["id","amount"],"emit_rows":10}}`,
		`{"source":{"topic":"t","offset":18446744073709551615,"partition":4294967295,"limit":100000}}`,
		`{` + base + `,"filter":null,"window":null,"aggregate":null,"transform":null}`,
		`{` + base + `,"filter":[{"any":[]},{"all":[]},{"not":{"field":"a","op":"exists"}},{"field":"a","op":"eq","value":null}]}`,
		`{` + base + `,"window":{"type":"hopping","size_ms":1000,"advance_ms":1}}`,
		`{` + base + `,"window":{"type":"session","gap_ms":1}}`,
		`{` + base + `,"aggregate":{"group_by":[],"measures":[]}}`,
		` {` + base + ` } `,
	} {
		if _, err := ParseQuery([]byte(body)); err != nil {
			t.Errorf("%s: %v", body, err)
		}
	}
}
