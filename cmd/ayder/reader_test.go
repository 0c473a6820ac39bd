package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ayder/internal/testkit/proc"
)

// A reader does what a Markdown page tells him to type: what starts a server is started and kept, everything else is given to a
// shell as it stands there, and what the shell prints is compared with the answer that the page shows. README, the guide and
// the deployment page are all read in this way, each in a copy of the tree and, where the system allows it, in a network
// of its own, so that the ports that they name are free and nobody else's server answers (readme_linux_test.go).
//
// A page has its commands in blocks marked sh. A block marked json or text right behind one of them is the answer. Tables may have
// commands too, in backquotes (README does that). The rest of a page's code, within sentences, is not executed; tests check
// what can be checked of it.

// commandPage is what a page, or a part of it, tells its reader to type.
type commandPage struct {
	steps  []*step
	inline []string // code within sentences
}

// step is one thing to type.
type step struct {
	page   string
	line   int    // in the page, of the first command
	script string // lines of a block, or a command of a table
	table  bool   // it stands in a table
	kind   string // of the answer that is shown: "json", "text", "": none
	answer string
	from   int // line of the answer's first and behind its last line
	to     int
	got    string // what came, when it was executed
}

// readPage finds what is to be typed.
func readPage(name, text string) *commandPage {
	m := &commandPage{}
	lines := strings.Split(text, "\n")
	var before *step // whose answer may follow
	for i := 0; i < len(lines); i++ {
		mark, fenced := strings.CutPrefix(strings.TrimLeft(lines[i], " "), "```")
		if !fenced {
			if before != nil && lines[i] != "" {
				before = nil
			}
			m.sentence(name, i, lines[i])
			continue
		}
		end := i + 1
		for end < len(lines) && strings.TrimLeft(lines[end], " ") != "```" {
			end++
		}
		body := strings.Join(lines[min(i+1, len(lines)):min(end, len(lines))], "\n")
		switch {
		case mark == "sh":
			before = &step{page: name, line: i + 2, script: body}
			m.steps = append(m.steps, before)
		case before != nil && (mark == "json" || mark == "text"):
			before.kind, before.answer, before.from, before.to = mark, body, i+1, end
			before = nil
		}
		i = end
	}
	return m
}

// sentence is a line that is not in a block.
func (m *commandPage) sentence(page string, i int, line string) {
	for _, code := range codeOf(strings.ReplaceAll(line, `\|`, "|")) {
		if strings.HasPrefix(line, "| ") && isCommand(code) {
			m.steps = append(m.steps, &step{page: page, line: i + 1, script: code, table: true})
			continue
		}
		m.inline = append(m.inline, code)
	}
}

// isCommand tells whether code in a table is there to be executed.
func isCommand(code string) bool {
	word, rest, _ := strings.Cut(code, " ")
	return rest != "" && slices.Contains([]string{"curl", "printf", "go"}, word) || startsNode.MatchString(code)
}

// codeOf returns what stands between backquotes in a line.
func codeOf(line string) (code []string) {
	for i, part := range strings.Split(line, "`") {
		if i%2 == 1 {
			code = append(code, part)
		}
	}
	return code
}

// instead lists what is not executed as it stands, why, and what is done for it. A command that is neither here nor executed does not
// exist.
var instead = []struct {
	command *regexp.Regexp
	reason  string
	do      func(r *pageReader, named string) // with the text in the command's brackets; nil: nothing
}{
	{regexp.MustCompile(`^make [a-z]+$`), "the program is there already; TestPagesNameWhatThereIs looks for the target", nil},
	{regexp.MustCompile(`^PARTS=.* bench/run\.sh$`), "it measures for minutes, beside other servers that need not be here", nil},
	{regexp.MustCompile(`^go test -timeout 25m \./\.\.\.$`), "this is a part of it", nil},
	{regexp.MustCompile(`^(sudo )?(docker|podman|apt|apt-get|dpkg|systemctl|journalctl) .*$`), "there is no container engine, and no package is installed, in a test", nil},
	{regexp.MustCompile(`^pkill -KILL (?:-x ayder|-f (\S+))$`), "it would end other people's servers as well", func(r *pageReader, named string) { r.end(syscall.SIGKILL, named) }},
	{regexp.MustCompile(`^pkill -INT (?:-x ayder|-f (\S+))$`), "it would end other people's servers as well", func(r *pageReader, named string) { r.end(syscall.SIGINT, named) }},
}

