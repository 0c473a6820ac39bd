package api

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"ayder/engine"
	"ayder/httpparse"
	"ayder/internal/auth"
)

// Everything a client can get wrong, over the whole table of routes: what holds for every route is
// derived from the table, so that a new line in it is tested by being there.

// statuses are those that the contract gives to errors.
var statuses = []int{
	307, 400, 401, 403, 404, 405, 408, 409, 410, 412, 413, 414, 415, 416, 417, 422, 429, 431, 500, 501, 503, 504, 505, 507,
}

// refusal is an answer that has the documented shape of an error.
type refusal struct {
	status  int
	code    string
	message string
	header  http.Header
}

// refused makes a request that must fail and checks the shape of the answer.
func (f *fixture) refused(method, path, body string, header ...string) refusal {
	f.t.Helper()
	status, text, h := f.raw(method, path, body, header...)
	return f.refusal(method+" "+path, status, text, h)
}

func (f *fixture) refusal(what string, status int, text []byte, h http.Header) refusal {
	f.t.Helper()
	if len(what) > 100 {
		what = what[:100] + "…"
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		f.t.Fatalf("%s: %d, not JSON: %v\n%.300s", what, status, err, text)
	}
	code, _ := m["error"].(string)
	message, _ := m["message"].(string)
	switch {
	case m["ok"] != false || message == "" || m["docs"] != "/docs/errors#"+code:
		f.t.Errorf("%s: %d %s is not the shape of an error", what, status, text)
	case !slices.Contains(statuses, status):
		f.t.Errorf("%s: status %d", what, status)
	case h.Get("Content-Type") != "application/json":
		f.t.Errorf("%s: Content-Type %q", what, h.Get("Content-Type"))
	case (status == 401) != (h.Get("WWW-Authenticate") != ""), (status == 405) != (h.Get("Allow") != ""):
		f.t.Errorf("%s: %d with WWW-Authenticate %q, Allow %q", what, status, h.Get("WWW-Authenticate"), h.Get("Allow"))
	case (status == 503 || status == 507) != (h.Get("Retry-After") != ""):
		f.t.Errorf("%s: %d with Retry-After %q", what, status, h.Get("Retry-After"))
	}
	if !slices.ContainsFunc(errorTable(), func(e *Error) bool { return e.Code == code && e.Status == status }) {
		f.t.Errorf("%s: %d %s is not in the table of errors", what, status, code)
	}
	for name := range m {
		if !slices.Contains([]string{"ok", "error", "message", "docs", "earliest_offset", "next_offset", "leader", "committed", "acked_nodes", "current", "rejoin"}, name) {
			f.t.Errorf("%s: member %q in %s", what, name, text)
		}
	}
	return refusal{status, code, message, h}
}

// want compares a refusal with what was expected.
func (r refusal) want(t *testing.T, what string, status int, code, part string) {
	t.Helper()
	if r.status != status || r.code != code || !strings.Contains(r.message, part) {
		t.Errorf("%.100s: %d %s %q, want %d %s with %q", what, r.status, r.code, r.message, status, code, part)
	}
}

// goodBodies are what each call with a body takes.
var goodBodies = map[string]string{
	"/broker/topics/{topic}/produce":        "v",
	"/broker/topics/{topic}/produce-ndjson": "1\n",
	"/broker/query":                         `{"source":{"topic":"t"}}`,
	"/broker/join":                          `{"left":{"topic":"t"},"right":{"topic":"t"},"on":{"left_key":"n","right_key":"n"}}`,
	"/broker/schemas":                       `{"type":"avro","schema_text":"\"string\""}`,
	"/broker/pipelines":                     `{"name":"p","query":{"source":{"topic":"t"}},"into":"t-rows"}`,
	"/broker/commit":                        `{"topic":"t","group":"g","partition":0,"offset":0}`,
	"/broker/topics":                        `{"name":"t","partitions":2}`,
	"/broker/groups/{group}/reset":          `{"topic":"t","to":"earliest"}`,
	"/broker/groups/{group}/join":           `{"member":"m","topics":["t"]}`,
	"/broker/groups/{group}/heartbeat":      `{"member":"m"}`,
	"/broker/groups/{group}/leave":          `{"member":"m"}`,
	"/broker/topics/{topic}/partitions":     `{"partitions":2}`,
	"/cloudevents/{topic}":                  `{"specversion":"1.0","id":"1","type":"t","source":"/s"}`,
	"/broker/delete-before":                 `{"topic":"t","partition":0,"before_offset":0}`,
	"/broker/retention":                     `{"topic":"t","ttl_ms":0}`,
	"/ha/membership/add":                    `{"node_id":"n4","advertise_addr":"127.0.0.1:7004"}`,
	"/ha/membership/promote":                `{"node_id":"n4"}`,
	"/ha/membership/remove":                 `{"node_id":"n4"}`,
	"/ha/transfer":                          `{"node_id":"n2"}`,
	"/kv/{ns}/{key...}":                     "v",
}

