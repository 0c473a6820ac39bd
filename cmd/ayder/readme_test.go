package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"ayder/internal/cli"
	"ayder/internal/testkit/proc"
)

// README is executed word for word, as all pages are (reader_test.go), and every piece of code in its sentences is something
// that is known.

// readReadme reads what is about a single node: everything but the section about clusters, which has its own
// test (readme_cluster_test.go).
func readReadme(t *testing.T, root string) *commandPage {
	t.Helper()
	before, cluster, after := cutReadme(t, root)
	if cluster == "" {
		t.Error("README has no section about clusters")
	}
	return readPage("README.md", before+after)
}

// cutReadme cuts README at the section about clusters.
func cutReadme(t *testing.T, root string) (before, cluster, after string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(text), "\n## Cluster\n")
	cluster, after, _ = strings.Cut(rest, "\n## ")
	return before, cluster, "\n## " + after
}

// TestReadmeCommandsAreReal knows every piece of code in README: it is executed below, or it is
// checked here, or it is not a command.
func TestReadmeCommandsAreReal(t *testing.T) {
	root, err := proc.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	r := readReadme(t, root)
	if len(r.steps) < 20 || r.steps[0].script != "go run ./cmd/ayder" || r.find("go test").script != "go test -timeout 25m ./..." {
		t.Errorf("%d commands, starting is %q, testing is %q", len(r.steps), r.steps[0].script, r.find("go test").script)
	}
	noCommand := regexp.MustCompile(`^(\./data|dev|/docs|kill -9|bin/ayder|"durable":true,"synced":true|[A-Z_]+|RF_BEARER_TOKENS='[^']*'|--[a-z-]+)$`)
	for _, code := range r.inline {
		words := strings.Fields(code)
		switch {
		case words[0] == "make":
			dry(t, root, append([]string{"make", "-n"}, words[1:]...))
		case code == "go run ./cmd/ayder --help", words[0] == "curl" && len(words) == 1:
		case words[0] == "ayder" && len(words) == 3 && slices.Contains([]string{"check", "dump", "repair"}, words[1]), code == "ayder backup DEST", code == "ayder restore DEST DATA_DIR", code == "ayder client", code == "ayder man", code == "ayder completion "+shells, slices.Contains(cli.Words(), code):
		case !noCommand.MatchString(code):
			t.Errorf("nothing tests `%s`", code)
		}
	}
	dry(t, root, []string{"go", "list", "./..."})
}

// dry runs a command that changes nothing.
func dry(t *testing.T, dir string, words []string) {
	t.Helper()
	if _, err := exec.LookPath(words[0]); err != nil {
		t.Logf("not checked: %v", err)
		return
	}
	cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%q: %v\n%s", words, err, out)
	}
}

// readmeAddr is where README says that the server listens.
const readmeAddr = "127.0.0.1:1109"

func TestReadmeWordForWord(t *testing.T) {
	t.Parallel()
	proc.NotEmulated(t, "the lines run what they build themselves")
	r := newPageReader(t)
	root, err := proc.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	m := readReadme(t, root)
	r.alone(func() { r.follow(m.steps, func(ctx context.Context) { r.judgeReadme(ctx, m) }) })
}

// judgeReadme looks closer at what some commands of README have printed, and does what its sentences name.
func (r *pageReader) judgeReadme(ctx context.Context, m *commandPage) {
	first := m.find("greetings/produce")
	if !strings.Contains(first.got, `"durable":true`) || !strings.Contains(first.got, `"synced":true`) || !strings.Contains(first.got, `"hello"`) {
		r.t.Errorf("%s\nis not durable, or is not read back: %s", first.script, first.got)
	}
	if lines := m.find("produce lines"); !strings.HasSuffix(lines.got, "a\nb\nc\n") {
		r.t.Errorf("the client read %q", lines.got)
	}
	if out, err := shell(ctx, r.dir, "go run ./cmd/ayder backup ./copy && go run ./cmd/ayder restore ./copy ./again"); err != nil || !strings.Contains(out, "restored into ./again") {
		r.t.Errorf("backup: %v %s", err, out)
	}
	if out, err := shell(ctx, r.dir, "go run ./cmd/ayder --help"); err != nil || !strings.Contains(out, "--listen") {
		r.t.Errorf("help: %v %s", err, out)
	}
	r.end(syscall.SIGINT, "") // what Ctrl-C does
	for _, command := range []string{"check", "dump", "repair"} {
		if out, err := shell(ctx, r.dir, "go run ./cmd/ayder "+command+" ./data"); err != nil || out == "" {
			r.t.Errorf("%s: %v %s", command, err, out)
		}
	}
}

// readmeShell is a shell in dir without the product's settings and without proxies.
func readmeShell(ctx context.Context, dir, command string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "sh", "-ec", command)
	cmd.Dir = dir
	cmd.Env = append(proc.Environment(), "no_proxy=*", "NO_PROXY=*")
	return cmd
}

func shell(ctx context.Context, dir, command string) (string, error) {
	out, err := readmeShell(ctx, dir, command).CombinedOutput()
	return string(out), err
}

// startShell starts a command in a process group of its own. What it said may be read once it has ended,
// or when a test has failed anyway.
func startShell(ctx context.Context, dir, command string) (*exec.Cmd, *strings.Builder, error) {
	cmd := readmeShell(ctx, dir, command)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd, &said, cmd.Start()
}

// succeeded tells whether answers are a success: JSON that does not say otherwise, metrics, events with a message, or the
// value that was stored.
func succeeded(answer string) bool {
	values, err := jsonValues(answer)
	if err != nil {
		return answer == "green" || strings.HasPrefix(answer, "# HELP ") || strings.HasPrefix(answer, "retry: ") && strings.Contains(answer, "\ndata: {\"offset\":")
	}
	for _, v := range values {
		m, _ := v.(map[string]any)
		if ok, has := m["ok"]; has && ok != true {
			return false
		}
	}
	return len(values) > 0
}
