package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ayder/internal/testkit/proc"
)

// The command line: what it prints, how it refuses, and the tools that look at a stopped server's data.

func TestHelpListsEverySetting(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"-h"}, {"help"}, {"serve", "--help"}} {
		out, code := ayder(t, nil, args...)
		if code != 0 {
			t.Errorf("ayder %v: exit status %d", args, code)
		}
		for _, want := range []string{"--listen", "--data-dir", "--backend", "RF_BEARER_TOKENS", "RF_COMMIT_TIMEOUT_MS", "64MiB", "Storage:"} {
			if !strings.Contains(out, want) {
				t.Errorf("ayder %v does not mention %s", args, want)
			}
		}
	}
}

func TestVersionSaysWhatWasBuilt(t *testing.T) {
	out, code := ayder(t, nil, "version")
	if code != 0 || !strings.Contains(out, "ayder ") || !strings.Contains(out, "io_uring through ") || !strings.Contains(out, "\nbetween nodes: version 1.") {
		t.Errorf("exit status %d: %s", code, out)
	}
}

// Every mistake ends with status 2 and a message that names it, before anything is opened.
func TestUsageErrorsNameTheMistake(t *testing.T) {
	port := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	for _, c := range []struct {
		want string
		env  []string
		args []string
	}{
		{`"sevre"`, nil, []string{"sevre"}},
		{"--lisen", nil, []string{"--lisen", port}},
		{"--lisen", nil, []string{"serve", "--lisen", port}},
		{"--backend", nil, []string{"--backend", "epoll"}},
		{"--loops", nil, []string{"--loops", "many"}},
		{"--body-bytes", nil, []string{"--body-bytes", "1KiB"}},
		{"segment-bytes", nil, []string{"--segment-bytes", "4MiB", "--body-bytes", "8MiB"}},
		{"listen", nil, []string{"--listen", "127.0.0.1"}},
		{"tls-key", nil, []string{"--tls-cert", "cert.pem"}},
		{"AYDER_CONNS", []string{"AYDER_CONNS=lots"}, nil},
		{"RF_CONNS", []string{"AYDER_CONNS=5", "RF_CONNS=6"}, nil},
		{"RF_COMMIT_TIMEOUT_MS", []string{"RF_COMMIT_TIMEOUT_MS=never"}, nil},
		{"amdin", []string{"RF_BEARER_TOKENS=t1@amdin"}, []string{"--listen", port}},
		{"no-such-file", nil, []string{"--bearer-tokens-file", "no-such-file", "--listen", port}},
		{"usage: ayder check DIR", nil, []string{"check"}},
		{"usage: ayder dump DIR", nil, []string{"dump", "a", "b"}},
		{"no-such-dir", nil, []string{"check", "no-such-dir"}},
		{"no-such-dir", nil, []string{"dump", "no-such-dir"}},
	} {
		out, code := ayder(t, c.env, c.args...)
		if code != 2 || !strings.Contains(out, c.want) {
			t.Errorf("%v ayder %v: exit status %d and %q; want 2 and %s named", c.env, c.args, code, out, c.want)
		}
		if strings.Contains(out, "goroutine ") {
			t.Errorf("ayder %v: a stack trace:\n%s", c.args, out)
		}
	}
}

// A token in the environment must not come out again, whatever is wrong with it.
func TestErrorsDoNotShowTokens(t *testing.T) {
	out, code := ayder(t, []string{"RF_BEARER_TOKENS=hushhush@amdin"}, "--data-dir", t.TempDir())
	if code != 2 || strings.Contains(out, "hushhush") {
		t.Errorf("exit status %d: %s", code, out)
	}
}

