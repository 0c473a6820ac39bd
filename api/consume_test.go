package api

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// blocked is how many reads were made that may wait for the disk.
func (m *memLog) blocked() (n int) {
	m.set(func(m *memLog) { n = m.reads })
	return n
}

// sections fills partition 0 of t with messages in sections of different sizes, and of two commits each
// where possible, and returns the values in order.
func (f *fixture) sections(sizes ...int) (values []string) {
	f.t.Helper()
	f.call("POST", "/broker/topics", `{"name":"t","partitions":2}`)
	for _, size := range sizes {
		var body strings.Builder
		for range size {
			v := fmt.Sprintf(`"%d%s"`, len(values), strings.Repeat("v", len(values)*7%40))
			values = append(values, v)
			body.WriteString(v + "\n")
		}
		if status, m := f.call("POST", "/broker/topics/t/produce-ndjson?partition=0", body.String()); status != 200 {
			f.t.Fatal(status, m)
		}
		f.call("POST", "/broker/topics/t/produce?partition=1", "elsewhere")
	}
	return values
}

// TestPagesAtEveryBoundary asks for every offset with many limits and compares whole answers with
// what a slice of the values says, from memory and from disk.
func TestPagesAtEveryBoundary(t *testing.T) {
	f := newFixture(t, "auto")
	values := f.sections(1, 3, 10, 2, 1, 7)
	for _, cold := range []int{-1, 0, 1, 3} { // sections in memory; -1: all
		f.log.set(func(m *memLog) { m.cold, m.warm = cold >= 0, cold })
		for offset := 0; offset <= len(values); offset++ {
			for _, limit := range []int{1, 2, 3, 4, 9, 10, 11, len(values) - 1, len(values), 1000} {
				_, text, _ := f.raw("GET", fmt.Sprintf("/broker/consume/t/g/0?offset=%d&limit=%d&encoding=b64", offset, limit), "")
				if got, want := string(text), pageOf(values, offset, limit); stripTimes(got) != want {
					t.Fatalf("cold %d, offset %d, limit %d:\ngot  %s\nwant %s", cold, offset, limit, got, want)
				}
			}
		}
	}
	if f.log.blocked() == 0 {
		t.Error("no page was read from disk")
	}
}

// pageOf is the answer that a consumer of values expects, without its times.
func pageOf(values []string, offset, limit int) string {
	end := min(offset+limit, len(values))
	var messages []string
	for i := offset; i < end; i++ {
		messages = append(messages, fmt.Sprintf(`{"offset":%d,"partition":0,"value_b64":"%s","key_b64":null}`, i, base64.StdEncoding.EncodeToString([]byte(values[i]))))
	}
	return fmt.Sprintf(`{"messages":[%s],"count":%d,"next_offset":%d,"committed_offset":0,"truncated":%t}`,
		strings.Join(messages, ","), end-offset, end, end < len(values))
}

func stripTimes(page string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(page, `,"ts_ms":`)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		page = strings.TrimLeft(after, "0123456789")
	}
}

// TestMaxBytes: an answer is never larger than asked for unless one message alone is, and holds as
// much as may be.
func TestMaxBytes(t *testing.T) {
	f := newFixture(t, "auto")
	f.sections(5, 1, 6)
	sizes := map[int]int{} // of the answer with that many messages
	get := func(query string) (int, int, map[string]any) {
		_, text, _ := f.raw("GET", "/broker/consume/t/g/0?offset=0&"+query, "")
		var m map[string]any
		if err := json.Unmarshal(text, &m); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return len(text), int(m["count"].(float64)), m
	}
	for n := 1; n <= 12; n++ {
		sizes[n], _, _ = get(fmt.Sprint("limit=", n))
	}
	for bytes := 1; bytes < sizes[12]+200; bytes += 13 {
		size, count, m := get(fmt.Sprint("max_bytes=", bytes))
		if size > bytes && count != 1 || count < 1 {
			t.Fatalf("%d messages in %d bytes where %d were asked for", count, size, bytes)
		}
		if count < 12 && sizes[count+1]+pageEndBytes <= bytes {
			t.Fatalf("max_bytes=%d: only %d messages in %d bytes", bytes, count, size)
		}
		if m["next_offset"] != float64(count) || m["truncated"] != (count < 12) {
			t.Fatalf("max_bytes=%d: %v", bytes, m)
		}
	}
	big := strings.Repeat("b", 3<<20)
	f.call("POST", "/broker/topics/t/produce?partition=0", big)
	f.call("POST", "/broker/topics/t/produce?partition=0", big)
	for _, encoding := range []string{"", "&encoding=b64"} {
		_, m := f.call("GET", "/broker/consume/t/g/0?offset=12"+encoding, "")
		if m["count"] != 1.0 || m["next_offset"] != 13.0 || m["truncated"] != true {
			t.Errorf("a message larger than a page: count %v, next %v", m["count"], m["next_offset"])
		}
		_, m = f.call("GET", "/broker/consume/t/g/0?offset=11&max_bytes=16777216"+encoding, "")
		if m["count"] != 3.0 || m["truncated"] != false {
			t.Errorf("a large page: count %v, next %v", m["count"], m["next_offset"])
		}
	}
}

