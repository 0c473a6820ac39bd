package api

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// event is a JSON event with this id and more.
func cloudEvent(id, more string) string {
	return `{"specversion":"1.0","id":"` + id + `","type":"t","source":"/s"` + more + `}`
}

// send posts events and wants this status.
func (f *fixture) send(path, body string, status int, header ...string) map[string]any {
	f.t.Helper()
	if len(header) == 0 {
		header = []string{"Content-Type", cloudType}
	}
	got, m := f.call("POST", "/cloudevents/"+path, body, header...)
	if got != status {
		f.t.Fatalf("POST %s %.200s: %d %v", path, body, got, m)
	}
	return m
}

func (f *fixture) sendBatch(path, body string, status int) map[string]any {
	f.t.Helper()
	return f.send(path, body, status, "Content-Type", cloudBatchType+"; charset=utf-8")
}

// events reads a batch, and where to go on.
func (f *fixture) events(path string) (events []map[string]any, next string) {
	f.t.Helper()
	status, text, header := f.raw("GET", "/cloudevents/"+path, "")
	if err := json.Unmarshal(text, &events); status != 200 || err != nil || header.Get("Content-Type") != cloudBatchType {
		f.t.Fatalf("%s: %d %s %v", path, status, text, err)
	}
	next = header.Get("Ayder-Next-Offset")
	if link := header.Get("Link"); !strings.HasPrefix(link, "</cloudevents/") || !strings.HasSuffix(link, "&offset="+next+`>; rel="next"`) {
		f.t.Errorf("Link: %s", link)
	}
	return events, next
}

func ids(events []map[string]any) (all []string) {
	for _, e := range events {
		all = append(all, e["id"].(string))
	}
	return all
}

func TestCloudEventsInEveryMode(t *testing.T) {
	f := newFixture(t, "evio")
	f.createTopic("t", 1)
	if m := f.send("t", cloudEvent("1", `,"data":{"a":1},"time":"2018-04-05T17:31:00Z","n":5`), 200); m["offset"] != 0.0 || m["synced"] != true || m["durable"] != true {
		t.Fatal(m)
	}
	m := f.send("t", "plain \x00", 200, "Content-Type", "application/octet-stream", "ce-specversion", "1.0", "ce-id", "2", "ce-type", "t", "ce-source", "/s", "ce-name", "%E2%82%AC")
	if m["offset"] != 1.0 {
		t.Fatal(m)
	}
	m = f.sendBatch("t", "["+cloudEvent("3", `,"datacontenttype":"text/plain","data":"x","partitionkey":"k"`)+","+cloudEvent("4", `,"data_base64":"/w=="`)+"]", 200)
	if m["first_offset"] != 2.0 || m["count"] != 2.0 || m["offsets"] != nil {
		t.Fatal(m)
	}
	f.putOne("t", 0, `{"plain":true}`)
	events, next := f.events("t")
	if !slices.Equal(ids(events), []string{"1", "2", "3", "4", "t/0/4"}) || next != "5" {
		t.Fatal(events, next)
	}
	want := []string{
		`{"data":{"a":1},"datacontenttype":"application/json","id":"1","n":"5","source":"/s","specversion":"1.0","time":"2018-04-05T17:31:00Z","type":"t"}`,
		`{"data_base64":"cGxhaW4gAA==","datacontenttype":"application/octet-stream","id":"2","name":"€","source":"/s","specversion":"1.0","type":"t"}`,
		`{"data":"x","datacontenttype":"text/plain","id":"3","partitionkey":"k","source":"/s","specversion":"1.0","type":"t"}`,
		`{"data_base64":"/w==","id":"4","source":"/s","specversion":"1.0","type":"t"}`,
	}
	for i := range want {
		if got, _ := json.Marshal(events[i]); string(got) != want[i] {
			t.Errorf("%s, want\n%s", got, want[i])
		}
	}
	// Who knows nothing of events reads messages: data, headers, key and time.
	_, page := f.call("GET", "/broker/consume/t/g/0?limit=3", "")
	first, third := page["messages"].([]any)[0].(map[string]any), page["messages"].([]any)[2].(map[string]any)
	if first["value"] != `{"a":1}` || first["ts_ms"] != 1522949460000.0 || first["key"] != nil || third["key"] != "k" || third["value"] != "x" {
		t.Errorf("%v %v", first, third)
	}
	if h := first["headers"].(map[string]any); h["ce_id"] != "1" || h["content-type"] != "application/json" || h["ce_n"] != "5" {
		t.Error(h)
	}
	// And an event that was produced as a message is one.
	f.putOne("t", 0, "7", "X-Ayder-H-ce_specversion", "1.0", "X-Ayder-H-ce_id", "own", "X-Ayder-H-ce_type", "t", "X-Ayder-H-ce_source", "/s", "X-Ayder-H-content-type", "application/json")
	if events, _ = f.events("t?offset=5"); len(events) != 1 || events[0]["id"] != "own" || events[0]["data"] != 7.0 {
		t.Error(events)
	}
}

