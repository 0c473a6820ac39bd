package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The Debian package on a bare Debian: debootstrap's minimum and systemd, in a tmpfs, started in namespaces of its own (mounts,
// processes, network, cgroups), so that the unit runs as on a machine: its user, its sandbox, its system-call filter, restarted by the
// package's own scripts. Nothing of the host but its kernel is in there.
//
// It needs root, cgroup v2, debootstrap and Debian's mirror, and runs when AYDER_DEBIAN is set: AYDER_DEBIAN=1 go test -v -run
// TestOnABareDebian -timeout 1h ./tools/release. AYDER_DEBIAN_CACHE is a directory for downloads, AYDER_DEBIAN_PACKAGES one where ayder_1.0.0_amd64.deb and
// ayder_1.1.0_amd64.deb are already. Its output is a transcript.

const (
	bareWait  = 5 * time.Minute // for anything on the bare system; no test passes or fails by this
	bareEvery = 100 * time.Millisecond
)

// bareInit makes a machine of a directory and becomes its first process. $1 is the directory.
const bareInit = `set -e
mount --make-rprivate /
mount -t proc proc "$1/proc"
mount -t sysfs -o ro sysfs "$1/sys"
mount -t cgroup2 cgroup2 "$1/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$1/run"
mount -t tmpfs -o mode=755 tmpfs "$1/dev"
mkdir "$1/dev/shm" "$1/dev/pts"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$1/dev/pts"
ln -s pts/ptmx "$1/dev/ptmx"
mknod -m 666 "$1/dev/null" c 1 3
mknod -m 666 "$1/dev/zero" c 1 5
mknod -m 666 "$1/dev/full" c 1 7
mknod -m 666 "$1/dev/random" c 1 8
mknod -m 666 "$1/dev/urandom" c 1 9
hostname bare
ip link set lo up
cd "$1"
pivot_root . mnt
umount -l mnt
exec chroot . /usr/bin/env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=multi-user.target
`

// bare is the system.
type bare struct {
	t    *testing.T
	root string
	pid  int // of its systemd, here
}

// bareDebian installs one and boots it.
func bareDebian(t *testing.T) *bare {
	t.Helper()
	b := &bare{t: t, root: filepath.Join(t.TempDir(), "debian")}
	if err := os.Mkdir(b.root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", b.root, "tmpfs", 0, "mode=755"); err != nil {
		t.Fatal("a tmpfs for the system: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(b.root, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	args := []string{"--variant=minbase", "--include=systemd,systemd-sysv,dbus"}
	if dir := os.Getenv("AYDER_DEBIAN_CACHE"); dir != "" {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--cache-dir="+dir)
	}
	if out, err := exec.Command("debootstrap", append(args, "bookworm", b.root)...).CombinedOutput(); err != nil {
		t.Fatalf("debootstrap: %v: %s", err, out)
	}
	b.boot()
	return b
}

// boot starts systemd in namespaces, in a control group of its own.
func (b *bare) boot() {
	b.t.Helper()
	group := controlGroup(b.t)
	dir, err := os.Open(group)
	if err != nil {
		b.t.Fatal(err)
	}
	defer dir.Close()
	var said bytes.Buffer
	cmd := exec.Command("unshare", "-mnpuiC", "--fork", "--kill-child", "sh", "-c", bareInit, "sh", b.root)
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd()), Setsid: true}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		_, _ = cmd.Process.Kill(), cmd.Wait()
		b.until("its processes are gone", func() bool { return emptied(group) })
	})
	b.until("systemd runs", func() bool {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
		_, err := fmt.Sscan(string(children), &b.pid)
		if err != nil {
			return false
		}
		out, _ := b.try("systemctl is-system-running")
		return strings.TrimSpace(out) == "running"
	})
}

// controlGroup makes a group of cgroup v2.
func controlGroup(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			dir, err := os.MkdirTemp(f[1], "ayder-debian-")
			if err != nil {
				t.Skip("no control group can be made: ", err)
			}
			return dir
		}
	}
	t.Skip("cgroup v2 is not mounted, which systemd needs")
	return ""
}

