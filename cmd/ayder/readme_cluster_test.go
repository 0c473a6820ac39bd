package main

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"ayder/internal/config"
	"ayder/internal/testkit/proc"
)

// README's section about clusters is executed word for word too: the scripts of deploy/cluster in a copy of the
// tree, on the ports that they name, in a network of their own where the system allows it. What starts a node
// is started and kept, everything else is run to its end, in the order in which it is printed.

var startsNode = regexp.MustCompile(`^deploy/cluster/node[1-9]\.sh$`)

func readCluster(t *testing.T, root string) readme {
	t.Helper()
	_, text, _ := cutReadme(t, root)
	return commandsOf(text)
}

func TestReadmeClusterCommandsAreReal(t *testing.T) {
	root, err := proc.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	r := readCluster(t, root)
	if len(r.blocks) != 3 || len(r.table) != 7 {
		t.Fatalf("%d blocks and %d commands in the table", len(r.blocks), len(r.table))
	}
	noCommand := regexp.MustCompile(`^(RF_[A-Z_]+(=1)?|id:host:raft_port:priority\[:http_port\[:https_port\]\]|[a-z]+_(port|key)|ca\.crt|durable|synced|"durable":true|Retry-After|Connection: close)$`)
	var help strings.Builder
	if err := config.Help(&help); err != nil {
		t.Fatal(err)
	}
	for _, code := range r.inline {
		words := strings.Fields(code)
		switch {
		case words[0] == "make":
			dry(t, root, append([]string{"make", "-n"}, words[1:]...))
		case strings.HasSuffix(words[0], ".sh") || strings.HasSuffix(words[0], ".env"):
			if _, err := os.Stat(filepath.Join(root, "deploy", "cluster", filepath.Base(words[0]))); err != nil {
				t.Error(err)
			}
		case words[0] == "tools/certs":
		case strings.HasPrefix(code, "concern="): // docs/openapi.yaml and its test have them
		case strings.HasPrefix(code, "--") || strings.HasPrefix(code, "RF_"):
			if name, _, _ := strings.Cut(code, "="); !strings.Contains(help.String(), name) {
				t.Errorf("there is no setting %s", name)
			}
		case !noCommand.MatchString(code):
			t.Errorf("nothing tests `%s`", code)
		}
	}
}

// TestClusterEnvironment reads the example's settings as the server does.
func TestClusterEnvironment(t *testing.T) {
	root, err := proc.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "deploy", "cluster", "cluster.env"))
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"RF_HA_NODE_ID": "node2", "RF_HA_TLS_CA": "/dev/zero", "RF_HA_TLS_CERT": "/dev/zero", "RF_HA_TLS_KEY": "/dev/zero"}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			env[name] = value
		}
	}
	c, err := config.Parse(nil, func(name string) string { return env[name] })
	if err == nil {
		err = c.Resolve()
	}
	if err != nil {
		t.Fatal(err)
	}
	if w := c.Warnings(); w != nil || c.HA == nil || len(c.HA.Nodes) != 3 || c.HA.WriteConcern != 2 || c.HA.TLS == nil || c.Listen != "127.0.0.1:8001" {
		t.Errorf("%+v, listening on %s, %q", c.HA, c.Listen, w)
	}
}

// TestUnit has systemd read the unit, with a program that exists.
func TestUnit(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("no systemd here: ", err)
	}
	root, err := proc.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "deploy", "systemd", "ayder.service"))
	if err != nil {
		t.Fatal(err)
	}
	unit := filepath.Join(t.TempDir(), "ayder.service")
	text = []byte(strings.Replace(string(text), "/usr/local/bin/ayder", proc.Binary(t), 1))
	if err := os.WriteFile(unit, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", unit).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestReadmeClusterWordForWord(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a cluster from a copy of the tree")
	}
	for _, tool := range []string{"curl", "od"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("not all tools are here: ", err)
		}
	}
	root, err := proc.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	r := readCluster(t, root)
	dir := t.TempDir()
	copyTree(t, root, dir)
	copyScripts(t, root, dir)
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(proc.Binary(t), filepath.Join(dir, "bin", "ayder")); err != nil {
		t.Fatal(err)
	}
	c := clusterReader{t: t, dir: dir, nodes: make(map[string]*clusterNode)}
	if err := inOwnNetwork(func() { c.follow(&r) }); err != nil {
		t.Skip("the ports of the example may be taken in the network that is there: ", err)
	}
}

