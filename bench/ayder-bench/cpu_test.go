package main

import (
	"os"
	"testing"

	"ayder/bench/result"
)

func TestParseStat(t *testing.T) {
	const text = "23000 (a (b) c) S 1 23000 1 0 -1 4194560 100 0 0 0 152 1248 3 4 20 0 5 0 1000 123 456\n"
	cpu, err := parseStat([]byte(text))
	if err != nil || cpu.UserS != 1.52 || cpu.SystemS != 12.48 {
		t.Errorf("%+v, %v", cpu, err)
	}
	for _, text := range []string{
		"", "1 (x) S", "1 x S 1 2 3 4 5 6 7 8 9 10 11 12 13 14",
		"1 (x) S 1 1 1 0 -1 0 0 0 0 0 a 2 0", "1 (x) S 1 1 1 0 -1 0 0 0 0 0 1 b 0",
	} {
		if cpu, err := parseStat([]byte(text)); err == nil {
			t.Errorf("%q gave %+v", text, cpu)
		}
	}
}

func TestParseKiB(t *testing.T) {
	text := []byte("Name:\tx\nVmHWM:\t   53600 kB\nVmRSS:\t    1024 kB\n")
	if got := parseKiB(text, "VmRSS:"); got != 1<<20 {
		t.Errorf("resident %d", got)
	}
	if got := parseKiB(text, "VmHWM:"); got != 53600<<10 {
		t.Errorf("peak %d", got)
	}
	if parseKiB(text, "VmSwap:") != 0 || parseKiB([]byte("x\nVmRSS: much\n"), "VmRSS:") != 0 {
		t.Error("a missing number is not 0")
	}
}

func TestCPUWatch(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("no /proc here")
	}
	w, err := startCPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	r := result.Result{Requests: 10}
	if err := w.stop(&r); err != nil {
		t.Fatal(err)
	}
	if r.Server == nil || r.Server.RSSBytes == 0 || r.Server.RSSPeak < r.Server.RSSBytes || r.Server.CPU.UserS < 0 {
		t.Errorf("server %+v", r.Server)
	}
	if _, err := startCPU(1 << 30); err == nil {
		t.Error("a process that is not there has a processor time")
	}
}

func TestUsedPerMillion(t *testing.T) {
	d := used(result.CPU{UserS: 1, SystemS: 1}, result.CPU{UserS: 2, SystemS: 4}, 500_000)
	if d.UserS != 1 || d.SystemS != 3 || d.PerMillionS != 8 {
		t.Errorf("%+v", d)
	}
	if used(result.CPU{}, result.CPU{UserS: 1}, 0).PerMillionS != 0 {
		t.Error("a figure per million of nothing")
	}
}
