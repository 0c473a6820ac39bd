package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"testing"

	"ayder/aof"
	"ayder/internal/testkit/proc"
)

// The OpenAPI document against the running server: every operation is called, as the lists below say. A call whose
// parameter is not documented is a fault of the list; an answer whose status, media type or member is not documented, one of
// the document or the server. In the end everything that is documented must have been met.

// documentCall is one call and the status that it gets. The path is as it is sent; target says which operation it is meant for.
type documentCall struct {
	status int
	method string
	path   string
	body   string
	header string // lines without the CRLF, separated by "; "
}

// singleCalls drive one node.
var singleCalls = []documentCall{
	{201, "POST", "/broker/topics", `{"name":"t","partitions":2,"ttl_ms":0,"max_bytes":0,"mode":"sealed"}`, ""},
	{200, "POST", "/broker/topics", `{"name":"t","partitions":2}`, ""},
	{409, "POST", "/broker/topics", `{"name":"t","partitions":3}`, ""},
	{200, "GET", "/broker/topics", "", ""},
	{200, "GET", "/broker/topics?consistency=leader", "", ""},
	{200, "GET", "/broker/topics/t", "", ""},
	{200, "GET", "/broker/topics/t?consistency=leader", "", ""},
	{404, "GET", "/broker/topics/none", "", ""},
	{200, "POST", "/broker/topics/t/produce?partition=0&key=k&timing=1&ts_ms=1700000000000&concern=sync-majority&expected_offset=0", "value", "X-Ayder-H-Name: v"},
	{200, "POST", "/broker/topics/t/produce?partition=0&idempotency_key=i&timeout_ms=60000", "value", ""},
	{200, "POST", "/broker/topics/t/produce?partition=0&idempotency_key=i", "value", ""},
	{412, "POST", "/broker/topics/t/produce?partition=0&expected_offset=0", "value", ""},
	{200, "POST", "/broker/topics/t/produce-ndjson?partition=0&key=k&timing=1&ts_ms=1&concern=async&expected_offset=2&timeout_ms=60000", "1\n2\n", ""},
	{200, "POST", "/broker/topics/t/produce-ndjson?partition=0&envelope=1&idempotency_key=j", `{"value":"\u00ff","headers":{"n":"v"}}` + "\n" + `{"value_b64":"/w==","key_b64":"/w=="}`, ""},
	{200, "POST", "/broker/topics/t/produce-ndjson?partition=0&envelope=1&idempotency_key=j", `{"value":"x"}`, ""},
	{400, "POST", "/broker/topics/t/produce-ndjson", "{", ""},
	{200, "GET", "/broker/consume/t/g/0?offset=0&limit=10&max_bytes=100000&encoding=b64&consistency=leader&wait_ms=1", "", ""},
	{200, "GET", "/broker/consume/t/g/0?from_ts_ms=1&limit=1000", "", ""},
	{200, "GET", "/broker/consume/t/g/0?offset=earliest&limit=3", "", "Accept: text/event-stream; Last-Event-ID: 0"},
	{200, "GET", "/broker/consume/t/g/0?offset=0&limit=3", "", "Accept: application/x-ndjson"},
	{304, "GET", "/broker/consume/t/g/0?offset=0&limit=1", "", "If-None-Match: *"},
	{416, "GET", "/broker/consume/t/g/0?offset=999", "", ""},
	{200, "POST", "/broker/query?timeout_ms=30000&consistency=leader", `{"source":{"topic":"t","partition":0,"limit":1},"transform":{"emit_rows":5}}`, ""},
	{200, "POST", "/broker/query", `{"source":{"topic":"t","group":"g"},"window":{"size_ms":1000},"aggregate":{"group_by":["f"],"measures":[{"op":"count"}]}}`, ""},
	{200, "POST", "/broker/join?timeout_ms=30000&consistency=leader", `{"left":{"topic":"t","partition":0},"right":{"topic":"t","limit":1},"on":{"left_key":"n","right_key":"n"},"join":{"type":"full"}}`, ""},
	{201, "POST", "/broker/schemas", `{"type":"avro","schema_text":"\"string\""}`, ""},
	{200, "POST", "/broker/schemas", `{"type":"avro","schema_text":"\"string\""}`, ""},
	{400, "POST", "/broker/schemas", `{"type":"avro","schema_text":"\"strings\""}`, ""},
	{201, "POST", "/broker/schemas", `{"type":"proto","schema_text":"syntax = \"proto3\"; message M {} message N {}","message":"N"}`, ""},
	{201, "POST", "/broker/schemas", `{"type":"proto","descriptor_set_b64":"ChoKB20ucHJvdG8iBwoFTW9uZXliBnByb3RvMw=="}`, ""},
	{200, "GET", "/broker/schemas?consistency=leader", "", ""},
	{200, "GET", "/broker/schemas/1?consistency=leader", "", ""},
	{200, "GET", "/broker/schemas/2", "", ""},
	{200, "GET", "/broker/schemas/3", "", ""},
	{404, "GET", "/broker/schemas/9", "", ""},
	{201, "POST", "/broker/pipelines", `{"name":"p","query":{"source":{"topic":"t"}},"into":"rows","into_partition":1}`, ""},
	{200, "POST", "/broker/pipelines", `{"name":"p","query":{"source":{"topic":"t"}},"into":"rows","into_partition":1}`, ""},
	{409, "POST", "/broker/pipelines", `{"name":"p","query":{"source":{"topic":"t"}},"into":"rows"}`, ""},
	{201, "POST", "/broker/pipelines", `{"name":"j","join":{"left":{"topic":"t"},"right":{"topic":"rows"},"on":{"left_key":"n","right_key":"n"}},"into":"pairs"}`, ""},
	{200, "GET", "/broker/pipelines?consistency=leader", "", ""},
	{200, "GET", "/broker/pipelines/p?consistency=leader", "", ""},
	{200, "GET", "/broker/pipelines/j", "", ""},
	{404, "GET", "/broker/pipelines/none", "", ""},
	{200, "DELETE", "/broker/pipelines/j", "", ""},
	{404, "DELETE", "/broker/pipelines/j", "", ""},
	{200, "POST", "/broker/commit", `{"topic":"t","group":"g","partition":0,"offset":1}`, ""},
	{200, "POST", "/cloudevents/t?partition=1&key=k&timing=1&concern=sync-majority&timeout_ms=60000", `{"specversion":"1.0","id":"1","source":"/s","type":"t","dataschema":"s:1","subject":"s","time":"2018-04-05T17:31:00Z","data":1}`, "Content-Type: application/cloudevents+json"},
	{200, "POST", "/cloudevents/t?partition=1&dedupe=0", "bytes", "Content-Type: a/b; ce-specversion: 1.0; ce-id: 2; ce-source: /s; ce-type: t"},
	{200, "POST", "/cloudevents/t?partition=1&timing=1&concern=sync-majority", `[{"specversion":"1.0","id":"3","source":"/s","type":"t"}]`, "Content-Type: application/cloudevents-batch+json"},
	{200, "POST", "/cloudevents/t?partition=1", `[{"specversion":"1.0","id":"3","source":"/s","type":"t"}]`, "Content-Type: application/cloudevents-batch+json"},
	{200, "POST", "/cloudevents/t?partition=1&idempotency_key=e", `[{"specversion":"1.0","id":"3","source":"/s","type":"t"}]`, "Content-Type: application/cloudevents-batch+json"},
	{400, "POST", "/cloudevents/t", `[{"specversion":"1.0","id":"3","source":"/s"}]`, "Content-Type: application/cloudevents-batch+json"},
	{415, "POST", "/cloudevents/t", `x`, "Content-Type: application/cloudevents+avro"},
	{200, "GET", "/cloudevents/t?partition=1&offset=0&limit=10&max_bytes=100000&wait_ms=1&from_ts_ms=0&consistency=leader", "", ""},
	{200, "GET", "/cloudevents/t?partition=1&limit=1", "", "Accept: text/event-stream; Last-Event-ID: 0"},
	{200, "GET", "/feed/t?consistency=leader", "", ""},
	{200, "GET", "/feed/t?token=1-2&partition=0&cursor=_first&pageSizeHint=10&wait_ms=1&headers=_all", "", ""},
	{200, "GET", "/feed/t?token=1-2&partition=0&cursor=_first&stream=1", "", ""},
	{200, "GET", "/feed/t?n=2&cursor0=_first", "", ""},
	{200, "GET", "/feed/t/events?token=1-2&partition=0&cursor=_first&pageSizeHint=10&wait_ms=1&headers=_all&consistency=leader", "", ""},
	{200, "GET", "/feed/t/events?token=1-2&partition=0&cursor=_first&stream=1", "", ""},
	{200, "GET", "/feed/t/events?n=2&cursor0=_first", "", ""},
	{400, "GET", "/feed/t/events", "", ""},
	{409, "GET", "/feed/t?token=1-1&partition=0&cursor=_first", "", ""},
	{200, "POST", "/broker/topics/t/partitions", `{"partitions":4}`, ""},
	{409, "POST", "/broker/topics/t/partitions", `{"partitions":3}`, ""},
	{200, "POST", "/broker/retention", `{"topic":"t","partition":0,"ttl_ms":600000,"max_bytes":0}`, ""},
	{200, "POST", "/broker/retention", `{"topic":"*","ttl_ms":0}`, ""},
	{200, "POST", "/broker/delete-before", `{"topic":"t","partition":0,"before_offset":1}`, ""},
	{410, "GET", "/broker/consume/t/g/0?offset=0", "", ""},
	{410, "GET", "/feed/t?token=1-4&partition=0&cursor=1-0-0", "", ""},
	{200, "GET", "/broker/consume/t/g/0?offset=1", "", ""},
	{201, "POST", "/broker/topics", `{"name":"gone"}`, ""},
	{200, "DELETE", "/broker/topics/gone", "", ""},
	{404, "DELETE", "/broker/topics/gone", "", ""},
	{200, "PUT", "/kv/n/k?cas=0&ttl_ms=600000&timing=1&concern=sync-majority&timeout_ms=60000", "value", ""},
	{200, "POST", "/kv/n/l?cas=0&ttl_ms=0&timing=1&concern=sync-majority&timeout_ms=60000", "value", ""},
	{200, "PUT", "/kv/n/b%FF", "value", ""},
	{409, "PUT", "/kv/n/k?cas=9", "value", ""},
	{200, "GET", "/kv/n/k?raw=0&consistency=leader", "", ""},
	{200, "GET", "/kv/n/k?raw=1", "", ""},
	{304, "GET", "/kv/n/k?raw=1", "", `If-None-Match: "1"`},
	{404, "GET", "/kv/n/none", "", ""},
	{200, "GET", "/kv/n/k/meta?consistency=leader", "", ""},
	{200, "GET", "/kv/n?prefix=k&after=a&limit=10&consistency=leader", "", ""},
	{200, "GET", "/kv/n?limit=1", "", ""},
	{200, "GET", "/kv/n?limit=2", "", ""},
	{200, "GET", "/kv/n?limit=1&after=b", "", ""},
	{200, "GET", "/kv/n?watch=1", "", ""},
	{200, "DELETE", "/kv/n/l?cas=1&timing=1&concern=sync-majority&timeout_ms=60000", "", ""},
	{200, "GET", "/broker/groups?limit=10&after=a&consistency=leader", "", ""},
	{200, "GET", "/broker/groups/g?consistency=leader", "", ""},
	{200, "POST", "/broker/groups/g/reset", `{"topic":"t","partition":0,"to":"latest"}`, ""},
	{200, "POST", "/broker/groups/g/reset", `{"topic":"t","to":{"offset":0}}`, ""},
	{200, "POST", "/broker/groups/m/join", `{"member":"one","topics":["t"],"session_ms":300000}`, ""},
	{200, "POST", "/broker/groups/m/join", `{"topics":["t"],"session_ms":300000}`, ""},
	{200, "POST", "/broker/groups/m/heartbeat", `{"member":"one","generation":0}`, ""},
	{200, "GET", "/broker/groups/m/poll?member=one&generation=1&limit=5&max_bytes=1000&encoding=b64&wait_ms=10", "", ""},
	{200, "GET", "/broker/groups/m/poll?member=one", "", ""},
	{200, "GET", "/broker/groups?limit=1", "", ""},
	{200, "GET", "/broker/groups/m", "", ""},
	{409, "DELETE", "/broker/groups/m", "", ""},
	{409, "POST", "/broker/groups/m/heartbeat", `{"member":"nobody"}`, ""},
	{200, "POST", "/broker/groups/m/leave", `{"member":"one"}`, ""},
	{200, "DELETE", "/broker/groups/g", "", ""},
	{200, "GET", "/health", "", ""},
	{200, "GET", "/ready", "", ""},
	{200, "GET", "/metrics", "", ""},
	{200, "GET", "/metrics_ha", "", ""},
	{200, "GET", "/metrics_ha", "", "Accept: application/json"},
	{200, "GET", "/ha/membership", "", ""},
	{409, "POST", "/ha/membership/add", `{"node_id":"n","advertise_addr":"127.0.0.1:1","http_addr":"127.0.0.1:2","https_addr":"127.0.0.1:3","priority":1}`, ""},
	{409, "POST", "/ha/membership/promote", `{"node_id":"n"}`, ""},
	{409, "POST", "/ha/membership/remove", `{"node_id":"n"}`, ""},
	{409, "POST", "/ha/transfer", `{"node_id":"n"}`, ""},
	{200, "GET", "/admin/timing?reset=0", "", ""},
	{200, "GET", "/openapi.json", "", ""},
	{200, "GET", "/docs", "", ""},
	{200, "GET", "/docs/errors", "", ""},
	{200, "GET", "/console", "", ""},
	{304, "GET", "/console", "", "If-None-Match: *"},
	{200, "GET", "/console/app.js", "", ""},
	{200, "GET", "/console/console.css", "", ""},
	{200, "GET", "/console/icon.svg", "", ""},
	{200, "GET", "/console/index.html", "", ""},
	{304, "GET", "/console/app.js", "", "If-None-Match: *"},
	{404, "GET", "/console/none", "", ""},
	{200, "GET", "/docs/reference", "", "Accept-Encoding: identity"},
	{304, "GET", "/openapi.json", "", "If-None-Match: *"},
	{304, "GET", "/docs", "", "If-None-Match: *"},
	{304, "GET", "/docs/errors", "", "If-None-Match: *"},
	{304, "GET", "/docs/concepts", "", "If-None-Match: *"},
	{404, "GET", "/docs/none", "", ""},
}