// pathOf fills in a route's variables.
func pathOf(r *route, topic, group, partition string) string {
	schema := group
	if schema == "g" {
		schema = "1"
	}
	pipeline := group
	if pipeline == "g" {
		pipeline = "p"
	}
	file, piece := group, group
	if group == "g" {
		file, piece = "console.css", "file@1"
	}
	return strings.NewReplacer("{file}", file, "{piece}", piece, "{pipeline}", pipeline, "{topic}", topic, "{ns}", topic, "{key...}", "k", "{group}", group, "{partition}", partition, "{schema}", schema, "{page}", "concepts").Replace(r.path)
}

// withQuery adds what a call cannot do without.
func withQuery(path string) string {
	if strings.HasSuffix(path, "/poll") {
		path += "?member=m"
	}
	if strings.HasSuffix(path, "/events") {
		path += "?n=2&cursor0=_first"
	}
	return path
}

// eachRoute calls f with every route, the path of a call that works, and its body.
func eachRoute(f func(r *route, path, body string)) {
	for i := range routes {
		f(&routes[i], pathOf(&routes[i], "t", "g", "0"), goodBodies[routes[i].path])
	}
}

func badInputFixture(t *testing.T) *fixture {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics", `{"name":"t","partitions":2}`)
	f.call("POST", "/broker/topics/t/produce?partition=0", "first")
	return f
}

// everyRouteFixture is the same for a leader: on a single node not every call works.
func everyRouteFixture(t *testing.T) *clusterFixture {
	f := newClusterFixture(t, "auto")
	f.lead()
	f.call("POST", "/broker/topics", `{"name":"t","partitions":2}`)
	f.call("POST", "/broker/topics/t/produce?partition=0", "first")
	f.call("POST", "/broker/schemas", goodBodies["/broker/schemas"])
	f.call("POST", "/broker/pipelines", goodBodies["/broker/pipelines"])
	return f
}

func TestEveryRouteWorksAsTheTestsCallIt(t *testing.T) {
	f := everyRouteFixture(t)
	eachRoute(func(r *route, path, body string) {
		if status, text, _ := f.raw(r.method.String(), withQuery(path), body); status != 200 {
			t.Errorf("%s %s: %d %s", r.method, path, status, text)
		}
	})
}

// badValues are values that no parameter of that name may have.
var badValues = map[string][]string{
	"partition":       {"", "-1", "+1", "1.0", "x", "0x1", "4294967296", "99999999999999999999", "1%20", "%F0%9F%98%80"},
	"key":             {strings.Repeat("k", keyBytesMax+1)},
	"idempotency_key": {"", strings.Repeat("k", idemBytesMax+1)},
	"timeout_ms":      {"", "-1", "600001", "1s", "18446744073709551616", "1e3"},
	"timing":          {"", "2", "yes", "TRUE"},
	"ts_ms":           {"", "-1", "9223372036854775808", "2024-01-01"},
	"concern":         {"", "sync", "ASYNC", "1"},
	"expected_offset": {"", "-1", "9223372036854775808", "next"},
	"envelope":        {"", "on", "-1"},
	"member":          {"", "a/b", ".", strings.Repeat("m", 250)},
	"generation":      {"", "-1", "9223372036854775808", "now"},
	"offset":          {"", "-1", "first", "Earliest", "9223372036854775808", "1,2"},
	"limit":           {"", "0", "1001", "-1", "all"},
	"max_bytes":       {"", "0", "16777217", "1M"},
	"encoding":        {"", "base64", "B64", "hex"},
	"reset":           {"", "yes"},
	"from_ts_ms":      {"", "-1", "9223372036854775808", "yesterday", "1.5"},
	"wait_ms":         {"", "-1", "30001", "1s", "18446744073709551616"},
	"consistency":     {"", "local", "LEADER", "1"},
	"cas":             {"", "-1", "x", "9223372036854775808"},
	"ttl_ms":          {"", "-1", "1s", "35184372088833"},
	"raw":             {"", "yes"},
	"prefix":          {strings.Repeat("k", engine.KVKeyBytesMax+1)},
	"watch":           {"", "2", "yes"},
	"token":           {"", strings.Repeat("t", 129)},
	"cursor":          {"", strings.Repeat("c", 129)},
	"cursor0":         {"", strings.Repeat("c", 129)},
	"pageSizeHint":    {"", "-1", "x", "2147483649"},
	"stream":          {"", "-1", "n", "Y", "1s", "1099511627777"},
	"n":               {"", "-1", "x", "4294967296"},
	"headers":         {"", strings.Repeat("h", 1025)},
	"dedupe":          {"", "2", "no"},
	"after":           {strings.Repeat("k", engine.KVKeyBytesMax+1)},
}

