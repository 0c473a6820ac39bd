// Command guest is the first process of a machine that tools/vm boots: it loads modules, mounts the disk, runs the phase that the kernel's
// command line names, and switches the machine off. It speaks with its host in lines of package console.
//
// There is no other program in the machine but the server and tests, so everything that an init does is a system call here.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"ayder/internal/testkit/proc"
	"ayder/tools/vm/console"
)

const (
	diskDevice = "/dev/vda"
	diskWait   = time.Minute
	diskEvery  = 20 * time.Millisecond
)

// flags are the server's: small segments, so that several are filled.
var flags = []string{"--segment-bytes", "4MiB", "--body-bytes", "1MiB"}

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "guest: it is the first process of a machine, see tools/vm")
		os.Exit(2)
	}
	w := console.NewWriter(os.Stdout)
	err := boot(w)
	if err == nil {
		err = phase(w, os.Getenv("phase"))
	}
	unix.Sync()
	w.End(err)
	unix.Sync()
	panic(fmt.Sprint("bug: switched off, and still here: ", unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)))
}

// phase is what this boot is for.
func phase(w *console.Writer, name string) error {
	g := &guest{w: w, options: proc.Options{Bin: "/ayder", Dir: "/data/log", Port: 1109, Args: flags}}
	switch name {
	case "kill":
		return g.kill()
	case "power":
		return g.power()
	case "verify":
		return g.verify()
	case "suite":
		return suite(w, "/suite")
	}
	return fmt.Errorf("unknown phase %q", name)
}

// boot makes a system of the bare machine.
func boot(w *console.Writer) error {
	for _, m := range []struct{ kind, on string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}} {
		if err := unix.Mount(m.kind, m.on, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.on, err)
		}
	}
	modules, err := filepath.Glob("/modules/*.ko")
	if err != nil {
		return err
	}
	for _, path := range modules { // sorted by the numbers of their order
		if err := load(path); err != nil {
			return err
		}
	}
	if err := mountDisk(); err != nil {
		return err
	}
	if err := loopback(); err != nil {
		return err
	}
	if err := os.Setenv("TMPDIR", "/data/tmp"); err != nil {
		return err
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	w.Note("%s %s %s %s; pages of %d bytes; %d modules", unix.ByteSliceToString(u.Sysname[:]), unix.ByteSliceToString(u.Release[:]),
		unix.ByteSliceToString(u.Version[:]), unix.ByteSliceToString(u.Machine[:]), os.Getpagesize(), len(modules))
	return nil
}

func load(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load %s: %w", path, err)
	}
	return nil
}

// mountDisk waits for the disk, whose driver looks for it while we go on.
func mountDisk() error {
	for deadline := time.Now().Add(diskWait); ; time.Sleep(diskEvery) {
		err := unix.Mount(diskDevice, "/data", "ext4", 0, "")
		if err == nil {
			break
		}
		if !errors.Is(err, unix.ENOENT) || time.Now().After(deadline) {
			return fmt.Errorf("mount %s: %w", diskDevice, err)
		}
	}
	return os.MkdirAll("/data/tmp", 0o700)
}

// loopback switches on the only network there is.
func loopback() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	defer unix.Close(s)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	return nil
}
