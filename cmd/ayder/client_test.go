package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ayder/internal/cli"
	"ayder/internal/testkit/proc"
)

// The client's commands against real servers: what goes in comes out, nothing twice, and exit codes.

// ask runs a command of the client against a server.
func ask(t *testing.T, addr, input string, args ...string) (out string, code int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	args = append(args, "--server", "http://"+addr)
	code = cli.Run(t.Context(), args, func(string) string { return "" }, cli.Streams{In: strings.NewReader(input), Out: &stdout, Err: &stderr})
	if code != 0 {
		return stderr.String(), code
	}
	return stdout.String(), 0
}

// mustAsk is ask for a command that works.
func mustAsk(t *testing.T, addr, input string, args ...string) string {
	t.Helper()
	out, code := ask(t, addr, input, args...)
	if code != 0 {
		t.Fatalf("ayder %v: exit status %d: %s", args, code, out)
	}
	return out
}

func TestClientProducesAndConsumesLines(t *testing.T) {
	s := proc.Run(t, proc.Options{})
	mustAsk(t, s.Addr, "", "topic", "create", "lines", "--partitions", "1")
	var lines []string
	for i := range 2500 {
		lines = append(lines, fmt.Sprintf("line %d", i))
	}
	lines = append(lines, "", `quo"te \ and`, "not UTF-8: \xff\xfe\x00", "ünïcode", strings.Repeat("long", 50_000))
	input := strings.Join(lines, "\n") + "\n"
	mustAsk(t, s.Addr, input, "produce", "lines")
	if got := mustAsk(t, s.Addr, "", "consume", "lines"); got != input {
		t.Errorf("%d bytes came back, not the %d that went in", len(got), len(input))
	}
	if got := mustAsk(t, s.Addr, "", "consume", "lines", "--offset", "3", "--limit", "2"); got != "line 3\nline 4\n" {
		t.Errorf("from offset 3: %q", got)
	}
	// A group goes on where it was.
	for _, want := range []string{"line 0\nline 1\n", "line 2\nline 3\n"} {
		if got := mustAsk(t, s.Addr, "", "consume", "lines", "--group", "g", "--commit", "--limit", "2"); got != want {
			t.Errorf("the group got %q, want %q", got, want)
		}
	}
}

// Repeating a run with a prefix of one's own appends nothing, whatever the input's speed.
func TestClientRepeatsARunWithoutDuplicates(t *testing.T) {
	s := proc.Run(t, proc.Options{})
	input := strings.Repeat("x\n", 950)
	for range 3 {
		mustAsk(t, s.Addr, input, "produce", "once", "--partition", "0", "--batch", "100", "--idempotency-prefix", "run-1")
	}
	if got := mustAsk(t, s.Addr, "", "consume", "once"); got != input {
		t.Errorf("%d bytes after three runs, want %d", len(got), len(input))
	}
}