// TestCloudEventsOnce: source and id are an idempotency key, over requests, modes, batches and what is still in flight.
func TestCloudEventsOnce(t *testing.T) {
	f := newFixture(t, "evio")
	f.createTopic("t", 8)
	m := f.send("t", cloudEvent("1", ""), 200)
	partition := m["partition"]
	again := f.send("t", cloudEvent("1", `,"data":"other"`), 200)
	if again["duplicate"] != true || again["offset"] != m["offset"] || again["partition"] != partition || again["synced"] != nil {
		t.Fatal(again)
	}
	again = f.send("t", "", 200, "ce-specversion", "1.0", "ce-id", "1", "ce-type", "u", "ce-source", "/s")
	if again["duplicate"] != true || again["partition"] != partition {
		t.Fatal(again)
	}
	if other := f.send("t", strings.Replace(cloudEvent("1", ""), "/s", "/other", 1), 200); other["duplicate"] != nil {
		t.Fatal(other)
	}
	if other := f.send("t?dedupe=0&partition=0", cloudEvent("1", ""), 200); other["duplicate"] != nil {
		t.Fatal(other)
	}
	// A batch in a partition: some are new, some not, one is in it twice.
	m = f.sendBatch("t?partition=3", "["+cloudEvent("a", "")+","+cloudEvent("b", "")+"]", 200)
	if m["first_offset"] != 0.0 || m["count"] != 2.0 {
		t.Fatal(m)
	}
	m = f.sendBatch("t?partition=3", "["+strings.Join([]string{cloudEvent("b", ""), cloudEvent("c", ""), cloudEvent("a", ""), cloudEvent("c", ""), cloudEvent("d", "")}, ",")+"]", 200)
	if offsets := fmt.Sprint(m["offsets"]); offsets != "[1 2 0 2 3]" || m["duplicates"] != 3.0 || m["count"] != 5.0 || m["synced"] != true || m["duplicate"] != nil {
		t.Fatal(m)
	}
	m = f.sendBatch("t?partition=3", "["+cloudEvent("d", "")+","+cloudEvent("a", "")+"]", 200)
	if offsets := fmt.Sprint(m["offsets"]); offsets != "[3 0]" || m["duplicate"] != true || m["duplicates"] != 2.0 {
		t.Fatal(m)
	}
	if events, _ := f.events("t?partition=3"); !slices.Equal(ids(events), []string{"a", "b", "c", "d"}) {
		t.Fatal(events)
	}
	// Long names are kept as a hash; a key of the request's own stands instead of the events'.
	long := strings.Repeat("x", 600)
	for i, want := range []any{nil, true} {
		if m = f.send("t?partition=4", cloudEvent(long, ""), 200); m["duplicate"] != want {
			t.Error(i, m)
		}
		if m = f.send("t?partition=5&idempotency_key=own", cloudEvent(strconv.Itoa(i), ""), 200); m["duplicate"] != want {
			t.Error(i, m)
		}
	}
	if m = f.send("t?partition=4", cloudEvent(long+"y", ""), 200); m["duplicate"] != nil {
		t.Error(m)
	}
}

