// Command vm boots a whole machine of another kind, ARM64, and lets the server show there what it shows here: io_uring on a real
// kernel of that kind, durable writes on a disk, recovery after the process is killed and after the machine is.
//
//	go run ./tools/vm [-suite bookworm] [-package linux-image-arm64] [-deb FILE] [-tests ./internal/uring,./netpoll] [-log FILE]
//
// It fetches a kernel of Debian's (kernel.go), builds the server, the guest's first process (guest) and test binaries, packs them into a
// first file system (initramfs.go), makes an ext4 disk, and boots qemu-system-aarch64 (machine.go):
//
//	kill     the server starts; producers write until it gets SIGKILL under load; it starts again and must have every acknowledged
//	         message with its bytes; it stops as an operator would stop it
//	power    it starts on what is there, producers write, and the host kills the machine
//	verify   it starts on what the machine left and reads everything: the host compares with every acknowledgement that it saw
//	suite    the tests that -tests names, with io_uring through both implementations
//
// It prints a transcript; everything that the consoles said goes to -log. It needs qemu-system-arm, e2fsprogs, apt, dpkg and xz, no root.
// Exit status: 0 all held, 1 not, 2 wrong usage.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "vm:", err)
		return 2
	}
	o.say = func(format string, a ...any) { fmt.Fprintf(stdout, format+"\n", a...) }
	if err := o.all(context.Background()); err != nil {
		fmt.Fprintln(stdout, "FAILED:", err)
		return 1
	}
	fmt.Fprintln(stdout, "PASSED")
	return 0
}

// options are the command line's.
type options struct {
	mirror, suite, pack, deb string
	cache, log, cpu          string
	tests                    string
	skip                     bool // the phases of the server
	say                      func(format string, a ...any)
}

func parse(args []string, stderr io.Writer) (*options, error) {
	f := flag.NewFlagSet("vm", flag.ContinueOnError)
	f.SetOutput(stderr)
	o := &options{}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	f.StringVar(&o.mirror, "mirror", "http://deb.debian.org/debian", "where Debian is")
	f.StringVar(&o.suite, "suite", "bookworm", "release of Debian")
	f.StringVar(&o.pack, "package", "linux-image-arm64", "kernel's package there; trixie has linux-image-arm64-16k, with pages of 16 KiB")
	f.StringVar(&o.deb, "deb", "", "a kernel's package that is here already, instead")
	f.StringVar(&o.cache, "cache", filepath.Join(cache, "ayder-vm"), "directory of downloads")
	f.StringVar(&o.cpu, "cpu", "cortex-a76", "the guest's processor, as qemu names it")
	f.StringVar(&o.tests, "tests", "", "packages whose tests run in the guest too, joined by commas")
	f.BoolVar(&o.skip, "tests-only", false, "run the tests and nothing else")
	f.StringVar(&o.log, "log", os.DevNull, "file for everything that the consoles say")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("%q behind the flags", f.Args())
	}
	return o, nil
}

func (o *options) all(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "ayder-vm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	log, err := os.Create(o.log)
	if err != nil {
		return err
	}
	defer log.Close()
	m, err := o.prepare(dir)
	if err != nil {
		return err
	}
	m.log = log
	if !o.skip {
		if err := m.phases(ctx); err != nil {
			return err
		}
	}
	if o.tests == "" {
		return nil
	}
	m.say("\n== boot: tests of %s", o.tests)
	return m.boot(ctx, "suite", newLedger(), nil)
}

// phases are the boots in which the server is tried.
func (m *machine) phases(ctx context.Context) error {
	l := newLedger()
	m.say("\n== boot 1: the server is killed under load and recovers")
	if err := m.boot(ctx, "kill", l, nil); err != nil {
		return err
	}
	before := l.total()
	m.say("\n== boot 2: the machine is killed under load, after %d more acknowledgements", powerAcked)
	if err := m.boot(ctx, "power", l, func() bool { return l.total() >= before+powerAcked }); err != nil {
		return err
	}
	clear(l.held) // what the boots before held does not count
	m.say("\n== boot 3: what is there")
	if err := m.boot(ctx, "verify", l, nil); err != nil {
		return err
	}
	for p := range len(l.acked) {
		m.say("          (host) partition %d: %d acknowledged, %d there", p, l.acked[p], l.held[p])
	}
	return l.judge()
}

// prepare makes everything that a boot needs.
func (o *options) prepare(dir string) (*machine, error) {
	qemu, err := exec.LookPath("qemu-system-aarch64")
	if err != nil {
		return nil, fmt.Errorf("%w (Debian: qemu-system-arm)", err)
	}
	version, err := exec.Command(qemu, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("%s --version: %w", qemu, err)
	}
	deb := o.deb
	if deb == "" {
		if deb, err = o.fetch(o.suite, o.pack); err != nil {
			return nil, err
		}
	}
	k, err := unpack(deb, filepath.Join(dir, "kernel"))
	if err != nil {
		return nil, err
	}
	m := &machine{qemu: qemu, cpu: o.cpu, kernel: k, initramfs: filepath.Join(dir, "initramfs"), disk: filepath.Join(dir, "disk"), say: o.say}
	first, _, _ := strings.Cut(string(version), "\n")
	o.say("%s\nprocessor %s, %d of them, %d MiB; kernel %s of %s", first, o.cpu, processors, memoryMiB, k.release, filepath.Base(deb))
	files, err := o.contents(dir)
	if err != nil {
		return nil, err
	}
	if err := m.pack(append(files, k.modules...)); err != nil {
		return nil, err
	}
	return m, m.format()
}

// pack writes the first file system.
func (m *machine) pack(files []file) error {
	out, err := os.Create(m.initramfs)
	if err != nil {
		return err
	}
	return errors.Join(writeCPIO(out, files), out.Close())
}

// format makes the disk.
func (m *machine) format() error {
	out, err := os.Create(m.disk)
	if err != nil {
		return err
	}
	if err := errors.Join(out.Truncate(diskBytes), out.Close()); err != nil {
		return err
	}
	if text, err := exec.Command("mkfs.ext4", "-q", "-F", m.disk).CombinedOutput(); err != nil {
		return fmt.Errorf("mkfs.ext4: %w: %s", err, text)
	}
	return nil
}