// TestLargePagesAreMadeElsewhere: with more than 100 messages and 1 MiB at stake a readers goroutine
// does it, and the answer is the same.
func TestLargePagesAreMadeElsewhere(t *testing.T) {
	f := newFixture(t, "auto")
	values := f.sections(300, 50)
	_, text, _ := f.raw("GET", "/broker/consume/t/g/0?offset=0&limit=1000&encoding=b64&max_bytes=2000000", "")
	if want := pageOf(values, 0, 1000); stripTimes(string(text)) != want {
		t.Errorf("got  %.200s\nwant %.200s", text, want)
	}
	if n := f.log.blocked(); n != 1 {
		t.Errorf("%d reads", n)
	}
}

func TestWhereConsumersStart(t *testing.T) {
	f := newFixture(t, "auto")
	f.sections(5)
	for _, tt := range []struct {
		query string
		first float64 // -1: an empty page
		next  float64
	}{
		{"", 0, 5},
		{"offset=earliest", 0, 5},
		{"offset=latest", -1, 5},
		{"offset=0", 0, 5},
		{"offset=4", 4, 5},
		{"offset=5", -1, 5},
		{"offset=earliest&limit=2", 0, 2},
	} {
		status, m := f.call("GET", "/broker/consume/t/g/0?"+tt.query, "")
		messages := m["messages"].([]any)
		first := -1.0
		if len(messages) > 0 {
			first = messages[0].(map[string]any)["offset"].(float64)
		}
		if status != 200 || first != tt.first || m["next_offset"] != tt.next || m["count"] != float64(len(messages)) || m["truncated"] != (tt.next < 5) {
			t.Errorf("%q: %d %v", tt.query, status, m)
		}
	}
	for _, offset := range []string{"6", "9223372036854775807"} {
		status, m := f.call("GET", "/broker/consume/t/g/0?offset="+offset, "")
		if status != 416 || m["error"] != "offset_out_of_range" || m["earliest_offset"] != 0.0 || m["next_offset"] != 5.0 {
			t.Errorf("offset=%s: %d %v", offset, status, m)
		}
	}
}

func TestCommittedOffsets(t *testing.T) {
	for _, last := range []bool{false, true} {
		f := newFixture(t, "auto", func(o *Options) { o.CommitIsLast = last })
		f.sections(10)
		commit := func(group string, offset int) (int, map[string]any) {
			return f.call("POST", "/broker/commit", fmt.Sprintf(`{"topic":"t","group":"%s","partition":0,"offset":%d}`, group, offset))
		}
		resume := func(group string) (first, committed float64) {
			_, m := f.call("GET", "/broker/consume/t/"+group+"/0?limit=1", "")
			return m["next_offset"].(float64) - m["count"].(float64), m["committed_offset"].(float64)
		}
		shift := 0 // from what a client commits to where it resumes
		if last {
			shift = 1
		}
		highest := -shift
		for _, offset := range []int{0, 3, 3, 2, 0, 7, 5, 10 - shift} {
			if status, m := commit("g", offset); status != 200 || m["ok"] != true || len(m) != 1 {
				t.Fatalf("last %v, commit %d: %d %v", last, offset, status, m)
			}
			highest = max(highest, offset)
			if first, committed := resume("g"); first != float64(highest+shift) || committed != float64(highest) {
				t.Errorf("last %v: after a commit of %d the group resumes at %v, committed %v", last, offset, first, committed)
			}
		}
		status, m := commit("g", 11-shift)
		if status != 416 || m["error"] != "offset_out_of_range" || m["next_offset"] != 10.0 || m["earliest_offset"] != 0.0 {
			t.Errorf("last %v: a commit above the end: %d %v", last, status, m)
		}
		if first, committed := resume("other"); first != 0 || committed != 0 {
			t.Errorf("last %v: another group is at %v, committed %v", last, first, committed)
		}
		if _, m := f.call("GET", "/broker/consume/t/g/0?offset=2&limit=1", ""); m["next_offset"] != 3.0 || m["committed_offset"] != float64(10-shift) {
			t.Errorf("last %v: %v", last, m)
		}
	}
}

