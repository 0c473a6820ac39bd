// Package proc reads what Linux tells about a running process: processor time and
// memory, from /proc/PID (proc(5)). ayder-bench reads it around a run, suite for idle
// servers and after a restart.
//
// utime and stime in stat are clock ticks of 10 ms (USER_HZ is 100 on every port
// that Go runs on), scaled by the kernel so that their sum is the precise run time.
// They include threads which have ended. For a server that does nothing 10 ms is too
// coarse; RunTime adds up the threads' own clocks, which are in nanoseconds but lose
// a thread that ends.
package proc

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ayder/bench/result"
)

// ticksPerS is USER_HZ.
const ticksPerS = 100

// CPU reads fields 14 and 15 of /proc/PID/stat.
func CPU(pid int) (result.CPU, error) {
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

// Memory reads resident size in bytes, now and at its highest, from /proc/PID/status.
func Memory(pid int) (rss, peak int64, err error) {
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

// RunTime adds up what every living thread has run, from /proc/PID/task/*/schedstat.
func RunTime(pid int) (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("run time of %d: no threads found", pid)
	}
	var sum time.Duration
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended since
		}
		ns, err := parseSchedstat(text)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", file, err)
		}
		sum += ns
	}
	return sum, nil
}

// parseSchedstat reads "run wait slices", of which the first two are ns.
func parseSchedstat(text []byte) (time.Duration, error) {
	fields := strings.Fields(string(text))
	if len(fields) == 0 {
		return 0, fmt.Errorf("schedstat is empty")
	}
	ns, err := strconv.ParseInt(fields[0], 10, 64)
	return time.Duration(ns), err
}
