package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"ayder/internal/testkit/proc"
)

// Space comes back: what a data directory occupies falls when messages die or keys get other values, on one node and on every node of a cluster,
// whatever happens meanwhile, and what is alive is all there.

// logBytes is the size of the log's files in a directory.
func logBytes(t *testing.T, dir string) int64 {
	t.Helper()
	return bytesIn(t, dir, ".aof", ".ready", ".tmp")
}

// bytesIn is the size of the files in a directory whose names end in one of these.
func bytesIn(t *testing.T, dir string, suffixes ...string) (total int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed just now
		}
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(e.Name(), s) }) {
			total += info.Size()
		}
	}
	return total
}

// sizesIn is what ls -l would say.
func sizesIn(t *testing.T, dir string) string {
	t.Helper()
	var text strings.Builder
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err.Error()
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			fmt.Fprintf(&text, "%9d %s\n", info.Size(), e.Name())
		}
	}
	return text.String()
}

// deadline waits until ok says so.
func deadline(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never:", what)
		}
	}
}

const reclaimSize = 100 << 10 // of a message or a value, in segments of 4 MiB

// Keys are written again and again; the values before are dead. The server is killed while their space is given back.
func TestSpaceOfKeysComesBack(t *testing.T) {
	t.Parallel()
	const keys, rounds = 40, 10
	s := proc.Run(t, proc.Options{Args: smallSegments})
	c := s.Connect(t)
	name := func(key int) string { return fmt.Sprintf("/kv/n%d/k%d", key%5, key) }
	for round := range rounds {
		for key := range keys {
			r, err := c.Post(name(key), counted(round*keys+key, reclaimSize))
			if err != nil || r.Status != 200 {
				t.Fatal(r.String(), err)
			}
		}
	}
	check := func() {
		t.Helper()
		for key := range keys {
			r, err := c.Get(name(key) + "?raw=1")
			if err != nil || r.Status != 200 || !bytes.Equal(r.Body, counted((rounds-1)*keys+key, reclaimSize)) {
				t.Fatalf("key %d: %s, %v", key, r.String(), err)
			}
		}
	}
	full := logBytes(t, s.Dir)
	if full < keys*rounds*reclaimSize {
		t.Fatalf("%d bytes are too few", full)
	}
	deadline(t, "the beginning", func() bool { return logBytes(t, s.Dir) < full*9/10 })
	mustKill(t, s)
	s = s.Again(t)
	c = s.Connect(t)
	check()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%d bytes at first, now:\n%s", full, sizesIn(t, s.Dir))
		}
	})
	// A segment that ends exactly where the older checkpoint is stays until there is another one, which takes another write.
	const mayStay = 4 << 20
	deadline(t, "a third of it", func() bool { return logBytes(t, s.Dir) < full/3+mayStay })
	check()
	mustKill(t, s)
	s = s.Again(t)
	c = s.Connect(t)
	check()
	if out, code := ayderCheck(t, s); code != 0 || !strings.Contains(out, "ok") {
		t.Errorf("check: %d, %s", code, out)
	}
}

// ayderCheck stops a server and runs check over its directory.
func ayderCheck(t *testing.T, s *proc.Server) (string, int) {
	t.Helper()
	if _, err := s.Terminate(proc.HangGuard); err != nil {
		t.Fatal(err)
	}
	return ayder(t, nil, "check", s.Dir)
}

// deleteBelow moves a floor.
func deleteBelow(c *proc.Client, topic string, partition int, offset uint64) error {
	r, err := c.Post("/broker/delete-before", fmt.Appendf(nil, `{"topic":%q,"partition":%d,"before_offset":%d}`, topic, partition, offset))
	if err == nil && r.Status != 200 {
		err = errors.New(r.String())
	}
	return err
}

// mustHaveFrom reads a partition from its floor to its end.
func mustHaveFrom(t *testing.T, addr, topic string, floor, end uint64, want func(uint64) []byte) {
	t.Helper()
	c, err := proc.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	at := floor
	next, err := c.Each(topic, 0, floor, func(m *proc.Message) error {
		if m.Offset != at || !bytes.Equal(m.ValueB64, want(at)) {
			return fmt.Errorf("offset %d is %.30q where %d was expected", m.Offset, m.ValueB64, at)
		}
		at++
		return nil
	})
	if err != nil || next < end || at < end {
		t.Fatalf("%s from %d: up to %d and %d, want %d: %v", topic, floor, at, next, end, err)
	}
	if floor == 0 {
		return
	}
	r, err := c.Get(fmt.Sprintf("/broker/consume/%s/g/0?offset=%d", topic, floor-1))
	if err != nil || r.Status != 410 || !strings.Contains(string(r.Body), fmt.Sprintf(`"earliest_offset":%d`, floor)) {
		t.Fatalf("below the floor: %s, %v", r.String(), err)
	}
}

