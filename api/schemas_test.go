package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

const (
	orderSchema = `{"type":"record","name":"Order","fields":[{"name":"id","type":"long"},{"name":"country","type":"string"},{"name":"amount","type":"double"}]}`
	orderSpaced = `{ "type":"record","name":"Order","fields":[{"name":"id","type":"long"},{"name":"country","type":"string"},{"name":"amount","type":"double"}]}`
)

// register registers an Avro schema and wants an answer.
func (f *fixture) register(text string, status int) map[string]any {
	f.t.Helper()
	quoted, err := json.Marshal(text)
	if err != nil {
		f.t.Fatal(err)
	}
	got, m := f.call("POST", "/broker/schemas", `{"type":"avro","schema_text":`+string(quoted)+`}`)
	if got != status {
		f.t.Fatalf("%s: %d %v, want %d", text, got, m, status)
	}
	return m
}

func TestSchemaRegistry(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend, func(o *Options) {
			if backend == "uring" {
				o.Loops = 3
			}
		})
		wantAt(t, f.register(orderSchema, 201), `1`, "id")
		wantAt(t, f.register(`"string"`, 201), `2`, "id")
		for range 5 { // on connections of all loops
			wantAt(t, f.register(orderSchema, 200), `1`, "id")
		}
		wantAt(t, f.register(orderSpaced, 201), `3`, "id")
		_, m := f.call("GET", "/broker/schemas", "")
		wantAt(t, m, `[{"id":1,"type":"avro"},{"id":2,"type":"avro"},{"id":3,"type":"avro"}]`, "schemas")
		wantAt(t, m, `3`, "count")
		_, m = f.call("GET", "/broker/schemas/2", "")
		wantAt(t, m, `{"id":2,"ok":true,"schema_text":"\"string\"","type":"avro"}`)
	})
}

func TestSchemaRefusals(t *testing.T) {
	f := newFixture(t, "auto")
	for _, c := range []struct {
		body, code, part string
		status           int
	}{
		{`{"schema_text":"\"string\""}`, "bad_schema", "type", 400},
		{`{"type":"avro"}`, "bad_schema", "schema_text", 400},
		{`{"type":"xml","schema_text":"<a/>"}`, "bad_schema", "xml", 400},
		{`{"type":"avro","schema_text":"{"}`, "bad_schema", "", 400},
		{`{"type":"avro","schema_text":"\"strings\""}`, "bad_schema", "strings", 400},
		{`{"type":"avro","schema_text":"\"string\"","message":"M"}`, "bad_schema", "message", 400},
		{`{"type":"avro","descriptor_set_b64":"=="}`, "bad_schema", "descriptor_set_b64", 400},
		{`{"type":"proto","schema_text":"x","descriptor_set_b64":"AAAA"}`, "bad_schema", "exclude", 400},
		{`{"type":"avro","schema":"\"string\""}`, "unknown_field", "schema", 400},
		{`{"type":1}`, "bad_json", "type", 400},
		{`[]`, "bad_json", "", 400},
		{``, "bad_json", "empty", 400},
		{strings.Repeat(" ", queryBodyMax+1), "body_too_large", "1048576", 413},
		{`{"type":"avro","schema_text":"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\"],\"doc\":\"` + strings.Repeat("d", 300_000) + `\"}"}`, "bad_schema", "", 400},
	} {
		f.refused("POST", "/broker/schemas", c.body).want(t, c.body, c.status, c.code, c.part)
	}
	for _, path := range []string{"0", "1", "4294967295"} {
		f.refused("GET", "/broker/schemas/"+path, "").want(t, path, 404, "unknown_schema", path)
	}
	for _, path := range []string{"x", "-1", "4294967296", ""} {
		f.refused("GET", "/broker/schemas/"+path, "").want(t, path, 400, "bad_parameter", "")
	}
	_, m := f.call("GET", "/broker/schemas", "")
	wantAt(t, m, `[]`, "schemas")
}

// avroOrder is a message of orderSchema.
func avroOrder(id byte, country string) string {
	return string([]byte{2 * id, byte(2 * len(country))}) + country + "\x00\x00\x00\x00\x00\x00\xe0?" // 0.5
}

