package api

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// query asks and wants success.
func (f *fixture) query(body string) map[string]any {
	f.t.Helper()
	status, m := f.call("POST", "/broker/query", body)
	if status != 200 {
		f.t.Fatalf("%s: %d %v", body, status, m)
	}
	return m
}

// at leads into an answer: names of members.
func at(m any, path ...string) any {
	for _, name := range path {
		o, _ := m.(map[string]any)
		m = o[name]
	}
	return m
}

// wantAt compares a part of an answer as JSON text.
func wantAt(t *testing.T, m any, want string, path ...string) {
	t.Helper()
	got, err := json.Marshal(at(m, path...))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%v is %s, want %s", path, got, want)
	}
}

// produceTo puts lines into a partition.
func (f *fixture) produceTo(topic string, partition int, lines ...string) {
	f.t.Helper()
	status, m := f.call("POST", fmt.Sprintf("/broker/topics/%s/produce-ndjson?partition=%d", topic, partition), strings.Join(lines, "\n"))
	if status != 200 {
		f.t.Fatal(status, m)
	}
}

func numbered(from, to int) (lines []string) {
	for i := from; i < to; i++ {
		lines = append(lines, fmt.Sprintf(`{"n":%d}`, i))
	}
	return lines
}

func TestQueryWhereReadingBegins(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics", `{"name":"t","partitions":2}`)
	f.produceTo("t", 1, numbered(0, 20)...)
	rows := `,"transform":{"emit_rows":1}}`
	for _, step := range []struct{ source, first, next string }{
		{`{"topic":"t","partition":1}`, `[{"n":0}]`, `1`},
		{`{"topic":"t","partition":1,"offset":7}`, `[{"n":7}]`, `8`},
		{`{"topic":"t","partition":1,"group":"g"}`, `[{"n":0}]`, `1`},
		{`commit 12`, ``, ``},
		{`{"topic":"t","partition":1,"group":"g"}`, `[{"n":12}]`, `13`},
		{`{"topic":"t","partition":1,"group":"g","offset":3}`, `[{"n":3}]`, `4`},
		{`{"topic":"t","partition":1,"group":"other"}`, `[{"n":0}]`, `1`},
		{`floor 15`, ``, ``},
		{`{"topic":"t","partition":1,"group":"g"}`, `[{"n":15}]`, `16`},
		{`{"topic":"t","partition":1}`, `[{"n":15}]`, `16`},
		{`{"topic":"t","partition":1,"offset":20}`, `[]`, `20`},
		{`{"topic":"t","partition":0}`, `[]`, `0`},
	} {
		var n int
		if _, err := fmt.Sscanf(step.source, "commit %d", &n); err == nil {
			f.call("POST", "/broker/commit", fmt.Sprintf(`{"topic":"t","group":"g","partition":1,"offset":%d}`, n))
			continue
		}
		if _, err := fmt.Sscanf(step.source, "floor %d", &n); err == nil {
			f.call("POST", "/broker/delete-before", fmt.Sprintf(`{"topic":"t","partition":1,"before_offset":%d}`, n))
			continue
		}
		m := f.query(`{"source":` + step.source + rows)
		wantAt(t, m, step.first, "rows")
		wantAt(t, m, step.next, "source", "next_offset")
	}
	for _, bad := range []struct {
		source, code string
		status       int
	}{
		{`{"topic":"t","partition":1,"offset":14}`, "offset_gone", 410},
		{`{"topic":"t","offsets":{"1":14}}`, "offset_gone", 410},
		{`{"topic":"t","partition":1,"offset":21}`, "offset_out_of_range", 416},
		{`{"topic":"t","partition":2}`, "unknown_partition", 404},
		{`{"topic":"t","offsets":{"2":0}}`, "unknown_partition", 404},
		{`{"topic":"none"}`, "unknown_topic", 404},
		{`{"topic":"no/name"}`, "bad_topic", 400},
		{`{"topic":"t","group":"no/name"}`, "bad_group", 400},
	} {
		status, m := f.call("POST", "/broker/query", `{"source":`+bad.source+`}`)
		if status != bad.status || m["error"] != bad.code {
			t.Errorf("%s: %d %v", bad.source, status, m)
		}
	}
}

