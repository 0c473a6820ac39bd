package main

import (
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"ayder/internal/testkit/proc"
	"ayder/tools/vm/console"
)

func TestMain(m *testing.M) { os.Exit(proc.Main(m)) }

// host plays the machine's other side: it keeps what is said and can end a phase by killing the server, which is the nearest to a
// machine's death that a test has.
type host struct {
	mu    sync.Mutex
	text  strings.Builder
	acked int
	kill  func()
}

func (h *host) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if strings.HasPrefix(string(p), string(console.Acked)) {
		if h.acked++; h.acked == 40 && h.kill != nil {
			go h.kill()
		}
	}
	return h.text.Write(p)
}

func (h *host) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.String()
}

// The phases that machines run, here, one after the other on one directory.
func TestPhases(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts the program")
	}
	h := &host{}
	port, err := proc.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{w: console.NewWriter(h), options: proc.Options{Bin: proc.Binary(t), Dir: t.TempDir(), Port: port, Args: flags}}
	t.Cleanup(func() {
		if g.server != nil && g.server.Kill() != nil {
			t.Error("the server does not end")
		}
	})
	if err := g.kill(); err != nil {
		t.Fatal(err, h)
	}
	h.acked, h.kill = 0, func() { _ = g.server.Kill() }
	if err := g.power(); err == nil {
		t.Fatal("it ended well, although the server was killed")
	}
	if err := g.verify(); err != nil {
		t.Fatal(err, h)
	}
	if !strings.Contains(h.String(), "and it takes more") || !strings.Contains(h.String(), "ayder_backend_info{") || strings.Count(h.String(), "@holds") != 3*partitions {
		t.Errorf("it said\n%s", h)
	}
	// Anything that is not what was produced is found: verify has put a message there.
	if g.server, err = proc.Start(g.options); err != nil {
		t.Fatal(err)
	}
	if err := g.check(); err == nil || !strings.Contains(err.Error(), "the last one") {
		t.Errorf("a strange message: %v", err)
	}
}

func TestSuiteTellsWhatFailed(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"good.test": "echo '--- PASS: TestA'; echo '--- SKIP: TestB'; echo '    --- PASS: TestA/part'",
		"bad.test":  "echo '--- FAIL: TestC'; echo why; exit 1",
	} {
		if err := os.WriteFile(dir+"/"+name, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	h := &host{}
	err := suite(console.NewWriter(h), dir)
	if err == nil || !strings.Contains(err.Error(), "bad.test") || strings.Contains(err.Error(), "good.test") {
		t.Error(err)
	}
	for _, want := range []string{"@ good.test: 1 tests passed, 1 skipped, 0 failed\n", "@ bad.test: 0 tests passed, 0 skipped, 1 failed\n", "@     why\n"} {
		if !strings.Contains(h.String(), want) {
			t.Errorf("%q is not in\n%s", want, h)
		}
	}
	if err := suite(console.NewWriter(h), dir+"/none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

func TestTellingLines(t *testing.T) {
	out := "=== RUN   TestA\n--- PASS: TestA\n=== RUN   TestB\n    b_test.go:1: why\n--- FAIL: TestB\n=== RUN   TestC\n--- PASS: TestC\n=== RUN   TestD\n--- PASS: TestD\nFAIL\n"
	if got := strings.Join(telling(out), "|"); got != "TestB|    b_test.go:1: why|--- FAIL: TestB|TestD|--- PASS: TestD|FAIL" {
		t.Error(got)
	}
}

func TestPayloadsDiffer(t *testing.T) {
	seen := map[string]bool{}
	for p := range 3 {
		for o := range uint64(2000) {
			seen[string(payload(p, o))] = true
		}
	}
	if len(seen) != 6000 {
		t.Errorf("%d of 6000 messages differ", len(seen))
	}
}
