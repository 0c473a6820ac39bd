package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ayder/aof"
	"ayder/engine"
	"ayder/internal/backup"
	"ayder/internal/testkit/proc"
)

// Backups of real servers: under load, more than once, restored to their end, to an index and to a time; every restored server must show what
// the first one showed at that point.

// visible is what a server shows of everything that its log has, by path.
type visible map[string]string

// passing is what passes with time alone, or is of a run and not of the state.
var passing = regexp.MustCompile(`"ttl_ms":[0-9]+,?|"state":"[a-z]+",?|"role":"[a-z]+",?|"latest_ms":[0-9]+,?|"mode":"rocket"[^}]*|"reason":(null|"[^"]*")`)

// show asks a server for everything. Rocket topics have no messages after a restart, so theirs are left out.
func show(t *testing.T, addr string) visible {
	t.Helper()
	c, err := proc.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := visible{}
	get := func(path string) []byte {
		r, err := c.Get(path)
		if err != nil || r.Status != 200 {
			t.Fatal(path, err, r.String())
		}
		return r.Body
	}
	keep := func(path string) []byte {
		b := get(path)
		s[path] = string(passing.ReplaceAll(b, nil))
		return b
	}
	var topics struct {
		Topics []struct{ Topic, Name, Mode string }
	}
	decode(t, keep("/broker/topics"), &topics)
	for _, topic := range topics.Topics {
		if topic.Mode != "rocket" {
			showMessages(t, c, s, topic.Topic+topic.Name, keep)
		}
	}
	for _, path := range []string{"/broker/schemas", "/broker/pipelines", "/broker/groups", "/kv/n?limit=1000"} {
		keep(path)
	}
	var keys struct{ Keys []struct{ Key string } }
	decode(t, get("/kv/n?limit=1000"), &keys)
	for _, k := range keys.Keys {
		keep("/kv/n/" + k.Key)
	}
	return s
}

func showMessages(t *testing.T, c *proc.Client, s visible, topic string, keep func(string) []byte) {
	t.Helper()
	var d struct {
		List []struct {
			Partition int    `json:"partition"`
			Earliest  uint64 `json:"earliest_offset"`
		} `json:"partition_list"`
	}
	decode(t, keep("/broker/topics/"+topic), &d)
	for _, p := range d.List {
		var all bytes.Buffer
		_, err := c.Each(topic, p.Partition, p.Earliest, func(m *proc.Message) error {
			return json.NewEncoder(&all).Encode(m)
		})
		if err != nil {
			t.Fatal(topic, p.Partition, err)
		}
		s[fmt.Sprint(topic, "/", p.Partition)] = all.String()
	}
}

func decode(t *testing.T, b []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err, string(b))
	}
}

// same compares two servers' states.
func same(t *testing.T, what string, got, want visible) {
	t.Helper()
	for _, path := range slices.Sorted(maps.Keys(want)) {
		if got[path] != want[path] {
			at := 0
			for at < min(len(got[path]), len(want[path])) && got[path][at] == want[path][at] {
				at++
			}
			from := max(0, at-60)
			t.Errorf("%s: %s differs at byte %d of %d and %d:\n%.200q\nwant\n%.200q", what, path, at, len(got[path]), len(want[path]), got[path][min(from, len(got[path])):], want[path][from:])
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%s: %s should not be there", what, path)
		}
	}
}

// backupTest is a server with a bit of everything.
type backupTest struct {
	*testing.T
	server *proc.Server
	c      *proc.Client
	dest   string
	loads  int
}

func newBackupTest(t *testing.T, s *proc.Server) *backupTest {
	t.Helper()
	c, err := proc.Dial(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	b := &backupTest{T: t, server: s, c: c, dest: filepath.Join(t.TempDir(), "dest")}
	b.fill()
	return b
}

// fill makes one of everything.
func (b *backupTest) fill() {
	b.Helper()
	b.must("POST", "/broker/topics", `{"name":"churn","partitions":2}`)
	b.must("POST", "/broker/topics", `{"name":"kept","partitions":1}`)
	b.must("POST", "/broker/topics", `{"name":"gone","partitions":1}`)
	b.must("POST", "/broker/topics", `{"name":"fast","partitions":1,"mode":"rocket"}`)
	b.must("POST", "/broker/schemas", `{"type":"avro","schema_text":"\"string\""}`)
	b.must("POST", "/broker/pipelines", `{"name":"p","query":{"source":{"topic":"kept"},"filter":[{"field":"n","op":"ge","value":0}]},"into":"rows"}`)
}

func (b *backupTest) must(method, path, body string) proc.Response {
	b.Helper()
	r, err := b.c.Do(method, path, []byte(body))
	if err != nil || r.Status >= 300 {
		b.Fatal(method, path, err, r.String())
	}
	return r
}

// load produces megabytes until the result is called.
func (b *backupTest) load() (stop func()) {
	b.loads++
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	c, err := proc.Dial(b.server.Addr)
	if err != nil {
		b.Fatal(err)
	}
	round := b.loads
	go func() {
		defer c.Close()
		body := bytes.Repeat([]byte("load"), 10_000)
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				done <- nil
				return
			default:
			}
			if _, err := c.Produce("churn", i%2, fmt.Appendf(body, "%d %d", round, i)); err != nil {
				done <- err
				return
			}
		}
	}()
	return func() {
		cancel()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}

