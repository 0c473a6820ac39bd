package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// Usage is what a process holds, in bytes.
type Usage struct {
	RSS     int64 // resident now
	RSSPeak int64 // the most that was resident since the start, or since ResetPeak
}

// String shows the figures in MiB.
func (u Usage) String() string {
	return fmt.Sprintf("RSS %.1f MiB, peak %.1f MiB", float64(u.RSS)/(1<<20), float64(u.RSSPeak)/(1<<20))
}

// UsageOf reads /proc/PID/status, proc_pid_status(5).
func UsageOf(pid int) (u Usage, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	if u.RSS, err = kibField(text, "VmRSS:"); err != nil {
		return u, err
	}
	u.RSSPeak, err = kibField(text, "VmHWM:")
	return u, err
}

func kibField(text []byte, name string) (int64, error) {
	_, rest, ok := bytes.Cut(text, []byte(name))
	fields := bytes.Fields(rest)
	if !ok || len(fields) == 0 {
		return 0, fmt.Errorf("no %s in the process's status", name)
	}
	n, err := strconv.ParseInt(string(fields[0]), 10, 64)
	return n << 10, err
}

// RaiseFiles sets the limit of open files of this process, and of the children it starts from now
// on, to n or as close to it as is allowed, and returns the limit. The runtime gives children the
// limit it found at its own start unless the program has set one itself.
func RaiseFiles(n uint64) (uint64, error) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, err
	}
	want := syscall.Rlimit{Cur: n, Max: max(n, l.Max)}
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &want) == nil {
		return n, nil
	}
	l.Cur = min(n, l.Max) // without privilege the hard limit stays
	return l.Cur, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l)
}
