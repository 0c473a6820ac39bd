package main

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ayder/internal/testkit/proc"
)

// A process manager or a shell that starts the server may die alone. The server then goes on, its
// directory stays taken, and whoever starts it again is told so, instead of two servers writing one log.
func TestOnlyTheParentKilled(t *testing.T) {
	eachBackend(t, func(t *testing.T, o proc.Options) {
		// The server must not be the shell itself, so the shell has something to do after it.
		o.Wrap = []string{"sh", "-c", `"$@" & echo "child $!"; wait; echo over`, "sh"}
		parent := proc.Run(t, o)
		child := childOf(t, parent)
		t.Cleanup(func() { killPid(t, child) })
		body := []byte("before")
		offset := mustProduce(t, parent.Connect(t), "orphan", 0, body).Offset
		if err := parent.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		waitParent(t, parent)
		again := withBinary(t, o)
		again.Dir, again.Wrap, again.Port = parent.Dir, nil, 0
		c := parent.Connect(t)
		mustFind(t, c, "orphan", 0, offset, body)
		mustProduce(t, c, "orphan", 0, []byte("after"))
		if said := refused(t, again); !strings.Contains(said, "in use by another process") {
			t.Errorf("a second server is told: %s", said)
		}
		mustFind(t, c, "orphan", 0, offset+1, []byte("after"))
		killPid(t, child)
		mustFind(t, proc.Run(t, again).Connect(t), "orphan", 0, offset+1, []byte("after"))
	})
}

// childOf is the process id that the wrapping shell printed.
func childOf(t *testing.T, s *proc.Server) int {
	t.Helper()
	_, rest, _ := strings.Cut(s.Log(), "child ")
	word, _, _ := strings.Cut(rest, "\n")
	pid, err := strconv.Atoi(word)
	if err != nil {
		t.Fatalf("no child in %q", s.Log())
	}
	return pid
}

// waitParent waits until the shell is gone. Its pipes are still open, in the hands of the child, so
// waiting for the end of its output would take for ever.
func waitParent(t *testing.T, s *proc.Server) {
	t.Helper()
	for began := time.Now(); alive(s.Pid()); time.Sleep(time.Millisecond) {
		if time.Since(began) > proc.HangGuard {
			t.Fatal("the parent does not end")
		}
	}
}

// alive tells whether a process runs: it exists, and is more than a zombie. The leader of a process can
// be a zombie while its other threads still hold the files.
func alive(pid int) bool {
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	threads, _ := os.ReadDir(dir + "/task")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X") || len(threads) > 1
}

// killPid ends a process that is nobody's child any more, and waits until it is gone.
func killPid(t *testing.T, pid int) {
	t.Helper()
	if !alive(pid) {
		return
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	for began := time.Now(); alive(pid); time.Sleep(time.Millisecond) {
		if time.Since(began) > proc.HangGuard {
			t.Errorf("process %d does not end", pid)
			return
		}
	}
}
