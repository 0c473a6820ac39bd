package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"ayder/tools/vm/console"
)

// One boot of the guest: a qemu process whose standard output is the guest's serial console. Two processors run in two threads, so
// that the guest's threads are as concurrent as on a machine. The disk is a plain file behind the host's page cache: to kill qemu
// is, for the guest, the loss of everything it had not written to its disk, its own page cache first of all. What the disk had
// accepted stays (a disk with a volatile cache is crashtest's subject, not this one's).

// machine is what all boots share.
type machine struct {
	qemu, cpu string
	kernel    *kernel
	initramfs string
	disk      string
	log       io.Writer // everything that consoles say
	say       func(format string, a ...any)
}

// arguments are qemu's for a boot into a phase of the guest.
func (m *machine) arguments(phase string) []string {
	return []string{
		"-M", "virt", "-cpu", m.cpu, "-smp", fmt.Sprint(processors), "-m", fmt.Sprint(memoryMiB), "-accel", "tcg,thread=multi",
		"-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio",
		"-kernel", m.kernel.image, "-initrd", m.initramfs,
		"-append", "console=ttyAMA0 loglevel=4 panic=-1 phase=" + phase,
		"-drive", "if=none,id=disk,format=raw,file=" + m.disk, "-device", "virtio-blk-device,drive=disk",
	}
}

// boot runs a phase. What the guest acknowledges and holds goes to the ledger. If enough is not nil and becomes true, the machine is
// killed, which is then how the phase has to end.
func (m *machine) boot(ctx context.Context, phase string, l *ledger, enough func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, m.qemu, m.arguments(phase)...)
	cmd.Stderr = m.log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the machine: %w", err)
	}
	killed, ended := false, error(errUnfinished)
	for lines := newLines(io.TeeReader(out, m.log)); lines.Scan(); {
		line, ok := console.Parse(strings.TrimRight(lines.Text(), "\r"))
		if !ok || killed { // what comes from the pipe after the kill was said before, and may count as well as not
			continue
		}
		switch line.Kind {
		case console.Note:
			m.say("%7.1fs  %s", time.Since(start).Seconds(), line.Text)
		case console.Failed:
			ended = fmt.Errorf("phase %s: %s", phase, line.Text)
		case console.Done:
			ended = nil
		default:
			l.add(line)
		}
		if enough != nil && enough() {
			m.say("%7.1fs  (host) kill -9 of qemu, process %d", time.Since(start).Seconds(), cmd.Process.Pid)
			killed, ended = true, cmd.Process.Signal(os.Kill)
		}
	}
	err = cmd.Wait()
	switch {
	case ended != nil:
		return errors.Join(ended, ctx.Err())
	case killed:
		return nil
	case err != nil:
		return fmt.Errorf("phase %s: qemu: %w", phase, err)
	case enough != nil:
		return fmt.Errorf("phase %s ended before its machine was to be killed", phase)
	}
	return nil
}

var errUnfinished = errors.New("the guest stopped in the middle; its console is in the log")

// newLines splits a console; the last line counts only if it has its end.
func newLines(r io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(r)
	s.Buffer(nil, consoleBytesMax)
	s.Split(func(data []byte, _ bool) (int, []byte, error) {
		if n := strings.IndexByte(string(data), '\n'); n >= 0 {
			return n + 1, data[:n], nil
		}
		return 0, nil, nil // at the end of all: what is left over is no line
	})
	return s
}

// ledger is what the guest has said about messages, by partition.
type ledger struct {
	acked, held map[int]uint64
}

func newLedger() *ledger { return &ledger{map[int]uint64{}, map[int]uint64{}} }

func (l *ledger) add(line console.Line) {
	m := l.acked
	if line.Kind == console.Holds {
		m = l.held
	}
	m[line.Partition] = max(m[line.Partition], line.Count)
}

// total is how many messages were acknowledged.
func (l *ledger) total() (n uint64) {
	for _, count := range l.acked {
		n += count
	}
	return n
}

// judge compares what was acknowledged with what the last boot holds.
func (l *ledger) judge() error {
	if l.total() == 0 {
		return errors.New("nothing was acknowledged")
	}
	var errs []error
	for p, n := range l.acked {
		if held := l.held[p]; held < n {
			errs = append(errs, fmt.Errorf("partition %d: %d messages were acknowledged, %d are there", p, n, held))
		}
	}
	return errors.Join(errs...)
}