func TestParametersOfEveryRoute(t *testing.T) {
	f := newFixture(t, "auto", func(o *Options) { o.HTTP.RequestLineMax, o.HTTP.HeadMax = 128<<10, 256<<10 })
	f.call("POST", "/broker/topics", `{"name":"t","partitions":2}`)
	eachRoute(func(r *route, path, body string) {
		check := func(query string, status int, code, part string) {
			t.Helper()
			f.refused(r.method.String(), path+"?"+query, body).want(t, r.method.String()+" "+path+"?"+query, status, code, part)
		}
		check("nope=1", 400, "unknown_parameter", `"nope"`)
		check("nope", 400, "unknown_parameter", `"nope"`)
		check("%6eope=%zz", 400, "unknown_parameter", `"nope"`)
		check("=1", 400, "unknown_parameter", `""`)
		check("a%00b=1", 400, "unknown_parameter", `"a\x00b"`)
		check("%ff=1", 400, "unknown_parameter", `"\xff"`)
		check("%zz=1", 400, "bad_parameter", "escape")
		check("%=1", 400, "bad_parameter", "escape")
		known := paramNames(r.params)
		for name := range badValues {
			if !slices.Contains(known, name) {
				check(name+"=1", 400, "unknown_parameter", `"`+name+`"`)
			}
		}
		for _, name := range known {
			good := map[string]string{"concern": "async", "encoding": "b64", "consistency": "leader"}[name]
			if good == "" {
				good = "1"
			}
			check(name+"="+good+"&"+name+"="+good, 400, "repeated_parameter", `"`+name+`"`)
			check(strings.ToUpper(name)+"="+good, 400, "unknown_parameter", strings.ToUpper(name))
			check(name+"=%zz", 400, "bad_parameter", "escape")
			check(name+"=a%2", 400, "bad_parameter", "escape")
			if !slices.Contains([]string{"key", "prefix", "after"}, name) { // which may be empty
				check(name, 400, "bad_parameter", name)
			}
			for _, v := range badValues[name] {
				check(name+"="+v, 400, "bad_parameter", name)
			}
			if len(badValues[name]) == 0 {
				t.Errorf("no bad values of %s are known", name)
			}
		}
	})
}

// TestGoodParameters: the edges of what is allowed, and that separators without anything between are none.
func TestGoodParameters(t *testing.T) {
	f := badInputFixture(t)
	produce, consume := "/broker/topics/t/produce?", "/broker/consume/t/g/0?"
	for _, call := range []string{
		produce + "partition=001", produce + "&&partition=1&", produce + "key", produce + "key=&timing=false", produce + "idempotency_key=" + strings.Repeat("k", idemBytesMax),
		produce + "timeout_ms=600000", produce + "ts_ms=9223372036854775807", produce + "concern=async", produce + "concern=sync-majority", produce + "concern=sync-all",
		produce + "timing=true", produce + "%70artition=%31", produce + "key=a%3D%26b+c", produce + "key=a;b=c",
		consume + "limit=1000&max_bytes=16777216", consume + "limit=1&max_bytes=1", consume + "offset=%65arliest", consume + "offset=latest&encoding=b64",
	} {
		method := "POST"
		if strings.HasPrefix(call, consume) {
			method = "GET"
		}
		if status, m := f.call(method, call, "v"); status != 200 {
			t.Errorf("%.100s: %d %v", call, status, m)
		}
	}
	if status, m := f.call("GET", "/admin/timing?reset=0", ""); status != 200 {
		t.Error(status, m)
	}
}

func TestNamesInPaths(t *testing.T) {
	f := badInputFixture(t)
	names := []string{"a%20b", "%C3%A4", "a%2Fb", "a%00", strings.Repeat("n", 250), "..", ".", "a:b", "a+b", "a,b", "~", "%2e", "%2e%2e"}
	eachRoute(func(r *route, _, body string) {
		if !strings.Contains(r.path, "{") || strings.Contains(r.path, "{page}") { // TestUnknownPaths has the pages
			return
		}
		check := func(path string, status int, code, part string) {
			t.Helper()
			what := r.method.String() + " " + path
			c, reader := f.dial() // by hand: a client library would tidy up ".." and the like
			fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dev\r\nContent-Length: %d\r\n\r\n%s", what, len(body), body)
			resp, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatal(what, err)
			}
			text := make([]byte, max(resp.ContentLength, 0))
			if _, err := io.ReadFull(reader, text); err != nil {
				t.Fatal(what, err)
			}
			f.refusal(what, resp.StatusCode, text, resp.Header).want(t, what, status, code, part)
		}
		for _, bad := range []string{"%zz", "a%", "a%2", "%%41", "%u0041"} {
			check(pathOf(r, bad, bad, "0"), 400, "bad_path", "escape")
		}
		has := func(name string) bool { return strings.Contains(r.path, "{"+name+"}") }
		bad, missing, what := "bad_topic", "missing_topic", "required"
		if has("ns") {
			bad, missing, what = "bad_namespace", "bad_namespace", "1 to 249"
		}
		for _, name := range append(names, "") {
			if (has("topic") || has("ns")) && name != "" {
				check(pathOf(r, name, "g", "0"), 400, bad, "1 to 249")
			}
			if has("group") {
				check(pathOf(r, "t", name, "0"), 400, "bad_group", "1 to 249")
			}
		}
		if has("topic") || has("ns") {
			check(pathOf(r, "", "g", "0"), 400, missing, what)
		}
		if has("group") {
			check(pathOf(r, "t", "%zz", "0"), 400, "bad_path", "escape")
		}
		if !has("partition") {
			return
		}
		for _, n := range []string{"-1", "x", "", "4294967296", "1.0", "0x0", "%20"} {
			check(pathOf(r, "t", "g", n), 400, "bad_parameter", "partition")
		}
		check(pathOf(r, "t", "g", "%3"), 400, "bad_path", "escape")
		check(pathOf(r, "t", "g", "2"), 404, "unknown_partition", "2 partitions")
		check(pathOf(r, "t", "g", "4294967295"), 404, "unknown_partition", "2 partitions")
		check(pathOf(r, "none", "g", "0"), 404, "unknown_topic", `"none"`)
	})
	if status, m := f.call("GET", "/broker/topics/%74", ""); status != 200 || m["topic"] != "t" {
		t.Error("an escaped letter is that letter: ", status, m)
	}
	f.refused("GET", "/broker/topics/none", "").want(t, "describe", 404, "unknown_topic", `"none"`)
	f.refused("POST", "/broker/topics/t/produce?partition=2", "v").want(t, "produce", 404, "unknown_partition", "2 partitions")
	f.refused("POST", "/broker/topics/t/produce-ndjson?partition=4294967295", "1").want(t, "produce", 404, "unknown_partition", "2 partitions")
}

