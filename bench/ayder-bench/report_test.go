package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ayder/bench/hgrm"
	"ayder/bench/result"
)

// example is a measurement with everything in it.
func example() *measurement {
	r := newRecorder([]string{"produce", "consume"}, true)
	for i := range int64(1000) {
		r.answer(int(i%2), 1, 0, 100_000+i*1000)
	}
	r.failed("503", 2e9)
	r.failed("503", 2e9)
	r.late(1500)
	r.sent, r.received = 120_000, 200_000
	m := &measurement{total: r.all(), result: &result.Result{Target: "ayder", Workload: "mixed", Connections: 64, Pipeline: 2, RatePerS: 5000}}
	r.fill(m.result, 0)
	m.result.ClientCPU = result.CPU{UserS: 0.1, SystemS: 0.3, PerMillionS: 4}
	m.result.Server = &result.Server{PID: 7, RSSBytes: 64 << 20, RSSPeak: 65 << 20}
	m.result.Followers = []result.Server{{CPU: result.CPU{PerMillionS: 7}}}
	m.result.Leader, m.result.LeaderMoved = "127.0.0.1:7", true
	m.result.Stages = []result.Route{{Route: "POST /x", Stages: map[string]result.Percentiles{
		"commit": {Count: 3, P50: 181}, "queue": {Count: 3, P50: 2}, "idle": {}, "extra": {Count: 1},
	}}}
	return m
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	if err := printTable(&out, example().result); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, want := range []string{
		"ayder mixed, 64 connections, open loop at 5000/s, pipeline 2, 2.00 s",
		"p99.999", "latency  ", "produce  ", "sent late by  ", "POST /x queue", "POST /x commit",
		"requests 1000, 500/s", "errors 2; 503: 2", "bytes sent 120000, received 200000",
		"client CPU 0.10 s user, 0.30 s system, 4.00 s per million requests",
		"follower CPU 0.00 s user, 0.00 s system, 7.00 s per million requests", "127.0.0.1:7 led in the beginning",
		"server memory 64.0 MiB resident, 65.0 MiB at most",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "idle") {
		t.Error("a stage without values is shown")
	}
	if strings.Index(text, "queue") > strings.Index(text, "commit") {
		t.Error("stages are not in the order of a request's way")
	}
}

func TestTableClosedLoop(t *testing.T) {
	var out bytes.Buffer
	r := &result.Result{Target: "redis", Workload: "produce", Connections: 1, Requests: 5, Messages: 500}
	if err := printTable(&out, r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"closed loop", "messages 500"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestWriteFiles(t *testing.T) {
	dir := t.TempDir()
	c := &config{json: filepath.Join(dir, "r.json"), hgrm: filepath.Join(dir, "r.hgrm")}
	var stdout, stderr bytes.Buffer
	m := example()
	if err := m.write(c, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(c.json)
	if err != nil {
		t.Fatal(err)
	}
	var back result.Result
	if err := json.Unmarshal(text, &back); err != nil || back.Requests != 1000 || back.Errors["503"] != 2 {
		t.Errorf("%+v, %v", back, err)
	}
	f, err := os.Open(c.hgrm)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	points, err := hgrm.Read(f)
	if err != nil || points[len(points)-1].Count != 1000 || points[0].Value != 0.1 {
		t.Errorf("%d points, %v", len(points), err)
	}
	if stdout.Len() == 0 || stderr.Len() != 0 {
		t.Error("the table did not go to standard output")
	}
}

func TestJSONOnStandardOutputAlone(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if err := example().write(&config{json: "-"}, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	if !json.Valid(stdout.Bytes()) || stderr.Len() == 0 {
		t.Errorf("standard output is not one JSON value:\n%s", stdout.String())
	}
}

func TestWriteFails(t *testing.T) {
	var out bytes.Buffer
	missing := filepath.Join(t.TempDir(), "no", "such", "file")
	for _, c := range []*config{{json: missing}, {hgrm: missing}} {
		if err := example().write(c, &out, &out); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
}

func TestParseStages(t *testing.T) {
	routes, err := parseStages([]byte(`{"since":"x","routes":[{"route":"GET /health","stages":{"total":{"count":1,"max_us":9}}},
		{"route":"GET /admin/timing","stages":{"total":{"count":1}}}]}`))
	if err != nil || len(routes) != 1 || routes[0].Stages["total"].Max != 9 {
		t.Errorf("%+v, %v", routes, err)
	}
	if _, err := parseStages([]byte("<html>")); err == nil {
		t.Error("HTML was taken")
	}
}
