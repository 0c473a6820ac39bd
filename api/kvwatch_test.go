package api

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"ayder/engine"
	"ayder/internal/record"
)

// kvEvent is one event of a watch.
type kvEvent struct {
	id, name, key string
	cas           float64
	value         string
}

func (e kvEvent) String() string {
	return fmt.Sprintf("%s %s %s=%s@%v", e.id, e.name, e.key, e.value, e.cas)
}

// watch opens a watch; next returns its next event.
func (f *fixture) watch(query, last string) (next func() kvEvent) {
	f.t.Helper()
	req, err := http.NewRequest("GET", f.url+"/kv/"+query, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer dev")
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 60 * time.Second}
	resp, err := c.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		f.t.Fatal(resp.Status, resp.Header)
	}
	r := bufio.NewReaderSize(resp.Body, 1<<20)
	return func() kvEvent { return readKVEvent(f.t, r) }
}

func readKVEvent(t *testing.T, r *bufio.Reader) (e kvEvent) {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			if err == io.EOF {
				return kvEvent{name: "end"}
			}
			t.Fatal(err)
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			var m map[string]any
			if err := json.Unmarshal([]byte(value), &m); err != nil {
				t.Fatal(value, err)
			}
			e.key, _ = m["key"].(string)
			e.cas, _ = m["cas"].(float64)
			text, _ := m["value"].(string)
			b, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				t.Fatal(err)
			}
			e.value = string(b)
		case "":
			if e.name != "" {
				return e
			}
		}
	}
}

func wantEvents(t *testing.T, next func() kvEvent, want ...string) {
	t.Helper()
	for _, w := range want {
		if got := next().String(); got != w {
			t.Fatalf("event %q, want %q", got, w)
		}
	}
}

func TestKVWatch(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend)
		f.kv("PUT", "ns/a", "before", 200)
		next := f.watch("ns?watch=1", "")
		some := f.watch("ns?watch=1&prefix=b/", "")
		f.kv("PUT", "ns/a", "1", 200)
		f.kv("PUT", "ns/b%2F1", "2", 200)
		f.kv("DELETE", "ns/a", "", 200)
		f.kv("PUT", "other/b%2F1", "", 200)
		f.kv("PUT", "ns/b%2F2?ttl_ms=1", "3", 200)
		wantEvents(t, next, "1 put a=1@2", "2 put b/1=2@1", "3 delete a=@3", "4 put b/2=3@1", "5 expire b/2=@2")
		wantEvents(t, some, "2 put b/1=2@1", "4 put b/2=3@1", "5 expire b/2=@2")
		wantEvents(t, f.watch("ns?watch=1", "2"), "3 delete a=@3", "4 put b/2=3@1")
		wantEvents(t, f.watch("ns?watch=1", "-1"), "0 put a=before@1", "1 put a=1@2")
		m := f.kv("GET", "ns", "", 200, "count", 1, "last_event_id", 5)
		behind := f.watch("ns?watch=1", m["last_event_id"].(string))
		f.kv("PUT", "ns/c", "4", 200)
		wantEvents(t, behind, "6 put c=4@1")
		wantEvents(t, next, "6 put c=4@1")
		f.refused("GET", "/kv/ns?watch=1&limit=5", "").want(t, "limit", 400, "bad_parameter", "watch")
		f.refused("GET", "/kv/ns?watch=1", "", "Last-Event-ID", "x").want(t, "id", 400, "bad_parameter", "Last-Event-ID")
		if status, _, h := f.raw("HEAD", "/kv/ns?watch=1", ""); status != 200 || h.Get("Content-Type") != eventsType {
			t.Error(status, h)
		}
	})
}

// Watches of buckets that other loops own, from memory and from disk, miss nothing.
func TestKVWatchOverLoops(t *testing.T) {
	readsOn(t)
	f := newFixture(t, "uring", func(o *Options) { o.Loops = 3 })
	for _, cold := range []bool{false, true} {
		for i := range 6 {
			ns := fmt.Sprintf("ns%d%v", i, cold)
			f.kv("PUT", ns+"/k", "0", 200)
			end := f.server.options.Engine.KVEnd(engine.KVBucketOf([]byte(ns)))
			next := f.watch(ns+"?watch=1", strconv.FormatUint(end-1, 10))
			f.log.set(func(m *memLog) { m.cold = cold })
			for n := range 30 {
				f.kv("PUT", ns+"/k", fmt.Sprint(n), 200)
			}
			for n := range 30 {
				if e := next(); e.value != fmt.Sprint(n) || e.cas != float64(n+2) {
					t.Fatal(ns, n, e)
				}
			}
		}
	}
}

// A watch that would have to show what is no longer stored shows the state and goes on.
func TestKVWatchOfCompactedHistory(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend)
		large := strings.Repeat("v", streamPieceBytes)
		for i := range 10 {
			f.kv("PUT", fmt.Sprint("ns/k", i%5), fmt.Sprint(large, i), 200)
		}
		f.kv("PUT", "ns/gone", "", 200)
		f.kv("DELETE", "ns/gone", "", 200)
		f.kv("PUT", "ns/k4", "small", 200)
		f.log.forgetSections(1, 4) // each change is a frame of its own here
		next := f.watch("ns?watch=1", "0")
		f.kv("PUT", "ns/k4", "later", 200)
		var got []string
		for {
			e := next()
			e.value = strings.ReplaceAll(e.value, large, "")
			if got = append(got, e.String()); strings.Contains(e.String(), "later") && e.id != "" || len(got) > 20 {
				break
			}
		}
		want := "[ reset =@0  put k0=5@2  put k1=6@2  put k2=7@2  put k3=8@2  put k4=small@3 12 synced =@0 13 put k4=later@4]"
		also := "[ reset =@0  put k0=5@2  put k1=6@2  put k2=7@2  put k3=8@2  put k4=later@4 13 synced =@0" // the snapshot came later
		if fmt.Sprint(got) != want && !strings.HasPrefix(fmt.Sprint(got), also) {
			t.Fatalf("%v\nwant %v", got, want)
		}
	})
}

// forgetSections drops the committed frames from number first up to but not including next, as if what they hold were given back.
func (m *memLog) forgetSections(first, next int) {
	m.set(func(m *memLog) { m.frames = append(m.frames[:first:first], m.frames[next:]...) })
}

// A frame of another node is news, too.
func TestKVWatchOnAFollower(t *testing.T) {
	f := newClusterFixture(t, "auto")
	next := f.watch("ns?watch=1", "")
	e := engine.New(engine.Config{Shards: 1})
	b := record.NewBatch()
	full := engine.AppendKVKey(nil, []byte("ns"), []byte("k"))
	if _, err := e.Shard(0).KVPut(b, engine.KVBucketOf([]byte("ns")), full, []byte("v"), engine.KVOptions{}); err != nil {
		t.Fatal(err)
	}
	f.foreign(bytes.Clone(b.Seal(record.Header{Index: 1, Term: 1, TimeMs: 5}, 1)))
	wantEvents(t, next, "0 put k=v@1")
	if status, m := f.call("GET", "/kv/ns/k", ""); status != 200 || m["role"] != "follower" {
		t.Fatal(status, m)
	}
}
