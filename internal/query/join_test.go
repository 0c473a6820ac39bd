package query

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"testing"
)

const joinSources = `"left":{"topic":"orders"},"right":{"topic":"pays"}`

// joinStream gives messages of one partition, with their place in the list as offset; times are their "ts", or 1000.
func joinStream(values ...string) iter.Seq[*Message] {
	return func(yield func(*Message) bool) {
		for i, value := range values {
			var members struct{ Ts float64 }
			at := uint64(1000)
			if json.Unmarshal([]byte(value), &members) == nil && members.Ts > 0 {
				at = uint64(members.Ts)
			}
			if !yield(&Message{Offset: uint64(i), TimeMs: at, Value: []byte(value)}) {
				return
			}
		}
	}
}

func runJoin(t *testing.T, request string, left, right iter.Seq[*Message]) *JoinResult {
	t.Helper()
	result, err := mustJoin(t, request).Run(Limits{}, left, right)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// TestJoinAnswers compares whole answers.
func TestJoinAnswers(t *testing.T) {
	for _, c := range []struct {
		name, settings string
		left, right    []string
		rows, stats    string
	}{
		{
			"the example of the contract",
			`"on":{"left_keys":["user_id"],"right_keys":["user_id"]},"join":{"type":"inner"},"window":{"size_ms":5000,"allowed_lateness_ms":1000,"ts_field":"ts"},
			"emit":{"left_fields":["id","amount"],"right_fields":["status"],"max_rows":1000,"missing_as":"null"},"dedupe_once":true`,
			[]string{`{"user_id":7,"id":1,"amount":41.5,"ts":1000}`, `{"user_id":7,"id":2,"ts":1500}`, `{"user_id":8,"id":3,"ts":9000}`},
			[]string{`{"user_id":7.0,"status":"paid","ts":1400}`},
			`{"key":"7","keys":["7"],"left_ts_ms":1500,"right_ts_ms":1400,"left":{"id":2,"amount":null},"right":{"status":"paid"}}`,
			`"left_scanned":3,"right_scanned":1,"left_skipped":0,"right_skipped":0,"rows":1,"outer_left":0,"outer_right":0,"late_left":0,"late_right":0,"watermark_ms":400,"dedupe_once":true`,
		},
		{
			"nobody on the other side",
			`"on":{"left_key":"k","right_key":"k"},"join":{"type":"left"}`,
			[]string{`{"k":"a"}`, `{"k":null}`, `{}`, `{"k":["a"]}`},
			nil,
			`{"key":"a","keys":["a"],"left_ts_ms":1000,"right_ts_ms":null,"left":{"k":"a"},"right":null}` + "\n" +
				`{"key":"null","keys":[null],"left_ts_ms":1000,"right_ts_ms":null,"left":{"k":null},"right":null}` + "\n" +
				`{"key":"null","keys":[null],"left_ts_ms":1000,"right_ts_ms":null,"left":{},"right":null}` + "\n" +
				`{"key":"[\"a\"]","keys":["[\"a\"]"],"left_ts_ms":1000,"right_ts_ms":null,"left":{"k":["a"]},"right":null}`,
			``,
		},
		{
			"missing as empty, several keys, other names on the right",
			`"on":{"left_keys":["a","b.c"],"right_keys":["x","y"]},"join":{"type":"full"},"emit":{"left_fields":["a","z"],"right_fields":["z"],"missing_as":"empty"}`,
			[]string{`{"a":"p|q","b":{"c":true}}`, `{"a":1,"b":{}}`},
			[]string{`{"x":"p|q","y":true,"z":1}`, `{"x":"p|q","y":false}`},
			`{"key":"p|q|true","keys":["p|q","true"],"left_ts_ms":1000,"right_ts_ms":1000,"left":{"a":"p|q"},"right":{"z":1}}` + "\n" +
				`{"key":"1|null","keys":["1",null],"left_ts_ms":1000,"right_ts_ms":null,"left":{"a":1},"right":{}}` + "\n" +
				`{"key":"p|q|false","keys":["p|q","false"],"left_ts_ms":null,"right_ts_ms":1000,"left":{},"right":{}}`,
			``,
		},
		{
			"the window's edge, and rows by time",
			`"on":{"left_key":"k","right_key":"k"},"window":{"size_ms":100,"allowed_lateness_ms":500},"emit":{"left_fields":["ts"],"right_fields":["ts"]}`,
			[]string{`{"k":1,"ts":1200}`, `{"k":1,"ts":1000}`},
			[]string{`{"k":1,"ts":1100}`, `{"k":1,"ts":1301}`, `{"k":1,"ts":899}`},
			`{"key":"1","keys":["1"],"left_ts_ms":1000,"right_ts_ms":1100,"left":{"ts":1000},"right":{"ts":1100}}` + "\n" +
				`{"key":"1","keys":["1"],"left_ts_ms":1200,"right_ts_ms":1100,"left":{"ts":1200},"right":{"ts":1100}}`,
			``,
		},
		{
			"times of a side's own, and messages that have none",
			`"on":{"left_key":"k","right_key":"k"},"window":{"size_ms":10,"allowed_lateness_ms":3000,"left_ts_field":"at","right_ts_field":"when"},"join":{"type":"full"},"emit":{"left_fields":["k"],"right_fields":["k"]}`,
			[]string{`{"k":1,"at":"1970-01-01T00:00:02Z"}`, `{"k":1,"at":"yesterday"}`, `{"k":1}`, `{"k":1`, `"at"`},
			[]string{`{"k":1,"when":2009.9}`, `{"k":1,"when":-5}`, `{"k":1,"when":9e15}`},
			`{"key":"1","keys":["1"],"left_ts_ms":null,"right_ts_ms":-5,"left":null,"right":{"k":1}}` + "\n" +
				`{"key":"1","keys":["1"],"left_ts_ms":2000,"right_ts_ms":2009,"left":{"k":1},"right":{"k":1}}`,
			`"left_scanned":5,"right_scanned":3,"left_skipped":4,"right_skipped":1,"rows":2,"outer_left":0,"outer_right":1,"late_left":0,"late_right":0,"watermark_ms":-1000,"dedupe_once":false`,
		},
	} {
		right := runJoin(t, "{"+joinSources+","+c.settings+"}", joinStream(c.left...), joinStream(c.right...))
		want := `"rows":[` + strings.ReplaceAll(c.rows, "\n", ",") + `]`
		if got := string(right.AppendRows(nil)); got != want {
			t.Errorf("%s: rows are\n%s\nwant\n%s", c.name, got, want)
		}
		if got := string(right.AppendStats(nil)); c.stats != "" && got != `"stats":{`+c.stats+`}` {
			t.Errorf("%s: stats are\n%s\nwant\n%s", c.name, got, c.stats)
		}
	}
}

// TestJoinAliases finds a key under the names that a side's messages have it.
func TestJoinAliases(t *testing.T) {
	result := runJoin(t, `{"left":{"topic":"l"},"right":{"topic":"r","decode":{"field_aliases":{"user_id":["userId","uid"]}}},
		"on":{"left_key":"user_id","right_key":"user_id"},"emit":{"left_fields":["user_id"],"right_fields":["user_id"]}}`,
		joinStream(`{"user_id":1}`), joinStream(`{"uid":1}`, `{"userId":1,"uid":2}`, `{"user_id":2,"uid":1}`))
	if got := placesOf(result); !slices.Equal(got, []string{"0/0 0/0", "0/0 0/1"}) {
		t.Errorf("rows are %v", got)
	}
}

// TestJoinPoisonedStreams counts what does not decode, and joins the rest.
func TestJoinPoisonedStreams(t *testing.T) {
	deep := strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001)
	large := `{"k":1,"text":"` + strings.Repeat("x", 10<<20) + `"}`
	poison := []string{``, `{`, `{"k":1}}`, "\x00", deep, large, `{"k":1,"a":` + deep + `}`, `{"k":1}`}
	result := runJoin(t, "{"+joinSources+`,"on":{"left_key":"k","right_key":"k"},"join":{"type":"full"},"emit":{"left_fields":["k"],"right_fields":["k"]}}`,
		joinStream(poison...), joinStream(poison...))
	if len(result.order) != 4 || result.Left.Skipped != 6 || result.Right.Skipped != 6 {
		t.Errorf("%d rows, %d and %d skipped", len(result.order), result.Left.Skipped, result.Right.Skipped)
	}
}

