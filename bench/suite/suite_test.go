package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ayder/bench/result"
)

// The tests play both programs that suite starts: this binary, with a role in its
// name, is ayder-bench (bench-role) or a server (serve-role).
func TestMain(m *testing.M) {
	switch role := filepath.Base(os.Args[0]); role {
	case "bench-role":
		os.Exit(playBench(os.Args[1:]))
	case "serve-role":
		playServer(os.Args[1:])
	case "certs-role":
		os.Exit(0)
	default:
		os.Exit(m.Run())
	}
}

// playBench prints a result made up from its arguments.
func playBench(args []string) int {
	text := strings.Join(args, " ")
	if strings.Contains(text, "explode") {
		fmt.Fprintln(os.Stderr, "exploded")
		return 2
	}
	r := result.Result{Workload: text, Requests: 1000, RequestsPerS: 1000, Errors: map[string]int64{}}
	r.Latency = result.Percentiles{Count: 1000, P50: 200, P99: 400, P999: 900, Max: 1000}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		return 1
	}
	return 0
}

// playServer listens where `--listen ADDR` says.
func playServer(args []string) {
	for i, arg := range args {
		if arg == "--listen" {
			_ = http.ListenAndServe(args[i+1], http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, `{"ready":true}`)
			}))
		}
	}
	os.Exit(1)
}

// role is a link to this binary.
func role(t *testing.T, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	return link
}

func testLab(t *testing.T, s settings) *lab {
	t.Helper()
	s.out = filepath.Join(t.TempDir(), "out")
	l, err := newLab(context.Background(), s, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return l
}

func TestParse(t *testing.T) {
	s, err := parse([]string{"-bench", "b", "-parts", "open idle", "-rounds", "2", "-d", "1s"}, io.Discard)
	if err != nil || len(s.parts) != 2 || s.rounds != 2 || s.messages != 8_000_000 {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err = parse([]string{"-bench", "b"}, io.Discard); err != nil || len(s.parts) != len(parts()) {
		t.Errorf("all parts are not the default: %v, %v", s.parts, err)
	}
	for _, args := range [][]string{
		nil,
		{"-bench", "b", "-parts", "dance"},
		{"-bench", "b", "-rounds", "0"},
		{"-bench", "b", "-d", "0s"},
		{"-nonsense"},
		{"-bench", "b", "-kills", "0"},
		{"-bench", "b", "-leader-d", "0s"},
	} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}

func TestRoundsAreInterleaved(t *testing.T) {
	l := testLab(t, settings{bench: role(t, "bench-role"), ayder: role(t, "serve-role"), rounds: 2, duration: time.Second})
	if err := l.start(uring, evio, redis, nats, floor); err != nil {
		t.Fatal(err)
	}
	if len(l.servers) != 2 {
		t.Errorf("%d servers, want those whose program is here", len(l.servers))
	}
	cells := []cell{{uring, "a", nil}, {evio, "a", []string{"-hgrm", "x-" + roundMark}}, {redis, "a", nil}, {disk, "d", nil}}
	if err := l.interleave("produce", cells); err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, r := range l.runs {
		order = append(order, fmt.Sprint(r.Server, r.Round))
	}
	if got := strings.Join(order, ","); got != "ayder uring0,ayder evio0,disk0,ayder uring1,ayder evio1,disk1" {
		t.Errorf("order %s", got)
	}
	if args := l.runs[4].Result.Workload; !strings.Contains(args, "-hgrm x-1") || !strings.Contains(args, "-d 1s") || !strings.Contains(args, "-pid ") {
		t.Errorf("arguments %q", args)
	}
	for name := range l.servers {
		if err := l.stop(name); err != nil {
			t.Error(err)
		}
	}
}

func TestPartFailureIsReported(t *testing.T) {
	l := testLab(t, settings{bench: role(t, "bench-role"), ayder: role(t, "serve-role"), rounds: 1, duration: time.Second})
	err := l.runPart(part{name: "x", run: func(l *lab) error {
		if err := l.start(uring); err != nil {
			return err
		}
		return l.interleave("x", []cell{{uring, "a", []string{"explode"}}})
	}})
	if err == nil || !strings.Contains(err.Error(), "exploded") {
		t.Errorf("error %v, want ayder-bench's own words", err)
	}
	if len(l.servers) != 0 {
		t.Error("a server is left running")
	}
}

// TestWholeRun plays a run with everything faked but the orchestration.
func TestWholeRun(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	err := run(context.Background(), []string{
		"-bench", role(t, "bench-role"), "-ayder", role(t, "serve-role"), "-parts", "async ndjson", "-rounds", "1", "-d", "1s", "-pause", "0s", "-out", out,
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	report, err := os.ReadFile(filepath.Join(out, "report.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"## Produce without waiting", "## NDJSON", "| ayder uring | timeout_ms=0 | 1.0 k |", "≥ 0.70 ×", "met"} {
		if !strings.Contains(string(report), want) {
			t.Errorf("no %q in\n%s", want, report)
		}
	}
	var raw []sample
	text, err := os.ReadFile(filepath.Join(out, "raw.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &raw); err != nil || len(raw) != 4+6 {
		t.Errorf("%d runs kept, %v", len(raw), err)
	}
	if left, _ := filepath.Glob(filepath.Join(out, "data-*")); len(left) > 0 {
		t.Errorf("data left behind: %v", left)
	}
}

func TestEveryPartReportsWithoutData(t *testing.T) {
	l := testLab(t, settings{bench: "x", parts: partNames()})
	text := l.report([]error{io.ErrUnexpectedEOF})
	for _, p := range parts() {
		if !strings.Contains(text, "## "+p.title) || p.about == "" {
			t.Errorf("part %s is not in the report", p.name)
		}
	}
	if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") || !strings.Contains(text, "**Failed:** unexpected EOF") {
		t.Errorf("report\n%s", text)
	}
}

// servePages is a partition of n messages for readPartition, broken by twist.
func servePages(t *testing.T, n int64, twist func(*page)) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var offset, limit int64
		if _, err := fmt.Sscan(r.URL.Query().Get("offset")+" "+r.URL.Query().Get("limit"), &offset, &limit); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		p := page{NextOffset: min(offset+limit, n)}
		for o := offset; o < p.NextOffset; o++ {
			p.Messages = append(p.Messages, struct {
				Offset int64  `json:"offset"`
				Value  string `json:"value"`
			}{Offset: o})
		}
		twist(&p)
		_ = json.NewEncoder(w).Encode(p)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestReadPartition(t *testing.T) {
	if n, err := readPartition(servePages(t, 2500, func(*page) {}), 0); err != nil || n != 2500 {
		t.Errorf("%d messages, %v", n, err)
	}
	for name, twist := range map[string]func(*page){
		"gap in a page":      func(p *page) { p.Messages[5].Offset++ },
		"gap between pages":  func(p *page) { p.NextOffset++ },
		"lost at the end":    func(p *page) { p.Messages = p.Messages[:len(p.Messages)-1] },
		"repeats a message":  func(p *page) { p.Messages[7].Offset-- },
		"ends before itself": func(p *page) { p.NextOffset = 0 },
	} {
		if _, err := readPartition(servePages(t, 2500, twist), 0); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := readPartition("127.0.0.1:1", 0); err == nil {
		t.Error("no server: no error")
	}
}
