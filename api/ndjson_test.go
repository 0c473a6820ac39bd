package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// values are the messages of a partition as the bytes that were stored.
func (f *fixture) values(topic string, partition int) (all []string) {
	f.t.Helper()
	for next := 0; ; {
		status, text, _ := f.raw("GET", fmt.Sprintf("/broker/consume/%s/g/%d?encoding=b64&limit=1000&offset=%d", topic, partition, next), "")
		var page struct {
			Messages []struct {
				Offset int    `json:"offset"`
				Value  []byte `json:"value_b64"`
			} `json:"messages"`
			Next      int  `json:"next_offset"`
			Truncated bool `json:"truncated"`
		}
		if err := json.Unmarshal(text, &page); err != nil || status != 200 {
			f.t.Fatalf("%d %s: %v", status, text, err)
		}
		for _, m := range page.Messages {
			if m.Offset != next {
				f.t.Fatalf("offset %d where %d was due", m.Offset, next)
			}
			next++
			all = append(all, string(m.Value))
		}
		if page.Next != next {
			f.t.Fatalf("next_offset %d after %d messages", page.Next, next)
		}
		if !page.Truncated {
			return all
		}
	}
}

func TestNDJSONLines(t *testing.T) {
	f := newFixture(t, "auto")
	for i, tt := range []struct {
		body string
		want []string
	}{
		{"1", []string{"1"}},
		{"1\n", []string{"1"}},
		{"1\r\n2\r\n", []string{"1", "2"}},
		{"\n\n1\n\r\n\n2\n\n", []string{"1", "2"}},
		{`{"a": [1, 2]}` + "\n" + `"text"` + "\nnull\n true \n-1.5e3", []string{`{"a": [1, 2]}`, `"text"`, "null", " true ", "-1.5e3"}},
		{"\"\xff\xfe\"\n", []string{"\"\xff\xfe\""}},
		{"{}\r", []string{"{}"}},
		{"1\n\r", []string{"1"}},
		{strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "\n[]", []string{strings.Repeat("[", 5000) + strings.Repeat("]", 5000), "[]"}},
	} {
		topic := fmt.Sprint("t", i)
		status, m := f.call("POST", "/broker/topics/"+topic+"/produce-ndjson?partition=3", tt.body)
		if status != 200 || m["first_offset"] != 0.0 || m["count"] != float64(len(tt.want)) || m["partition"] != 3.0 || m["synced"] != true || m["durable"] != true || m["sealed"] != true || m["mode"] != "sealed" {
			t.Errorf("%.40q: %d %v", tt.body, status, m)
			continue
		}
		if got := f.values(topic, 3); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", tt.want) {
			t.Errorf("%.40q came back as %.200q", tt.body, got)
		}
	}
}

// TestNDJSONIsAllOrNothing: the line at fault is named as a text editor counts it, and nothing is
// appended, wherever it is and whichever way the body is read.
func TestNDJSONIsAllOrNothing(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
	long := strings.Repeat(`{"n":"0123456789"}`+"\n", 5000) // beyond what is read on the loop
	for _, tt := range []struct {
		body string
		line int
		code string
	}{
		{"x", 1, "bad_ndjson"},
		{"1\n2\n3 4\n", 3, "bad_ndjson"},
		{"\n\r\n\n{]\n1", 4, "bad_ndjson"},
		{"1\n{\"a\":\n1}\n", 2, "bad_ndjson"},
		{"1\r2\n", 1, "bad_ndjson"},
		{" \n", 1, "bad_ndjson"},
		{"1\n" + strings.Repeat("[", 60000) + strings.Repeat("]", 60000), 2, "bad_ndjson"},
		{long + "}", 5001, "bad_ndjson"},
		{long + "}\n" + long, 5001, "bad_ndjson"},
		{"", 0, "empty_ndjson"},
		{"\n\r\n\n", 0, "empty_ndjson"},
	} {
		status, m := f.call("POST", "/broker/topics/t/produce-ndjson", tt.body)
		if status != 400 || m["error"] != tt.code || tt.line > 0 && !strings.Contains(m["message"].(string), fmt.Sprintf("line %d is ", tt.line)) {
			t.Errorf("%.40q: %d %v", tt.body, status, m)
		}
	}
	if got := f.values("t", 0); len(got) != 0 {
		t.Errorf("%d messages were appended", len(got))
	}
	if status, m := f.call("POST", "/broker/topics/new/produce-ndjson", "1\nx"); status != 400 {
		t.Error(status, m)
	}
	if status, _ := f.call("GET", "/broker/topics/new", ""); status != 404 {
		t.Error("a refused body created its topic")
	}
}

