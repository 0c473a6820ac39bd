package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// groupsBelow makes what the kernel's tree of control groups would have.
func groupsBelow(t *testing.T, files ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, f := range files {
		path := filepath.Join(root, f)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestLimitsAreWrittenAsTheKernelWantsThem(t *testing.T) {
	dir := t.TempDir()
	device, err := deviceOf(dir)
	if err != nil {
		t.Skip("no disk: ", err)
	}
	for _, c := range []struct{ file, limited, free string }{
		{"blkio/blkio.throttle.write_iops_device", device + " 7", device + " 0"},
		{"cgroup.subtree_control", device + " wiops=7", device + " wiops=max"},
	} {
		d, err := newDisksBelow(groupsBelow(t, c.file), dir, 2)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(d.groups[1], "io.max")
		if !d.v2 {
			name = filepath.Join(d.groups[1], filepath.Base(c.file))
		}
		for writes, want := range map[int]string{7: c.limited, 0: c.free} {
			if err := d.limit(1, writes); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(name); string(got) != want || err != nil {
				t.Errorf("%s: %q, %v, want %q", name, got, err, want)
			}
		}
	}
	if _, err := newDisksBelow(t.TempDir()+"/none", dir, 1); err == nil {
		t.Error("no control groups, and no error")
	}
	if _, err := deviceOf("/proc"); err == nil {
		t.Error("/proc is on a disk")
	}
}

// The real kernel slows a real process: the writes are counted by the time that they must take at least.
func TestADiskIsSlowed(t *testing.T) {
	dir := t.TempDir()
	d, err := newDisks(dir, 1)
	if err != nil {
		t.Skip("no disk can be slowed here: ", err)
	}
	if err := d.limit(0, 50); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", fmt.Sprintf("read go; exec dd if=/dev/zero of=%s/x bs=4k count=50 oflag=direct,dsync", dir))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := d.join(0, cmd.Process.Pid); err != nil {
		t.Error(err)
	}
	fmt.Fprintln(in, "go")
	began := time.Now()
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, said.String())
	}
	if took := time.Since(began); took < 500*time.Millisecond {
		t.Errorf("50 writes at 50 a second took %v", took)
	}
	if err := d.close(); err != nil {
		t.Error(err)
	}
}