// documentTest is one run of the calls.
type documentTest struct {
	*testing.T
	doc        *apiDocument
	c          *proc.Client
	called     map[string]bool // operations that were answered with success, as "GET /path"
	parameters map[string]bool // parameters that were sent, as "GET /path name"
	statuses   map[string]bool // documented statuses that were met, as "GET /path 200"
}

func TestOpenAPIDocument(t *testing.T) {
	s := proc.Run(t, proc.Options{Env: []string{"RF_BEARER_TOKENS=dev:reader@read:writer@write"}})
	c, err := proc.Dial(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	d := newDocumentTest(t, c)
	for _, call := range singleCalls {
		d.call(call)
	}
	d.backup()
	d.refusals()
	d.complete()
}

// backup asks for a file of the log, whose name only the server knows.
func (d *documentTest) backup() {
	d.call(documentCall{200, "GET", "/admin/backup", "", ""})
	list := struct{ Pieces []aof.Piece }{}
	r := d.send("GET", "/admin/backup", "", "")
	if err := r.JSON(&list); err != nil || len(list.Pieces) == 0 {
		d.Fatalf("%v %v", r, err)
	}
	file := "/admin/backup/" + list.Pieces[0].Name + "@" + list.Pieces[0].ID
	d.call(documentCall{200, "GET", file + "?offset=8&max_bytes=100", "", ""})
	d.call(documentCall{416, "GET", file + "?offset=1000000000", "", ""})
	d.call(documentCall{410, "GET", file + "0", "", ""})
	d.call(documentCall{400, "GET", "/admin/backup/..@1x", "", ""})
}

// leaderCalls and followerCalls are what three nodes answer otherwise than one does.
var (
	leaderCalls = []documentCall{
		{201, "POST", "/broker/topics", `{"name":"t","partitions":2}`, ""},
		{200, "POST", "/broker/topics/t/produce?partition=0&concern=sync-all", "value", ""},
		{200, "POST", "/broker/topics/t/produce-ndjson?partition=0&concern=sync-all", "1\n", ""},
		{200, "POST", "/cloudevents/t?partition=1&concern=sync-all", `[{"specversion":"1.0","id":"1","source":"/s","type":"t"},{"specversion":"1.0","id":"1","source":"/s","type":"t"}]`, "Content-Type: application/cloudevents-batch+json"},
		{200, "PUT", "/kv/n/k?concern=sync-all", "value", ""},
		{201, "POST", "/broker/schemas", `{"type":"avro","schema_text":"\"string\""}`, ""},
		{201, "POST", "/broker/pipelines", `{"name":"p","query":{"source":{"topic":"t"}},"into":"rows"}`, ""},
		{200, "POST", "/broker/commit", `{"topic":"t","group":"g","partition":0,"offset":1}`, ""},
		{200, "GET", "/metrics_ha", "", "Accept: application/json"},
		{200, "GET", "/ha/membership", "", ""},
		{200, "POST", "/ha/membership/add", `{"node_id":"nobody","advertise_addr":"127.0.0.1:1","priority":1}`, ""},
		{409, "POST", "/ha/membership/promote", `{"node_id":"nobody"}`, ""},
		{200, "POST", "/ha/membership/remove", `{"node_id":"nobody"}`, ""},
		{404, "POST", "/ha/membership/remove", `{"node_id":"nobody"}`, ""},
	}
	followerCalls = []documentCall{
		{200, "GET", "/broker/topics", "", ""},
		{200, "GET", "/broker/topics/t", "", ""},
		{200, "GET", "/broker/consume/t/g/0?offset=0", "", ""},
		{200, "GET", "/feed/t", "", ""},
		{200, "GET", "/cloudevents/t", "", ""},
		{200, "GET", "/feed/t/events?n=2&cursor0=_first", "", ""},
		{200, "POST", "/broker/query", `{"source":{"topic":"t"}}`, ""},
		{200, "POST", "/broker/join", `{"left":{"topic":"t"},"right":{"topic":"t"},"on":{"left_key":"n","right_key":"n"}}`, ""},
		{200, "GET", "/broker/schemas", "", ""},
		{200, "GET", "/broker/schemas/1", "", ""},
		{200, "GET", "/broker/pipelines", "", ""},
		{200, "GET", "/broker/pipelines/p", "", ""},
		{200, "GET", "/broker/groups", "", ""},
		{200, "GET", "/broker/groups/g", "", ""},
		{200, "GET", "/kv/n/k", "", ""},
		{200, "GET", "/kv/n/k/meta", "", ""},
		{200, "GET", "/kv/n", "", ""},
		{200, "GET", "/metrics_ha", "", "Accept: application/json"},
		{200, "GET", "/ready", "", ""},
	}
)

func TestOpenAPIDocumentOfACluster(t *testing.T) {
	g := runGroup(t, 3, proc.Options{})
	var d *documentTest
	on := func(n *groupNode) {
		c, err := proc.Dial(n.http)
		if err != nil {
			t.Fatal(err)
		}
		if d == nil {
			d = newDocumentTest(t, c)
		}
		d.c = c
	}
	leader := g.leader()
	on(leader)
	for _, call := range leaderCalls {
		d.call(call)
	}
	follower := g.others(leader)[0]
	g.eventually("the follower has what the leader has", func() bool {
		s, err := leader.status()
		f, errF := follower.status()
		return err == nil && errF == nil && f.Applied >= s.Applied
	})
	on(follower)
	for _, call := range followerCalls {
		d.call(call)
	}
	d.redirects()
	for _, member := range []string{"Page.role", "QueryResult.role", "JoinResult.role", "KVValue.role", "Produced.acked_nodes", "ProducedMany.acked_nodes", "KVChanged.acked_nodes", "Error.leader", "Peer.match_index"} {
		if !d.doc.seen[member] {
			t.Errorf("the member %s was never seen", member)
		}
	}
}

// redirects wants the redirects that are documented, and no others.
func (d *documentTest) redirects() {
	d.each(func(name, method string, op map[string]any) {
		path := samplePath(name[len(method)+1:])
		if d.parametersOf(op)["query consistency"] != nil {
			path += "?consistency=leader"
		}
		responses := op["responses"].(map[string]any)
		if _, documented := responses["307"]; !documented {
			if r := d.send(method, path, "", ""); r.Status == 307 {
				d.Errorf("%s: 307 is not documented", name)
			}
			return
		}
		r := d.send(method, path, "", "")
		d.judge(documentCall{status: 307, method: method, path: path}, name, op, r)
		if to := r.Header.Get("Location"); !strings.HasPrefix(to, "http://") || !strings.HasSuffix(to, path) {
			d.Errorf("%s: Location is %q", name, to)
		}
	})
}

func newDocumentTest(t *testing.T, c *proc.Client) *documentTest {
	t.Helper()
	r, err := c.Get("/openapi.json")
	if err != nil || r.Status != 200 {
		t.Fatalf("%d %v", r.Status, err)
	}
	doc, err := parseDocument(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &documentTest{t, doc, c, map[string]bool{}, map[string]bool{}, map[string]bool{}}
}

// operation finds what is documented about a path.
func (d *documentTest) operation(method, path string) (name string, op map[string]any) {
	segments := strings.Split(path, "/")
	for _, template := range slices.Sorted(maps.Keys(d.doc.at("paths"))) {
		want := strings.Split(template, "/")
		rest := strings.HasSuffix(template, "...}")
		if len(want) != len(segments) && (!rest || len(want) > len(segments)) {
			continue
		}
		fits := true
		for i, w := range want {
			fits = fits && (w == segments[i] || strings.HasPrefix(w, "{"))
		}
		if op = d.doc.at("paths", template, strings.ToLower(method)); fits && op != nil {
			return method + " " + template, op
		}
	}
	return "", nil
}

// call makes a call and judges the answer.
func (d *documentTest) call(q documentCall) {
	d.Helper()
	path, query, _ := strings.Cut(q.path, "?")
	name, op := d.operation(q.method, path)
	if op == nil {
		d.Errorf("%s %s is not documented", q.method, path)
		return
	}
	d.noteParameters(name, op, query, q.header)
	d.judge(q, name, op, d.send(q.method, q.path, q.body, q.header))
}

func (d *documentTest) send(method, path, body, header string) proc.Response {
	d.Helper()
	before := d.c.Header
	if header != "" {
		d.c.Header += strings.ReplaceAll(header, "; ", "\r\n") + "\r\n"
	}
	if strings.Contains(path, "watch=1") {
		r := d.watch(path)
		d.c.Header = before
		return r
	}
	r, err := d.c.Do(method, path, []byte(body))
	d.c.Header = before
	if err != nil {
		d.Fatalf("%s %s: %v", method, path, err)
	}
	if strings.EqualFold(r.Header.Get("Connection"), "close") {
		c, err := proc.Dial(d.c.Conn.RemoteAddr().String())
		if err != nil {
			d.Fatal(err)
		}
		d.c.Close()
		d.c = c
	}
	return r
}

// watch asks for a stream that does not end by itself, and looks at its head.
func (d *documentTest) watch(path string) proc.Response {
	ctx, cancel := context.WithCancel(d.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.c.Conn.RemoteAddr().String()+path, nil)
	if err != nil {
		d.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer dev")
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		d.Fatal(err)
	}
	defer r.Body.Close()
	return proc.Response{Status: r.StatusCode, Header: textproto.MIMEHeader(r.Header), Body: []byte("a stream")}
}

// parametersOf lists what is documented of an operation, by "in" and name.
func (d *documentTest) parametersOf(op map[string]any) map[string]map[string]any {
	all := map[string]map[string]any{}
	list, _ := op["parameters"].([]any)
	for _, p := range list {
		m, _ := d.doc.resolve(p.(map[string]any), "")
		all[m["in"].(string)+" "+m["name"].(string)] = m
	}
	return all
}

// noteParameters notes which documented parameters a call has.
func (d *documentTest) noteParameters(name string, op map[string]any, query, header string) {
	documented := d.parametersOf(op)
	values, err := url.ParseQuery(query)
	if err != nil {
		d.Fatal(err)
	}
	for p := range values {
		if documented["query "+p] == nil {
			d.Errorf("%s: the parameter %s is not documented", name, p)
		}
		d.parameters[name+" query "+p] = true
	}
	for line := range strings.SplitSeq(header, "; ") {
		field, _, _ := strings.Cut(line, ":")
		d.parameters[name+" header "+field] = true
	}
}

// judge looks at an answer's status, media type and body.
func (d *documentTest) judge(q documentCall, name string, op map[string]any, r proc.Response) {
	d.Helper()
	if r.Status != q.status {
		d.Errorf("%s %s: %d, want %d: %.300s", q.method, q.path, r.Status, q.status, r.Body)
		return
	}
	responses := op["responses"].(map[string]any)
	key := fmt.Sprint(r.Status)
	if responses[key] == nil {
		if key = "default"; r.Status < 400 || responses[key] == nil {
			d.Errorf("%s: status %d is not documented", name, r.Status)
			return
		}
	}
	d.statuses[name+" "+key] = true
	d.called[name] = d.called[name] || r.Status < 400
	response, _ := d.doc.resolve(responses[key].(map[string]any), "")
	content, _ := response["content"].(map[string]any)
	media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	about, documented := content[media].(map[string]any)
	if len(r.Body) > 0 && !documented {
		d.Errorf("%s: %d comes as %q, documented are %v", name, r.Status, media, slices.Sorted(maps.Keys(content)))
		return
	}
	schema, _ := about["schema"].(map[string]any)
	if media != "application/json" || len(r.Body) == 0 || schema == nil {
		return
	}
	var value any
	if err := json.Unmarshal(r.Body, &value); err != nil {
		d.Errorf("%s: %v", name, err)
		return
	}
	for _, fault := range d.doc.check(schema, value, name+" "+key) {
		d.Errorf("%s %s: %s\n%.500s", q.method, q.path, fault, r.Body)
	}
}

// complete complains about what is documented and was not met.
func (d *documentTest) complete() {
	d.each(func(name, _ string, op map[string]any) {
		for status := range op["responses"].(map[string]any) {
			if !d.statuses[name+" "+status] && !elsewhere(name+" "+status) {
				d.Errorf("%s: the status %s was never met", name, status)
			}
		}
		for p := range d.parametersOf(op) {
			if !strings.HasPrefix(p, "path ") && !d.parameters[name+" "+p] {
				d.Errorf("%s: the parameter %s was never sent", name, p)
			}
		}
	})
	for _, member := range d.doc.unseen() {
		if !elsewhere(member) {
			d.Errorf("the member %s was never seen", member)
		}
	}
}

// each visits every documented operation; path is one that a call has used.
func (d *documentTest) each(visit func(name, method string, op map[string]any)) {
	for _, template := range slices.Sorted(maps.Keys(d.doc.at("paths"))) {
		for method := range d.doc.at("paths", template) {
			method = strings.ToUpper(method)
			visit(method+" "+template, method, d.doc.at("paths", template, strings.ToLower(method)))
		}
	}
}

// elsewhere tells whether other tests meet something: those of a cluster, of its faults, of a disk's.
func elsewhere(what string) bool {
	return slices.ContainsFunc(clusterOnly, func(suffix string) bool { return strings.HasSuffix(what, suffix) || strings.HasPrefix(what, suffix) })
}

// clusterOnly is what a single healthy node does not show.
var clusterOnly = []string{
	" 307", "GET /ready 503", " default", "POST /ha/", "Member", "Peer.", ".acked_nodes", "Error.committed", "Error.leader", "Page.role", ".role", "Readiness.reason",
}

// refusals makes every operation's bad calls: a parameter that there is not, values that a parameter cannot have, no token, one
// without the role, members of the body that there are not.
func (d *documentTest) refusals() {
	d.each(func(name, method string, op map[string]any) {
		path := samplePath(name[len(method)+1:])
		if open, _ := op["security"].([]any); open == nil {
			d.refused(401, method, path, "", "Authorization: Bearer nobody")
			d.wrongRole(op, method, path)
		}
		d.refused(400, method, path+"?no_such_parameter=1", "", "", "unknown_parameter")
		for p, about := range d.parametersOf(op) {
			if bad := badValue(about); strings.HasPrefix(p, "query ") && bad != "" {
				d.refused(400, method, path+"?"+strings.TrimPrefix(p, "query ")+"="+bad, "", "", "bad_parameter")
			}
		}
		if body, _ := op["requestBody"].(map[string]any); body != nil && body["content"].(map[string]any)["application/json"] != nil {
			d.refused(400, method, path, `{"no_such_member":1}`, "", "unknown_field", "not_clustered")
		}
	})
}

// wrongRole calls with a token that has another role than the one that is documented.
func (d *documentTest) wrongRole(op map[string]any, method, path string) {
	token := map[any]string{"read": "writer", "write": "reader", "admin": "reader", "read+write+admin": "reader"}[op["x-role"]]
	if token == "" {
		d.Errorf("%s %s: its role is not documented", method, path)
		return
	}
	d.refused(403, method, path, "", "Authorization: Bearer "+token)
}

// refused wants a call to be refused with one of the codes, if any is given.
func (d *documentTest) refused(status int, method, path, body, header string, codes ...string) {
	d.Helper()
	before := d.c.Header
	if strings.HasPrefix(header, "Authorization") {
		d.c.Header = strings.Replace(d.c.Header, proc.DevToken, "", 1)
	}
	r := d.send(method, path, body, header)
	d.c.Header = before
	var e struct {
		Code string `json:"error"`
	}
	if err := json.Unmarshal(r.Body, &e); err != nil || r.Status != status && !slices.Contains(codes, e.Code) || len(codes) > 0 && !slices.Contains(codes, e.Code) {
		d.Errorf("%s %s %s: %d %s, want %d %v", method, path, body, r.Status, e.Code, status, codes)
	}
}

// samplePath fills in a path's variables with what there is.
func samplePath(template string) string {
	return strings.NewReplacer("{topic}", "t", "{group}", "g", "{partition}", "0", "{ns}", "n", "{key...}", "k", "{schema}", "1", "{piece}", "x@1").Replace(template)
}

// badValue is a value that a parameter cannot have, empty if it takes anything.
func badValue(parameter map[string]any) string {
	schema, _ := parameter["schema"].(map[string]any)
	if schema["enum"] != nil || schema["oneOf"] != nil {
		return "nonsense"
	}
	switch schema["type"] {
	case "integer", "boolean":
		return "nonsense"
	}
	return ""
}
