package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(text)
}

func post(t *testing.T, url, body string) int {
	t.Helper()
	r, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	return r.StatusCode
}

// filled is a server with 250 messages in partition 1.
func filled(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(newBroker().handler())
	t.Cleanup(s.Close)
	var lines strings.Builder
	for i := range 250 {
		fmt.Fprintf(&lines, "%q\n", fmt.Sprint("message ", i))
	}
	if status := post(t, s.URL+"/broker/topics/x/produce-ndjson?partition=1", lines.String()); status != 200 {
		t.Fatalf("produce answered %d", status)
	}
	return s.URL
}

func TestPageIsTheContracts(t *testing.T) {
	url := filled(t)
	status, text := get(t, url+"/broker/consume/x/g/1?offset=10&limit=2&encoding=b64")
	value := base64.StdEncoding.EncodeToString([]byte(`"message 10"`))
	want := `{"messages":[{"offset":10,"partition":1,"value_b64":"` + value + `","key_b64":null,"ts_ms":`
	if status != 200 || !strings.HasPrefix(text, want) {
		t.Errorf("%d %s, want it to begin with %s", status, text, want)
	}
	if !strings.HasSuffix(text, `],"count":2,"next_offset":12,"committed_offset":0,"truncated":true}`) {
		t.Errorf("page ends with %s", text)
	}
}

func TestPages(t *testing.T) {
	url := filled(t)
	for _, test := range []struct {
		query       string
		count, next int
		truncated   bool
	}{
		{"", 100, 100, true},
		{"?offset=200", 50, 250, false},
		{"?offset=250", 0, 250, false},
		{"?offset=9999", 0, 250, false},
		{"?limit=5000", 250, 250, false},
	} {
		_, text := get(t, url+"/broker/consume/x/g/1"+test.query)
		var p page
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			t.Fatal(err)
		}
		if p.Count != test.count || len(p.Messages) != test.count || p.NextOffset != test.next || p.Truncated != test.truncated {
			t.Errorf("%s: %d messages, next %d, truncated %v", test.query, p.Count, p.NextOffset, p.Truncated)
		}
	}
}

func TestOtherCalls(t *testing.T) {
	url := filled(t)
	if status, text := get(t, url+"/ready"); status != 200 || text != `{"ready":true}` {
		t.Errorf("ready: %d %s", status, text)
	}
	if status := post(t, url+"/broker/topics", `{"name":"x"}`); status != 201 {
		t.Errorf("topics: %d", status)
	}
	for _, path := range []string{"/broker/consume/x/g/1?offset=-1", "/broker/consume/x/g/1?limit=x", "/broker/consume/x/g/y"} {
		if status, _ := get(t, url+path); status != 400 {
			t.Errorf("%s: %d", path, status)
		}
	}
	if status := post(t, url+"/broker/topics/x/produce-ndjson?partition=x", "1"); status != 400 {
		t.Errorf("bad partition: %d", status)
	}
	if status := post(t, url+"/broker/topics/x/produce-ndjson", strings.Repeat("1", bodyBytesMax+1)); status != 413 {
		t.Errorf("large body: %d", status)
	}
}

// BenchmarkPage is what one page costs without a socket.
func BenchmarkPage(b *testing.B) {
	broker := newBroker()
	values := make([][]byte, 100)
	for i := range values {
		values[i] = []byte(strings.Repeat("x", 64))
	}
	broker.append(stream{"x", 0}, values)
	r := httptest.NewRequest("GET", "/broker/consume/x/g/0?offset=0&limit=100&encoding=b64", nil)
	handler := broker.handler()
	b.ReportAllocs()
	for b.Loop() {
		handler.ServeHTTP(httptest.NewRecorder(), r)
	}
}
