package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ayder/internal/cli"
	"ayder/internal/testkit/proc"
)

// README is executed word for word: what it says to start is started, in a copy of the tree and on
// the port it names, and every command after that is given to a shell as it stands there. Where the system
// allows it this happens in a network of its own, so that the port is free and nobody
// else's server answers (see readme_linux_test.go).

// readme is what README.md, or a part of it, tells its reader to type.
type readme struct {
	blocks [][]string // the commands of each sh block
	table  []string   // the commands of the table
	inline []string   // all other code within sentences
}

// readReadme reads what is about a single node: everything but the section about clusters, which has its own
// test (readme_cluster_test.go).
func readReadme(t *testing.T, root string) readme {
	t.Helper()
	before, cluster, after := cutReadme(t, root)
	if cluster == "" {
		t.Error("README has no section about clusters")
	}
	return commandsOf(before + after)
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

// commandsOf finds what is to be typed.
func commandsOf(text string) (r readme) {
	parts := strings.Split(text, "```")
	for i, part := range parts {
		if block, ok := strings.CutPrefix(part, "sh\n"); ok && i%2 == 1 {
			r.blocks = append(r.blocks, strings.Split(strings.TrimSpace(block), "\n"))
			continue
		}
		for line := range strings.Lines(part) {
			code := codeOf(strings.ReplaceAll(line, `\|`, "|"))
			if strings.HasPrefix(line, "| ") {
				r.table = append(r.table, code...)
			} else {
				r.inline = append(r.inline, code...)
			}
		}
	}
	return r
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

// TestReadmeCommandsAreReal knows every piece of code in README: it is executed below, or it is
// checked here, or it is not a command.
func TestReadmeCommandsAreReal(t *testing.T) {
	root, err := proc.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	r := readReadme(t, root)
	if len(r.blocks) != 4 || len(r.table) < 5 {
		t.Fatalf("%d blocks and %d commands in the table", len(r.blocks), len(r.table))
	}
	if !slices.Equal(r.blocks[0], []string{"go run ./cmd/ayder"}) || !slices.Equal(r.blocks[2], []string{"go test ./..."}) {
		t.Errorf("starting is %q, testing is %q", r.blocks[0], r.blocks[2])
	}
	noCommand := regexp.MustCompile(`^(\./data|dev|kill -9|bin/ayder|"durable":true,"synced":true|[A-Z_]+|RF_BEARER_TOKENS='[^']*'|--[a-z-]+)$`)
	for _, code := range r.inline {
		words := strings.Fields(code)
		switch {
		case words[0] == "make":
			dry(t, root, append([]string{"make", "-n"}, words[1:]...))
		case code == "go run ./cmd/ayder --help", words[0] == "curl" && len(words) == 1:
		case words[0] == "ayder" && len(words) == 3 && (words[1] == "check" || words[1] == "dump"), code == "ayder backup DEST", code == "ayder restore DEST DATA_DIR", code == "ayder client", code == "ayder man", code == "ayder completion "+shells, slices.Contains(cli.Words(), code):
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
	if testing.Short() {
		t.Skip("builds the program in a copy of the tree")
	}
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl here: ", err)
	}
	root, err := proc.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	r := readReadme(t, root)
	dir := t.TempDir()
	copyTree(t, root, dir)
	if err := inOwnNetwork(func() { followReadme(t, &r, dir) }); err != nil {
		t.Logf("in the network that is there: %v", err)
		l, err := net.Listen("tcp", readmeAddr)
		if err != nil {
			t.Skip("the port is taken: ", err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		followReadme(t, &r, dir)
	}
}

// copyTree copies what building needs.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != "." && (strings.HasPrefix(d.Name(), ".") || name == "data" || name == "bin" || d.Name() == "testdata") {
				return fs.SkipDir
			}
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		}
		if ext := filepath.Ext(name); ext != ".go" && ext != ".mod" && ext != ".sum" && ext != ".yaml" || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a temporary file of somebody else
		}
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), text, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// followReadme does what the reader is told to do. It may run on a goroutine of its own and so
// reports with Errorf.
func followReadme(t *testing.T, r *readme, dir string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	server, said, err := startShell(ctx, dir, r.blocks[0][0])
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = syscall.Kill(-server.Process.Pid, syscall.SIGKILL) }()
	if !answers(ctx) {
		t.Errorf("nothing listens on %s\n%s", readmeAddr, said.String())
		return
	}
	for i, command := range append(slices.Clone(r.blocks[1]), r.table...) {
		out, err := shell(ctx, dir, command)
		if err != nil || !succeeded(out) {
			t.Errorf("%s\n%v %s", command, err, out)
		}
		if i == 0 && !strings.Contains(out, `"durable":true`) || i == 0 && !strings.Contains(out, `"synced":true`) {
			t.Errorf("%s\nis not durable: %s", command, out)
		}
		if i == 1 && !strings.Contains(out, `"hello"`) {
			t.Errorf("%s\ndoes not read it back: %s", command, out)
		}
	}
	out := ""
	for _, command := range r.blocks[3] {
		if out, err = shell(ctx, dir, command); err != nil {
			t.Errorf("%s\n%v %s", command, err, out)
		}
	}
	if out != "a\nb\nc\n" {
		t.Errorf("the client read %q", out)
	}
	if out, err := shell(ctx, dir, "go run ./cmd/ayder backup ./copy && go run ./cmd/ayder restore ./copy ./again"); err != nil || !strings.Contains(out, "restored into ./again") {
		t.Errorf("backup: %v %s", err, out)
	}
	if out, err := shell(ctx, dir, "go run ./cmd/ayder --help"); err != nil || !strings.Contains(out, "--listen") {
		t.Errorf("help: %v %s", err, out)
	}
	_ = syscall.Kill(-server.Process.Pid, syscall.SIGINT) // what Ctrl-C does
	_ = server.Wait()                                     // "go run" fails when it was interrupted, whatever the program did,
	if strings.Contains(said.String(), "exit status") {   // but tells if that failed
		t.Errorf("stopping: %s", said.String())
	}
	for _, command := range []string{"check", "dump"} {
		if out, err := shell(ctx, dir, "go run ./cmd/ayder "+command+" ./data"); err != nil || out == "" {
			t.Errorf("%s: %v %s", command, err, out)
		}
	}
}

// readmeShell is a shell in dir without the product's settings and without proxies.
func readmeShell(ctx context.Context, dir, command string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
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
	cmd := readmeShell(ctx, dir, "exec "+command)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd, &said, cmd.Start()
}

// answers waits until the server accepts connections.
func answers(ctx context.Context) bool {
	for ctx.Err() == nil {
		if c, err := net.Dial("tcp", readmeAddr); err == nil {
			_ = c.Close()
			return true
		}
		time.Sleep(20 * time.Millisecond)
	}
	return false
}

// succeeded tells whether an answer is a success: JSON that does not say otherwise, metrics, an event with a message, or the
// value that was stored.
func succeeded(answer string) bool {
	var m map[string]any
	if err := json.Unmarshal([]byte(answer), &m); err != nil {
		return answer == "green" || strings.HasPrefix(answer, "# HELP ") || strings.HasPrefix(answer, "retry: ") && strings.Contains(answer, "\ndata: {\"offset\":")
	}
	ok, has := m["ok"]
	return !has || ok == true
}
