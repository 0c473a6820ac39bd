package main

// A member is one node: a child process with the settings of the promise (RF_HA_*) in its environment, and
// nothing else of the product's, so that what the user has exported for a server of his own does not leak in. What it says goes to a file
// beside its data. One goroutine waits for its end; everybody else waits for that goroutine.

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ayder/tools/certs/authority"
)

// member is one node of the cluster.
type member struct {
	id       string
	raftPort int
	priority int
	dir      string // data
	logFile  string

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	err  error         // how; valid after done
}

// membersOf makes a member for each port: node1 with the highest priority, and so on.
func membersOf(ports []int, dir string) []*member {
	members := make([]*member, len(ports))
	for i, port := range ports {
		id := "node" + strconv.Itoa(i+1)
		members[i] = &member{
			id: id, raftPort: port, priority: (len(ports) - i) * priorityStep,
			dir: filepath.Join(dir, id), logFile: filepath.Join(dir, id+".log"), done: make(chan struct{}),
		}
	}
	return members
}

const host = "127.0.0.1"

func (m *member) raftAddr() string { return net.JoinHostPort(host, strconv.Itoa(m.raftPort)) }
func (m *member) httpAddr() string { return net.JoinHostPort(host, strconv.Itoa(m.raftPort+1)) }

// nodesText is the cluster as RF_HA_NODES has it.
func nodesText(members []*member) string {
	entries := make([]string, len(members))
	for i, m := range members {
		entries[i] = fmt.Sprintf("%s:%s:%d:%d", m.id, host, m.raftPort, m.priority)
	}
	return strings.Join(entries, ",")
}

// settings are the variables that make a server this member.
func (o *options) settings(m *member, members []*member) []string {
	env := []string{"RF_HA_ENABLED=1", "RF_HA_NODE_ID=" + m.id, "RF_HA_NODES=" + nodesText(members)}
	if m == members[0] {
		env = append(env, "RF_HA_BOOTSTRAP_LEADER=1")
	}
	if o.writeConcern != "" {
		env = append(env, "RF_HA_WRITE_CONCERN="+o.writeConcern)
	}
	if o.tls {
		certs := o.certs()
		env = append(env, "RF_HA_TLS=1", "RF_HA_TLS_CA="+authority.CAFile(certs),
			"RF_HA_TLS_CERT="+authority.CertFile(certs, m.id), "RF_HA_TLS_KEY="+authority.KeyFile(certs, m.id))
	}
	return env
}

// environment is this process's, without the settings of the product.
func environment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AYDER_") && !strings.HasPrefix(v, "RF_") {
			env = append(env, v)
		}
	}
	return env
}

// start starts the node's process.
func (m *member) start(bin string, args, settings []string) error {
	log, err := os.OpenFile(m.logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("log of %s: %w", m.id, err)
	}
	defer func() { _ = log.Close() }() // the child has its own
	m.cmd = exec.Command(bin, append([]string{"serve", "--data-dir", m.dir}, args...)...)
	m.cmd.Env = append(environment(), settings...)
	m.cmd.Stdout, m.cmd.Stderr = log, log
	m.cmd.SysProcAttr = childAttributes()
	if err := m.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", m.id, err)
	}
	go func() {
		m.err = m.cmd.Wait()
		close(m.done)
	}()
	return nil
}

func (m *member) pid() int { return m.cmd.Process.Pid }

// ended tells whether the process is gone.
func (m *member) ended() bool {
	select {
	case <-m.done:
		return true
	default:
		return false
	}
}

// signal sends a signal to the node if it runs. One that has ended meanwhile is as good as signalled.
func (m *member) signal(sig syscall.Signal) error {
	if m.cmd == nil || m.cmd.Process == nil {
		return nil
	}
	if err := m.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s (pid %d): %w", m.id, m.pid(), err)
	}
	return nil
}

// stopAll ends the nodes and waits for them: at first with SIGTERM, after a while, or as soon as hurry is readable, with
// SIGKILL.
func stopAll(members []*member, hurry <-chan os.Signal) error {
	var faults []error
	for _, m := range members {
		faults = append(faults, m.signal(syscall.SIGTERM))
	}
	patience := time.After(stopTimeout)
	for _, m := range members {
		if m.cmd == nil || m.cmd.Process == nil {
			continue
		}
		select {
		case <-m.done:
			continue
		case <-hurry:
		case <-patience:
		}
		for _, m := range members {
			faults = append(faults, m.signal(syscall.SIGKILL))
		}
		<-m.done
	}
	return errors.Join(faults...)
}

// lastWords is the end of what the node said, indented.
func (m *member) lastWords() string {
	f, err := os.Open(m.logFile)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }()
	text := make([]byte, lastBytes)
	info, err := f.Stat()
	if err != nil {
		return err.Error()
	}
	n, _ := f.ReadAt(text, max(0, info.Size()-lastBytes)) // less than a full buffer comes with io.EOF
	lines := bytes.Split(bytes.TrimSpace(text[:n]), []byte("\n"))
	lines = lines[max(0, len(lines)-lastLines):]
	return "    " + string(bytes.Join(lines, []byte("\n    ")))
}