// TestCloudEventsInFlight: who repeats an event whose commit is not done waits for that commit.
func TestCloudEventsInFlight(t *testing.T) {
	f := newFixture(t, "evio")
	f.createTopic("t", 1)
	f.log.set(func(m *memLog) { m.hold = true })
	request := func(body, media string) string {
		return "POST /cloudevents/t HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dev\r\nContent-Type: " + media + "\r\nContent-Length: " + itoa(len(body)) + "\r\n\r\n" + body
	}
	bodies := []string{request(cloudEvent("1", ""), cloudType), request(cloudEvent("1", ""), cloudType), request("["+cloudEvent("1", "")+","+cloudEvent("2", "")+"]", cloudBatchType), request("["+cloudEvent("2", "")+","+cloudEvent("1", "")+"]", cloudBatchType)}
	type result struct {
		i    int
		text string
	}
	results := make(chan result)
	for i, body := range bodies {
		c, r := f.dial()
		if _, err := c.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the request is executed", func() bool { return f.owed() == i+1 })
		go func() {
			_, text := answer(t, r, "POST")
			results <- result{i, text}
		}()
	}
	f.log.release()
	for range bodies {
		r := <-results
		want := []string{`"offset":0,`, `"duplicate":true`, `"duplicates":1,"offsets":[0,1]`, `"duplicates":2,"offsets":[1,0]`}[r.i]
		if !strings.Contains(r.text, want) || !strings.Contains(r.text, `"durable":true`) {
			t.Errorf("%d: %s", r.i, r.text)
		}
	}
}

// owed is how many answers wait for a commit.
func (f *fixture) owed() (n int) {
	done := make(chan int)
	l := f.server.loops[0]
	l.net.Post(func() {
		n := 0
		for _, c := range append(slices.Clone(l.flight), l.open) {
			if c != nil {
				n += len(c.waiters)
			}
		}
		done <- n
	})
	return <-done
}

func TestCloudEventsPlaces(t *testing.T) {
	f := newFixture(t, readsOn(t), func(o *Options) { o.Loops = 2 })
	f.createTopic("t", 8)
	_, m := f.call("POST", "/broker/topics/t/produce?key=k", "")
	home := m["partition"]
	for _, path := range []string{"t?key=k", "t?key=k&dedupe=0"} {
		if m := f.send(path, cloudEvent("1", `,"partitionkey":"other"`), 200); m["partition"] != home {
			t.Error(m)
		}
	}
	for i := range 4 {
		if m := f.send("t", cloudEvent("by key "+strconv.Itoa(i), `,"partitionkey":"k"`), 200); m["partition"] != home {
			t.Error(m)
		}
	}
	keyed := func(keys ...string) string {
		var b strings.Builder
		for i, k := range keys {
			b.WriteString("," + cloudEvent("batch "+k+strconv.Itoa(i), map[bool]string{true: `,"partitionkey":"` + k + `"`}[k != ""]))
		}
		return "[" + b.String()[1:] + "]"
	}
	if m := f.sendBatch("t", keyed("", "k", "", "k"), 200); m["partition"] != home || m["count"] != 4.0 {
		t.Error(m)
	}
	if m := f.sendBatch("t", keyed("a", "b", "c", "d", "e"), 400); m["error"] != "bad_cloudevent" || m["attribute"] != "partitionkey" || m["index"] == nil {
		t.Error(m)
	}
	if m := f.sendBatch("new", keyed("a", "b", "c", "d", "e"), 400); m["attribute"] != "partitionkey" {
		t.Error(m)
	}
	for _, where := range []string{"partition=2", "key=k"} {
		if m := f.sendBatch("t?"+where, keyed("a", "b", "c", "d", "e"), 200); m["count"] != 5.0 {
			t.Error(m)
		}
	}
	seen := map[any]bool{}
	for i := range 64 { // keyless events are spread, and each is found again
		m := f.send("t", cloudEvent(strconv.Itoa(i), ""), 200)
		if again := f.send("t", cloudEvent(strconv.Itoa(i), ""), 200); again["duplicate"] != true || again["partition"] != m["partition"] {
			t.Fatal(m, again)
		}
		seen[m["partition"]] = true
	}
	if len(seen) < 6 {
		t.Errorf("64 events are in %d partitions", len(seen))
	}
	// An unknown topic is created, as by a produce.
	if m := f.send("made", cloudEvent("1", ""), 200); m["offset"] != 0.0 {
		t.Error(m)
	}
	if m := f.sendBatch("made2", keyed("k"), 200); m["first_offset"] != 0.0 {
		t.Error(m)
	}
}

