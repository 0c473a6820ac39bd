package cloudevent

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"unicode/utf8"

	"ayder/internal/jsonscan"
	"ayder/internal/record"
)

const least = `"specversion":"1.0","id":"1","type":"t","source":"/s"`

// headersOf are an event's headers as a map.
func headersOf(t *testing.T, headers []byte) map[string]string {
	t.Helper()
	m := map[string]string{}
	for n, v, rest, ok := record.NextHeader(headers); ok; n, v, rest, ok = record.NextHeader(rest) {
		if _, twice := m[string(n)]; twice {
			t.Fatalf("%s occurs twice", n)
		}
		m[string(n)] = string(v)
	}
	return m
}

// render is an event as JSON, decoded.
func render(t *testing.T, e *Event) map[string]any {
	t.Helper()
	m := record.Record{Value: e.Value, Headers: e.Headers, TimeMs: e.TimeMs, Key: e.Key, HasKey: e.HasKey}
	var s jsonscan.Scanner
	b := Append(nil, &m, Place{"topic", 3, 7}, &s)
	var out map[string]any
	if err := json.Unmarshal(b, &out); err != nil || !utf8.Valid(b) || strings.ContainsAny(string(b), "\n\r") {
		t.Fatalf("%s: %v", b, err)
	}
	return out
}

