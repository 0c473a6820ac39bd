package proc

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A server is a child process with everything known about it: where it listens, what it said, how
// it ended. Its environment is this process's without the product's own variables, so that a
// developer's settings do not leak into a test. Waiting for the child is done by one goroutine;
// everybody else waits for that goroutine.

// Options say how to start a server.
type Options struct {
	Bin     string   // the program; see Binary and Build
	Dir     string   // its data directory
	Port    int      // on 127.0.0.1; 0: a free one
	Backend string   // "uring", "evio" or empty for the program's own choice
	Args    []string // further flags
	Env     []string // further variables, NAME=value
	Wrap    []string // a command that starts the program: its words are put before the program's
}

// Server is one server process.
type Server struct {
	Options
	Addr string // host:port of HTTP

	cmd  *exec.Cmd
	said output
	done chan struct{} // closed when the process has ended
	err  error         // what Wait returned; valid after done
}

// Start starts a server and waits until it is ready.
func Start(o Options) (*Server, error) {
	s, err := Launch(o)
	if err != nil {
		return nil, err
	}
	if err := s.WaitReady(HangGuard); err != nil {
		return nil, errors.Join(err, s.Kill())
	}
	return s, nil
}

// Launch starts a server and does not wait.
func Launch(o Options) (*Server, error) {
	if o.Port == 0 {
		port, err := FreePort()
		if err != nil {
			return nil, err
		}
		o.Port = port
	}
	s := &Server{Options: o, Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(o.Port)), done: make(chan struct{})}
	words := append(append([]string(nil), o.Wrap...), o.command(s.Addr)...)
	s.cmd = exec.Command(words[0], words[1:]...)
	s.cmd.Env = append(Environment(), o.Env...)
	s.cmd.Stdout, s.cmd.Stderr = &s.said, &s.said
	if err := spawn(s.cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", words[0], err)
	}
	go s.reap()
	return s, nil
}

func (o *Options) command(addr string) []string {
	words := []string{o.Bin, "serve", "--data-dir", o.Dir, "--listen", addr}
	if o.Backend != "" {
		words = append(words, "--backend", o.Backend)
	}
	return append(words, o.Args...)
}

// Environment is this process's, without the settings of the product.
func Environment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AYDER_") && !strings.HasPrefix(v, "RF_") {
			env = append(env, v)
		}
	}
	return env
}

func (s *Server) reap() {
	s.err = s.cmd.Wait()
	close(s.done)
}

// ErrEnded is in the error of everything that needs a server that has ended.
var ErrEnded = errors.New("the server has ended")

// WaitReady waits until /ready answers 200.
func (s *Server) WaitReady(timeout time.Duration) error {
	return s.poll(timeout, "is not ready", func() bool {
		status, err := s.Ready()
		return err == nil && status == 200
	})
}

// Ready asks /ready over a connection of its own and returns the status.
func (s *Server) Ready() (int, error) {
	c, err := Dial(s.Addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	r, err := c.Get("/ready")
	return r.Status, err
}

func (s *Server) poll(timeout time.Duration, what string, ok func() bool) error {
	deadline := time.Now().Add(timeout)
	for !ok() {
		select {
		case <-s.done:
			return fmt.Errorf("%w: %v\n%s", ErrEnded, s.err, s.Log())
		case <-time.After(pollEvery):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the server %s after %v\n%s", what, timeout, s.Log())
		}
	}
	return nil
}

// Kill ends the server with SIGKILL and waits until it is gone. Killing one that has ended is fine.
func (s *Server) Kill() error {
	if err := s.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	_, err := s.Exit(HangGuard)
	return err
}

// Terminate asks the server to stop and returns its exit status.
func (s *Server) Terminate(timeout time.Duration) (code int, err error) {
	if err := s.Signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	return s.Exit(timeout)
}

// Signal sends sig to the process.
func (s *Server) Signal(sig os.Signal) error { return s.cmd.Process.Signal(sig) }

// Exit waits for the end and returns the exit status, -1 for a signal.
func (s *Server) Exit(timeout time.Duration) (code int, err error) {
	select {
	case <-s.done:
		return s.cmd.ProcessState.ExitCode(), nil
	case <-time.After(timeout):
		return 0, fmt.Errorf("the server still runs after %v\n%s", timeout, s.Log())
	}
}

// Alive tells whether the process has not ended yet.
func (s *Server) Alive() bool {
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// Pid is the child's process id; with Wrap it is the wrapper's.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// Log is what the server said last.
func (s *Server) Log() string { return s.said.String() }

// WaitLog waits until the server has said text.
func (s *Server) WaitLog(text string, timeout time.Duration) error {
	return s.poll(timeout, "has not said "+strconv.Quote(text), func() bool { return strings.Contains(s.Log(), text) })
}

// Run starts a server for a test and kills it when the test ends.
func Run(tb testing.TB, o Options) *Server {
	tb.Helper()
	if o.Bin == "" {
		o.Bin = Binary(tb)
	}
	if o.Dir == "" {
		o.Dir = tb.TempDir()
	}
	s, err := Start(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { end(tb, s) })
	return s
}

// Again starts a server that has ended once more, with the same options and port.
func (s *Server) Again(tb testing.TB) *Server {
	tb.Helper()
	return Run(tb, s.Options)
}

// Connect opens a connection to the server that is closed when the test ends.
func (s *Server) Connect(tb testing.TB) *Client {
	tb.Helper()
	c, err := Dial(s.Addr)
	if err != nil {
		tb.Fatalf("%v\n%s", err, s.Log())
	}
	tb.Cleanup(c.Close)
	return c
}

func end(tb testing.TB, s *Server) {
	if err := s.End(tb); err != nil {
		tb.Error(err)
	}
	if tb.Failed() {
		tb.Logf("the server on %s said:\n%s", s.Addr, s.Log())
	}
}

// End kills the server at the end of a test. In one that has failed it is asked first, by SIGQUIT, what its goroutines are at:
// what hung once on a busy machine may not do so again.
func (s *Server) End(tb testing.TB) error {
	if tb.Failed() && s.Alive() && s.Signal(syscall.SIGQUIT) == nil {
		_, _ = s.Exit(dumpWait)
	}
	return s.Kill()
}

// output keeps the last logBytesMax bytes written to it. The child's output is copied here by a
// goroutine of exec, while tests read it.
type output struct {
	mu   sync.Mutex
	kept []byte
}

// Write keeps p.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kept = append(o.kept, p...)
	if over := len(o.kept) - logBytesMax; over > 0 {
		o.kept = append(o.kept[:0], o.kept[over:]...)
	}
	if os.Getenv("AYDER_SERVER_LOG") != "" {
		return os.Stderr.Write(p)
	}
	return len(p), nil
}

// String returns what is kept.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.kept)
}