func TestCloudEventsRefused(t *testing.T) {
	f := newFixture(t, "evio", func(o *Options) { o.AutoCreate = false })
	f.createTopic("allowed.t", 2)
	f.createTopic("other", 2)
	if status, m := f.call("POST", "/broker/topics", `{"name":"fast","partitions":1,"mode":"rocket"}`); status != 201 {
		t.Fatal(m)
	}
	one := cloudEvent("1", "")
	for _, tt := range []struct {
		path, media, body string
		status            int
		code, part        string
	}{
		{"none", cloudType, one, 404, "unknown_topic", ""},
		{"other?partition=2", cloudType, one, 404, "unknown_partition", ""},
		{"other?dedupe=2", cloudType, one, 400, "bad_parameter", "dedupe"},
		{"other?expected_offset=1", cloudType, one, 400, "unknown_parameter", ""},
		{"other", cloudType, "", 400, "bad_cloudevent", "JSON"},
		{"other", cloudType, "[" + one + "]", 400, "bad_cloudevent", "object"},
		{"other", cloudType, `{"specversion":"1.0"}`, 400, "bad_cloudevent", "id: "},
		{"other", cloudType, cloudEvent("1", `,"time":"noon"`), 400, "bad_cloudevent", "time: "},
		{"other", cloudBatchType, one, 400, "bad_cloudevent", "array"},
		{"other", cloudBatchType, "[" + one + `,{"specversion":"1.0","id":"2","type":"t"}]`, 400, "bad_cloudevent", "event 1: source: "},
		{"other", "text/plain", "x", 400, "bad_cloudevent", "specversion: "},
		{"other", "application/cloudevents+avro", "x", 415, "unsupported_media_type", "avro"},
		{"other", "application/cloudevents-batch+xml", "x", 415, "unsupported_media_type", "xml"},
		{"other", "application/cloudevents", one, 415, "unsupported_media_type", ""},
		{"other", cloudType, cloudEvent("1", `,"partitionkey":"`+strings.Repeat("k", keyBytesMax+1)+`"`), 400, "bad_key", "partitionkey"},
		{"fast?dedupe=1", cloudType, one, 400, "needs_sealed", "dedupe"},
		{"fast?idempotency_key=a", cloudType, one, 400, "needs_sealed", ""},
	} {
		status, m := f.call("POST", "/cloudevents/"+tt.path, tt.body, "Content-Type", tt.media)
		if message, _ := m["message"].(string); status != tt.status || m["error"] != tt.code || !strings.Contains(message, tt.part) {
			t.Errorf("%s %s %.100s: %d %v", tt.path, tt.media, tt.body, status, m)
		}
	}
	if status, m := f.call("POST", "/cloudevents/other", "x", "Content-Type", "text/plain", "ce-specversion", "1.0", "ce-id", "", "ce-type", "t", "ce-source", "/s"); status != 400 || m["attribute"] != "id" {
		t.Error(status, m)
	}
	if events, _ := f.events("other"); len(events) != 0 {
		t.Errorf("something was appended: %v", events)
	}
	for token, want := range map[string][2]int{"reader": {403, 200}, "writer": {200, 403}, "nobody": {401, 401}} {
		post, _ := f.call("POST", "/cloudevents/allowed.t", one, "Content-Type", cloudType, "Authorization", "Bearer "+token)
		get, _, _ := f.raw("GET", "/cloudevents/allowed.t", "", "Authorization", "Bearer "+token)
		if post != want[0] || get != want[1] {
			t.Errorf("%s: %d %d", token, post, get)
		}
	}
	if status, _ := f.call("POST", "/cloudevents/other", one, "Content-Type", cloudType, "Authorization", "Bearer writer"); status != 403 {
		t.Errorf("another prefix: %d", status)
	}
	// A rocket topic takes events, and remembers none.
	for range 2 {
		if m := f.send("fast", one, 200); m["duplicate"] != nil || m["mode"] != "rocket" {
			t.Error(m)
		}
	}
	if m := f.sendBatch("fast", "["+one+","+one+"]", 200); m["count"] != 2.0 || m["first_offset"].(float64) < 2 {
		t.Error(m)
	}
	if m := f.sendBatch("other", "[]", 200); m["count"] != 0.0 {
		t.Error(m)
	}
}

