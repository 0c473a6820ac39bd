package query

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
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

// limited is what a run of counting messages finds under limits.
func limited(t *testing.T, request string, l Limits, count int) *Result {
	t.Helper()
	r, err := compiled(t, `{"source":{"topic":"t","limit":5000},`+request+`}`).Run(l, func(yield func(*Message) bool) {
		for i := range count {
			m := Message{Partition: uint32(i / 100 % 2), Offset: uint64(i/200*100 + i%100), TimeMs: uint64(i), Value: fmt.Appendf(nil, `{"n":%d,"s":"%d"}`, i, i)}
			if !yield(&m) {
				return
			}
		}
	})
	if err != nil {
		t.Fatalf("%s: %v", request, err)
	}
	return r
}

// A run is truncated exactly when there was a message that it did not look at, and the next offsets are where that begins: what two runs
// find together is what one without limits finds.
func TestLimits(t *testing.T) {
	const sum = `"aggregate":{"group_by":["s"],"measures":[{"op":"sum","field":"n"}]}`
	asked := 0
	for _, c := range []struct {
		name, request string
		limits        Limits
		count         int
		by            string
		scanned       int
	}{
		{"none", sum, Limits{}, 400, "", 400},
		{"limit", `"filter":[]`, Limits{Scanned: 150}, 400, "limit", 150},
		{"just the limit", `"filter":[]`, Limits{Scanned: 150}, 150, "", 150},
		{"the request's limit", `"filter":[]`, Limits{Scanned: 6000}, 5001, "limit", 5000},
		{"rows", `"transform":{"emit_rows":120}`, Limits{}, 400, "rows", 120},
		{"just the rows", `"transform":{"emit_rows":120}`, Limits{}, 120, "", 120},
		{"fewer rows than asked for", `"transform":{"emit_rows":120}`, Limits{Rows: 10}, 400, "rows", 10},
		{"more rows than asked for", `"transform":{"emit_rows":10}`, Limits{Rows: 120}, 400, "rows", 10},
		{"no rows asked for", `"filter":[]`, Limits{Rows: 120}, 400, "", 400},
		{"rows beside measures", `"transform":{"emit_rows":10},` + sum, Limits{}, 400, "", 400},
		{"memory", sum, Limits{StateBytes: 100 * (groupBytes + cellBytes + sumBytes)}, 400, "memory", 0},
		{"output by rows", `"transform":{"emit_rows":1000}`, Limits{OutputBytes: 1000}, 400, "output", 0},
		{"output by aggregates", sum, Limits{OutputBytes: 5000}, 400, "output", 0},
		{"time", sum, Limits{Expired: func() bool { asked++; return asked == 2 }}, 1000, "time", 2 * expiryMessages},
		{"time at once", sum, Limits{Expired: func() bool { return true }}, 1000, "time", expiryMessages},
	} {
		r := limited(t, c.request, c.limits, c.count)
		if r.TruncatedBy != c.by || r.Truncated != (c.by != "") || c.scanned != 0 && r.Scanned != c.scanned || r.Scanned == 0 {
			t.Errorf("%s: %v by %q after %d", c.name, r.Truncated, r.TruncatedBy, r.Scanned)
		}
		if r.Matched != r.Scanned || r.Truncated && r.Scanned >= c.count {
			t.Errorf("%s: %+v", c.name, r)
		}
		var want map[uint32]uint64
		if n := r.Scanned; n <= 100 {
			want = map[uint32]uint64{0: uint64(n)}
		} else {
			p := uint32((n - 1) / 100 % 2)
			want = map[uint32]uint64{p: uint64((n-1)/200*100 + (n-1)%100 + 1), 1 - p: uint64(((n-1)/100 + 1) / 2 * 100)}
			if p == 1 {
				want[0] = uint64(((n-1)/200 + 1) * 100)
			}
		}
		if !maps.Equal(r.Next, want) {
			t.Errorf("%s: after %d, next is %v, want %v", c.name, r.Scanned, r.Next, want)
		}
		if !json.Valid(append(r.AppendJSON([]byte{'{'}), '}')) {
			t.Errorf("%s: not JSON: %s", c.name, r.AppendJSON(nil))
		}
		if n := len(r.AppendJSON(nil)); c.by == "output" && (n > c.limits.OutputBytes*3/2 || n < c.limits.OutputBytes/2) {
			t.Errorf("%s: %d bytes of %d", c.name, n, c.limits.OutputBytes)
		}
	}
}

