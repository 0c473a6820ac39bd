package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"ayder/bench/result"
)

// Processor time of both sides, read from /proc around the measured phase.
//
// utime and stime in /proc/PID/stat are clock ticks of 10 ms (USER_HZ is 100 on
// every Linux port that Go runs on), scaled by the kernel so that their sum is the
// precise run time. They include threads which have ended, which the per-thread
// files would miss.

// ticksPerS is USER_HZ.
const ticksPerS = 100

// cpuWatch holds the times at the beginning of a phase.
type cpuWatch struct {
	pid            int
	client, server result.CPU
}

// startCPU reads the clocks; pid 0 means that no server is watched.
func startCPU(pid int) (*cpuWatch, error) {
	w := &cpuWatch{pid: pid}
	var err error
	if w.client, err = processCPU(os.Getpid()); err != nil {
		w.client = result.CPU{} // no /proc: the figure stays 0
	}
	if pid > 0 {
		w.server, err = processCPU(pid)
		return w, err
	}
	return w, nil
}

// stop reads them again and writes the differences into r.
func (w *cpuWatch) stop(r *result.Result) error {
	if now, err := processCPU(os.Getpid()); err == nil {
		r.ClientCPU = used(w.client, now, r.Requests)
	}
	if w.pid == 0 {
		return nil
	}
	now, err := processCPU(w.pid)
	if err != nil {
		return err
	}
	rss, peak, err := processMemory(w.pid)
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

// processCPU reads /proc/PID/stat (proc(5), fields 14 and 15).
func processCPU(pid int) (result.CPU, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return result.CPU{}, fmt.Errorf("processor time of %d: %w", pid, err)
	}
	cpu, err := parseStat(text)
	if err != nil {
		return result.CPU{}, fmt.Errorf("processor time of %d: %w", pid, err)
	}
	return cpu, nil
}

// parseStat skips the command name, which may hold blanks and parentheses itself.
func parseStat(text []byte) (result.CPU, error) {
	end := bytes.LastIndexByte(text, ')')
	fields := strings.Fields(string(text[end+1:]))
	const utime, stime = 14 - 3, 15 - 3 // the first field after the name is number 3
	if end < 0 || len(fields) <= stime {
		return result.CPU{}, fmt.Errorf("stat has %d fields after the name", len(fields))
	}
	user, err := strconv.ParseInt(fields[utime], 10, 64)
	if err != nil {
		return result.CPU{}, fmt.Errorf("utime: %w", err)
	}
	system, err := strconv.ParseInt(fields[stime], 10, 64)
	if err != nil {
		return result.CPU{}, fmt.Errorf("stime: %w", err)
	}
	return result.CPU{UserS: float64(user) / ticksPerS, SystemS: float64(system) / ticksPerS}, nil
}

// processMemory reads resident size, now and at its highest, from /proc/PID/status.
func processMemory(pid int) (rss, peak int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("memory of %d: %w", pid, err)
	}
	return parseKiB(text, "VmRSS:"), parseKiB(text, "VmHWM:"), nil
}

// parseKiB finds "NAME: n kB" and returns bytes, 0 if it is not there.
func parseKiB(text []byte, name string) int64 {
	_, after, ok := strings.Cut(string(text), "\n"+name)
	fields := strings.Fields(after)
	if !ok || len(fields) == 0 {
		return 0
	}
	n, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}
