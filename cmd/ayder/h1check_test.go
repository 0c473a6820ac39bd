package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"ayder/internal/testkit/proc"
)

// h1check is a collection of recorded HTTP/1.1 requests, from public test suites, each with the outcome it must have.
// It lies beside the repository, or where H1CHECK_DIR says, because its cases have their own licences. Without
// it these tests are skipped; httpparse's own cover the same rules.

var h1 struct {
	once sync.Once
	dir  string // the copy that is built
	bin  string
	err  error
}

const h1Auth = "Authorization: Bearer dev"

var errNoH1 = errors.New("h1check is not here: set H1CHECK_DIR to its directory")

// h1check builds the checker once and returns its directory and program.
func h1check(t *testing.T) (dir, bin string) {
	t.Helper()
	h1.once.Do(func() { h1.err = buildH1() })
	switch {
	case errors.Is(h1.err, errNoH1):
		t.Skip(h1.err)
	case h1.err != nil:
		t.Fatal(h1.err)
	}
	return h1.dir, h1.bin
}

// buildH1 copies the module, which may be read-only and is not part of ours, and compiles it.
func buildH1() error {
	source := os.Getenv("H1CHECK_DIR")
	if source == "" {
		root, err := proc.ModuleRoot()
		if err != nil {
			return err
		}
		source = filepath.Join(root, "..", "shared", "h1check")
	}
	if _, err := os.Stat(filepath.Join(source, "go.mod")); errors.Is(err, fs.ErrNotExist) {
		return errNoH1
	}
	scratch, err := proc.Scratch()
	if err != nil {
		return err
	}
	h1.dir = filepath.Join(scratch, "h1check")
	if err := os.CopyFS(h1.dir, os.DirFS(source)); err != nil {
		return err
	}
	h1.bin = filepath.Join(h1.dir, "h1check-bin")
	cmd := exec.Command("go", "build", "-o", h1.bin, ".")
	cmd.Dir = h1.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(err, errors.New(string(out)))
	}
	return nil
}

// h1Patience has h1check wait longer before it takes silence for an answer.
var h1Patience = []string{"-idle", "5s", "-first", "20s"}

// runs starts a program of the checker, and a second time, with these arguments in front, if it fails: it judges by time, and a busy machine
// may be slower than it thinks. The test fails if it does so again.
func runs(t *testing.T, patience []string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*proc.HangGuard)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		t.Logf("%s: %v, once more\n%s", filepath.Base(name), err, worth(string(out)))
		out, err = exec.CommandContext(ctx, name, slices.Concat(patience, args)...).CombinedOutput()
	}
	if err != nil {
		t.Errorf("%s: %v", filepath.Base(name), err)
	}
	return string(out)
}

// worth keeps the lines that a reader wants: everything but what passed.
func worth(out string) string {
	var b strings.Builder
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "PASS") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestH1Cases(t *testing.T) {
	t.Parallel()
	dir, bin := h1check(t)
	eachBackend(t, func(t *testing.T, o proc.Options) {
		s := proc.Run(t, o)
		out := runs(t, h1Patience, bin, "-cases", filepath.Join(dir, "cases.jsonl"), "-get", "/health",
			"-post", "/broker/topics/h1/produce?partition=0", "-auth", h1Auth,
			"-verify", "/broker/consume/h1/g/0?offset={offset}&limit=1&encoding=b64", s.Addr)
		t.Logf("h1check, every case whole, byte by byte and pipelined:\n%s", worth(out))
		mustServe(t, s)
	})
}

// The time-based checks, with timeouts short enough to wait for.
func TestH1Slow(t *testing.T) {
	_, bin := h1check(t)
	eachBackendAtOnce(t, func(t *testing.T, o proc.Options) {
		o.Args = []string{"--head-timeout", "1s", "--idle-timeout", "2s"}
		s := proc.Run(t, o)
		out := runs(t, nil, bin, "-slow", "9s", "-get", "/health", "-post", "/broker/topics/h1/produce?partition=0", "-auth", h1Auth, s.Addr)
		t.Logf("h1check -slow:\n%s", out)
		mustServe(t, s)
	})
}

// Rules about answers.
func TestH1Answers(t *testing.T) {
	dir, _ := h1check(t)
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 here: ", err)
	}
	eachBackendAtOnce(t, func(t *testing.T, o proc.Options) {
		s := proc.Run(t, o)
		mustServe(t, s)
		out := runs(t, nil, python, filepath.Join(dir, "resplint.py"), s.Addr, "--auth", h1Auth,
			"/health", "/metrics", "/broker/topics", "/nowhere")
		t.Logf("resplint:\n%s", worth(out))
	})
}
