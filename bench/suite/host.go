package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// The machine is half of every figure, so each report begins with it. Everything is
// read from /proc or asked of the programs; what cannot be found out is left out.

// host writes the report's first lines.
func (l *lab) host(b *strings.Builder) {
	fmt.Fprintf(b, "# Measured %s\n\n", time.Now().UTC().Format("2006-01-02 15:04 MST"))
	for _, fact := range [][2]string{
		{"commit", output("git", "describe", "--always", "--dirty", "--abbrev=12")},
		{"ayder", firstLine(output(l.ayder, "version"))},
		{"kernel", firstLine(contents("/proc/sys/kernel/osrelease"))},
		{"processor", fmt.Sprintf("%s, %d cores", field(contents("/proc/cpuinfo"), "model name"), runtime.NumCPU())},
		{"memory", field(contents("/proc/meminfo"), "MemTotal")},
		{"file system", output("stat", "-f", "-c", "%T", l.out)},
		{"Go", runtime.Version()},
		{"redis", firstLine(output(l.redis, "--version"))},
		{"nats", firstLine(output(l.nats, "--version"))},
		{"etcd", firstLine(output(l.etcd, "--version"))},
		{"rounds", fmt.Sprintf("%d of %v after %v of warming up, servers interleaved, medians", l.rounds, l.duration, l.warmup)},
	} {
		if fact[1] != "" {
			fmt.Fprintf(b, "- %s: %s\n", fact[0], fact[1])
		}
	}
	b.WriteString("\nClient and servers share the machine. `ayder-bench` is one thread; its processor time is given beside the server's.\n")
}

// output is what a program prints, "" if it cannot be run.
func output(program string, args ...string) string {
	if program == "" {
		return ""
	}
	text, err := exec.Command(program, args...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// contents is a file's text, "" if it cannot be read.
func contents(name string) string {
	text, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	return string(text)
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimSpace(line)
}

// field finds "NAME : value" at the beginning of a line.
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