// Without tokens everybody who can connect may do everything, so only this machine may connect.
func TestDevModeRefusesOtherAddresses(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", "[::]:0", ":0", "192.0.2.1:0"} {
		out, code := ayder(t, nil, "--listen", addr, "--data-dir", t.TempDir())
		if code != 2 || !strings.Contains(out, "--dev") || !strings.Contains(out, "RF_BEARER_TOKENS") {
			t.Errorf("--listen %s: exit status %d: %s", addr, code, out)
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	port, err := proc.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// smallSegments make the log roll after a few megabytes, and read what is older from disk.
var smallSegments = []string{"--segment-bytes", "4MiB", "--body-bytes", "1MiB", "--tail-bytes", "1MiB"}

// filled is the directory of a stopped server that holds count messages, each committed by itself, so
// that damage can be put between them.
func filled(t *testing.T, count, size int, stop func(*testing.T, *proc.Server)) string {
	t.Helper()
	s := proc.Run(t, proc.Options{Args: smallSegments})
	c := s.Connect(t)
	for i := range count {
		mustProduce(t, c, "checked", 0, counted(i, size))
	}
	c.Close()
	stop(t, s)
	return s.Dir
}

func TestCheckAndDumpOfACleanDirectory(t *testing.T) {
	for how, stop := range map[string]func(*testing.T, *proc.Server){"stopped": mustStop, "killed": mustKill} {
		t.Run(how, func(t *testing.T) {
			const count = 100
			dir := filled(t, count, 200, stop)
			out, code := ayder(t, nil, "check", dir)
			if code != 0 || !strings.Contains(out, "messages 100") {
				t.Errorf("check: exit status %d: %s", code, out)
			}
			out, code = ayder(t, nil, "dump", dir)
			if code != 0 || strings.Count(out, "index ") < count {
				t.Errorf("dump: exit status %d, %d frames", code, strings.Count(out, "index "))
			}
			t.Logf("dump begins:\n%.700s", out)
		})
	}
}

// flip changes one byte in the middle of message number number, on disk.
func flip(t *testing.T, dir string, number, size int) (file string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.aof"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if at := bytes.Index(b, counted(number, size)); at >= 0 {
			b[at+size/2] ^= 0x40
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}
	}
	t.Fatal("the message is in no segment")
	return ""
}

func TestCheckFindsAFlippedByte(t *testing.T) {
	dir := filled(t, 100, 200, mustStop)
	file := flip(t, dir, 50, 200)
	out, code := ayder(t, nil, "check", dir)
	if code != 3 || !strings.Contains(out, filepath.Base(file)) || !strings.Contains(out, "byte ") {
		t.Errorf("exit status %d: %s", code, out)
	}
	t.Logf("check says:\n%s", out)
	again, code := ayder(t, nil, "check", dir)
	if code != 3 || again != out {
		t.Errorf("a second check: exit status %d, and says\n%s", code, again)
	}
}

// Damaged messages are never served and never skipped. A start does not read the segments that a
// checkpoint covers; the page that needs the damaged message is an error that says so, and
// everything else goes on.
func TestDamageInAnOldSegmentIsNeverServed(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, o proc.Options) {
		const size = 500_000
		o.Dir, o.Args = filled(t, 40, size, mustStop), smallSegments
		flip(t, o.Dir, 4, size)
		s := proc.Run(t, o)
		c := s.Connect(t)
		mustFind(t, c, "checked", 0, 2, counted(2, size))
		mustFind(t, c, "checked", 0, 39, counted(39, size))
		r, err := c.Get("/broker/consume/checked/g/0?offset=4&limit=1&encoding=b64")
		if err != nil {
			t.Fatal(err)
		}
		if r.Status != 500 || r.ErrorCode() != "storage_damaged" {
			t.Errorf("the damaged message: %s", r.String())
		}
		mustServe(t, s)
		mustStop(t, s)
		if out, code := ayder(t, nil, "check", o.Dir); code != 3 {
			t.Errorf("check: exit status %d: %s", code, out)
		}
	})
}

// In the newest segment damage is in the way of recovery, with a checkpoint and without. To go on as if the
// log ended there would drop what was acknowledged behind it.
func TestDamageInTheWayOfRecoveryRefusesToStart(t *testing.T) {
	for how, stop := range map[string]func(*testing.T, *proc.Server){"stopped": mustStop, "killed": mustKill} {
		t.Run(how, func(t *testing.T) { damagedTail(t, filled(t, 100, 200, stop)) })
	}
}

