// Package peers starts the servers that are measured, each as a real process with
// its own command line, data directory and log file, and ends them again.
//
// A Spec says how (specs.go; clusters.go for several that belong together), a Process is one that runs. Nothing is
// ever ended by name: every signal goes to the process id that this package was
// given when it started the process, and only while that process has not been
// waited for, so the id cannot have been given to another one meanwhile.
package peers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Waiting times.
const (
	ReadyMax  = 120 * time.Second // from start to ready; recovery of a large log included
	stopMax   = 15 * time.Second  // from SIGTERM to the end; then SIGKILL
	readyStep = 2 * time.Millisecond
)

// Spec describes a server that can be started.
type Spec struct {
	Name string
	Addr string // host:port for the load generator
	Argv []string
	Env  []string // added to a bare environment
	// Ready asks once whether the server answers. It gives up by itself
	// within a second.
	Ready func(addr string) error
}

// Process is a running server.
type Process struct {
	Spec
	cmd     *exec.Cmd
	log     *os.File
	ended   chan struct{} // closed once the process was waited for
	waitErr error         // valid after ended is closed
}

// Start runs the server and waits until it is ready. Its output is appended to
// NAME.log in logDir.
func Start(ctx context.Context, s Spec, logDir string) (*Process, error) {
	p, err := launch(s, logDir)
	if err != nil {
		return nil, err
	}
	if err := p.WaitReady(ctx); err != nil {
		return nil, errors.Join(err, p.Kill())
	}
	return p, nil
}

// StartAll starts the nodes of a cluster, none of which is ready before the others run.
func StartAll(ctx context.Context, all []Spec, logDir string) ([]*Process, error) {
	list, err := Launch(all, logDir)
	for _, p := range list {
		if err == nil {
			err = p.WaitReady(ctx)
		}
	}
	if err != nil {
		return nil, errors.Join(err, KillAll(list))
	}
	return list, nil
}

// Launch starts servers without waiting. With an error it returns those that run.
func Launch(all []Spec, logDir string) ([]*Process, error) {
	var list []*Process
	for _, s := range all {
		p, err := launch(s, logDir)
		if err != nil {
			return list, err
		}
		list = append(list, p)
	}
	return list, nil
}

// launch starts the process without waiting.
func launch(s Spec, logDir string) (*Process, error) {
	log, err := os.OpenFile(filepath.Join(logDir, s.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Name, err)
	}
	cmd := exec.Command(s.Argv[0], s.Argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, s.Env...)
	if err := cmd.Start(); err != nil {
		log.Close()
		return nil, fmt.Errorf("start %s: %w", s.Name, err)
	}
	p := &Process{Spec: s, cmd: cmd, log: log, ended: make(chan struct{})}
	go p.wait()
	return p, nil
}

// wait reaps the process.
func (p *Process) wait() {
	p.waitErr = p.cmd.Wait()
	p.log.Close()
	close(p.ended)
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// WaitReady asks until the server answers, the process ends, or time is up.
func (p *Process) WaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ReadyMax)
	defer cancel()
	step := time.NewTicker(readyStep)
	defer step.Stop()
	for {
		err := p.Ready(p.Addr)
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended before it was ready (%v); see %s", p.Name, p.waitErr, p.log.Name())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w", p.Name, err)
		case <-step.C:
		}
	}
}

// Kill ends the process with SIGKILL, as a crash would, and waits for it.
func (p *Process) Kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.Name, err)
	}
	<-p.ended
	return nil
}

// KillAll ends processes with SIGKILL: first all signals, so that no node sees another one die and acts on it.
func KillAll(list []*Process) error {
	var faults []error
	for _, p := range list {
		if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			faults = append(faults, fmt.Errorf("kill %s: %w", p.Name, err))
		}
	}
	for _, p := range list {
		<-p.ended
	}
	return errors.Join(faults...)
}

// Alive tells whether the process has not ended.
func (p *Process) Alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Stop ends the process with SIGTERM and waits; if it does not end, it is killed.
func (p *Process) Stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.Name, err)
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(stopMax):
		return errors.Join(fmt.Errorf("%s does not stop", p.Name), p.Kill())
	}
}

// FreeAddr is a loopback address whose port nobody listens on now.
func FreeAddr() (string, error) {
	addrs, err := freeAddrs(1)
	if err != nil {
		return "", err
	}
	return addrs[0], nil
}

// freeAddrs is several of them, all different.
func freeAddrs(count int) ([]string, error) {
	var addrs []string
	for range count {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close() // all are held until the last one is found
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}
