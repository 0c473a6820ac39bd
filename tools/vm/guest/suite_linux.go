package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"ayder/tools/vm/console"
)

const tailLines = 40 // of the output of one failed test

// suite runs every test binary below root, in its own directory, where its testdata is. All are run, also after one that fails.
func suite(w *console.Writer, root string) error {
	var errs []error
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".test") {
			errs = append(errs, runTests(w, path, strings.TrimPrefix(path, root+"/")))
		}
		return err
	})
	return errors.Join(append(errs, err)...)
}

func runTests(w *console.Writer, path, name string) error {
	cmd := exec.Command(path, "-test.v", "-test.short", "-test.timeout=25m")
	cmd.Dir, cmd.Env = filepath.Dir(path), append(os.Environ(), "HOME=/tmp", "TMPDIR=/data/tmp")
	var all bytes.Buffer
	both := io.MultiWriter(&all, os.Stdout) // the host's log shows where a run hangs
	cmd.Stdout, cmd.Stderr = both, both
	err := cmd.Run()
	out := all.Bytes()
	w.Note("%s: %d tests passed, %d skipped, %d failed", name, count(out, "--- PASS"), count(out, "--- SKIP"), count(out, "--- FAIL"))
	if err == nil {
		return nil
	}
	for _, line := range telling(string(out)) {
		w.Note("    %s", line)
	}
	return fmt.Errorf("%s: %w", name, err)
}

// telling is what of a failed run's output tells why: the tests that failed, and the end.
func telling(out string) (lines []string) {
	parts := strings.Split(strings.TrimSpace(out), "\n=== RUN   ")
	for i, part := range parts {
		own := strings.Split(part, "\n")
		if strings.Contains(part, "--- FAIL") || strings.Contains(part, "panic: ") || i == len(parts)-1 {
			lines = append(lines, own[max(0, len(own)-tailLines):]...)
		}
	}
	return lines
}

// count is how many lines begin with a text.
func count(out []byte, prefix string) (n int) {
	for line := range bytes.Lines(out) {
		if bytes.HasPrefix(line, []byte(prefix)) {
			n++
		}
	}
	return n
}
