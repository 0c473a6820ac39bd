package api

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"ayder/engine"
)

// kv makes a call and compares the answer's status and some of its members.
func (f *fixture) kv(method, path, body string, status int, want ...any) map[string]any {
	f.t.Helper()
	got, m := f.call(method, "/kv/"+path, body)
	if got != status {
		f.t.Fatalf("%s %s: %d %v, want %d", method, path, got, m, status)
	}
	for i := 0; i < len(want); i += 2 {
		if fmt.Sprint(m[want[i].(string)]) != fmt.Sprint(want[i+1]) {
			f.t.Fatalf("%s %s: %v, want %v %v", method, path, m, want[i], want[i+1])
		}
	}
	return m
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestKVLife(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend)
		f.kv("GET", "ns/k", "", 404, "error", "unknown_key")
		f.kv("GET", "ns/k/meta", "", 404, "error", "unknown_key")
		f.kv("DELETE", "ns/k", "", 200, "ok", true, "deleted", false)
		f.kv("POST", "ns/k?cas=0", "one", 200, "ok", true, "cas", 1, "sealed", true, "durable", true, "mode", "sealed", "synced", true, "batch_id", 1)
		f.kv("POST", "ns/k?cas=0", "x", 409, "error", "cas_mismatch", "current", 1)
		f.kv("PUT", "ns/k?cas=1", "two", 200, "cas", 2)
		f.kv("GET", "ns/k", "", 200, "value", b64("two"), "cas", 2)
		f.kv("GET", "ns/k/meta", "", 200, "cas", 2, "ttl_ms", nil, "size", 3)
		f.kv("PUT", "ns/k?ttl_ms=3600000&timing=1&concern=async", "", 200, "cas", 3)
		if m := f.kv("GET", "ns/k/meta", "", 200, "cas", 3, "size", 0); m["ttl_ms"].(float64) > 3600000 || m["ttl_ms"].(float64) < 3000000 {
			t.Fatal(m)
		}
		f.kv("GET", "other/k", "", 404)
		f.kv("DELETE", "ns/k?cas=2", "", 409, "current", 3)
		f.kv("DELETE", "ns/k?cas=3", "", 200, "deleted", true, "cas", 4, "durable", true)
		f.kv("GET", "ns/k", "", 404)
		f.kv("PUT", "ns/k?cas=4", "", 409, "current", 0)
		f.kv("PUT", "ns/k?timeout_ms=0", "five", 200, "cas", 5, "synced", false)
		f.kv("PUT", "ns/k?timeout_ms=20000", "six", 200, "cas", 6, "synced", true)
		f.kv("DELETE", "ns/k?ttl_ms=1", "", 400, "error", "unknown_parameter")
	})
}

func TestKVKeysAreBytes(t *testing.T) {
	f := newFixture(t, "auto")
	paths := map[string]string{
		"a/b": "a/b", "a%2Fb/c": "a/b/c", "x/meta%2F": "x/meta/", "meta": "meta", "%00%ff": "\x00\xff", "a%2Fmeta": "a/meta", "%2Fmeta": "/meta", "..%2F..": "../..",
		"a//b": "a//b", "k/": "k/", "%2f": "/", "é": "é", "a+b": "a+b", strings.Repeat("k", 1024): strings.Repeat("k", 1024),
	}
	for path, key := range paths {
		f.kv("PUT", "bytes/"+path, key, 200, "cas", 1)
	}
	for path, key := range paths {
		f.kv("GET", "bytes/"+path, "", 200, "value", b64(key), "cas", 1)
		f.kv("GET", "bytes/"+path+"/meta", "", 200, "cas", 1, "size", len(key))
	}
	f.kv("GET", "bytes/a/b/meta", "", 200, "size", 3)
	f.kv("GET", "bytes/a/meta", "", 404, "error", "unknown_key") // of the key a
	f.kv("PUT", "bytes/a/meta", "", 405)
	f.kv("PUT", "bytes/"+strings.Repeat("k", 1025), "", 400, "error", "bad_key")
	f.kv("PUT", "bytes/", "", 400, "error", "bad_key")
	m := f.kv("GET", "bytes?limit=1000", "", 200, "count", len(paths), "truncated", false)
	seen := map[string]bool{}
	for _, k := range m["keys"].([]any) {
		seen[keyIn(t, k.(map[string]any), "key")] = true
	}
	for _, key := range paths {
		if !seen[key] {
			t.Errorf("%q is not listed", key)
		}
	}
}

