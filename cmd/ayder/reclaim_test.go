package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"ayder/internal/testkit/proc"
)

// Space comes back: what a data directory occupies falls when messages die or keys get other values, on one node and on every node of a cluster,
// whatever happens meanwhile, and what is alive is all there.

// logBytes is the size of the log's files in a directory.
func logBytes(t *testing.T, dir string) (total int64) {
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
		if name := e.Name(); strings.HasSuffix(name, ".aof") || strings.HasSuffix(name, ".ready") || strings.HasSuffix(name, ".tmp") {
			total += info.Size()
		}
	}
	return total
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
	deadline(t, "a third of it", func() bool { return logBytes(t, s.Dir) < full/3 })
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
