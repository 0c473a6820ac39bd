package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Binaries and archives. The flags are the Makefile's, so that what is released is what was tested, but the build knows
// nothing of the directory it is in (no -buildvcs): a copy of the tree gives the same bytes as a clone. Archives are written here and
// not by tar, whose versions and filesystems differ in order, owners and headers.

// build returns the binary for a target.
func (r *release) build(t target) ([]byte, error) {
	dir, err := os.MkdirTemp("", "ayder-release-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "ayder")
	tags := ""
	if t.os == "linux" {
		tags = "giouring"
	}
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags", tags, "-ldflags",
		fmt.Sprintf("-checklinkname=0 -s -w -buildid= -X main.version=%s -X main.revision=%s", r.version, r.revision), "-o", out, "./cmd/ayder")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+t.os, "GOARCH="+t.arch, "GOFLAGS=", "GOAMD64=v1", "GOARM64=v8.0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w: %s", err, text)
	}
	return os.ReadFile(out)
}

// common makes what is the same for all targets, with a binary for this machine.
func (r *release) common() error {
	binary, err := r.build(target{runtime.GOOS, runtime.GOARCH})
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "ayder-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "ayder")
	if err := os.WriteFile(program, binary, 0o755); err != nil {
		return err
	}
	for _, p := range []struct {
		name string
		args []string
	}{
		{"man/ayder.1", []string{"man"}},
		{"completions/ayder.bash", []string{"completion", "bash"}},
		{"completions/_ayder", []string{"completion", "zsh"}},
		{"completions/ayder.fish", []string{"completion", "fish"}},
	} {
		text, err := exec.Command(program, p.args...).Output()
		if err != nil {
			return fmt.Errorf("ayder %s: %w", strings.Join(p.args, " "), err)
		}
		r.pages = append(r.pages, file{p.name, 0o644, text})
	}
	for _, name := range []string{"LICENSE", "README.md", "CHANGELOG.md"} {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		r.pages = append(r.pages, file{name, 0o644, text})
	}
	return nil
}

// archive is a .tar.gz of files below a directory.
func (r *release) archive(dir string, files []file) ([]byte, error) {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	w := tar.NewWriter(z)
	for _, f := range files {
		h := &tar.Header{Name: path.Join(dir, f.name), Mode: f.mode, Size: int64(len(f.data)), ModTime: r.at, Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// sum writes SHA256SUMS, as sha256sum -c reads it.
func (r *release) sum(names []string) error {
	var b bytes.Buffer
	slices.Sort(names)
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(r.out, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(data), name)
	}
	r.say("SHA256SUMS")
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), b.Bytes(), 0o644)
}
