package uring

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Whatever Probe says is what happens.
func TestProbeAgreesWithNew(t *testing.T) {
	probe := Probe()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r, err := New(Config{Entries: 8})
	switch {
	case probe == nil && err != nil:
		t.Errorf("Probe is content, New is not: %v", err)
	case probe != nil && !errors.Is(probe, ErrUnsupported):
		t.Errorf("not ErrUnsupported: %v", probe)
	}
	if err == nil {
		closeRing(t, r)
	}
	t.Log("probe: ", probe)
}

// What a kernel says behind the first completion does not count. Here it has a reason to say more: more is there than one buffer
// takes. Older kernels say it for the probe's one byte too, and were taken for kernels without io_uring.
func TestProbeTakesTheFirstCompletion(t *testing.T) {
	if err := Probe(); err != nil {
		t.Skip(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r, err := New(Config{Entries: 8, CQEntries: 16})
	if err != nil {
		t.Fatal(err)
	}
	defer closeRing(t, r)
	if err := r.probeReceive(make([]byte, 2*probeBufferBytes)); err != nil {
		t.Error(err)
	}
}

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		err      error
		disabled string
		want     []string
	}{
		{unix.ENOSYS, "", []string{"CONFIG_IO_URING", "Linux 6.1", "sandbox"}},
		{unix.EPERM, "2", []string{"kernel.io_uring_disabled=2", "sysctl -w kernel.io_uring_disabled=0"}},
		{unix.EPERM, "1", []string{"kernel.io_uring_disabled=1", "kernel.io_uring_group"}},
		{unix.EPERM, "0", []string{"seccomp", "io_uring_setup", "--security-opt"}},
		{unix.EPERM, "", []string{"seccomp", "io_uring_enter", "io_uring_register"}},
		{unix.EACCES, "0", []string{"security module"}},
		{unix.EINVAL, "0", []string{"kernel 5.4.0-test", "too old", "6.1"}},
		{unix.ENOMEM, "0", []string{"ulimit -l", "LimitMEMLOCK", "--ulimit memlock"}},
		{unix.EMFILE, "0", []string{"ulimit -n"}},
		{unix.ENXIO, "0", []string{"kernel 5.4.0-test"}},
	} {
		text := explain(fmt.Errorf("uring: set up: %w", c.err), c.disabled, "5.4.0-test")
		for _, w := range c.want {
			if !strings.Contains(text, w) {
				t.Errorf("%v with switch %q: %q lacks %q", c.err, c.disabled, text, w)
			}
		}
	}
}

func TestUnsupportedKeepsTheCause(t *testing.T) {
	err := unsupported(fmt.Errorf("uring: set up: %w", unix.EPERM))
	if !errors.Is(err, ErrUnsupported) || !errors.Is(err, unix.EPERM) {
		t.Errorf("%v", err)
	}
}

const refuseEnv = "URING_TEST_REFUSE"

// A process under a seccomp profile like a container's gets a reason, not a fault. The test runs itself again as that
// process.
func TestProbeUnderSeccomp(t *testing.T) {
	if e := os.Getenv(refuseEnv); e != "" {
		refuseAndProbe(e)
	}
	for name, want := range map[string]string{"EPERM": "seccomp", "ENOSYS": "sandbox"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestProbeUnderSeccomp$")
		cmd.Env = append(os.Environ(), refuseEnv+"="+name)
		out, err := cmd.CombinedOutput()
		if errors.Is(err, unix.ENOEXEC) {
			t.Skip("this machine cannot run the test by itself (emulation of one process?): ", err)
		}
		text := string(out)
		if strings.Contains(text, "no filter") {
			t.Skip("no seccomp here: ", text)
		}
		if err != nil || !strings.Contains(text, ErrUnsupported.Error()) {
			t.Errorf("%s: %v, %s", name, err, text)
		}
		if sysctlIs("0") && !strings.Contains(text, want) {
			t.Errorf("%s: %q does not speak of %q", name, text, want)
		}
	}
}

func sysctlIs(value string) bool {
	b, err := os.ReadFile(sysctlDisabled)
	return err != nil || strings.TrimSpace(string(b)) == value
}

// refuseAndProbe installs a filter that answers io_uring_setup with the error, prints what Probe says, and exits.
func refuseAndProbe(name string) {
	answer := map[string]syscall.Errno{"EPERM": unix.EPERM, "ENOSYS": unix.ENOSYS}[name]
	const (
		load     = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		jumpEq   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		ret      = unix.BPF_RET | unix.BPF_K
		retErrno = 0x00050000
		retAllow = 0x7fff0000
	)
	filter := []unix.SockFilter{
		{Code: load, K: 0}, // the system call's number
		{Code: jumpEq, K: unix.SYS_IO_URING_SETUP, Jf: 1},
		{Code: ret, K: retErrno | uint32(answer)},
		{Code: ret, K: retAllow},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		fmt.Println("no filter: ", err)
		os.Exit(0)
	}
	const modeFilter = 2
	if err := unix.Prctl(unix.PR_SET_SECCOMP, modeFilter, uintptr(unsafe.Pointer(&prog)), 0, 0); err != nil {
		fmt.Println("no filter: ", err)
		os.Exit(0)
	}
	fmt.Println(Probe())
	os.Exit(0)
}