// Messages with keys keep their order within a key, and all of a key are in one partition.
func TestClientSplitsKeys(t *testing.T) {
	s := proc.Run(t, proc.Options{})
	var input strings.Builder
	for i := range 300 {
		fmt.Fprintf(&input, "key%d:%06d\n", i%7, i)
	}
	mustAsk(t, s.Addr, input.String(), "produce", "keyed", "--key-separator", ":")
	type position struct {
		partition uint32
		value     string
	}
	last := map[string]position{}
	for line := range strings.Lines(mustAsk(t, s.Addr, "", "consume", "keyed", "--format", "json")) {
		var m struct {
			Partition uint32 `json:"partition"`
			Key       []byte `json:"key_b64"`
			Value     []byte `json:"value_b64"`
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		if before, ok := last[string(m.Key)]; ok && (before.partition != m.Partition || before.value >= string(m.Value)) {
			t.Errorf("key %s: %s in partition %d after %v", m.Key, m.Value, m.Partition, before)
		}
		last[string(m.Key)] = position{m.Partition, string(m.Value)}
	}
	if len(last) != 7 {
		t.Errorf("%d keys, want 7", len(last))
	}
	if out, code := ask(t, s.Addr, "no separator\n", "produce", "keyed", "--key-separator", ":"); code != 1 || !strings.Contains(out, "line 1") {
		t.Errorf("exit status %d: %s", code, out)
	}
}

func TestClientSendsFilesWhole(t *testing.T) {
	s := proc.Run(t, proc.Options{})
	file := filepath.Join(t.TempDir(), "message")
	body := bytes.Repeat([]byte("a\x00\n\xff"), 50_000)
	if err := os.WriteFile(file, body, 0o600); err != nil {
		t.Fatal(err)
	}
	mustAsk(t, s.Addr, "", "produce", "files", file, "--whole", "--header", "name=message", "--partition", "2")
	if got := mustAsk(t, s.Addr, "", "consume", "files", "--format", "raw", "--partition", "2"); got != string(body) {
		t.Errorf("%d bytes came back, not the %d of the file", len(got), len(body))
	}
	if got := mustAsk(t, s.Addr, "", "consume", "files", "--format", "json"); !strings.Contains(got, `"headers":{"name":"message"}`) {
		t.Errorf("the header is missing: %.200s", got[max(0, len(got)-200):])
	}
}

// A topic that is in memory only takes no idempotency keys; the client finds out by itself.
func TestClientProducesToRocketTopics(t *testing.T) {
	s := proc.Run(t, proc.Options{})
	mustAsk(t, s.Addr, "", "topic", "create", "r", "--mode", "rocket", "--partitions", "1")
	mustAsk(t, s.Addr, "a\nb\n", "produce", "r")
	mustAsk(t, s.Addr, "k=c\n", "produce", "r", "--key-separator", "=", "--json-answer")
	if got := mustAsk(t, s.Addr, "", "consume", "r"); got != "a\nb\nc\n" {
		t.Errorf("%q came back", got)
	}
	if out, code := ask(t, s.Addr, "a\n", "produce", "r", "--idempotency-prefix", "mine"); code != 1 || !strings.Contains(out, "needs_sealed") {
		t.Errorf("a prefix of one's own: exit status %d: %s", code, out)
	}
}

func TestClientExitCodes(t *testing.T) {
	s := proc.Run(t, proc.Options{})
	mustAsk(t, s.Addr, "", "topic", "create", "t", "--partitions", "2")
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{2, "usage", []string{"topic", "create"}},
		{2, "unknown command", []string{"topic", "destroy", "t"}},
		{2, "--no-such", []string{"topic", "list", "--no-such"}},
		{2, "--format", []string{"consume", "t", "--format", "xml"}},
		{2, "--commit needs --group", []string{"consume", "t", "--commit"}},
		{2, "--key", []string{"produce", "t", "--key", "k", "--key-separator", ":"}},
		{2, "--header", []string{"produce", "t", "--header", "x"}},
		{2, "2026", []string{"consume", "t", "--since", "yesterday"}},
		{2, "--to", []string{"group", "reset", "g", "t", "--to", "-1"}},
		{2, "KiB", []string{"topic", "create", "u", "--max-bytes", "lots"}},
		{4, "unknown_topic", []string{"consume", "nothing"}},
		{4, "unknown_topic", []string{"topic", "describe", "nothing"}},
		{5, "topic_exists", []string{"topic", "create", "t", "--partitions", "3"}},
		{6, "unauthorized", []string{"topic", "list", "--token", "wrong"}},
		{1, "bad_ndjson", []string{"produce", "t", "--json"}},
		{0, "", []string{"topic", "create", "t", "--partitions", "2"}},
		{0, "", []string{"topic", "--help"}},
		{0, "", []string{"produce", "--help"}},
		{0, `{"ok":true}`, []string{"health"}},
		{0, `{"ready":true`, []string{"health", "--ready"}},
	} {
		if out, code := ask(t, s.Addr, "{", c.args...); code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("ayder %v: exit status %d, want %d with %q: %s", c.args, code, c.code, c.want, out)
		}
	}
	if out, code := ask(t, "127.0.0.1:1", "", "topic", "list", "--retry", "0s"); code != 1 || !strings.Contains(out, "refused") {
		t.Errorf("nobody there: exit status %d: %s", code, out)
	}
	if out, code := ask(t, "127.0.0.1:1", "", "health"); code != 1 || !strings.Contains(out, "refused") {
		t.Errorf("nobody is healthy: exit status %d: %s", code, out)
	}
}

