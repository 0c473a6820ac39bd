package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ayder/internal/record"
)

// feedLine is one line of a feed as a client decodes it.
type feedLine struct {
	Data      json.RawMessage   `json:"data"`
	Cursor    string            `json:"cursor"`
	Encoding  string            `json:"encoding"`
	Headers   map[string]string `json:"headers"`
	Partition *int              `json:"partition"`
}

// discovered is what a discovery answers.
type discovered struct {
	Token      string `json:"token"`
	Partitions []struct {
		ID string `json:"id"`
	} `json:"partitions"`
	Stream      bool `json:"stream"`
	ExactlyOnce bool `json:"exactlyOnce"`
}

func (f *fixture) discover(topic string) (d discovered) {
	f.t.Helper()
	status, text, _ := f.raw("GET", "/feed/"+topic, "")
	if err := json.Unmarshal(text, &d); status != 200 || err != nil {
		f.t.Fatalf("%d %s %v", status, text, err)
	}
	return d
}

// fetch reads a page, which must be well-formed and end with a cursor.
func (f *fixture) fetch(path string) (events []feedLine, cursor string) {
	f.t.Helper()
	status, text, header := f.raw("GET", path, "")
	if status != 200 {
		f.t.Fatalf("%s: %d %s", path, status, text)
	}
	if kind := header.Get("Content-Type"); kind != linesType && kind != feedV1Type {
		f.t.Errorf("%s: Content-Type %q", path, kind)
	}
	if !bytes.HasSuffix(text, []byte("\n")) {
		f.t.Fatalf("%s: the last line has no end: %q", path, text)
	}
	for line := range bytes.SplitSeq(bytes.TrimSuffix(text, []byte("\n")), []byte("\n")) {
		one := decodeFeedLine(f.t, line)
		if one.Cursor != "" {
			cursor = one.Cursor
			continue
		}
		events, cursor = append(events, one), ""
	}
	if cursor == "" {
		f.t.Fatalf("%s: no cursor at the end of %q", path, text)
	}
	return events, cursor
}

func decodeFeedLine(t *testing.T, line []byte) (one feedLine) {
	t.Helper()
	if err := json.Unmarshal(line, &one); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	if (one.Cursor == "") == (one.Data == nil) {
		t.Fatalf("%q is neither an event nor a cursor", line)
	}
	return one
}

func (f *fixture) createTopic(topic string, partitions int) {
	f.t.Helper()
	if status, m := f.call("POST", "/broker/topics", fmt.Sprintf(`{"name":%q,"partitions":%d}`, topic, partitions)); status != 201 {
		f.t.Fatalf("%d %v", status, m)
	}
}

func (f *fixture) putOne(topic string, partition int, value string, header ...string) {
	f.t.Helper()
	if status, m := f.call("POST", fmt.Sprintf("/broker/topics/%s/produce?partition=%d", topic, partition), value, header...); status != 200 {
		f.t.Fatalf("%d %v", status, m)
	}
}

func feedPath(topic, token string, partition int, cursor string) string {
	return fmt.Sprintf("/feed/%s?token=%s&partition=%d&cursor=%s", topic, token, partition, cursor)
}

func TestFeedDiscovery(t *testing.T) {
	f := newFixture(t, "evio")
	f.createTopic("orders", 3)
	d := f.discover("orders")
	var ids []string
	for _, p := range d.Partitions {
		ids = append(ids, p.ID)
	}
	if d.Token == "" || !d.Stream || !d.ExactlyOnce || !slices.Equal(ids, []string{"0", "1", "2"}) {
		t.Fatalf("%+v", d)
	}
	if again := f.discover("orders"); again.Token != d.Token {
		t.Errorf("token %q, then %q", d.Token, again.Token)
	}
	if status, _, _ := f.raw("HEAD", "/feed/orders", ""); status != 200 {
		t.Errorf("HEAD: %d", status)
	}
	if status, m := f.call("POST", "/broker/topics", `{"name":"fast","mode":"rocket"}`); status != 201 {
		t.Fatalf("%d %v", status, m)
	}
	if f.discover("fast").ExactlyOnce {
		t.Error("a rocket topic promises that nothing is lost")
	}
}