func TestUnknownPaths(t *testing.T) {
	f := badInputFixture(t)
	for _, path := range []string{
		"/", "/nowhere", "/healthz", "/health/", "//health", "/Health", "/%68ealth/x", "/broker", "/broker/", "/broker/topic", "/broker/topics/t/produce/", "/broker/topics/t/x",
		"/broker/consume/t/g", "/broker/consume/t", "/broker/consume/t/g/0/", "/broker/consume/t/g/0/0", "/docs/none/x", "/docs//", "/admin", "/broker%2Ftopics", "/metrics/x",
		"/" + strings.Repeat("x/", 1000),
	} {
		for _, method := range []string{"GET", "POST", "DELETE", "BREW"} {
			f.refused(method, path, "").want(t, method+" "+path, 404, "not_found", "")
		}
		f.refused("GET", path, "", "Authorization", "").want(t, path, 404, "not_found", "")
	}
	for _, path := range []string{"/docs/none", "/docs/", "/docs/index.html", "/docs/%2e%2e", "/docs/Concepts"} { // pages that there are not
		f.refused("GET", path, "", "Authorization", "").want(t, path, 404, "not_found", "")
	}
	for _, path := range []string{"/broker/topics/", "/broker/topics//produce"} { // the topic is missing, as the contract's example says
		method := "GET"
		if strings.HasSuffix(path, "produce") {
			method = "POST"
		}
		f.refused(method, path, "").want(t, path, 400, "missing_topic", "required")
	}
}