// Large messages are asked about more often.
func TestTimeIsUpWithinLargeMessages(t *testing.T) {
	large := `{"a":"` + strings.Repeat("x", expiryBytes/2) + `"}`
	r, err := compiled(t, `"filter":[]`).Run(Limits{Expired: func() bool { return true }}, stream(large, large, large, large, large))
	if err != nil || r.TruncatedBy != "time" || r.Scanned != 2 {
		t.Errorf("%+v %v", r, err)
	}
}

// A row that is larger than all the output may be is an error; one that only does not fit any more is for the next run.
func TestRowsThatAreTooLarge(t *testing.T) {
	large := `{"a":"` + strings.Repeat("x", 1000) + `"}`
	for _, request := range []string{`"transform":{"emit_rows":9}`, `"transform":{"emit_rows":9,"left_fields":["a","b"]}`} {
		_, err := compiled(t, request).Run(Limits{OutputBytes: 900}, stream(`{"a":1}`, large))
		var bad *RequestError
		if !errors.As(err, &bad) || bad.Code != "output_too_large" || !strings.Contains(bad.Message, "offset 1") {
			t.Errorf("%v", err)
		}
		r, err := compiled(t, request).Run(Limits{OutputBytes: 1100}, stream(`{"a":"`+strings.Repeat("x", 500)+`"}`, large))
		if err != nil || r.TruncatedBy != "output" || r.Scanned != 1 || r.Next[0] != 1 {
			t.Errorf("%+v %v", r, err)
		}
	}
}

