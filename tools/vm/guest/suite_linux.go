package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"ayder/tools/vm/console"
)

const tailLines = 60 // of a failed test's output

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
	out, err := cmd.CombinedOutput()
	w.Note("%s: %d tests passed, %d skipped, %d failed", name, count(out, "--- PASS"), count(out, "--- SKIP"), count(out, "--- FAIL"))
	if err == nil {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	for _, line := range lines[max(0, len(lines)-tailLines):] {
		w.Note("    %s", line)
	}
	return fmt.Errorf("%s: %w", name, err)
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
