package console_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"ayder/internal/console"
)

func TestEveryFileIsServedBothWays(t *testing.T) {
	entries, err := fs.ReadDir(os.DirFS("assets"), ".")
	if err != nil || len(entries) == 0 {
		t.Fatal(err)
	}
	total := 0
	for _, e := range entries {
		f := console.Find(e.Name())
		if f == nil {
			t.Errorf("%s is not served", e.Name())
			continue
		}
		want, err := os.ReadFile("assets/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		r, err := gzip.NewReader(bytes.NewReader(f.Gzip))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, want) || !bytes.Equal(f.Body, want) {
			t.Errorf("%s: is served otherwise than it is: %v", e.Name(), err)
		}
		if !regexp.MustCompile(`^W/"[0-9a-f]{16}"$`).MatchString(f.ETag) {
			t.Errorf("%s: tag %s", e.Name(), f.ETag)
		}
		total += len(f.Gzip)
	}
	t.Logf("%d files, %d bytes compressed", len(entries), total)
	for _, name := range []string{"", "assets", "none.js", "../console.go", "assets/app.js"} {
		if console.Find(name) != nil {
			t.Errorf("%q is served", name)
		}
	}
}

// What the policy forbids is not written either: other origins, HTML from strings, styles and scripts inside the page.
func TestFilesKeepToThePolicy(t *testing.T) {
	banned := regexp.MustCompile(`https?://|innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function|style=|\son[a-z]+="|<style|<script>|\.cookie`)
	imports := regexp.MustCompile(`(?:from|import) '\./([a-z]+\.js)'`)
	entries, _ := fs.ReadDir(os.DirFS("assets"), ".")
	for _, e := range entries {
		text := string(console.Find(e.Name()).Body)
		text = strings.ReplaceAll(text, "http://www.w3.org/2000/svg", "")
		if found := banned.FindString(text); found != "" {
			t.Errorf("%s has %s", e.Name(), found)
		}
		for _, m := range imports.FindAllStringSubmatch(text, -1) {
			if console.Find(m[1]) == nil {
				t.Errorf("%s imports %s, which does not exist", e.Name(), m[1])
			}
		}
		if lines := strings.Count(text, "\n"); lines > 320 {
			t.Errorf("%s has %d lines: it is more than one thing", e.Name(), lines)
		}
	}
}