func TestMethodsOfEveryPath(t *testing.T) {
	f := badInputFixture(t)
	allowed := map[string][]string{}
	eachRoute(func(r *route, path, _ string) {
		if allowed[path] == nil {
			allowed[path] = []string{"OPTIONS"}
		}
		allowed[path] = append(allowed[path], r.method.String())
		if r.method == httpparse.GET {
			allowed[path] = append(allowed[path], "HEAD")
		}
	})
	for path, want := range allowed {
		slices.Sort(want)
		for _, method := range []string{"GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "get", "BREW"} {
			if slices.Contains(want, method) {
				continue
			}
			for _, token := range []string{"Bearer dev", ""} {
				r := f.refused(method, path, "", "Authorization", token)
				r.want(t, method+" "+path, 405, "method_not_allowed", "")
				if got := sortedList(r.header.Get("Allow")); !slices.Equal(got, want) {
					t.Errorf("%s %s: Allow %v, want %v", method, path, got, want)
				}
			}
		}
		status, body, h := f.raw("OPTIONS", path, "", "Authorization", "")
		if got := sortedList(h.Get("Allow")); status != 204 || len(body) != 0 || !slices.Equal(got, want) {
			t.Errorf("OPTIONS %s: %d %q, Allow %v, want %v", path, status, body, got, want)
		}
		if h["Content-Length"] != nil || h["Content-Type"] != nil {
			t.Errorf("OPTIONS %s: a 204 with %v", path, h)
		}
		for name := range h {
			if strings.HasPrefix(name, "Access-Control") {
				t.Errorf("OPTIONS %s: %s without CORS", path, name)
			}
		}
	}
	f.refused("OPTIONS", "/nowhere", "").want(t, "OPTIONS /nowhere", 404, "not_found", "")
	c, r := f.dial()
	fmt.Fprint(c, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS /health HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", "CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n")
	for _, want := range []string{"204 ", "204 ", "404 "} {
		if head := readHead(t, r, "OPTIONS"); !strings.HasPrefix(head, "HTTP/1.1 "+want) {
			t.Error(head)
		}
	}
}

func sortedList(text string) []string {
	list := strings.Split(text, ", ")
	slices.Sort(list)
	return list
}

func TestCORS(t *testing.T) {
	for _, origin := range []string{"*", "https://example.org"} {
		f := newFixture(t, "auto", func(o *Options) { o.CORSOrigin = origin })
		eachRoute(func(r *route, path, body string) {
			_, _, h := f.raw("OPTIONS", path, "", "Origin", "https://example.org", "Access-Control-Request-Method", r.method.String())
			for name, want := range map[string]string{
				"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Methods": r.method.String(),
				"Access-Control-Allow-Headers": "Authorization", "Access-Control-Max-Age": "600",
			} {
				if !strings.Contains(h.Get(name), want) {
					t.Errorf("OPTIONS %s: %s %q", path, name, h.Get(name))
				}
			}
			_, _, h = f.raw(r.method.String(), path, body)
			if h.Get("Access-Control-Allow-Origin") != origin || (h.Get("Vary") == "Origin") != (origin != "*") {
				t.Errorf("%s %s: %v", r.method, path, h)
			}
		})
		if r := f.refused("GET", "/metrics", "", "Authorization", ""); r.header.Get("Access-Control-Allow-Origin") != origin {
			t.Error("a browser cannot read why it was refused")
		}
	}
}

func TestAuthOfEveryRoute(t *testing.T) {
	f := everyRouteFixture(t)
	tokens, err := auth.Parse("dev:r@read:w@write:a@admin:rw@read+write:p@read+write+admin/t:q@read+write+admin/other")
	if err != nil {
		t.Fatal(err)
	}
	f.server.options.Tokens.Swap(tokens)
	basic := func(user, token string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+token))
	}
	roles := map[string]auth.Role{
		"Bearer dev": auth.Read | auth.Write | auth.Admin, "bearer  dev": auth.Read | auth.Write | auth.Admin, basic("anyone", "dev"): auth.Read | auth.Write | auth.Admin,
		"Bearer r": auth.Read, "Bearer w": auth.Write, "Bearer a": auth.Admin, basic("", "r"): auth.Read, "Bearer rw": auth.Read | auth.Write,
		"Bearer p": auth.Read | auth.Write | auth.Admin,
	}
	eachRoute(func(r *route, path, body string) {
		path = withQuery(path)
		method, what := r.method.String(), r.method.String()+" "+path
		again := func() { // what a deletion has taken away
			if r.method == httpparse.DELETE {
				f.call("POST", "/broker/topics", goodBodies["/broker/topics"])
				f.call("POST", "/broker/pipelines", goodBodies["/broker/pipelines"])
			}
		}
		for _, header := range []string{"", "Bearer", "Bearer ", "Bearer x", "Bearer devx", "Bearer dev x", "Basic", "Basic !", basic("dev", ""), basic("dev", "x"), "Digest dev", "dev"} {
			if r.role == 0 {
				if status, text, _ := f.raw(method, path, body, "Authorization", header); status != 200 {
					t.Errorf("%s with %q: %d %s", what, header, status, text)
				}
				continue
			}
			f.refused(method, path, body, "Authorization", header).want(t, what+" "+header, 401, "unauthorized", "")
		}
		for header, role := range roles {
			if role&r.role == r.role && r.global && header == "Bearer p" {
				f.refused(method, path, body, "Authorization", header).want(t, what+" "+header, 403, "forbidden", "prefix")
				continue
			}
			if role&r.role == r.role {
				if status, text, _ := f.raw(method, path, body, "Authorization", header); status != 200 {
					t.Errorf("%s with %q: %d %s", what, header, status, text)
				}
				again()
				continue
			}
			f.refused(method, path, body, "Authorization", header).want(t, what+" "+header, 403, "forbidden", "role "+r.role.String())
		}
		// Who has left a group is nobody, and asks for nothing of it. Schemas have no names.
		nameless := r.global || strings.HasSuffix(r.path, "/leave") || strings.HasSuffix(r.path, "/schemas")
		if strings.Contains(r.path, "{topic}") || strings.Contains(r.path, "{ns}") || r.method == httpparse.POST && !nameless {
			f.refused(method, path, body, "Authorization", "Bearer q").want(t, what, 403, "forbidden", `"t"`)
		}
	})
	f.refused("POST", "/broker/topics/unknown/produce", "v", "Authorization", "Bearer q").want(t, "unknown topic", 403, "forbidden", `"unknown"`)
	f.refused("GET", "/admin/timing?reset=1", "", "Authorization", "Bearer r").want(t, "reset", 403, "forbidden", "admin")
	if status, _, _ := f.raw("GET", "/admin/timing?reset=1", "", "Authorization", "Bearer p"); status != 200 {
		t.Error("reset with the role admin: ", status)
	}
	if _, m := f.call("GET", "/broker/topics", "", "Authorization", "Bearer q"); m["count"] != 0.0 {
		t.Error("a topic outside the token's prefix is listed: ", m)
	}
	if _, m := f.call("GET", "/broker/topics", "", "Authorization", "Bearer p"); m["count"] != 2.0 { // and what the pipeline writes to
		t.Error(m)
	}
}