// TestJoinOfOneHotKey has all messages of one key in one window: a hundred million pairs, of which the limits let through what they do.
func TestJoinOfOneHotKey(t *testing.T) {
	const n = 10_000
	hot := func(yield func(*Message) bool) {
		for i := range uint64(n) {
			if !yield(&Message{Offset: i, TimeMs: 1000, Value: []byte(`{"k":1}`)}) {
				return
			}
		}
	}
	request := "{" + joinSources + `,"on":{"left_key":"k","right_key":"k"},"emit":{"max_rows":100000}%s}`
	j := mustJoin(t, fmt.Sprintf(request, ""))
	j.sides[0].limit, j.sides[1].limit = n, n
	result, err := j.Run(Limits{}, hot, hot)
	if err != nil || result.TruncatedBy != "rows" || len(result.order) != 100_000 || result.Left.Scanned > 1000 {
		t.Errorf("%v, %s after %d messages, %d rows", err, result.TruncatedBy, result.Left.Scanned, len(result.order))
	}
	asked := 0
	result, err = j.Run(Limits{Expired: func() bool { asked++; return asked > 10 }}, hot, hot)
	if err != nil || result.TruncatedBy != "time" || len(result.order) == 0 || len(result.order) > 20*expiryMessages {
		t.Errorf("%v, %s after %d rows", err, result.TruncatedBy, len(result.order))
	}
	j = mustJoin(t, fmt.Sprintf(request, `,"dedupe_once":true`))
	j.sides[0].limit, j.sides[1].limit = n, n
	result, err = j.Run(Limits{}, hot, hot)
	if err != nil || result.Truncated || len(result.order) != n {
		t.Errorf("once: %v, %s, %d rows", err, result.TruncatedBy, len(result.order))
	}
	for _, row := range result.order {
		if row.sides[0].offset != row.sides[1].offset {
			t.Fatalf("%d joins %d", row.sides[0].offset, row.sides[1].offset)
		}
	}
}