// TestQueryBySchemas decodes by a text, by an id and by the ids that messages have; broken messages and unknown ids are skipped.
func TestQueryBySchemas(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics", `{"name":"t","partitions":2}`)
	f.register(orderSchema, 201)
	for i, message := range []string{avroOrder(1, "DE"), "broken", avroOrder(2, "FR"), "", avroOrder(3, "DE")} {
		f.call("POST", "/broker/topics/t/produce?partition=0", message)
		header := "\x00\x00\x00\x00\x01"
		if i == 2 {
			header = "\x00\x00\x00\x00\x07"
		}
		f.call("POST", "/broker/topics/t/produce?partition=1", header+message)
	}
	quoted, _ := json.Marshal(orderSchema)
	for _, c := range []struct{ source, aggregates, skipped string }{
		{`"partition":0,"decode":{"type":"avro","schema_text":` + string(quoted) + `}`, `[{"count":2,"group":{"country":"DE"},"key":"country=DE"},{"count":1,"group":{"country":"FR"},"key":"country=FR"}]`, `2`},
		{`"partition":0,"decode":{"type":"avro","schema_id":1}`, `[{"count":2,"group":{"country":"DE"},"key":"country=DE"},{"count":1,"group":{"country":"FR"},"key":"country=FR"}]`, `2`},
		{`"partition":1,"decode":{"type":"avro","encoding":"confluent"}`, `[{"count":2,"group":{"country":"DE"},"key":"country=DE"}]`, `3`},
	} {
		m := f.query(`{"source":{"topic":"t",` + c.source + `},"aggregate":{"group_by":["country"],"measures":[{"op":"count"}]}}`)
		wantAt(t, m, c.aggregates, "aggregates")
		wantAt(t, m, c.skipped, "stats", "skipped")
		wantAt(t, m, `5`, "source", "next_offset")
	}
	for _, c := range []struct{ decode, part string }{
		{`{"type":"avro"}`, "source: decode"},
		{`{"type":"avro","schema_id":2}`, "source: decode.schema_id"},
		{`{"type":"avro","schema_text":"nonsense"}`, "source: the Avro schema"},
		{`{"type":"json","schema_id":1}`, "source: decode"},
		{`{"type":"xml"}`, "source.decode.type"},
		{`{"kind":"avro"}`, "source.decode"},
	} {
		r := f.refused("POST", "/broker/query", `{"source":{"topic":"t","decode":`+c.decode+`}}`)
		if r.status != 400 || !strings.Contains(r.message, c.part) {
			t.Errorf("%s: %+v", c.decode, r)
		}
	}
}

// TestJoinOverAllPartitions joins two topics of several partitions, and goes on from where it stopped.
func TestJoinOverAllPartitions(t *testing.T) {
	f := newFixture(t, "auto", func(o *Options) { o.Loops = 2 })
	f.call("POST", "/broker/topics", `{"name":"l","partitions":3}`)
	f.call("POST", "/broker/topics", `{"name":"r","partitions":2}`)
	const n = 60
	for i := range n {
		f.produceTo("l", i%3, fmt.Sprintf(`{"k":%d,"ts":%d}`, i, 1000*i))
		f.produceTo("r", i%2, fmt.Sprintf(`{"key":"%d","ts":%d}`, i, 1000*i+5), fmt.Sprintf(`{"key":%d,"ts":%d}`, i, 1000*i+10))
	}
	seen := map[string]bool{}
	left, right := `{}`, `{}`
	for step := 0; ; step++ {
		status, m := f.call("POST", "/broker/join", fmt.Sprintf(`{"left":{"topic":"l","offsets":%s,"limit":20},"right":{"topic":"r","offsets":%s,"limit":40},
			"on":{"left_key":"k","right_key":"key"},"window":{"size_ms":100,"ts_field":"ts","allowed_lateness_ms":5000}}`, left, right))
		if status != 200 {
			t.Fatal(status, m)
		}
		for _, row := range m["rows"].([]any) {
			wantAt(t, row, fmt.Sprintf(`"%s"`, at(row, "key")), "key")
			seen[at(row, "key").(string)] = true
		}
		if m["truncated"] == false {
			break
		}
		l, _ := json.Marshal(at(m, "resume_offsets", "left"))
		r, _ := json.Marshal(at(m, "resume_offsets", "right"))
		if left == string(l) && right == string(r) || step > 10*n {
			t.Fatalf("it does not get on from %s and %s: %v", l, r, m)
		}
		left, right = string(l), string(r)
	}
	if len(seen) != n {
		t.Errorf("%d pairs were seen, want %d", len(seen), n)
	}
}

func TestJoinRefusals(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics", `{"name":"t","partitions":2}`)
	on := `,"on":{"left_key":"a","right_key":"a"}`
	for _, c := range []struct {
		body, code, part string
		status           int
	}{
		{`{"left":{"topic":"t"},"right":{"topic":"t"}` + on + `,"join":{"type":"cross"}}`, "bad_query", "join.type", 400},
		{`{"left":{"topic":"t"},"right":{"topic":"none"}` + on + `}`, "unknown_topic", "none", 404},
		{`{"left":{"topic":"t","offset":1},"right":{"topic":"t"}` + on + `}`, "offset_out_of_range", "", 416},
		{`{"left":{"topic":"t"},"right":{"topic":"t"}}`, "bad_query", "on", 400},
		{`{"left":{"topic":"t"}` + on + `}`, "bad_query", "right.topic", 400},
		{`{"left":{"topic":"t"},"right":{"topic":"t","decode":{"type":"avro"}}` + on + `}`, "bad_query", "right: decode", 400},
		{`{"left":{"topic":"t"},"right":{"topic":"t"},"on":{"left_key":"a","right_keyz":"a"}}`, "unknown_field", "right_keyz", 400},
		{`{"left":{"topic":"t"},"right":{"topic":"t","partition":2}` + on + `}`, "unknown_partition", "2 partitions", 404},
	} {
		f.refused("POST", "/broker/join", c.body).want(t, c.body, c.status, c.code, c.part)
	}
	f.refused("POST", "/broker/join", goodBodies["/broker/join"], "Authorization", "Bearer writer").want(t, "role", 403, "forbidden", "read")
}