// keyIn decodes a key of an answer.
func keyIn(t *testing.T, m map[string]any, name string) string {
	t.Helper()
	if s, ok := m[name].(string); ok {
		return s
	}
	b, err := base64.StdEncoding.DecodeString(fmt.Sprint(m[name+"_b64"]))
	if err != nil {
		t.Fatal(m, err)
	}
	return string(b)
}

func TestKVValues(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend)
		for i, size := range []int{0, 1, 2, 3, 1000, 100_000, 1 << 20} {
			value := strings.Repeat("\x00é", size)[:size]
			f.kv("PUT", "v/k", value, 200, "cas", i+1)
			f.kv("GET", "v/k", "", 200, "value", b64(value))
			status, raw, h := f.raw("GET", "/kv/v/k?raw=1", "")
			if status != 200 || string(raw) != value || h.Get("ETag") != fmt.Sprintf(`"%d"`, i+1) || h.Get("Content-Type") != "application/octet-stream" {
				t.Fatal(status, len(raw), h)
			}
		}
		f.kv("PUT", "v/k", strings.Repeat("x", 1<<20+1), 413, "error", "body_too_large")
		f.kv("GET", "v/k/meta", "", 200, "cas", 7, "size", float64(1<<20))
		for field, want := range map[string]int{
			`"7"`: 304, `W/"7"`: 304, `"6", "7"`: 304, `*`: 304, `"6"`: 200, `7`: 200, `"77"`: 200, ``: 200, `"6" ,W/"7"`: 304,
		} {
			status, body, h := f.raw("GET", "/kv/v/k?raw=1", "", "If-None-Match", field)
			if status != want || (want == 304) != (len(body) == 0) || h.Get("ETag") != `"7"` {
				t.Errorf("If-None-Match: %s: %d with %d bytes, %v", field, status, len(body), h)
			}
			if want == 304 && h["Content-Length"] != nil {
				t.Error("a 304 with a length", h)
			}
		}
		if status, _, h := f.raw("HEAD", "/kv/v/k?raw=1", ""); status != 200 || h.Get("Content-Length") != "1048576" {
			t.Error("HEAD:", status, h)
		}
	})
}

// Puts that build on one another, on one connection and not waited for.
func TestKVPipelinedCAS(t *testing.T) {
	f := newFixture(t, readsOn(t))
	f.log.set(func(m *memLog) { m.hold = true })
	c, r := f.dial()
	request := func(method, cas, body string) {
		fmt.Fprintf(c, "%s /kv/ns/k?cas=%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dev\r\nContent-Length: %d\r\n\r\n%s", method, cas, len(body), body)
	}
	request("PUT", "0", "a")
	request("PUT", "1", "b")
	request("PUT", "1", "c")
	request("DELETE", "2", "")
	request("DELETE", "3", "")
	request("PUT", "0", "d")
	waitFor(t, "the first to be held", func() bool {
		f.log.mu.Lock()
		defer f.log.mu.Unlock()
		return len(f.log.held) > 0
	})
	f.log.release()
	for _, want := range []string{
		`200 {"ok":true,"cas":1,`, `200 {"ok":true,"cas":2,`, `"error":"cas_mismatch","message":"The key has another cas than the request names","current":2,`,
		`200 {"ok":true,"deleted":true,"cas":3,`, `,"current":0,`, `200 {"ok":true,"cas":4,`,
	} {
		status, body := answer(t, r, "PUT")
		if got := fmt.Sprint(status, " ", body); !strings.Contains(got, want) {
			t.Fatalf("%s, want %s", got, want)
		}
	}
}

