package proc

import (
	"os"
	"testing"
	"time"
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

func TestOfThisProcess(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("no /proc here")
	}
	for begin, ran := time.Now(), time.Duration(0); ran < 50*time.Millisecond && time.Since(begin) < time.Minute; {
		ran, _ = RunTime(os.Getpid()) // for more than one tick, however long that takes where others run
	}
	cpu, err := CPU(os.Getpid())
	if err != nil || cpu.UserS+cpu.SystemS <= 0 {
		t.Errorf("processor time %+v, %v", cpu, err)
	}
	run, err := RunTime(os.Getpid())
	if err != nil || run <= 0 {
		t.Errorf("run time %v, %v", run, err)
	}
	rss, peak, err := Memory(os.Getpid())
	if err != nil || rss <= 0 || peak < rss {
		t.Errorf("memory %d, peak %d, %v", rss, peak, err)
	}
}

func TestOfNoProcess(t *testing.T) {
	const nobody = 1 << 30
	if _, err := CPU(nobody); err == nil {
		t.Error("processor time of nobody")
	}
	if _, err := RunTime(nobody); err == nil {
		t.Error("run time of nobody")
	}
	if _, _, err := Memory(nobody); err == nil {
		t.Error("memory of nobody")
	}
}

func TestParseSchedstat(t *testing.T) {
	if ns, err := parseSchedstat([]byte("351893 64546 3\n")); err != nil || ns != 351893 {
		t.Errorf("%v, %v", ns, err)
	}
	for _, text := range []string{"", "x 1 2"} {
		if ns, err := parseSchedstat([]byte(text)); err == nil {
			t.Errorf("%q gave %v", text, ns)
		}
	}
}