var (
	startsNode   = regexp.MustCompile(`^deploy/cluster/node[1-9]\.sh$`)
	startsServer = regexp.MustCompile(`^(([A-Z_]+=\S* )*)(bin/ayder|go run \./cmd/ayder)( serve)?( --[^|]*)?$`)
	listensOn    = regexp.MustCompile(`(?:--listen[ =]|AYDER_LISTEN=)(\S+)`)
)

// pageReader follows a page. Its methods may run on a goroutine other than the test's and so report with Errorf.
type pageReader struct {
	t       *testing.T
	dir     string // where commands are executed: a copy of the tree
	servers []*served
	cluster bool // nodes have been started: a command is repeated until it succeeds
}

// served is a server that was started.
type served struct {
	script string
	cmd    *exec.Cmd
	said   *strings.Builder
	done   chan struct{}
}

// How long a page may take in all, and a command until its answer is the one that is shown.
const (
	readerHangs = 10 * time.Minute
	answerHangs = time.Minute
)

// reading is held while a page is read: one at a time, while other tests run.
var reading sync.Mutex

// newPageReader makes a copy of the tree to work in, with the program in bin.
func newPageReader(t *testing.T) *pageReader {
	t.Helper()
	reading.Lock()
	t.Cleanup(reading.Unlock)
	if testing.Short() {
		t.Skip("runs servers from a copy of the tree")
	}
	for _, tool := range []string{"curl", "od"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("not all tools are here: ", err)
		}
	}
	r := &pageReader{t: t, dir: t.TempDir()}
	proc.CopySource(t, r.dir)
	if err := os.Mkdir(filepath.Join(r.dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(proc.Binary(t), filepath.Join(r.dir, "bin", "ayder")); err != nil {
		t.Fatal(err)
	}
	return r
}

// alone calls f in a network of its own, or, if there are none, where the usual port is free.
func (r *pageReader) alone(f func()) {
	err := inOwnNetwork(f)
	if err == nil {
		return
	}
	r.t.Logf("in the network that is there: %v", err)
	l, err := net.Listen("tcp", readmeAddr)
	if err != nil {
		r.t.Skip("the port is taken: ", err)
	}
	if err := l.Close(); err != nil {
		r.t.Fatal(err)
	}
	f()
}

// follow does all steps, and ends what it started. then is called before that, if it is not nil.
func (r *pageReader) follow(steps []*step, then func(context.Context)) {
	ctx, cancel := context.WithTimeout(context.Background(), readerHangs)
	defer cancel()
	defer r.end(syscall.SIGTERM, "")
	for _, s := range steps {
		if r.do(ctx, s); r.t.Failed() && !*rewrite {
			return
		}
	}
	if then != nil {
		then(ctx)
	}
}

// do does one step. A block that starts servers is taken line by line, any other in one piece.
func (r *pageReader) do(ctx context.Context, s *step) {
	lines := strings.Split(s.script, "\n")
	if !slices.ContainsFunc(lines, special) {
		r.ask(ctx, s, s.script)
		return
	}
	for i, line := range lines {
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case starts(line):
			r.start(ctx, s, line)
		case special(line):
			for _, c := range instead {
				if m := c.command.FindStringSubmatch(line); m != nil && c.do != nil {
					c.do(r, m[len(m)-1])
				}
			}
		default: // the rest is one script, whose output is the answer
			if slices.ContainsFunc(lines[i:], special) {
				r.t.Errorf("%s:%d: servers are to be started before anything else", s.page, s.line)
				return
			}
			r.ask(ctx, s, strings.Join(lines[i:], "\n"))
			return
		}
	}
}

func starts(line string) bool { return startsServer.MatchString(line) || startsNode.MatchString(line) }

// special tells whether a line is not simply given to a shell.
func special(line string) bool {
	for _, c := range instead {
		if c.command.MatchString(line) {
			return true
		}
	}
	return starts(line)
}