// change makes changes of every kind.
func (b *backupTest) change(round int) {
	for i := range 50 {
		b.must("POST", "/broker/topics/kept/produce?partition=0&idempotency_key="+fmt.Sprint(round, "-", i), fmt.Sprintf(`{"n":%d}`, i))
		b.must("PUT", fmt.Sprintf("/kv/n/k%d", i%20), fmt.Sprint(round, i))
	}
	b.must("PUT", "/kv/n/timed?ttl_ms=3600000", fmt.Sprint(round))
	b.must("DELETE", fmt.Sprintf("/kv/n/k%d", round), "")
	b.must("POST", "/broker/topics/fast/produce", "in memory")
	b.must("POST", "/broker/commit", fmt.Sprintf(`{"topic":"kept","group":"g","partition":0,"offset":%d}`, round*10))
}

// list is the server's list of files when nothing has happened for a moment and the pipeline has nothing to do.
func (b *backupTest) list() *aof.Contents {
	b.Helper()
	c := &aof.Contents{}
	deadline(b.T, "the log rests", func() bool {
		before := c.Index
		c = b.now()
		r := b.must("GET", "/broker/pipelines/p", "")
		time.Sleep(100 * time.Millisecond)
		return c.Index == before && bytes.Contains(r.Body, []byte(`"lag":0`))
	})
	return c
}

func (b *backupTest) now() *aof.Contents {
	b.Helper()
	c := &aof.Contents{}
	decode(b.T, b.must("GET", "/admin/backup", "").Body, c)
	return c
}

func (b *backupTest) backup(more ...string) string {
	b.Helper()
	return mustAsk(b.T, b.server.Addr, "", append([]string{"backup", b.dest}, more...)...)
}

// restored restores and starts a server from it.
func (b *backupTest) restored(args ...string) visible {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "restored")
	out, code := ayder(b.T, nil, append([]string{"restore", b.dest, dir}, args...)...)
	if code != 0 {
		b.Fatalf("restore %v: %d %s", args, code, out)
	}
	s := proc.Run(b.T, proc.Options{Dir: dir, Args: smallSegments})
	got := show(b.T, s.Addr)
	if out, code := ayderCheck(b.T, s); code != 0 {
		b.Errorf("restored with %v: %s", args, out)
	}
	return got
}

func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	b := newBackupTest(t, proc.Run(t, proc.Options{Args: smallSegments}))
	b.change(1)
	stop := b.load()
	deadline(t, "some segments are full", func() bool { return len(b.now().Pieces) > 4 })
	b.backup()
	b.backup()
	b.change(2)
	stop()
	early := b.list()
	first := show(t, b.server.Addr)
	quiet := time.Now().Add(5 * time.Millisecond)
	time.Sleep(time.Until(quiet.Add(5 * time.Millisecond)))
	b.backup()

	// Most of it dies, and the space is given back while more comes in.
	b.change(3)
	b.must("DELETE", "/broker/topics/gone", "")
	b.must("POST", "/broker/retention", `{"topic":"kept","max_bytes":4000}`)
	stop = b.load()
	deadline(t, "a segment was rewritten or dropped", func() bool {
		for p := range 2 {
			var d described
			decode(t, b.must("GET", "/broker/topics/churn", "").Body, &d)
			b.must("POST", "/broker/delete-before", fmt.Sprintf(`{"topic":"churn","partition":%d,"before_offset":%d}`, p, d.Partitions[p].Next))
		}
		b.backup()
		return b.now().WholeFrom > early.Index
	})
	stop()
	b.change(4)
	deadline(t, "the policy is done with", func() bool {
		var d described
		decode(t, b.must("GET", "/broker/topics/kept", "").Body, &d)
		return d.Partitions[0].Bytes <= 4000
	})
	late := b.list()
	last := show(t, b.server.Addr)
	if out := b.backup(); !strings.Contains(out, fmt.Sprintf("index %d,", late.Index)) {
		t.Errorf("the backup says %s", out)
	}
	deadline(t, "nothing is new", func() bool { // until then segments may be rewritten in the background
		return strings.Contains(b.backup(), "fetched 0 files, 0 bytes")
	})
	same(t, "the end", b.restored(), last)
	same(t, "an index", b.restored("--index", fmt.Sprint(early.Index)), first)
	same(t, "a time", b.restored("--time", quiet.UTC().Format(time.RFC3339Nano)), first)
	refuses(t, b.dest)
}