// TestJoinSurvivesATimeOfTheFarFuture has one message on the left whose clock is wrong. It must not make the others late.
func TestJoinSurvivesATimeOfTheFarFuture(t *testing.T) {
	side := func(wrong int) iter.Seq[*Message] {
		return func(yield func(*Message) bool) {
			for i := range 1000 {
				m := Message{Offset: uint64(i), TimeMs: uint64(1000 * i), Value: fmt.Appendf(nil, `{"k":%d}`, i)}
				if i == wrong {
					m.TimeMs = 1 << 50
				}
				if !yield(&m) {
					return
				}
			}
		}
	}
	j := mustJoin(t, "{"+joinSources+`,"on":{"left_key":"k","right_key":"k"},"emit":{"max_rows":1000}}`)
	j.sides[0].limit, j.sides[1].limit = 1000, 1000
	result, err := j.Run(Limits{}, side(10), side(-1))
	if err != nil || len(result.order) != 999 || result.Left.Late+result.Right.Late > 0 {
		t.Errorf("%v, %d rows, late %d and %d", err, len(result.order), result.Left.Late, result.Right.Late)
	}
}

// TestJoinOfALongChain has each message prefer the next one to the one before, over the whole stream, so that who joins the first hangs on the last.
// Whoever waits is asked about it all the while.
func TestJoinOfALongChain(t *testing.T) {
	const n = 600
	side := func(odd int) iter.Seq[*Message] {
		return func(yield func(*Message) bool) {
			at := uint64(1000)
			for i := range n {
				if m := (Message{Offset: uint64(i), TimeMs: at, Value: []byte(`{"k":1}`)}); i%2 == odd && !yield(&m) {
					return
				}
				at += uint64(n - i)
			}
			yield(&Message{Offset: n, TimeMs: at + 1<<30, Value: []byte(`{"k":2}`)})
		}
	}
	j := mustJoin(t, "{"+joinSources+fmt.Sprintf(`,"on":{"left_key":"k","right_key":"k"},"window":{"size_ms":%d,"allowed_lateness_ms":%d},"dedupe_once":true,
		"emit":{"max_rows":1000}}`, n, n*n/4))
	asked := 0
	result, err := j.Run(Limits{Expired: func() bool { asked++; return false }}, side(0), side(1))
	if err != nil || len(result.order) != n/2+1 || asked < 10 {
		t.Errorf("%v, %d rows, asked %d times", err, len(result.order), asked)
	}
}

