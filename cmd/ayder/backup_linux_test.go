package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ayder/internal/testkit/proc"
)

// A destination that runs full keeps what has come, and the next run goes on with it. It needs root, to have a small disk.
func TestBackupFillsItsDisk(t *testing.T) {
	if err := proc.DiskTools(); err != nil {
		t.Skip("no disk to fill here: ", err)
	}
	d, err := proc.NewMemoryDisk(t.TempDir(), 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { must(t, d.Remove()) })
	b := stocked(t)
	b.dest = filepath.Join(d.Mount, "dest")
	ballast := filepath.Join(d.Mount, "ballast")
	must(t, os.WriteFile(ballast, make([]byte, 58<<20), 0o600))
	if out, code := ask(t, b.server.Addr, "", "backup", b.dest); code != 1 || !strings.Contains(out, "no space left") || !strings.Contains(out, "goes on with it") {
		t.Errorf("%d %s", code, out)
	}
	must(t, os.Remove(ballast))
	want := show(t, b.server.Addr)
	if out := b.backup(); strings.Contains(out, " 0 bytes of what was there") {
		t.Errorf("everything was fetched again: %s", out)
	}
	same(t, "restored", b.restored(), want)
}