func TestKVList(t *testing.T) {
	f := newFixture(t, "auto")
	for _, key := range []string{"b%2F1", "b%2F2", "b%2F3", "a", "c", "b%ff", "b"} {
		f.kv("PUT", "l/"+key, key, 200)
	}
	f.kv("PUT", "l2/zz", "", 200)
	f.kv("DELETE", "l/b%2F2", "", 200)
	f.kv("PUT", "l/c?ttl_ms=1000000", "", 200)
	list := func(query string) (keys []string, m map[string]any) {
		m = f.kv("GET", "l?"+query, "", 200)
		for _, k := range m["keys"].([]any) {
			keys = append(keys, keyIn(t, k.(map[string]any), "key"))
		}
		return keys, m
	}
	for query, want := range map[string]string{
		"": `["a" "b" "b/1" "b/3" "b\xff" "c"]`, "prefix=b": `["b" "b/1" "b/3" "b\xff"]`, "prefix=b/": `["b/1" "b/3"]`, "prefix=x": `[]`, "after=b": `["b/1" "b/3" "b\xff" "c"]`,
		"after=b&prefix=b": `["b/1" "b/3" "b\xff"]`, "after=a&prefix=b": `["b" "b/1" "b/3" "b\xff"]`, "after=zz": `[]`, "after=b%ff": `["c"]`, "after=": `["a" "b" "b/1" "b/3" "b\xff" "c"]`,
		"limit=2": `["a" "b"]`, "prefix=%ff": `[]`,
	} {
		if keys, m := list(query); fmt.Sprintf("%q", keys) != want || m["count"] != float64(len(keys)) || m["truncated"] != (query == "limit=2") {
			t.Errorf("%s: %q %v, want %s", query, keys, m, want)
		}
	}
	var all []string
	for query := "limit=1"; ; {
		keys, m := list(query)
		all = append(all, keys...)
		if m["truncated"] != true {
			break
		}
		query = "limit=1&after=" + url.QueryEscape(keyIn(t, m, "next_after"))
	}
	if fmt.Sprintf("%q", all) != `["a" "b" "b/1" "b/3" "b\xff" "c"]` {
		t.Errorf("page by page: %q", all)
	}
	_, m := list("prefix=c")
	if k := m["keys"].([]any)[0].(map[string]any); k["cas"] != 2.0 || k["size"] != 0.0 || k["ttl_ms"].(float64) < 900000 {
		t.Error(m)
	}
}

func TestKVScope(t *testing.T) {
	f := newFixture(t, "auto")
	if status, _ := f.call("PUT", "/kv/allowed.a/k", "v", "Authorization", "Bearer writer"); status != 200 {
		t.Fatal(status)
	}
	f.refused("PUT", "/kv/a/k", "v", "Authorization", "Bearer writer").want(t, "scope", 403, "forbidden", `namespace "a"`)
	f.refused("PUT", "/kv/a/k", "v", "Authorization", "Bearer reader").want(t, "role", 403, "forbidden", "write")
	f.refused("PUT", "/kv/a/k", "v", "Content-Encoding", "br").want(t, "coding", 415, "unsupported_encoding", "")
}

// A key is gone when its time is up, whether somebody asks for it or not, and its end is in the log.
func TestKVExpiry(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend)
		f.kv("PUT", "ns/asked?ttl_ms=1", "v", 200)
		waitFor(t, "the key to expire", func() bool { status, _ := f.call("GET", "/kv/ns/asked", ""); return status == 404 })
		f.kv("PUT", "ns/asked?cas=0", "v", 200, "cas", 3)
		for i := range 3 * kvExpireTurn {
			f.kv("PUT", fmt.Sprintf("ns/k%d?ttl_ms=1&timeout_ms=0", i), "v", 200, "cas", 1)
		}
		waitFor(t, "keys to be put and expire that nobody asks for", func() bool {
			e := f.server.options.Engine
			return e.KVKeys() == 1 && e.KVEnd(engine.KVBucketOf([]byte("ns"))) == 3+2*3*kvExpireTurn
		})
		f.kv("GET", "ns", "", 200, "count", 1)
		f.kv("PUT", "ns/k7", "v", 200, "cas", 3)
	})
}

// A key whose time is up before its put is even committed ends all the same.
func TestKVExpiryOfAPutInFlight(t *testing.T) {
	f := newFixture(t, "auto")
	f.log.set(func(m *memLog) { m.hold = true })
	f.kv("PUT", "ns/k?ttl_ms=1&timeout_ms=0", "v", 200)
	waitFor(t, "the put to be held", func() bool { return f.log.commits() > 0 })
	time.Sleep(20 * time.Millisecond) // the loop has looked and found nothing
	f.log.release()
	waitFor(t, "the key to expire", func() bool {
		return f.server.options.Engine.KVEnd(engine.KVBucketOf([]byte("ns"))) == 2 && f.server.options.Engine.KVKeys() == 0
	})
}