// TestQueryGoesOnOverAllPartitions reads everything in small steps, each of which goes on where the one before ended.
func TestQueryGoesOnOverAllPartitions(t *testing.T) {
	f := newFixture(t, "auto", func(o *Options) { o.Loops = 2 })
	f.call("POST", "/broker/topics", `{"name":"t","partitions":5}`)
	want := 0
	for p, n := range []int{30, 0, 7, 1, 100} {
		if n > 0 {
			f.produceTo("t", p, numbered(1000*p, 1000*p+n)...)
		}
		want += n
	}
	seen := map[string]int{}
	offsets := `{}`
	for step := 0; ; step++ {
		m := f.query(fmt.Sprintf(`{"source":{"topic":"t","offsets":%s,"limit":9},"transform":{"emit_rows":100}}`, offsets))
		wantAt(t, m, `null`, "source", "partition")
		for _, row := range m["rows"].([]any) {
			text, _ := json.Marshal(row)
			seen[string(text)]++
		}
		next, _ := json.Marshal(at(m, "source", "next_offsets"))
		offsets = string(next)
		if m["truncated"] == false {
			break
		}
		wantAt(t, m, `"limit"`, "truncated_by")
		if step > want {
			t.Fatal("it does not get on")
		}
	}
	if len(seen) != want {
		t.Errorf("%d messages were seen, want %d", len(seen), want)
	}
	for row, n := range seen {
		if n != 1 {
			t.Errorf("%s was seen %d times", row, n)
		}
	}
	if offsets != `{"0":30,"1":0,"2":7,"3":1,"4":100}` {
		t.Errorf("next_offsets is %s", offsets)
	}
}

// TestQueryReadsPartitionsInTurns wants each of many partitions to have its share of a small limit.
func TestQueryReadsPartitionsInTurns(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics", `{"name":"t","partitions":4}`)
	for p := range 4 {
		f.produceTo("t", p, numbered(0, 50)...)
	}
	m := f.query(`{"source":{"topic":"t","limit":20}}`)
	wantAt(t, m, `{"0":5,"1":5,"2":5,"3":5}`, "source", "next_offsets")
	m = f.query(`{"source":{"topic":"t","limit":200}}`)
	wantAt(t, m, `false`, "truncated")
	wantAt(t, m, `200`, "stats", "scanned")
}

// TestQueryOfManyPages reads more than a page at a time, from sections of all sizes and from disk.
func TestQueryOfManyPages(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
	n := 0
	for _, size := range []int{1, 1023, 1, 2000, 1024, 3, 500} {
		f.produceTo("t", 0, numbered(n, n+size)...)
		n += size
	}
	f.log.set(func(m *memLog) { m.cold = true })
	sum := n * (n - 1) / 2
	m := f.query(`{"source":{"topic":"t","partition":0,"limit":100000},"aggregate":{"measures":[{"op":"count"},{"op":"sum","field":"n"}]}}`)
	wantAt(t, m, fmt.Sprintf(`[{"count":%d,"group":{},"key":"","sum_n":%d}]`, n, sum), "aggregates")
	wantAt(t, m, fmt.Sprint(n), "source", "next_offset")
	f.log.set(func(m *memLog) { m.damage = fmt.Errorf("a bad checksum") })
	if status, m := f.call("POST", "/broker/query", `{"source":{"topic":"t","partition":0}}`); status != 500 || m["error"] != "storage_damaged" {
		t.Error(status, m)
	}
}