// emptied removes a control group and all below, which works when no process is left in them.
func emptied(group string) bool {
	below, _ := os.ReadDir(group)
	for _, d := range below {
		if d.IsDir() {
			emptied(filepath.Join(group, d.Name()))
		}
	}
	err := os.Remove(group)
	return err == nil || errors.Is(err, os.ErrNotExist)
}

func (b *bare) until(what string, ok func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(bareWait); !ok(); time.Sleep(bareEvery) {
		if time.Now().After(deadline) {
			b.t.Fatal("not within ", bareWait, ": ", what)
		}
	}
}

// try runs a shell command on the system.
func (b *bare) try(command string) (string, error) {
	cmd := exec.Command("nsenter", "-t", fmt.Sprint(b.pid), "-m", "-n", "-p", "-u", "-i", "-C", "-r", "/usr/bin/env", "-i",
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "DEBIAN_FRONTEND=noninteractive", "sh", "-c", command)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// sh runs a command that must succeed and puts it into the transcript.
func (b *bare) sh(command string) string {
	b.t.Helper()
	out, err := b.try(command)
	fmt.Printf("# %s\n%s", command, out)
	if err != nil {
		b.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return out
}

// ready waits for the server, which systemd takes as started when it has a process.
func (b *bare) ready() {
	b.t.Helper()
	b.until("the server is ready", func() bool {
		if out, _ := b.try("systemctl is-failed ayder"); strings.TrimSpace(out) == "failed" {
			b.sh("journalctl -u ayder -n 30 --no-pager -o cat; false")
		}
		_, err := b.try("ayder health --ready")
		return err == nil
	})
	b.sh("ayder health --ready")
}

// client runs the client with the token that the package has made.
func (b *bare) client(command string) string {
	b.t.Helper()
	return b.sh(`. /etc/ayder/ayder.env; export AYDER_TOKEN=$RF_BEARER_TOKENS; ` + command)
}

// packages are two versions of ours, in the system's /root.
func packages(t *testing.T, root string) {
	t.Helper()
	for _, version := range []string{"v1.0.0", "v1.1.0"} {
		dir := os.Getenv("AYDER_DEBIAN_PACKAGES")
		if dir == "" {
			dir = t.TempDir()
			var said bytes.Buffer
			if code := run([]string{"-version", version, "-revision", "test", "-out", dir, "-targets", "linux/amd64"}, &said, &said); code != 0 {
				t.Fatal(said.String())
			}
		}
		name := "ayder_" + version[1:] + "_amd64.deb"
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(root, "root", name), data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestOnABareDebian(t *testing.T) {
	if os.Getenv("AYDER_DEBIAN") == "" {
		t.Skip("AYDER_DEBIAN is not set: it installs a Debian, from its mirror")
	}
	for _, name := range []string{"debootstrap", "unshare", "nsenter", "ip", "dpkg-deb"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip(err)
		}
	}
	if os.Getuid() != 0 {
		t.Skip("it mounts and unshares: it needs root")
	}
	inTree(t)
	b := bareDebian(t)
	packages(t, b.root)
	b.installs()
	b.upgrades()
	b.goes()
}

// installs installs the first version, looks at what it has made, and stores messages.
func (b *bare) installs() {
	b.t.Helper()
	b.sh("grep PRETTY /etc/os-release; uname -r; dpkg -l | grep -c ^ii; ls /root")
	b.sh("dpkg -i /root/ayder_1.0.0_amd64.deb")
	b.sh("dpkg -V ayder; id ayder; stat -c '%A %U:%G %n' /etc/ayder /etc/ayder/ayder.env /var/lib/ayder")
	b.sh("systemd-analyze verify --man=no ayder.service && systemd-analyze security --no-pager ayder.service | tail -n 1")
	b.ready()
	b.sh("systemctl is-enabled ayder; systemctl is-active ayder; ps -o user= -p $(systemctl show -P MainPID ayder) 2>/dev/null || stat -c %U /proc/$(systemctl show -P MainPID ayder)")
	b.sh("journalctl -u ayder -o cat --no-pager | grep serving")
	b.sh("systemctl reload ayder && systemctl is-active ayder")
	b.client("seq 1 1000 | ayder produce -q first && ayder consume -q first --limit 1000 | sort -n | uniq | wc -l")
	if out := b.client("ayder consume -q first --limit 1000 | sort -n | md5sum; seq 1 1000 | md5sum"); strings.Count(out, strings.Fields(out)[0]) != 2 {
		b.t.Error("what is consumed is not what was produced")
	}
}

// upgrades installs the second version while somebody writes.
func (b *bare) upgrades() {
	b.t.Helper()
	before := b.sh("md5sum /etc/ayder/ayder.env; systemctl show -P MainPID ayder")
	const load = `. /etc/ayder/ayder.env; export AYDER_TOKEN=$RF_BEARER_TOKENS; i=0
while [ ! -e /root/stop ]; do i=$((i+1)); if echo message $i | ayder produce -q --retry 0s load; then echo message $i >>/root/acked; fi; done`
	written := make(chan error, 1)
	go func() {
		_, err := b.try(load)
		written <- err
	}()
	b.until("it is written", func() bool { return b.acked() >= 20 })
	b.sh("dpkg -i /root/ayder_1.1.0_amd64.deb")
	n := b.acked()
	b.until("it is written after the upgrade", func() bool { return b.acked() >= n+20 })
	b.sh("touch /root/stop; ayder version | head -n 1")
	if err := <-written; err != nil {
		b.t.Error(err)
	}
	after := b.sh("md5sum /etc/ayder/ayder.env; systemctl show -P MainPID ayder")
	if x, y := strings.Fields(before), strings.Fields(after); x[0] != y[0] || x[2] == y[2] {
		b.t.Errorf("settings are the same: %t, the process is another: %t", x[0] == y[0], x[2] != y[2])
	}
	stored := strings.Split(b.consumed("load"), "\n")
	acked, err := os.ReadFile(filepath.Join(b.root, "root/acked"))
	if err != nil {
		b.t.Fatal(err)
	}
	lost := 0
	for line := range strings.Lines(string(acked)) {
		if !slices.Contains(stored, strings.TrimSpace(line)) {
			lost++
			b.t.Errorf("%q was acknowledged and is not there", line)
		}
	}
	fmt.Printf("(%d messages were acknowledged while it was upgraded, %d were lost)\n", strings.Count(string(acked), "\n"), lost)
	if n := strings.Count(b.consumed("first"), "\n"); n != 1000 {
		b.t.Errorf("%d of the first 1000 messages are there", n)
	}
}

// acked is how many messages were acknowledged to the load.
func (b *bare) acked() int {
	text, _ := os.ReadFile(filepath.Join(b.root, "root/acked"))
	return bytes.Count(text, []byte("\n"))
}

// consumed is a topic.
func (b *bare) consumed(topic string) string {
	b.t.Helper()
	out, err := b.try(". /etc/ayder/ayder.env; AYDER_TOKEN=$RF_BEARER_TOKENS ayder consume -q " + topic)
	if err != nil {
		b.t.Fatal(err, out)
	}
	return out
}

// goes removes the package, has it back, and purges it.
func (b *bare) goes() {
	b.t.Helper()
	b.sh("dpkg -r ayder; ls /etc/ayder; ls -d /var/lib/ayder; ! systemctl is-active ayder")
	b.sh("dpkg -i /root/ayder_1.1.0_amd64.deb")
	b.ready()
	if n := strings.Count(b.consumed("first"), "\n"); n != 1000 {
		b.t.Errorf("%d of 1000 messages are there after it was removed and installed", n)
	}
	b.sh("dpkg -P ayder; ! dpkg -s ayder")
	if out := b.sh("find /etc /lib /usr /var -xdev -name '*ayder*' -not -path '/var/log/*'; true"); out != "" {
		b.t.Errorf("this is left: %s", out)
	}
	b.sh("id ayder") // users stay: files elsewhere may be theirs, and their number must not become another's
}