// published are the examples of the JSON format (section 3.2 and 2.3) and of the conformance suite's valid events, with what they are in binary mode.
var published = []struct {
	name, event, value, media string
	headers                   map[string]string // besides those of all
	again                     string            // what the event is as JSON, if not what it was
}{
	{
		"binary data", `{"specversion":"1.0","type":"com.example.someevent","source":"/mycontext","id":"A234-1234-1234","time":"2018-04-05T17:31:00Z","comexampleextension1":"value","comexampleothervalue":5,"datacontenttype":"application/vnd.apache.thrift.binary","data_base64":"AAECAw=="}`,
		"\x00\x01\x02\x03", "application/vnd.apache.thrift.binary",
		map[string]string{"ce_type": "com.example.someevent", "ce_source": "/mycontext", "ce_id": "A234-1234-1234", "ce_time": "2018-04-05T17:31:00Z", "ce_comexampleextension1": "value", "ce_comexampleothervalue": "5"},
		`{"specversion":"1.0","type":"com.example.someevent","source":"/mycontext","id":"A234-1234-1234","time":"2018-04-05T17:31:00Z","comexampleextension1":"value","comexampleothervalue":"5","datacontenttype":"application/vnd.apache.thrift.binary","data_base64":"AAECAw=="}`,
	},
	{
		"xml", `{"specversion":"1.0","type":"com.example.someevent","source":"/mycontext","id":"B234-1234-1234","unsetextension":null,"datacontenttype":"application/xml","data":"<much wow=\"xml\"/>"}`,
		`<much wow="xml"/>`, "application/xml",
		map[string]string{"ce_type": "com.example.someevent", "ce_source": "/mycontext", "ce_id": "B234-1234-1234"},
		`{"specversion":"1.0","type":"com.example.someevent","source":"/mycontext","id":"B234-1234-1234","datacontenttype":"application/xml","data":"<much wow=\"xml\"/>"}`,
	},
	{
		"object", `{"specversion":"1.0","type":"com.example.someevent","source":"/mycontext","subject":null,"id":"C234-1234-1234","datacontenttype":"application/json","data":{"appinfoA":"abc","appinfoB":123,"appinfoC":true}}`,
		`{"appinfoA":"abc","appinfoB":123,"appinfoC":true}`, "application/json",
		map[string]string{"ce_type": "com.example.someevent", "ce_source": "/mycontext", "ce_id": "C234-1234-1234"},
		`{"specversion":"1.0","type":"com.example.someevent","source":"/mycontext","id":"C234-1234-1234","datacontenttype":"application/json","data":{"appinfoA":"abc","appinfoB":123,"appinfoC":true}}`,
	},
	{
		"literal string", `{"specversion":"1.0","type":"com.example.someevent","source":"/mycontext","id":"D234-1234-1234","data":"I'm just a string"}`,
		`"I'm just a string"`, "application/json",
		map[string]string{"ce_type": "com.example.someevent", "ce_source": "/mycontext", "ce_id": "D234-1234-1234"},
		`{"specversion":"1.0","type":"com.example.someevent","source":"/mycontext","id":"D234-1234-1234","datacontenttype":"application/json","data":"I'm just a string"}`,
	},
	{"minimal", `{"specversion":"1.0","id":"minimal","type":"io.cloudevents.test","source":"https://cloudevents.io"}`, "", "", map[string]string{"ce_id": "minimal", "ce_type": "io.cloudevents.test", "ce_source": "https://cloudevents.io"}, ""},
	{
		"nulls", `{"specversion":"1.0","id":"1","type":"t","source":"/s","datacontenttype":null,"dataschema":null,"subject":null,"time":null}`, "", "",
		map[string]string{"ce_id": "1", "ce_type": "t", "ce_source": "/s"},
		`{` + least + `}`,
	},
	{
		"all core", `{"specversion":"1.0","id":"allCore","type":"io.cloudevents.test","source":"https://cloudevents.io","datacontenttype":"text/plain","dataschema":"https://cloudevents.io/dataschema","subject":"tests","time":"2018-04-05T17:31:00Z"}`, "", "text/plain",
		map[string]string{"ce_id": "allCore", "ce_type": "io.cloudevents.test", "ce_source": "https://cloudevents.io", "ce_dataschema": "https://cloudevents.io/dataschema", "ce_subject": "tests", "ce_time": "2018-04-05T17:31:00Z"},
		"",
	},
	{"relative source", `{"specversion":"1.0","id":"1","type":"t","source":"#fragment"}`, "", "", map[string]string{"ce_id": "1", "ce_type": "t", "ce_source": "#fragment"}, ""},
	{"text", `{` + least + `,"datacontenttype":"text/plain","data":"Simple text"}`, "Simple text", "text/plain", map[string]string{"ce_id": "1", "ce_type": "t", "ce_source": "/s"}, ""},
	{
		"extensions", `{` + least + `,"extinteger":10,"extboolean":true,"extstring":"text","exturi":"https://cloudevents.io","exturiref":"//authority/path","exttimestamp":"2023-03-31T15:12:00Z","extbinary":"TWE="}`, "", "",
		map[string]string{"ce_id": "1", "ce_type": "t", "ce_source": "/s", "ce_extinteger": "10", "ce_extboolean": "true", "ce_extstring": "text", "ce_exturi": "https://cloudevents.io", "ce_exturiref": "//authority/path", "ce_exttimestamp": "2023-03-31T15:12:00Z", "ce_extbinary": "TWE="},
		`{` + least + `,"extinteger":"10","extboolean":"true","extstring":"text","exturi":"https://cloudevents.io","exturiref":"//authority/path","exttimestamp":"2023-03-31T15:12:00Z","extbinary":"TWE="}`,
	},
	{"escapes", "{\"speci\\u0066version\":\"1.0\",\"\\u0069d\":\"\\u20ac\\ud83d\\ude00\\n\"," + `"type":"t","source":"/s"}`, "", "", nil, ""}, // refused: see below
	{"null data", `{` + least + `,"data":null}`, "null", "application/json", map[string]string{"ce_id": "1", "ce_type": "t", "ce_source": "/s"}, `{` + least + `,"datacontenttype":"application/json","data":null}`},
	{"null text", `{` + least + `,"datacontenttype":"text/plain","data":null}`, "", "text/plain", map[string]string{"ce_id": "1", "ce_type": "t", "ce_source": "/s"}, `{` + least + `,"datacontenttype":"text/plain"}`},
	{"unicode", `{"\u0069d":"\u20ac\ud83d\ude00","specversion":"1.0","type":"t","source":"/s","datacontenttype":"text/plain","data":"a\u0000\nb"}`, "a\x00\nb", "text/plain", map[string]string{"ce_id": "€😀", "ce_type": "t", "ce_source": "/s"}, ""},
	{"base64 without a type", `{` + least + `,"data_base64":"AA=="}`, "\x00", "", map[string]string{"ce_id": "1", "ce_type": "t", "ce_source": "/s"}, ""},
	{"json in lines", "{" + least + ",\"data\":{\n\"a\":\r\n[1]}}", "{\n\"a\":\r\n[1]}", "application/json", map[string]string{"ce_id": "1", "ce_type": "t", "ce_source": "/s"}, "{" + least + `,"datacontenttype":"application/json","data":{"a":[1]}}`},
	{"structured suffix", `{` + least + `,"datacontenttype":"application/vnd.x+JSON; a=b","data":[1]}`, "[1]", "application/vnd.x+JSON; a=b", map[string]string{"ce_id": "1", "ce_type": "t", "ce_source": "/s"}, ""},
	{"key", `{` + least + `,"partitionkey":"k"}`, "", "", map[string]string{"ce_id": "1", "ce_type": "t", "ce_source": "/s", "ce_partitionkey": "k"}, ""},
}

