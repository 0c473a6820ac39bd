// Command plot draws HdrHistogram percentile distributions (.hgrm) into one SVG:
//
//	plot -o latency.svg -title "64 B, synced" ayder=a.hgrm redis=r.hgrm
//
// The horizontal axis counts nines: 90 %, 99 %, 99.9 % … are equally far apart,
// since each step leaves a tenth of the requests of the one before. A distribution
// that falls off a cliff at 99.9 % looks harmless on a linear axis. The vertical
// axis is logarithmic too unless -linear is given, because servers that are compared
// differ by factors.
//
// The picture is written by hand, with one style sheet that follows the reader's
// light or dark mode; a plotting library would be the largest dependency of the
// project, for a dozen lines and some text.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"ayder/bench/hgrm"
)

// linesMax is how many colours can be told apart.
const linesMax = 8

// line is one distribution with its name.
type line struct {
	name   string
	points []hgrm.Point
}

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(2)
	}
}

// run is main without the process.
func run(args []string, stdout, stderr io.Writer) error {
	f := flag.NewFlagSet("plot", flag.ContinueOnError)
	f.SetOutput(stderr)
	out := f.String("o", "-", "`file` to write, - for standard output")
	title := f.String("title", "Latency by percentile", "text above the picture")
	linear := f.Bool("linear", false, "linear instead of logarithmic latency")
	if err := f.Parse(args); err != nil {
		return err
	}
	lines, err := load(f.Args())
	if err != nil {
		return err
	}
	text := newChart(*title, lines, *linear).svg()
	if *out == "-" {
		_, err = io.WriteString(stdout, text)
		return err
	}
	return os.WriteFile(*out, []byte(text), 0o644)
}

// load reads "name=file" or "file", which is then also the name.
func load(args []string) ([]line, error) {
	if len(args) == 0 || len(args) > linesMax {
		return nil, fmt.Errorf("%d files, want 1 … %d", len(args), linesMax)
	}
	var lines []line
	for _, arg := range args {
		name, file, ok := strings.Cut(arg, "=")
		if !ok {
			name, file = strings.TrimSuffix(filepath.Base(arg), ".hgrm"), arg
		}
		points, err := read(file)
		if err != nil {
			return nil, err
		}
		lines = append(lines, line{name: name, points: points})
	}
	return lines, nil
}

func read(file string) ([]hgrm.Point, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	points, err := hgrm.Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return points, nil
}
