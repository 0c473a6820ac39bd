package proc

import (
	"os"
	"path/filepath"
	"testing"
)

func TestUsageOfThisProcess(t *testing.T) {
	u, err := UsageOf(os.Getpid())
	if err != nil || u.RSS <= 0 || u.RSSPeak < u.RSS {
		t.Errorf("%+v, %v", u, err)
	}
	if _, err := UsageOf(-1); err == nil {
		t.Error("a process that cannot exist has a usage")
	}
}

func TestRaiseFilesNeverPromisesTooMuch(t *testing.T) {
	n, err := RaiseFiles(4096)
	if err != nil || n > 4096 || n == 0 {
		t.Errorf("%d, %v", n, err)
	}
}

// What was synced before the shutdown is there after the next mount; what was not is not promised.
func TestDiskLosesWhatWasNotSynced(t *testing.T) {
	if err := DiskTools("xfs_io"); err != nil {
		t.Skip("no disks here: ", err)
	}
	d, err := NewDisk(t.TempDir(), 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Remove(); err != nil {
			t.Error(err)
		}
	}()
	path := filepath.Join(d.Mount, "synced")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("kept"); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := d.Shutdown(false); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err == nil {
		t.Error("a sync after the shutdown succeeds")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.Remount(); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); string(text) != "kept" {
		t.Errorf("after the mount: %q, %v", text, err)
	}
}
