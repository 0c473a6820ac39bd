// Command release builds what is published: for each target a static binary in a .tar.gz with the manual and completions, a Debian
// package for Linux, a list of everything that is inside (SPDX), and SHA256SUMS of all.
//
//	go run ./tools/release -version v1.2.3 [-out dist] [-targets linux/amd64,linux/arm64,darwin/arm64]
//
// The same commit gives the same bytes, wherever and whenever it is built with the same Go: paths are trimmed, nothing carries the
// time but that of the commit (SOURCE_DATE_EPOCH, or git's), and files are ordered and owned by nobody in particular. It runs in the root of
// the tree. Packages are made by dpkg-deb; -deb=false does without. Exit status: 0 done, 1 failed, 2 wrong usage.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	r, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "release:", err)
		return 2
	}
	r.say = func(format string, a ...any) { fmt.Fprintf(stdout, format+"\n", a...) }
	if err := r.make(); err != nil {
		fmt.Fprintln(stderr, "release:", err)
		return 1
	}
	return 0
}

// release is one run.
type release struct {
	out      string
	version  string // of the program, "v1.2.3"
	revision string
	targets  []target
	deb      bool
	at       time.Time // of everything that has a time
	say      func(format string, a ...any)

	pages []file // what is the same for all targets: manual, completions, licence
}

// target is what a binary is for.
type target struct{ os, arch string }

func (t target) String() string { return t.os + "_" + t.arch }

// file is one file of an archive.
type file struct {
	name string
	mode int64
	data []byte
}

func parse(args []string, stderr io.Writer) (*release, error) {
	f := flag.NewFlagSet("release", flag.ContinueOnError)
	f.SetOutput(stderr)
	r := &release{}
	f.StringVar(&r.out, "out", "dist", "directory of the results, made if it is missing")
	f.StringVar(&r.version, "version", "", "what the program calls itself, and the files")
	f.StringVar(&r.revision, "revision", "", "commit that is built")
	f.BoolVar(&r.deb, "deb", true, "make Debian packages, by dpkg-deb")
	targets := f.String("targets", "linux/amd64,linux/arm64,darwin/arm64", "what to build for, os/arch, joined by commas")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if r.version == "" || strings.ContainsAny(r.version, "/ \t") || f.NArg() > 0 {
		return nil, errors.New("-version is needed, and nothing behind the flags")
	}
	for text := range strings.SplitSeq(*targets, ",") {
		system, arch, ok := strings.Cut(text, "/")
		if !ok || system == "" || arch == "" {
			return nil, fmt.Errorf("-targets: %q is not os/arch", text)
		}
		r.targets = append(r.targets, target{system, arch})
	}
	return r, nil
}

func (r *release) make() error {
	if err := r.date(); err != nil {
		return err
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	if err := r.common(); err != nil {
		return err
	}
	var made []string
	for _, t := range r.targets {
		names, err := r.one(t)
		if err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
		made = append(made, names...)
	}
	return r.sum(made)
}

// one makes everything for a target and names it.
func (r *release) one(t target) (made []string, err error) {
	binary, err := r.build(t)
	if err != nil {
		return nil, err
	}
	base := "ayder_" + r.version + "_" + t.String()
	archive, err := r.archive(base, append([]file{{"ayder", 0o755, binary}}, r.pages...))
	if err != nil {
		return nil, err
	}
	list, err := r.bill(t, binary)
	if err != nil {
		return nil, err
	}
	made = []string{base + ".tar.gz", base + ".spdx.json"}
	for i, data := range [][]byte{archive, list} {
		if err := os.WriteFile(filepath.Join(r.out, made[i]), data, 0o644); err != nil {
			return nil, err
		}
		r.say("%s", made[i])
	}
	if t.os == "linux" && r.deb {
		name, err := r.debian(t, binary)
		if err != nil {
			return nil, err
		}
		made = append(made, name)
		r.say("%s", name)
	}
	return made, nil
}

// date finds the time that everything bears.
func (r *release) date() error {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		out, err := exec.Command("git", "log", "-1", "--format=%ct").Output()
		if err != nil {
			return fmt.Errorf("the commit's time: %w; or set SOURCE_DATE_EPOCH", err)
		}
		text = strings.TrimSpace(string(out))
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	r.at = time.Unix(seconds, 0).UTC()
	return nil
}
