package tidy

// Reading the tree. Files come from an fs.FS, so that the checks can be tested on trees in memory.
// A file that does not parse is a fault like any other, and one that disappears while we read is
// skipped: others may be at work in the same checkout.

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strings"
	"unicode/utf8"
)

// module is the path of our module, with the slash that follows it in import paths.
const module = "ayder/"

// textBytesMax is the largest file that is read, in bytes; larger ones are data.
const textBytesMax = 1 << 20

// tree is every text file of the checkout.
type tree struct {
	fset    *token.FileSet
	sources []*source
}

// source is one file.
type source struct {
	path string // slash-separated, relative to the root
	text []byte
	file *ast.File // nil unless it is Go and parses
	fset *token.FileSet
}

// fault is one violation.
type fault struct {
	path string
	line int
	text string
}

func (f fault) String() string { return fmt.Sprintf("%s:%d: %s", f.path, f.line, f.text) }

// loadTree reads all text files of fsys and parses those that are Go. What does not parse is
// reported.
func loadTree(fsys fs.FS) (*tree, []fault, error) {
	t := &tree{fset: token.NewFileSet()}
	var faults []fault
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case entry.IsDir() && skipped(name):
			return fs.SkipDir
		case !entry.Type().IsRegular() || name == ".git": // which is a file in a second worktree
			return nil
		}
		faults = append(faults, t.load(fsys, name, entry)...)
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read the tree: %w", err)
	}
	return t, faults, nil
}

// load adds one file, if it is text.
func (t *tree) load(fsys fs.FS, name string, entry fs.DirEntry) []fault {
	if info, err := entry.Info(); err != nil || info.Size() > textBytesMax || path.Ext(name) == ".sum" {
		return nil
	}
	text, err := fs.ReadFile(fsys, name)
	if err != nil || !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 {
		return nil
	}
	s := &source{path: name, text: text, fset: t.fset}
	t.sources = append(t.sources, s)
	if !s.isGo() {
		return nil
	}
	file, err := parser.ParseFile(t.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return []fault{{name, 1, "does not parse: " + err.Error()}}
	}
	s.file = file
	return nil
}

// skipped reports whether a directory holds nothing that these rules are about: data, binaries,
// hidden directories but those of continuous integration.
func skipped(name string) bool {
	switch base := path.Base(name); {
	case name == ".":
		return false
	case base == ".ci" || base == ".github":
		return false
	case base == "testdata" || strings.HasPrefix(base, "."):
		return true
	}
	return name == "bin" || name == "data" || name == "bench/out" || name == "tools/web/node_modules"
}

func (s *source) isGo() bool   { return path.Ext(s.path) == ".go" }
func (s *source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }
func (s *source) dir() string  { return path.Dir(s.path) }

// isPublic reports whether the file belongs to a package whose documentation others read.
func (s *source) isPublic() bool {
	return s.file.Name.Name != "main" && !strings.HasPrefix(s.path, "internal/") && !strings.Contains(s.path, "/internal/")
}

func (s *source) line(pos token.Pos) int { return s.fset.Position(pos).Line }

// lines counts the file's lines.
func (s *source) lines() int {
	n := bytes.Count(s.text, []byte("\n"))
	if len(s.text) > 0 && s.text[len(s.text)-1] != '\n' {
		n++
	}
	return n
}

// parsed calls fn for every Go file that parses.
func (t *tree) parsed(fn func(s *source)) {
	for _, s := range t.sources {
		if s.file != nil {
			fn(s)
		}
	}
}