// TestFeedData shows every kind of message, as embedded JSON or as a string that the message can be told from.
func TestFeedData(t *testing.T) {
	f := newFixture(t, "evio")
	f.createTopic("kinds", 1)
	values := []struct{ value, line string }{
		{`{"a":1}`, `{"data":{"a":1}}`},
		{" {\n  \"a\": [\r\n1,\t2]\n} \n", "{\"data\": {  \"a\": [1,\t2]} }"},
		{`{}`, `{"data":{}}`},
		{`{"n":12345678901234567890,"e":"\u00e9\n"}`, `{"data":{"n":12345678901234567890,"e":"\u00e9\n"}}`},
		{``, `{"data":""}`},
		{`[1,2]`, `{"data":"[1,2]"}`},
		{`7`, `{"data":"7"}`},
		{`null`, `{"data":"null"}`},
		{`"text"`, `{"data":"\"text\""}`},
		{"plain\ntext €", `{"data":"plain\ntext €"}`},
		{`{"a":1`, `{"data":"{\"a\":1"}`},
		{"\x00\xff", `{"data":"AP8=","encoding":"base64"}`},
		{"{\"a\":\"\xff\"}", `{"data":"eyJhIjoi/yJ9","encoding":"base64"}`},
	}
	var want strings.Builder
	for _, v := range values {
		f.putOne("kinds", 0, v.value)
		want.WriteString(v.line + "\n")
	}
	token := f.discover("kinds").Token
	_, text, _ := f.raw("GET", feedPath("kinds", token, 0, "_first"), "")
	got, cursor, _ := strings.Cut(string(text), `{"cursor":`)
	if got != want.String() || !strings.HasSuffix(cursor, "}\n") {
		t.Errorf("got  %q\nwant %q", text, want.String())
	}
}

// TestFeedPages reads a feed page by page, on either path and with either spelling.
func TestFeedPages(t *testing.T) {
	f := newFixture(t, readsOn(t), func(o *Options) { o.Loops = 2 })
	f.createTopic("pages", 4)
	const each = 25
	for n := range each {
		for p := range 4 {
			f.putOne("pages", p, fmt.Sprintf(`{"p":%d,"n":%d}`, p, n))
		}
	}
	d := f.discover("pages")
	for p := range 4 {
		for _, hint := range []string{"", "&pageSizeHint=7", "&pagesizehint=1", "&pageSizeHint=0", "&pageSizeHint=1000000"} {
			cursor, seen := "_first", 0
			for {
				path := feedPath("pages", d.Token, p, cursor) + hint
				if seen%2 == 1 {
					path = strings.Replace(path, "/pages?", "/pages/events?", 1)
				}
				events, next := f.fetch(path)
				for _, e := range events {
					if want := fmt.Sprintf(`{"p":%d,"n":%d}`, p, seen); string(e.Data) != want || e.Partition != nil {
						t.Fatalf("%s instead of %s", e.Data, want)
					}
					seen++
				}
				if cursor = next; len(events) == 0 {
					break
				}
			}
			if seen != each {
				t.Fatalf("partition %d with %q: %d events", p, hint, seen)
			}
			if events, same := f.fetch(feedPath("pages", d.Token, p, cursor)); len(events) != 0 || same != cursor {
				t.Errorf("at the end: %v %q, not %q", events, same, cursor)
			}
		}
		events, last := f.fetch(feedPath("pages", d.Token, p, "_last"))
		if len(events) != 0 {
			t.Errorf("_last begins with %v", events)
		}
		f.putOne("pages", p, "later")
		if events, _ = f.fetch(feedPath("pages", d.Token, p, last)); len(events) != 1 || string(events[0].Data) != `"later"` {
			t.Errorf("behind _last: %v", events)
		}
	}
}

