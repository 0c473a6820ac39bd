package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ayder/internal/testkit/proc"
)

// Queries and joins against real servers: the examples of the contract, on both backends and in a cluster, and streams that hold
// what nobody expects.

// want compares an answer's member with JSON; numbers by their text.
func wantJSON(t *testing.T, what string, answer []byte, member, want string) {
	t.Helper()
	var m map[string]json.RawMessage
	if err := json.Unmarshal(answer, &m); err != nil {
		t.Fatalf("%s: %v: %.300s", what, err, answer)
	}
	var got, compact bytes.Buffer
	if err := json.Compact(&got, m[member]); err != nil {
		t.Fatalf("%s: %s: %v in %.500s", what, member, err, answer)
	}
	if err := json.Compact(&compact, []byte(want)); err != nil {
		t.Fatal(err)
	}
	if got.String() != compact.String() {
		t.Errorf("%s: %s is %s\nwant %s", what, member, got.Bytes(), compact.Bytes())
	}
}

// orders are the messages that the examples are about.
var orders = []string{
	`{"id":1,"country":"DE","amount":20.5,"ts":1700000000000}`,
	`{"id":2,"country":"FR","amount":11,"ts":1700000001000}`,
	`{"id":3,"country":"DE","amount":10,"ts":1700000002000}`,
	`not JSON`,
	`{"id":4,"country":"DE","amount":21,"ts":1700000050000}`,
	`{"id":5,"amount":12,"ts":"2023-11-14T22:14:20Z"}`,
	`{"id":6,"country":"FR","amount":30}`,
	`{"id":7,"country":"DE","amount":"30","ts":1700000060000}`,
}

// queryExample is the contract's.
const queryExample = `{"source":{"topic":"orders","partition":0,"group":"g1","offset":0,"limit":2000},
 "filter":[{"field":"amount","op":"gt","value":10}],
 "window":{"type":"tumbling","size_ms":60000,"ts_field":"ts"},
 "aggregate":{"group_by":["country"],"measures":[{"op":"count"},{"op":"sum","field":"amount","as":"total"}]},
 "transform":{"left_fields":["id","amount"],"emit_rows":10}}`

// mustMatchQueryExample judges the answer to it. 1700000000 s is 20 s into its minute.
func mustMatchQueryExample(t *testing.T, answer []byte) {
	t.Helper()
	wantJSON(t, "query", answer, "ok", `true`)
	wantJSON(t, "query", answer, "rows", `[{"id":1,"amount":20.5},{"id":2,"amount":11},{"id":4,"amount":21},{"id":5,"amount":12}]`)
	wantJSON(t, "query", answer, "aggregates", `[
		{"key":"country=DE","group":{"country":"DE"},"window_start_ms":1699999980000,"window_end_ms":1700000040000,"count":1,"total":20.5},
		{"key":"country=FR","group":{"country":"FR"},"window_start_ms":1699999980000,"window_end_ms":1700000040000,"count":1,"total":11},
		{"key":"country=null","group":{"country":null},"window_start_ms":1700000040000,"window_end_ms":1700000100000,"count":1,"total":12},
		{"key":"country=DE","group":{"country":"DE"},"window_start_ms":1700000040000,"window_end_ms":1700000100000,"count":1,"total":21}]`)
	wantJSON(t, "query", answer, "source", `{"topic":"orders","group":"g1","partition":0,"next_offset":8,"consumed":8}`)
	wantJSON(t, "query", answer, "stats", `{"scanned":8,"matched":4,"skipped":2}`)
	wantJSON(t, "query", answer, "truncated", `false`)
}

func TestQueryExample(t *testing.T) {
	eachBackend(t, func(t *testing.T, o proc.Options) {
		s := proc.Run(t, o)
		c := s.Connect(t)
		if err := c.CreateTopic("orders", 1); err != nil {
			t.Fatal(err)
		}
		for _, order := range orders {
			mustProduce(t, c, "orders", 0, []byte(order))
		}
		r, err := c.Post("/broker/query", []byte(queryExample))
		if err != nil || r.Status != 200 {
			t.Fatal(r.Status, err, string(r.Body))
		}
		mustMatchQueryExample(t, r.Body)
	})
}