// TestTokensAreSwapped: a connection that was let in is asked again under new tokens, and the cache
// of the last check does not confuse tokens.
func TestTokensAreSwapped(t *testing.T) {
	f := badInputFixture(t)
	c, r := f.dial()
	request := func(token string) int {
		fmt.Fprintf(c, "GET /broker/topics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", token)
		status, _ := answer(t, r, "GET")
		return status
	}
	swap := func(text string) {
		tokens, err := auth.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		f.server.options.Tokens.Swap(tokens)
	}
	for i, step := range []struct {
		tokens string
		want   map[string]int
	}{
		{"", map[string]int{"dev": 200, "reader": 200, "writer": 403, "none": 401}},
		{"dev@write:writer", map[string]int{"dev": 403, "reader": 401, "writer": 200}},
		{"reader@read", map[string]int{"dev": 401, "reader": 200, "writer": 401}},
	} {
		if step.tokens != "" {
			swap(step.tokens)
		}
		for range 2 {
			for token, want := range step.want {
				for range 2 {
					if got := request(token); got != want {
						t.Errorf("step %d: %s gets %d, want %d", i, token, got, want)
					}
				}
			}
		}
	}
}

func TestBadCommands(t *testing.T) {
	f := badInputFixture(t)
	deep := strings.Repeat(`{"a":`, 60_000) + "1" + strings.Repeat("}", 60_000)
	for _, path := range []string{"/broker/topics", "/broker/commit", "/broker/topics/t/partitions", "/broker/delete-before", "/broker/retention"} {
		for body, part := range map[string]string{
			"": "empty", " ": "end of JSON", "{": "end of JSON", "{]": "invalid character", "[]": "array", `"t"`: "string", "1": "number", `{} {}`: "after top-level value",
			deep: "", strings.Repeat("[", 60_000): "depth", "\xff": "invalid character", "{\"name\"}": "invalid character", "name=t": "invalid character",
		} {
			r := f.refused("POST", path, body)
			if len(body) > jsonBodyMax {
				r.want(t, path, 413, "body_too_large", "65536")
				continue
			}
			r.want(t, path+" "+body, 400, "bad_json", part)
		}
		f.refused("POST", path, `{"nope":1}`).want(t, path, 400, "unknown_field", `"nope"`)
		f.refused("POST", path, `{"Topic":"t","Name":"t"}`).want(t, path, 400, "unknown_field", `"Topic"`)
		f.refused("POST", path, `{"\u0000\"":1}`).want(t, path, 400, "unknown_field", `\x00`)
	}
	for _, tt := range []struct {
		body   string
		status int
		code   string
		part   string
	}{
		{`{}`, 400, "missing_topic", ""},
		{`null`, 400, "missing_topic", ""},
		{`{"name":""}`, 400, "missing_topic", ""},
		{`{"name":null}`, 400, "missing_topic", ""},
		{`{"name":1}`, 400, "bad_json", `"name"`},
		{`{"name":"a b"}`, 400, "bad_topic", ""},
		{`{"name":"ä"}`, 400, "bad_topic", ""},
		{`{"name":".."}`, 400, "bad_topic", ""},
		{`{"name":"` + strings.Repeat("n", 250) + `"}`, 400, "bad_topic", ""},
		{`{"name":"x","partitions":0}`, 400, "bad_partitions", "1024"},
		{`{"name":"x","partitions":1025}`, 400, "bad_partitions", "1024"},
		{`{"name":"x","partitions":4294967296}`, 400, "bad_json", `"partitions"`},
		{`{"name":"x","partitions":-1}`, 400, "bad_json", `"partitions"`},
		{`{"name":"x","partitions":1.5}`, 400, "bad_json", `"partitions"`},
		{`{"name":"x","partitions":"8"}`, 400, "bad_json", `"partitions"`},
		{`{"name":"x","partitions":1,"partitions":2}`, 400, "bad_json", `"partitions"`},
		{`{"name":"x","mode":"x"}`, 400, "bad_json", "mode"},
		{`{"name":"x","mode":"Rocket"}`, 400, "bad_json", "mode"},
		{`{"name":"x","ttl_ms":-1}`, 400, "bad_json", `"ttl_ms"`},
		{`{"name":"x","max_bytes":true}`, 400, "bad_json", `"max_bytes"`},
		{`{"name":"t"}`, 409, "topic_exists", `"t"`},
		{`{"name":"t","partitions":2,"ttl_ms":1}`, 409, "topic_exists", `"t"`},
		{`{"name":"t","partitions":2,"max_bytes":1}`, 409, "topic_exists", `"t"`},
	} {
		f.refused("POST", "/broker/topics", tt.body).want(t, tt.body, tt.status, tt.code, tt.part)
	}
	commit := func(change ...string) string {
		return strings.NewReplacer(change...).Replace(goodBodies["/broker/commit"])
	}
	for _, tt := range []struct {
		body   string
		status int
		code   string
		part   string
	}{
		{commit(`"t"`, `""`), 400, "missing_topic", ""},
		{commit(`"topic":"t",`, ""), 400, "missing_topic", ""},
		{commit(`"t"`, `"a b"`), 400, "bad_topic", ""},
		{commit(`"t"`, `"none"`), 404, "unknown_topic", `"none"`},
		{commit(`"t"`, `7`), 400, "bad_json", `"topic"`},
		{commit(`"g"`, `""`), 400, "bad_group", ""},
		{commit(`"group":"g",`, ""), 400, "bad_group", ""},
		{commit(`"g"`, `"a/b"`), 400, "bad_group", ""},
		{commit(`"g"`, `"`+strings.Repeat("g", 250)+`"`), 400, "bad_group", ""},
		{commit(`"partition":0,`, ""), 400, "bad_json", "partition"},
		{commit(`"partition":0`, `"partition":2`), 404, "unknown_partition", "2 partitions"},
		{commit(`"partition":0`, `"partition":-1`), 400, "bad_json", `"partition"`},
		{commit(`"partition":0`, `"partition":4294967296`), 400, "bad_json", `"partition"`},
		{commit(`"partition":0`, `"partition":null`), 400, "bad_json", "partition"},
		{commit(`,"offset":0`, ""), 400, "bad_json", "offset"},
		{commit(`"offset":0`, `"offset":-1`), 400, "bad_json", `"offset"`},
		{commit(`"offset":0`, `"offset":"0"`), 400, "bad_json", `"offset"`},
		{commit(`"offset":0`, `"offset":9223372036854775808`), 400, "bad_json", "offset"},
		{commit(`"offset":0`, `"offset":18446744073709551616`), 400, "bad_json", `"offset"`},
		{commit(`"offset":0`, `"offset":2`), 416, "offset_out_of_range", ""},
		{commit(`"offset":0`, `"offset":9223372036854775807`), 416, "offset_out_of_range", ""},
	} {
		f.refused("POST", "/broker/commit", tt.body).want(t, tt.body, tt.status, tt.code, tt.part)
	}
	if _, m := f.call("GET", "/broker/topics", ""); m["count"] != 1.0 {
		t.Error("a refused command had an effect: ", m)
	}
}