// start starts a server, and waits until it listens if it is a single one.
func (r *pageReader) start(ctx context.Context, s *step, command string) {
	program := "exec " + command
	if m := startsServer.FindStringSubmatch(command); m != nil {
		program = m[1] + "exec " + strings.TrimPrefix(command, m[1])
	}
	cmd, said, err := startShell(ctx, r.dir, program)
	if err != nil {
		r.t.Errorf("%s:%d: %v", s.page, s.line, err)
		return
	}
	n := &served{script: command, cmd: cmd, said: said, done: make(chan struct{})}
	go func() { _ = cmd.Wait(); close(n.done) }()
	r.servers = append(r.servers, n)
	if startsNode.MatchString(command) {
		r.cluster = true
		return
	}
	addr := readmeAddr
	if m := listensOn.FindStringSubmatch(command); m != nil {
		addr = m[1]
	}
	if !n.listens(ctx, addr) {
		r.t.Errorf("%s:%d: %s: nothing listens on %s", s.page, s.line, command, addr)
	}
}

// listens waits until a server accepts connections; false: it has ended, or the time is over.
func (n *served) listens(ctx context.Context, addr string) bool {
	for ctx.Err() == nil {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			return true
		}
		select {
		case <-n.done:
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	return false
}

// ask runs a script. One that only reads is repeated until its answer is the one that is shown, and where there is a cluster any: a
// reader too would ask again while there is no leader yet, or before a node has caught up. The last answer counts.
func (r *pageReader) ask(ctx context.Context, s *step, script string) {
	end := time.Now().Add(answerHangs)
	for {
		out, err := shell(ctx, r.dir, script)
		s.got = out
		fault := judgeAnswer(s, out, err)
		asks := strings.Contains(script, "curl ") || strings.Contains(script, "produce.sh")
		if *rewrite && s.kind != "" && s.answer == "" && (!asks || succeeded(out)) {
			return // the answer is written into the page
		}
		if fault == "" {
			return
		}
		changes := strings.Contains(script, " --data") || strings.Contains(script, " -X ")
		if !asks || changes && !r.cluster || ctx.Err() != nil || time.Now().After(end) {
			r.t.Errorf("%s:%d: %s\n%s\ngot: %s", s.page, s.line, fault, script, out)
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// judgeAnswer says what is wrong with what a script printed, "" if nothing is.
func judgeAnswer(s *step, out string, err error) string {
	switch {
	case err != nil && s.kind == "":
		return err.Error()
	case s.kind != "" && s.answer == "":
		return "no answer is shown"
	case s.kind == "json":
		return differsAsJSON(s.answer, out)
	case s.kind == "text":
		return differsAsText(s.answer, out)
	case strings.Contains(s.script, "curl ") && !succeeded(out):
		return "is no success"
	}
	return ""
}

// end ends the servers that run and have a text in their command line, as an operator would, and wants them to end well.
func (r *pageReader) end(by syscall.Signal, named string) {
	var ending, rest []*served
	for _, n := range r.servers {
		if !strings.Contains(n.script+n.arguments(), named) {
			rest = append(rest, n)
			continue
		}
		ending = append(ending, n)
		_ = syscall.Kill(-n.cmd.Process.Pid, by)
	}
	if r.servers = rest; len(ending) == 0 && named != "" {
		r.t.Errorf("no server has %q in its command line", named)
	}
	for _, n := range ending {
		select {
		case <-n.done:
		case <-time.After(proc.HangGuard):
			r.t.Errorf("%s does not stop", n.script)
			_ = syscall.Kill(-n.cmd.Process.Pid, syscall.SIGKILL)
			<-n.done
		}
		// "go run" fails when it was interrupted, whatever the program did, but tells if that failed.
		state, said := n.cmd.ProcessState, n.said.String()
		failed := state.ExitCode() != 0 && state.String() != "signal: killed" || by != syscall.SIGKILL && strings.Contains(said, "exit status")
		if strings.Contains(n.script, "go run") {
			failed = strings.Contains(said, "exit status")
		}
		if failed && by != syscall.SIGKILL {
			r.t.Errorf("%s: %s", n.script, state)
		}
		if r.t.Failed() {
			r.t.Logf("%s said:\n%s", n.script, said)
		}
	}
}

// arguments are a server's arguments behind the script that started it, as pkill would see them.
func (n *served) arguments() string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", n.cmd.Process.Pid))
	return strings.ReplaceAll(string(text), "\x00", " ")
}

// find is the step whose script has a text in it.
func (m *commandPage) find(text string) *step {
	for _, s := range m.steps {
		if strings.Contains(s.script, text) {
			return s
		}
	}
	return &step{got: fmt.Sprintf("no command has %q in it", text)}
}