// joinExample is the contract's.
const joinExample = `{"left": {"topic":"orders","partition":0,"group":"g","offset":0,"limit":1000,
          "decode":{"type":"avro","encoding":"binary","schema_text":"{\"type\":\"record\",\"name\":\"Order\",\"fields\":[{\"name\":\"id\",\"type\":\"long\"},{\"name\":\"user_id\",\"type\":\"long\"},{\"name\":\"amount\",\"type\":\"double\"},{\"name\":\"ts\",\"type\":\"long\"}]}","apply_defaults":true}},
 "right":{"topic":"pays","partition":0,"group":"g","offset":0,"limit":1000,
          "decode":{"type":"proto","encoding":"binary","schema_text":"syntax = \"proto3\"; message Pay { int64 userId = 1; string status = 2; int64 ts = 3; }","message":"Pay",
                    "field_aliases":{"user_id":["userId"]}}},
 "on":{"left_keys":["user_id"],"right_keys":["user_id"]},
 "join":{"type":"inner"},
 "window":{"size_ms":5000,"allowed_lateness_ms":1000,"ts_field":"ts"},
 "emit":{"left_fields":["id","amount"],"right_fields":["status"],"max_rows":1000,"missing_as":"null"},
 "dedupe_once":true}`

// avroOrder is an order in Avro's binary encoding, protoPay a payment in Protobuf's.
func avroOrder(id, user int64, amount float64, ts int64) []byte {
	b := binary.AppendVarint(binary.AppendVarint(nil, id), user) // zigzag, as Avro has it
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(amount))
	return binary.AppendVarint(b, ts)
}

func protoPay(user uint64, status string, ts uint64) []byte {
	b := binary.AppendUvarint([]byte{1 << 3}, user)
	b = append(append(b, 2<<3|2, byte(len(status))), status...)
	return binary.AppendUvarint(append(b, 3<<3), ts)
}

// produceJoinExample puts the messages in, broken ones among them.
func produceJoinExample(produce func(topic string, body []byte)) {
	for _, order := range [][]byte{
		avroOrder(1, 7, 20.5, 1_000_000), avroOrder(2, 8, 11, 1_002_000), {0x02}, avroOrder(3, 7, 5, 1_003_000),
	} {
		produce("orders", order)
	}
	for _, pay := range [][]byte{
		protoPay(7, "paid", 1_001_000), protoPay(9, "paid", 1_001_500), []byte("\xff\xff\xff"), protoPay(7, "again", 1_003_500),
	} {
		produce("pays", pay)
	}
}

func mustMatchJoinExample(t *testing.T, answer []byte) {
	t.Helper()
	wantJSON(t, "join", answer, "ok", `true`)
	wantJSON(t, "join", answer, "rows", `[
		{"key":"7","keys":["7"],"left_ts_ms":1000000,"right_ts_ms":1001000,"left":{"id":1,"amount":20.5},"right":{"status":"paid"}},
		{"key":"7","keys":["7"],"left_ts_ms":1003000,"right_ts_ms":1003500,"left":{"id":3,"amount":5},"right":{"status":"again"}}]`)
	wantJSON(t, "join", answer, "next_offsets", `{"left":4,"right":4}`)
	wantJSON(t, "join", answer, "stats", `{"left_scanned":4,"right_scanned":4,"left_skipped":1,"right_skipped":1,"rows":2,
		"outer_left":0,"outer_right":0,"late_left":0,"late_right":0,"watermark_ms":1002000,"dedupe_once":true}`)
	wantJSON(t, "join", answer, "truncated", `false`)
}

