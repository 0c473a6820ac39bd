package tidy

import (
	"bytes"
	"go/format"
	"path"
	"regexp"
	"slices"
)

// catchAlls are names that say nothing about what belongs into a package, so that everything ends
// up in it.
var catchAlls = []string{"util", "utils", "common", "types", "helpers", "misc", "shared", "base", "lib"}

// banned are texts that no file may contain. The patterns are put together from pieces, because
// this file is checked too.
var banned = []struct {
	pattern *regexp.Regexp
	why     string
}{
	{regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME)\b`), "a note to do something later: do it, or open an issue"},
	{regexp.MustCompile(`(^|[^\w.~/-])/(wo` + `rk|fa` + `rm)/`), "a path of somebody's machine"},
}

// checkTexts finds banned texts in any text file.
func checkTexts(t *tree) []fault {
	var faults []fault
	for _, s := range t.sources {
		number := 0
		for line := range bytes.Lines(s.text) {
			number++
			for _, b := range banned {
				if b.pattern.Match(line) {
					faults = append(faults, fault{s.path, number, b.why})
				}
			}
		}
	}
	return faults
}

// checkPackageNames finds packages that are called by a catch-all name, or live in a directory of
// such a name.
func checkPackageNames(t *tree) []fault {
	var faults []fault
	t.parsed(func(s *source) {
		for _, name := range []string{s.file.Name.Name, path.Base(s.dir())} {
			if slices.Contains(catchAlls, name) {
				faults = append(faults, fault{s.path, 1, "no package is called " + name})
				return
			}
		}
	})
	return faults
}

// checkFormat finds Go files that gofmt would change.
func checkFormat(t *tree) []fault {
	var faults []fault
	t.parsed(func(s *source) {
		formatted, err := format.Source(s.text)
		if err != nil || !bytes.Equal(formatted, s.text) {
			faults = append(faults, fault{s.path, 1, "is not formatted: gofumpt -w " + s.path})
		}
	})
	return faults
}
