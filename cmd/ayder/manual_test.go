package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ayder/internal/cli"
	"ayder/internal/config"
	"ayder/internal/manual"
)

// The manual names every command, flag and setting, and is a page that man can show.
func TestManualPage(t *testing.T) {
	page, code := ayder(t, nil, "man")
	if code != 0 {
		t.Fatal(page)
	}
	plain := strings.ReplaceAll(page, `\-`, "-")
	for _, c := range cli.Describe() {
		if !strings.Contains(plain, "ayder "+c.Name) {
			t.Errorf("the command %s is missing", c.Name)
		}
		for _, f := range c.Flags {
			if !strings.Contains(plain, "--"+f.Name) {
				t.Errorf("%s: the flag %s is missing", c.Name, f.Name)
			}
		}
	}
	for _, g := range config.Describe() {
		for _, s := range g.Flags {
			if !strings.Contains(plain, s.Env) {
				t.Errorf("the setting %s is missing", s.Env)
			}
		}
	}
	file := filepath.Join(t.TempDir(), "ayder.1")
	if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	if mandoc, err := exec.LookPath("mandoc"); err == nil {
		out, _ := exec.CommandContext(t.Context(), mandoc, "-Tlint", "-W", "warning", file).CombinedOutput()
		for line := range strings.Lines(string(out)) {
			if !strings.Contains(line, "missing date") { // so that the same source gives the same page
				t.Error(line)
			}
		}
	}
}

// bash, asked as it asks itself, completes commands, their second words and their flags.
func TestCompletionInBash(t *testing.T) {
	bash := tool(t, "bash")
	script, code := ayder(t, nil, "completion", "bash")
	if code != 0 {
		t.Fatal(script)
	}
	for _, c := range []struct{ typed, want string }{
		{"to", "topic"},
		{"topic cr", "create"},
		{"topic create --part", "--partitions"},
		{"topic create events --part", "--partitions"},
		{"consume --off", "--offset"},
		{"consume events --off", "--offset"},
		{"serve --data", "--data-dir"},
		{"--data", "--data-dir"},
		{"compl", "completion"},
	} {
		words := strings.Split(c.typed, " ")
		ask := fmt.Sprintf("%s\nCOMP_WORDS=(ayder %s); COMP_CWORD=%d; _ayder; printf '%%s\\n' \"${COMPREPLY[@]}\"", script, c.typed, len(words))
		out, err := exec.CommandContext(t.Context(), bash, "-c", ask).CombinedOutput()
		if got := strings.Fields(string(out)); err != nil || len(got) != 1 || got[0] != c.want {
			t.Errorf("%q is completed to %q (%v), not %s", c.typed, out, err, c.want)
		}
	}
}

func TestCompletionParses(t *testing.T) {
	for _, shell := range manual.Shells {
		script, code := ayder(t, nil, "completion", shell)
		if code != 0 || len(script) < 1000 {
			t.Fatal(shell, code, script)
		}
		path, err := exec.LookPath(shell)
		if err != nil {
			continue
		}
		file := filepath.Join(t.TempDir(), "script")
		if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
		mustRun(t, filepath.Dir(file), path, "-n", file)
	}
	if out, code := ayder(t, nil, "completion", "cmd.exe"); code != 2 || !strings.Contains(out, "bash|zsh|fish") {
		t.Error(code, out)
	}
}
