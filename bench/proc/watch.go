package proc

import (
	"fmt"
	"os"

	"ayder/bench/result"
)

// Watch is the processor time of both sides of a measurement, the client being this process. It is read around the
// measured phase and nowhere else: setting up, warming up and printing would be charged to the requests.
type Watch struct {
	pids    []int
	client  result.CPU
	servers []result.CPU
}

// Begin reads the clocks of this process and of pids, of which there may be none.
func Begin(pids ...int) (*Watch, error) {
	w := &Watch{pids: pids}
	if own, err := CPU(os.Getpid()); err == nil { // no /proc: the figure stays 0
		w.client = own
	}
	for _, pid := range pids {
		cpu, err := CPU(pid)
		if err != nil {
			return nil, err
		}
		w.servers = append(w.servers, cpu)
	}
	return w, nil
}

// End reads them again and writes the differences, per request that r has, into r. The first process is r.Server, the
// others are r.Followers.
func (w *Watch) End(r *result.Result) error {
	if now, err := CPU(os.Getpid()); err == nil {
		r.ClientCPU = used(w.client, now, r.Requests)
	}
	for i, pid := range w.pids {
		s, err := server(pid, w.servers[i], r.Requests)
		if err != nil {
			return fmt.Errorf("end of the measurement: %w", err)
		}
		if i == 0 {
			r.Server = s
		} else {
			r.Followers = append(r.Followers, *s)
		}
	}
	return nil
}

// server is what a process has used since before.
func server(pid int, before result.CPU, requests int64) (*result.Server, error) {
	now, err := CPU(pid)
	if err != nil {
		return nil, err
	}
	rss, peak, err := Memory(pid)
	if err != nil {
		return nil, err
	}
	return &result.Server{PID: pid, CPU: used(before, now, requests), RSSBytes: rss, RSSPeak: peak}, nil
}

// used is the difference of two readings.
func used(before, after result.CPU, requests int64) result.CPU {
	d := result.CPU{UserS: after.UserS - before.UserS, SystemS: after.SystemS - before.SystemS}
	if requests > 0 {
		d.PerMillionS = (d.UserS + d.SystemS) / float64(requests) * 1e6
	}
	return d
}
