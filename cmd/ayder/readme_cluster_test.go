package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ayder/internal/config"
	"ayder/internal/testkit/proc"
)

// README's section about clusters is executed word for word too: the scripts of deploy/cluster in a copy of the
// tree, on the ports that they name, in a network of their own where the system allows it. What starts a node
// is started and kept, everything else is run to its end, in the order in which it is printed.

func readCluster(t *testing.T, root string) *commandPage {
	t.Helper()
	_, text, _ := cutReadme(t, root)
	return readPage("README.md", text)
}

func TestReadmeClusterCommandsAreReal(t *testing.T) {
	root, err := proc.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	r := readCluster(t, root)
	if len(r.steps) != 10 {
		t.Fatalf("%d commands", len(r.steps))
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
	t.Parallel()
	proc.NotEmulated(t, "the lines run what they build themselves")
	r := newPageReader(t)
	root, err := proc.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	m := readCluster(t, root)
	if err := inOwnNetwork(func() { r.follow(m.steps, func(ctx context.Context) { r.judgeCluster(ctx, m) }) }); err != nil {
		t.Skip("the ports of the example may be taken in the network that is there: ", err)
	}
}

// judgeCluster looks closer at what some commands have printed. Then it does "when the leader dies": the example's own script
// gets its message in all the same.
func (r *pageReader) judgeCluster(ctx context.Context, m *commandPage) {
	if s := m.find("produce.sh"); !strings.Contains(s.got, `"durable":true`) && !strings.Contains(s.got, `"duplicate":true`) || !strings.Contains(s.got, "first order") {
		r.t.Errorf("%s\n%s", s.script, s.got)
	}
	leader := r.leader(ctx)
	if leader == nil {
		r.t.Error("nobody leads")
		return
	}
	_ = leader.cmd.Process.Kill()
	<-leader.done
	for _, script := range []string{"deploy/cluster/produce.sh orders 'second order'", "deploy/cluster/certs.sh -renew"} {
		r.ask(ctx, &step{page: "README.md", script: script}, script)
	}
}

// leader is the node that leads, nil if none does.
func (r *pageReader) leader(ctx context.Context) *served {
	out, err := shell(ctx, r.dir, "curl -s -H 'Authorization: Bearer change-me' http://127.0.0.1:7001/metrics_ha http://127.0.0.1:8001/metrics_ha http://127.0.0.1:9001/metrics_ha")
	found := regexp.MustCompile(`ramforge_ha_leader_info\{node="(node[1-3])"`).FindStringSubmatch(out)
	if err != nil || found == nil {
		return nil
	}
	for _, n := range r.servers {
		if n.script == "deploy/cluster/"+found[1]+".sh" {
			return n
		}
	}
	return nil
}