func TestFeedVersion1(t *testing.T) {
	f := newFixture(t, "evio")
	f.createTopic("old", 2)
	f.putOne("old", 1, `{"a":1}`, "X-Ayder-H-ce_id", "7", "X-Ayder-H-ce_type", "t", "X-Ayder-H-other", "x")
	f.putOne("old", 1, "text")
	status, text, header := f.raw("GET", "/feed/old?n=2&cursor1=_first&pagesizehint=10&headers=ce_id,ce_type,none", "")
	want := `{"partition":1,"data":{"a":1},"headers":{"Ce_id":"7","Ce_type":"t"}}` + "\n" + `{"partition":1,"data":"text","headers":{}}` + "\n" + `{"partition":1,"cursor":`
	if status != 200 || !strings.HasPrefix(string(text), want) || header.Get("Content-Type") != feedV1Type {
		t.Fatalf("%d %q %v", status, text, header)
	}
	events, cursor := f.fetch("/feed/old?n=2&cursor1=_first&pagesizehint=1&headers=_all")
	if len(events) != 1 || len(events[0].Headers) != 3 || events[0].Partition == nil || *events[0].Partition != 1 {
		t.Fatalf("%+v", events)
	}
	if events, _ = f.fetch("/feed/old?n=2&cursor1=" + cursor); len(events) != 1 || events[0].Headers != nil {
		t.Fatalf("%+v", events)
	}
	if events, _ = f.fetch("/feed/old?n=2&cursor0=_first"); len(events) != 0 {
		t.Fatalf("%+v", events)
	}
	// A cursor is the same in both versions.
	if events, _ = f.fetch(feedPath("old", f.discover("old").Token, 1, cursor) + "&headers=_all"); len(events) != 1 || events[0].Headers == nil {
		t.Fatalf("%+v", events)
	}
}

func TestFeedRefusals(t *testing.T) {
	f := newFixture(t, "evio")
	f.createTopic("allowed.a", 2)
	token := f.discover("allowed.a").Token
	good := feedPath("allowed.a", token, 0, "_first")
	for _, tt := range []struct {
		path   string
		status int
		code   string
	}{
		{"/feed/none", 404, "unknown_topic"},
		{"/feed/a%20b", 400, "bad_topic"},
		{feedPath("none", token, 0, "_first"), 404, "unknown_topic"},
		{"/feed/allowed.a/events", 400, "bad_parameter"},
		{"/feed/allowed.a?partition=0", 400, "bad_parameter"},
		{"/feed/allowed.a?token=" + token, 400, "bad_parameter"},
		{"/feed/allowed.a?token=" + token + "&partition=0", 400, "bad_parameter"},
		{"/feed/allowed.a?token=" + token + "&cursor=_first", 400, "bad_parameter"},
		{feedPath("allowed.a", token, 2, "_first"), 404, "unknown_partition"},
		{feedPath("allowed.a", "", 0, "_first"), 400, "bad_parameter"},
		{feedPath("allowed.a", "x", 0, "_first"), 409, "stale_token"},
		{feedPath("allowed.a", token+"1", 0, "_first"), 409, "stale_token"},
		{feedPath("allowed.a", token, 0, ""), 400, "bad_parameter"},
		{feedPath("allowed.a", token, 0, "first"), 400, "bad_cursor"},
		{feedPath("allowed.a", token, 0, "0"), 400, "bad_cursor"},
		{feedPath("allowed.a", token, 0, "1-0-"), 400, "bad_cursor"},
		{feedPath("allowed.a", token, 0, "1-0-0-0"), 400, "bad_cursor"},
		{feedPath("allowed.a", token, 0, "1-1-0"), 400, "bad_cursor"},
		{feedPath("allowed.a", token, 0, "7-0-0"), 410, "cursor_gone"},
		{feedPath("allowed.a", token, 0, "1-0-1"), 410, "cursor_gone"},
		{good + "&stream=y&pageSizeHint=3", 400, "bad_parameter"},
		{good + "&stream=1&wait_ms=3", 400, "bad_parameter"},
		{good + "&stream=n", 400, "bad_parameter"},
		{good + "&stream=-1", 400, "bad_parameter"},
		{good + "&stream=99999999999999", 400, "bad_parameter"},
		{good + "&pageSizeHint=x", 400, "bad_parameter"},
		{good + "&pageSizeHint=1&pagesizehint=1", 400, "repeated_parameter"},
		{good + "&wait_ms=30001", 400, "bad_parameter"},
		{good + "&n=2", 400, "bad_parameter"},
		{good + "&event-types=a", 400, "unknown_parameter"},
		{good + "&partition=1", 400, "repeated_parameter"},
		{"/feed/allowed.a?n=2", 400, "bad_parameter"},
		{"/feed/allowed.a?cursor0=_first", 400, "bad_parameter"},
		{"/feed/allowed.a?n=1&cursor0=_first", 400, "bad_parameter"},
		{"/feed/allowed.a?n=2&cursor2=_first", 404, "unknown_partition"},
		{"/feed/allowed.a?n=2&cursor0=_first&cursor1=_first", 400, "repeated_parameter"},
		{"/feed/allowed.a?n=2&cursor0=_first&stream=y", 400, "bad_parameter"},
		{"/feed/allowed.a?n=2&cursor=_first", 400, "bad_parameter"},
		{"/feed/allowed.a?n=2&cursorx=_first", 400, "unknown_parameter"},
	} {
		if status, m := f.call("GET", tt.path, ""); status != tt.status || m["error"] != tt.code || len(m["message"].(string)) < 10 {
			t.Errorf("%s: %d %v, want %d %s", tt.path, status, m, tt.status, tt.code)
		}
	}
	for token, want := range map[string]int{"reader": 200, "writer": 403, "nobody": 401} {
		if status, _, _ := f.raw("GET", good, "", "Authorization", "Bearer "+token); status != want {
			t.Errorf("%s: %d, want %d", token, status, want)
		}
	}
	if status, _ := f.call("POST", "/feed/allowed.a", ""); status != 405 {
		t.Errorf("POST: %d", status)
	}
}