// TestJoinRowsThatAreTooLarge wants an error where not even one row fits, and what does fit otherwise.
func TestJoinRowsThatAreTooLarge(t *testing.T) {
	j := mustJoin(t, "{"+joinSources+`,"on":{"left_key":"k","right_key":"k"}}`)
	left, right := joinStream(`{"k":1}`), joinStream(`{"k":1}`, `{"k":1}`, `{"k":1}`)
	_, err := j.Run(Limits{OutputBytes: 20}, left, right)
	var bad *RequestError
	if !errors.As(err, &bad) || bad.Code != "output_too_large" || !strings.Contains(bad.Message, "left offset 0") {
		t.Errorf("error is %v", err)
	}
	result, err := j.Run(Limits{OutputBytes: 250}, left, right)
	if err != nil || result.TruncatedBy != "output" || len(result.order) != 2 {
		t.Errorf("%v, %+v", err, result)
	}
}

// TestJoinMemory stops where the window does not fit, and not where it does.
func TestJoinMemory(t *testing.T) {
	many := func(yield func(*Message) bool) {
		for i := range uint64(20_000) {
			if !yield(&Message{Offset: i, TimeMs: i, Value: fmt.Appendf(nil, `{"k":%d,"text":"%090d"}`, i, i)}) {
				return
			}
		}
	}
	for size, by := range map[int]string{100: "", 100_000: "memory"} {
		j := mustJoin(t, fmt.Sprintf("{"+joinSources+`,"on":{"left_key":"k","right_key":"text"},"window":{"size_ms":%d}}`, size))
		j.sides[0].limit, j.sides[1].limit = 20_000, 20_000
		result, err := j.Run(Limits{StateBytes: 1 << 20}, many, many)
		if err != nil || result.TruncatedBy != by {
			t.Errorf("%v, a window of %d is truncated by %q", err, size, result.TruncatedBy)
		}
		if by != "" && (result.Left.Next[0] < 1000 || result.Left.Resume[0] != 0) {
			t.Errorf("next %v, resume %v", result.Left.Next, result.Left.Resume)
		}
	}
}