// Without groups and windows there is one global group, also of no messages.
func TestTheGlobalGroup(t *testing.T) {
	const request = `"aggregate":{"group_by":[],"measures":[{"op":"count"},{"op":"sum","field":"a"},{"op":"avg","field":"a"},{"op":"min","field":"a"}]}`
	for want, messages := range map[string]iter.Seq[*Message]{
		`"rows":[],"aggregates":[{"key":"","group":{},"count":0,"sum_a":0,"avg_a":null,"min_a":null}]`: stream(),
		`"rows":[],"aggregates":[{"key":"","group":{},"count":2,"sum_a":3,"avg_a":3,"min_a":3}]`:       stream(`{"a":3}`, `{}`),
	} {
		if got := string(run1(t, request, messages).AppendJSON(nil)); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// Numbers are one group by value, what is missing is null, arrays group by their text; all are sorted by nature, then value.
func TestGroups(t *testing.T) {
	r := run1(t, `"aggregate":{"group_by":["a","b"],"measures":[{"op":"count"}]}`, stream(
		`{"a":"x|y=z"}`, `{"a":1}`, `{"a":1.0,"b":null}`, `{"a":-0.0}`, `{"a":0}`, `{}`, `{"a":null}`, `{"a":[1, 2]}`, `{"a":true}`, `{"a":1e19}`, `{"a":10000000000000000000}`,
		`{"a":1.5,"b":"q\"\u0001"}`, "{\"a\":\"\xff\"}", `{"a":{"é":1}}`, `{"a":1e300}`,
	))
	want := []string{
		`{"key":"a=null|b=null","group":{"a":null,"b":null},"count":2}`,
		`{"key":"a=true|b=null","group":{"a":true,"b":null},"count":1}`,
		`{"key":"a=0|b=null","group":{"a":0,"b":null},"count":2}`,
		`{"key":"a=1|b=null","group":{"a":1,"b":null},"count":2}`,
		`{"key":"a=1.5|b=q\"\u0001","group":{"a":1.5,"b":"q\"\u0001"},"count":1}`,
		`{"key":"a=10000000000000000000|b=null","group":{"a":10000000000000000000,"b":null},"count":2}`,
		`{"key":"a=1e+300|b=null","group":{"a":1e+300,"b":null},"count":1}`,
		`{"key":"a=x|y=z|b=null","group":{"a":"x|y=z","b":null},"count":1}`,
		"{\"key\":\"a=\uFFFD|b=null\",\"group\":{\"a\":\"\uFFFD\",\"b\":null},\"count\":1}",
		`{"key":"a=[1, 2]|b=null","group":{"a":[1, 2],"b":null},"count":1}`,
		`{"key":"a={\"é\":1}|b=null","group":{"a":{"é":1},"b":null},"count":1}`,
	}
	if got := aggregatesOf(t, r); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Windows at the borders, and times that are none.
func TestWindows(t *testing.T) {
	for _, c := range []struct {
		window, times string
		want          string // start-end:count
		skipped       int
	}{
		{`"size_ms":10`, `0 9 10 -1 -10 -11 9.9 -0.5`, `-20--10:1 -10-0:2 0-10:4 10-20:1`, 0},
		{`"size_ms":10`, `null "soon" true 1e300 8640000000000001 -8640000000000001 "1970-01-01" 18446744073709551615`, ``, 8},
		{`"size_ms":10`, `8640000000000000 -8640000000000000`, `-8640000000000000--8639999999999990:1 8640000000000000-8640000000000010:1`, 0},
		{`"type":"hopping","size_ms":10,"advance_ms":5`, `0 4 -1`, `-10-0:1 -5-5:3 0-10:2`, 0},
		{`"type":"hopping","size_ms":10,"advance_ms":4`, `8`, `0-10:1 4-14:1 8-18:1`, 0},
		{`"type":"hopping","size_ms":3,"advance_ms":10`, `0 2 3 9 10 -8`, `-10--7:1 0-3:2 10-13:1`, 0},
		{`"type":"session","gap_ms":10`, `0 9 18 28 -5 100`, `-5-28:4 28-38:1 100-110:1`, 0},
		{`"type":"session","gap_ms":10`, `0 18 9 40 31 25`, `0-50:6`, 0},
	} {
		var messages []string
		for _, ts := range strings.Fields(c.times) {
			messages = append(messages, `{"ts":`+ts+`}`)
		}
		r := run1(t, `"window":{"ts_field":"ts",`+c.window+`},"aggregate":{"measures":[{"op":"count"}]}`, stream(messages...))
		var got []string
		for _, a := range aggregatesOf(t, r) {
			var w struct {
				Start int64 `json:"window_start_ms"`
				End   int64 `json:"window_end_ms"`
				Count int
			}
			if err := json.Unmarshal([]byte(a), &w); err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%d-%d:%d", w.Start, w.End, w.Count))
		}
		if strings.Join(got, " ") != c.want || r.Skipped != c.skipped {
			t.Errorf("%s of %s: %v, want %s; %d skipped", c.window, c.times, got, c.want, r.Skipped)
		}
	}
}

// Without ts_field the log's time counts, if it is one.
func TestTheLogsTime(t *testing.T) {
	r := run1(t, `"window":{"size_ms":10},"aggregate":{"measures":[{"op":"count"}]}`, slices.Values([]*Message{
		{TimeMs: 15, Value: []byte("{}")}, {Offset: 1, TimeMs: 1 << 63, Value: []byte("{}")}, {Offset: 2, TimeMs: timeMsMax + 1, Value: []byte("{}")},
	}))
	if got := aggregatesOf(t, r); len(got) != 1 || r.Skipped != 2 || !strings.Contains(got[0], `"window_start_ms":10,`) {
		t.Errorf("%s %+v", got, r)
	}
}

// A poisoned stream: what does not decode is counted, and nothing else happens.
func TestPoisonedStream(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	r := run1(t, `"filter":[{"field":"a","op":"exists"}],"aggregate":{"measures":[{"op":"count"}]},"transform":{"emit_rows":1}`, stream(
		`{"a":1}`, ``, ` `, `{"a":1`, `{"a":1}}`, "\x00", `{"a":`+deep(10_000)+`}`, `{"a":`+deep(9_999)+`}`, deep(100_000), `{"a":"`+strings.Repeat("x", 10<<20)+`"}`,
		`[{"a":1}]`, `"a"`, `{'a':1}`, `{"b":1}`, "{\"a\":\"\xff\"}",
	))
	if r.Scanned != 15 || r.Skipped != 8 || r.Matched != 4 || r.Truncated || !json.Valid(append(r.AppendJSON([]byte{'{'}), '}')) {
		t.Errorf("scanned %d, skipped %d, matched %d", r.Scanned, r.Skipped, r.Matched)
	}
}

// Runs that each go on where the one before stopped find together what one run finds, whatever stopped them.
func TestGoingOn(t *testing.T) {
	messages := sampleStream()
	q := compiled(t, `{"source":{"topic":"t","limit":100000},"filter":[{"field":"amount","op":"lt","value":50}],"transform":{"left_fields":["id","country"],"emit_rows":100000}}`)
	whole, err := q.Run(Limits{}, slices.Values(messages))
	if err != nil || whole.Truncated {
		t.Fatal(err)
	}
	for _, l := range []Limits{{Scanned: 7}, {Rows: 3}, {OutputBytes: 100}, {Expired: func() bool { return true }}, {Scanned: 100, Rows: 20, OutputBytes: 600}} {
		var rows []byte
		matchedCount, runs := 0, 0
		for from := uint64(0); ; runs++ {
			part, err := q.Run(l, slices.Values(messages[from:]))
			if err != nil {
				t.Fatal(err)
			}
			if len(rows) > 0 && len(part.rows) > 0 {
				rows = append(rows, ',')
			}
			rows = append(rows, part.rows...)
			matchedCount += part.Matched
			if part.Truncated != (part.Next[0] < uint64(len(messages))) || part.Next[0] <= from {
				t.Fatalf("%+v: from %d to %d, truncated %v", l, from, part.Next[0], part.Truncated)
			}
			if from = part.Next[0]; !part.Truncated {
				break
			}
		}
		if string(rows) != string(whole.rows) || matchedCount != whole.Matched || runs < 3 {
			t.Errorf("%+v: %d runs find %d of %d", l, runs+1, matchedCount, whole.Matched)
		}
	}
}

// Times and bytes of formats that have such are groups and bests like others.
func TestGroupsOfTimesAndBytes(t *testing.T) {
	r, err := ParseQuery([]byte(`{` + base + `,"aggregate":{"group_by":["at","raw"],"measures":[{"op":"max","field":"at"},{"op":"min","field":"raw"},{"op":"sum","field":"at"}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	q, err := r.Compile(fixedFormat{[]Value{TimeValue(1_500_000_000), BytesValue([]byte{0, 1})}})
	if err != nil {
		t.Fatal(err)
	}
	found, err := q.Run(Limits{}, stream("x"))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"key":"at=1970-01-01T00:00:01.5Z|raw=AAE=","group":{"at":"1970-01-01T00:00:01.5Z","raw":"AAE="},"max_at":"1970-01-01T00:00:01.5Z","min_raw":"AAE=","sum_at":0}`
	if got := aggregatesOf(t, found); len(got) != 1 || got[0] != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A compiled query may run any number of times at once.
func TestRunsShareNothing(t *testing.T) {
	messages := sampleStream()
	for _, c := range benchmarks {
		q := compiled(t, `{"source":{"topic":"t","limit":1000},`+c.request+`}`)
		results := make(chan string)
		for range 4 {
			go func() {
				r, err := q.Run(Limits{}, slices.Values(messages))
				if err != nil {
					results <- err.Error()
					return
				}
				results <- string(r.AppendJSON(nil))
			}()
		}
		first := <-results
		for range 3 {
			if other := <-results; other != first {
				t.Errorf("%s: two runs differ", c.name)
			}
		}
	}
}