func TestNDJSONOfManyLines(t *testing.T) {
	f := newFixture(t, "auto")
	const n = 100_000
	var body bytes.Buffer
	for i := range n {
		fmt.Fprintf(&body, "{\"n\":%d}\n", i)
	}
	status, m := f.call("POST", "/broker/topics/t/produce-ndjson?partition=0", body.String(), "User-Agent", strings.Repeat("a", 400), "X-Ayder-H-From", "test")
	if status != 200 || m["count"] != float64(n) {
		t.Fatal(status, m)
	}
	got := f.values("t", 0)
	if len(got) != n {
		t.Fatalf("%d messages", len(got))
	}
	for i, v := range got {
		if v != fmt.Sprintf(`{"n":%d}`, i) {
			t.Fatalf("message %d is %s", i, v)
		}
	}
}

// TestNDJSONTooLarge: a body within its limit can still be more than a batch holds, because every
// line costs a record header. It is refused as a whole, and what fits goes through.
func TestNDJSONTooLarge(t *testing.T) {
	f := newFixture(t, "auto", func(o *Options) { o.HTTP.BodyMax = 1 << 20 })
	for lines, want := range map[int]int{110_000: 200, 150_000: 413, 524_288: 413, 524_289: 413} {
		if status, m := f.call("POST", "/broker/topics/t/produce-ndjson?partition=0", strings.Repeat("1\n", lines)); status != want {
			t.Errorf("%d lines: %d %v", lines, status, m)
		}
	}
	if got := f.values("t", 0); len(got) != 110_000 {
		t.Errorf("%d messages", len(got))
	}
	big := newFixture(t, "auto", func(o *Options) { o.HTTP.BodyMax = 6 << 20 })
	if status, m := big.call("POST", "/broker/topics/t/produce-ndjson", strings.Repeat("1\n", ndjsonLinesMax+1)); status != 413 || m["error"] != "body_too_large" {
		t.Errorf("one line too many: %d %v", status, m)
	}
}

func TestNDJSONIdempotency(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics", `{"name":"t","partitions":2}`)
	path := "/broker/topics/t/produce-ndjson?partition=0&idempotency_key="
	for i, want := range []string{
		`map[batch_id:2 count:3 durable:true first_offset:0 mode:sealed ok:true partition:0 sealed:true synced:true]`,
		`map[batch_id:0 count:3 duplicate:true durable:true first_offset:0 mode:sealed ok:true partition:0 sealed:true synced:<nil>]`,
	} {
		if _, m := f.call("POST", path+"a", "1\n2\n3\n"); fmt.Sprint(m) != want {
			t.Errorf("try %d: %v", i, m)
		}
	}
	if _, m := f.call("POST", path+"a", "4\n"); m["count"] != 3.0 || m["duplicate"] != true {
		t.Error("the key decides, not the body: ", m)
	}
	if _, m := f.call("POST", strings.Replace(path, "=0", "=1", 1)+"a", "4\n"); m["duplicate"] != nil {
		t.Error("keys are per partition: ", m)
	}
	if status, _ := f.call("POST", path+"b", "5\nx\n"); status != 400 {
		t.Error(status)
	}
	if _, m := f.call("POST", path+"b", "5\n6\n"); m["first_offset"] != 3.0 || m["count"] != 2.0 || m["duplicate"] != nil {
		t.Error("a refused body has used up its key: ", m)
	}
	if _, m := f.call("POST", "/broker/topics/t/produce?partition=0&idempotency_key=b", "7"); m["offset"] != 3.0 || m["duplicate"] != true {
		t.Error(m)
	}
	if got := f.values("t", 0); fmt.Sprint(got) != "[1 2 3 5 6]" {
		t.Error(got)
	}
}