// copyScripts copies deploy/cluster with its modes, but not what the scripts have made there.
func copyScripts(t *testing.T, root, to string) {
	t.Helper()
	from := filepath.Join(root, "deploy", "cluster")
	to = filepath.Join(to, "deploy", "cluster")
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || e.IsDir() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, e.Name()), text, info.Mode()&fs.ModePerm)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// clusterReader does what the section says. Its methods run on a goroutine of their own and so report with Errorf.
type clusterReader struct {
	t     *testing.T
	dir   string
	nodes map[string]*clusterNode // by script
}

type clusterNode struct {
	cmd  *exec.Cmd
	said *strings.Builder
	done chan struct{}
}

// follow runs everything, then kills the leader and writes once more.
func (c *clusterReader) follow(r *readme) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	defer c.end()
	commands := append(append([]string(nil), r.blocks[0]...), r.blocks[1]...)
	for _, command := range append(append(commands, r.blocks[2]...), r.table...) {
		if c.t.Failed() {
			return
		}
		c.do(ctx, command)
	}
	c.failOver(ctx)
}

// do does one command.
func (c *clusterReader) do(ctx context.Context, command string) {
	switch {
	case strings.HasPrefix(command, "make "): // the program is there; TestReadmeClusterCommandsAreReal knows the target
	case startsNode.MatchString(command):
		c.start(ctx, command)
	default:
		c.ask(ctx, command)
	}
}

func (c *clusterReader) start(ctx context.Context, command string) {
	cmd, said, err := startShell(ctx, c.dir, command)
	if err != nil {
		c.t.Error(err)
		return
	}
	n := &clusterNode{cmd: cmd, said: said, done: make(chan struct{})}
	c.nodes[command] = n
	go func() { _ = cmd.Wait(); close(n.done) }()
}

// ask runs a command until it succeeds. A reader too would try again while there is no leader yet, and before a node
// has caught up; the last answer counts.
func (c *clusterReader) ask(ctx context.Context, command string) {
	for {
		out, err := shell(ctx, c.dir, command)
		if err == nil && answered(command, out) {
			c.t.Logf("$ %s\n%s", command, out)
			return
		}
		select {
		case <-ctx.Done():
			c.t.Errorf("%s\n%v %s", command, err, out)
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// answered tells whether an answer is a success. What only prints has no JSON to look at.
func answered(command, out string) bool {
	switch {
	case strings.Contains(command, "/certs"):
		return true
	case strings.Contains(command, "produce.sh"):
		return succeeded(out) && (strings.Contains(out, `"durable":true`) || strings.Contains(out, `"duplicate":true`))
	case strings.Contains(command, "/broker/consume/"):
		return succeeded(out) && strings.Contains(out, "first order")
	}
	return succeeded(out)
}

// leaderScript is the script of the node that leads, "" if none does.
func (c *clusterReader) leaderScript(ctx context.Context) string {
	out, err := shell(ctx, c.dir, "curl -s -H 'Authorization: Bearer change-me' http://127.0.0.1:7001/metrics_ha http://127.0.0.1:8001/metrics_ha http://127.0.0.1:9001/metrics_ha")
	found := regexp.MustCompile(`ramforge_ha_leader_info\{node="(node[1-3])"`).FindStringSubmatch(out)
	if err != nil || found == nil {
		return ""
	}
	return "deploy/cluster/" + found[1] + ".sh"
}

// failOver is "when the leader dies": the example's own script gets its message in all the same.
func (c *clusterReader) failOver(ctx context.Context) {
	leader := c.nodes[c.leaderScript(ctx)]
	if leader == nil {
		c.t.Error("nobody leads")
		return
	}
	_ = leader.cmd.Process.Kill()
	<-leader.done
	c.ask(ctx, "deploy/cluster/produce.sh orders 'second order'")
	c.ask(ctx, "deploy/cluster/certs.sh -renew")
}

// end stops the nodes as an operator would, and wants them to end well.
func (c *clusterReader) end() {
	for _, n := range c.nodes {
		_ = n.cmd.Process.Signal(syscall.SIGTERM)
	}
	for script, n := range c.nodes {
		select {
		case <-n.done:
		case <-time.After(proc.HangGuard):
			c.t.Errorf("%s does not stop", script)
			_ = syscall.Kill(-n.cmd.Process.Pid, syscall.SIGKILL)
			<-n.done
		}
		if s := n.cmd.ProcessState; s.ExitCode() != 0 && s.String() != "signal: killed" {
			c.t.Errorf("%s: %s", script, s)
		}
		if c.t.Failed() {
			c.t.Logf("%s said:\n%s", script, n.said)
		}
	}
}
