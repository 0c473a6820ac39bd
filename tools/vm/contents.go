package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"ayder/internal/testkit/proc"
)

// What a guest's first file system holds besides modules: places to mount on, the console, the first process, the server as it is
// released, and the tests, each package twice, with its testdata beside it:
//
//	init  ayder  dev/console  suite/netpoll/sys.test  suite/netpoll/giouring.test  suite/netpoll/testdata/…

// giouring are the flags of a release, with which io_uring goes through the library.
var giouring = []string{"-tags", "giouring", "-ldflags", "-checklinkname=0"}

func (o *options) contents(dir string) ([]file, error) {
	root, err := proc.ModuleRoot()
	if err != nil {
		return nil, err
	}
	b := &builder{root: root, dir: dir}
	files := []file{
		{name: "dev/console", mode: modeCharacter | 0o600, major: 5, minor: 1},
		{name: "proc", mode: modeDirectory},
		{name: "sys", mode: modeDirectory},
		{name: "data", mode: modeDirectory},
		{name: "tmp", mode: modeDirectory},
	}
	b.add("init", "build", "./tools/vm/guest")
	b.add("ayder", append(append([]string{"build"}, giouring...), "./cmd/ayder")...)
	for pattern := range strings.SplitSeq(o.tests, ",") {
		if pattern == "" {
			continue
		}
		place := path.Join("suite", strings.TrimPrefix(pattern, "./"))
		b.add(place+"/sys.test", "test", "-c", "-vet=off", pattern)
		b.add(place+"/giouring.test", append(append([]string{"test", "-c", "-vet=off"}, giouring...), pattern)...)
		b.data(pattern, place)
	}
	return append(files, b.files...), b.err
}

// builder builds programs for the guest, until the first error.
type builder struct {
	root, dir string
	files     []file
	err       error
}

// add builds a program by a go command, which gets -o behind its verb.
func (b *builder) add(name string, args ...string) {
	if b.err != nil {
		return
	}
	out := filepath.Join(b.dir, "built")
	cmd := exec.Command("go", append([]string{args[0], "-trimpath", "-o", out}, args[1:]...)...)
	cmd.Dir, cmd.Env = b.root, append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=arm64", "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		b.err = fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(text))
		return
	}
	b.read(name, out, 0o755)
}

// data adds a package's testdata.
func (b *builder) data(pattern, place string) {
	from := filepath.Join(b.root, pattern, "testdata")
	if _, err := os.Stat(from); err != nil || b.err != nil {
		return
	}
	err := filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, p)
		b.read(path.Join(place, "testdata", filepath.ToSlash(rel)), p, 0o644)
		return err
	})
	if b.err == nil {
		b.err = err
	}
}

func (b *builder) read(name, from string, mode uint32) {
	data, err := os.ReadFile(from)
	if err != nil && b.err == nil {
		b.err = err
	}
	b.files = append(b.files, file{name: name, mode: modeRegular | mode, data: data})
}
