package main

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ayder/internal/testkit/proc"
)

// Every page of the guide is followed from its first to its last command, each on servers of its own.
//
// Answers that are wrong, or are not written yet (an empty block), are put into the page by
// go test ./cmd/ayder -run TestGuide -rewrite.

var rewrite = flag.Bool("rewrite", false, "write the answers that come into the pages of the guide where others are shown")

// guidePages are the pages that are executed, by their paths in the repository.
func guidePages(t *testing.T) (root string, pages []string) {
	t.Helper()
	root, err := proc.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	pages, err = filepath.Glob(filepath.Join(root, "docs", "guide", "*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatal(len(pages), err)
	}
	for i := range pages {
		pages[i] = "docs/guide/" + filepath.Base(pages[i])
	}
	return root, append(pages, "deploy/README.md")
}

func TestGuideWordForWord(t *testing.T) {
	t.Parallel()
	root, pages := guidePages(t)
	for _, name := range pages {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".md"), func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(root, name))
			if err != nil {
				t.Fatal(err)
			}
			m := readPage(name, string(text))
			if len(m.steps) == 0 {
				t.Skip("it has no commands")
			}
			r := newPageReader(t)
			r.alone(func() { r.follow(m.steps, nil) })
			if *rewrite {
				rewritePage(t, filepath.Join(root, name), string(text), m)
			}
		})
	}
}

// rewritePage puts what came in place of the answers that are wrong.
func rewritePage(t *testing.T, path, text string, m *commandPage) {
	t.Helper()
	lines := strings.Split(text, "\n")
	for _, s := range slices.Backward(m.steps) {
		if s.kind == "" || judgeAnswer(s, s.got, nil) == "" {
			continue
		}
		answer := strings.Split(shownAs(s.kind, s.got), "\n")
		lines = slices.Replace(lines, s.from, s.to, answer...)
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
}

// names is what a page may name within its sentences.
type names struct {
	root    string
	manual  string // of all commands and settings
	openapi string
	metrics map[string]bool
}

var (
	flagName = regexp.MustCompile(`^--[a-z-]+`)
	envName  = regexp.MustCompile(`^(RF|AYDER)_[A-Z_]+`)
	wordName = regexp.MustCompile(`^[a-z]+(_[a-z]+)+$`)
	pathName = regexp.MustCompile(`^(?:GET |POST |DELETE )?(/[a-z][a-z_./-]*)`)
	fileName = regexp.MustCompile(`^(deploy|docs|bench|tools|cmd|internal)/[A-Za-z0-9_./-]+$`)
)

// foreign are names of other programs, and of things in the world.
var foreign = []string{"--location-trusted", "--max-time", "/etc/ayder/ayder.env", "/data", "sync_interval", "/var/lib/ayder"}

// TestPagesNameWhatThereIs: the flags, variables, calls, members, error codes, metrics, files and targets that sentences of the
// guide name do exist.
func TestPagesNameWhatThereIs(t *testing.T) {
	root, pages := guidePages(t)
	openapi, err := os.ReadFile(filepath.Join(root, "docs", "openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	man, err := exec.CommandContext(t.Context(), proc.Binary(t), "man").Output()
	if err != nil {
		t.Fatal(err)
	}
	n := names{root, strings.ReplaceAll(string(man), `\-`, "-"), string(openapi), metricsThatThereAre(t)}
	for _, none := range []string{"--no-such-flag", "AYDER_NO_SUCH", "RF_NO_SUCH=1", "ayder_no_such_total", "GET /no/such", "no_such_code", "deploy/none.yml", "ayder nonesuch"} {
		if n.has(t, none) {
			t.Errorf("there is `%s`", none)
		}
	}
	for _, page := range pages {
		text, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Fatal(err)
		}
		m := readPage(page, string(text))
		for _, code := range m.inline {
			if !slices.Contains(foreign, code) && !n.has(t, code) {
				t.Errorf("%s names `%s`, which there is not", page, code)
			}
		}
		for _, s := range m.steps {
			if target, ok := strings.CutPrefix(s.script, "make "); ok {
				dry(t, root, []string{"make", "-n", target})
			}
		}
	}
}

// has tells whether there is what a piece of code names; true also for what names nothing.
func (n *names) has(t *testing.T, code string) bool {
	words := strings.Fields(code)
	switch {
	case len(words) == 0:
		return false
	case words[0] == "make" && len(words) > 1:
		dry(t, n.root, append([]string{"make", "-n"}, words[1:]...))
		return true
	case words[0] == "ayder" && len(words) > 1:
		return strings.Contains(n.manual, words[1])
	case flagName.MatchString(code):
		return strings.Contains(n.manual, flagName.FindString(code))
	case envName.MatchString(code):
		return strings.Contains(n.manual, envName.FindString(code))
	case metricName.MatchString(code):
		name := metricName.FindString(code)
		return n.metrics[name] || n.metrics[metricSuffix.ReplaceAllString(name, "")]
	case fileName.MatchString(code):
		_, err := os.Stat(filepath.Join(n.root, code))
		return err == nil
	case pathName.MatchString(code):
		return strings.Contains(n.openapi, "  "+pathName.FindStringSubmatch(code)[1]) || strings.HasPrefix(code, "/docs/")
	case wordName.MatchString(code):
		return strings.Contains(n.openapi, code)
	}
	return true
}