// TestAnyBytesComeBack stores every byte as value, key and header value, raw and within text.
func TestAnyBytesComeBack(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
	escape := func(s string) string {
		var b strings.Builder
		for i := range len(s) {
			fmt.Fprintf(&b, "%%%02X", s[i])
		}
		return b.String()
	}
	var stored []string
	for c := range 256 {
		stored = append(stored, string([]byte{byte(c)}), "text "+string(rune(c))+" more")
	}
	c, r := f.dial()
	for _, v := range stored {
		header := ""
		if headerText(v) {
			header = "X-Ayder-H-V: " + v + "\r\n"
		}
		fmt.Fprintf(c, "POST /broker/topics/t/produce?key=%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dev\r\n%sContent-Length: %d\r\n\r\n%s", escape(v), header, len(v), v)
		if status, body := answer(t, r, "POST"); status != 200 {
			t.Fatalf("%q: %d %s", v, status, body)
		}
	}
	for _, encoding := range []string{"", "&encoding=b64"} {
		_, m := f.call("GET", "/broker/consume/t/g/0?limit=1000"+encoding, "")
		for i, message := range m["messages"].([]any) {
			m, v := message.(map[string]any), stored[i]
			plain := encoding == "" && utf8.ValidString(v)
			if got := field(t, m, "value", plain); got != v {
				t.Errorf("value %q came back as %q", v, got)
			}
			if got := field(t, m, "key", plain); got != v {
				t.Errorf("key %q came back as %q", v, got)
			}
			if headers, has := m["headers"].(map[string]any); has != headerText(v) {
				t.Errorf("headers of %q: %v", v, m)
			} else if has {
				if got, want := field(t, headers, "V", utf8.ValidString(v)), strings.Trim(v, " \t"); got != want {
					t.Errorf("header %q came back as %q", want, got)
				}
			}
		}
	}
}

// headerText tells whether HTTP lets s be a header's value.
func headerText(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// field returns the member name, which must be text, or else name_b64, which must be base64.
func field(t *testing.T, m map[string]any, name string, plain bool) string {
	t.Helper()
	if !plain {
		text, _ := m[name+"_b64"].(string)
		b, err := base64.StdEncoding.DecodeString(text)
		if _, both := m[name]; err != nil || both || m[name+"_b64"] == nil {
			t.Errorf("%s_b64 in %v: %v", name, m, err)
		}
		return string(b)
	}
	text, ok := m[name].(string)
	if _, both := m[name+"_b64"]; !ok || both {
		t.Errorf("no %s in %v", name, m)
	}
	return text
}

// TestMessagesWithAndWithoutKey: no key and an empty key are different things.
func TestMessagesWithAndWithoutKey(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
	f.call("POST", "/broker/topics/t/produce?ts_ms=0", "")
	f.call("POST", "/broker/topics/t/produce?ts_ms=9223372036854775807&key=", "")
	for encoding, want := range map[string]string{
		"":              `{"messages":[{"offset":0,"partition":0,"value":"","key":null,"ts_ms":0},{"offset":1,"partition":0,"value":"","key":"","ts_ms":9223372036854775807}],"count":2,`,
		"?encoding=b64": `{"messages":[{"offset":0,"partition":0,"value_b64":"","key_b64":null,"ts_ms":0},{"offset":1,"partition":0,"value_b64":"","key_b64":"","ts_ms":9223372036854775807}],"count":2,`,
	} {
		if _, text, _ := f.raw("GET", "/broker/consume/t/g/0"+encoding, ""); !strings.HasPrefix(string(text), want) {
			t.Errorf("%q: %s", encoding, text)
		}
	}
}

func TestDamageIsToldNotSkipped(t *testing.T) {
	f := newFixture(t, "auto")
	f.sections(3)
	for _, cold := range []bool{false, true} {
		f.log.set(func(m *memLog) { m.cold, m.damage = cold, errors.New("checksum of segment 7") })
		status, m := f.call("GET", "/broker/consume/t/g/0", "")
		if status != 500 || m["error"] != "storage_damaged" || !strings.Contains(m["message"].(string), "segment 7") {
			t.Errorf("cold %v: %d %v", cold, status, m)
		}
	}
}

// TestReadersQueueIsBounded fills the queue of pages that wait for the disk.
func TestReadersQueueIsBounded(t *testing.T) {
	f := newFixture(t, "auto")
	f.sections(1)
	f.log.set(func(m *memLog) { m.cold = true })
	began, block := make(chan struct{}), make(chan struct{})
	for range readersMax {
		f.server.readers.add(func(Reader) { began <- struct{}{}; <-block })
		<-began
	}
	for f.server.readers.add(func(Reader) {}) {
	}
	status, text, h := f.raw("GET", "/broker/consume/t/g/0", "")
	close(block)
	if status != 503 || !strings.Contains(string(text), `"overloaded"`) || h.Get("Retry-After") == "" {
		t.Errorf("%d %s", status, text)
	}
	waitFor(t, "room in the queue", func() bool {
		status, _ := f.call("GET", "/broker/consume/t/g/0", "")
		return status == 200
	})
}
