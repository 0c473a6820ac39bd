package proc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// The program under test is built once per test run, into a directory that Main removes. The Go
// build cache makes the second package's build cheap; sharing one file between packages would need
// a lock and an owner.

var built struct {
	once sync.Once
	bin  string
	err  error
}

var scratch struct {
	once sync.Once
	dir  string
	err  error
}

// Main runs a package's tests and removes what Scratch made. Call it from TestMain.
func Main(m *testing.M) int {
	code := m.Run()
	if scratch.dir != "" {
		if err := os.RemoveAll(scratch.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return max(code, 1)
		}
	}
	return code
}

// Scratch is a directory for what several tests of a package share, such as programs they build.
func Scratch() (string, error) {
	scratch.once.Do(func() { scratch.dir, scratch.err = os.MkdirTemp("", "ayder-test-") })
	return scratch.dir, scratch.err
}

// Binary returns the path of the program, built at the first call.
func Binary(tb testing.TB) string {
	tb.Helper()
	built.once.Do(buildOnce)
	if built.err != nil {
		tb.Fatal(built.err)
	}
	return built.bin
}

func buildOnce() {
	dir, err := Scratch()
	if err != nil {
		built.err = err
		return
	}
	if bin := os.Getenv("AYDER_BIN"); bin != "" {
		built.bin, built.err = runnable(dir, bin)
		return
	}
	built.bin, built.err = Build(dir)
}

// Build compiles the program into dir and returns its path, or that of a script that starts it under the emulator.
func Build(dir string) (string, error) {
	root, err := ModuleRoot()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "ayder")
	args := append([]string{"build", "-o", bin}, strings.Fields(os.Getenv("AYDER_BUILD_FLAGS"))...)
	cmd := exec.Command("go", append(args, "./cmd/ayder")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return runnable(dir, bin)
}

var errNoModule = errors.New("the working directory is not inside the module ayder")

// ModuleRoot is the directory of the module's go.mod, found upwards from the working directory.
func ModuleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module ayder\n") {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errNoModule
		}
		dir = parent
	}
}

// Backends are those that the program can use on this machine: "evio" always, "uring" where the
// kernel allows it.
func Backends(tb testing.TB) []string {
	tb.Helper()
	out, err := exec.Command(Binary(tb), "version").CombinedOutput()
	if err != nil {
		tb.Fatalf("ayder version: %v\n%s", err, out)
	}
	if strings.Contains(string(out), "cannot be used here") {
		tb.Logf("only evio is tested: %s", out)
		return []string{"evio"}
	}
	return []string{"uring", "evio"}
}
