package main

import (
	"bytes"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"ayder/internal/testkit/proc"
)

// What README promises in its first lines, done the way it says.

func curl(t *testing.T, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("no curl here: ", err)
	}
	out, err := exec.CommandContext(t.Context(), path, append([]string{"-sS", "--noproxy", "*", "-H", "Authorization: Bearer dev"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("curl %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func TestFirstMessageWithCurl(t *testing.T) {
	eachBackendAtOnce(t, func(t *testing.T, o proc.Options) {
		s := proc.Run(t, o)
		base := "http://" + s.Addr
		produced := curl(t, "--data", "hello", base+"/broker/topics/greetings/produce?partition=0")
		for _, want := range []string{`"ok":true`, `"offset":0`, `"durable":true`, `"synced":true`} {
			if !strings.Contains(produced, want) {
				t.Errorf("produce answers %s, without %s", produced, want)
			}
		}
		consumed := curl(t, base+"/broker/consume/greetings/readers/0")
		for _, want := range []string{`"value":"hello"`, `"count":1`, `"next_offset":1`} {
			if !strings.Contains(consumed, want) {
				t.Errorf("consume answers %s, without %s", consumed, want)
			}
		}
		if !strings.Contains(s.Log(), `the token is \"dev\"`) {
			t.Errorf("no warning about dev mode: %s", s.Log())
		}
	})
}

// The calls of README's table, word for word but for the address.
func TestCallsOfTheReadme(t *testing.T) {
	root, err := proc.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	before, _, after := cutReadme(t, root) // a single node's
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl here: ", err)
	}
	s := proc.Run(t, proc.Options{})
	calls := 0
	for line := range strings.Lines(before + after) {
		cells := strings.Split(strings.ReplaceAll(line, `\|`, "\x00"), "|")
		if len(cells) < 4 || !strings.Contains(cells[2], "`") || !strings.Contains(cells[2], "curl -s") {
			continue
		}
		call := strings.Trim(strings.ReplaceAll(cells[2], "\x00", "|"), " `")
		call = strings.ReplaceAll(call, "127.0.0.1:1109", s.Addr)
		call = strings.ReplaceAll(call, "curl -s ", "curl -sS --fail-with-body --noproxy '*' ")
		out, err := exec.CommandContext(t.Context(), "sh", "-c", call).CombinedOutput()
		if err != nil || len(out) == 0 {
			t.Errorf("%s: %v\n%s", call, err, out)
		}
		calls++
	}
	t.Logf("%d calls", calls)
	if calls == 0 {
		t.Error("the table was not found")
	}
}

// A stop finishes what was begun: every produce that was answered is there afterwards, every one that
// was not is not half there, and nobody waits for connections that are idle.
func TestStopDrainsAndRestartFindsEverything(t *testing.T) {
	eachBackendAtOnce(t, func(t *testing.T, o proc.Options) {
		o.Args = []string{"--shutdown-timeout", "10m"} // far beyond the guard: idle connections must not use it up
		s := proc.Run(t, o)
		for range 5 {
			if r, err := s.Connect(t).Get("/health"); err != nil || r.Status != 200 {
				t.Fatal(r.Status, err)
			}
		}
		const producers = 8
		var acked [producers][]uint64
		var running sync.WaitGroup
		begun := make(chan struct{}, producers)
		for i := range producers {
			c := s.Connect(t)
			running.Go(func() { acked[i] = produceUntilClosed(c, i, begun) })
		}
		for range producers {
			<-begun
		}
		mustStop(t, s)
		running.Wait()
		c := s.Again(t).Connect(t)
		total := 0
		for i, offsets := range acked {
			for number, offset := range offsets {
				mustFind(t, c, "drain", i, offset, counted(number, 40))
			}
			total += len(offsets)
		}
		t.Logf("%d messages were acknowledged before and during the stop", total)
	})
}

// produceUntilClosed returns the offsets of what was acknowledged.
func produceUntilClosed(c *proc.Client, partition int, begun chan<- struct{}) (offsets []uint64) {
	for number := 0; ; number++ {
		a, err := c.Produce("drain", partition, counted(number, 40))
		if err != nil {
			return offsets
		}
		offsets = append(offsets, a.Offset)
		if number == 20 {
			begun <- struct{}{}
		}
	}
}

// An answer given while the server stops tells the client that the connection ends.
func TestStopFinishesARequestThatHasBegun(t *testing.T) {
	eachBackendAtOnce(t, func(t *testing.T, o proc.Options) {
		s := proc.Run(t, o)
		c := s.Connect(t)
		mustProduce(t, c, "drain", 0, []byte("first"))
		request := c.AppendRequest(nil, "POST", "/broker/topics/drain/produce?partition=0", []byte("second"))
		if err := c.Send(request[:len(request)-3]); err != nil {
			t.Fatal(err)
		}
		waiting := s.Connect(t)
		if err := waiting.Send(waiting.AppendRequest(nil, "GET", "/broker/consume/drain/g/0?offset=1&wait_ms=30000", nil)); err != nil {
			t.Fatal(err)
		}
		settled(t, s)
		if err := s.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if r, err := waiting.Receive("GET"); err != nil || r.Status != 200 { // the loop that stops lets nobody wait
			t.Fatalf("%s, %v\n%s", r.String(), err, s.Log())
		}
		if err := c.Send(request[len(request)-3:]); err != nil {
			t.Fatal(err)
		}
		r, err := c.Receive("POST")
		if err != nil || r.Status != 200 {
			t.Fatalf("%s, %v\n%s", r.String(), err, s.Log())
		}
		if r.Header.Get("Connection") != "close" {
			t.Errorf("the last answer has no Connection: close: %v", r.Header)
		}
		if code, err := s.Exit(proc.HangGuard); code != 0 || err != nil {
			t.Fatalf("exit status %d, %v", code, err)
		}
		mustFind(t, s.Again(t).Connect(t), "drain", 0, 1, []byte("second"))
	})
}

// settled waits until the server has seen what was sent before: it answers a request on another
// connection that came later.
func settled(t *testing.T, s *proc.Server) {
	t.Helper()
	for range 3 {
		if r, err := s.Connect(t).Get("/health"); err != nil || r.Status != 200 {
			t.Fatal(r.Status, err)
		}
	}
}

func TestDataSurvivesKill9(t *testing.T) {
	eachBackendAtOnce(t, func(t *testing.T, o proc.Options) {
		s := proc.Run(t, o)
		c := s.Connect(t)
		keyed, err := c.Do("POST", "/broker/topics/kept/produce?partition=3&key=k%00%FF&ts_ms=1234&idempotency_key=once", []byte{0, 1, 255})
		if err != nil || keyed.Status != 200 {
			t.Fatal(keyed.String(), err)
		}
		for i := range 50 {
			mustProduce(t, c, "kept", 1, counted(i, 100))
		}
		if err := c.Commit("kept", "test", 1, 17); err != nil {
			t.Fatal(err)
		}
		mustKill(t, s)
		c = s.Again(t).Connect(t)
		for i := range 50 {
			mustFind(t, c, "kept", 1, uint64(i), counted(i, 100))
		}
		p, err := c.Consume("kept", 3, 0, "")
		if err != nil || p.Count != 1 {
			t.Fatalf("%+v, %v", p, err)
		}
		m := p.Messages[0]
		if !bytes.Equal(m.ValueB64, []byte{0, 1, 255}) || !bytes.Equal(m.KeyB64, []byte("k\x00\xff")) || m.TimeMs != 1234 {
			t.Errorf("%+v", m)
		}
		if p, err = c.Consume("kept", 1, 0, ""); err != nil || p.Committed != 17 {
			t.Errorf("committed %d, %v", p.Committed, err)
		}
		again, err := c.Do("POST", "/broker/topics/kept/produce?partition=3&idempotency_key=once", []byte("other"))
		if err != nil || !strings.Contains(string(again.Body), `"duplicate":true`) || !strings.Contains(string(again.Body), `"offset":0`) {
			t.Errorf("%s, %v", again.String(), err)
		}
	})
}

// Record headers are part of the message.
func TestMessageHeadersComeBack(t *testing.T) {
	s := proc.Run(t, proc.Options{})
	c := s.Connect(t)
	c.Header += "X-Ayder-H-Trace: abc\r\nX-Ayder-H-Kind: a \"quoted\" one\r\n"
	mustProduce(t, c, "headed", 0, []byte("x"))
	mustKill(t, s)
	p, err := s.Again(t).Connect(t).Consume("headed", 0, 0, "")
	if err != nil || p.Count != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	got := http.Header{}
	for k, v := range p.Messages[0].Headers {
		got.Add(k, v)
	}
	if got.Get("Trace") != "abc" || got.Get("Kind") != `a "quoted" one` {
		t.Errorf("headers %v", p.Messages[0].Headers)
	}
}
