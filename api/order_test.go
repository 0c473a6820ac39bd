package api

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Answers leave in request order, whatever became ready first. Each test here makes a later request's
// answer ready before an earlier one's.

// waitFor polls until cond holds; the deadline only keeps a broken test from hanging.
func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); time.Sleep(200 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain for ", what)
		}
	}
}

// commits is how many commits are held back.
func (m *memLog) commits() (n int) {
	m.set(func(m *memLog) { n = len(m.held) })
	return n
}

func TestDuplicateInFlightKeepsItsPlace(t *testing.T) {
	f := newFixture(t, readsOn(t))
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
	f.log.set(func(m *memLog) { m.hold = true })
	c, r := f.dial()
	fmt.Fprint(c, post("/broker/topics/t/produce?idempotency_key=x", "x"))
	waitFor(t, "the first commit", func() bool { return f.log.commits() == 1 })
	fmt.Fprint(c, post("/broker/topics/t/produce", "y")+post("/broker/topics/t/produce?idempotency_key=x", "x"))
	waitFor(t, "the second commit", func() bool { return f.log.commits() == 2 })
	f.log.release()
	for i, want := range []string{`"offset":0,"partition":0,"batch_id":2,`, `"offset":1,"partition":0,"batch_id":3,`, `"duplicate":true`} {
		if _, body := answer(t, r, "POST"); !strings.Contains(body, want) {
			t.Fatalf("answer %d is %s, want %s", i, body, want)
		}
	}
}

// TestDuplicateBehindCommitsInFlight has nothing in the open batch that the duplicate could wait with.
func TestDuplicateBehindCommitsInFlight(t *testing.T) {
	f := newFixture(t, readsOn(t))
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
	f.log.set(func(m *memLog) { m.hold = true })
	c, r := f.dial()
	for i, body := range []string{"x", "y"} {
		fmt.Fprint(c, post("/broker/topics/t/produce?idempotency_key="+body, body))
		waitFor(t, "the commits", func() bool { return f.log.commits() == i+1 })
	}
	fmt.Fprint(c, post("/broker/topics/t/produce?idempotency_key=x", "x")+get("/health"))
	time.Sleep(10 * time.Millisecond) // too short only makes the test weaker
	f.log.release()
	for i, want := range []string{`"offset":0,`, `"offset":1,`, `"offset":0,"partition":0,"batch_id":0,"sealed":true,"durable":true,"mode":"sealed","duplicate":true,"synced":null`, `{"ok":true}`} {
		if _, body := answer(t, r, "POST"); !strings.Contains(body, want) {
			t.Fatalf("answer %d is %s, want %s", i, body, want)
		}
	}
}

func TestCommitOfTheSameOffsetInFlightKeepsItsPlace(t *testing.T) {
	f := newFixture(t, readsOn(t))
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
	f.call("POST", "/broker/topics/t/produce", "a")
	commit := post("/broker/commit", `{"topic":"t","group":"g","partition":0,"offset":1}`)
	f.log.set(func(m *memLog) { m.hold = true })
	c, r := f.dial()
	fmt.Fprint(c, commit)
	waitFor(t, "the first commit", func() bool { return f.log.commits() == 1 })
	fmt.Fprint(c, post("/broker/topics/t/produce", "b")+commit+commit)
	waitFor(t, "the second commit", func() bool { return f.log.commits() == 2 })
	f.log.release()
	for i, want := range []string{`{"ok":true}`, `"offset":1,`, `{"ok":true}`, `{"ok":true}`} {
		if _, body := answer(t, r, "POST"); !strings.Contains(body, want) {
			t.Fatalf("answer %d is %s, want %s", i, body, want)
		}
	}
}

// TestFailureAnswersInOrder: the answer that closes the connection must be the last one, although
// its batch was still open when the log failed.
func TestFailureAnswersInOrder(t *testing.T) {
	f := newFixture(t, readsOn(t))
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
	f.log.set(func(m *memLog) { m.hold, m.failure = true, errors.New("input/output error") })
	c, r := f.dial()
	for i := range 2 {
		fmt.Fprint(c, post("/broker/topics/t/produce", "a"))
		waitFor(t, "the commits", func() bool { return f.log.commits() == i+1 })
	}
	fmt.Fprint(c, post("/broker/topics/t/produce", "b")+strings.Replace(post("/broker/topics/t/produce", "c"), "Host", "Connection: close\r\nHost", 1))
	time.Sleep(10 * time.Millisecond)
	f.log.release()
	for i := range 4 {
		head := readHead(t, r, "POST")
		if closes := strings.Contains(head, "Connection: close"); !strings.HasPrefix(head, "HTTP/1.1 500 ") || closes != (i == 3) {
			t.Fatalf("answer %d: %s", i, head)
		}
	}
	if _, err := r.ReadByte(); err == nil {
		t.Fatal("the connection was not closed")
	}
}

// TestMixedPipeline sends every kind of request in one go, in several orders, and knows each answer.
func TestMixedPipeline(t *testing.T) {
	chunked := func(path, body string) string {
		text := "POST " + path + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dev\r\nTransfer-Encoding: chunked\r\n\r\n"
		for len(body) > 0 {
			n := min(3, len(body))
			text += fmt.Sprintf("%x;ext=1\r\n%s\r\n", n, body[:n])
			body = body[n:]
		}
		return text + "0\r\nTrailer: x\r\n\r\n"
	}
	kinds := []struct{ request, want string }{
		{post("/broker/topics/t/produce", "x"), `"ok":true,"offset"`},
		{chunked("/broker/topics/t/produce", "0123456789"), `"ok":true,"offset"`},
		{chunked("/broker/topics/t/produce-ndjson", "1\n2\n3\n"), `"count":3`},
		{post("/broker/topics/t/produce?timeout_ms=0", "x"), `"synced":false`},
		{post("/broker/topics/t/produce?idempotency_key=k", "x"), `"offset":0`},
		{post("/broker/topics/t/produce?partition=9", "x"), `unknown_partition`},
		{post("/broker/topics/t/produce?nope=9", "x"), `unknown_parameter`},
		{post("/broker/topics/new/produce?partition=3", "x"), `"partition":3`},
		{get("/broker/consume/t/g/0?limit=1"), `"messages"`},
		{post("/broker/commit", `{"topic":"t","group":"g","partition":0,"offset":0}`), `{"ok":true}`},
		{get("/health"), `{"ok":true}`},
		{get("/nowhere"), `not_found`},
		{get("/metrics"), `ayder_`},
		{get("/admin/timing"), `{`},
		{post("/broker/topics", `{"name":"t","partitions":1}`), `"topic":"t"`},
		{"\r\nOPTIONS /health HTTP/1.1\r\nHost: x\r\n\r\n", ``},
	}
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend)
		f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
		f.call("POST", "/broker/topics/t/produce?idempotency_key=k", "first")
		c, r := f.dial()
		var all strings.Builder
		var want []string
		for i := range 12 * len(kinds) { // strides that are prime to the number of kinds: every pair is adjacent once
			k := kinds[i*(1+2*(i/len(kinds)))%len(kinds)]
			all.WriteString(k.request)
			want = append(want, k.want)
		}
		go func() { fmt.Fprint(c, all.String()) }()
		for i, w := range want {
			if _, body := answer(t, r, "POST"); !strings.Contains(body, w) {
				t.Fatalf("answer %d: %s, want %s", i, body, w)
			}
		}
	})
}