// TestFeedFollowsItsTopic: a token ends with the partitions that it was made for, cursors of those go on, and what was deleted or
// retained away is said to be gone.
func TestFeedFollowsItsTopic(t *testing.T) {
	f := newFixture(t, "evio")
	f.createTopic("t", 2)
	for n := range 5 {
		f.putOne("t", 0, strconv.Itoa(n))
	}
	first := f.discover("t")
	_, cursor := f.fetch(feedPath("t", first.Token, 0, "_first") + "&pageSizeHint=2")
	if status, m := f.call("POST", "/broker/topics/t/partitions", `{"partitions":3}`); status != 200 {
		t.Fatalf("%d %v", status, m)
	}
	if status, m := f.call("GET", feedPath("t", first.Token, 0, cursor), ""); status != 409 || m["error"] != "stale_token" {
		t.Fatalf("%d %v", status, m)
	}
	second := f.discover("t")
	if len(second.Partitions) != 3 || second.Token == first.Token {
		t.Fatalf("%+v after %+v", second, first)
	}
	if events, _ := f.fetch(feedPath("t", second.Token, 0, cursor)); len(events) != 3 || string(events[0].Data) != `"2"` {
		t.Fatalf("%v", events)
	}
	if status, m := f.call("POST", "/broker/delete-before", `{"topic":"t","partition":0,"before_offset":4}`); status != 200 {
		t.Fatalf("%d %v", status, m)
	}
	status, m := f.call("GET", feedPath("t", second.Token, 0, cursor), "")
	if status != 410 || m["error"] != "cursor_gone" || m["earliest_offset"] != 4.0 {
		t.Fatalf("%d %v", status, m)
	}
	if events, _ := f.fetch(feedPath("t", second.Token, 0, m["earliest_cursor"].(string))); len(events) != 1 || string(events[0].Data) != `"4"` {
		t.Fatalf("%v", events)
	}
	if status, _ := f.call("DELETE", "/broker/topics/t", ""); status != 200 {
		t.Fatal(status)
	}
	f.createTopic("t", 3)
	if status, m := f.call("GET", feedPath("t", second.Token, 0, cursor), ""); status != 409 {
		t.Fatalf("%d %v", status, m)
	}
	if status, m := f.call("GET", feedPath("t", f.discover("t").Token, 0, cursor), ""); status != 410 {
		t.Fatalf("%d %v", status, m)
	}
}

