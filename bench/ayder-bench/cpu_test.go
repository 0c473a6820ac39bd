package main

import (
	"os"
	"testing"

	"ayder/bench/result"
)

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