// TestQueryOfLargeMessages has a page be full of bytes long before it is full of messages.
func TestQueryOfLargeMessages(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
	for i := range 20 {
		f.call("POST", "/broker/topics/t/produce?partition=0", fmt.Sprintf(`{"n":%d,"pad":%q}`, i, strings.Repeat("x", 300_000)))
	}
	f.call("POST", "/broker/topics/t/produce?partition=0", `{"n":20,"pad":"`+strings.Repeat("x", 7<<20)+`"}`)
	m := f.query(`{"source":{"topic":"t","partition":0},"aggregate":{"measures":[{"op":"count"},{"op":"max","field":"n"}]}}`)
	wantAt(t, m, `[{"count":21,"group":{},"key":"","max_n":20}]`, "aggregates")
	m = f.query(`{"source":{"topic":"t","partition":0},"transform":{"emit_rows":100}}`)
	wantAt(t, m, `false`, "truncated") // 13 MB fit
	c, r := f.dial()                   // the answer is sent as it is; what follows on the connection is in order
	for range 2 {
		if _, err := c.Write([]byte(post("/broker/query", `{"source":{"topic":"t","partition":0},"transform":{"emit_rows":100}}`) + get("/health"))); err != nil {
			t.Fatal(err)
		}
		if status, text := answer(t, r, "POST"); status != 200 || !json.Valid([]byte(text)) || len(text) < 13_000_000 {
			t.Fatalf("%d with %d bytes", status, len(text))
		}
		if status, text := answer(t, r, "GET"); status != 200 || text != `{"ok":true}` {
			t.Fatal(status, text)
		}
	}
	f.call("POST", "/broker/topics/t/produce?partition=0", `{"n":21,"pad":"`+strings.Repeat("x", 7<<20)+`"}`)
	m = f.query(`{"source":{"topic":"t","partition":0},"transform":{"emit_rows":100}}`)
	wantAt(t, m, `"output"`, "truncated_by")
	wantAt(t, m, `21`, "source", "next_offset")
}