// refuses restores to where a backup does not reach, and to where it may not.
func refuses(t *testing.T, dest string) {
	t.Helper()
	for _, c := range []struct {
		want string
		args []string
	}{
		{"indexes 1 to ", []string{dest, "X", "--index", "1000000000"}},
		{"index 1 was written at ", []string{dest, "X", "--time", "2001-01-01T00:00:00Z"}},
		{"not empty", []string{dest, dest}},
		{"has no backup.json", []string{"X", "Y"}},
		{"--time", []string{dest, "X", "--time", "yesterday"}},
		{"usage", []string{dest, "X", "--time", "2001-01-01T00:00:00Z", "--index", "12"}},
	} {
		for i, a := range c.args {
			if len(a) == 1 {
				c.args[i] = filepath.Join(t.TempDir(), a)
			}
		}
		if out, code := ayder(t, nil, append([]string{"restore"}, c.args...)...); code == 0 || !strings.Contains(out, c.want) {
			t.Errorf("restore %v: %d %s", c.args, code, out)
		}
	}
}

// digest is the whole state of a stopped server's directory, with messages.
func digest(t *testing.T, dir string) []byte {
	t.Helper()
	e := engine.New(engine.Config{})
	index, payload, err := aof.LoadCheckpoint(nil, dir, nil)
	if err == nil && payload != nil {
		err = e.Restore(payload)
	}
	if err != nil {
		t.Fatal(err)
	}
	l, err := aof.OpenQuiet(aof.Options{Dir: dir, ReplayAfter: index}, e.ApplyReplay)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return e.AppendState(nil)
}

// A stopped server's directory gives the same backup as the server did, and what is restored from it has the same state, byte for byte.
func TestBackupOfADirectory(t *testing.T) {
	t.Parallel()
	b := newBackupTest(t, proc.Run(t, proc.Options{Args: smallSegments}))
	stop := b.load()
	b.change(1)
	b.backup()
	b.change(2)
	stop()
	b.list() // when the pipeline has written its rows
	want := show(t, b.server.Addr)
	if out, code := ask(t, b.server.Addr, "", "backup", b.dest, "--data-dir", b.server.Dir); code == 0 || !strings.Contains(out, "in use") {
		t.Errorf("of a running server: %d %s", code, out)
	}
	if err := b.server.Kill(); err != nil {
		t.Fatal(err)
	}
	out := b.backup("--data-dir", b.server.Dir)
	if b.backup("--data-dir", b.server.Dir) == out {
		t.Errorf("twice: %s", out)
	}
	dir := filepath.Join(t.TempDir(), "restored")
	if _, err := backup.Restore(b.dest, dir, backup.Target{}); err != nil {
		t.Fatal(err)
	}
	if got, want := digest(t, dir), digest(t, b.server.Dir); !bytes.Equal(got, want) {
		t.Errorf("the states differ: %d and %d bytes", len(got), len(want))
	}
	same(t, "restored", b.restored(), want)

	// An interrupted restore is no directory to start from.
	if err := os.WriteFile(filepath.Join(dir, backup.Marker), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := ayder(t, nil, "--data-dir", dir); code == 0 || !strings.Contains(out, "restore again") {
		t.Errorf("%d %s", code, out)
	}
	if _, err := backup.OpenOffline(dir); err == nil {
		t.Error("it can be backed up")
	}
}

// Who is not an admin gets nothing.
func TestBackupNeedsAnAdmin(t *testing.T) {
	s := proc.Run(t, proc.Options{Env: []string{"RF_BEARER_TOKENS=dev:rw@read+write:part@admin/t"}})
	dest := filepath.Join(t.TempDir(), "dest")
	for _, token := range []string{"rw", "part"} {
		if out, code := ask(t, s.Addr, "", "backup", dest, "--token", token); code != 6 || !strings.Contains(out, "403") {
			t.Errorf("%s: %d %s", token, code, out)
		}
	}
	if out, code := ask(t, s.Addr, "", "backup", dest, "--token", "nobody"); code != 6 || !strings.Contains(out, "401") {
		t.Errorf("%d %s", code, out)
	}
}