func damagedTail(t *testing.T, dir string) {
	flip(t, dir, 50, 200)
	before := listing(t, dir)
	for range 2 { // the first attempt must not have repaired anything away
		out, code := ayder(t, nil, "serve", "--data-dir", dir, "--listen", fmt.Sprintf("127.0.0.1:%d", freePort(t)))
		if code != 1 || !strings.Contains(out, "damaged") || !strings.Contains(out, "ayder check") {
			t.Fatalf("exit status %d: %s", code, out)
		}
	}
	if after := listing(t, dir); after != before {
		t.Errorf("the directory was changed:\n%s\nbefore:\n%s", after, before)
	}
	if out, code := ayder(t, nil, "check", dir); code != 3 {
		t.Errorf("check: exit status %d: %s", code, out)
	}
}

// listing is the names and sizes of the segments in dir.
func listing(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.aof"))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range files {
		sum, err := exec.Command("cksum", f).Output()
		if err != nil {
			t.Fatal(err)
		}
		b.Write(sum)
	}
	return b.String()
}

func withBinary(t *testing.T, o proc.Options) proc.Options {
	t.Helper()
	o.Bin = proc.Binary(t)
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	return o
}

// refused starts a server that must end by itself, and returns what it said.
func refused(t *testing.T, o proc.Options) string {
	t.Helper()
	s, err := proc.Launch(withBinary(t, o))
	if err != nil {
		t.Fatal(err)
	}
	code, err := s.Exit(proc.HangGuard)
	if err != nil {
		t.Errorf("%v", err)
		mustKill(t, s)
	}
	if code != 1 {
		t.Errorf("exit status %d", code)
	}
	return s.Log()
}

func TestSecondServerOnADirectoryIsRefused(t *testing.T) {
	eachBackend(t, func(t *testing.T, o proc.Options) {
		s := proc.Run(t, o)
		mustServe(t, s)
		o.Dir = s.Dir
		if said := refused(t, o); !strings.Contains(said, "in use by another process") || !strings.Contains(said, s.Dir) {
			t.Errorf("the refusal: %s", said)
		}
		if out, code := ayder(t, nil, "check", s.Dir); code != 1 || !strings.Contains(out, "in use") {
			t.Errorf("check of a directory in use: exit status %d: %s", code, out)
		}
		mustServe(t, s)
		mustKill(t, s)
		mustServe(t, s.Again(t)) // a lock does not outlive its owner
	})
}

func TestTwoServersOnOneHost(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, o proc.Options) {
		a, b := proc.Run(t, o), proc.Run(t, o)
		for i := range 20 {
			mustProduce(t, a.Connect(t), "mine", 0, fmt.Appendf(nil, "a%d", i))
			mustProduce(t, b.Connect(t), "mine", 0, fmt.Appendf(nil, "b%d", i))
		}
		mustFind(t, a.Connect(t), "mine", 0, 19, []byte("a19"))
		mustFind(t, b.Connect(t), "mine", 0, 19, []byte("b19"))
	})
}

func TestTakenPortIsAClearError(t *testing.T) {
	eachBackend(t, func(t *testing.T, o proc.Options) {
		s := proc.Run(t, o)
		o.Port = s.Port
		said := refused(t, o)
		if !strings.Contains(said, "address already in use") || !strings.Contains(said, s.Addr) {
			t.Errorf("the refusal: %s", said)
		}
		mustServe(t, s)
	})
}

// A port that something else listens on is as taken as one of ours.
func TestPortOfAnotherProgramIsAClearError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	eachBackend(t, func(t *testing.T, o proc.Options) {
		o.Port = l.Addr().(*net.TCPAddr).Port
		if said := refused(t, o); !strings.Contains(said, "address already in use") {
			t.Errorf("the refusal: %s", said)
		}
	})
}
