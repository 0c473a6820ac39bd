package proc

import (
	"os"
	"testing"

	"ayder/bench/result"
)

func TestWatch(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("no /proc here")
	}
	self := os.Getpid()
	for count := range 4 {
		pids := []int{self, self, self}[:min(count, 3)]
		w, err := Begin(pids...)
		if err != nil {
			t.Fatal(err)
		}
		r := result.Result{Requests: 10}
		if err := w.End(&r); err != nil {
			t.Fatal(err)
		}
		if (r.Server != nil) != (len(pids) > 0) || len(r.Followers) != max(len(pids)-1, 0) {
			t.Errorf("%d processes: server %v, followers %v", len(pids), r.Server, r.Followers)
		}
		for _, s := range r.Followers {
			if s.PID != self || s.RSSBytes == 0 || s.RSSPeak < s.RSSBytes || s.CPU.UserS < 0 {
				t.Errorf("%+v", s)
			}
		}
	}
	if _, err := Begin(self, 1<<30); err == nil {
		t.Error("a process that is not there has a processor time")
	}
	w := &Watch{pids: []int{1 << 30}, servers: make([]result.CPU, 1)}
	if err := w.End(&result.Result{}); err == nil {
		t.Error("a process that has ended meanwhile is no error")
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
