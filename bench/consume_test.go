package bench_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"ayder/bench/peers"
	"ayder/bench/result"
)

// BenchmarkConsume serves pages of 100 messages (64 bytes, base64) from ayder and from
// net/http with encoding/json, each a process of its own under the same 64 connections
// of ayder-bench. One iteration is one page; ns/op is wall time of the load, server-ns/op
// what the server's processor time was. For benchstat:
//
//	go test -run '^$' -bench Consume -benchtime 100000x -count 10 ./bench
func BenchmarkConsume(b *testing.B) {
	bin := build(b, "./ayder-bench", "./nethttp", "../cmd/ayder")
	b.Run("ayder", func(b *testing.B) {
		pages(b, bin, peers.Ayder("ayder", filepath.Join(bin, "ayder"), freeAddr(b), b.TempDir()))
	})
	b.Run("nethttp", func(b *testing.B) {
		pages(b, bin, peers.NetHTTP(filepath.Join(bin, "nethttp"), freeAddr(b)))
	})
}

// build compiles programs into a directory.
func build(b *testing.B, packages ...string) string {
	b.Helper()
	bin := b.TempDir()
	args := append([]string{"build", "-o", bin + "/"}, packages...)
	if text, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		b.Fatalf("go %v: %v\n%s", args, err, text)
	}
	return bin
}

func freeAddr(b *testing.B) string {
	b.Helper()
	addr, err := peers.FreeAddr()
	if err != nil {
		b.Fatal(err)
	}
	return addr
}

// pages starts the server, fills it, and has b.N pages read.
func pages(b *testing.B, bin string, spec peers.Spec) {
	p, err := peers.Start(context.Background(), spec, b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := p.Stop(); err != nil {
			b.Error(err)
		}
	}()
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(
		filepath.Join(bin, "ayder-bench"), "-addr", p.Addr, "-pid", strconv.Itoa(p.PID()), "-workload", "consume",
		"-prefill", "100000", "-c", "64", "-warmup", "200ms", "-n", strconv.Itoa(b.N), "-json", "-",
	)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		b.Fatalf("ayder-bench: %v\n%s", err, stderr.Bytes())
	}
	var r result.Result
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(1e9/r.RequestsPerS, "ns/op")
	b.ReportMetric(r.Server.CPU.PerMillionS*1e3, "server-ns/op")
	b.ReportMetric(r.RequestsPerS, "pages/s")
}
