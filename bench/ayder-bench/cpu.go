package main

import (
	"os"

	"ayder/bench/proc"
	"ayder/bench/result"
)

// cpuWatch is the processor time of both sides, read around the measured phase and
// nowhere else: setting up, warming up and printing would be charged to the requests.
type cpuWatch struct {
	pid            int
	client, server result.CPU
}

// startCPU reads the clocks; pid 0 means that no server is watched.
func startCPU(pid int) (*cpuWatch, error) {
	w := &cpuWatch{pid: pid}
	var err error
	if w.client, err = proc.CPU(os.Getpid()); err != nil {
		w.client = result.CPU{} // no /proc: the figure stays 0
	}
	if pid > 0 {
		w.server, err = proc.CPU(pid)
		return w, err
	}
	return w, nil
}

// stop reads them again and writes the differences into r.
func (w *cpuWatch) stop(r *result.Result) error {
	if now, err := proc.CPU(os.Getpid()); err == nil {
		r.ClientCPU = used(w.client, now, r.Requests)
	}
	if w.pid == 0 {
		return nil
	}
	now, err := proc.CPU(w.pid)
	if err != nil {
		return err
	}
	rss, peak, err := proc.Memory(w.pid)
	if err != nil {
		return err
	}
	r.Server = &result.Server{PID: w.pid, CPU: used(w.server, now, r.Requests), RSSBytes: rss, RSSPeak: peak}
	return nil
}

// used is the difference of two readings.
func used(before, after result.CPU, requests int64) result.CPU {
	d := result.CPU{UserS: after.UserS - before.UserS, SystemS: after.SystemS - before.SystemS}
	if requests > 0 {
		d.PerMillionS = (d.UserS + d.SystemS) / float64(requests) * 1e6
	}
	return d
}
