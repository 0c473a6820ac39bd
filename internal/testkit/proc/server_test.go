package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func options(tb testing.TB) Options {
	tb.Helper()
	return Options{Bin: Self(tb), Dir: tb.TempDir()}
}

func TestRunWaitsUntilReadyAndKeepsWhatWasSaid(t *testing.T) {
	o := options(t)
	o.Args = []string{"--loops", "2"}
	s := Run(t, o)
	if status, err := s.Ready(); status != 200 || err != nil {
		t.Errorf("/ready: %d, %v", status, err)
	}
	if err := s.WaitLog("--data-dir "+o.Dir, HangGuard); err != nil {
		t.Error(err)
	}
	if !strings.Contains(s.Log(), "--loops 2") {
		t.Errorf("the flags did not arrive: %s", s.Log())
	}
}

func TestTerminateReturnsTheExitStatus(t *testing.T) {
	s := Run(t, options(t))
	if code, err := s.Terminate(HangGuard); code != 7 || err != nil {
		t.Errorf("exit status %d, %v", code, err)
	}
	if s.Alive() {
		t.Error("alive after its end")
	}
	if err := s.Kill(); err != nil {
		t.Error("killing what has ended:", err)
	}
	if err := s.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Error("a signal to what has ended:", err)
	}
}

func TestKillEndsWhatIgnoresSIGTERM(t *testing.T) {
	o := options(t)
	o.Env = []string{envStubborn + "=1"}
	s := Run(t, o)
	if _, err := s.Terminate(50 * time.Millisecond); err == nil {
		t.Fatal("it ended, although it ignores the signal")
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if code, err := s.Exit(HangGuard); code != -1 || err != nil {
		t.Errorf("exit status %d, %v", code, err)
	}
}

func TestAgainUsesTheSamePortAndDirectory(t *testing.T) {
	first := Run(t, options(t))
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	second := first.Again(t)
	if second.Addr != first.Addr || second.Dir != first.Dir {
		t.Errorf("%s %s, then %s %s", first.Addr, first.Dir, second.Addr, second.Dir)
	}
}

func TestStartTellsWhyAServerEnded(t *testing.T) {
	o := options(t)
	o.Bin = "/bin/false"
	if _, err := Start(o); !errors.Is(err, ErrEnded) {
		t.Error(err)
	}
	o.Bin = "/nonexistent"
	if _, err := Start(o); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestWaitReadyGivesUp(t *testing.T) {
	o := options(t)
	o.Env = []string{envMute + "=1"}
	s, err := Launch(o)
	if err != nil {
		t.Fatal(err)
	}
	defer end(t, s)
	if err := s.WaitReady(200 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "is not ready") {
		t.Error(err)
	}
}

func TestServersDoNotInheritTheProductsSettings(t *testing.T) {
	t.Setenv("AYDER_LOOPS", "9")
	t.Setenv("RF_BEARER_TOKENS", "secret")
	o := options(t)
	o.Env = []string{"AYDER_CONNS=5"}
	r, err := Run(t, o).Connect(t).Get("/environment")
	if err != nil {
		t.Fatal(err)
	}
	text := string(r.Body)
	if strings.Contains(text, "AYDER_LOOPS") || strings.Contains(text, "RF_") || !strings.Contains(text, "AYDER_CONNS=5") {
		t.Errorf("the server's environment: %s", text)
	}
}

// Ports are outside the range of outgoing connections, and no two processes get the same.
func TestFreePorts(t *testing.T) {
	self, seen := Self(t), map[int]bool{}
	note := func(first, n int) {
		for port := first; port < first+n; port++ {
			if port < portMin || port >= portMax || seen[port] {
				t.Fatalf("port %d: it has been handed out: %v", port, seen[port])
			}
			seen[port] = true
		}
	}
	for i := range portBlock {
		n := 1 + i%4
		first, err := FreePorts(n)
		if err != nil {
			t.Fatal(err)
		}
		note(first, n)
		if n == 4 { // others take turns with this one
			out, err := exec.Command(self, "port").Output()
			if err != nil {
				t.Fatal(err)
			}
			port, err := strconv.Atoi(string(out))
			if err != nil {
				t.Fatal(err)
			}
			if seen[port] {
				t.Fatalf("another process was given port %d as well", port)
			}
		}
	}
}

func TestOutputKeepsTheNewestPart(t *testing.T) {
	var o output
	line := strings.Repeat("x", 999) + "\n"
	for range logBytesMax/len(line) + 10 {
		if n, err := o.Write([]byte(line)); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	if _, err := o.Write([]byte("the end")); err != nil {
		t.Fatal(err)
	}
	if s := o.String(); len(s) != logBytesMax || !strings.HasSuffix(s, "the end") {
		t.Errorf("%d bytes kept, ending in %q", len(s), s[max(0, len(s)-20):])
	}
}

// What needs an emulator is started by it, and stays one process with the given arguments.
func TestEmulatorIsPutInFront(t *testing.T) {
	NotEmulated(t, "plays an emulator itself")
	t.Setenv("AYDER_TEST_EXEC", "env EMULATED=yes")
	dir := t.TempDir()
	odd := filepath.Join(dir, "it's odd")
	if err := os.WriteFile(odd, []byte("#!/bin/sh\necho $$ $EMULATED $1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	path, err := runnable(dir, odd)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "a  b")
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%d yes a b\n", cmd.Process.Pid); out.String() != want {
		t.Errorf("it said %q, want %q", out.String(), want)
	}
	t.Setenv("AYDER_TEST_EXEC", "")
	if same, err := runnable(dir, odd); same != odd || err != nil {
		t.Errorf("without an emulator: %s, %v", same, err)
	}
}

func TestBuildNeedsTheModule(t *testing.T) {
	root, err := ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(root + "/cmd/ayder"); err != nil {
		t.Error(err)
	}
	t.Chdir(t.TempDir())
	if _, err := Build(t.TempDir()); !errors.Is(err, errNoModule) {
		t.Error(err)
	}
}