func TestParseJoinRefuses(t *testing.T) {
	on := `"on":{"left_key":"a","right_key":"b"}`
	for _, c := range []struct{ body, code, message string }{
		{``, "bad_json", "empty"},
		{`[]`, "bad_json", "object"},
		{`{"left":{"topic":"l"},` + on + `}`, "bad_query", "right.topic is missing"},
		{`{` + joinSources + `}`, "bad_query", "on.left_keys is missing"},
		{`{` + joinSources + `,"on":{"left_key":"a"}}`, "bad_query", "on.right_keys is missing"},
		{`{` + joinSources + `,"on":{"left_key":"a","left_keys":["a"],"right_key":"b"}}`, "bad_query", "on.left_key cannot be given besides left_keys"},
		{`{` + joinSources + `,"on":{"left_keys":["a","b"],"right_keys":["a"]}}`, "bad_query", "on.right_keys has to have as many"},
		{`{` + joinSources + `,"on":{"left_keys":["a",".b"],"right_keys":["a","b"]}}`, "bad_query", "on.left_keys[1]"},
		{`{` + joinSources + `,"on":{"left_key":"a","right_key":""}}`, "bad_query", "on.right_key is"},
		{`{` + joinSources + `,"on":{"left_keys":[` + strings.Repeat(`"a",`, 16) + `"a"],"right_keys":["a"]}}`, "bad_query", "more than 16"},
		{`{` + joinSources + `,` + on + `,"join":{"type":"outer"}}`, "bad_query", `join.type is "outer"`},
		{`{` + joinSources + `,` + on + `,"join":{"Type":"left"}}`, "unknown_field", "join.Type"},
		{`{` + joinSources + `,` + on + `,"window":{"size_ms":-1}}`, "bad_query", "window.size_ms"},
		{`{` + joinSources + `,` + on + `,"window":{"allowed_lateness_ms":1e3}}`, "bad_query", "window.allowed_lateness_ms"},
		{`{` + joinSources + `,` + on + `,"window":{"ts_field":"a..b"}}`, "bad_query", "window.ts_field"},
		{`{` + joinSources + `,` + on + `,"window":{"left_ts_field":""}}`, "bad_query", "window.left_ts_field"},
		{`{` + joinSources + `,` + on + `,"emit":{"max_rows":0}}`, "bad_query", "emit.max_rows"},
		{`{` + joinSources + `,` + on + `,"emit":{"max_rows":100001}}`, "bad_query", "emit.max_rows"},
		{`{` + joinSources + `,` + on + `,"emit":{"right_fields":["a","a"]}}`, "bad_query", "emit.right_fields[1]"},
		{`{` + joinSources + `,` + on + `,"emit":{"missing_as":"nil"}}`, "bad_query", "emit.missing_as"},
		{`{` + joinSources + `,` + on + `,"dedupe":{"mode":"twice"}}`, "bad_query", "dedupe.mode"},
		{`{` + joinSources + `,` + on + `,"dedupe":{"mode":"none"},"dedupe_once":true}`, "bad_query", "dedupe.mode"},
		{`{` + joinSources + `,` + on + `,"dedupe_once":1}`, "bad_query", "dedupe_once"},
		{`{"left":{"topic":"l","limit":100001},"right":{"topic":"r"},` + on + `}`, "bad_query", "left.limit"},
		{`{"left":{"topic":"l"},"right":{"topic":"r","decode":{"type":"xml"}},` + on + `}`, "bad_query", "right.decode.type"},
		{`{"left":{"topic":"l"},"right":{"topic":"r","decode":{"field_aliases":{"a":["."]}}},` + on + `}`, "bad_query", "right.decode.field_aliases.a[0]"},
	} {
		_, err := ParseJoin([]byte(c.body))
		var bad *RequestError
		if !errors.As(err, &bad) || bad.Code != c.code || !strings.Contains(bad.Message, c.message) {
			t.Errorf("%s: %v, want %s with %q", c.body, err, c.code, c.message)
		}
	}
}

// TestParseJoinDefaults is what a request says that says as little as it may.
func TestParseJoinDefaults(t *testing.T) {
	j := mustJoin(t, `{`+joinSources+`,"on":{"left_key":"a","right_key":"b"}}`)
	if j.sizeMs != 60_000 || j.latenessMs != 0 || j.rows != 200 || j.once || j.outer != [2]bool{} || j.sides[0].limit != 500 || j.sides[1].limit != 500 {
		t.Errorf("%+v", j)
	}
	if j := mustJoin(t, `{`+joinSources+`,"on":{"left_key":"a","right_key":"b"},"dedupe":{"mode":"once"}}`); !j.once {
		t.Error("dedupe.mode once does not count")
	}
}