func TestJoinExample(t *testing.T) {
	eachBackend(t, func(t *testing.T, o proc.Options) {
		s := proc.Run(t, o)
		c := s.Connect(t)
		for _, topic := range []string{"orders", "pays"} {
			if err := c.CreateTopic(topic, 1); err != nil {
				t.Fatal(err)
			}
		}
		produceJoinExample(func(topic string, body []byte) { mustProduce(t, c, topic, 0, body) })
		r, err := c.Post("/broker/join", []byte(joinExample))
		if err != nil || r.Status != 200 {
			t.Fatal(r.Status, err, string(r.Body))
		}
		mustMatchJoinExample(t, r.Body)
		outer := strings.NewReplacer(`"inner"`, `"full"`, `"missing_as":"null"`, `"missing_as":"empty"`).Replace(joinExample)
		if r, err = c.Post("/broker/join", []byte(outer)); err != nil || r.Status != 200 {
			t.Fatal(r.Status, err, string(r.Body))
		}
		var m struct{ Stats map[string]any }
		if err := json.Unmarshal(r.Body, &m); err != nil || m.Stats["outer_left"] != 1.0 || m.Stats["outer_right"] != 1.0 || m.Stats["rows"] != 4.0 {
			t.Error(err, string(r.Body))
		}
		if r, err = c.Post("/broker/join", []byte(strings.Replace(joinExample, `"inner"`, `"cross"`, 1))); err != nil || r.Status != 400 || r.ErrorCode() != "bad_query" {
			t.Error(r.Status, err, string(r.Body))
		}
	})
}

// mustAnswerEverywhere asks every node: the leader answers for all that was acknowledged, a follower for what it has and says so.
func (g *group) mustAnswerEverywhere(path, request string, match func(*testing.T, []byte)) {
	g.t.Helper()
	var answers [][]byte
	g.steadily(func(leader *groupNode) error {
		answers = nil
		for _, n := range g.nodes {
			g.eventually(n.id+" has the messages", func() bool {
				s, err := leader.status()
				f, errF := n.status()
				return err == nil && errF == nil && f.Applied >= s.Applied
			})
			r, err := n.ask("POST", path, []byte(request))
			if err != nil || r.Status != 200 || n != leader && !strings.Contains(string(r.Body), `"role":"follower"`) {
				return fmt.Errorf("%s: %s, %v", n.id, r.String(), err)
			}
			answers = append(answers, r.Body)
			if r, err = n.ask("POST", path+"?consistency=leader", []byte(request)); err != nil || r.Status != 307 && n != leader {
				return fmt.Errorf("%s for the leader: %s, %v", n.id, r.String(), err)
			}
		}
		return nil
	})
	for _, answer := range answers {
		match(g.t, answer)
	}
}

func TestQueriesAndJoinsInACluster(t *testing.T) {
	t.Parallel()
	g := runGroup(t, 3, proc.Options{})
	for _, topic := range []string{"orders", "pays"} {
		g.any("POST", "/broker/topics", []byte(`{"name":"`+topic+`","partitions":2}`))
	}
	for _, order := range orders {
		g.put("orders", 0, []byte(order))
	}
	g.mustAnswerEverywhere("/broker/query", queryExample, mustMatchQueryExample)
	g.any("DELETE", "/broker/topics/orders", nil)
	g.any("POST", "/broker/topics", []byte(`{"name":"orders","partitions":1}`))
	produceJoinExample(func(topic string, body []byte) { g.put(topic, 0, body) })
	g.mustAnswerEverywhere("/broker/join", joinExample, mustMatchJoinExample)
}

func TestSchemasInACluster(t *testing.T) {
	t.Parallel()
	g := runGroup(t, 3, proc.Options{})
	g.steadily(func(leader *groupNode) error {
		for _, n := range g.others(leader) {
			if r, err := n.ask("POST", "/broker/schemas", []byte(`{"type":"avro","schema_text":"\"long\""}`)); err != nil || r.Status != 307 {
				return fmt.Errorf("%s: %s, %v", n.id, r.String(), err)
			}
		}
		return nil
	})
	if r := g.any("POST", "/broker/schemas", []byte(`{"type":"avro","schema_text":"\"long\""}`)); r.Status/100 != 2 {
		t.Fatal(r.Status, string(r.Body))
	}
	for _, n := range g.nodes {
		g.eventually("the node has the schema", func() bool {
			r, err := n.ask("GET", "/broker/schemas/1", nil)
			return err == nil && r.Status == 200 && strings.Contains(string(r.Body), `"schema_text":"\"long\""`)
		})
	}
}