func TestFeedWaits(t *testing.T) {
	f := newFixture(t, readsOn(t), func(o *Options) { o.Loops = 2 })
	f.createTopic("w", 2)
	token := f.discover("w").Token
	for p := range 2 {
		_, cursor := f.fetch(feedPath("w", token, p, "_last"))
		if events, same := f.fetch(feedPath("w", token, p, cursor) + "&wait_ms=1"); len(events) != 0 || same != cursor {
			t.Fatalf("%v %q", events, same)
		}
		for _, from := range []string{cursor, "_last"} {
			answered := make(chan []feedLine)
			go func() {
				events, _ := f.fetch(feedPath("w", token, p, from) + "&wait_ms=30000")
				answered <- events
			}()
			f.awaitWaiting(1)
			f.putOne("w", p, from)
			events := <-answered
			if from == cursor && len(events) == 0 || from != cursor && (len(events) != 1 || string(events[0].Data) != `"_last"`) {
				t.Fatalf("%s: %v", from, events)
			}
			f.awaitWaiting(0)
		}
	}
}

// TestFeedStream reads streams of both kinds of length, across growth, which ends them in good order.
func TestFeedStream(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend, func(o *Options) {
			if backend == "uring" {
				o.Loops = 2
			}
		})
		f.createTopic("s", 2)
		token := f.discover("s").Token
		f.putOne("s", 1, "0")
		var all []*live
		for range 3 {
			all = append(all, f.follow(feedPath("s", token, 1, "_first")+"&stream=y", ""))
		}
		headed := f.follow(feedPath("s", token, 1, "_first")+"&stream=y&headers=_all", "")
		for n := range 50 {
			f.putOne("s", 1, strconv.Itoa(n+1), "X-Ayder-H-n", strconv.Itoa(n+1))
		}
		cursors := map[string]bool{}
		for _, s := range all {
			_, cursor := readFeed(t, s, 51)
			cursors[cursor] = true
		}
		if lines, _ := readFeed(t, headed, 51); lines[50].Headers["N"] != "50" || lines[0].Headers == nil {
			t.Errorf("%v", lines[50])
		}
		if len(cursors) != 1 {
			t.Errorf("the cursors behind the last event are %v", cursors)
		}
		if status, m := f.call("POST", "/broker/topics/s/partitions", `{"partitions":3}`); status != 200 {
			t.Fatalf("%d %v", status, m)
		}
		for _, s := range append(all, headed) {
			s.ended("")
		}
		token = f.discover("s").Token
		short := f.follow(feedPath("s", token, 1, "_first")+"&stream=300", "")
		readFeed(t, short, 51)
		short.ended("")
		for c := range cursors {
			last := f.follow(feedPath("s", token, 1, c)+"&stream=y", "")
			if e, err := last.next(); err != nil || decodeFeedLine(t, []byte(e.data)).Cursor != c {
				t.Errorf("a stream begins with %v %v", e, err)
			}
			if status, _ := f.call("DELETE", "/broker/topics/s", ""); status != 200 {
				t.Fatal(status)
			}
			last.ended("")
		}
	})
}

// readFeed reads count events, which must be in order, and the cursor behind the last.
func readFeed(t *testing.T, s *live, count int) (events []feedLine, cursor string) {
	t.Helper()
	for len(events) < count || cursor == "" {
		e, err := s.next()
		if err != nil {
			t.Fatalf("after %d events: %v", len(events), err)
		}
		one := decodeFeedLine(t, []byte(e.data))
		if cursor = one.Cursor; cursor != "" {
			continue
		}
		if want := fmt.Sprintf("%q", strconv.Itoa(len(events))); string(one.Data) != want {
			t.Fatalf("%s instead of %s", one.Data, want)
		}
		events = append(events, one)
	}
	return events, cursor
}

