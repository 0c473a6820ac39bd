package query

import (
	"fmt"
	"strings"
	"testing"
)

// matches tells whether a filter, the members of an array, takes a message.
func matches(t *testing.T, filter, message string) bool {
	t.Helper()
	return run1(t, `"window":{"size_ms":1,"ts_field":"at"},"filter":[`+filter+`]`, stream(message)).Matched == 1
}

func TestFilters(t *testing.T) {
	for _, c := range []struct{ filter, yes, no string }{
		{`{"field":"a","op":"eq","value":1}`, `1 1.0 1e0 10e-1`, `2 "1" true null [1] 1.5 -`},
		{`{"field":"a","op":"eq","value":9007199254740993}`, `9007199254740993`, `9007199254740992 9007199254740992.0`},
		{`{"field":"a","op":"eq","value":18446744073709551615}`, `18446744073709551615`, `18446744073709551616 18446744073709551614 -1`},
		{`{"field":"a","op":"eq","value":0}`, `0 -0 0.0 -0.0`, `null`},
		{`{"field":"a","op":"eq","value":null}`, `null`, `0 "" false [] {} "null" -`},
		{`{"field":"a","op":"eq","value":"é"}`, `"é" "\u00e9"`, `"e" "É" -`},
		{`{"field":"a","op":"eq","value":true}`, `true`, `false 1 "true"`},
		{`{"field":"a","op":"ne","value":1}`, `2 "1" null [1] {} true`, `1 1.0 -`},
		{`{"field":"a","op":"ne","value":null}`, `1 "" []`, `null -`},
		{`{"field":"a","op":"lt","value":9223372036854775808}`, `9223372036854775807 -1 9223372036854775807.0e-1`, `9223372036854775808 9223372036854775808.0 18446744073709551615 "1" null -`},
		{`{"field":"a","op":"le","value":1}`, `1 1.0 0.5 -9223372036854775808`, `1.0000000000000002 true "0"`},
		{`{"field":"a","op":"gt","value":"b"}`, `"ba" "c" "é"`, `"b" "a" "B" 7 null -`},
		{`{"field":"a","op":"ge","value":false}`, `true false`, `1 null`},
		{`{"field":"a","op":"in","value":[1,"x",null,true]}`, `1 1.0 "x" null true`, `2 "1" false [1] -`},
		{`{"field":"a","op":"in","value":[]}`, ``, `1 null -`},
		{`{"field":"a","op":"in","value":[3,1,2,"b","a",1.5]}`, `1 2 3 1.5 "a" "b"`, `0 4 2.5 "" "c"`},
		{`{"field":"a","op":"contains","value":"b"}`, `"b" "abc" ["b"] [1,"b"] ["\u0062"]`, `"B" {"b":"b"} ["abc"] [["b"]] null 7 -`},
		{`{"field":"a","op":"contains","value":""}`, `"" "x" [""]`, `[] ["x"]`},
		{`{"field":"a","op":"contains","value":1}`, `[1] [0,1.0] [{},[],1]`, `"1" ["1"] [[1]] 1 {"1":1}`},
		{`{"field":"a","op":"contains","value":null}`, `[null] [1,null]`, `[] null "null"`},
		{`{"field":"a","op":"exists"}`, `null 1 []`, `-`},
		{`{"field":"a","op":"exists","value":false}`, `-`, `null 1`},
		{`{"not":{"field":"a","op":"eq","value":1}}`, `2 null -`, `1`},
		{`{"any":[{"field":"a","op":"eq","value":1},{"field":"a","op":"gt","value":5}]}`, `1 6`, `2 -`},
		{`{"any":[]}`, ``, `1 -`},
		{`{"all":[{"field":"a","op":"ge","value":1},{"field":"a","op":"le","value":5}]}`, `1 5`, `0 6 -`},
		{`{"all":[]}`, `1 -`, ``},
		{`{"field":"a","op":"ge","value":1},{"field":"a","op":"le","value":5}`, `1 5`, `0 6 -`},
		{`{"not":{"not":{"any":[{"all":[{"field":"a","op":"exists"}]}]}}}`, `1`, `-`},
		{`{"field":"a.1.b","op":"eq","value":1}`, `[{},{"b":1}] {"1":{"b":1}}`, `[{"b":1}] {"b":1} -`},
		// The field of the time: numbers are milliseconds, text RFC 3339, and anything else compares as what it is.
		{`{"field":"at","op":"eq","value":"1970-01-01T00:00:01Z"}`, `@1000 @1000.9 @"1970-01-01T00:00:01.000Z" @"1970-01-01T01:00:01+01:00"`, `@1001 @"1970" @null -`},
		{`{"field":"at","op":"lt","value":1000}`, `@999 @"1970-01-01T00:00:00.9999999Z" @-5`, `@1000 @"1970-01-01T00:00:01Z" @"soon" @true -`},
		{`{"field":"at","op":"gt","value":"9999-12-31T23:59:59.9999Z"}`, `@253402300800000`, `@253402300799999 @"2026-01-01T00:00:00Z"`},
		{`{"field":"at","op":"in","value":["1970-01-01T00:00:01Z",7,"soon"]}`, `@1000 @7 @"1970-01-01T00:00:00.007Z" @"soon"`, `@8 @"1970-01-01T00:00:02Z"`},
		{`{"field":"at","op":"ne","value":1000}`, `@1 @"soon" @null`, `@1000 @"1970-01-01T00:00:01Z" -`},
		// Elsewhere text is text.
		{`{"field":"a","op":"eq","value":"1970-01-01T00:00:01Z"}`, `"1970-01-01T00:00:01Z"`, `1000 "1970-01-01T00:00:01.0Z"`},
	} {
		for want, list := range map[bool]string{true: c.yes, false: c.no} {
			for _, value := range strings.Fields(list) {
				message := fmt.Sprintf(`{"a":%s}`, value)
				switch {
				case value == "-":
					message = `{"b":1}`
				case value[0] == '@':
					message = fmt.Sprintf(`{"at":%s}`, value[1:])
				}
				if got := matches(t, c.filter, message); got != want {
					t.Errorf("%s of %s is %v", c.filter, message, got)
				}
			}
		}
	}
}