// TestSchemasSurviveARestart registers schemas, kills the server and finds them under their ids.
func TestSchemasSurviveARestart(t *testing.T) {
	o := proc.Options{Dir: t.TempDir()}
	s := proc.Run(t, o)
	c := s.Connect(t)
	for i, text := range []string{`\"long\"`, `\"string\"`} {
		if r, err := c.Post("/broker/schemas", []byte(`{"type":"avro","schema_text":"`+text+`"}`)); err != nil || r.Status != 201 || !strings.Contains(string(r.Body), fmt.Sprintf(`"id":%d`, i+1)) {
			t.Fatal(r.Status, err, string(r.Body))
		}
	}
	s.Kill()
	c = proc.Run(t, o).Connect(t)
	if r, err := c.Post("/broker/schemas", []byte(`{"type":"avro","schema_text":"\"string\""}`)); err != nil || r.Status != 200 || !strings.Contains(string(r.Body), `"id":2`) {
		t.Error(r.Status, err, string(r.Body))
	}
}

// poison is what a stream should not hold, and how often; the good messages are `{"n":1}`.
func poison() (bad [][]byte) {
	deep := strings.Repeat(`{"a":`, 20_000) + `1` + strings.Repeat(`}`, 20_000)
	for _, text := range []string{
		``, ` `, `{`, `{"n":1`, `{"n":1}}`, `{"n":01}`, `{n:1}`, "\x00\x00\x00\x00\x07\x02", "\xff\xfe{\"n\":1}", `nul`, deep,
		strings.Repeat("[", 1_000_000), `{"n":1,"pad":"` + strings.Repeat("x", 10<<20),
	} {
		bad = append(bad, []byte(text))
	}
	return bad
}

// TestPoisonedStream has broken messages of all kinds among good ones: none stops a query or a join, and all are counted.
func TestPoisonedStream(t *testing.T) {
	eachBackend(t, func(t *testing.T, o proc.Options) {
		o.Args = append(o.Args, "--body-bytes=16MiB")
		s := proc.Run(t, o)
		c := s.Connect(t)
		if err := c.CreateTopic("p", 1); err != nil {
			t.Fatal(err)
		}
		bad, good := poison(), 0
		for _, message := range bad {
			mustProduce(t, c, "p", 0, message)
			mustProduce(t, c, "p", 0, []byte(`{"n":1}`))
			good++
		}
		mustProduce(t, c, "p", 0, []byte(`{"n":1,"pad":"`+strings.Repeat("x", 10<<20)+`"}`)) // large, and nothing is wrong with it
		mustProduce(t, c, "p", 0, []byte(strings.Repeat(`[`, 9_999)+strings.Repeat(`]`, 9_999)))
		r, err := c.Post("/broker/query", []byte(`{"source":{"topic":"p","partition":0},"aggregate":{"measures":[{"op":"count"},{"op":"sum","field":"n"}]}}`))
		if err != nil || r.Status != 200 {
			t.Fatal(r.Status, err, string(r.Body))
		}
		wantJSON(t, "poison", r.Body, "aggregates", fmt.Sprintf(`[{"key":"","group":{},"count":%d,"sum_n":%d}]`, good+2, good+1))
		wantJSON(t, "poison", r.Body, "stats", fmt.Sprintf(`{"scanned":%d,"matched":%d,"skipped":%d}`, 2*good+2, good+2, len(bad)))
		r, err = c.Post("/broker/query", []byte(`{"source":{"topic":"p","partition":0,"decode":{"type":"avro","encoding":"confluent"}}}`))
		if err != nil || r.Status != 200 {
			t.Fatal(r.Status, err, string(r.Body))
		}
		wantJSON(t, "of no schema", r.Body, "stats", fmt.Sprintf(`{"scanned":%d,"matched":0,"skipped":%d}`, 2*good+2, 2*good+2))
		r, err = c.Post("/broker/join", []byte(`{"left":{"topic":"p","partition":0},"right":{"topic":"p","partition":0},"on":{"left_key":"n","right_key":"n"},"emit":{"left_fields":["n"],"right_fields":["n"]},"dedupe_once":true}`))
		if err != nil || r.Status != 200 {
			t.Fatal(r.Status, err, string(r.Body))
		}
		var m struct{ Stats map[string]int }
		_ = json.Unmarshal(bytes.Replace(r.Body, []byte(`"dedupe_once":true`), []byte(`"dedupe_once":1`), 1), &m)
		if m.Stats["rows"] != good+1 || m.Stats["left_skipped"] != len(bad) || m.Stats["right_skipped"] != len(bad) {
			t.Errorf("join: %v", m.Stats)
		}
		mustProduce(t, c, "p", 0, []byte("still there"))
	})
}