// FuzzParseJoin wants an error that says what it is, or a join that runs.
func FuzzParseJoin(f *testing.F) {
	f.Add([]byte(`{"left":{"topic":"l"},"right":{"topic":"r"},"on":{"left_key":"a","right_key":"b"}}`))
	f.Add([]byte(`{"left":{"topic":"l","partition":0,"group":"g","offset":0,"limit":1000,"decode":{"type":"json","field_aliases":{"a":["b"]}}},"right":{"topic":"r"},
		"on":{"left_keys":["a","b"],"right_keys":["b","a"]},"join":{"type":"full"},"window":{"size_ms":1,"allowed_lateness_ms":5,"ts_field":"a","right_ts_field":"b"},
		"emit":{"left_fields":["a.b"],"right_fields":["b"],"max_rows":3,"missing_as":"empty"},"dedupe":{"mode":"once"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := ParseJoin(body)
		var bad *RequestError
		if err != nil {
			if !errors.As(err, &bad) || bad.Message == "" {
				t.Fatalf("error %v", err)
			}
			return
		}
		j, err := r.Compile(JSONFormat(), JSONFormat())
		if err != nil {
			t.Fatal(err)
		}
		result, err := j.Run(Limits{}, joinStream(`{"a":1,"b":1}`, `{"a":{"b":2},"b":3}`, `{`), joinStream(`{"a":1,"b":1}`, `{"a":2,"b":"2020-01-01T00:00:00Z"}`))
		if err != nil {
			t.Fatal(err)
		}
		if text := result.AppendStats(append(result.AppendRows([]byte{'{'}), ',')); !json.Valid(append(text, '}')) {
			t.Fatalf("the answer is not JSON: %s", text)
		}
	})
}

// FuzzJoinRestore wants an error, or an operator that goes on and can be put away again.
func FuzzJoinRestore(f *testing.F) {
	request := `{` + joinSources + `,"on":{"left_key":"k","right_key":"k"},"join":{"type":"full"},"window":{"size_ms":50},"emit":{"left_fields":["k"],"right_fields":["k"]}%s}`
	for _, more := range []string{"", `,"dedupe_once":true`} {
		o := mustOperator(f, mustJoin(f, fmt.Sprintf(request, more)))
		f.Add(o.AppendState(nil), more != "")
		for i := range 20 {
			m := &Message{Offset: uint64(i), TimeMs: uint64(1000 + i*7), Value: fmt.Appendf(nil, `{"k":%d}`, i%3)}
			if err := o.Push(i%2, m, func(Row) {}); err != nil {
				f.Fatal(err)
			}
		}
		f.Add(o.AppendState(nil), more != "")
	}
	f.Fuzz(func(t *testing.T, state []byte, once bool) {
		more := ""
		if once {
			more = `,"dedupe_once":true`
		}
		j := mustJoin(t, fmt.Sprintf(request, more))
		o := mustOperator(t, j)
		if o.Restore(state) != nil {
			return
		}
		again := o.AppendState(nil)
		if err := mustOperator(t, j).Restore(again); err != nil {
			t.Fatalf("what was restored cannot be put away: %v\n%x\n%x", err, state, again)
		}
		for i := range 4 {
			at := [...]uint64{1100, 1200, timeMsMax, timeMsMax}[i]
			err := o.Push(i%2, &Message{Offset: math.MaxUint64, TimeMs: at, Value: []byte(`{"k":1}`)}, func(r Row) {
				if !json.Valid(r.JSON) {
					t.Fatalf("row %s", r.JSON)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestJoinOperatorRefuses has states of others, and messages that join too many.
func TestJoinOperatorRefuses(t *testing.T) {
	request := `{` + joinSources + `,"on":{"left_key":"k","right_key":"k"},"window":{"size_ms":%d}}`
	o := mustOperator(t, mustJoin(t, fmt.Sprintf(request, 50)))
	for i := range 10 {
		if err := o.Push(i%2, &Message{Offset: uint64(i), TimeMs: 1000, Value: []byte(`{"k":1}`)}, func(Row) {}); err != nil {
			t.Fatal(err)
		}
	}
	state := o.AppendState(nil)
	if err := mustOperator(t, mustJoin(t, fmt.Sprintf(request, 51))).Restore(state); err == nil {
		t.Error("the state of another join is taken")
	}
	for n := range state {
		if err := mustOperator(t, mustJoin(t, fmt.Sprintf(request, 50))).Restore(state[:n]); err == nil {
			t.Fatalf("the first %d bytes of a state are taken", n)
		}
	}
	text := strings.Repeat("x", 1<<20)
	var err error
	for i := range 20 {
		m := &Message{Offset: uint64(i), TimeMs: 1000, Value: fmt.Appendf(nil, `{"k":1,"t":%q}`, text)}
		if err = o.Push(max(0, i-18), m, func(Row) {}); err != nil {
			break
		}
	}
	if err == nil {
		t.Error("16 MiB of messages wait, and nobody complains")
	}
	o = mustOperator(t, mustJoin(t, fmt.Sprintf(request, 50)))
	for i := range 10 {
		m := &Message{Offset: uint64(i), TimeMs: 1000, Value: fmt.Appendf(nil, `{"k":1,"t":%q}`, text)}
		if err = o.Push(max(0, i-8), m, func(Row) {}); err != nil {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "rows have more than") {
		t.Errorf("a message that gives 9 MiB of rows: %v", err)
	}
}

// TestJoinOperatorSettlesInPieces has a jump of time settle more than one message should have to give; the rest comes with those after it.
func TestJoinOperatorSettlesInPieces(t *testing.T) {
	o := mustOperator(t, mustJoin(t, `{`+joinSources+`,"on":{"left_key":"k","right_key":"k"},"join":{"type":"left"},"window":{"size_ms":10}}`))
	const n = 3000
	push := func(side, i int, at uint64) (rows int) {
		bytes := 0
		err := o.Push(side, &Message{Offset: uint64(i), TimeMs: at, Value: fmt.Appendf(nil, `{"k":%d,"text":"%01000d"}`, i, i)}, func(r Row) {
			rows++
			bytes += len(r.JSON)
		})
		if err != nil || bytes > 2*settledBytesEnough {
			t.Fatalf("%v, %d bytes of rows", err, bytes)
		}
		return rows
	}
	for i := range n {
		push(0, i, 1000)
	}
	rows := push(0, n, 1e6) + push(1, n+1, 1e6)
	if rows == 0 || rows == n {
		t.Errorf("the jump gives %d rows", rows)
	}
	for i := range 10 {
		rows += push(1, n+2+i, 1e6)
	}
	if rows != n {
		t.Errorf("%d rows, want %d", rows, n)
	}
}

// TestJoinOperatorCounts: what was late or did not decode is counted, also across a restart; a state of the first version has no counts.
func TestJoinOperatorCounts(t *testing.T) {
	j := mustJoin(t, `{`+joinSources+`,"on":{"left_key":"k","right_key":"k"},"window":{"size_ms":50}}`)
	o := mustOperator(t, j)
	for i, at := range []uint64{1000, 1000, 2000, 2000, 1100, 2000} {
		m := &Message{Offset: uint64(i), TimeMs: at, Value: []byte(`{"k":1}`)}
		if i == 5 {
			m.Value = []byte(`{`)
		}
		if err := o.Push(i%2, m, func(Row) {}); err != nil {
			t.Fatal(err)
		}
	}
	want := Counts{Scanned: 6, Matched: 4, Skipped: 1, Late: 1}
	if got := o.(Counted).Counts(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	state := o.AppendState(nil)
	again := mustOperator(t, j)
	if err := again.Restore(state); err != nil || again.(Counted).Counts() != want {
		t.Errorf("%v %+v", err, again.(Counted).Counts())
	}
	const first, second = 1 + 8 + 1 + 8, 1 + 8 + 2*(1+8) + 3 // where the counts of each side are, three bytes
	old := append(slices.Concat([]byte{1}, state[1:first], state[first+3:second]), state[second+3:]...)
	again = mustOperator(t, j)
	if err := again.Restore(old); err != nil || again.(Counted).Counts() != (Counts{}) {
		t.Errorf("version 1: %v %+v", err, again.(Counted).Counts())
	}
	state[first+1] = 100
	if err := mustOperator(t, j).Restore(state); err == nil {
		t.Error("more messages were skipped than there were")
	}
}