// TestLargeAndCompressedEvents are read by another goroutine.
func TestLargeAndCompressedEvents(t *testing.T) {
	f := newFixture(t, readsOn(t), func(o *Options) { o.Loops = 2 })
	f.createTopic("t", 4)
	var b strings.Builder
	const count = 5000
	for i := range count {
		b.WriteString("," + cloudEvent(strconv.Itoa(i), `,"data":{"n":`+strconv.Itoa(i)+`}`))
	}
	batch := "[" + b.String()[1:] + "]"
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write([]byte(batch)); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	for p := range 4 {
		for round, body := range []string{batch, packed.String()} {
			header := []string{"Content-Type", cloudBatchType}
			if round == 1 {
				header = append(header, "Content-Encoding", "gzip")
			}
			m := f.send("t?partition="+strconv.Itoa(p), body, 200, header...)
			if m["count"] != float64(count) || round == 1 && (m["duplicate"] != true || m["duplicates"] != float64(count)) || round == 0 && m["offsets"] != nil {
				t.Fatalf("%.300s", fmt.Sprint(m))
			}
		}
		next := "0"
		for n := 0; n < count; {
			events, to := f.events(fmt.Sprintf("t?partition=%d&offset=%s&limit=1000", p, next))
			for _, e := range events {
				if e["id"] != strconv.Itoa(n) {
					t.Fatal(e, n)
				}
				n++
			}
			next = to
		}
	}
	if m := f.sendBatch("t?partition=0", batch[:len(batch)-1], 400); m["error"] != "bad_cloudevent" {
		t.Error(m)
	}
	big := cloudEvent("big", `,"data":"`+strings.Repeat("x", 100_000)+`"`)
	if m := f.send("t", big, 200); m["synced"] != true {
		t.Error(m)
	}
	if m := f.send("t", strings.Repeat("x", 100_000), 200, "ce-specversion", "1.0", "ce-id", "b", "ce-type", "t", "ce-source", "/s"); m["synced"] != true {
		t.Error(m)
	}
}

func TestCloudEventsAreWaitedForAndFollowed(t *testing.T) {
	f := newFixture(t, "evio")
	f.createTopic("t", 1)
	if events, next := f.events("t"); len(events) != 0 || next != "0" {
		t.Error(events, next)
	}
	got := make(chan []map[string]any)
	go func() {
		events, _ := f.events("t?wait_ms=30000&max_bytes=10000")
		got <- events
	}()
	f.awaitWaiting(1)
	f.send("t", cloudEvent("1", `,"data":"a\nb"`), 200)
	if events := <-got; !slices.Equal(ids(events), []string{"1"}) {
		t.Error(events)
	}
	plain := f.follow("/broker/consume/t/g/0", eventsType)
	s, other := f.follow("/cloudevents/t?offset=0", eventsType), f.follow("/cloudevents/t?offset=0&limit=3", eventsType)
	f.send("t", cloudEvent("2", ""), 200)
	f.putOne("t", 0, "plain")
	for _, stream := range []*live{s, other} {
		for i, id := range []string{"1", "2", "t/0/2"} {
			e, err := stream.next()
			var m map[string]any
			if err != nil || json.Unmarshal([]byte(e.data), &m) != nil || e.id != strconv.Itoa(i) || m["id"] != id || m["specversion"] != "1.0" {
				t.Fatalf("%+v %v", e, err)
			}
		}
	}
	other.ended("")
	plain.message(0)
	resumed := f.follow("/cloudevents/t", eventsType, "Last-Event-ID", "1")
	if e, err := resumed.next(); err != nil || e.id != "2" {
		t.Error(e, err)
	}
	if status, m := f.call("GET", "/cloudevents/t?wait_ms=1", "", "Accept", eventsType); status != 400 {
		t.Error(status, m)
	}
	if status, m := f.call("GET", "/cloudevents/t?offset=9", ""); status != 416 {
		t.Error(status, m)
	}
	if status, m := f.call("GET", "/cloudevents/t?partition=1", ""); status != 404 {
		t.Error(status, m)
	}
	if status, _, h := f.raw("GET", "/cloudevents/t", "", "Accept", linesType); status != 200 || h.Get("Content-Type") != cloudBatchType {
		t.Error(status, h)
	}
	if events, _ := f.events("t?from_ts_ms=1&limit=1"); len(events) != 1 {
		t.Error(events)
	}
	if status, _ := f.call("DELETE", "/broker/topics/t", ""); status != 200 {
		t.Fatal(status)
	}
	s.ended("unknown_topic")
}