// TestClientQueries runs the client's commands about queries and schemas.
func TestClientQueries(t *testing.T) {
	s := proc.Run(t, proc.Options{})
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	mustAsk(t, s.Addr, "", "topic", "create", "orders", "--partitions", "1")
	mustAsk(t, s.Addr, strings.Join(orders, "\n")+"\n", "produce", "orders", "--partition", "0")
	mustMatchQueryExample(t, []byte(mustAsk(t, s.Addr, "", "query", file("q.json", queryExample))))
	mustMatchQueryExample(t, []byte(mustAsk(t, s.Addr, queryExample, "query", "-", "--timeout", "20s")))
	join := `{"left":{"topic":"orders"},"right":{"topic":"orders"},"on":{"left_key":"id","right_key":"id"},"dedupe_once":true}`
	if out := mustAsk(t, s.Addr, join, "join", "-"); !strings.Contains(out, `"rows":7`) {
		t.Errorf("join: %s", out)
	}
	avro, proto := `{"type":"record","name":"R","fields":[]}`, `syntax = "proto3"; message M {}`
	for _, path := range []string{file("r.avsc", avro), file("m.proto", proto), file("r.avsc", avro)} {
		mustAsk(t, s.Addr, "", "schema", "add", path)
	}
	if out := mustAsk(t, s.Addr, "", "schema", "list"); strings.Count(out, "\n") != 3 {
		t.Errorf("list: %s", out)
	}
	for id, want := range map[string]string{"1": avro, "2": proto} {
		if out := mustAsk(t, s.Addr, "", "schema", "get", id); out != want+"\n" {
			t.Errorf("schema %s: %s", id, out)
		}
	}
	mustAsk(t, s.Addr, "", "topic", "create", "rows", "--partitions", "1")
	mustAsk(t, s.Addr, `{"name":"large","query":{"source":{"topic":"orders"},"filter":[{"field":"amount","op":"gt","value":20}],"transform":{"left_fields":["id"]}},"into":"rows"}`, "pipeline", "create", "-")
	deadline(t, "the pipeline has come to the end", func() bool {
		return strings.Contains(mustAsk(t, s.Addr, "", "pipeline", "describe", "large"), `"rows":3`)
	})
	if out := mustAsk(t, s.Addr, "", "consume", "rows"); out != `{"id":1}`+"\n"+`{"id":4}`+"\n"+`{"id":6}`+"\n" {
		t.Errorf("the pipeline wrote %s", out)
	}
	if out := mustAsk(t, s.Addr, "", "pipeline", "list"); !strings.Contains(out, `"large"`) {
		t.Errorf("list: %s", out)
	}
	mustAsk(t, s.Addr, "", "pipeline", "delete", "large")
	for _, c := range []struct {
		code  int
		input string
		args  []string
	}{
		{4, "", []string{"schema", "get", "9"}},
		{4, "", []string{"pipeline", "describe", "large"}},
		{2, "", []string{"schema", "get", "x"}},
		{1, "nonsense", []string{"schema", "add", "-", "--type", "avro"}},
		{2, "nonsense", []string{"schema", "add", "-", "--type", "xml"}},
		{1, "{}", []string{"query", "-"}},
		{4, `{"source":{"topic":"none"}}`, []string{"query", "-"}},
		{2, "", []string{"query", filepath.Join(dir, "none")}},
	} {
		if out, code := ask(t, s.Addr, c.input, c.args...); code != c.code {
			t.Errorf("ayder %v: exit status %d: %s", c.args, code, out)
		}
	}
}
