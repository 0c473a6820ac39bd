package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Programs for another processor. `GOARCH=arm64 go test -exec qemu-aarch64-static` runs a test binary under the emulator, but
// what that starts goes to this machine's kernel, which refuses it unless somebody has registered the emulator with
// binfmt_misc: a setting of the whole machine, so not one for tests. Instead AYDER_TEST_EXEC names the emulator, and what
// tests start is a script of two lines that puts it in front. exec keeps the process id, so signals, death
// signals and exit statuses are the program's.

// Emulator is the command that programs of this test run need in front of them, empty on a machine of their own kind.
func Emulator() string { return os.Getenv("AYDER_TEST_EXEC") }

// NotEmulated skips a test that cannot work under an emulator of single processes, and says why.
func NotEmulated(tb testing.TB, why string) {
	tb.Helper()
	if e := Emulator(); e != "" {
		tb.Skipf("under %s: %s", e, why)
	}
}

// Self is how to start this test binary once more.
func Self(tb testing.TB) string {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	if self, err = runnable(tb.TempDir(), self); err != nil {
		tb.Fatal(err)
	}
	return self
}

// runnable is a path under which bin can be started: its own, or that of a script in dir.
func runnable(dir, bin string) (string, error) {
	emulator := Emulator()
	if emulator == "" {
		return bin, nil
	}
	script := filepath.Join(dir, filepath.Base(bin)+".sh")
	quoted := "'" + strings.ReplaceAll(bin, "'", `'\''`) + "'"
	text := fmt.Sprintf("#!/bin/sh\nexec %s %s \"$@\"\n", emulator, quoted)
	return script, os.WriteFile(script, []byte(text), 0o755)
}
