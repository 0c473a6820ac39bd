package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestFill(t *testing.T) {
	for n, want := range map[uint64]string{0: "0000000000000000", 255: "00000000000000ff", 1<<64 - 1: "ffffffffffffffff"} {
		field := []byte(numberField)
		if fillHex(field, n); string(field) != want {
			t.Errorf("%d in hex is %q, want %q", n, field, want)
		}
	}
	for n, want := range map[uint64]string{0: "               0", 7: "               7", 1200: "            1200"} {
		field := []byte(numberField)
		if fillSpaced(field, n); string(field) != want {
			t.Errorf("%d spaced is %q, want %q", n, field, want)
		}
	}
}

// Scattered numbers are all different, or fewer keys would be put than there are requests.
func TestFillScattered(t *testing.T) {
	seen := map[string]bool{}
	for n := range uint64(10_000) {
		field := []byte(numberField)
		fillScattered(field, n)
		seen[string(field)] = true
	}
	if len(seen) != 10_000 {
		t.Error(len(seen), "different ones")
	}
}

func TestPayload(t *testing.T) {
	p := payload(1000)
	if len(p) != 1000 || bytes.ContainsAny(p, "\"\\\r\n ") || bytes.Count(p, p[:1]) > 100 {
		t.Errorf("payload %q", p)
	}
	if !bytes.Equal(p[:64], payload(64)) {
		t.Error("two payloads differ")
	}
}

func TestNDJSON(t *testing.T) {
	text := ndjson(3, 64)
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines", len(lines))
	}
	for _, line := range lines {
		if len(line) != 64 || !json.Valid([]byte(line)) {
			t.Errorf("line %q is not 64 bytes of JSON", line)
		}
	}
}

// readRequest parses what a dialect sends with the standard library.
func readRequest(t *testing.T, text []byte) (*http.Request, []byte) {
	t.Helper()
	in := bufio.NewReader(bytes.NewReader(text))
	r, err := http.ReadRequest(in)
	if err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if rest, _ := io.ReadAll(in); len(rest) > 0 {
		t.Fatalf("%q behind the request", rest)
	}
	return r, body
}

func testConfig(workload string) *config {
	return &config{
		target: "ayder", addr: "127.0.0.1:1109", workload: workload, topic: "bench", token: "dev",
		size: 64, lines: 3, limit: 100, partitions: 1, connections: 1, pipeline: 1, base64: true,
	}
}

// sent collects n requests of a workload.
func sent(t *testing.T, c *config, n int) (requests []*http.Request, bodies []string) {
	t.Helper()
	d, err := newHTTPDialect(c)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		text, _ := d.request(nil, 0)
		r, body := readRequest(t, text)
		requests, bodies = append(requests, r), append(bodies, string(body))
	}
	return requests, bodies
}

func TestProduceRequests(t *testing.T) {
	c := testConfig("produce")
	c.partitions, c.keys, c.query = 2, 3, "timeout_ms=0"
	requests, bodies := sent(t, c, 4)
	for i, r := range requests {
		q := r.URL.Query()
		if r.Method != "POST" || r.URL.Path != "/broker/topics/bench/produce" || len(bodies[i]) != 64 {
			t.Errorf("request %d: %s %s with %d bytes", i, r.Method, r.URL, len(bodies[i]))
		}
		if q.Get("timeout_ms") != "0" || r.Header.Get("Authorization") != "Bearer dev" {
			t.Errorf("request %d: %s, %v", i, r.URL, r.Header)
		}
	}
	if requests[0].URL.Query().Get("partition") == requests[1].URL.Query().Get("partition") {
		t.Error("two requests in a row go to one partition")
	}
	if requests[2].URL.Query().Get("key") != "key-2" {
		t.Errorf("third request %s, want key-2", requests[2].URL)
	}
}

func TestPartitionLeftToServer(t *testing.T) {
	c := testConfig("produce")
	c.partitions = 0
	requests, _ := sent(t, c, 1)
	if requests[0].URL.RawQuery != "" {
		t.Errorf("query %q, want none", requests[0].URL.RawQuery)
	}
}

func TestIdempotencyKeysDiffer(t *testing.T) {
	c := testConfig("produce")
	c.idempotent, c.partitions = true, 3
	requests, _ := sent(t, c, 10)
	seen := map[string]bool{}
	for _, r := range requests {
		key := r.URL.Query().Get("idempotency_key")
		if seen[key] || key == "" || strings.Contains(key, "N") {
			t.Errorf("key %q", key)
		}
		seen[key] = true
	}
}

func TestNDJSONRequest(t *testing.T) {
	requests, bodies := sent(t, testConfig("ndjson"), 1)
	if requests[0].URL.Path != "/broker/topics/bench/produce-ndjson" || strings.Count(bodies[0], "\n") != 3 {
		t.Errorf("%s with %q", requests[0].URL, bodies[0])
	}
}

func TestConsumePagesSpread(t *testing.T) {
	c := testConfig("consume")
	c.prefill, c.partitions = 10_000, 2
	requests, _ := sent(t, c, 128)
	pages := map[string]bool{}
	for _, r := range requests {
		if r.Method != "GET" || !strings.HasPrefix(r.URL.Path, "/broker/consume/bench/bench/") || r.URL.Query().Get("encoding") != "b64" {
			t.Fatalf("request %s %s", r.Method, r.URL)
		}
		pages[r.URL.Path+r.URL.Query().Get("offset")] = true
	}
	if len(pages) != 128 {
		t.Errorf("%d different pages of 128", len(pages))
	}
}

func TestConsumeStaysInside(t *testing.T) {
	c := testConfig("consume")
	c.prefill = 150 // one page and a half
	requests, _ := sent(t, c, 3)
	for _, r := range requests {
		if r.URL.Query().Get("offset") != "0" {
			t.Errorf("page at %s has less than 100 messages", r.URL.Query().Get("offset"))
		}
	}
}

func TestCommitMovesForwardToTheEnd(t *testing.T) {
	c := testConfig("commit")
	c.prefill = 2
	_, bodies := sent(t, c, 4*commitGroups)
	last := map[string]int64{}
	for i, body := range bodies {
		var commit struct {
			Topic, Group string
			Offset       int64
		}
		if err := json.Unmarshal([]byte(body), &commit); err != nil {
			t.Fatalf("%v in %q", err, body)
		}
		if want := min(int64(i/commitGroups), 2); commit.Offset != want || commit.Topic != "bench" {
			t.Errorf("commit %d is %+v, want offset %d", i, commit, want)
		}
		last[commit.Group] = commit.Offset
	}
	if len(last) != commitGroups {
		t.Errorf("%d groups, want %d", len(last), commitGroups)
	}
}

func TestHealthAndFloorRequests(t *testing.T) {
	requests, _ := sent(t, testConfig("health"), 1)
	if requests[0].Method != "GET" || requests[0].URL.Path != "/health" {
		t.Errorf("%s %s", requests[0].Method, requests[0].URL)
	}
	c := testConfig("produce")
	c.target = "floor"
	d, err := c.dialect()
	if err != nil {
		t.Fatal(err)
	}
	text, _ := d.request(nil, 0)
	if !bytes.Contains(text, []byte("\r\nContent-Length: 64\r\n\r\n")) || bytes.Contains(text, []byte("Authorization")) {
		t.Errorf("floor request %q", text)
	}
}