func TestEnvelopes(t *testing.T) {
	f := newFixture(t, "auto")
	b64 := base64.StdEncoding.EncodeToString
	for i, tt := range []struct{ line, query, want string }{
		{`{"value":"text"}`, "", `key:<nil> offset:0 partition:0 value:text`},
		{`{"value":"a\n\u00e9\ud83d\ude00"}`, "", "key:<nil> offset:0 partition:0 value:a\né😀"},
		{`{"value":{"a": [1,null]}}`, "", `key:<nil> offset:0 partition:0 value:{"a": [1,null]}`},
		{`{"value":null}`, "", `key:<nil> offset:0 partition:0 value:null`},
		{`{"value":""}`, "", `key:<nil> offset:0 partition:0 value:`},
		{`{"value":12345678901234567890}`, "", `key:<nil> offset:0 partition:0 value:12345678901234567890`},
		{`{"value_b64":"` + b64([]byte("\xff\x00")) + `"}`, "", `key:<nil> offset:0 partition:0 value_b64:/wA=`},
		{`{"value_b64":""}`, "", `key:<nil> offset:0 partition:0 value:`},
		{`{"value":"v","key":"k"}`, "", `key:k offset:0 partition:0 value:v`},
		{`{"value":"v","key":""}`, "", `key: offset:0 partition:0 value:v`},
		{`{"value":"v","key":null,"headers":null}`, "", `key:<nil> offset:0 partition:0 value:v`},
		{`{"value":"v","key_b64":"` + b64([]byte("\xfe")) + `"}`, "", `key_b64:/g== offset:0 partition:0 value:v`},
		{`{"value":"v","headers":{"b":"2","a":"1"},"ts_ms":77}`, "", `headers:map[a:1 b:2] key:<nil> offset:0 partition:0 ts_ms:77 value:v`},
		{`{"value":"v","ts_ms":0}`, "&ts_ms=5", `key:<nil> offset:0 partition:0 ts_ms:0 value:v`},
		{`{"value":"v","ts_ms":9223372036854775807}`, "", `key:<nil> offset:0 partition:0 ts_ms:9.223372036854776e+18 value:v`},
		{`{"value":"v"}`, "&ts_ms=5&key=q", `key:q offset:0 partition:0 ts_ms:5 value:v`},
		{`{"value":"v","key":"k","ts_ms":6}`, "&ts_ms=5&key=q", `key:k offset:0 partition:0 ts_ms:6 value:v`},
	} {
		topic := fmt.Sprint("t", i)
		status, m := f.call("POST", "/broker/topics/"+topic+"/produce-ndjson?envelope=1&partition=0"+tt.query, tt.line)
		if status != 200 || m["count"] != 1.0 {
			t.Errorf("%s: %d %v", tt.line, status, m)
			continue
		}
		_, m = f.call("GET", "/broker/consume/"+topic+"/g/0", "")
		message := m["messages"].([]any)[0].(map[string]any)
		if !strings.Contains(tt.want, "ts_ms") {
			delete(message, "ts_ms")
		}
		if got := fmt.Sprint(message); got != "map["+tt.want+"]" {
			t.Errorf("%s: %s, want %s", tt.line, got, tt.want)
		}
	}
}