func TestBadProduces(t *testing.T) {
	f := newFixture(t, "auto", func(o *Options) { o.AutoCreate, o.HTTP.BodyMax = false, 1000 })
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
	many := func(n int) (header []string) {
		for i := range n {
			header = append(header, fmt.Sprintf("X-Ayder-H-%d", i), "v")
		}
		return header
	}
	for _, path := range []string{"/broker/topics/t/produce", "/broker/topics/t/produce-ndjson"} {
		f.refused("POST", path, strings.Repeat("1", 1001)).want(t, path, 413, "body_too_large", "")
		f.refused("POST", path, "1", "Content-Encoding", "br").want(t, path, 415, "unsupported_encoding", "")
		f.refused("POST", path, "1", many(headersMax+1)...).want(t, path, 400, "bad_message_header", "")
		f.refused("POST", path, "1", "X-Ayder-H-"+strings.Repeat("n", 257), "v").want(t, path, 400, "bad_message_header", "")
		c, r := f.dial()
		fmt.Fprint(c, strings.Replace(post(path, "1"), "Host", "X-Ayder-H-Ab: 1\r\nX-Ayder-H-C: 2\r\nx-ayder-h-aB: 3\r\nHost", 1))
		if status, body := answer(t, r, "POST"); status != 400 || !strings.Contains(body, `header \"aB\" occurs twice`) {
			t.Errorf("%s with a repeated message header: %d %s", path, status, body)
		}
		f.refused("POST", path+"?expected_offset=7", "1").want(t, path, 412, "unexpected_offset", "")
		f.refused("POST", strings.Replace(path, "/t/", "/none/", 1), "1").want(t, path, 404, "unknown_topic", `"none"`)
		for _, header := range [][]string{many(headersMax), {"Content-Encoding", "identity"}, {"X-Ayder-H-" + strings.Repeat("n", 256), "v"}, {"X-Ayder-H-", "v"}} {
			if status, m := f.call("POST", path, "1", header...); status != 200 {
				t.Errorf("%s with %.50v: %d %v", path, header, status, m)
			}
		}
	}
	if _, m := f.call("POST", "/broker/topics/t/produce?expected_offset=9", "1"); m["next_offset"] != 8.0 || m["earliest_offset"] != 0.0 {
		t.Error(m)
	}
}