// The server is killed and comes back while lines are sent: nothing is missing and nothing is there twice.
func TestClientOutlivesAKilledServer(t *testing.T) {
	s := proc.Run(t, proc.Options{})
	mustAsk(t, s.Addr, "", "topic", "create", "t", "--partitions", "1")
	in, out := io.Pipe()
	var said bytes.Buffer
	done := make(chan int)
	go func() {
		done <- cli.Run(context.Background(), []string{"produce", "t", "--server", s.Addr, "--batch", "10", "--retry", "120s"}, os.Getenv, cli.Streams{In: in, Out: io.Discard, Err: &said})
	}()
	var want strings.Builder
	for i := range 600 {
		line := fmt.Sprintf("line %d\n", i)
		want.WriteString(line)
		if _, err := io.WriteString(out, line); err != nil {
			t.Fatal(err)
		}
		if i%200 == 100 {
			mustKill(t, s)
			s = s.Again(t)
		}
	}
	out.Close()
	if code := <-done; code != 0 {
		t.Fatalf("exit status %d: %s", code, said.String())
	}
	if got := mustAsk(t, s.Addr, "", "consume", "t"); got != want.String() {
		t.Errorf("%d lines came back, not the 600 that went in", strings.Count(got, "\n"))
	}
	mustStop(t, s)
}

// Any node will do: writes are redirected, with the token and the body.
func TestClientFollowsRedirects(t *testing.T) {
	g := runGroup(t, 3, proc.Options{})
	f := g.follower()
	mustAsk(t, f.Addr, "", "topic", "create", "t", "--partitions", "1")
	mustAsk(t, f.Addr, "a\nb\nc\n", "produce", "t")
	g.eventually("the follower has the lines", func() bool {
		out, code := ask(t, f.Addr, "", "consume", "t")
		return code == 0 && out == "a\nb\nc\n"
	})
	// Several servers, the first of which is not there.
	mustAsk(t, "127.0.0.1:1,"+f.Addr, "d\n", "produce", "t")
}

func TestClientKeepsKeysAndValues(t *testing.T) {
	t.Parallel()
	s := proc.Run(t, proc.Options{})
	binary := "\x00\xff\n" + strings.Repeat("v", 100_000)
	mustAsk(t, s.Addr, binary, "kv", "put", "n", "dir/with space/meta")
	if got := mustAsk(t, s.Addr, "", "kv", "get", "n", "dir/with space/meta"); got != binary {
		t.Errorf("%d bytes came back, not the %d that went in", len(got), len(binary))
	}
	if got := mustAsk(t, s.Addr, "", "kv", "meta", "n", "dir/with space/meta"); !strings.Contains(got, `"cas":1`) {
		t.Errorf("meta: %s", got)
	}
	for i := range 1500 { // more than a page
		mustAsk(t, s.Addr, "", "kv", "put", "n", fmt.Sprintf("many/\xff%04d", i), "v", "--cas", "0")
	}
	if got := mustAsk(t, s.Addr, "", "kv", "list", "n", "--prefix", "many/"); strings.Count(got, "\n") != 1500 || !strings.HasPrefix(got, "1\tmany/\xff0000\n1\tmany/\xff0001\n") {
		t.Errorf("%d keys: %.100q", strings.Count(got, "\n"), got)
	}
	if out, code := ask(t, s.Addr, "", "kv", "put", "n", "many/\xff0001", "w", "--cas", "7"); code != 5 || !strings.Contains(out, "cas_mismatch") {
		t.Errorf("another version: exit status %d: %s", code, out)
	}
	mustAsk(t, s.Addr, "", "kv", "delete", "n", "many/\xff0001")
	if out, code := ask(t, s.Addr, "", "kv", "get", "n", "many/\xff0001"); code != 4 {
		t.Errorf("a deleted key: exit status %d: %s", code, out)
	}
}

func TestClientListsItsCommands(t *testing.T) {
	out, code := ayder(t, nil, "client")
	for _, word := range cli.Words() {
		if code != 0 || !strings.Contains(out, "ayder "+word) {
			t.Errorf("exit status %d, %s is missing: %s", code, word, out)
		}
	}
}
