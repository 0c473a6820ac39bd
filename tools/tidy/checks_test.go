package tidy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// load makes a tree of path, text, path, text, … and expects it to parse.
func load(t *testing.T, files ...string) *tree {
	t.Helper()
	root, unparsed := loadAll(t, files...)
	if unparsed != nil {
		t.Fatal(unparsed)
	}
	return root
}

func loadAll(t *testing.T, files ...string) (*tree, []fault) {
	t.Helper()
	fsys := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		fsys[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	root, unparsed, err := loadTree(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return root, unparsed
}

// wantFaults compares faults with "path:line: beginning of the text", in any order.
func wantFaults(t *testing.T, got []fault, want ...string) {
	t.Helper()
	texts := make([]string, len(got))
	for i, f := range got {
		texts[i] = f.String()
	}
	slices.Sort(texts)
	slices.Sort(want)
	ok := len(texts) == len(want)
	for i := 0; ok && i < len(want); i++ {
		ok = strings.HasPrefix(texts[i], want[i])
	}
	if !ok {
		t.Errorf("got  %s\nwant %s", strings.Join(texts, "\n     "), strings.Join(want, "\n     "))
	}
}

// importing is a file that imports these paths, the first on line 4.
func importing(paths ...string) string {
	return "package x\n\nimport (\n\t_ \"" + strings.Join(paths, "\"\n\t_ \"") + "\"\n)\n"
}

func TestImports(t *testing.T) {
	root := load(t,
		"httpparse/head.go", importing("fmt", "ayder/internal/invariant", "ayder/internal/record"),
		"engine/a.go", importing("ayder/internal/record", "ayder/aof"),
		"engine/a_test.go", importing("ayder/aof", "ayder/api", "github.com/prometheus/client_golang/prometheus"),
		"netpoll/evio_other.go", "//go:build never\n\n"+importing("github.com/tidwall/evio"),
		"api/a.go", importing("github.com/tidwall/evio", "ayder/internal/auth", "ayder/internal/authority"),
		"api/a_test.go", importing("github.com/pawelgaczynski/giouring"),
		"aof/a.go", importing("golang.org/x/sys/unix", "github.com/hashicorp/raft-boltdb/v2"),
		"bench/run/a.go", importing("ayder/bench/hgrm", "ayder/internal/timing", "ayder/aof", "github.com/nats-io/nats.go/jetstream"),
		"tools/tidy/a.go", importing("ayder/aof"),
		"tools/crashtest/a.go", importing("ayder/aof"),
		"cmd/ayder/a.go", importing("ayder/api", "ayder/internal/config", "ayder/bench"),
		"elsewhere/a.go", importing("ayder/api"),
		"internal/elsewhere/a.go", importing("os"),
	)
	wantFaults(
		t, checkImports(root),
		"httpparse/head.go:6: httpparse may not import internal/record",
		"engine/a.go:5: engine may not import aof",
		"api/a.go:4: api may not import github.com/tidwall/evio",
		"api/a.go:6: api may not import internal/authority",
		"api/a_test.go:4: api may not import github.com/pawelgaczynski/giouring",
		"aof/a.go:5: module of github.com/hashicorp/raft-boltdb/v2 has no row",
		"bench/run/a.go:6: bench/run may not import aof",
		"tools/tidy/a.go:4: tools/tidy may not import aof",
		"cmd/ayder/a.go:6: cmd/ayder may not import bench",
		"elsewhere/a.go:4: package elsewhere has no row",
	)
}

// TestArrowsHaveNoCycle keeps the table itself a design: an arrow back would be refused by the compiler only once both were used.
func TestArrowsHaveNoCycle(t *testing.T) {
	var visit func(name string, above []string)
	visit = func(name string, above []string) {
		if slices.Contains(above, name) {
			t.Fatalf("cycle: %s", strings.Join(append(above, name), " → "))
		}
		for _, next := range arrows[name] {
			if !strings.HasSuffix(next, "/...") {
				visit(next, append(slices.Clone(above), name))
			}
		}
	}
	for name := range arrows {
		visit(name, nil)
	}
}

// lines is a text of n lines.
func lines(n int, line string) string { return strings.Repeat(line+"\n", n) }

func TestSizes(t *testing.T) {
	long := func(name string, n int) string { return "func " + name + "() {\n" + lines(n-2, "\tprintln()") + "}\n" }
	root := load(t,
		"a/a.go", "package a\n\n"+long("fits", 70)+long("(t T[K]) over", 71)+long("(t *T) listed", 90)+long("(*T) grown", 91),
		"a/a_test.go", "package a\n\n"+long("TestTable", 300),
		"a/b.go", "package a\n"+lines(800, "//"),
		"a/c.go", "package a\n"+lines(799, "//"),
		"a/d_test.go", "package a\n"+lines(900, "//"),
	)
	wantFaults(
		t, checkSizes(root, []allowance{
			{"a/a.go:T.listed", 90, "a state machine"},
			{"a/a.go:T.grown", 90, "a state machine"},
			{"a/c.go", 900, "no longer needed"},
			{"a/d_test.go", 901, ""},
		}),
		"a/a.go:73: a/a.go:T.over has 71 lines, the limit is 70",
		"a/a.go:234: a/a.go:T.grown has 91 lines, the limit is 90",
		"a/b.go:1: a/b.go has 801 lines, the limit is 800",
		"a/c.go:1: is allowed to be large and no longer is",
		"a/d_test.go:1: is allowed to be large without a reason",
	)
}

func TestOpenings(t *testing.T) {
	body := lines(80, "// x\n")
	root := load(t,
		"a/package.go", "// Package a is\n// this\n// and that.\npackage a\n\n"+body,
		"a/essay.go", "package a\n\n// This is\n// an\n// essay.\n\nimport \"os\"\n\nvar x = os.Args\n"+body,
		"a/below.go", "package a\n\nimport \"os\"\n\n// This is\n// an\n// essay.\n\nvar x = os.Args\n"+body,
		"a/noun.go", "package a\n\nimport \"os\"\n\n// x is\n// a long\n// story.\nvar x = os.Args\n"+body,
		"a/short.go", "package a\n\nvar x = 1\n"+lines(70, "//"),
		"a/a_test.go", "package a\n\nvar x = 1\n"+body,
		"a/none.go", "package a\n\nvar x = 1\n\n// Too\n// late\n// now.\n"+body,
		"a/two.go", "// Package a.\n// Two.\npackage a\n\nvar x = 1\n"+body,
		"a/build.go", "//go:build linux\n//go:build amd64\n//go:build cgo\n\npackage a\n\nvar x = 1\n"+body,
	)
	wantFaults(
		t, checkOpenings(root),
		"a/none.go:1: 167 lines, and opens with a comment of 0",
		"a/two.go:1: 165 lines, and opens with a comment of 2",
		"a/build.go:1: 167 lines, and opens with a comment of 0",
	)
}

func TestPackageComments(t *testing.T) {
	root := load(t,
		"a/a.go", "package a\n", "a/doc.go", "// Package a is.\npackage a\n",
		"b/b.go", "//go:build linux\n\npackage b\n", "b/b_test.go", "// Package b is.\npackage b\n",
		"c/c_test.go", "package c\n",
	)
	wantFaults(t, checkPackageComments(root), "b/doc.go:1: the package has no comment")
}

const exportedText = `// Package a is.
package a

// Documented is.
type Documented struct{}

type Bare struct{}

func (Bare) Method() {}

// Known is.
func (*Bare) Known() {}

func (hidden) Method() {}

type hidden struct{}

func Function() {}

// Group.
const (
	One = 1
	Two = 2
)

var (
	Alone = 1
	// Here and There are two.
	Here  = 2
	There = 3

	Side = 4 // has one
	X, y = 5, 6
)

// Types.
type (
	Inner struct{}
	// Inside is.
	Inside struct{}
)
`

func TestExported(t *testing.T) {
	root := load(t,
		"a/a.go", exportedText, "a/a_test.go", exportedText, "internal/a/a.go", exportedText, "bench/internal/a/a.go", exportedText,
		"cmd/a/main.go", strings.Replace(exportedText, "package a", "package main", 1),
	)
	var want []string
	for _, line := range []string{"7: Bare", "9: Method", "18: Function", "27: Alone", "33: X", "38: Inner"} {
		want = append(want, "a/a.go:"+line+" is exported and has no comment")
	}
	wantFaults(t, checkExported(root), want...)
}

func TestTexts(t *testing.T) {
	note, place := "TO"+"DO", "/wo"+"rk/"
	root := load(t,
		"a/a.go", "package a\n\n// "+note+": later\nvar x = 1 // mastodon, autodo\n",
		"docs/a.md", "see "+place+"x\nand https://example.org"+place+"x, ../shared/x, a"+place+"b\n`"+place+"`\n",
		"Makefile", place+"bin:\n\t# FIX"+"ME\n",
		"run.sh", "cd ~"+place+" # the user's own\n",
		"a/testdata/seed", note, ".git/config", place, "bench/out/x.txt", place, "x.sum", place,
		".ci/run", "cd /fa"+"rm/x\n",
		"image.png", "\x89PNG\x00"+place,
	)
	const later, machine = "a note to do something later", "a path of somebody's machine"
	wantFaults(
		t, checkTexts(root),
		"a/a.go:3: "+later, "docs/a.md:1: "+machine, "docs/a.md:3: "+machine,
		"Makefile:1: "+machine, "Makefile:2: "+later, ".ci/run:1: "+machine,
	)
}

func TestASecondWorktreeIsATreeToo(t *testing.T) {
	wantFaults(t, checkTexts(load(t, ".git", "gitdir: /wo"+"rk/x\n")))
}

func TestPackageNames(t *testing.T) {
	root := load(t, "a/util/a.go", "package a\n", "b/b.go", "package helpers\n", "c/c.go", "package c\n", "utility/u.go", "package utility\n")
	wantFaults(t, checkPackageNames(root), "a/util/a.go:1: no package is called util", "b/b.go:1: no package is called helpers")
}

func TestFormat(t *testing.T) {
	root := load(t, "a.go", "package a\n\nvar x  = 1\n", "b.go", "package a\n\nvar y = 1\n")
	wantFaults(t, checkFormat(root), "a.go:1: is not formatted")
}

func TestFilesThatDoNotParseAreFaults(t *testing.T) {
	root, unparsed := loadAll(t, "a/a.go", "package a\n\nfunc {", "a/b.go", "package a\n\nvar x  = 1\n")
	wantFaults(t, unparsed, "a/a.go:1: does not parse: ")
	wantFaults(t, checkFormat(root), "a/b.go:1: is not formatted")
}

func TestFaultsReadLikeCompilerErrors(t *testing.T) {
	if got := fmt.Sprint(fault{"a/b.go", 7, "is odd"}); got != "a/b.go:7: is odd" {
		t.Error(got)
	}
}