// TestErrorsOfHTTPItself: what the parser refuses has the same shape, and ends the connection.
func TestErrorsOfHTTPItself(t *testing.T) {
	f := newFixture(t, "auto", func(o *Options) {
		o.HTTP.RequestLineMax, o.HTTP.HeadMax, o.HTTP.FieldsMax, o.HTTP.BodyMax = 1<<10, 4<<10, 20, 1<<10
	})
	chunked := "POST /broker/topics/t/produce HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dev\r\nTransfer-Encoding: chunked\r\n\r\n"
	host := "Host: x\r\n"
	for _, tt := range []struct {
		text   string
		status int
		code   string
	}{
		{"GET /health\r\n\r\n", 400, "bad_request_line"},
		{"GET  /health HTTP/1.1\r\n" + host + "\r\n", 400, "bad_request_line"},
		{"G@T /health HTTP/1.1\r\n", 400, "bad_method"},
		{strings.Repeat("M", 40) + " / HTTP/1.1\r\n", 501, "method_too_long"},
		{"GET /a\x01b HTTP/1.1\r\n", 400, "bad_target"},
		{"GET /" + strings.Repeat("a", 2000) + " HTTP/1.1\r\n", 414, "uri_too_long"},
		{"GET /health HTTP/2.0\r\n", 505, "unsupported_version"},
		{"GET /health HTTP/1.1\n", 400, "bad_line_end"},
		{"GET /health HTTP/1.1\r\nHost : x\r\n", 400, "bad_header"},
		{"GET /health HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400, "bad_header"},
		{"GET /health HTTP/1.1\r\n" + host + "Authorization: a\r\nAuthorization: b\r\n\r\n", 400, "repeated_header"},
		{"GET /health HTTP/1.1\r\n" + host + strings.Repeat("a: "+strings.Repeat("b", 500)+"\r\n", 10) + "\r\n", 431, "headers_too_large"},
		{"GET /health HTTP/1.1\r\n" + host + strings.Repeat("a: b\r\n", 30) + "\r\n", 431, "too_many_headers"},
		{"GET /health HTTP/1.1\r\n\r\n", 400, "bad_host"},
		{"POST /x HTTP/1.1\r\n" + host + "Content-Length: 1x\r\n\r\n", 400, "bad_content_length"},
		{"POST /x HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "bad_content_length"},
		{"POST /x HTTP/1.1\r\n" + host + "Content-Length: 1025\r\n\r\n", 413, "body_too_large"},
		{"POST /x HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip\r\n\r\n", 501, "unsupported_transfer_encoding"},
		{"POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "bad_transfer_encoding"},
		{"POST /x HTTP/1.1\r\n" + host + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "bad_framing"},
		{"POST /x HTTP/1.1\r\n" + host + "Expect: 200-ok\r\nContent-Length: 1\r\n\r\n", 417, "expectation_failed"},
		{chunked + "x\r\n", 400, "bad_chunk"},
		{chunked + "5\r\nhello0\r\n", 400, "bad_chunk"},
		{chunked + "401\r\n" + strings.Repeat("b", 1025) + "\r\n0\r\n\r\n", 413, "body_too_large"},
		{chunked + "200\r\n" + strings.Repeat("b", 512) + "\r\n201\r\n" + strings.Repeat("b", 513) + "\r\n0\r\n\r\n", 413, "body_too_large"},
		{chunked + "0\r\nbad trailer\r\n\r\n", 400, "bad_trailer"},
		{chunked + "0\r\n" + strings.Repeat("t: "+strings.Repeat("b", 500)+"\r\n", 20), 431, "trailers_too_large"},
	} {
		c, r := f.dial()
		fmt.Fprint(c, get("/health")+tt.text)
		if status, body := answer(t, r, "GET"); status != 200 {
			t.Fatal(status, body)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("%.60q: %v", tt.text, err)
		}
		text := make([]byte, resp.ContentLength)
		if _, err := io.ReadFull(r, text); err != nil {
			t.Fatal(err)
		}
		f.refusal(tt.text, resp.StatusCode, text, resp.Header).want(t, tt.text, tt.status, tt.code, "")
		if _, err := r.ReadByte(); err == nil || !resp.Close {
			t.Errorf("%.60q: the connection goes on", tt.text)
		}
	}
}

// TestDocsExplainEveryCode: the path in an error's "docs" leads to a page with that anchor.
func TestDocsExplainEveryCode(t *testing.T) {
	f := newFixture(t, "auto")
	status, page, h := f.raw("GET", "/docs/errors", "", "Authorization", "")
	if status != 200 || !strings.HasPrefix(h.Get("Content-Type"), "text/html") {
		t.Fatal(status, h)
	}
	for _, e := range errorTable() {
		if n := strings.Count(string(page), fmt.Sprintf("id=%q", e.Code)); n != 1 {
			t.Errorf("%s has %d anchors", e.Code, n)
		}
		if !strings.Contains(string(page), fmt.Sprintf("%d %s", e.Status, e.Code)) {
			t.Errorf("%s: its status is not shown", e.Code)
		}
		if !slices.Contains(statuses, e.Status) {
			t.Errorf("%s has status %d", e.Code, e.Status)
		}
	}
}
