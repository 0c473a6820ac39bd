package main

import (
	"flag"
	"os"
	"path/filepath"
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
