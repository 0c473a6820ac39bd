package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"

	"ayder/bench/hgrm"
)

// distribution writes a file of n values between low and high ns.
func distribution(t *testing.T, name string, n, low, high int64) string {
	t.Helper()
	h := hdrhistogram.New(1, 100e9, 3)
	for i := range n {
		if err := h.RecordValue(low + (high-low)*i*i/n/n); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if err := hgrm.Write(&b, h, 1e6); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// element is any node of the picture.
type element struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Text     string     `xml:",chardata"`
	Children []element  `xml:",any"`
}

func (e *element) attr(name string) string {
	for _, a := range e.Attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// parseSVG fails the test unless text is well-formed and all its numbers are.
func parseSVG(t *testing.T, text string) element {
	t.Helper()
	var root element
	if err := xml.Unmarshal([]byte(text), &root); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if root.XMLName.Local != "svg" || strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
		t.Fatalf("not a picture:\n%s", text)
	}
	return root
}

func TestPicture(t *testing.T) {
	a := distribution(t, "a.hgrm", 100_000, 80_000, 4_000_000)
	b := distribution(t, "b.hgrm", 1_000, 900_000, 90_000_000)
	for _, mode := range []string{"-linear=false", "-linear"} {
		var out bytes.Buffer
		if err := run([]string{mode, "-title", "64 B & <synced>", "ayder <1>=" + a, b}, &out, io.Discard); err != nil {
			t.Fatal(err)
		}
		root := parseSVG(t, out.String())
		var lines, texts []string
		for _, e := range root.Children {
			switch e.XMLName.Local {
			case "polyline":
				lines = append(lines, e.attr("points"))
			case "text":
				texts = append(texts, e.Text)
			}
		}
		if len(lines) != 2 {
			t.Fatalf("%d lines", len(lines))
		}
		for _, points := range lines {
			checkInside(t, points)
		}
		all := strings.Join(texts, "|")
		for _, want := range []string{"64 B & <synced>", "ayder <1>", "|b", "99.999 %", "90 %", " ms"} {
			if !strings.Contains(all, want) {
				t.Errorf("%s: no %q among %s", mode, want, all)
			}
		}
	}
}

// checkInside: a line stays in the frame, goes to the right, and never down (a
// higher percentile is never faster).
func checkInside(t *testing.T, points string) {
	t.Helper()
	lastX, lastY := 0.0, math.Inf(1)
	for _, pair := range strings.Fields(points) {
		xs, ys, _ := strings.Cut(pair, ",")
		x, err1 := strconv.ParseFloat(xs, 64)
		y, err2 := strconv.ParseFloat(ys, 64)
		if err1 != nil || err2 != nil || x < left || x > width-right || y < top || y > height-bottom {
			t.Errorf("point %q outside", pair)
		}
		if x < lastX || y > lastY {
			t.Errorf("point %q goes back", pair)
		}
		lastX, lastY = x, y
	}
}

func TestFollowsDarkMode(t *testing.T) {
	if !strings.Contains(style, "prefers-color-scheme: dark") {
		t.Error("one mode only")
	}
}

func TestWritesFile(t *testing.T) {
	out := filepath.Join(t.TempDir(), "x.svg")
	if err := run([]string{"-o", out, distribution(t, "a.hgrm", 10, 1000, 1000)}, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	parseSVG(t, string(text))
}

func TestRefuses(t *testing.T) {
	good := distribution(t, "a.hgrm", 10, 1, 2)
	empty := filepath.Join(t.TempDir(), "empty.hgrm")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"no file":      nil,
		"missing file": {"no-such-file"},
		"empty file":   {good, empty},
		"too many":     strings.Fields(strings.Repeat(good+" ", linesMax+1)),
		"unknown flag": {"-dance"},
	} {
		if err := run(args, io.Discard, io.Discard); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := run([]string{"-h"}, io.Discard, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("help: %v", err)
	}
}

func TestNines(t *testing.T) {
	for _, test := range []struct {
		p    hgrm.Point
		want float64
	}{
		{hgrm.Point{Percentile: 0, Count: 1}, 0},
		{hgrm.Point{Percentile: 0.9, Count: 9}, 1},
		{hgrm.Point{Percentile: 0.999, Count: 999}, 3},
		{hgrm.Point{Percentile: 1, Count: 10_000}, 4},
		{hgrm.Point{Percentile: 1, Count: 0}, 0},
	} {
		if got := nines(test.p); math.Abs(got-test.want) > 1e-9 {
			t.Errorf("%+v stands at %v, want %v", test.p, got, test.want)
		}
	}
	for n, want := range []string{"0 %", "90 %", "99 %", "99.9 %", "99.99 %"} {
		if got := ninesLabel(n); got != want {
			t.Errorf("%d nines are %q, want %q", n, got, want)
		}
	}
}

func TestAxes(t *testing.T) {
	for _, test := range []struct{ low, high float64 }{
		{0.08, 4}, {0, 0}, {0.1, 0.1}, {1, 1}, {0.19, 0.21}, {3, 100_000}, {0.0001, 0.0002}, {5, 5}, {1000, 1000},
	} {
		for _, linear := range []bool{false, true} {
			a := newAxis(test.low, test.high, linear)
			if a.high < test.high || !linear && a.low > max(test.low, 0.001) {
				t.Errorf("axis %+v does not hold %v … %v", a, test.low, test.high)
			}
			if len(a.ticks) < 2 || len(a.ticks) > 40 || a.high <= a.low {
				t.Errorf("axis for %+v has ticks %v", test, a.ticks)
			}
			if a.at(a.low) != 0 || a.at(a.high) != 1 || a.at(-1) != 0 || a.at(a.high*2) != 1 {
				t.Errorf("axis %+v misses its ends", a)
			}
		}
	}
}

func TestMillis(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.05: "50 µs", 1: "1 ms", 20: "20 ms", 2000: "2 s", 0.3: "300 µs"} {
		if got := millis(v); got != want {
			t.Errorf("%v prints as %q, want %q", v, got, want)
		}
	}
}