// TestFeedStreamOfASlowReader: one who does not read is paused, retention overtakes him, and his stream ends
// without a word that could be taken for an event; his next request says why.
func TestFeedStreamOfASlowReader(t *testing.T) {
	f := newFixture(t, "evio")
	f.createTopic("slow", 1)
	token := f.discover("slow").Token
	s := f.follow(feedPath("slow", token, 0, "_first")+"&stream=y", "")
	big := strings.Repeat("x", 200_000)
	const count = 200 // far more than the sockets between hold
	for range count {
		f.putOne("slow", 0, big)
	}
	if status, m := f.call("POST", "/broker/delete-before", fmt.Sprintf(`{"topic":"slow","partition":0,"before_offset":%d}`, count)); status != 200 {
		t.Fatalf("%d %v", status, m)
	}
	events, cursor := 0, ""
	for {
		e, err := s.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if one := decodeFeedLine(t, []byte(e.data)); one.Cursor == "" {
			events++
		} else {
			cursor = one.Cursor
		}
	}
	if events == 0 || events >= count {
		t.Errorf("%d events", events)
	}
	if status, m := f.call("GET", feedPath("slow", token, 0, cursor), ""); status != 410 || m["error"] != "cursor_gone" {
		t.Errorf("%d %v", status, m)
	}
}

// TestFeedOfRocketTopic: messages that are in memory only are a feed as well.
func TestFeedOfRocketTopic(t *testing.T) {
	f := newFixture(t, "evio")
	if status, m := f.call("POST", "/broker/topics", `{"name":"fast","partitions":1,"mode":"rocket"}`); status != 201 {
		t.Fatalf("%d %v", status, m)
	}
	f.putOne("fast", 0, `{"a":1}`)
	events, cursor := f.fetch(feedPath("fast", f.discover("fast").Token, 0, "_first"))
	if len(events) != 1 || string(events[0].Data) != `{"a":1}` {
		t.Fatalf("%v", events)
	}
	f.putOne("fast", 0, `{"a":2}`)
	if events, _ = f.fetch(feedPath("fast", f.discover("fast").Token, 0, cursor)); len(events) != 1 {
		t.Fatalf("%v", events)
	}
}

// TestFeedFromDisk: what is not in memory is read by another goroutine, for pages and for streams.
func TestFeedFromDisk(t *testing.T) {
	f := newFixture(t, "evio")
	f.createTopic("cold", 1)
	for n := range 30 {
		f.putOne("cold", 0, strconv.Itoa(n))
	}
	f.log.set(func(m *memLog) { m.cold = true })
	token := f.discover("cold").Token
	if events, _ := f.fetch(feedPath("cold", token, 0, "_first")); len(events) != 30 {
		t.Errorf("%d events", len(events))
	}
	readFeed(t, f.follow(feedPath("cold", token, 0, "_first")+"&stream=y", ""), 30)
}

// TestFeedStreamEndsWithTheServer: a stop ends streams in good order.
func TestFeedStreamEndsWithTheServer(t *testing.T) {
	f := newFixture(t, "evio")
	f.createTopic("end", 1)
	f.putOne("end", 0, "0")
	s := f.follow(feedPath("end", f.discover("end").Token, 0, "_first")+"&stream=y", "")
	readFeed(t, s, 1)
	drained := make(chan error, 1)
	go func() { drained <- f.net.Drain(t.Context()) }()
	s.ended("")
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// FuzzCursor: a cursor that is read is one that would be written.
func FuzzCursor(f *testing.F) {
	for _, text := range []string{"_first", "1-0-0", "1-2-3", "01-2-3", "4294967296-0-1", "1-0-9223372036854775807", "1-0-9223372036854775808", "--", "1-0-1-1", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parts := append(strings.Split(text, "-"), "", "")
		topic, _ := strconv.ParseUint(parts[0], 10, 32)
		partition, _ := strconv.ParseUint(parts[1], 10, 32)
		s := record.Stream{Topic: uint32(topic), Partition: uint32(partition)}
		offset, err := readCursor([]byte(text), s)
		if err != nil {
			if _, ok := err.(*Error); !ok {
				t.Fatalf("%q: %v is not for a client", text, err)
			}
			return
		}
		again, err := readCursor(appendCursor(nil, s, offset), s)
		if err != nil || again != offset {
			t.Fatalf("%q: %d, then %d %v", text, offset, again, err)
		}
	})
}