// Formats with times and bytes of their own: text stands for them.
func TestFiltersOfTimesAndBytes(t *testing.T) {
	at := TimeValue(1_500_000) // 1.5 ms
	for _, c := range []struct {
		condition string
		value     Value
		want      bool
	}{
		{`"op":"eq","value":"1970-01-01T00:00:00.0015Z"`, at, true},
		{`"op":"eq","value":1`, at, false},
		{`"op":"gt","value":1`, at, true},
		{`"op":"lt","value":2`, at, true},
		{`"op":"lt","value":-1`, TimeValue(-1_000_001), true},
		{`"op":"eq","value":"noon"`, at, false},
		{`"op":"ne","value":"noon"`, at, true},
		{`"op":"in","value":[1,"1970-01-01T00:00:00.0015Z"]`, at, true},
		{`"op":"in","value":[1,2]`, at, false},
		{`"op":"eq","value":"AAE="`, BytesValue([]byte{0, 1}), true},
		{`"op":"lt","value":"AAE="`, BytesValue([]byte{0, 0, 9}), true},
		{`"op":"in","value":["","AAE="]`, BytesValue([]byte{0, 1}), true},
		{`"op":"in","value":["","AAE="]`, BytesValue(nil), true},
		{`"op":"eq","value":"?"`, BytesValue([]byte("?")), false},
		{`"op":"contains","value":"AA"`, BytesValue([]byte{0, 1}), false},
	} {
		r, err := ParseQuery([]byte(`{` + base + `,"filter":[{"field":"a",` + c.condition + `}]}`))
		if err != nil {
			t.Fatal(err)
		}
		q, err := r.Compile(fixedFormat{[]Value{c.value}})
		if err != nil {
			t.Fatal(err)
		}
		found, err := q.Run(Limits{}, stream("x"))
		if err != nil || (found.Matched == 1) != c.want {
			t.Errorf("%s of %+v: %v %v", c.condition, c.value, found.Matched, err)
		}
	}
}

// A field may have other names; the first that is there counts.
func TestAliases(t *testing.T) {
	const request = `{"source":{"topic":"t","decode":{"field_aliases":{"user_id":["userId","uid"],"user":["u"],"user.name":["nick"],"n":["n.n"]}}},
		"transform":{"left_fields":["user_id","user.name","user.age","n"],"emit_rows":10}}`
	r := run1(t, request, stream(
		`{"user_id":1,"userId":2,"uid":3,"n":1}`,
		`{"uid":3,"userId":2,"user":{"name":"a"},"nick":"b","u":{"name":"c","age":7}}`,
		`{"uid":3,"nick":"b","u":{"name":"c"}}`,
		`{"user_id":null,"uid":3,"u":{"name":"c"}}`,
	))
	want := `"rows":[{"user_id":1,"user.name":null,"user.age":null,"n":1},{"user_id":2,"user.name":"a","user.age":7,"n":null},` +
		`{"user_id":3,"user.name":"b","user.age":null,"n":null},{"user_id":null,"user.name":"c","user.age":null,"n":null}],"aggregates":[]`
	if got := string(r.AppendJSON(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