func TestPublishedExamples(t *testing.T) {
	var r Reader
	for _, tt := range published {
		r.Reset()
		e, err := r.Structured([]byte(tt.event))
		if tt.headers == nil {
			if err == nil {
				t.Errorf("%s is accepted", tt.name)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		want := maps.Clone(tt.headers)
		want["ce_specversion"] = "1.0"
		if tt.media != "" {
			want["content-type"] = tt.media
		}
		if got := headersOf(t, e.Headers); !maps.Equal(got, want) || string(e.Value) != tt.value {
			t.Errorf("%s: %q %q, want %q %q", tt.name, got, e.Value, want, tt.value)
		}
		if again := tt.again; again == "" {
			tt.again = tt.event
		}
		var whole map[string]any
		if err := json.Unmarshal([]byte(tt.again), &whole); err != nil {
			t.Fatal(err)
		}
		got, _ := json.Marshal(render(t, &e))
		back, _ := json.Marshal(whole)
		if string(got) != string(back) {
			t.Errorf("%s comes back as\n%s, not\n%s", tt.name, got, back)
		}
	}
}

func TestTimes(t *testing.T) {
	for text, ms := range map[string]uint64{
		"2018-04-05T17:31:00Z": 1522949460000, "2018-04-05T17:31:00.000000000Z": 1522949460000, "2018-04-05T18:31:00+01:00": 1522949460000,
		"2018-04-05T16:31:00-01:00": 1522949460000, "2018-04-05t17:31:00.5z": 1522949460500, "1970-01-01T00:00:00Z": 0,
	} {
		var r Reader
		e, err := r.Structured([]byte(`{` + least + `,"time":"` + text + `"}`))
		if err != nil || !e.HasTime || e.TimeMs != ms {
			t.Errorf("%s: %d %v", text, e.TimeMs, err)
		}
	}
	var r Reader
	if e, err := r.Structured([]byte(`{` + least + `,"time":"1950-01-01T00:00:00Z"}`)); err != nil || e.HasTime {
		t.Error(e.TimeMs, err)
	}
}

// TestRefusedEvents are those of the conformance suite, and others; the error names the attribute.
func TestRefusedEvents(t *testing.T) {
	for _, tt := range []struct{ event, attribute string }{
		{``, ""},
		{`{`, ""},
		{`[]`, ""},
		{`7`, ""},
		{`{} {}`, ""},
		{"{\"a\":\"\xff\"}", ""},
		{`{"a":"\ud800"}`, ""},
		{`{}`, "specversion"},
		{`{"id":"1","type":"t","source":"/s"}`, "specversion"},
		{`{"specversion":"1.0","type":"t","source":"/s"}`, "id"},
		{`{"specversion":"1.0","id":"1","source":"/s"}`, "type"},
		{`{"specversion":"1.0","id":"1","type":"t"}`, "source"},
		{`{"specversion":null,"id":"1","type":"t","source":"/s"}`, "specversion"},
		{`{"specversion":"","id":"1","type":"t","source":"/s"}`, "specversion"},
		{`{"specversion":"0.9","id":"1","type":"t","source":"/s"}`, "specversion"},
		{`{"specversion":1.0,"id":"1","type":"t","source":"/s"}`, "specversion"},
		{`{"specversion":"1.0","id":"","type":"t","source":"/s"}`, "id"},
		{`{"specversion":"1.0","id":25,"type":"t","source":"/s"}`, "id"},
		{`{"specversion":"1.0","id":{"xyz":"abc"},"type":"t","source":"/s"}`, "id"},
		{`{"specversion":"1.0","id":true,"type":"t","source":"/s"}`, "id"},
		{`{"specversion":"1.0","id":"a\nb","type":"t","source":"/s"}`, "id"},
		{`{"specversion":"1.0","id":"\u0085","type":"t","source":"/s"}`, "id"},
		{`{"specversion":"1.0","id":"\ufffe","type":"t","source":"/s"}`, "id"},
		{`{"specversion":"1.0","id":"1","type":"","source":"/s"}`, "type"},
		{`{"specversion":"1.0","id":"1","type":"t","source":""}`, "source"},
		{`{"specversion":"1.0","id":"1","type":"t","source":"a b"}`, "source"},
		{`{"specversion":"1.0","id":"1","type":"t","source":"/%zz"}`, "source"},
		{`{"specversion":"1.0","id":"1","type":"t","source":"/ä"}`, "source"},
		{`{` + least + `,"id":"2"}`, "id"},
		{`{` + least + `,"\u0069d":"2"}`, "id"},
		{`{` + least + `,"time":"lunchtime"}`, "time"},
		{`{` + least + `,"time":"2018-04-05T18:31Z"}`, "time"},
		{`{` + least + `,"time":"2018-04-05T18:31:00X"}`, "time"},
		{`{` + least + `,"time":"2018-04-05T18:31:00+25:00"}`, "time"},
		{`{` + least + `,"time":"2018-04-05T18:31:00+xx:00"}`, "time"},
		{`{` + least + `,"time":"2018-04-05T18:31:00+05"}`, "time"},
		{`{` + least + `,"time":1522949460}`, "time"},
		{`{` + least + `,"datacontenttype":"xyz"}`, "datacontenttype"},
		{`{` + least + `,"datacontenttype":""}`, "datacontenttype"},
		{`{` + least + `,"datacontenttype":"a/b c"}`, "datacontenttype"},
		{`{` + least + `,"dataschema":""}`, "dataschema"},
		{`{` + least + `,"dataschema":"/relative"}`, "dataschema"},
		{`{` + least + `,"subject":""}`, "subject"},
		{`{` + least + `,"MyExtension":"bad"}`, "MyExtension"},
		{`{` + least + `,"my.extension":"bad"}`, "my.extension"},
		{`{` + least + `,"my_extension":"bad"}`, "my_extension"},
		{`{` + least + `,"":"bad"}`, ""},
		{`{` + least + `,"` + strings.Repeat("a", 65) + `":"long"}`, strings.Repeat("a", 65)},
		{`{` + least + `,"ext":1.5}`, "ext"},
		{`{` + least + `,"ext":1e3}`, "ext"},
		{`{` + least + `,"ext":-0}`, "ext"},
		{`{` + least + `,"ext":2147483648}`, "ext"},
		{`{` + least + `,"ext":[]}`, "ext"},
		{`{` + least + `,"ext":{}}`, "ext"},
		{`{` + least + `,"data":"text","data_base64":"eyAieHl6IjogMTIzIH0="}`, "data_base64"},
		{`{` + least + `,"data":1,"data":2}`, "data"},
		{`{` + least + `,"data_base64":"AA==","data_base64":"AA=="}`, "data_base64"},
		{`{` + least + `,"data_base64":"A"}`, "data_base64"},
		{`{` + least + `,"data_base64":7}`, "data_base64"},
		{`{` + least + `,"datacontenttype":"text/plain","data":{}}`, "data"},
	} {
		var r Reader
		e, err := r.Structured([]byte(tt.event))
		if err == nil {
			t.Errorf("%s is accepted: %q", tt.event, e.Headers)
			continue
		}
		if err.Attribute != tt.attribute || err.Index != -1 || len(err.Message) < 10 {
			t.Errorf("%s: %+v", tt.event, err)
		}
	}
	var many strings.Builder
	for i := range AttributesMax - 3 {
		many.WriteString(`,"a` + strings.Repeat("b", i) + `":1`)
	}
	var r Reader
	if _, err := r.Structured([]byte(`{` + least + many.String() + `}`)); err == nil {
		t.Error("too many attributes are accepted")
	}
}

func TestBatches(t *testing.T) {
	var r Reader
	one, other := `{`+least+`,"data":1}`, `{"specversion":"1.0","id":"2","type":"t","source":"/s","data":2}`
	for text, count := range map[string]int{`[]`: 0, ` [ ] `: 0, `[` + one + `]`: 1, `[` + one + " ,\n" + other + `]`: 2} {
		events, err := r.Batch([]byte(text), 2)
		if err != nil || len(events) != count {
			t.Fatalf("%s: %d %v", text, len(events), err)
		}
		for i := range events {
			if string(events[i].ID) != string(events[i].Value) {
				t.Errorf("%q %q", events[i].ID, events[i].Value)
			}
		}
	}
	for text, index := range map[string]int{
		`{}`: -1, one: -1, `[` + one: -1, `[` + one + `,]`: -1, `["not an object",` + one + `]`: 0, `[` + one + `,{"specversion":"0.9","id":"2","type":"t","source":"/s"}]`: 1,
		`[{"specversion":"1.0","type":"t","source":"/s"}]`: 0, `[` + one + `,null]`: 1, `[[]]`: 0, `[` + one + `,` + one + `,` + one + `]`: -1,
	} {
		if events, err := r.Batch([]byte(text), 2); err == nil || err.Index != index {
			t.Errorf("%s: %d %v", text, len(events), err)
		}
	}
}

func TestBinaryMode(t *testing.T) {
	read := func(media, body string, headers ...string) (Event, *Error) {
		var r Reader
		r.Begin()
		for i := 0; i < len(headers); i += 2 {
			if err := r.Header([]byte(headers[i]), []byte(headers[i+1])); err != nil {
				return Event{}, err
			}
		}
		var kind []byte
		if media != "none" {
			kind = []byte(media)
		}
		return r.Body(kind, []byte(body))
	}
	core := []string{"Host", "x", "ce-specversion", "1.0", "CE-Type", "com.example.someevent", "ce-time", "2018-04-05T03:56:24Z", "Ce-Id", "1234-1234-1234", "ce-source", "/mycontext/subcontext", "Cex", "y"}
	for _, media := range []string{"application/json", "application/json; charset=utf-8"} {
		e, err := read(media, `{"message":"Hello World!"}`, append(core, "ce-Ext", "Euro%20%E2%82%AC%20%F0%9F%98%80", "ce-q", `"a \"b\" %41"`, "ce-low", "%e2%82%ac")...)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{
			"content-type": media, "ce_specversion": "1.0", "ce_type": "com.example.someevent", "ce_time": "2018-04-05T03:56:24Z", "ce_id": "1234-1234-1234",
			"ce_source": "/mycontext/subcontext", "ce_ext": "Euro € 😀", "ce_q": `a "b" A`, "ce_low": "€",
		}
		if got := headersOf(t, e.Headers); !maps.Equal(got, want) {
			t.Errorf("%q", got)
		}
		if data := render(t, &e)["data"].(map[string]any); data["message"] != "Hello World!" {
			t.Error(data)
		}
	}
	if e, err := read("none", "\x00", core...); err != nil || render(t, &e)["data_base64"] != base64.StdEncoding.EncodeToString([]byte{0}) {
		t.Error(err)
	}
	for _, tt := range []struct{ name, value, attribute string }{
		{"ce-datacontenttype", "text/plain", "datacontenttype"},
		{"ce-data", "x", "data"},
		{"ce-", "x", ""},
		{"ce-a_b", "x", "a_b"},
		{"ce-id", "again", "id"},
		{"ce-x", "%", "x"},
		{"ce-x", "%4", "x"},
		{"ce-x", "%zz", "x"},
		{"ce-x", "%C0%A0", "x"},
		{"ce-x", "%00", "x"},
		{"ce-x", `"a`, "x"},
		{"ce-x", `"a\`, "x"},
		{"ce-x", `"a"b`, "x"},
		{"ce-x", "\xff", "x"},
		{"ce-subject", "", "subject"},
		{"ce-dataschema", "%20", "dataschema"},
	} {
		if e, err := read("none", "", append(core, tt.name, tt.value)...); err == nil || err.Attribute != tt.attribute {
			t.Errorf("%s: %s: %q %v", tt.name, tt.value, e.Headers, err)
		}
	}
	if _, err := read("nonsense", "", core...); err == nil || err.Attribute != "datacontenttype" {
		t.Error(err)
	}
	if _, err := read("text/plain", "x"); err == nil || err.Attribute != "specversion" {
		t.Error(err)
	}
}

// TestPlainMessages become events by where they are.
func TestPlainMessages(t *testing.T) {
	var s jsonscan.Scanner
	half := record.AppendHeader(nil, []byte("ce_id"), []byte("1"))
	for _, tt := range []struct {
		m    record.Record
		want string
	}{
		{record.Record{TimeMs: 1522949460000, Value: []byte(`{"a":1}`), Key: []byte("k"), HasKey: true}, `,"time":"2018-04-05T17:31:00.000Z","partitionkey":"k","datacontenttype":"application/json","data":{"a":1}}`},
		{record.Record{TimeMs: 1, Value: []byte("text")}, `,"time":"1970-01-01T00:00:00.001Z","datacontenttype":"text/plain; charset=utf-8","data":"text"}`},
		{record.Record{TimeMs: 1<<63 - 1, Value: []byte{0xff}, Key: []byte{0xff}, HasKey: true}, `,"datacontenttype":"application/octet-stream","data_base64":"/w=="}`},
		{record.Record{TimeMs: 1, Headers: half}, `,"time":"1970-01-01T00:00:00.001Z"}`},
		{record.Record{TimeMs: 1, Headers: record.AppendHeader(nil, []byte("Content-Type"), []byte("text/csv")), Value: []byte("7")}, `,"time":"1970-01-01T00:00:00.001Z","datacontenttype":"text/csv","data":"7"}`},
		{record.Record{TimeMs: 1, Headers: record.AppendHeader(nil, []byte("content-type"), []byte("nonsense")), Value: []byte("7")}, `,"time":"1970-01-01T00:00:00.001Z","datacontenttype":"application/json","data":7}`},
	} {
		got := string(Append(nil, &tt.m, Place{"a.b", 3, 7}, &s))
		if want := `{"specversion":"1.0","id":"a.b/3/7","source":"/broker/topics/a.b","type":"ayder.message"` + tt.want; got != want {
			t.Errorf("%s, want\n%s", got, want)
		}
	}
}

// TestForeignHeaders: whatever stands in the headers of a message, what is made of it is JSON with every attribute once.
func TestForeignHeaders(t *testing.T) {
	var s jsonscan.Scanner
	var h []byte
	pairs := []string{
		"Ce_specversion", "1.0", "ce_id", "1", "CE_ID", "2", "ce_source", "/s", "ce_type", "t", "ce_data", "x", "ce_data_base64", "x", "ce_Ext", "v", "ce_ext", "w", "ce_bad", "\xff", "ce_a-b", "x",
		"ce_datacontenttype", "x/y", "ce_empty", "", "CE_EMPTY", "", "ce_" + strings.Repeat("n", 100), "x", "content-type", "a/json", "Content-Type", "b/c",
	}
	for i := 0; i < len(pairs); i += 2 {
		h = record.AppendHeader(h, []byte(pairs[i]), []byte(pairs[i+1]))
	}
	m := record.Record{Headers: h, Value: []byte("no json")}
	want := `{"specversion":"1.0","id":"1","source":"/s","type":"t","ext":"v","empty":"","datacontenttype":"a/json","data_base64":"bm8ganNvbg=="}`
	if got := string(Append(nil, &m, Place{}, &s)); got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
}