func TestQueryOfRocketTopic(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1,"mode":"rocket"}`)
	f.produceTo("t", 0, numbered(0, 3000)...)
	m := f.query(`{"source":{"topic":"t","partition":0,"limit":100000},"aggregate":{"measures":[{"op":"count"}]}}`)
	wantAt(t, m, `[{"count":3000,"group":{},"key":""}]`, "aggregates")
}

func TestQueryScopes(t *testing.T) {
	f := newFixture(t, "auto")
	for _, name := range []string{"allowed.t", "t"} {
		f.call("POST", "/broker/topics", `{"name":"`+name+`"}`)
	}
	for _, c := range []struct {
		token, topic string
		status       int
	}{{"reader", "t", 200}, {"writer", "allowed.t", 403}, {"nobody", "t", 401}} {
		if status, m := f.call("POST", "/broker/query", `{"source":{"topic":"`+c.topic+`"}}`, "Authorization", "Bearer "+c.token); status != c.status {
			t.Errorf("%v: %d %v", c, status, m)
		}
	}
}

// TestQueryQueue fills the queue: who finds no place is told when to come again, and so is who waited too long.
func TestQueryQueue(t *testing.T) {
	f := newFixture(t, "auto", func(o *Options) { o.QueryWorkers = 1 })
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
	f.produceTo("t", 0, numbered(0, 3)...)
	leave := make(chan struct{})
	f.occupy(leave)
	body := `{"source":{"topic":"t","partition":0}}`
	patient, fromPatient := f.dial()
	hasty, fromHasty := f.dial()
	for c, path := range map[net.Conn]string{patient: "/broker/query", hasty: "/broker/query?timeout_ms=1"} {
		if _, err := c.Write([]byte(post(path, body))); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "two wait", func() bool { return len(f.server.workers.jobs) == 2 })
	for len(f.server.workers.jobs) < queriesQueuedMax {
		f.server.workers.add(func(*worker) {})
	}
	status, text, head := f.raw("POST", "/broker/query", body)
	if status != 503 || !strings.Contains(string(text), `"overloaded"`) || head.Get("Retry-After") == "" {
		t.Error(status, string(text), head)
	}
	time.Sleep(10 * time.Millisecond) // longer than the hasty one waits, however quick all this was
	close(leave)
	if status, text := answer(t, fromPatient, "POST"); status != 200 || !strings.Contains(text, `"scanned":3`) {
		t.Error(status, text)
	}
	if status, text := answer(t, fromHasty, "POST"); status != 503 || !strings.Contains(text, `"overloaded"`) {
		t.Error(status, text)
	}
}

// occupy keeps the only worker busy until leave is closed.
func (f *fixture) occupy(leave chan struct{}) {
	f.t.Helper()
	entered := make(chan struct{})
	if !f.server.workers.add(func(*worker) { close(entered); <-leave }) {
		f.t.Fatal("the queue is full")
	}
	<-entered
}

// TestQueryEndsWithItsClient holds a query up in the middle and ends its connection: in one way or the other it is not read to its end.
func TestQueryEndsWithItsClient(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		for _, how := range []string{"reset", "closed"} {
			f := newFixture(t, backend)
			f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
			f.produceTo("t", 0, numbered(0, 20*scanPageMessages)...)
			release := f.holdReads()
			c, _ := f.dial()
			if how == "reset" {
				if err := c.(*net.TCPConn).SetLinger(0); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := c.Write([]byte(post("/broker/query", `{"source":{"topic":"t","partition":0,"limit":100000}}`))); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "it runs", func() bool { return f.server.workers.running.Load() == 1 })
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			if how == "closed" {
				release(true) // page by page, until the server takes the silence for what it is
			} else {
				waitFor(t, "the connection has ended", func() bool { return f.net.Loops()[0].Stats().Conns == 0 })
				release(false)
			}
			waitFor(t, "it has ended", func() bool { return f.server.workers.running.Load() == 0 })
			if n := f.server.workers.scanned.Load(); n == 0 || n >= 20*scanPageMessages {
				t.Errorf("%s: %d messages were looked at", how, n)
			}
		}
	})
}

// holdReads lets no read go on until the result is called: slowly makes each take its time.
func (f *fixture) holdReads() (release func(slowly bool)) {
	gate := make(chan bool, 1)
	f.log.set(func(m *memLog) {
		m.gate = func() {
			if slowly := <-gate; slowly {
				time.Sleep(200 * time.Millisecond)
				gate <- true
			} else {
				gate <- false
			}
		}
	})
	return func(slowly bool) { gate <- slowly }
}

// TestQueryBugsCostTheRequest has an evaluation panic: it is answered, and the next one works.
func TestQueryBugsCostTheRequest(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
	f.produceTo("t", 0, numbered(0, 3)...)
	f.log.set(func(m *memLog) { m.gate = func() { panic("as a test") } })
	if status, m := f.call("POST", "/broker/query", `{"source":{"topic":"t"}}`); status != 500 || m["error"] != "internal" {
		t.Error(status, m)
	}
	f.log.set(func(m *memLog) { m.gate = nil })
	wantAt(t, f.query(`{"source":{"topic":"t"}}`), `3`, "stats", "scanned")
}

// TestQueryStopsInTime lets a query have so little time that it ends in the middle, and goes on from there.
func TestQueryStopsInTime(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
	f.produceTo("t", 0, numbered(0, 5*scanPageMessages)...)
	f.log.set(func(m *memLog) { m.gate = func() { time.Sleep(300 * time.Millisecond) } })
	path, offset, steps := "/broker/query?timeout_ms=200", 0, 0
	for ; ; steps++ {
		status, m := f.call("POST", path, fmt.Sprintf(`{"source":{"topic":"t","partition":0,"offset":%d,"limit":100000}}`, offset))
		if status != 200 {
			t.Fatal(status, m)
		}
		offset = int(at(m, "source", "next_offset").(float64))
		if m["truncated"] == false {
			break
		}
		wantAt(t, m, `"time"`, "truncated_by")
	}
	if offset != 5*scanPageMessages || steps == 0 {
		t.Errorf("%d messages in %d steps", offset, steps)
	}
}

// TestBadQueries has bodies that are no requests, small ones that the loop reads and large ones that are read elsewhere.
func TestBadQueries(t *testing.T) {
	f := badInputFixture(t)
	padding := strings.Repeat(" ", queryInlineBytes)
	for _, path := range []string{"/broker/query", "/broker/join"} {
		for body, code := range map[string]string{
			"": "bad_json", " ": "bad_json", "{": "bad_json", "{]": "bad_json", "[]": "bad_json", `"t"`: "bad_json", "1": "bad_json", "null": "bad_json", `{} {}`: "bad_json", "\xff": "bad_json",
			strings.Repeat(`{"a":`, 60_000) + "1" + strings.Repeat("}", 60_000): "", strings.Repeat("[", 60_000): "", `{"nope":1}`: "unknown_field", `{"Source":{}}`: "unknown_field",
			`{}`: "bad_query",
		} {
			for _, text := range []string{body, padding + body} {
				r := f.refused("POST", path, text)
				if r.status != 400 || code != "" && r.code != code {
					t.Errorf("%s %.60q: %+v", path, body, r)
				}
			}
		}
		f.refused("POST", path, strings.Repeat(" ", queryBodyMax+1)).want(t, path, 413, "body_too_large", "1048576")
		f.refused("POST", path, "x", "Content-Encoding", "gzip").want(t, path, 415, "unsupported_encoding", "gzip")
		for _, ms := range []string{"0", "30001", "600000"} {
			f.refused("POST", path+"?timeout_ms="+ms, goodBodies[path]).want(t, path, 400, "bad_parameter", "30000")
		}
	}
	for body, part := range map[string]string{
		`{"source":{"topic":"t","limit":0}}`:                                           "source.limit",
		`{"source":{"topic":"t","limit":100001}}`:                                      "source.limit",
		`{"source":{"topic":"t"},"filter":[{"field":"a","op":"like","value":1}]}`:      "filter[0]",
		`{"source":{"topic":"t"},"filter":[{"any":[{"field":"a","op":"eq"}]}]}`:        "filter[0].any[0]",
		`{"source":{"topic":"t"},"window":{"type":"sliding","size_ms":1}}`:             "window.type",
		`{"source":{"topic":"t"},"aggregate":{"measures":[{"op":"median"}]}}`:          "measures[0].op",
		`{"source":{"topic":"t"},"transform":{"emit_rows":-1}}`:                        "transform.emit_rows",
		`{"source":{"topic":"t","offset":0,"offsets":{"0":0}}}`:                        "offsets",
		`{"source":{"topic":"t","offsets":{"x":0}}}`:                                   "offsets",
		`{"source":{"topic":"t","decode":{"type":"xml"}}}`:                             "decode.type",
		`{"source":{"topic":"t"},"aggregate":{"group_by":["a"]}}`:                      "aggregate.measures",
		`{"source":{"topic":"t"},"aggregate":{"measures":[{"op":"sum"}]}}`:             "measures[0].field",
		`{"source":{"topic":"t"},"window":{"type":"hopping","size_ms":1000}}`:          "window",
		`{"source":{"topic":"t"},"filter":[{"field":"a..b","op":"eq","value":1}]}`:     "filter[0].field",
		`{"source":{"topic":"t"},"filter":[{"field":"a","op":"in","value":"scalar"}]}`: "filter[0].value",
	} {
		f.refused("POST", "/broker/query", body).want(t, body, 400, "bad_query", part)
	}
	if f.server.workers.ended.Load() != 0 {
		t.Error("a worker was asked")
	}
}

// TestQuerySumThatFitsNothing answers 422 and names the group.
func TestQuerySumThatFitsNothing(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
	f.produceTo("t", 0, `{"g":"a","n":18446744073709551615}`, `{"g":"b","n":9223372036854775807}`, `{"g":"b","n":1}`)
	q := `{"source":{"topic":"t"},"aggregate":{"group_by":["g"],"measures":[{"op":"sum","field":"n","as":"total"}]}}`
	_, text, _ := f.raw("POST", "/broker/query", q)
	if !strings.Contains(string(text), `"total":18446744073709551615}`) || !strings.Contains(string(text), `"total":9223372036854775808}`) {
		t.Errorf("sums are not exact: %s", text)
	}
	f.produceTo("t", 0, `{"g":"a","n":1}`)
	f.refused("POST", "/broker/query", q).want(t, "overflow", 422, "sum_overflow", `g=a`)
}
