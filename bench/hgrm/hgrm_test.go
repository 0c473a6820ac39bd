package hgrm

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// ramp holds 1 … n milliseconds, each once, in ns.
func ramp(t *testing.T, n int64) *hdrhistogram.Histogram {
	t.Helper()
	h := hdrhistogram.New(1, 100e9, 3)
	for i := int64(1); i <= n; i++ {
		if err := h.RecordValue(i * 1e6); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func TestWriteThenRead(t *testing.T) {
	var out bytes.Buffer
	if err := Write(&out, ramp(t, 1000), 1e6); err != nil {
		t.Fatal(err)
	}
	points, err := Read(&out)
	if err != nil {
		t.Fatal(err)
	}
	last := points[len(points)-1]
	if last.Percentile != 1 || last.Count != 1000 {
		t.Errorf("last point %+v, want all 1000 values at 100 %%", last)
	}
	for i, p := range points {
		if want := p.Percentile * 1000; math.Abs(p.Value-want) > 2+want*0.002 {
			t.Errorf("point %d: %v ms at %v, want about %v", i, p.Value, p.Percentile, want)
		}
		if i > 0 && (p.Percentile < points[i-1].Percentile || p.Value < points[i-1].Value) {
			t.Errorf("point %d goes back: %+v after %+v", i, p, points[i-1])
		}
	}
}

func TestWriteIsWhatPlotToolsExpect(t *testing.T) {
	var out bytes.Buffer
	if err := Write(&out, ramp(t, 100_000), 1e6); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, want := range []string{
		"       Value     Percentile TotalCount 1/(1-Percentile)\n\n",
		"0.999926757812 ", // far beyond the library's six decimals
		"1.000000000000     100000            inf\n",
		"Total count    =       100000]\n",
		"SubBuckets     =         2048]\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestWriteEmpty(t *testing.T) {
	var out bytes.Buffer
	if err := Write(&out, hdrhistogram.New(1, 1e9, 3), 1); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "Total count    =            0]") {
		t.Errorf("empty histogram printed as\n%s", out.String())
	}
}

func TestReadForeign(t *testing.T) {
	// wrk2 prints its own heading style and no inverse on the last line.
	text := "       Value   Percentile   TotalCount 1/(1-Percentile)\n\n" +
		"       0.047     0.000000            1         1.00\n" +
		"       0.911     0.500000         3001         2.00\n" +
		"       3.811     1.000000         6000          inf\n" +
		"#[Mean    =        0.937, StdDeviation   =        0.407]\n"
	points, err := Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(points) != 3 || points[1] != (Point{Value: 0.911, Percentile: 0.5, Count: 3001}) {
		t.Errorf("points %+v", points)
	}
}

func TestReadRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":         "",
		"heading only":    "Value Percentile TotalCount\n",
		"two fields":      "1.0 0.5\n",
		"word for value":  "x 0.5 1\n",
		"word for share":  "1 y 1\n",
		"word for count":  "1 0.5 z\n",
		"share above one": "1 1.5 1\n",
		"not a number":    "NaN 0.5 1\n",
		"infinite":        "Inf 0.5 1\n",
	} {
		if points, err := Read(strings.NewReader(text)); err == nil {
			t.Errorf("%s: read %+v, want an error", name, points)
		}
	}
}

// full fails every write, as a full disk would.
type full struct{}

var errFull = errors.New("no space")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestWriteReportsFailure(t *testing.T) {
	if err := Write(full{}, ramp(t, 10), 1); !errors.Is(err, errFull) {
		t.Errorf("error %v, want %v", err, errFull)
	}
}

func FuzzRead(f *testing.F) {
	f.Add("0.1 0.5 10 2.00\n0.2 1.0 20 inf\n")
	f.Add("#[Mean = 1]\n\nValue Percentile\n")
	f.Fuzz(func(t *testing.T, text string) {
		points, err := Read(strings.NewReader(text))
		if err == nil && len(points) == 0 {
			t.Error("no points and no error")
		}
	})
}