const reclaimCount = 600 // messages of each of two topics

// One topic is cut, the other one is kept whole: the segments, which have both, are rewritten, while the server is killed again and again.
func TestSpaceComesBack(t *testing.T) {
	t.Parallel()
	s := proc.Run(t, proc.Options{Args: smallSegments})
	c := s.Connect(t)
	body := func(n uint64) []byte { return counted(int(n), reclaimSize) }
	for n := range uint64(reclaimCount) {
		mustProduce(t, c, "cut", 0, body(n))
		mustProduce(t, c, "kept", 0, body(n))
	}
	full := logBytes(t, s.Dir)
	floor := uint64(0)
	for range 4 {
		floor += reclaimCount/4 - 3
		if err := deleteBelow(c, "cut", 0, floor); err != nil {
			t.Fatal(err)
		}
		goal := full - int64(floor)*reclaimSize*3/4
		deadline(t, "half way", func() bool { return logBytes(t, s.Dir) < full-int64(floor)*reclaimSize/8 })
		mustKill(t, s)
		s = s.Again(t)
		c = s.Connect(t)
		mustHaveFrom(t, s.Addr, "cut", floor, reclaimCount, body)
		deadline(t, fmt.Sprintf("down to %d bytes from %d, it is %d", goal, full, logBytes(t, s.Dir)), func() bool { return logBytes(t, s.Dir) <= goal })
		mustHaveFrom(t, s.Addr, "kept", 0, reclaimCount, body)
	}
	if out, code := ayderCheck(t, s); code != 0 || !strings.Contains(out, "ok") {
		t.Errorf("check: %d, %s", code, out)
	}
	s = s.Again(t)
	mustHaveFrom(t, s.Addr, "cut", floor, reclaimCount, body)
	mustHaveFrom(t, s.Addr, "kept", 0, reclaimCount, body)
	r, err := s.Connect(t).Do("DELETE", "/broker/topics/kept", nil)
	if err != nil || r.Status != 200 {
		t.Fatal(r.String(), err)
	}
	deadline(t, "nearly nothing", func() bool { return logBytes(t, s.Dir) < 24<<20 })
	mustHaveFrom(t, s.Addr, "cut", floor, reclaimCount, body)
}

// In a cluster every node gives its own space back. One that was away meanwhile gets files, rewritten ones among them, and all agree.
func TestSpaceComesBackInACluster(t *testing.T) {
	t.Parallel()
	g := runGroup(t, 3, proc.Options{})
	body := func(n uint64) []byte { return counted(int(n), reclaimSize) }
	put := func(from, to uint64) {
		for n := from; n < to; n++ {
			for _, topic := range []string{"cut", "kept"} {
				if a := g.put(topic, 0, body(n)); a.Offset != n {
					t.Fatalf("%s: offset %d, want %d", topic, a.Offset, n)
				}
			}
		}
	}
	cut := func(floor uint64) {
		if r := g.any("POST", "/broker/delete-before", fmt.Appendf(nil, `{"topic":"cut","partition":0,"before_offset":%d}`, floor)); r.Status != 200 {
			t.Fatal(r.String())
		}
	}
	put(0, 200)
	away := g.follower()
	mustKill(t, away.Server)
	put(200, 400)
	cut(300)
	goal := int64(400*2-300)*reclaimSize + 45<<20 // what is alive, the segments that are kept or not covered yet, and five spares
	for _, n := range g.nodes {
		if n.running() {
			deadline(t, n.id+" gives back", func() bool { return logBytes(t, n.Dir) < goal })
		}
	}
	g.start(away)
	put(400, 420)
	for _, n := range g.nodes {
		deadline(t, n.id+" has all", func() bool {
			r, err := n.get("/broker/consume/kept/g/0?offset=419")
			return err == nil && r.Status == 200 && strings.Contains(string(r.Body), `"count":1`)
		})
		mustHaveFrom(t, n.http, "cut", 300, 420, body)
		mustHaveFrom(t, n.http, "kept", 0, 420, body)
		deadline(t, n.id+" gives back too", func() bool { return logBytes(t, n.Dir) < goal })
	}
	if !strings.Contains(away.Log(), "the leader's files are fetched") {
		t.Error("the node that was away was sent entries: nothing that it needed was rewritten")
	}
	for _, n := range g.nodes {
		if _, err := n.Terminate(proc.HangGuard); err != nil {
			t.Fatal(err)
		}
		if out, code := ayder(t, nil, "check", n.options.Dir); code != 0 {
			t.Errorf("%s: %s", n.id, out)
		}
	}
}