// Where nothing can be written, the clock decides.
func TestKVExpiryWithoutALog(t *testing.T) {
	f := newFixture(t, "auto")
	f.kv("PUT", "ns/k?ttl_ms=50", "v", 200)
	f.log.set(func(m *memLog) { m.refusal = ErrNoSpace })
	waitFor(t, "the key to expire", func() bool { status, _ := f.call("GET", "/kv/ns/k", ""); return status == 404 })
	f.kv("PUT", "ns/k", "v", 507)
	f.kv("GET", "ns", "", 200, "count", 0)
}

func TestKVColdValues(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend)
		for i := range 100 {
			f.kv("PUT", fmt.Sprintf("ns/k%d", i), fmt.Sprint("value ", i), 200)
		}
		f.log.set(func(m *memLog) { m.cold = true })
		for i := range 100 {
			f.kv("GET", fmt.Sprintf("ns/k%d", i), "", 200, "value", b64(fmt.Sprint("value ", i)))
		}
		if _, raw, h := f.raw("GET", "/kv/ns/k7?raw=1", ""); string(raw) != "value 7" || h.Get("ETag") != `"1"` {
			t.Fatal(string(raw), h)
		}
		f.log.set(func(m *memLog) { m.damage = errors.New("crc") })
		f.kv("GET", "ns/k1", "", 500, "error", "storage_damaged")
		f.kv("GET", "ns/k1/meta", "", 200)
	})
}

// Several loops answer as one does; keys of other loops' buckets are reached by forwarding.
func TestKVOverLoops(t *testing.T) {
	readsOn(t)
	f := newFixture(t, "uring", func(o *Options) { o.Loops = 3 })
	for i := range 40 {
		ns := fmt.Sprint("ns", i)
		f.kv("PUT", ns+"/k", ns, 200, "cas", 1)
		f.kv("PUT", ns+"/k?cas=0", ns, 409, "current", 1)
		f.kv("GET", ns+"/k", "", 200, "value", b64(ns))
		f.kv("GET", ns, "", 200, "count", 1)
		f.kv("PUT", ns+"/t?ttl_ms=1", ns, 200, "cas", 1)
		f.kv("DELETE", ns+"/k", "", 200, "deleted", true)
		f.kv("DELETE", ns+"/k", "", 200, "deleted", false)
	}
	waitFor(t, "every loop to expire its keys", func() bool { return f.server.options.Engine.KVKeys() == 0 })
}

// In a cluster.

// A refusal waits for the change that it counts on, and is lost with it.
func TestKVRefusalsInACluster(t *testing.T) {
	f := newLeader(t, readsOn(t), 1)
	f.manual()
	c, r := f.dial()
	fmt.Fprint(c, post("/kv/ns/k", "a"))
	f.await(1)
	other, ro := f.dial()
	fmt.Fprint(other, post("/kv/ns/k?cas=0", "b"))
	waitFor(t, "the refusal to be parked", func() bool { return f.parked() == 2 })
	f.commit(1)
	expect(t, r, `200 "cas":1`)
	expect(t, ro, `409 "current":1`)

	fmt.Fprint(c, post("/kv/ns/k", "c"))
	fmt.Fprint(other, "DELETE /kv/ns/none HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dev\r\n\r\n")
	waitFor(t, "both to be parked", func() bool { return f.parked() == 2 })
	f.depose("n2")
	expect(t, r, "503 leadership_lost")
	expect(t, ro, "503 leadership_lost")
}

// A read that finds a key due answers when its end is committed; a leader that cannot commit it does not answer for the next.
func TestKVDueReadsInACluster(t *testing.T) {
	f := newLeader(t, readsOn(t), 1)
	f.manual()
	c, r := f.dial()
	fmt.Fprint(c, post("/kv/ns/k?ttl_ms=100", "v"))
	f.await(1)
	f.commit(1)
	expect(t, r, `200 "cas":1`)
	waitFor(t, "the loop to have it expired", func() bool { return f.rep.proposed() > 0 })
	fmt.Fprint(c, get("/kv/ns/k"))
	waitFor(t, "the read to be parked", func() bool { return f.parked() == 1 })
	f.commit(-1)
	expect(t, r, "404 unknown_key")
}