// TestEnvelopesTakeWhatTheyLackFromTheRequest, and nothing more than that.
func TestEnvelopesTakeWhatTheyLackFromTheRequest(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics/t/produce-ndjson?envelope=1&partition=0&key=q&ts_ms=9",
		`{"value":"a"}`+"\n"+`{"value":"b","headers":{"X":"y"},"key":"k"}`+"\n"+`{"value":"c","headers":{},"ts_ms":1}`, "X-Ayder-H-From", "here")
	_, m := f.call("GET", "/broker/consume/t/g/0", "")
	want := `[map[headers:map[From:here] key:q offset:0 partition:0 ts_ms:9 value:a] ` +
		`map[headers:map[X:y] key:k offset:1 partition:0 ts_ms:9 value:b] map[key:q offset:2 partition:0 ts_ms:1 value:c]]`
	if got := fmt.Sprint(m["messages"]); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestBadEnvelopes(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
	for _, tt := range []struct{ line, want string }{
		{`{}`, "exactly one of value and value_b64"},
		{`{"value":1,"value_b64":"YQ=="}`, "exactly one of value and value_b64"},
		{`{"value":1,"key":"a","key_b64":"YQ=="}`, "only one of key and key_b64"},
		{`{"value_b64":"YQ"}`, "value_b64 is not base64"},
		{`{"value_b64":1}`, "value_b64"},
		{`{"value":1,"key_b64":"*"}`, "key_b64 is not base64"},
		{`{"value":1,"key":1}`, "key"},
		{`{"value":1,"ts_ms":-1}`, "ts_ms"},
		{`{"value":1,"ts_ms":9223372036854775808}`, "ts_ms"},
		{`{"value":1,"ts_ms":1.5}`, "ts_ms"},
		{`{"value":1,"headers":{"":"x"}}`, "header"},
		{`{"value":1,"headers":{"a":1}}`, "headers"},
		{`{"value":1,"headers":{"` + strings.Repeat("n", 257) + `":"x"}}`, "header"},
		{`{"value":1,"headers":{` + manyHeaders(33) + `}}`, "header"},
		{`{"value":1,"key":"` + strings.Repeat("k", 64<<10+1) + `"}`, "key is too long"},
		{`{"value":1,"nope":2}`, `unknown field "nope"`},
		{`{"Value":1}`, `unknown field "Value"`},
		{`{"value":1,"value":2}`, `"value"`},
		{"{\"value\":\"\xff\"}", "not Unicode text"},
		{"{\"value\":\"a\",\"key\":\"\xff\"}", "not Unicode text"},
		{`{"value":"\ud800"}`, "not Unicode text"},
		{`{"value":"\ud800\u0041"}`, "not Unicode text"},
		{`{"value":"\udc00\ud800"}`, "not Unicode text"},
		{`{"value":"\\\ud83d\ud83d\ude00"}`, "not Unicode text"},
		{`[1]`, "array"},
		{`"text"`, "string"},
		{`null`, "exactly one"},
		{`{"value":1} {"value":2}`, "line 2"},
	} {
		status, m := f.call("POST", "/broker/topics/t/produce-ndjson?envelope=1", `{"value":"good"}`+"\n"+tt.line)
		message, _ := m["message"].(string)
		if status != 400 || m["error"] != "bad_ndjson" || !strings.Contains(message, tt.want) || !strings.Contains(message, "line 2") {
			t.Errorf("%.60q: %d %v", tt.line, status, m)
		}
	}
	for _, line := range []string{`{"value":"\\ud800"}`, `{"value":"\\\\u"}`, `{"value":"\ufffd"}`, "{\"value\":\"\ufffd\"}", `{"value":1,"headers":{` + manyHeaders(32) + `}}`} {
		if status, m := f.call("POST", "/broker/topics/t/produce-ndjson?envelope=1", line); status != 200 {
			t.Errorf("%s: %d %v", line, status, m)
		}
	}
}

func manyHeaders(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`"h%d":""`, i))
	}
	return strings.Join(all, ",")
}
